package linux_test

import (
	"fmt"
	"log"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// facts verifies a program in text that has map hits and function main.
func facts(body string) *verify.Facts {
	f, err := asmtext.Parse("example.bpf", `
.license "GPL"
.map hits array key=4 value=8 entries=1
.program xdp main
`+body)
	if err != nil {
		log.Fatal(err)
	}
	c, faults := code.New(f.Spec.Programs["main"], f.Spec.Maps)
	if len(faults) > 0 {
		log.Fatal(faults)
	}
	facts, err := verify.Verify(c, nil)
	if err != nil {
		log.Fatal(err)
	}
	return facts
}

// Ask one view of a program whether Linux 6.1 and its driver take the program, and what
// the driver's code costs.
func Example() {
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	kernel, _, err := linux.KernelFor("6.1")
	if err != nil {
		log.Fatal(err)
	}
	view := linux.NewView(facts(`
	r6 = *(u32 *)(r1 + 12)
	r6 %= 3
	r0 = 2
	exit
`), &kernel)
	for _, r := range view.Check(p, 1500) {
		fmt.Println(r.At("main"))
	}
	least, most := view.Words()
	fmt.Println(least, "to", most, "words,", view.Stack(), "bytes of stack")
	// Output:
	// example.bpf:6: pc 0: r6 = *(u32 *)(r1 + 12): 4-byte load of the context field at offset 12 (driver-ctx-field)
	// example.bpf:7: pc 1: r6 %= 3: modulo is not translated (driver-opcode)
	// 30 to 43 words, 0 bytes of stack
}

// The driver translates a sign-extending move as a plain one, and a warning
// reports it.
func ExampleView_Warnings() {
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	view := linux.NewView(facts(`
	r2 = *(u32 *)(r1 + 0)
	r3 = *(u32 *)(r1 + 4)
	r4 = r2
	r4 += 14
	if r4 > r3 goto out
	r5 = *(u8 *)(r2 + 0)
	r5 = (s8)r5
	r0 = 1
	if r5 s< 0 goto out
	r0 = 2
	exit
out:
	r0 = 2
	exit
`), nil)
	fmt.Println(len(view.Check(p, 0)), "reasons to refuse it")
	for _, r := range view.Warnings(p) {
		fmt.Printf("pc %d: %s (%s)\n", r.PC, r.Message, r.Reason)
	}
	// Output:
	// 0 reasons to refuse it
	// pc 6: the sign is not extended (jit-movsx)
}

// A program counts packets in a map. Its words are known to the driver as counters,
// because it adds to them atomically.
func ExampleView_Use() {
	view := linux.NewView(facts(`
	*(u32 *)(r10 - 4) = 0
	r2 = r10
	r2 += -4
	r1 = map[hits] ll
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r1 = 1
	lock *(u64 *)(r0 + 0) += r1
out:
	r0 = 2
	exit
`), nil)
	for _, use := range view.Use() {
		for i, word := range use.Words {
			fmt.Println(use.Name, "word", i, "is a counter:", word == nfp.UseCounter)
		}
	}
	// Output:
	// hits word 0 is a counter: true
	// hits word 1 is a counter: true
}

// Rules that have no entry for a release are those of the nearest earlier one.
func ExampleKernelFor() {
	k, note, err := linux.KernelFor("6.14.2")
	fmt.Println(k.Release, err)
	fmt.Println(note)
	// Output:
	// 6.12 <nil>
	// there are no rules for kernel 6.14: those of 6.12, the nearest earlier release, are used
}

// Meaning returns the reasons for which the verifier may have printed a line of
// its log.
func ExampleMeaning() {
	fmt.Println(linux.Meaning("[nfp] stack access changed location"))
	// Output:
	// [driver-stack-moved]
}
