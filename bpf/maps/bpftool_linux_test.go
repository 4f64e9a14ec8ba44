package maps

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
)

// bpftool runs the installed bpftool, or skips without one.
func bpftool(t *testing.T, args ...string) string {
	t.Helper()
	path, err := exec.LookPath("bpftool")
	if err != nil {
		if path = "/usr/sbin/bpftool"; !exists(path) {
			t.Skip("no bpftool: its forms are not compared")
		}
	}
	var stderr bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("bpftool %v: %v\n%s%s", args, err, out, &stderr)
	}
	return string(out)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// twin is a map of the kernel with its codec.
type twin struct {
	kernelMap
	id    string
	spec  *ebpf.MapSpec
	codec *Codec
}

func newTwin(t *testing.T, spec *ebpf.MapSpec) *twin {
	t.Helper()
	m, err := ebpf.NewMap(spec)
	if err != nil {
		t.Fatalf("%v: %v", spec, err)
	}
	t.Cleanup(func() { m.Close() })
	info, err := m.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Skip("the kernel gives no ids")
	}
	return &twin{kernelMap(m.FD()), fmt.Sprint(id), spec, NewCodec(spec, possibleCPUs(t))}
}

// entries reads a text and returns the entries as text, sorted.
func (w *twin) entries(t *testing.T, text string) []string {
	t.Helper()
	var all []string
	for e, err := range w.codec.Entries(strings.NewReader(text)) {
		if err != nil {
			t.Fatalf("%v: %v\n%s", w.spec, err, text)
		}
		all = append(all, fmt.Sprintf("%x %x", e.Key, e.Value))
	}
	slices.Sort(all)
	return all
}

// walk returns the kernel's entries.
func (w *twin) walk(t *testing.T) []Entry {
	t.Helper()
	var all []Entry
	var key []byte
	for {
		next := make([]byte, w.spec.KeySize)
		if err := w.elem(cmdNext, key, next, 0); err == ENOENT {
			return all
		} else if err != nil {
			t.Fatalf("%v: next key: %v", w.spec, err)
		}
		key = next
		value := make([]byte, len(w.codec.Spread(make([]byte, w.spec.ValueSize))))
		if w.elem(cmdLookup, key, value, 0) == nil {
			all = append(all, Entry{key, value})
		}
	}
}

func (w *twin) text(t *testing.T) []string {
	t.Helper()
	var all []string
	for _, e := range w.walk(t) {
		all = append(all, fmt.Sprintf("%x %x", e.Key, e.Value))
	}
	slices.Sort(all)
	return all
}

// compare reads bpftool's dumps in all forms and ours: each is the kernel's map.
func (w *twin) compare(t *testing.T) {
	t.Helper()
	want := w.text(t)
	for _, flags := range [][]string{{}, {"-j"}, {"-p"}} {
		out := bpftool(t, append(flags, "map", "dump", "id", w.id)...)
		if got := w.entries(t, out); !slices.Equal(got, want) {
			t.Fatalf("%v: bpftool %v: %v, want %v\n%s", w.spec, flags, got, want, out)
		}
	}
	all := w.walk(t)
	for form, name := range []string{"Own", "JSON", "Plain"} {
		var text []byte
		for i, e := range all {
			if i > 0 && Form(form) != Plain {
				text = append(text, ',')
			}
			text = w.codec.Append(text, e, Form(form))
		}
		if Form(form) != Plain {
			text = fmt.Appendf(nil, "[%s]", text)
		}
		if got := w.entries(t, string(text)+" "); !slices.Equal(got, want) {
			t.Fatalf("%v: %s: %v, want %v\n%s", w.spec, name, got, want, text)
		}
	}
}

// give hands our lines of bytes to bpftool, which writes them into a second map.
func (w *twin) give(t *testing.T, to *twin) {
	t.Helper()
	untyped := *w.spec
	untyped.Key, untyped.Value = nil, nil
	codec := NewCodec(&untyped, w.codec.cpus)
	var batch strings.Builder
	for _, e := range w.walk(t) {
		// "key: 01 00  value: 02 00": of a per-CPU map bpftool takes one value for all.
		key, value, _ := strings.Cut(string(codec.Append(nil, Entry{e.Key, e.Value[:w.spec.ValueSize]}, Plain)), "value")
		if codec.perCPU() {
			value, _, _ = strings.Cut(value[strings.IndexByte(value, ':'):], "\n")
		}
		fmt.Fprintf(&batch, "map update id %s key hex %s value hex %s\n", to.id, strings.TrimSpace(strings.TrimPrefix(key, "key:")), strings.TrimSpace(strings.TrimPrefix(value, ":")))
	}
	file := filepath.Join(t.TempDir(), "batch")
	if err := os.WriteFile(file, []byte(batch.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	bpftool(t, "batch", "file", file)
	if got, want := to.text(t), w.text(t); !slices.Equal(got, want) {
		t.Fatalf("%v: bpftool wrote %v, want %v\n%s", w.spec, got, want, &batch)
	}
}

// TestBpftool compares reader and writer with the kernel's maps of every kind and with
// bpftool's dumps of them.
func TestBpftool(t *testing.T) {
	needBPF(t)
	rlimit.RemoveMemlock()
	route := &btf.Struct{Name: "route", Size: 8, Members: []btf.Member{{Name: "plen", Type: u32}, {Name: "ip", Type: &btf.Array{Index: u32, Type: u8, Nelems: 4}, Offset: 32}}}
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "MIT", Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	inner := newTwin(t, &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1})
	fd := func(n int) []byte { return le(4, uint64(n)) }
	innerSpec := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
	for _, c := range []struct {
		spec  *ebpf.MapSpec
		value []byte // nil: random
	}{
		{&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 48, MaxEntries: 16, Key: u32, Value: rule}, nil},
		{&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 13, ValueSize: 3, MaxEntries: 16}, nil},
		{&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 40, ValueSize: 40, MaxEntries: 16}, nil},
		{&ebpf.MapSpec{Type: ebpf.LRUHash, KeySize: 4, ValueSize: 8, MaxEntries: 128, Key: be32, Value: u64}, nil},
		{&ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 4, MaxEntries: 16, Key: color, Value: s32}, nil},
		{&ebpf.MapSpec{Type: ebpf.LRUCPUHash, KeySize: 4, ValueSize: 48, MaxEntries: 128, Key: u32, Value: rule}, nil},
		{&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 48, MaxEntries: 5, Key: u32, Value: rule}, nil},
		{&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 1, MaxEntries: 5}, nil},
		{&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 3, MaxEntries: 5}, nil},
		{&ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 6, MaxEntries: 5, Key: u32, Value: mac}, nil},
		{&ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 8, MaxEntries: 16, Flags: NoPrealloc, Key: route, Value: name8}, nil},
		{&ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 4}, le(4, 1)},
		{&ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 8, MaxEntries: 4}, le(8, 0xffffffff00000001)},
		{&ebpf.MapSpec{Type: ebpf.DevMapHash, KeySize: 4, ValueSize: 4, MaxEntries: 4}, le(4, 1)},
		{&ebpf.MapSpec{Type: ebpf.CPUMap, KeySize: 4, ValueSize: 4, MaxEntries: 1}, le(4, 16)},
		{&ebpf.MapSpec{Type: ebpf.ProgramArray, KeySize: 4, ValueSize: 4, MaxEntries: 4}, fd(program.FD())},
		{&ebpf.MapSpec{Type: ebpf.ArrayOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 4, InnerMap: innerSpec}, fd(int(inner.kernelMap))},
		{&ebpf.MapSpec{Type: ebpf.HashOfMaps, KeySize: 4, ValueSize: 4, MaxEntries: 4, InnerMap: innerSpec}, fd(int(inner.kernelMap))},
	} {
		t.Run(fmt.Sprintf("%v_%d", c.spec.Type, c.spec.ValueSize), func(t *testing.T) {
			w := newTwin(t, c.spec)
			rnd := rand.New(rand.NewPCG(3, uint64(c.spec.Type)))
			for i := range 3 {
				key := w.canonical(t, rnd, c.spec.Key, int(c.spec.KeySize))
				switch {
				case c.spec.Type == ebpf.LPMTrie:
					key[0], key[1], key[2], key[3] = byte(rnd.UintN(33)), 0, 0, 0
				case isIndexed(c.spec.Type):
					key = le(4, uint64(i)%uint64(c.spec.MaxEntries))
				}
				value := c.value
				if value == nil {
					for range w.codec.cpus {
						padded := make([]byte, stride(c.spec))
						copy(padded, w.canonical(t, rnd, c.spec.Value, int(c.spec.ValueSize)))
						value = append(value, padded...)
					}
					value = value[:len(w.codec.Spread(value[:c.spec.ValueSize]))]
				}
				if err := w.elem(cmdUpdate, key, value, 0); err != nil {
					t.Fatalf("%v: update % x: %v", c.spec, key, err)
				}
			}
			w.compare(t)
			if c.value == nil && !w.codec.perCPU() {
				w.give(t, newTwin(t, c.spec))
			}
		})
	}
	t.Run("queue", func(t *testing.T) {
		w := newTwin(t, &ebpf.MapSpec{Type: ebpf.Queue, ValueSize: 4, MaxEntries: 4})
		if err := w.elem(cmdUpdate, nil, le(4, 7), 0); err != nil {
			t.Fatal(err)
		}
		for _, flags := range [][]string{{}, {"-j"}} { // a queue has no dump
			if got := w.entries(t, bpftool(t, append(flags, "map", "peek", "id", w.id)...)); !slices.Equal(got, []string{" 07000000"}) {
				t.Errorf("bpftool %v map peek: %v", flags, got)
			}
		}
	})
	t.Run("not printed", func(t *testing.T) { // a double: bpftool 7.1 prints half a line
		s := &btf.Struct{Name: "sample", Size: 16, Members: []btf.Member{{Name: "n", Type: u32}, {Name: "mean", Type: &btf.Float{Name: "double", Size: 8}, Offset: 64}}}
		w := newTwin(t, &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 16, MaxEntries: 4, Key: u32, Value: s})
		if err := w.elem(cmdUpdate, le(4, 1), append(le(8, 7), make([]byte, 8)...), 0); err != nil {
			t.Fatal(err)
		}
		if got, want := w.entries(t, bpftool(t, "-j", "map", "dump", "id", w.id)), w.text(t); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		plain := bpftool(t, "map", "dump", "id", w.id)
		for e, err := range w.codec.Entries(strings.NewReader(plain)) {
			if strings.Contains(plain, unprinted) && (err == nil || !strings.Contains(err.Error(), "value.mean: bpftool has no form for this type")) {
				t.Errorf("%v, %v\n%s", e, err, plain)
			}
		}
	})
	t.Run("not readable", func(t *testing.T) {
		w := newTwin(t, &ebpf.MapSpec{Type: ebpf.PerfEventArray, KeySize: 4, ValueSize: 4, MaxEntries: 2})
		for _, flags := range [][]string{{}, {"-j"}} {
			for _, err := range w.codec.Entries(strings.NewReader(bpftool(t, append(flags, "map", "dump", "id", w.id)...))) {
				if err == nil || !strings.Contains(err.Error(), "entry 0: value: no value was read (Unknown error 524)") {
					t.Errorf("bpftool %v: %v", flags, err)
				}
			}
		}
	})
}

// canonical returns random bytes whose bpftool form by type shows all of them.
func (w *twin) canonical(t *testing.T, rnd *rand.Rand, typ btf.Type, size int) []byte {
	t.Helper()
	b := make([]byte, size)
	for i := range b {
		for ok := false; !ok; ok = b[i] != '"' && b[i] != '\\' { // bpftool does not escape these
			b[i] = byte(rnd.Uint32())
		}
	}
	if typ = sound(typ, len(b)); typ == nil {
		return b
	}
	blur(typ, b)
	shown, err := parseWord(string(printer{bpftool: true}.whole(nil, typ, b)), typ, len(b))
	if err != nil {
		t.Fatal(err)
	}
	return shown
}

// blur removes the details that bpftool does not show: which number a true
// boolean has, and what follows the text of a char array.
func blur(typ btf.Type, b []byte) {
	switch typ := btf.UnderlyingType(typ).(type) {
	case *btf.Int:
		if typ.Encoding == btf.Bool {
			b[0] &= 1
		}
	case *btf.Array:
		size, _ := sizeOf(typ.Type)
		if text, rest, ok := bytes.Cut(b, []byte{0}); ok && isChars(typ) && !slices.ContainsFunc(text, func(c byte) bool { return !isPrintable(c) }) {
			clear(rest)
		}
		for i := range int(typ.Nelems) {
			blur(typ.Type, b[i*size:][:size])
		}
	}
	for _, m := range membersOf(typ) {
		if size, _ := sizeOf(m.Type); m.BitfieldSize == 0 {
			blur(m.Type, b[m.Offset.Bytes():][:size])
		}
	}
}

// TestBpftoolTypes reads what bpftool prints of random types.
func TestBpftoolTypes(t *testing.T) {
	needBPF(t)
	rlimit.RemoveMemlock()
	rnd := rand.New(rand.NewPCG(5, 6))
	refused, n := 0, 40
	if v, err := strconv.Atoi(os.Getenv("NFPKIT_MAPTYPES_N")); err == nil {
		n = v
	}
	for range n {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		c := &choices{data: data, noFloat: true}
		typ := c.compound(3, false)
		size, _ := sizeOf(typ)
		s := &btf.Struct{Name: "value", Size: uint32(size), Members: typ.(*btf.Union).Members}
		if size == 0 || len(s.Members) == 0 {
			continue
		}
		spec := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: uint32(size), MaxEntries: 4, Key: u32, Value: s}
		m, err := ebpf.NewMap(spec)
		if err != nil {
			refused++ // C has other rules for bit fields and alignment
			continue
		}
		m.Close()
		w := newTwin(t, spec)
		for i := range 3 {
			if err := w.elem(cmdUpdate, le(4, uint64(i)), w.canonical(t, rnd, s, size), 0); err != nil {
				t.Fatal(err)
			}
		}
		w.compare(t)
	}
	t.Logf("%d of %d types refused by the kernel", refused, n)
}
