//go:build linux

package uml

import (
	"fmt"
	"testing"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// The tests of this file run the offload manager in the guest: on the kernel's own
// nfp driver with our card, or on netdevsim.

// percentile is the value below which a share of sorted values lies.
func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// A thousand reloads under traffic: each frame meets one program, none is lost.
func TestReloadsUnderTraffic(t *testing.T) {
	l := goLive(t, &card.Options{Cable: true}, report.Word("reloads", "1000"))
	got := data[struct {
		Sent, Received, Reloads, Unfiltered, Backwards, Counted, Left int
		Micros                                                        []float64
	}](t, l.next("reloads"))
	t.Logf("suite: %d frames met %d reloads; a reload takes %.1f ms in the median, %.1f ms at p99 (guest's clock)",
		got.Sent, got.Reloads, percentile(got.Micros, 0.5)/1000, percentile(got.Micros, 0.99)/1000)
	if got.Reloads != 1000 || got.Received != got.Sent || got.Unfiltered != 0 || got.Backwards != 0 || got.Counted != got.Sent {
		got.Micros = nil
		t.Errorf("%+v: want 1000 reloads, and each frame received, marked by the program of its time, and counted", got)
	}
	if got.Left != 0 {
		t.Errorf("%d programs or maps are left", got.Left)
	}
	if got.Sent < got.Reloads {
		t.Errorf("%d frames for %d reloads: too little traffic to show anything", got.Sent, got.Reloads)
	}
	l.end()
}

// Processes are killed with SIGKILL at random moments; what they leave always converges.
func TestKills(t *testing.T) {
	for _, where := range []struct {
		name  string
		kills int
	}{{"netdevsim", 250}, {"card", 250}} {
		t.Run(where.name, func(t *testing.T) {
			t.Parallel()
			var opt *card.Options
			if where.name == "card" {
				opt = &card.Options{Cable: true}
			}
			l := goLive(t, opt, report.Word("kills", fmt.Sprintf("%d,%s", where.kills, where.name)))
			got := data[struct {
				Kills, Runs int
				Recovered   map[string]int
				Wrong       []string
			}](t, l.next("kills"))
			t.Logf("suite: %s: %d kills; operations found under way: %v; deployments found running: %d", where.name, got.Kills, got.Recovered, got.Runs)
			for _, w := range got.Wrong {
				t.Error(w)
			}
			if got.Kills != where.kills {
				t.Errorf("%d kills, want %d", got.Kills, where.kills)
			}
			for _, phase := range []string{"prepare", "switch", "retire"} {
				if got.Recovered[phase] == 0 {
					t.Errorf("no process was killed in phase %s", phase)
				}
			}
			l.end()
		})
	}
}

// selftestSteps is how many steps the kernel's own selftest for BPF offload prints.
const selftestSteps = 75

// One test for each step of the kernel's selftest, on netdevsim.
func TestKernelSelftest(t *testing.T) {
	reports := boot(t, options(t, "selftest"))
	got := data[[]struct{ Name, Error string }](t, reports[0])
	names := map[string]bool{}
	for i, c := range got {
		names[c.Name] = true
		t.Run(fmt.Sprintf("%02d %s", i+1, c.Name), func(t *testing.T) {
			if c.Error != "" {
				t.Error(c.Error)
			}
		})
	}
	if len(names) != selftestSteps {
		t.Errorf("%d steps, want %d", len(names), selftestSteps)
	}
}
