package live_test

import (
	"testing"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/offload"
)

// TestProbe checks that the limits found by probing are those of the firmware's
// profile.
func TestProbe(t *testing.T) {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	b := newBed(t)
	ports, err := b.kernel.Ports("")
	b.ok(err)
	f, err := offload.Probe(t.Context(), b.kernel, &ports[0])
	b.ok(err)
	for name, want := range map[string]int{
		"maps": p.Maps.Count, "map_entries": p.Maps.Entries, "bytes_key": p.Maps.Key, "bytes_value": p.Maps.Value, "bytes_stack": min(p.Stack, 512),
	} {
		for _, l := range f.Limits {
			if l.Name == name && l.AtLeast != want {
				t.Errorf("%s: at least %d by %q, the profile has %d", name, l.AtLeast, l.Source, want)
			}
		}
	}
	for _, l := range f.Limits {
		t.Logf("%+v", l)
	}
	for _, x := range f.Features {
		t.Logf("%+v", x)
	}
	for _, x := range []struct {
		kind, name string
		want       bool
	}{
		{"program_type", "xdp", true}, {"map_type", "hash", true}, {"map_type", "lpm_trie", false}, {"helper", "bpf_map_lookup_elem", true},
		{"instruction", "modulo", false}, {"instruction", "multiply", true}, {"instruction", "atomic add", true},
	} {
		if f.Have(x.kind, x.name) != x.want {
			t.Errorf("%s %s: want %v", x.kind, x.name, x.want)
		}
	}
	b.left(live.Left{})
	b.card.Unplug()
	_, err = offload.Probe(t.Context(), b.kernel, &ports[0])
	b.refused(err, "port-gone")
}
