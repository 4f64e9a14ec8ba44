package verify_test

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// load parses a text and resolves its program p.
func load(text string) *code.Code {
	file, err := asmtext.Parse("p.bpf", text)
	if err != nil {
		panic(err)
	}
	c, faults := code.New(file.Spec.Programs["p"], file.Spec.Maps)
	if len(faults) > 0 {
		panic(faults)
	}
	return c
}

// Facts hold on all paths: here the check proves 14 bytes of the packet.
func ExampleVerify() {
	c := load(`
.program xdp p
    r2 = *(u32 *)(r1 + 4)
    r1 = *(u32 *)(r1 + 0)
    r3 = r1
    r3 += 14
    r0 = 2
    if r3 > r2 goto out
    r0 = *(u8 *)(r1 + 12)
    r0 &= 1
out:
    exit
`)
	facts, err := verify.Verify(c, nil)
	if err != nil {
		panic(err)
	}
	load := c.Index(6)
	fmt.Println("bytes after r1:", facts.Regs[load][asm.R1].Range)
	exit := len(c.Insns) - 1
	fmt.Println("largest verdict:", facts.Regs[exit][asm.R0].UMax)
	// Output:
	// bytes after r1: 14
	// largest verdict: 2
}

// A Rejection lists every reason, with its place.
func ExampleVerify_rejection() {
	c := load(`
.program xdp p
    r1 = *(u32 *)(r1 + 0)
    r0 = *(u8 *)(r1 + 12)
    exit
`)
	_, err := verify.Verify(c, nil)
	var r *verify.Rejection
	if errors.As(err, &r) {
		for _, reason := range r.Reasons {
			fmt.Println(reason.PC, reason.Reason)
		}
	}
	// Output:
	// 1 packet-bounds
}

func ExampleExplain() {
	doc, ok := verify.Explain("packet-bounds")
	fmt.Println(doc.Word, ok)
	// Output:
	// packet-bounds true
}
