//go:build linux

package uml

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/runbook"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// nfpctl is the command as the guest runs it.
var nfpctl = sync.OnceValues(func() ([]byte, error) {
	path := filepath.Join(initDir, "nfpctl")
	if err := BuildInit(context.Background(), "github.com/nfpkit/nfpkit/cmd/nfpctl", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// bootsNfpctl is goLiveWith with nfpctl among the files.
func (k *kernel) bootsNfpctl(t *testing.T, files map[string][]byte, opt *card.Options, steps ...string) *live {
	t.Helper()
	o := k.options(t, steps...)
	o.Files, o.Memory = map[string][]byte{}, 256
	var err error
	if o.Files["nfpctl"], err = nfpctl(); err != nil {
		t.Fatal(err)
	}
	maps.Copy(o.Files, files)
	return boots(t, opt, o)
}

// The commands of docs/operations.md, typed into the real nfpctl, do on Linux's own nfp
// driver what the document shows.
func TestRunbook(t *testing.T) {
	everyKernel(t, func(t *testing.T, k *kernel) { follow(t, k, "../../docs/operations.md") })
}

// The same for verbs that a reader of the runbook does not need.
func TestNfpctl(t *testing.T) {
	everyKernel(t, func(t *testing.T, k *kernel) { follow(t, k, "testdata/nfpctl.md") })
}

func follow(t *testing.T, k *kernel, document string) {
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	steps, err := runbook.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	if files["runbook.json"], err = json.Marshal(steps); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"firewall.o", "counters.o"} {
		if files[name], err = os.ReadFile(filepath.Join("../../examples", name)); err != nil {
			t.Fatal(err)
		}
	}
	l := k.bootsNfpctl(t, files, &card.Options{Cable: true}, "runbook", "dmesg")
	told := data[[]struct {
		Output string
		Exit   int
	}](t, l.next("runbook"))
	if len(told) != len(steps) {
		t.Errorf("%d of %d steps were done", len(told), len(steps))
	}
	for i, r := range told {
		if err := steps[i].Check(r.Output, r.Exit); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.Logf("kernel: %s", l.next("dmesg").Data)
		return
	}
	l.next("dmesg")
	l.end()
}

// The doctor names the link that is broken, and finds the limits that the card's firmware
// has; nfpctl keeps no more privileges than it says.
func TestDoctor(t *testing.T) { everyKernel(t, testDoctor) }

func testDoctor(t *testing.T, k *kernel) {
	type link struct{ link, reason string }
	for _, bed := range []struct {
		name string
		opt  card.Options
		want map[string]link
	}{
		{"card", card.Options{}, map[string]link{
			"well":                   {},
			"no permission":          {"permission", "no-permission"},
			"no such port":           {"port", "no-port"},
			"driver without offload": {"driver", "no-offload"},
			"no bpf file system":     {"kernel", "pin"},
			"old kernel":             {"kernel", "old-kernel"},
			"no driver":              {"driver", "no-driver"},
			"no card":                {"port", "no-port"},
		}},
		{"nofirmware", card.Options{App: 1}, map[string]link{"missing firmware": {"firmware application", "no-firmware"}}},
	} {
		t.Run(bed.name, func(t *testing.T) {
			t.Parallel()
			l := k.bootsNfpctl(t, nil, &bed.opt, report.Word("doctors", bed.name))
			found := data[map[string]struct {
				Exit int
				Host struct {
					Capabilities []string
					More         bool `json:"more_capabilities"`
				}
				Broken struct{ Port, Link, Reason, What, Cure string }
				Limits map[string]int
			}](t, l.next("doctors"))
			for name, w := range bed.want {
				d, ok := found[name]
				if !ok || d.Broken.Link != w.link || d.Broken.Reason != w.reason || d.Exit != map[bool]int{true: 1}[w.link != ""] {
					t.Errorf("%s: %+v, want broken link %q, reason %q", name, d, w.link, w.reason)
				}
				if w.link != "" && d.Broken.Cure == "" {
					t.Errorf("%s: %+v has no cure", name, d.Broken)
				}
				t.Logf("%s: %s", name, d.Broken.What)
			}
			if bed.name == "card" {
				well, p := found["well"], l.card.NIC().Profile
				for name, n := range map[string]int{"maps": p.Maps.Count, "map_entries": p.Maps.Entries, "bytes_key": p.Maps.Key, "bytes_value": p.Maps.Value, "bytes_stack": 512} {
					if well.Limits[name] != n {
						t.Errorf("limit %s: at least %d, the firmware has %d", name, well.Limits[name], n)
					}
				}
				if w := well.Limits["words"]; w == 0 || w > p.MaxLen {
					t.Errorf("a program of %d words was loaded, the firmware has %d", w, p.MaxLen)
				}
				t.Logf("limits: %v", well.Limits)
				if h := well.Host; h.More || !slices.Equal(h.Capabilities, []string{"cap_bpf", "cap_net_admin", "cap_sys_admin", "cap_syslog"}) {
					t.Errorf("capabilities %v, others %v", h.Capabilities, h.More)
				}
			}
			l.end()
		})
	}
}
