package helper

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// KeyRule is the rule that the keys of a map type follow.
type KeyRule uint8

const (
	KeyBytes  KeyRule = iota // any bytes, compared whole
	KeyIndex                 // 4 bytes, an index below max_entries
	KeyPrefix                // 4 bytes of prefix length in bits, then the bytes of the prefix
	KeyNone                  // no key
)

// MapType describes a map type: its keys, its properties and the helpers that accept
// it.
type MapType struct {
	Type        ebpf.MapType
	Name        string // as bpftool writes it
	Key         KeyRule
	PerCPU      bool              // a program sees its CPU's copy of the value
	Direct      bool              // values are addressable at load time (global data)
	NoPrealloc  bool              // must be created with BPF_F_NO_PREALLOC
	LookupRead  bool              // a looked-up value may not be written
	Neutral     bool              // offloaded programs use the host's map (bpf_map_offload_neutral)
	Ops         []asm.BuiltinFunc // helpers that accept the map
	Unsupported string            // the reason if programs that use it cannot run here, else empty
}

// Allows reports whether helper id accepts maps of the type.
func (m MapType) Allows(id asm.BuiltinFunc) bool { return slices.Contains(m.Ops, id) }

// MapTypeInfo returns the row of map type t, and reports whether the type is known.
func MapTypeInfo(t ebpf.MapType) (MapType, bool) {
	i := slices.IndexFunc(mapTypes, func(m MapType) bool { return m.Type == t })
	if i < 0 {
		return MapType{}, false
	}
	return mapTypes[i], true
}

// MapTypeByName returns the row of the map type that bpftool calls name, and reports
// whether there is one.
func MapTypeByName(name string) (MapType, bool) {
	i := slices.IndexFunc(mapTypes, func(m MapType) bool { return m.Name == name })
	if i < 0 {
		return MapType{}, false
	}
	return mapTypes[i], true
}

// OffloadNeutral reports whether maps of type t stay in host memory even if an
// offloaded program uses them. Such maps are created without a device.
func OffloadNeutral(t ebpf.MapType) bool {
	m, ok := MapTypeInfo(t)
	return ok && m.Neutral
}

// MapTypes returns every row in ascending order of type number.
func MapTypes() []MapType { return slices.Clone(mapTypes) }

var (
	elemOps   = []asm.BuiltinFunc{asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnForEachMapElem, asm.FnTimerInit}
	perCPUOps = append(slices.Clone(elemOps), asm.FnMapLookupPercpuElem)
	targetOps = []asm.BuiltinFunc{asm.FnRedirectMap, asm.FnMapLookupElem}
	queueOps  = []asm.BuiltinFunc{asm.FnMapPushElem, asm.FnMapPopElem, asm.FnMapPeekElem}
	sockOps   = []asm.BuiltinFunc{asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnSkRedirectMap, asm.FnSockMapUpdate}
	ringOps   = []asm.BuiltinFunc{asm.FnRingbufOutput, asm.FnRingbufReserve, asm.FnRingbufQuery,
		asm.FnRingbufReserveDynptr, asm.FnRingbufSubmitDynptr, asm.FnRingbufDiscardDynptr}
)

// mapTypes is sorted by Type. Ops are the helpers that the kernel's verifier accepts
// (check_map_func_compatibility), without helpers of other program types.
var mapTypes = []MapType{
	{Type: ebpf.Hash, Name: "hash", Ops: elemOps},
	{Type: ebpf.Array, Name: "array", Key: KeyIndex, Direct: true, Ops: elemOps},
	{Type: ebpf.ProgramArray, Name: "prog_array", Key: KeyIndex, Ops: []asm.BuiltinFunc{asm.FnTailCall}},
	{Type: ebpf.PerfEventArray, Name: "perf_event_array", Key: KeyIndex, Neutral: true, Ops: []asm.BuiltinFunc{asm.FnPerfEventOutput, asm.FnPerfEventRead, asm.FnPerfEventReadValue}},
	{Type: ebpf.PerCPUHash, Name: "percpu_hash", PerCPU: true, Ops: perCPUOps},
	{Type: ebpf.PerCPUArray, Name: "percpu_array", Key: KeyIndex, PerCPU: true, Ops: perCPUOps},
	{Type: ebpf.StackTrace, Name: "stack_trace", Ops: []asm.BuiltinFunc{asm.FnGetStackid}, Unsupported: "tracing programs only"},
	{Type: ebpf.CGroupArray, Name: "cgroup_array", Key: KeyIndex, Ops: []asm.BuiltinFunc{asm.FnSkbUnderCgroup, asm.FnCurrentTaskUnderCgroup}, Unsupported: "a card has no cgroups"},
	{Type: ebpf.LRUHash, Name: "lru_hash", Ops: elemOps},
	{Type: ebpf.LRUCPUHash, Name: "lru_percpu_hash", PerCPU: true, Ops: perCPUOps},
	{Type: ebpf.LPMTrie, Name: "lpm_trie", Key: KeyPrefix, NoPrealloc: true, Ops: elemOps},
	{Type: ebpf.ArrayOfMaps, Name: "array_of_maps", Key: KeyIndex, Ops: []asm.BuiltinFunc{asm.FnMapLookupElem}, Unsupported: "a lookup gives a map, which no engine here follows"},
	{Type: ebpf.HashOfMaps, Name: "hash_of_maps", Ops: []asm.BuiltinFunc{asm.FnMapLookupElem}, Unsupported: "a lookup gives a map, which no engine here follows"},
	{Type: ebpf.DevMap, Name: "devmap", Key: KeyIndex, LookupRead: true, Ops: targetOps},
	{Type: ebpf.SockMap, Name: "sockmap", Key: KeyIndex, Ops: sockOps, Unsupported: "a card has no sockets"},
	{Type: ebpf.CPUMap, Name: "cpumap", Key: KeyIndex, Ops: []asm.BuiltinFunc{asm.FnRedirectMap}},
	{Type: ebpf.XSKMap, Name: "xskmap", Key: KeyIndex, LookupRead: true, Ops: targetOps},
	{Type: ebpf.SockHash, Name: "sockhash", Ops: sockOps, Unsupported: "a card has no sockets"},
	{Type: ebpf.CGroupStorage, Name: "cgroup_storage", Unsupported: "a card has no cgroups"},
	{Type: ebpf.ReusePortSockArray, Name: "reuseport_sockarray", Key: KeyIndex, Unsupported: "a card has no sockets"},
	{Type: ebpf.PerCPUCGroupStorage, Name: "percpu_cgroup_storage", PerCPU: true, Unsupported: "a card has no cgroups"},
	{Type: ebpf.Queue, Name: "queue", Key: KeyNone, Ops: queueOps},
	{Type: ebpf.Stack, Name: "stack", Key: KeyNone, Ops: queueOps},
	{Type: ebpf.SkStorage, Name: "sk_storage", NoPrealloc: true, Ops: []asm.BuiltinFunc{asm.FnSkStorageGet, asm.FnSkStorageDelete}, Unsupported: "a card has no sockets"},
	{Type: ebpf.DevMapHash, Name: "devmap_hash", LookupRead: true, Ops: targetOps},
	{Type: ebpf.StructOpsMap, Name: "struct_ops", Unsupported: "kernel modules' programs only"},
	{Type: ebpf.RingBuf, Name: "ringbuf", Key: KeyNone, Ops: ringOps},
	{Type: ebpf.InodeStorage, Name: "inode_storage", NoPrealloc: true, Unsupported: "a card has no files"},
	{Type: ebpf.TaskStorage, Name: "task_storage", NoPrealloc: true, Ops: []asm.BuiltinFunc{asm.FnTaskStorageGet, asm.FnTaskStorageDelete}, Unsupported: "a card has no tasks"},
	{Type: ebpf.BloomFilter, Name: "bloom_filter", Key: KeyNone, Ops: []asm.BuiltinFunc{asm.FnMapPushElem, asm.FnMapPeekElem}, Unsupported: "bloom filters are not modelled"},
	{Type: ebpf.UserRingbuf, Name: "user_ringbuf", Key: KeyNone, Ops: []asm.BuiltinFunc{asm.FnUserRingbufDrain}, Unsupported: "needs the host's memory"},
	{Type: ebpf.CgroupStorage, Name: "cgrp_storage", NoPrealloc: true, Ops: []asm.BuiltinFunc{asm.FnCgrpStorageGet, asm.FnCgrpStorageDelete}, Unsupported: "a card has no cgroups"},
	{Type: ebpf.Arena, Name: "arena", Key: KeyNone, Unsupported: "needs the host's memory"},
}
