package driver

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
)

// This file loads a card by slot, for a host that is an operating system's driver.
// Each vNIC has its own program, which may be replaced in place while packets flow,
// and maps are created and freed by table id. A card is loaded either by slot or
// sequentially (Load, LoadWords), not both.

// placed is a program in a slot, with its words, from which the code store is
// rewritten.
type placed struct {
	prog  *Program
	insts []nfp.Inst
}

// Place writes words, linked for start, into the code store at start. It replaces the
// program that started there before. The result word may be that of an XDP or of a TC
// program, as the card does not know the type. If it fails with a *LoadError, the
// earlier program stays.
func (n *NIC) Place(name string, start int, words []nfp.Word) (*Program, error) {
	switch {
	case len(n.programs) > 0:
		return nil, &LoadError{Program: name, Reason: "code-size", Msg: "the code store is loaded in a row, not by slot"}
	case len(words) == 0:
		return nil, &LoadError{Program: name, Reason: "code-size", Msg: "no words"}
	case start < n.Profile.Start || start+len(words) > nfp.StoreWords:
		return nil, &LoadError{Program: name, Reason: "code-size", Msg: fmt.Sprintf("words %d to %d are outside the regions for programs", start, start+len(words)-1)}
	}
	for _, p := range n.slots {
		if q := p.prog; q.Start != start && start < q.Start+q.Words && q.Start < start+len(words) {
			return nil, &LoadError{Program: name, Reason: "code-size", Msg: fmt.Sprintf("words %d to %d overlap program %s at %d", start, start+len(words)-1, q.Name, q.Start)}
		}
	}
	insts, err := n.decode(name, words)
	if err != nil {
		return nil, err
	}
	prog := &Program{Name: name, Type: ebpf.XDP, Start: start, Words: len(words), insts: insts, placed: true}
	n.slots = append(n.without(start), placed{prog, insts})
	if err := n.rewrite(); err != nil {
		return nil, &LoadError{name, "bad-word", err.Error(), err}
	}
	return prog, nil
}

// Displace empties the slot at start.
func (n *NIC) Displace(start int) error {
	n.slots = n.without(start)
	return n.rewrite()
}

func (n *NIC) without(start int) []placed {
	return slices.DeleteFunc(n.slots, func(p placed) bool { return p.prog.Start == start })
}

// rewrite rebuilds the whole code store from the slots, so that no words of an earlier
// program remain.
func (n *NIC) rewrite() error {
	n.store.Clear()
	n.trap()
	for _, p := range n.slots {
		if err := n.store.LoadInsts(p.prog.Start, p.insts, n.spec); err != nil {
			return err
		}
	}
	return nil
}

// Table returns the map with a table id, or nil if there is none.
func (n *NIC) Table(id uint32) *Map {
	m, err := n.table(id)
	if err != nil {
		return nil
	}
	return m
}

// FreeMap frees a map's table id and memory. A program that still uses the id faults.
func (n *NIC) FreeMap(id uint32) error {
	m, err := n.table(id)
	if err != nil {
		return err
	}
	n.mem.Free(m.Base())
	n.maps[id-1] = &Map{ID: id, Map: freed{}, spec: freed{}.Spec(), neutral: true, freed: true}
	return nil
}

// freeID returns the lowest unused table id.
func (n *NIC) freeID() uint32 {
	for i, m := range n.maps {
		if m.freed {
			return uint32(i + 1)
		}
	}
	return uint32(len(n.maps) + 1)
}

// errFreed is the error of operations on a freed map.
var errFreed = errors.New("the map was freed")

// freed takes the place of a map that was freed.
type freed struct{}

// hostEvents is a perf_event_array that the host keeps.
type hostEvents struct{ freed }

func (hostEvents) Spec() *ebpf.MapSpec { return &ebpf.MapSpec{Type: ebpf.PerfEventArray} }

func (freed) Spec() *ebpf.MapSpec                   { return &ebpf.MapSpec{} }
func (freed) Lookup([]byte) (int, bool)             { return 0, false }
func (freed) Update(_, _ []byte, _ uint64) error    { return errFreed }
func (freed) Delete([]byte) error                   { return errFreed }
func (freed) NextKey([]byte) ([]byte, error)        { return nil, maps.ENOENT }
func (freed) Value(int) []byte                      { return nil }
func (freed) LookupAll([]byte) ([]byte, error)      { return nil, maps.ENOENT }
func (freed) UpdateAll(_, _ []byte, _ uint64) error { return errFreed }

// MarkUse records which words of m's values a placed program uses as counters or
// reads, as Load does. A *MapError means that another program's use conflicts.
func (m *Map) MarkUse(use []nfp.WordUse) error { return m.setUse(use) }
