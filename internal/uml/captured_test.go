package uml

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Translations are kept, and refusals for reasons of the program; refusals of a guest that
// lacked a resource are not, nor are they read if an earlier version kept them.
func TestCapturedKeepsNoScarcity(t *testing.T) {
	for _, c := range []struct {
		refused string
		kept    bool
	}{
		{"", true},
		{"load: invalid argument: [nfp] unsupported ptr type: 6", true},
		{"load: operation not supported: [nfp] unsupported function id: 5", true},
		{"map 0: create map of eth0: cannot allocate memory: <3>[    2.810000] NFP net bpf: map with too many elements: 4000000, left: 3072000", true},
		{"load: invalid argument: <3>[    2.810000] NFP net bpf: Translation failed with error -28 (translated: 1852)", true},
		{"load: no space left on device", false},
		{"load: no space left on device: 4: (95) exit", false},
		{"map 1: create map: cannot allocate memory", false},
		{"attach: device or resource busy", false},
		{"load: resource temporarily unavailable", false},
	} {
		path := filepath.Join(t.TempDir(), "x.json")
		want := &Translation{Words: []uint64{1, 2}, Refused: c.refused}
		if err := keep(path, want); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(path); (err == nil) != c.kept {
			t.Errorf("%q: %v, want it kept: %v", c.refused, err, c.kept)
		}
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if !c.kept {
			want = nil
		}
		if got, err := recall(path); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%q: read %+v, %v, want %+v", c.refused, got, err, want)
		}
	}
	if got, err := recall(filepath.Join(t.TempDir(), "none")); got != nil || err != nil {
		t.Errorf("no file: %+v, %v", got, err)
	}
}
