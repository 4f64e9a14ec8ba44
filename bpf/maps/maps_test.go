package maps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	errors.As(err, &e)
	return e
}

func le(n int, v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v)[:n] }

func open(t testing.TB, spec *ebpf.MapSpec, opt *Options) Map {
	t.Helper()
	m, err := New(spec, nil, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestStorage checks that values lie in the caller's bytes, each at a multiple of 8,
// and that New clears the storage.
func TestStorage(t *testing.T) {
	opt := &Options{CPUs: 3}
	for _, c := range []struct {
		spec ebpf.MapSpec
		want int64
	}{
		{ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 5, MaxEntries: 3}, 24},
		{ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 5, MaxEntries: 3}, 72},
		{ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 9, MaxEntries: 3}, 64},
		{ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: 2}, 48},
		{ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 2, Flags: NoPrealloc}, 24},
		{ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096}, 0},
		{ebpf.MapSpec{Type: ebpf.PerfEventArray}, 24},
	} {
		if got, err := StorageSize(&c.spec, opt); got != c.want || err != nil {
			t.Errorf("%v: %d bytes, %v; want %d", &c.spec, got, err, c.want)
		}
	}
	spec := &ebpf.MapSpec{Name: "a", Type: ebpf.Array, KeySize: 4, ValueSize: 5, MaxEntries: 3}
	storage := bytes.Repeat([]byte{0xff}, 30)
	m, err := New(spec, storage, nil)
	if err != nil {
		t.Fatal(err)
	}
	off, ok := m.Lookup(le(4, 2))
	if off != 16 || !ok {
		t.Errorf("element 2 at %d, %v; want 16", off, ok)
	}
	copy(m.Value(off), "hello")
	if got := storage[:24]; !bytes.Equal(got, append(make([]byte, 16), "hello\x00\x00\x00"...)) {
		t.Errorf("storage % x", got)
	}
	if storage[24] != 0xff {
		t.Error("bytes past the map were changed")
	}
	if m.Value(-8) != nil || m.Value(24) != nil {
		t.Error("a value outside the storage")
	}
	if _, err := New(spec, storage[:23], nil); err == nil {
		t.Error("storage too short was taken")
	}
}

// TestHostile creates maps that must fail, not be created.
func TestHostile(t *testing.T) {
	for _, spec := range []*ebpf.MapSpec{
		{Type: ebpf.Array, KeySize: 4, ValueSize: 1 << 31, MaxEntries: 1<<32 - 1},
		{Type: ebpf.Array, KeySize: 4, ValueSize: 1<<31 - 1, MaxEntries: 1<<32 - 1},
		{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 32768, MaxEntries: 1<<32 - 1},
		{Type: ebpf.Hash, KeySize: 1<<32 - 1, ValueSize: 1<<32 - 1, MaxEntries: 1<<32 - 1},
		{Type: ebpf.MapType(77), KeySize: 4, ValueSize: 4, MaxEntries: 1},
		{Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 1},
	} {
		if _, err := New(spec, nil, &Options{CPUs: 8}); err == nil {
			t.Errorf("%v was made", spec)
		}
	}
}

// TestLRU holds LRU maps to the rule that the entry used longest ago goes, a
// lookup by a program and an update being uses, the host's lookup not.
func TestLRU(t *testing.T) {
	for _, typ := range []ebpf.MapType{ebpf.LRUHash, ebpf.LRUCPUHash} {
		m := open(t, &ebpf.MapSpec{Type: typ, KeySize: 1, ValueSize: 8, MaxEntries: 3}, nil)
		put := func(k byte, flags uint64) error { return m.Update([]byte{k}, le(8, uint64(k)), flags) }
		has := func(k byte) bool { _, err := m.LookupAll([]byte{k}); return err == nil }
		for k := range byte(3) {
			if err := put(k, NoExist); err != nil {
				t.Fatal(err)
			}
		}
		m.Lookup([]byte{0})
		put(3, Any) // 1 was used longest ago
		if has(1) || !has(0) || !has(2) || !has(3) {
			t.Fatalf("%v: after lookup of 0, 3 should have replaced 1", typ)
		}
		has(2) // no use
		put(4, Any)
		if has(2) {
			t.Fatalf("%v: the host's lookup counted as a use", typ)
		}
		if err := put(0, Exist); err != nil {
			t.Fatal(err)
		}
		put(5, Any)
		if has(3) || !has(0) {
			t.Fatalf("%v: the update of 0 did not count as a use", typ)
		}
		if err := put(9, Exist); err != ENOENT {
			t.Errorf("%v: EXIST of an absent key: %v", typ, err)
		}
		if err := put(0, NoExist); err != EEXIST {
			t.Errorf("%v: NOEXIST of a present key: %v", typ, err)
		}
	}
}

// TestStaleValue checks the offset of updated values. A pointer from before the update
// keeps the old value in a hash map, and sees the new one in an array or per-CPU map.
func TestStaleValue(t *testing.T) {
	for typ, moves := range map[ebpf.MapType]bool{
		ebpf.Array: false, ebpf.PerCPUArray: false, ebpf.PerCPUHash: false, ebpf.LRUCPUHash: false,
		ebpf.Hash: true, ebpf.LRUHash: true, ebpf.LPMTrie: true,
	} {
		spec := &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 8, MaxEntries: 2}
		key := le(4, 1)
		if typ == ebpf.LPMTrie {
			spec.KeySize, spec.Flags, key = 8, NoPrealloc, le(8, 8)
		}
		m := open(t, spec, nil)
		m.Update(key, le(8, 1), Any)
		off, _ := m.Lookup(key)
		m.Update(key, le(8, 2), Any)
		want := uint64(2)
		if moves {
			want = 1
		}
		if got := binary.LittleEndian.Uint64(m.Value(off)); got != want {
			t.Errorf("%v: old pointer sees %d, want %d", typ, got, want)
		}
	}
}

// TestPerCPU checks a program's view: its CPU's value, others zero when a new
// entry takes the place of a deleted one.
func TestPerCPU(t *testing.T) {
	cpu := 0
	opt := &Options{CPUs: 2, CPU: func() int { return cpu }}
	for _, typ := range []ebpf.MapType{ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.PerCPUArray} {
		cpu = 0
		m := open(t, &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 3, MaxEntries: 2}, opt)
		m.Update(le(4, 1), []byte("abc"), Any)
		cpu = 1
		if off, _ := m.Lookup(le(4, 1)); !bytes.Equal(m.Value(off), []byte{0, 0, 0}) {
			t.Errorf("%v: CPU 1 sees %q", typ, m.Value(off))
		}
		m.Update(le(4, 1), []byte("xyz"), Any)
		all, err := m.LookupAll(le(4, 1))
		if want := "abc\x00\x00\x00\x00\x00xyz\x00\x00\x00\x00\x00"; string(all) != want || err != nil {
			t.Errorf("%v: host sees %q, %v", typ, all, err)
		}
		if off, ok := m.(PerCPU).LookupCPU(le(4, 1), 0); !ok || string(m.Value(off)) != "abc" {
			t.Errorf("%v: CPU 0 has %q", typ, m.Value(off))
		}
		if _, ok := m.(PerCPU).LookupCPU(le(4, 1), 2); ok {
			t.Errorf("%v: there is a CPU 2", typ)
		}
		if typ == ebpf.PerCPUArray {
			continue
		}
		m.Delete(le(4, 1))
		m.Update(le(4, 7), []byte("new"), Any)
		if all, _ = m.LookupAll(le(4, 7)); string(all) != "\x00\x00\x00\x00\x00\x00\x00\x00new\x00\x00\x00\x00\x00" {
			t.Errorf("%v: new entry %q", typ, all)
		}
	}
}

// TestOrder checks that hash maps iterate in order of insertion after any operations,
// and restart from the first key if the given key was deleted.
func TestOrder(t *testing.T) {
	m := open(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 1, ValueSize: 1, MaxEntries: 8}, nil)
	for _, k := range []byte{5, 3, 9, 1} {
		m.Update([]byte{k}, []byte{k}, Any)
	}
	m.Update([]byte{5}, []byte{0}, Any)
	m.Delete([]byte{3})
	m.Update([]byte{3}, []byte{3}, Any)
	var got []byte
	for k, err := m.NextKey(nil); err == nil; k, err = m.NextKey(k) {
		got = append(got, k[0])
	}
	if !bytes.Equal(got, []byte{5, 9, 1, 3}) {
		t.Errorf("walk %v", got)
	}
	if k, err := m.NextKey([]byte{77}); err != nil || k[0] != 5 {
		t.Errorf("after a deleted key: %v, %v", k, err)
	}
}

// TestLPMAgainstScan compares lookups with a scan over all prefixes.
func TestLPMAgainstScan(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	m := open(t, &ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 7, ValueSize: 4, MaxEntries: 300, Flags: NoPrealloc}, nil)
	type prefix struct {
		bits int
		data [3]byte
	}
	has := func(p prefix, data []byte) bool {
		for i := range p.bits {
			if (p.data[i/8]^data[i/8])>>(7-i%8)&1 != 0 {
				return false
			}
		}
		return true
	}
	var all []prefix
	key := func() ([]byte, prefix) {
		p := prefix{bits: rng.Intn(25)}
		for i := range p.data {
			p.data[i] = []byte{0, 0xff, 0xaa, byte(rng.Intn(256))}[rng.Intn(4)]
		}
		return append(le(4, uint64(p.bits)), p.data[:]...), p
	}
	for range 200 {
		k, p := key()
		if err := m.Update(k, le(4, uint64(len(all))), NoExist); err == nil {
			all = append(all, p)
		}
	}
	for range 2000 {
		k, p := key()
		best := -1
		for i, q := range all {
			if q.bits <= p.bits && has(q, p.data[:]) && (best < 0 || q.bits > all[best].bits) {
				best = i
			}
		}
		off, ok := m.Lookup(k)
		if ok != (best >= 0) || ok && binary.LittleEndian.Uint32(m.Value(off)) != uint32(best) {
			t.Fatalf("lookup % x: %v at %d, scan says %d", k, ok, off, best)
		}
	}
}

func TestTargets(t *testing.T) {
	m := open(t, &ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4}, nil).(*Targets)
	for _, c := range []struct {
		what string
		got  error
		want syscall.Errno
	}{
		{"update", m.UpdateAll(le(4, 1), le(4, 77), Any), 0},
		{"update NOEXIST", m.UpdateAll(le(4, 2), le(4, 77), NoExist), EINVAL},
		{"update past the end", m.UpdateAll(le(4, 4), le(4, 77), Any), E2BIG},
		{"delete absent", m.Delete(le(4, 2)), ENOENT},
		{"delete past the end", m.Delete(le(4, 4)), E2BIG},
	} {
		if errnoOf(c.got) != c.want {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	if v, ok := m.Target(1); !ok || binary.LittleEndian.Uint32(v) != 77 {
		t.Errorf("target 1: % x, %v", v, ok)
	}
	if _, ok := m.Target(0); ok {
		t.Error("target 0 is there")
	}
	if _, ok := m.Lookup(le(4, 1)); ok {
		t.Error("a program may look a prog_array up")
	}
}

// TestJSON has a map, the contents loaded, and the expected dump. An empty dump stands
// for the contents loaded.
func TestJSON(t *testing.T) {
	u64, be32 := &btf.Int{Name: "u64", Size: 8}, &btf.Typedef{Name: "__be32", Type: &btf.Int{Name: "u32", Size: 4}}
	array := &ebpf.MapSpec{Name: "a", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 9, Value: u64}
	plain := &ebpf.MapSpec{Name: "p", Type: ebpf.Array, KeySize: 4, ValueSize: 3, MaxEntries: 9}
	hash := &ebpf.MapSpec{Name: "h", Type: ebpf.Hash, KeySize: 4, ValueSize: 2, MaxEntries: 9, Key: be32}
	lpm := &ebpf.MapSpec{Name: "l", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 1, MaxEntries: 9, Flags: NoPrealloc, Value: &btf.Int{Size: 1}}
	percpu := &ebpf.MapSpec{Name: "c", Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 4, MaxEntries: 2, Value: &btf.Int{Size: 4}}
	dev := &ebpf.MapSpec{Name: "d", Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 4}
	xsk := &ebpf.MapSpec{Name: "x", Type: ebpf.XSKMap, KeySize: 4, ValueSize: 4, MaxEntries: 4}
	queue := &ebpf.MapSpec{Name: "q", Type: ebpf.Queue, ValueSize: 2, MaxEntries: 4}
	for _, c := range []struct {
		spec     *ebpf.MapSpec
		in, dump string
	}{
		{array, `[]`, ``},
		{array, `[{"key":1,"value":18446744073709551615},{"key":8,"value":3}]`, ``},
		{array, `[{"key":"0x01 0x00 0x00 0x00","value":-1}]`, `[{"key":1,"value":18446744073709551615}]`},
		{array, `[{"key":2,"value":0}]`, `[]`},
		{plain, `[{"key":3,"value":"0a 00 01"},{"key":4,"value":"ff ff ff"}]`, ``},
		{plain, `[{"key":3,"value":"0x0a0001"},{"key":4,"value":["0xff",255,"ff"]}]`, `[{"key":3,"value":"0a 00 01"},{"key":4,"value":"ff ff ff"}]`},
		{hash, `[{"key":"10.0.0.2","value":513},{"key":"0a 00 00 01","value":"ff 00"}]`, `[{"key":"0a 00 00 01","value":"ff 00"},{"key":"0a 00 00 02","value":"01 02"}]`},
		{lpm, `[{"key":"10.0.0.0/8","value":1},{"key":"10.1.0.0/16","value":2}]`, `[{"key":"08 00 00 00 0a 00 00 00","value":1},{"key":"10 00 00 00 0a 01 00 00","value":2}]`},
		{percpu, `[{"key":0,"values":[1,2]},{"key":1,"values":[3,0]}]`, ``},
		{percpu, `[{"key":0,"value":7},{"key":1,"values":[3]}]`, `[{"key":0,"values":[7,7]},{"key":1,"values":[3,0]}]`},
		{dev, `[{"key":1,"value":5},{"key":3,"value":6}]`, ``},
		{xsk, `[{"key":1,"value":5}]`, ``},
		{queue, `[{"value":"01 00"},{"value":"02 00"}]`, ``},
	} {
		m := open(t, c.spec, &Options{CPUs: 2})
		if err := LoadJSON(m, strings.NewReader(c.in)); err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		dump, err := DumpJSON(m)
		if c.dump == "" {
			c.dump = c.in
		}
		if got := strings.NewReplacer("\n", "", "\n ", "", ", {", ",{").Replace(strings.ReplaceAll(string(dump), "\n ", "")); got != c.dump || err != nil {
			t.Errorf("%s: dumped %s, %v", c.in, got, err)
		}
		again := open(t, c.spec, &Options{CPUs: 2})
		if err := LoadJSON(again, bytes.NewReader(dump)); err != nil {
			t.Errorf("dump does not load: %v\n%s", err, dump)
		}
		if second, _ := DumpJSON(again); !bytes.Equal(dump, second) {
			t.Errorf("dump of a loaded dump differs:\n%s%s", dump, second)
		}
	}
}

func TestJSONErrors(t *testing.T) {
	array := &ebpf.MapSpec{Name: "a", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 2}
	hash := &ebpf.MapSpec{Name: "h", Type: ebpf.Hash, KeySize: 4, ValueSize: 3, MaxEntries: 1}
	queue := &ebpf.MapSpec{Name: "q", Type: ebpf.Queue, ValueSize: 2, MaxEntries: 4}
	for _, c := range []struct {
		spec     *ebpf.MapSpec
		in, want string
	}{
		{array, ``, "1:1: map a: the text ends where a list of entries"},
		{array, `{}`, "1:1: map a: entry 0: no key"},
		{array, `[] 1`, "where the end should follow"},
		{array, `[{"value":1}]`, "entry 0: no key"},
		{array, `[{"key":0}]`, "entry 0: no value"},
		{array, `[{"key":0,"value":1},{"key":2,"value":1}]`, "1:29: map a: entry 1: key: index 2 is past the end: the map has 2 entries, 0 to 1"},
		{array, `[{"key":0,"value":18446744073709551616}]`, "18446744073709551616 does not fit into 8 bytes: the range is -9223372036854775808 to 18446744073709551615"},
		{array, `[{"key":0,"value":1.5}]`, "1.5 is no number of 8 bytes"},
		{array, `[{"key":0,"value":true}]`, "no number"},
		{array, `[{"key":0,"value":null}]`, "no number"},
		{array, `[{"key":0,"value":"01"}]`, "1 byte, 8 wanted"},
		{array, `[{"key":0,"value":"zz"}]`, `"zz" is no hex, address or number of 8 bytes`},
		{array, `[{"key":0,"val":1}]`, "unknown field"},
		{array, `[{"key":0,"values":[1]}]`, "per-CPU"},
		{array, `[{"key":0,"value":1,"values":[1]}]`, "both"},
		{hash, `[{"key":"10.0.0","value":"00 00 00"}]`, "is no address"},
		{hash, `[{"key":"::1","value":"00 00 00"}]`, "16 bytes, 4 wanted"},
		{hash, `[{"key":1,"value":1}]`, "a number has 1, 2, 4 or 8 bytes"},
		{hash, `[{"key":[1,2,3,256],"value":1}]`, "key[3]: 256 is no byte"},
		{queue, `[{"key":1,"value":1}]`, "has no keys"},
	} {
		err := LoadJSON(open(t, c.spec, nil), strings.NewReader(c.in))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.in, err, c.want)
		}
	}
}

func TestContents(t *testing.T) {
	data := &ebpf.MapSpec{Name: ".data", Type: ebpf.Array, KeySize: 4, ValueSize: 6, MaxEntries: 1,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte("abcdef")}}}
	m := open(t, data, nil)
	if err := LoadContents(m, nil); err != nil {
		t.Fatal(err)
	}
	if v, _ := m.LookupAll(le(4, 0)); string(v) != "abcdef" {
		t.Errorf("%q", v)
	}
	jump := &ebpf.MapSpec{Name: "jump", Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4,
		Contents: []ebpf.MapKV{{Key: uint32(2), Value: "next"}}}
	m = open(t, jump, nil)
	if err := LoadContents(m, nil); err == nil {
		t.Error("an unknown program was loaded")
	}
	if err := LoadContents(m, func(name string) (uint32, bool) { return 9, name == "next" }); err != nil {
		t.Fatal(err)
	}
	if v, ok := m.(*Targets).Target(2); !ok || v[0] != 9 {
		t.Errorf("% x, %v", v, ok)
	}
	data.Contents[0].Value = []byte("short")
	if err := LoadContents(open(t, data, nil), nil); err == nil {
		t.Error("contents of the wrong size were loaded")
	}
}

// TestLookupDoesNotAllocate keeps the simulator's packet path free of garbage.
func TestLookupDoesNotAllocate(t *testing.T) {
	for _, spec := range []*ebpf.MapSpec{
		{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 4},
		{Type: ebpf.Hash, KeySize: 13, ValueSize: 8, MaxEntries: 4},
		{Type: ebpf.LRUHash, KeySize: 13, ValueSize: 8, MaxEntries: 4},
		{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 4, Flags: NoPrealloc},
	} {
		m := open(t, spec, nil)
		key := make([]byte, spec.KeySize)
		m.Update(key, make([]byte, 8), Any)
		if n := testing.AllocsPerRun(100, func() {
			if off, ok := m.Lookup(key); !ok || m.Value(off) == nil {
				t.Fatal("not found")
			}
		}); n != 0 {
			t.Errorf("%v: %v allocations a lookup", spec.Type, n)
		}
	}
}

func BenchmarkLookup(b *testing.B) {
	for _, typ := range []ebpf.MapType{ebpf.Array, ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie} {
		spec := &ebpf.MapSpec{Type: typ, KeySize: 4, ValueSize: 8, MaxEntries: 10000}
		if typ == ebpf.LPMTrie {
			spec.KeySize, spec.Flags = 8, NoPrealloc
		}
		m := open(b, spec, nil)
		keys := make([][]byte, spec.MaxEntries)
		for i := range keys {
			keys[i] = le(int(spec.KeySize), uint64(i))
			if typ == ebpf.LPMTrie {
				keys[i] = append(le(4, 32), le(4, uint64(i))...)
			}
			m.Update(keys[i], make([]byte, 8), Any)
		}
		b.Run(fmt.Sprint(typ), func(b *testing.B) {
			b.ReportAllocs()
			for i := range b.N {
				m.Lookup(keys[i%len(keys)])
			}
		})
	}
}
