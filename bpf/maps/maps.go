// Package maps models eBPF maps: the kernel's checks at creation, its operations,
// flags and error numbers.
//
// New creates a Map from an *ebpf.MapSpec, over value storage that the caller
// supplies. Maps whose values stand for other objects, such as prog_array and devmap,
// are *Targets; maps with a value for each CPU are PerCPU. A Codec reads and writes
// the contents of a map as JSON or bpftool's text, with the types of the map's BTF.
// LoadContents enters a spec's initial contents.
//
// Values live in the caller's byte slice. A simulated card can thus keep them in its
// own memory, and a program can hold pointers into them: a value is named by its byte
// offset. Keys and all other state are kept outside the slice. A value starts at a
// multiple of 8 bytes and occupies its size rounded up to 8.
//
// As in the kernel, a map has two views. In a program's view, Lookup, Update and
// Delete see the running CPU's copy of a per-CPU value, and a lookup counts as a use
// in LRU maps. In the host's view, LookupAll and UpdateAll carry the values of all
// CPUs in sequence, and do not count as a use.
//
// The package fixes what the kernel leaves open, so that runs repeat. Hash maps
// iterate in order of insertion. LRU maps evict exactly the entry used longest ago;
// the kernel's choice is approximate and depends on its CPUs.
//
// As in the kernel, an update of an entry of a hash, LRU hash or LPM trie moves the
// value to another offset. A pointer from an earlier lookup keeps the old value until
// that offset is used again. Arrays and per-CPU maps are updated in place.
//
// The rules are those of Linux 6.12, kernel/bpf: arraymap.c, hashtab.c, lpm_trie.c,
// devmap.c, cpumap.c, queue_stack_maps.c.
package maps

import (
	"fmt"
	"math"
	"syscall"

	"github.com/cilium/ebpf"
)

// Linux error numbers, on every host system: programs see them as negative return
// values.
const (
	EPERM      = syscall.Errno(1)
	ENOENT     = syscall.Errno(2)
	E2BIG      = syscall.Errno(7)
	EBADF      = syscall.Errno(9)
	ENOMEM     = syscall.Errno(12)
	EEXIST     = syscall.Errno(17)
	ENODEV     = syscall.Errno(19)
	EINVAL     = syscall.Errno(22)
	ENOSPC     = syscall.Errno(28)
	ERANGE     = syscall.Errno(34)
	EOVERFLOW  = syscall.Errno(75)
	EOPNOTSUPP = syscall.Errno(95)
	ENOTSUPP   = syscall.Errno(524)
)

// Update flags (enum of include/uapi/linux/bpf.h).
const (
	Any     = 0 // add or replace
	NoExist = 1 // add only
	Exist   = 2 // replace only
	lock    = 4 // take the value's spin lock; values here have none
)

// Create flags.
const (
	NoPrealloc  = 1 << 0
	NoCommonLRU = 1 << 1
	numaNode    = 1 << 2
	rdOnly      = 1 << 3
	wrOnly      = 1 << 4
	zeroSeed    = 1 << 6
	RdOnlyProg  = 1 << 7
	WrOnlyProg  = 1 << 8
	mmapable    = 1 << 10
	preserve    = 1 << 11
	innerMap    = 1 << 12
	accessFlags = rdOnly | wrOnly | RdOnlyProg | WrOnlyProg
)

// Map is one map. Methods that fail return a syscall.Errno with Linux's number;
// a key or value of the wrong length is EINVAL.
type Map interface {
	Spec() *ebpf.MapSpec

	// Lookup returns the byte offset in storage of the value of key.
	Lookup(key []byte) (off int, ok bool)
	// Update adds or replaces an entry; flags are Any, NoExist or Exist.
	Update(key, value []byte, flags uint64) error
	// Delete removes an entry.
	Delete(key []byte) error
	// NextKey returns the key after key. It returns the first key if key is nil or not
	// in the map, and ENOENT after the last. The caller owns the result.
	NextKey(key []byte) (next []byte, err error)
	// Value returns the value at an offset that Lookup gave: the storage itself.
	Value(off int) []byte

	// LookupAll returns a copy of the value of key as the host sees it: for a
	// per-CPU map the values of all CPUs, each padded to 8 bytes.
	LookupAll(key []byte) ([]byte, error)
	// UpdateAll is Update as the host does it, with a value of LookupAll's form.
	UpdateAll(key, value []byte, flags uint64) error
}

// PerCPU is a map with a value for each CPU.
type PerCPU interface {
	Map
	// LookupCPU is Lookup for a given CPU.
	LookupCPU(key []byte, cpu int) (off int, ok bool)
}

// Options describes the CPUs that a map serves, and where its values lie. Nil means one
// CPU and the first value at the storage's start.
type Options struct {
	CPUs  int        // number of CPUs, at least 1
	CPU   func() int // CPU the program runs on; nil is CPU 0
	First uint64     // place of the first value of a hash map, modulo max_entries
}

func (o *Options) first() uint64 {
	if o == nil {
		return 0
	}
	return o.First
}

func (o *Options) cpus() int {
	if o == nil || o.CPUs < 1 {
		return 1
	}
	return o.CPUs
}

func (o *Options) cpu() func() int {
	if o == nil || o.CPU == nil {
		return func() int { return 0 }
	}
	return o.CPU
}

// New returns a map over storage, which it clears. Storage must have at least
// StorageSize bytes; if it is nil, New allocates it. New does not load the spec's
// contents: see LoadContents.
func New(spec *ebpf.MapSpec, storage []byte, opt *Options) (Map, error) {
	size, err := StorageSize(spec, opt)
	if err != nil {
		return nil, err
	}
	if storage == nil {
		if size > maxOwnStorage {
			return nil, specError(spec, ENOMEM, "%d bytes of values", size)
		}
		storage = make([]byte, size)
	}
	if int64(len(storage)) < size {
		return nil, fmt.Errorf("map %s: storage of %d bytes, %d needed", spec.Name, len(storage), size)
	}
	storage = storage[:size:size]
	clear(storage)
	b := base{spec: spec, storage: storage, stride: stride(spec), cpus: 1, cpu: opt.cpu()}
	switch spec.Type {
	case ebpf.Array:
		return &array{base: b}, nil
	case ebpf.PerCPUArray:
		b.cpus = opt.cpus()
		return &array{base: b, perCPU: true}, nil
	case ebpf.Hash, ebpf.LRUHash:
		return newHash(b, spec.Type == ebpf.LRUHash, false, opt), nil
	case ebpf.PerCPUHash, ebpf.LRUCPUHash:
		b.cpus = opt.cpus()
		return newHash(b, spec.Type == ebpf.LRUCPUHash, true, opt), nil
	case ebpf.LPMTrie:
		return newTrie(b), nil
	case ebpf.Queue, ebpf.Stack:
		return &Queue{base: b}, nil
	case ebpf.RingBuf:
		return &RingBuf{base: b}, nil
	}
	return newTargets(b, opt), nil
}

// maxOwnStorage bounds what New allocates by itself: a hostile object may ask
// for anything (assumed: more than any map of a card, which has 8 GiB).
const maxOwnStorage = 4 << 30

// StorageSize returns the bytes of value storage that a map needs. It first applies
// the kernel's checks at creation; an error wraps the kernel's error number.
func StorageSize(spec *ebpf.MapSpec, opt *Options) (int64, error) {
	if err := CheckCreate(spec); err != nil {
		return 0, err
	}
	if !modelled(spec.Type) {
		return 0, specError(spec, ENOTSUPP, "map type %s is not modelled", spec.Type)
	}
	slots := int64(entries(spec, opt))
	per := int64(stride(spec))
	switch spec.Type {
	case ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		slots++ // the place the next update goes to
	case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		per *= int64(opt.cpus())
	case ebpf.RingBuf:
		return 0, nil
	}
	if per > math.MaxInt64/2/slots {
		return 0, specError(spec, ENOMEM, "%d entries of %d bytes", slots, per)
	}
	return slots * per, nil
}

// modelled reports whether New supports maps of the type.
func modelled(t ebpf.MapType) bool {
	switch t {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.Queue, ebpf.Stack, ebpf.RingBuf,
		ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap:
		return true
	}
	return false
}

// entries returns the spec's number of elements; a perf event array without one gets
// one for each CPU, as loaders give it.
func entries(spec *ebpf.MapSpec, opt *Options) uint32 {
	if spec.Type == ebpf.PerfEventArray && spec.MaxEntries == 0 {
		return uint32(opt.cpus())
	}
	return spec.MaxEntries
}

// stride returns the bytes from one value to the next: the value's size rounded up to 8.
func stride(spec *ebpf.MapSpec) int { return (int(valueSize(spec)) + 7) &^ 7 }

// valueSize returns the spec's, or the 4 bytes that cilium/ebpf leaves to the kernel
// for perf event arrays.
func valueSize(spec *ebpf.MapSpec) uint32 {
	if spec.Type == ebpf.PerfEventArray && spec.ValueSize == 0 {
		return 4
	}
	return spec.ValueSize
}

func specError(spec *ebpf.MapSpec, errno syscall.Errno, format string, args ...any) error {
	return fmt.Errorf("map %s: %s: %w", spec.Name, fmt.Sprintf(format, args...), errno)
}

// base is the state that all map types share.
type base struct {
	spec    *ebpf.MapSpec
	storage []byte
	stride  int // bytes from one CPU's value to the next
	cpus    int // values in a slot
	cpu     func() int
}

func (b *base) Spec() *ebpf.MapSpec { return b.spec }

func (b *base) Value(off int) []byte {
	n := int(valueSize(b.spec))
	if off < 0 || off > len(b.storage)-n {
		return nil
	}
	return b.storage[off : off+n : off+n]
}

// slot returns the offset of a slot's first value.
func (b *base) slot(i int) int { return i * b.stride * b.cpus }

// mine returns the offset of the running CPU's value in a slot.
func (b *base) mine(i int) int {
	if b.cpus == 1 {
		return b.slot(i)
	}
	return b.slot(i) + b.cpu()%b.cpus*b.stride
}

// all returns a copy of a slot as the host sees it.
func (b *base) all(i int, perCPU bool) []byte {
	n := int(valueSize(b.spec))
	if perCPU {
		n = b.stride * b.cpus
	}
	return append([]byte(nil), b.storage[b.slot(i):b.slot(i)+n]...)
}

// hostSize returns the length of a value of LookupAll.
func (b *base) hostSize(perCPU bool) int {
	if perCPU {
		return b.stride * b.cpus
	}
	return int(valueSize(b.spec))
}

// HostValueSize returns the length of the values of LookupAll and UpdateAll.
func HostValueSize(m Map) int {
	switch m := m.(type) {
	case *array:
		return m.hostSize(m.perCPU)
	case *hash:
		return m.hostSize(m.perCPU)
	}
	return int(valueSize(m.Spec()))
}
