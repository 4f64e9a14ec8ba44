// Package difftest compares engines that must agree: the reference interpreter, the IR
// after each pass of the compiler, the simulated card, and, if bpf(2) is permitted,
// the running kernel.
//
// A Program is an eBPF program with maps, their initial contents and packets. Run
// draws programs from Generate, which produces random programs that verifiers accept,
// runs each on the engines, and returns a Summary with the Differences. Shrink reduces
// a failing program, and Archive turns it into a test case for testdata. BuildCorpus
// compiles the kernel's own samples and selftests, and its programs are compared in
// the same manner. All comparisons are with the interpreter, and a program depends
// only on its seed and Features.
package difftest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
)

// Program is a program with all that its run depends on.
type Program struct {
	Spec    *ebpf.ProgramSpec
	Maps    map[string]*ebpf.MapSpec // what the program names, by name
	Initial Contents                 // map contents before the first packet
	Packets [][]byte                 // run in this order, on the same maps
	// Targets are the programs in prog array "jump", by index. They share Maps.
	Targets map[uint32]*ebpf.ProgramSpec
}

// Entry is one element of a map. Array keys are the index, little-endian; the
// value of a per-CPU map is that of the CPU the program ran on.
type Entry struct{ Key, Value []byte }

// Contents is the contents of maps, by map name, with entries in order of their keys.
// It omits array elements that are all zero, so that engines need not agree on
// elements that were never written.
type Contents map[string][]Entry

// Result is the outcome of a program on one engine.
type Result struct {
	Packets []PacketResult
	Maps    Contents
}

// PacketResult is the fate of one packet.
type PacketResult struct {
	Verdict uint32 // R0's low half at exit
	Data    []byte
	// Aside is the program's other output, as text: events and redirect targets. The
	// kernel does not report them, and leaves it nil.
	Aside []string
}

// sorted puts entries into the order of their keys and drops zero array elements.
func sorted(spec *ebpf.MapSpec, entries []Entry) []Entry {
	if isArray(spec.Type) {
		entries = slices.DeleteFunc(entries, func(e Entry) bool {
			return len(bytes.Trim(e.Value, "\x00")) == 0
		})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return bytes.Compare(a.Key, b.Key) })
	return entries
}

func isArray(t ebpf.MapType) bool { return t == ebpf.Array || t == ebpf.PerCPUArray }

func isPerCPU(t ebpf.MapType) bool {
	return t == ebpf.PerCPUArray || t == ebpf.PerCPUHash || t == ebpf.LRUCPUHash
}

// hasValues reports whether a program can read and write values of the map.
func hasValues(t ebpf.MapType) bool {
	switch t {
	case ebpf.Array, ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie, ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		return true
	}
	return false
}

// clone copies a program so that its instructions can be edited.
func (p *Program) clone() *Program {
	q := *p
	spec := *p.Spec
	spec.Instructions = slices.Clone(p.Spec.Instructions)
	q.Spec, q.Maps, q.Initial = &spec, maps.Clone(p.Maps), maps.Clone(p.Initial)
	q.Packets, q.Targets = slices.Clone(p.Packets), maps.Clone(p.Targets)
	return &q
}

// usedMaps drops the maps that no instruction names.
func (p *Program) usedMaps() {
	used := map[string]bool{}
	for _, spec := range p.specs() {
		for _, ins := range spec.Instructions {
			if ins.IsLoadFromMap() {
				used[ins.Reference()] = true
			}
		}
	}
	maps.DeleteFunc(p.Maps, func(name string, _ *ebpf.MapSpec) bool { return !used[name] })
	maps.DeleteFunc(p.Initial, func(name string, _ []Entry) bool { return !used[name] })
}

// specs returns the program and its targets, in order of their indices.
func (p *Program) specs() []*ebpf.ProgramSpec {
	all := []*ebpf.ProgramSpec{p.Spec}
	for _, i := range slices.Sorted(maps.Keys(p.Targets)) {
		all = append(all, p.Targets[i])
	}
	return all
}

// targetName names the program at an index of the prog array.
func targetName(i uint32) string { return fmt.Sprintf("tail_%d", i) }
