package maps

import (
	"fmt"
	"math"
	"strings"
	"syscall"

	"github.com/cilium/ebpf"
)

// The kernel's rules for a map's definition at BPF_MAP_CREATE (kernel/bpf/syscall.c
// map_create and each type's map_alloc_check and map_alloc), one row for each type.
// TestCreateAgainstKernel compares the table with the running kernel.

// Limits of the kernel's allocators on x86-64 that show in error numbers.
const (
	kmallocMax  = 4 << 20     // KMALLOC_MAX_SIZE: pages of order 10
	perCPUMax   = 32 << 10    // PCPU_MIN_UNIT_SIZE
	hashElem    = 48          // sizeof(struct htab_elem)
	trieNode    = 40          // sizeof(struct lpm_trie_node)
	maxCPUMap   = 8192        // NR_CPUS of distribution kernels
	trieDataMax = 256         // bytes of an LPM key
	localMax    = 65535 - 128 // BPF_LOCAL_STORAGE_MAX_VALUE_SIZE
	stackDepth  = 127         // sysctl kernel.perf_event_max_stack
	pageSize    = 4096
)

// Create flags that only rows of this table name.
const (
	stackBuildID = 1 << 5
	clone        = 1 << 9
	segvOnFault  = 1 << 17
	noUserConv   = 1 << 18
	hostFlags    = rdOnly | wrOnly // what user space may do with the map's descriptor
)

// A span is the set of values that a number of a definition may have: from lo to
// hi, and also or.
type span struct {
	lo, hi uint32
	or     uint32
}

const anySize = math.MaxUint32

var (
	index   = span{lo: 4, hi: 4}
	some    = span{lo: 1, hi: anySize}
	zero    = span{}
	oneOf48 = span{lo: 4, hi: 4, or: 8}

	cgroupKey = span{lo: 8, hi: 8, or: 16} // a cgroup's id, or it and an attach type
)

func (s span) has(n uint32) bool { return s.lo <= n && n <= s.hi || s.or != 0 && n == s.or }

func (s span) String() string {
	text := fmt.Sprintf("%d to %d", s.lo, s.hi)
	switch {
	case s.lo == s.hi:
		text = fmt.Sprint(s.lo)
	case s.hi == anySize:
		text = fmt.Sprintf("at least %d", s.lo)
	}
	if s.or != 0 {
		text += fmt.Sprintf(" or %d", s.or)
	}
	return text
}

// A createRow is the kernel's rules for the definition of a map of one type. A
// definition that the columns refuse is EINVAL; check is called before them, big
// after them.
type createRow struct {
	typ                 ebpf.MapType
	key, value, entries span
	flags               uint32 // those the type takes
	needs               uint32 // those it cannot do without
	types               bool   // key and value must have BTF types
	inner               bool   // values are maps like the definition's inner one
	extra               uint64 // bits of map_extra that it takes
	check, big          func(*ebpf.MapSpec) error
}

var createRows = []createRow{
	{typ: ebpf.Hash, key: some, value: some, entries: some, flags: hashFlags &^ NoCommonLRU, big: bigHash},
	{typ: ebpf.Array, key: index, value: some, entries: some, flags: numaNode | accessFlags | mmapable | innerMap, big: bigArray},
	{typ: ebpf.ProgramArray, key: index, value: index, entries: some, flags: numaNode | hostFlags},
	{typ: ebpf.PerfEventArray, key: index, value: index, entries: some, flags: numaNode | hostFlags | preserve},
	{typ: ebpf.PerCPUHash, key: some, value: some, entries: some, flags: hashFlags &^ NoCommonLRU, check: oneNode, big: bigHash},
	{typ: ebpf.PerCPUArray, key: index, value: some, entries: some, flags: numaNode | accessFlags, check: oneNode, big: bigArray},
	{typ: ebpf.StackTrace, key: index, value: span{lo: 8, hi: anySize}, entries: some, flags: numaNode | hostFlags | stackBuildID, check: stackTrace,
		big: fewEntries(E2BIG, 1<<31)},
	{typ: ebpf.CGroupArray, key: index, value: index, entries: some, flags: numaNode | hostFlags},
	{typ: ebpf.LRUHash, key: some, value: some, entries: some, flags: hashFlags &^ NoPrealloc, check: lruHash, big: bigHash},
	{typ: ebpf.LRUCPUHash, key: some, value: some, entries: some, flags: hashFlags &^ NoPrealloc, check: lruHash, big: bigHash},
	{typ: ebpf.LPMTrie, key: span{lo: 5, hi: 4 + trieDataMax}, value: span{lo: 1, hi: kmallocMax - trieDataMax - trieNode}, entries: some,
		flags: NoPrealloc | numaNode | accessFlags, needs: NoPrealloc},
	{typ: ebpf.ArrayOfMaps, key: index, value: index, entries: some, flags: numaNode | hostFlags, inner: true},
	{typ: ebpf.HashOfMaps, key: some, value: index, entries: some, flags: hashFlags &^ NoCommonLRU, inner: true, big: bigHash},
	{typ: ebpf.DevMap, key: index, value: oneOf48, entries: some, flags: numaNode | hostFlags},
	{typ: ebpf.SockMap, key: index, value: oneOf48, entries: span{lo: 1, hi: math.MaxInt32}, flags: numaNode | hostFlags},
	{typ: ebpf.CPUMap, key: index, value: oneOf48, entries: some, flags: numaNode, big: fewEntries(E2BIG, maxCPUMap)},
	{typ: ebpf.XSKMap, key: index, value: index, entries: some, flags: numaNode | hostFlags},
	{typ: ebpf.SockHash, key: some, value: oneOf48, entries: span{lo: 1, hi: 1 << 27}, flags: numaNode | hostFlags, big: sockHashKey},
	{typ: ebpf.CGroupStorage, key: cgroupKey, value: some, entries: zero, flags: numaNode | accessFlags, check: cgroupStorage(localMax)},
	{typ: ebpf.ReusePortSockArray, key: index, value: oneOf48, entries: some, flags: numaNode | accessFlags},
	{typ: ebpf.PerCPUCGroupStorage, key: cgroupKey, value: some, entries: zero, flags: numaNode | accessFlags, check: cgroupStorage(perCPUMax)},
	{typ: ebpf.Queue, key: zero, value: some, entries: some, flags: numaNode | accessFlags, big: bigQueue},
	{typ: ebpf.Stack, key: zero, value: some, entries: some, flags: numaNode | accessFlags, big: bigQueue},
	{typ: ebpf.SkStorage, key: index, value: some, entries: zero, flags: NoPrealloc | clone, needs: NoPrealloc, types: true, big: bigLocal(localMax)},
	{typ: ebpf.DevMapHash, key: index, value: oneOf48, entries: span{lo: 1, hi: 1 << 31}, flags: numaNode | hostFlags},
	{typ: ebpf.StructOpsMap, check: structOps},
	{typ: ebpf.RingBuf, key: zero, value: zero, entries: some, flags: numaNode, check: pages},
	{typ: ebpf.InodeStorage, key: index, value: some, entries: zero, flags: NoPrealloc | clone, needs: NoPrealloc, types: true, big: bigLocal(localMax)},
	{typ: ebpf.TaskStorage, key: index, value: some, entries: zero, flags: NoPrealloc | clone, needs: NoPrealloc, types: true, big: bigLocal(localMax)},
	{typ: ebpf.BloomFilter, key: zero, value: some, entries: some, flags: numaNode | zeroSeed | accessFlags, extra: 0xf, check: bloomValue},
	{typ: ebpf.UserRingbuf, key: zero, value: zero, entries: some, flags: numaNode, check: pages},
	{typ: ebpf.CgroupStorage, key: index, value: some, entries: zero, flags: NoPrealloc | clone, needs: NoPrealloc, types: true, big: bigLocal(localMax)},
	{typ: ebpf.Arena, key: zero, value: zero, entries: some, flags: segvOnFault | mmapable | noUserConv, needs: mmapable, extra: math.MaxUint64, big: arenaPages},
}

const hashFlags = NoPrealloc | NoCommonLRU | numaNode | accessFlags | zeroSeed

// createRule returns the row of a map type.
func createRule(t ebpf.MapType) (*createRow, bool) {
	for i := range createRows {
		if createRows[i].typ == t {
			return &createRows[i], true
		}
	}
	return nil, false
}

// CheckCreate applies the kernel's checks of a map's definition, in the kernel's
// order. The error wraps the kernel's error number. Loaders fill in a perf event
// array's sizes and entries, so CheckCreate accepts zeros there. Loaders omit BTF
// types that the kernel does not accept, and so CheckCreate ignores them.
func CheckCreate(spec *ebpf.MapSpec) error {
	spec = filled(spec)
	fail := func(format string, args ...any) error { return specError(spec, EINVAL, format, args...) }
	row, known := createRule(spec.Type)
	switch {
	case !known:
		return fail("the kernel has no map type %d", uint32(spec.Type))
	case spec.MapExtra&^row.extra != 0:
		return fail("map_extra is %#x, maps of type %s take none of those bits", spec.MapExtra, spec.Type)
	case spec.Flags&hostFlags == hostFlags, spec.Flags&(RdOnlyProg|WrOnlyProg) == RdOnlyProg|WrOnlyProg && row.flags&accessFlags == accessFlags:
		return fail("%s: read-only and write-only at once", FlagNames(spec.Flags))
	}
	if row.check != nil {
		if err := row.check(spec); err != nil {
			return err
		}
	}
	switch {
	case spec.Flags&^row.flags != 0:
		return fail("%s: not for maps of type %s", FlagNames(spec.Flags&^row.flags), spec.Type)
	case spec.Flags&row.needs != row.needs:
		return fail("maps of type %s need %s", spec.Type, FlagNames(row.needs))
	case !row.entries.has(spec.MaxEntries):
		return fail("max_entries is %d, of type %s it is %v", spec.MaxEntries, spec.Type, row.entries)
	case !row.key.has(spec.KeySize):
		return fail("key of %d bytes, of type %s it has %v", spec.KeySize, spec.Type, row.key)
	case !row.value.has(spec.ValueSize):
		return fail("value of %d bytes, of type %s it has %v", spec.ValueSize, spec.Type, row.value)
	case row.types && (spec.Key == nil || spec.Value == nil):
		return fail("maps of type %s need BTF types of key and value: define them with __type", spec.Type)
	}
	if row.big != nil {
		if err := row.big(spec); err != nil {
			return err
		}
	}
	if row.inner && spec.InnerMap == nil {
		return specError(spec, EBADF, "maps of type %s need the definition of the maps in them", spec.Type)
	}
	return nil
}

// createFlags are the names of the create flags, by bit.
var createFlags = [...]string{"NO_PREALLOC", "NO_COMMON_LRU", "NUMA_NODE", "RDONLY", "WRONLY", "STACK_BUILD_ID", "ZERO_SEED", "RDONLY_PROG", "WRONLY_PROG", "CLONE",
	"MMAPABLE", "PRESERVE_ELEMS", "INNER_MAP", "LINK", "PATH_FD", "VTYPE_BTF_OBJ_FD", "TOKEN_FD", "SEGV_ON_FAULT", "NO_USER_CONV"}

// FlagNames returns the names of flags in linux/bpf.h.
func FlagNames(flags uint32) string {
	var names []string
	for bit, name := range createFlags {
		if flags>>bit&1 != 0 {
			names = append(names, "BPF_F_"+name)
		}
	}
	if rest := flags >> len(createFlags) << len(createFlags); rest != 0 {
		names = append(names, fmt.Sprintf("%#x", rest))
	}
	return strings.Join(names, ", ")
}

// filled returns spec with the sizes that loaders fill in for a perf event array.
func filled(spec *ebpf.MapSpec) *ebpf.MapSpec {
	if spec.Type != ebpf.PerfEventArray || spec.KeySize != 0 && spec.ValueSize != 0 && spec.MaxEntries != 0 {
		return spec
	}
	full := *spec
	if full.KeySize == 0 {
		full.KeySize = 4
	}
	if full.ValueSize == 0 {
		full.ValueSize = 4
	}
	full.MaxEntries = max(full.MaxEntries, 1)
	return &full
}

func tooBig(spec *ebpf.MapSpec, format string, args ...any) error {
	return specError(spec, E2BIG, format, args...)
}

func fewEntries(errno syscall.Errno, most uint32) func(*ebpf.MapSpec) error {
	return func(spec *ebpf.MapSpec) error {
		if spec.MaxEntries > most {
			return specError(spec, errno, "max_entries is %d, the most is %d", spec.MaxEntries, most)
		}
		return nil
	}
}

// oneNode refuses a per-CPU map on one NUMA node.
func oneNode(spec *ebpf.MapSpec) error {
	if spec.Flags&numaNode != 0 && spec.NumaNode != math.MaxUint32 {
		return specError(spec, EINVAL, "BPF_F_NUMA_NODE is not for per-CPU maps")
	}
	return nil
}

func lruHash(spec *ebpf.MapSpec) error {
	switch {
	case spec.Flags&^hashFlags != 0:
		return nil // which comes first
	case spec.Flags&NoPrealloc != 0:
		return specError(spec, ENOTSUPP, "BPF_F_NO_PREALLOC is not for LRU maps")
	case spec.Type == ebpf.LRUCPUHash || spec.Flags&NoCommonLRU != 0:
		return oneNode(spec)
	}
	return nil
}

func perCPU(t ebpf.MapType) bool {
	return t == ebpf.PerCPUArray || t == ebpf.PerCPUHash || t == ebpf.LRUCPUHash
}

func bigArray(spec *ebpf.MapSpec) error {
	if spec.ValueSize > math.MaxInt32 || perCPU(spec.Type) && stride(spec) > perCPUMax {
		return tooBig(spec, "value of %d bytes, the most is %d", spec.ValueSize, mostValue(spec.Type))
	}
	return nil
}

func mostValue(t ebpf.MapType) int {
	if perCPU(t) {
		return perCPUMax
	}
	return math.MaxInt32
}

func bigHash(spec *ebpf.MapSpec) error {
	switch sum := uint64(spec.KeySize) + uint64(spec.ValueSize); {
	case sum >= kmallocMax-hashElem:
		return tooBig(spec, "key and value take %d bytes, the most is %d", sum, kmallocMax-hashElem-1)
	case perCPU(spec.Type) && stride(spec) > perCPUMax:
		return tooBig(spec, "value of %d bytes, the most is %d", spec.ValueSize, perCPUMax)
	case spec.MaxEntries > 1<<31:
		return tooBig(spec, "max_entries is %d, the most is %d", spec.MaxEntries, 1<<31)
	}
	return nil
}

func bigQueue(spec *ebpf.MapSpec) error {
	if spec.ValueSize > kmallocMax || spec.MaxEntries >= math.MaxUint32/spec.ValueSize {
		return tooBig(spec, "%d entries of %d bytes", spec.MaxEntries, spec.ValueSize)
	}
	return nil
}

func bigLocal(most uint32) func(*ebpf.MapSpec) error {
	return func(spec *ebpf.MapSpec) error {
		if spec.ValueSize > most {
			return tooBig(spec, "value of %d bytes, the most is %d", spec.ValueSize, most)
		}
		return nil
	}
}

// cgroupStorage returns a check that refuses large values. Like the kernel, it does so
// before it checks flags.
func cgroupStorage(most uint32) func(*ebpf.MapSpec) error {
	big := bigLocal(most)
	return func(spec *ebpf.MapSpec) error {
		if !cgroupKey.has(spec.KeySize) {
			return nil
		}
		return big(spec)
	}
}

func bloomValue(spec *ebpf.MapSpec) error {
	if spec.ValueSize > kmallocMax {
		return tooBig(spec, "value of %d bytes, the most is %d", spec.ValueSize, kmallocMax)
	}
	return nil
}

func sockHashKey(spec *ebpf.MapSpec) error {
	const stack = 512 // MAX_BPF_STACK
	if spec.KeySize > stack {
		return tooBig(spec, "key of %d bytes, the most is %d", spec.KeySize, stack)
	}
	return nil
}

func stackTrace(spec *ebpf.MapSpec) error {
	unit := uint32(8)
	if spec.Flags&stackBuildID != 0 {
		unit = 32 // sizeof(struct bpf_stack_build_id)
	}
	if spec.ValueSize%unit != 0 || spec.ValueSize/unit > stackDepth {
		return specError(spec, EINVAL, "value of %d bytes, a stack trace has up to %d frames of %d", spec.ValueSize, stackDepth, unit)
	}
	return nil
}

// pages checks that a ring has 2^n pages.
func pages(spec *ebpf.MapSpec) error {
	if n := spec.MaxEntries; n&(n-1) != 0 || n%pageSize != 0 {
		return specError(spec, EINVAL, "max_entries is %d: a ring's bytes, which must be a power of two and a multiple of %d", n, pageSize)
	}
	return nil
}

func arenaPages(spec *ebpf.MapSpec) error {
	bytes := uint64(spec.MaxEntries) * pageSize
	switch at := spec.MapExtra; {
	case at%pageSize != 0:
		return specError(spec, EINVAL, "map_extra is %#x: an arena's address, which must be a multiple of %d", at, pageSize)
	case bytes > 4<<30:
		return tooBig(spec, "max_entries is %d pages, an arena has 4 GiB at most", spec.MaxEntries)
	case at>>32 != (at+bytes-1)>>32:
		return specError(spec, ERANGE, "the arena at %#x crosses a boundary of 4 GiB", at)
	}
	return nil
}

func structOps(spec *ebpf.MapSpec) error {
	return specError(spec, EINVAL, "a struct_ops map is made by a loader from the kernel's own types")
}
