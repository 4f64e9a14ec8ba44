package difftest

import (
	"github.com/cilium/ebpf"
)

// catalog returns the maps that generated programs use: each kind that a program can
// access, with key and value sizes on and off multiples of a word, and small enough to
// fill up. Their number is fixed, so that a kernel worker creates them once and then
// only refills them.
//
// The LRU maps are far larger than what a program can insert, since programs may not
// depend on which element the kernel evicts.
func catalog() []*ebpf.MapSpec {
	m := func(name string, t ebpf.MapType, key, value, entries uint32) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: t, KeySize: key, ValueSize: value, MaxEntries: entries}
	}
	lpm := m("lpm", ebpf.LPMTrie, 8, 8, 8)
	lpm.Flags = 1 // BPF_F_NO_PREALLOC, which the kernel demands
	return []*ebpf.MapSpec{
		m(outMap, ebpf.Array, 4, 8, 1),
		m("arr8", ebpf.Array, 4, 8, 4),
		m("arr22", ebpf.Array, 4, 22, 5),
		m("data64", ebpf.Array, 4, 64, 1),
		m("hash4", ebpf.Hash, 4, 8, 6),
		m("hash13", ebpf.Hash, 13, 20, 8),
		m("hash16", ebpf.Hash, 16, 4, 4),
		m("lru8", ebpf.LRUHash, 8, 16, 4096),
		lpm,
		m("parr", ebpf.PerCPUArray, 4, 16, 3),
		m("phash", ebpf.PerCPUHash, 4, 12, 6),
		m("plru", ebpf.LRUCPUHash, 4, 8, 4096),
		m("events", ebpf.PerfEventArray, 4, 4, 0),
		m("dev", ebpf.DevMap, 4, 4, 4),
		m("cpu", ebpf.CPUMap, 4, 4, 4),
		m(jumpMap, ebpf.ProgramArray, 4, 4, 4),
	}
}

// outMap gets the number into which a program folds its registers.
const outMap = "out"

// jumpMap is the prog array.
const jumpMap = "jump"

// catalogMap is a catalogue entry with the feature that allows its use.
type catalogMap struct {
	spec *ebpf.MapSpec
	need Features
}

func catalogMaps() []catalogMap {
	var all []catalogMap
	for _, spec := range catalog() {
		c := catalogMap{spec: spec}
		switch spec.Type {
		case ebpf.LRUHash:
			c.need = LRU
		case ebpf.LPMTrie:
			c.need = LPM
		case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
			c.need = PerCPU
		case ebpf.PerfEventArray:
			c.need = PerfOutput
		case ebpf.DevMap, ebpf.CPUMap:
			c.need = Redirect
		case ebpf.ProgramArray:
			c.need = TailCalls
		}
		if spec.Type == ebpf.LRUCPUHash {
			c.need |= LRU
		}
		all = append(all, c)
	}
	return all
}
