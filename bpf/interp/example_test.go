package interp_test

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// A Machine runs a program on one packet after another; its maps keep their contents.
func ExampleMachine_Run() {
	file, err := asmtext.Parse("count.bpf", `
.map count array key=4 value=8 entries=1
.program xdp count
    r1 = map[count][0] ll
    r2 = 1
    lock *(u64 *)(r1 + 0) += r2
    r0 = 2
    exit
`)
	if err != nil {
		panic(err)
	}
	c, faults := code.New(file.Spec.Programs["count"], file.Spec.Maps)
	if len(faults) > 0 {
		panic(faults)
	}
	count, err := maps.New(c.Maps[0], nil, nil)
	if err != nil {
		panic(err)
	}
	m, err := interp.New(c, []maps.Map{count}, nil)
	if err != nil {
		panic(err)
	}
	packet := make([]byte, 64)
	for range 3 {
		res, err := m.Run(&interp.Input{Packet: packet})
		if err != nil {
			panic(err)
		}
		fmt.Println("XDP action", res.Action)
	}
	value, err := count.LookupAll([]byte{0, 0, 0, 0})
	if err != nil {
		panic(err)
	}
	fmt.Println("packets", binary.LittleEndian.Uint64(value))
	// Output:
	// XDP action 2
	// XDP action 2
	// XDP action 2
	// packets 3
}

// A run that accesses memory outside its regions ends with a *Fault.
func ExampleFault() {
	insns, err := asmtext.ParseInsns("r0 = *(u64 *)(r10 + 0)\nexit")
	if err != nil {
		panic(err)
	}
	c, _ := code.New(&ebpf.ProgramSpec{Name: "bad", Type: ebpf.XDP, Instructions: insns}, nil)
	m, err := interp.New(c, nil, nil)
	if err != nil {
		panic(err)
	}
	_, err = m.Run(&interp.Input{Packet: make([]byte, 64)})
	fmt.Println(err)
	// Output:
	// pc 0: r0 = *(u64 *)(r10 + 0): 8 bytes at 0x20010200: outside the stack frames (stack-bounds)
}
