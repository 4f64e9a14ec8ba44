package driver_test

import (
	"fmt"
	"log"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// facts verifies program main of a text.
func facts(text string) *verify.Facts {
	f, err := asmtext.Parse("example.bpf", text)
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

// Compile a program, load it onto a card, and process one packet.
func ExampleNIC_Run() {
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	im, err := jit.Compile(facts(".program xdp main\n\tr0 = 1\n\texit\n"), p, nil)
	if err != nil {
		log.Fatal(err)
	}
	nic, err := driver.New(p, nil)
	if err != nil {
		log.Fatal(err)
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		log.Fatal(err)
	}
	result, err := nic.Run(prog, &driver.Input{Packet: make([]byte, 60)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("dropped:", result.Action == driver.XDPDrop, "bytes left:", len(result.Packet))
	// Output:
	// dropped: true bytes left: 60
}

// A card holds a limited number of entries. CheckMaps says so without creating a map.
func ExampleCheckMaps() {
	p, err := firmware.Load("stock")
	if err != nil {
		log.Fatal(err)
	}
	f := facts(`
.map flows hash key=4 value=8 entries=100000000
.program xdp main
	r2 = 0
	*(u32 *)(r10 - 4) = r2
	r2 = r10
	r2 += -4
	r1 = map[flows]
	call bpf_map_lookup_elem
	r0 = 2
	exit
`)
	for _, r := range driver.CheckMaps([]*verify.Facts{f}, p) {
		fmt.Println(r.At("main"))
	}
	// Output:
	// example.bpf:8: pc 4: r1 = map[flows]: map flows: 100000000 entries, 3072000 of 3072000 are left (map-entries)
}
