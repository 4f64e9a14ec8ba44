package asmtext_test

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

// Parse reads a text, and Print writes it back.
func ExampleParse() {
	file, err := asmtext.Parse("pass.bpf", `
.program xdp pass
    r0 = 2     ; XDP_PASS
    exit
`)
	if err != nil {
		panic(err)
	}
	spec := file.Spec.Programs["pass"]
	fmt.Println(spec.Type, len(spec.Instructions))
	fmt.Print(asmtext.PrintProgram(spec))
	// Output:
	// XDP 2
	// .program xdp pass
	// 	r0 = 2
	// 	exit
}

// Parse reports every error of a text with its line and column.
func ExampleParse_errors() {
	_, err := asmtext.Parse("bad.bpf", "r0 = \nr1 += w2\nexit")
	for _, e := range err.(asmtext.Errors) {
		fmt.Println(e)
	}
	// Output:
	// bad.bpf:1:5: expected a value, found end of line
	// bad.bpf:2:7: expected a 64-bit register (r), found "w2"
}

func ExampleFormat() {
	fmt.Println(asmtext.Format(asm.LoadMem(asm.R3, asm.R1, 12, asm.Half)))
	fmt.Println(asmtext.Format(asm.Add.Imm32(asm.R0, -1)))
	// Output:
	// r3 = *(u16 *)(r1 + 12)
	// w0 += -1
}
