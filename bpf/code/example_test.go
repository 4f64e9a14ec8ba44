package code_test

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// New resolves the jump and the map reference of a program.
func ExampleNew() {
	file, err := asmtext.Parse("drop.bpf", `
.map hits array key=4 value=8 entries=1
.program xdp drop
    r1 = map[hits]
    r2 = 0
    if r2 == 0 goto out
    r2 = 1
out:
    r0 = 1
    exit
`)
	if err != nil {
		panic(err)
	}
	c, faults := code.New(file.Spec.Programs["drop"], file.Spec.Maps)
	if len(faults) > 0 {
		panic(faults)
	}
	for i, ins := range c.Insns {
		switch {
		case ins.Map != code.None:
			fmt.Printf("%d: pc %d: map %s\n", i, ins.PC, c.Maps[ins.Map].Name)
		case ins.Target != code.None:
			fmt.Printf("%d: pc %d: jump to pc %d\n", i, ins.PC, c.Insns[ins.Target].PC)
		}
	}
	// Output:
	// 0: pc 0: map hits
	// 2: pc 3: jump to pc 5
}

// New lists every structural fault of a program that it refuses.
func ExampleNew_faults() {
	insns, err := asmtext.ParseInsns("r10 = 0\nr0 = 0")
	if err != nil {
		panic(err)
	}
	_, faults := code.New(&ebpf.ProgramSpec{Name: "bad", Instructions: insns}, nil)
	for _, f := range faults {
		fmt.Println(f)
	}
	// Output:
	// pc 0: r10 is read-only (frame-pointer-write)
	// pc 1: control falls off the end of bad (fall-through)
}
