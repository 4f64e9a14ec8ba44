package offload

import (
	"bytes"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
)

// TestReasons checks that every error has a reason of the table, and every reason a
// link, a cause and a cure.
func TestReasons(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Reasons() {
		if r.Word == "" || r.Link == "" || r.Why == "" || r.Hint == "" || seen[r.Word] {
			t.Errorf("%+v is incomplete or twice in the table", r)
		}
		seen[r.Word] = true
		if strings.ToLower(r.Word) != r.Word || strings.ContainsAny(r.Word, " _") {
			t.Errorf("reason %q is no kebab-case word", r.Word)
		}
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), `Reason: "`)[1:] {
			if word, _, _ := strings.Cut(part, `"`); !seen[word] {
				t.Errorf("%s: reason %q is not in the table", name, word)
			}
		}
	}
}

// TestReaderThatPanics checks that a panic or an error of a reader is an error of the
// object.
func TestReaderThatPanics(t *testing.T) {
	d := &Deployment{Name: "fw", Source: "x.o", Mode: XDPOffload, Object: []byte("x")}
	for _, read := range []Opener{
		func([]byte, Settings) (*ebpf.CollectionSpec, error) { panic("index out of range") },
		func([]byte, Settings) (*ebpf.CollectionSpec, error) { return nil, errors.New("no ELF") },
		func([]byte, Settings) (*ebpf.CollectionSpec, error) { return nil, nil },
	} {
		if _, _, err := d.open(read); ReasonOf(err) != "bad-object" {
			t.Errorf("%v, want reason bad-object", err)
		}
	}
}

// examples are the objects of the examples.
func examples(t testing.TB) [][]byte {
	t.Helper()
	names, err := filepath.Glob("../examples/*.o")
	if err != nil || len(names) == 0 {
		t.Fatalf("no objects to start from: %v", err)
	}
	var all [][]byte
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, data)
	}
	return all
}

// FuzzObject reads untrusted objects as far as the manager does before the kernel.
func FuzzObject(f *testing.F) {
	for _, data := range examples(f) {
		f.Add(data)
	}
	f.Fuzz(hostile)
}

// TestHostileObjects is like FuzzObject, with a fixed number of objects in each of
// which up to 8 bytes are changed.
func TestHostileObjects(t *testing.T) {
	all := examples(t)
	for i := range 4000 {
		dice := rand.New(rand.NewPCG(uint64(i), 6))
		data := bytes.Clone(all[i%len(all)])
		for range 1 + dice.IntN(8) {
			data[dice.IntN(len(data))] = byte(dice.Uint32())
		}
		hostile(t, data)
	}
}

func hostile(t *testing.T, data []byte) {
	d := &Deployment{Name: "fw", Source: "fuzz", Mode: XDPOffload, Object: data}
	coll, prog, err := d.open(openELF)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
			t.Errorf("error %q is not one line with a reason", err)
		}
		return
	}
	specs, err := mapsOf(prog, coll)
	if err != nil {
		return
	}
	g := &Generation{Number: 1, Deployment: d}
	for _, spec := range specs {
		if path := mapPin(g, spec.Name); !strings.HasPrefix(path, "fw/gen-1/") || strings.Contains(path, "..") {
			t.Errorf("map %q is pinned as %q", spec.Name, path)
		}
		for _, kv := range spec.Contents {
			_, _ = entryBytes(kv.Key, int(spec.KeySize)) // must not panic
			_, _ = entryBytes(kv.Value, int(spec.ValueSize))
		}
	}
}

// Global data is carried over only between objects and settings that give it the same initial
// contents; other maps are not asked for theirs.
func TestStale(t *testing.T) {
	// The object is the sections' initial contents, as in "const var", of which Set gives the first.
	open := func(data []byte, s Settings) (*ebpf.CollectionSpec, error) {
		if len(data) == 0 {
			return nil, errors.New("lost")
		}
		first, second, _ := strings.Cut(string(data), " ")
		if len(s.Set) > 0 {
			first = s.Set[0]
		}
		spec := func(name, contents string) *ebpf.MapSpec {
			return &ebpf.MapSpec{Name: name, Contents: []ebpf.MapKV{{Key: uint32(0), Value: []byte(contents)}}}
		}
		return &ebpf.CollectionSpec{
			Programs: map[string]*ebpf.ProgramSpec{"p": {Name: "p", Type: ebpf.XDP}},
			Maps:     map[string]*ebpf.MapSpec{".rodata": spec(".rodata", first), ".data": spec(".data", second), "m": spec("m", string(data))},
		}, nil
	}
	s := &session{Manager: New(nil, Options{Open: open})}
	for _, tt := range []struct {
		old, new string
		set      []string
		want     map[string]bool
	}{
		{"a b", "a b", nil, map[string]bool{}},
		{"a b", "a c", nil, map[string]bool{".rodata": false, ".data": true}},
		{"a b", "c b", nil, map[string]bool{".rodata": true, ".data": false}},
		{"a b", "a b", []string{"x=1"}, map[string]bool{".rodata": true, ".data": false}},
		{"a b", "c b", []string{"a"}, map[string]bool{".rodata": false, ".data": false}},
		{"", "a b", nil, map[string]bool{".rodata": true, ".data": true}},
	} {
		old := &Generation{Deployment: &Deployment{Object: []byte(tt.old), Source: "x", Mode: XDPDriver}}
		d := &Deployment{Object: []byte(tt.new), Source: "x", Mode: XDPDriver, Settings: Settings{Set: tt.set}}
		coll, _, err := d.open(open)
		if err != nil {
			t.Fatal(err)
		}
		got := s.stale(old, d, slices.Collect(maps.Values(coll.Maps)))
		if !maps.Equal(got, tt.want) {
			t.Errorf("%q to %q %v: %v, want %v", tt.old, tt.new, tt.set, got, tt.want)
		}
		if len(s.stale(nil, d, slices.Collect(maps.Values(coll.Maps)))) > 0 {
			t.Error("a first generation has stale maps")
		}
	}
}
