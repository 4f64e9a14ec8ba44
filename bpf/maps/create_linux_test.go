package maps

import (
	"errors"
	"fmt"
	"math"
	"math/rand"
	"syscall"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// creation is a map definition as BPF_MAP_CREATE takes it, union bpf_attr of
// linux/bpf.h.
type creation struct {
	typ, key, value, entries, flags uint32
	inner                           uint32
	numa                            uint32
	name                            [16]byte
	ifindex                         uint32
	btf, keyType, valueType         uint32
	vmlinuxType                     uint32
	extra                           uint64
}

// create asks the kernel for the map and closes it again. If it does not take the
// BTF types, they are left out, as loaders do.
func create(spec *ebpf.MapSpec, inner int) error {
	a := creation{typ: uint32(spec.Type), key: spec.KeySize, value: spec.ValueSize, entries: spec.MaxEntries, flags: spec.Flags,
		numa: spec.NumaNode, extra: spec.MapExtra, inner: math.MaxUint32}
	if spec.InnerMap != nil {
		a.inner = uint32(inner)
	}
	if spec.Key != nil || spec.Value != nil {
		value := spec.Value
		if value == nil {
			value = btf.Type(&btf.Void{}) // the library requires both; below it is omitted
		}
		h, k, v, err := btf.MarshalMapKV(spec.Key, value)
		if err != nil {
			return err
		}
		defer h.Close()
		a.btf, a.keyType, a.valueType = uint32(h.FD()), uint32(k), uint32(v)
		if spec.Value == nil {
			a.valueType = 0
		}
	}
	fd, err := bpf(cmdCreate, unsafe.Pointer(&a), unsafe.Sizeof(a))
	if err != nil && a.btf != 0 {
		a.btf, a.keyType, a.valueType = 0, 0, 0
		fd, err = bpf(cmdCreate, unsafe.Pointer(&a), unsafe.Sizeof(a))
	}
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

// definitionTypes returns the map types that definitions are drawn from, and two that
// no kernel has.
func definitionTypes() []ebpf.MapType {
	list := []ebpf.MapType{ebpf.UnspecifiedMap, ebpf.MapType(200)}
	for i := range createRows {
		list = append(list, createRows[i].typ)
	}
	return list
}

// definition draws a map definition near the edges of what some type takes; half of
// them are good but for one field.
func definition(rng *rand.Rand, types []ebpf.MapType) *ebpf.MapSpec {
	pick := func(xs ...uint32) uint32 { return xs[rng.Intn(len(xs))] }
	spec := &ebpf.MapSpec{Name: "m", Type: types[rng.Intn(len(types))], KeySize: 4, ValueSize: 8, MaxEntries: 4}
	if row, ok := createRule(spec.Type); ok && rng.Intn(4) > 0 { // start from what the type takes
		in := func(s span) uint32 { return pick(s.lo, s.lo, max(s.lo, min(s.hi, 8)), max(s.lo, s.or)) }
		spec.KeySize, spec.ValueSize, spec.MaxEntries, spec.Flags = in(row.key), in(row.value), in(row.entries), row.needs
		if row.check != nil && row.value == zero { // rings
			spec.MaxEntries = 4096
		}
		if row.inner {
			spec.InnerMap = &ebpf.MapSpec{}
		}
	}
	for range rng.Intn(3) {
		switch rng.Intn(9) {
		case 0, 1:
			spec.KeySize = pick(0, 1, 3, 4, 5, 7, 8, 9, 16, 17, 64, 260, 261, 512, 513, 4<<20-49-8, 4<<20-48-8, math.MaxUint32)
		case 2, 3:
			spec.ValueSize = pick(0, 1, 4, 5, 7, 8, 9, 16, 32, 64, 1016, 1024, 4064, 4096, 32760, 32768, 32769, 65407, 65408, 4<<20-296, 4<<20-279, 4<<20-53, 4<<20-52,
				4<<20, 4<<20+1, 1<<31-1, 1<<31, math.MaxUint32)
		case 4, 5:
			spec.MaxEntries = pick(0, 1, 2, 3, 7, 4096, 4097, 8192, 12288, 1<<27+1, 1<<31+1, math.MaxUint32)
		case 6, 7:
			spec.Flags ^= 1 << rng.Intn(21) &^ (1<<16 | 1<<15) // tokens and types of modules are descriptors
		case 8:
			switch rng.Intn(5) {
			case 0:
				spec.MapExtra = []uint64{1, 15, 16, 4096, 1 << 32, 1<<32 - 4096, 1 << 47}[rng.Intn(7)]
			case 1:
				spec.Flags |= numaNode
				spec.NumaNode = pick(0, 0, math.MaxUint32)
			case 2:
				spec.InnerMap = nil
			default:
				spec.Key = &btf.Int{Size: 4, Encoding: btf.Unsigned}
			}
		}
	}
	if spec.Key == nil && rng.Intn(2) == 0 { // BTF types that fit the sizes
		if row, ok := createRule(spec.Type); ok && row.types && spec.KeySize == 4 && spec.ValueSize > 0 && spec.ValueSize < 1<<20 {
			byteType := &btf.Int{Size: 1}
			spec.Key = &btf.Int{Size: 4, Encoding: btf.Signed}
			spec.Value = &btf.Array{Index: &btf.Int{Size: 4}, Type: byteType, Nelems: spec.ValueSize}
		}
	}
	return spec
}

// definitions is how many map definitions are compared in each run.
const definitions = 3000

// TestCreateAgainstKernel compares the table with BPF_MAP_CREATE: both take a
// definition, or both refuse it with one error number.
func TestCreateAgainstKernel(t *testing.T) {
	needBPF(t)
	inner, err := newKernelMap(&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(int(inner))
	rng := rand.New(rand.NewSource(1))
	types := definitionTypes()
	taken, refused, left := map[ebpf.MapType]int{}, map[ebpf.MapType]int{}, map[string]int{}
	total := 0
	for total < definitions {
		spec := definition(rng, types)
		got := CheckCreate(spec)
		if why := beyondTable(spec, got); why != "" {
			left[why]++
			continue
		}
		want := create(spec, int(inner))
		if want == syscall.ENOMEM {
			left["this machine's memory"]++
			continue
		}
		total++
		if want == nil {
			taken[spec.Type]++
		} else {
			refused[spec.Type]++
		}
		if n := errnoOf(got); (want == nil) != (got == nil) || want != nil && !errors.Is(want, n) {
			t.Errorf("%s: kernel %v, table %v", describe(spec), want, got)
		}
	}
	accepted := 0
	for _, typ := range types {
		accepted += taken[typ]
		if row, ok := createRule(typ); ok && (taken[typ] == 0 && typ != ebpf.StructOpsMap || refused[typ] == 0) {
			t.Errorf("%s: %d definitions taken, %d refused: both sides are wanted", row.typ, taken[typ], refused[typ])
		}
	}
	t.Logf("suite: map definitions: %d of %d types compared with the kernel, %d accepted; left out %v", total, len(types), accepted, left)
}

// beyondTable is why a definition is not compared: what its memory would do to this
// machine, and what the running kernel was built with.
func beyondTable(spec *ebpf.MapSpec, err error) string {
	switch {
	case err == nil && uint64(spec.MaxEntries)*(uint64(spec.ValueSize)+uint64(spec.KeySize)+64) > 64<<20 && spec.Type != ebpf.LPMTrie:
		return "large tables"
	case spec.Type == ebpf.CPUMap && spec.MaxEntries > 8:
		return "NR_CPUS"
	case spec.Type == ebpf.PerfEventArray && (spec.KeySize == 0 || spec.ValueSize == 0 || spec.MaxEntries == 0):
		return "filled in by loaders"
	case (spec.Type == ebpf.Queue || spec.Type == ebpf.Stack) && spec.MaxEntries > 1<<20 && spec.ValueSize > 0:
		return "gigabytes in kernels that no longer bound the product"
	}
	return ""
}

func describe(spec *ebpf.MapSpec) string {
	return fmt.Sprintf("%v extra %#x numa %d flags %#x inner %v types %v %v", spec, spec.MapExtra, spec.NumaNode, spec.Flags, spec.InnerMap != nil, spec.Key, spec.Value)
}
