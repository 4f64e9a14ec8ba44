package jit_test

import (
	"fmt"
	"log"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// Compile a program that passes every packet.
func ExampleCompile() {
	file, err := asmtext.Parse("pass.bpf", ".program xdp pass\n\tr0 = 2\n\texit\n")
	if err != nil {
		log.Fatal(err)
	}
	c, faults := code.New(file.Spec.Programs["pass"], file.Spec.Maps)
	if len(faults) > 0 {
		log.Fatal(faults[0])
	}
	facts, err := verify.Verify(c, nil)
	if err != nil {
		log.Fatal(err)
	}
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	im, err := jit.Compile(facts, p, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(im.Words), "words:")
	for _, w := range im.Words[:3] {
		in, err := nfp.Decode(w)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(strings.TrimSpace(in.String()))
	}
	// Output:
	// 10 words:
	// br[.15000], defer[1]
	// immed[gprA_0, 0x1100, <<8]
	// nop
}
