package mach_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// source returns in A0 the sum of two words in memory. Each load waits for its own
// data; v0 is a virtual register.
const source = `func main frame=0 spill=0 vregs=1 params=A2
b0:
    mem[read32_swap, $xfer_0, gprA_2, 0x0, 1], ctx_swap[sig1] ; in 0x1
    alu[v0, --, B, $xfer_0]
    mem[read32_swap, $xfer_1, gprA_2, 0x4, 1], ctx_swap[sig1] ; in 0x2
    alu[gprA_0, v0, +, $xfer_1]
    br[.0] ; reloc done, call, uses A0
`

// Run the passes: both loads are issued before one wait, and v0 gets a register.
func ExampleFunc_Run() {
	f, err := mach.Parse(source)
	if err != nil {
		log.Fatal(err)
	}
	opt := &mach.Options{Model: nfp.Models()[0], Signals: []int{1, 2}, Check: true}
	if err := f.Run(opt); err != nil {
		log.Fatal(err)
	}
	im, _, err := mach.Layout("sum", []*mach.Func{f}, 100)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(f)
	fmt.Println(len(im.Words), "words with padding")
	// Output:
	// func main frame=0 spill=0
	// b0:
	//     mem[read32_swap, $xfer_0, gprA_2, 0x0, 1], ctx_swap[sig1]
	//     mem[read32_swap, $xfer_1, gprA_2, 0x4, 1], ctx_swap[sig2]
	//     ctx_arb[sig1, sig2]
	//     alu[gprA_0, --, B, $xfer_0]
	//   | alu[gprA_0, gprA_0, +, $xfer_1]
	//   | br[.0], defer[2] ; done ; slots 2
	// 14 words with padding
}
