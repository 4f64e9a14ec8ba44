package maps

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// kernelMap is the running kernel's map, by bpf(2) itself: error numbers and
// per-CPU layouts as they are.
type kernelMap int

const (
	cmdCreate = iota
	cmdLookup
	cmdUpdate
	cmdDelete
	cmdNext
)

type createAttr struct{ typ, key, value, entries, flags, inner, numa uint32 }

type elemAttr struct {
	fd    uint32
	_     uint32
	key   uint64
	value uint64
	flags uint64
}

func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
	if errno != 0 {
		return 0, errno
	}
	return int(r), nil
}

func newKernelMap(spec *ebpf.MapSpec) (kernelMap, error) {
	a := createAttr{uint32(spec.Type), spec.KeySize, spec.ValueSize, spec.MaxEntries, spec.Flags, 0, 0}
	fd, err := bpf(cmdCreate, unsafe.Pointer(&a), unsafe.Sizeof(a))
	return kernelMap(fd), err
}

func (m kernelMap) elem(cmd int, key, value []byte, flags uint64) error {
	a := elemAttr{fd: uint32(m), flags: flags}
	if len(key) > 0 {
		a.key = uint64(uintptr(unsafe.Pointer(&key[0])))
	}
	if len(value) > 0 {
		a.value = uint64(uintptr(unsafe.Pointer(&value[0])))
	}
	_, err := bpf(cmd, unsafe.Pointer(&a), unsafe.Sizeof(a))
	runtime.KeepAlive(key)
	runtime.KeepAlive(value)
	return err
}

// needBPF skips the test if bpf(2) may not create maps.
func needBPF(t *testing.T) {
	t.Helper()
	m, err := newKernelMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Skipf("bpf(2) is not permitted here (%v): the kernel's maps cannot be compared with", err)
	}
	syscall.Close(int(m))
}

// possibleCPUs reads the kernel's count, which sizes per-CPU values.
func possibleCPUs(t *testing.T) int {
	b, err := os.ReadFile("/sys/devices/system/cpu/possible")
	if err != nil {
		t.Skipf("cannot determine the number of CPUs: %v", err)
	}
	s := strings.TrimSpace(string(b))
	n, err := strconv.Atoi(s[strings.LastIndexAny(s, "-,")+1:])
	if err != nil {
		t.Skipf("cannot determine the number of CPUs from %q", s)
	}
	return n + 1
}

// TestAgainstKernel drives a map of ours and one of the kernel's with the same
// random host operations: every error number, value and walk must agree. What
// the kernel leaves open (order of hash maps) is compared as a set.
func TestAgainstKernel(t *testing.T) {
	needBPF(t)
	opt := &Options{CPUs: possibleCPUs(t)}
	specs := []*ebpf.MapSpec{
		{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 5, MaxEntries: 7},
		{Name: "array1", Type: ebpf.Array, KeySize: 4, ValueSize: 16, MaxEntries: 1},
		{Name: "hash", Type: ebpf.Hash, KeySize: 3, ValueSize: 9, MaxEntries: 6},
		{Name: "hash_no_prealloc", Type: ebpf.Hash, KeySize: 1, ValueSize: 4, MaxEntries: 5, Flags: NoPrealloc},
		{Name: "percpu_array", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 12, MaxEntries: 4},
		{Name: "percpu_hash", Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: 64},
		{Name: "lru_hash", Type: ebpf.LRUHash, KeySize: 2, ValueSize: 4, MaxEntries: 4096},
		{Name: "lru_percpu_hash", Type: ebpf.LRUCPUHash, KeySize: 2, ValueSize: 4, MaxEntries: 4096},
		{Name: "lpm1", Type: ebpf.LPMTrie, KeySize: 5, ValueSize: 4, MaxEntries: 20, Flags: NoPrealloc},
		{Name: "lpm4", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 3, MaxEntries: 30, Flags: NoPrealloc},
		{Name: "devmap", Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 4},
		{Name: "devmap_hash", Type: ebpf.DevMapHash, KeySize: 4, ValueSize: 8, MaxEntries: 4},
		{Name: "queue", Type: ebpf.Queue, ValueSize: 4, MaxEntries: 3},
		{Name: "stack", Type: ebpf.Stack, ValueSize: 4, MaxEntries: 3},
	}
	for _, spec := range specs {
		t.Run(spec.Name, func(t *testing.T) {
			for seed := range int64(4) {
				compareWithKernel(t, spec, opt, rand.New(rand.NewSource(seed)))
			}
		})
	}
}

func compareWithKernel(t *testing.T, spec *ebpf.MapSpec, opt *Options, rng *rand.Rand) {
	k, err := newKernelMap(spec)
	if err != nil {
		t.Fatalf("kernel: %v", err)
	}
	defer syscall.Close(int(k))
	m, err := New(spec, nil, opt)
	if err != nil {
		t.Fatalf("ours: %v", err)
	}
	size := HostValueSize(m)
	for step := range 3000 {
		key, value := randomKey(rng, spec), make([]byte, size)
		rng.Read(value)
		if _, ok := m.(*Targets); ok { // devices must exist: lo is 1
			clear(value)
			value[0] = byte(rng.Intn(2))
		}
		maskPadding(m, value)
		flags := uint64([]int{0, 0, 0, 1, 2, 3, 4, 8}[rng.Intn(8)])
		var op string
		var want, got error
		wantOut, gotOut := make([]byte, size), make([]byte, size)
		switch rng.Intn(8) {
		case 0, 1, 2:
			op = fmt.Sprintf("update % x flags %d", key, flags)
			want, got = k.elem(cmdUpdate, key, value, flags), m.UpdateAll(key, value, flags)
		case 3:
			op = fmt.Sprintf("delete % x", key)
			want, got = k.elem(cmdDelete, key, nil, 0), m.Delete(key)
			if spec.KeySize == 0 { // the kernel returns before it considers the map
				want, got = nil, nil
			}
		case 4:
			op = fmt.Sprintf("next % x", key)
			if spec.KeySize == 0 {
				continue
			}
			wantOut, gotOut = make([]byte, spec.KeySize), make([]byte, spec.KeySize)
			want = k.elem(cmdNext, key, wantOut, 0)
			var next []byte
			if next, got = m.NextKey(key); got == nil {
				copy(gotOut, next)
			}
			if hashed(spec) { // the order is the kernel's own
				continue
			}
		default:
			op = fmt.Sprintf("lookup % x", key)
			want = k.elem(cmdLookup, key, wantOut, 0)
			var out []byte
			if out, got = m.LookupAll(key); got == nil {
				copy(gotOut, out)
			}
		}
		if want != got || want == nil && !bytes.Equal(wantOut, gotOut) {
			t.Fatalf("step %d: %s: kernel %v % x, ours %v % x", step, op, want, wantOut, got, gotOut)
		}
	}
	if spec.KeySize == 0 {
		return
	}
	walk := func(next func(key []byte) ([]byte, error)) (keys []string) {
		for key, err := next(nil); err == nil; key, err = next(key) {
			keys = append(keys, fmt.Sprintf("% x", key))
		}
		if hashed(spec) {
			slices.Sort(keys)
		}
		return keys
	}
	want := walk(func(key []byte) ([]byte, error) {
		out := make([]byte, spec.KeySize)
		return out, k.elem(cmdNext, key, out, 0)
	})
	if got := walk(m.NextKey); !slices.Equal(want, got) {
		t.Fatalf("walk: kernel %q, ours %q", want, got)
	}
}

func hashed(spec *ebpf.MapSpec) bool {
	switch spec.Type {
	case ebpf.Hash, ebpf.PerCPUHash, ebpf.LRUHash, ebpf.LRUCPUHash, ebpf.DevMapHash:
		return true
	}
	return false
}

// maskPadding clears the bytes between per-CPU values, which the kernel keeps or
// drops as its copy routine likes.
func maskPadding(m Map, value []byte) {
	if !isPerCPU(m.Spec().Type) {
		return
	}
	n, s := int(m.Spec().ValueSize), stride(m.Spec())
	for off := 0; off < len(value); off += s {
		clear(value[off+n : off+s])
	}
}

// randomKey draws from few keys, so that operations meet.
func randomKey(rng *rand.Rand, spec *ebpf.MapSpec) []byte {
	key := make([]byte, spec.KeySize)
	switch spec.Type {
	case ebpf.LPMTrie:
		binary.LittleEndian.PutUint32(key, uint32(rng.Intn(int(spec.KeySize-4)*8+2)))
		for i := 4; i < len(key); i++ {
			key[i] = []byte{0, 0x80, 0xc0, 0xff, byte(rng.Intn(256))}[rng.Intn(5)]
		}
	case ebpf.LRUHash, ebpf.LRUCPUHash:
		if len(key) > 0 {
			key[0] = byte(rng.Intn(64)) // far fewer than the map holds: nothing is evicted
		}
	default:
		if len(key) > 0 {
			key[0] = byte(rng.Intn(9))
		}
		if len(key) == 4 && rng.Intn(50) == 0 {
			binary.LittleEndian.PutUint32(key, 0xffffffff)
		}
	}
	return key
}
