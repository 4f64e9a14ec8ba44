package driver

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
)

func spec(typ ebpf.MapType, key, value, n uint32) *ebpf.MapSpec {
	return &ebpf.MapSpec{Name: "m", Type: typ, KeySize: key, ValueSize: value, MaxEntries: n}
}

func TestMapLimits(t *testing.T) {
	for _, c := range []struct {
		firmware string
		first    *ebpf.MapSpec
		spec     *ebpf.MapSpec
		reason   string
	}{
		{"stock", nil, spec(ebpf.Hash, 8, 8, 1000), ""},
		{"stock", nil, spec(ebpf.LRUHash, 8, 8, 1000), "map-type"},
		{"stock", nil, spec(ebpf.Hash, 60, 4, 10), "map-key"},
		{"stock", nil, spec(ebpf.Hash, 4, 64, 10), "map-value"},
		{"stock", nil, spec(ebpf.Hash, 33, 32, 10), "map-entry"},
		{"stock", nil, spec(ebpf.Hash, 32, 32, 10), ""},
		{"stock", nil, spec(ebpf.Hash, 4, 4, 3072001), "map-entries"},
		{"stock", spec(ebpf.Hash, 4, 4, 3072000), spec(ebpf.Array, 4, 4, 1), "map-entries"},
		{"stock", nil, spec(ebpf.PerfEventArray, 4, 4, 2), ""},
		{"stock", nil, spec(ebpf.Array, 8, 4, 2), "map-create"},
		{"corenic", nil, spec(ebpf.PerfEventArray, 4, 4, 2), "map-type"},
		{"extended", nil, spec(ebpf.LPMTrie, 8, 200, 10), "map-create"},
		{"extended", nil, spec(ebpf.Array, 4, 1<<20, 1024), "map-address"},
		{"corenic-direct", nil, spec(ebpf.Array, 4, 4, 4), ""},
		{"corenic-direct", nil, spec(ebpf.Array, 4, 4, 5), "map-entries"},
		{"corenic-direct", spec(ebpf.Array, 4, 4, 4), spec(ebpf.Array, 4, 4, 4), "map-count"},
	} {
		n, err := New(profile(t, c.firmware), nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.first != nil {
			if _, err := n.CreateMap(c.first); err != nil {
				t.Fatal(err)
			}
		}
		_, err = n.CreateMap(c.spec)
		var e *MapError
		if errors.As(err, &e); (err == nil) != (c.reason == "") || err != nil && (e == nil || e.Reason != c.reason) {
			t.Errorf("%s %s key %d value %d entries %d: %v, want %q", c.firmware, c.spec.Type, c.spec.KeySize, c.spec.ValueSize, c.spec.MaxEntries, err, c.reason)
		}
		if err != nil && strings.ContainsRune(err.Error(), '\n') {
			t.Errorf("more than one line: %v", err)
		}
	}
}

// TestArrayNotThere checks that an array element is not found before its first write
// on the open firmware.
func TestArrayNotThere(t *testing.T) {
	n, err := New(profile(t, "corenic"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.CreateMap(spec(ebpf.Array, 4, 8, 4))
	if err != nil {
		t.Fatal(err)
	}
	one, two, value := []byte{1, 0, 0, 0}, []byte{2, 0, 0, 0}, make([]byte, 8)
	if _, ok := m.find(one); ok {
		t.Error("found before it was written")
	}
	if _, err := m.LookupAll(one); !errors.Is(err, maps.ENOENT) {
		t.Errorf("host lookup: %v", err)
	}
	if err := m.UpdateAll(one, value, 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.find(one); !ok {
		t.Error("not found after it was written")
	}
	if err := m.LoadJSON(strings.NewReader(`[{"key": 3, "value": 9}]`)); err != nil {
		t.Fatal(err)
	}
	if _, ok := m.find(two); !ok {
		t.Error("not found after the host initialised the map")
	}
}

// TestCounterUse checks that words that become counters are swapped in the host's
// earlier values, and that the host sees no difference.
func TestCounterUse(t *testing.T) {
	n, err := New(profile(t, "stock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.CreateMap(spec(ebpf.Hash, 4, 12, 4))
	if err != nil {
		t.Fatal(err)
	}
	key, value := []byte{1, 2, 3, 4}, []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}
	if err := m.UpdateAll(key, value, 0); err != nil {
		t.Fatal(err)
	}
	if err := m.setUse([]nfp.WordUse{nfp.UsePlain, nfp.UseCounter}); err != nil {
		t.Fatal(err)
	}
	off, _ := m.find(key)
	if got := m.region.Data[off : off+12]; string(got) != "\x01\x02\x03\x04\x08\x07\x06\x05\x09\x0a\x0b\x0c" {
		t.Errorf("in memory: %x", got)
	}
	if got, err := m.LookupAll(key); err != nil || string(got) != string(value) {
		t.Errorf("host sees %x, %v", got, err)
	}
	dump, err := m.DumpJSON()
	if err != nil || !strings.Contains(string(dump), "0102030405060708090a0b0c") && !strings.Contains(strings.ReplaceAll(string(dump), " ", ""), "0102030405060708090a0b0c") {
		t.Errorf("dump: %s, %v", dump, err)
	}
	var e *MapError
	if err := m.setUse([]nfp.WordUse{nfp.UseNone, nfp.UsePlain}); !errors.As(err, &e) || e.Reason != "map-use" {
		t.Errorf("conflict: %v", err)
	}
}

// TestDirectArray checks that values of corenic-direct's array are a power of two
// apart.
func TestDirectArray(t *testing.T) {
	n, err := New(profile(t, "corenic-direct"), nil)
	if err != nil {
		t.Fatal(err)
	}
	m, err := n.CreateMap(spec(ebpf.Array, 4, 12, 4))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.UpdateAll([]byte{3, 0, 0, 0}, []byte("twelve bytes"), 0); err != nil {
		t.Fatal(err)
	}
	if got := string(m.region.Data[48:60]); got != "twelve bytes" {
		t.Errorf("at 48: %q", got)
	}
	if err := m.UpdateAll([]byte{4, 0, 0, 0}, make([]byte, 12), 0); !errors.Is(err, maps.E2BIG) {
		t.Errorf("index 4 of 4: %v", err)
	}
	if k, err := m.NextKey([]byte{2, 0, 0, 0}); err != nil || k[0] != 3 {
		t.Errorf("next of 2: %v, %v", k, err)
	}
	if _, err := m.NextKey([]byte{3, 0, 0, 0}); !errors.Is(err, maps.ENOENT) {
		t.Errorf("next of 3: %v", err)
	}
}
