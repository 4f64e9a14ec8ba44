package maps

import (
	"syscall"

	"github.com/cilium/ebpf"
)

// Limits of the kernel's allocators on x86-64 that show in error numbers.
const (
	kmallocMax  = 4 << 20  // KMALLOC_MAX_SIZE: pages of order 10
	perCPUMax   = 32 << 10 // PCPU_MIN_UNIT_SIZE
	hashElem    = 48       // sizeof(struct htab_elem)
	trieNode    = 40       // sizeof(struct lpm_trie_node)
	maxCPUMap   = 8192     // NR_CPUS of distribution kernels
	trieDataMax = 256      // bytes of an LPM key
)

// checkSpec makes the kernel's checks at map creation, in its order. A perf event
// array may leave its sizes and entries to the loader, as objects do.
func checkSpec(spec *ebpf.MapSpec) error {
	fail := func(errno syscall.Errno, format string, args ...any) error {
		return specError(spec, errno, format, args...)
	}
	if spec.Flags&rdOnly != 0 && spec.Flags&wrOnly != 0 || spec.Flags&RdOnlyProg != 0 && spec.Flags&WrOnlyProg != 0 {
		return fail(EINVAL, "read-only and write-only at once")
	}
	if spec.MapExtra != 0 {
		return fail(EINVAL, "map_extra %d", spec.MapExtra)
	}
	var known uint32
	var check func() error
	switch spec.Type {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.ProgramArray, ebpf.PerfEventArray:
		known, check = numaNode|accessFlags|mmapable|preserve|innerMap, func() error { return checkArray(spec, fail) }
	case ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		known, check = NoPrealloc|NoCommonLRU|numaNode|accessFlags|zeroSeed, func() error { return checkHash(spec, fail) }
	case ebpf.LPMTrie:
		known, check = NoPrealloc|numaNode|accessFlags, func() error { return checkTrie(spec, fail) }
	case ebpf.DevMap, ebpf.DevMapHash:
		known, check = numaNode|rdOnly|wrOnly, func() error { return checkTargets(spec, fail, 4, 8) }
	case ebpf.CPUMap:
		known, check = numaNode, func() error { return checkTargets(spec, fail, 4, 8) }
	case ebpf.XSKMap:
		known, check = numaNode|rdOnly|wrOnly, func() error { return checkTargets(spec, fail, 4, 4) }
	case ebpf.Queue, ebpf.Stack:
		known, check = numaNode|accessFlags, func() error { return checkQueue(spec, fail) }
	case ebpf.RingBuf:
		known, check = numaNode, func() error { return checkRingBuf(spec, fail) }
	default:
		return fail(ENOTSUPP, "map type %s is not modelled", spec.Type)
	}
	if unknown := spec.Flags &^ known; unknown != 0 {
		return fail(EINVAL, "flags %#x are not for %s", unknown, spec.Type)
	}
	return check()
}

type failer func(errno syscall.Errno, format string, args ...any) error

func checkArray(spec *ebpf.MapSpec, fail failer) error {
	perCPU := spec.Type == ebpf.PerCPUArray
	switch size := valueSize(spec); {
	case spec.MaxEntries == 0 && spec.Type != ebpf.PerfEventArray:
		return fail(EINVAL, "max_entries 0")
	case spec.KeySize != 4 && (spec.Type != ebpf.PerfEventArray || spec.KeySize != 0):
		return fail(EINVAL, "key size %d, an index has 4 bytes", spec.KeySize)
	case size == 0:
		return fail(EINVAL, "value size 0")
	case spec.Type != ebpf.Array && spec.Flags&(mmapable|innerMap) != 0,
		spec.Type != ebpf.PerfEventArray && spec.Flags&preserve != 0,
		perCPU && spec.Flags&numaNode != 0:
		return fail(EINVAL, "flags %#x are not for %s", spec.Flags, spec.Type)
	case (spec.Type == ebpf.ProgramArray || spec.Type == ebpf.PerfEventArray) && size != 4:
		return fail(EINVAL, "value size %d, a descriptor has 4 bytes", size)
	case (spec.Type == ebpf.ProgramArray || spec.Type == ebpf.PerfEventArray) && spec.Flags&(RdOnlyProg|WrOnlyProg) != 0:
		return fail(EINVAL, "program access flags are not for %s", spec.Type)
	case size > 1<<31-1, perCPU && stride(spec) > perCPUMax:
		return fail(E2BIG, "value size %d", size)
	}
	return nil
}

func checkHash(spec *ebpf.MapSpec, fail failer) error {
	lru := spec.Type == ebpf.LRUHash || spec.Type == ebpf.LRUCPUHash
	perCPU := spec.Type == ebpf.PerCPUHash || spec.Type == ebpf.LRUCPUHash
	switch {
	case !lru && spec.Flags&NoCommonLRU != 0:
		return fail(EINVAL, "BPF_F_NO_COMMON_LRU is for LRU maps")
	case lru && spec.Flags&NoPrealloc != 0:
		return fail(ENOTSUPP, "BPF_F_NO_PREALLOC is not for LRU maps")
	case spec.Flags&numaNode != 0 && (perCPU || spec.Flags&NoCommonLRU != 0):
		return fail(EINVAL, "BPF_F_NUMA_NODE is not for per-CPU maps")
	case spec.MaxEntries == 0:
		return fail(EINVAL, "max_entries 0")
	case spec.KeySize == 0:
		return fail(EINVAL, "key size 0")
	case spec.ValueSize == 0:
		return fail(EINVAL, "value size 0")
	case uint64(spec.KeySize)+uint64(spec.ValueSize) >= kmallocMax-hashElem:
		return fail(E2BIG, "key and value of %d bytes", uint64(spec.KeySize)+uint64(spec.ValueSize))
	case perCPU && stride(spec) > perCPUMax:
		return fail(E2BIG, "value size %d", spec.ValueSize)
	case spec.MaxEntries > 1<<31:
		return fail(E2BIG, "max_entries %d", spec.MaxEntries)
	}
	return nil
}

func checkTrie(spec *ebpf.MapSpec, fail failer) error {
	switch {
	case spec.MaxEntries == 0:
		return fail(EINVAL, "max_entries 0")
	case spec.Flags&NoPrealloc == 0:
		return fail(EINVAL, "an LPM trie needs BPF_F_NO_PREALLOC")
	case spec.KeySize < 5 || spec.KeySize > 4+trieDataMax:
		return fail(EINVAL, "key size %d, an LPM key has 5 to %d bytes", spec.KeySize, 4+trieDataMax)
	case spec.ValueSize == 0 || spec.ValueSize > kmallocMax-trieDataMax-trieNode:
		return fail(EINVAL, "value size %d", spec.ValueSize)
	}
	return nil
}

// checkTargets checks a map whose values name a device, CPU or socket, in one of
// two layouts.
func checkTargets(spec *ebpf.MapSpec, fail failer, size1, size2 uint32) error {
	switch {
	case spec.MaxEntries == 0:
		return fail(EINVAL, "max_entries 0")
	case spec.KeySize != 4:
		return fail(EINVAL, "key size %d, an index has 4 bytes", spec.KeySize)
	case spec.ValueSize != size1 && spec.ValueSize != size2:
		return fail(EINVAL, "value size %d", spec.ValueSize)
	case spec.Type == ebpf.CPUMap && spec.MaxEntries > maxCPUMap:
		return fail(E2BIG, "max_entries %d", spec.MaxEntries)
	case spec.Type == ebpf.DevMapHash && spec.MaxEntries > 1<<31:
		return fail(EINVAL, "max_entries %d", spec.MaxEntries)
	}
	return nil
}

func checkQueue(spec *ebpf.MapSpec, fail failer) error {
	switch {
	case spec.MaxEntries == 0:
		return fail(EINVAL, "max_entries 0")
	case spec.KeySize != 0:
		return fail(EINVAL, "key size %d, a %s has no key", spec.KeySize, spec.Type)
	case spec.ValueSize == 0:
		return fail(EINVAL, "value size 0")
	case spec.ValueSize > kmallocMax, uint64(spec.MaxEntries)*uint64(spec.ValueSize) >= 1<<32:
		return fail(E2BIG, "%d entries of %d bytes", spec.MaxEntries, spec.ValueSize)
	}
	return nil
}

func checkRingBuf(spec *ebpf.MapSpec, fail failer) error {
	n := spec.MaxEntries
	if spec.KeySize != 0 || spec.ValueSize != 0 || n == 0 || n&(n-1) != 0 || n%4096 != 0 {
		return fail(EINVAL, "ring buffer of %d bytes, key size %d, value size %d", n, spec.KeySize, spec.ValueSize)
	}
	return nil
}
