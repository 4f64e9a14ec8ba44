//go:build linux

package uml

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// The tests of this file run the offload manager in the guest: on the kernel's own
// nfp driver with our card, or on netdevsim.

// counted is a count of the environment, for soaks.
func counted(t *testing.T, variable string, usual int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < usual {
		t.Fatalf("%s=%s: want a number of %d or more", variable, text, usual)
	}
	return n
}

// percentile is the value below which a share of sorted values lies.
func percentile(sorted []float64, share float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// reloaded is the guest's report of reloads under traffic.
type reloaded struct {
	Sent, Received, Reloads, Unfiltered, Backwards, Counted, Left int
	Micros                                                        []float64 // sorted
}

// BenchmarkReload is a reload while frames come in: loading, carrying the map over, the
// journal's four transactions, the swap, and dropping what was.
func BenchmarkReload(b *testing.B) {
	k := kernelOf(b, Newest)
	l := k.goLive(b, &card.Options{Cable: true}, report.Word("reloads", strconv.Itoa(b.N)))
	got := data[reloaded](b, l.next("reloads"))
	l.end()
	b.ReportMetric(percentile(got.Micros, 0.5)/1000, "ms-median")
	b.ReportMetric(percentile(got.Micros, 0.99)/1000, "ms-p99")
	b.ReportMetric(float64(got.Sent)/float64(b.N), "frames/op")
}

// Reloads under traffic: each frame meets one program, none is lost.
func TestReloadsUnderTraffic(t *testing.T) { everyKernel(t, testReloadsUnderTraffic) }

func testReloadsUnderTraffic(t *testing.T, k *kernel) {
	want := counted(t, "NFPKIT_RELOADS", 300)
	l := k.goLive(t, &card.Options{Cable: true}, report.Word("reloads", strconv.Itoa(want)))
	got := data[reloaded](t, l.next("reloads"))
	t.Logf("suite: %d frames met %d reloads; a reload takes %.1f ms in the median, %.1f ms at p99 (guest's clock)",
		got.Sent, got.Reloads, percentile(got.Micros, 0.5)/1000, percentile(got.Micros, 0.99)/1000)
	if got.Reloads != want || got.Received != got.Sent || got.Unfiltered != 0 || got.Backwards != 0 || got.Counted != got.Sent {
		got.Micros = nil
		t.Errorf("%+v: want all reloads, and each frame received, marked by the program of its time, and counted", got)
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
func TestKills(t *testing.T) { everyKernel(t, testKills) }

func testKills(t *testing.T, k *kernel) {
	each := counted(t, "NFPKIT_KILLS", 240) / 2
	for _, where := range []struct {
		name  string
		kills int
	}{{"netdevsim", each}, {"card", each}} {
		t.Run(where.name, func(t *testing.T) {
			t.Parallel()
			var opt *card.Options
			if where.name == "card" {
				opt = &card.Options{Cable: true}
			}
			l := k.goLive(t, opt, report.Word("kills", fmt.Sprintf("%d,%s", where.kills, where.name)))
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

// selftestStep is the result of one step of the selftest.
type selftestStep struct {
	Name, Error, Skipped string
	Ms, Frames           int
}

// One test for each step of the kernel's selftest, on netdevsim.
func TestKernelSelftest(t *testing.T) { everyKernel(t, testKernelSelftest) }

func testKernelSelftest(t *testing.T, k *kernel) {
	reports := boot(t, k.options(t, "selftest"))
	checkSelftest(t, data[[]selftestStep](t, reports[0]))
}

// TestKernelSelftestOnCard runs the steps that make sense on a card, while frames
// arrive.
func TestKernelSelftestOnCard(t *testing.T) { everyKernel(t, testKernelSelftestOnCard) }

func testKernelSelftestOnCard(t *testing.T, k *kernel) {
	l := k.goLive(t, &card.Options{Cable: true}, report.Word("selftest", "card"))
	steps := data[[]selftestStep](t, l.next("selftest"))
	checkSelftest(t, steps)
	ran, frames := 0, 0
	for _, c := range steps {
		if c.Skipped == "" {
			ran++
			frames += c.Frames
		}
	}
	t.Logf("suite: %d of %d steps make sense on a card; %d frames came in meanwhile", ran, len(steps), frames)
	l.end()
}

func checkSelftest(t *testing.T, got []selftestStep) {
	t.Helper()
	names := map[string]bool{}
	for i, c := range got {
		names[c.Name] = true
		t.Run(fmt.Sprintf("%02d %s", i+1, c.Name), func(t *testing.T) {
			t.Logf("%d ms, %d frames", c.Ms, c.Frames)
			if c.Skipped != "" {
				t.Skip(c.Skipped)
			}
			if c.Error != "" {
				t.Error(c.Error)
			}
		})
	}
	if len(names) != selftestSteps {
		t.Errorf("%d steps, want %d", len(names), selftestSteps)
	}
}

// bpftool returns the host's bpftool with the libraries that it needs, for the guest,
// or nothing if the host has none.
func bpftool(t testing.TB) map[string][]byte {
	t.Helper()
	path, err := exec.LookPath("bpftool")
	if err != nil {
		t.Log("suite: no bpftool to compare with: install the package bpftool")
		return nil
	}
	out, err := exec.Command("ldd", path).Output()
	if err != nil {
		t.Fatalf("ldd %s: %v", path, err)
	}
	files := map[string][]byte{}
	add := func(name, from string) {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	add("bin/bpftool", path)
	for word := range strings.FieldsSeq(string(out)) {
		if strings.HasPrefix(word, "/") {
			add(word, word)
		}
	}
	return files
}

// mapSpeed is how long it took to write and read entries, in microseconds.
type mapSpeed struct {
	Entries      int
	Update, Dump float64
}

// mapSpeeds has a guest fill and dump maps; bpftool gets fewer entries on the card.
func (k *kernel) mapSpeeds(t testing.TB, entries, slow int) map[string]mapSpeed {
	o := k.options(t, report.Word("mapspeed", fmt.Sprintf("%d,%d", entries, slow)))
	o.Files, o.Memory = bpftool(t), 256
	l := boots(t, nil, o)
	got := data[map[string]mapSpeed](t, l.next("mapspeed"))
	l.end()
	return got
}

// BenchmarkMapEntries is updates and dumps of maps with b.N entries, by the manager and by
// bpftool, a microsecond figure for each.
func BenchmarkMapEntries(b *testing.B) {
	k := kernelOf(b, Newest)
	for name, s := range k.mapSpeeds(b, b.N, max(b.N/10, 1)) {
		name = strings.ReplaceAll(name, ", ", "-")
		b.ReportMetric(s.Update/float64(s.Entries), name+"-update-us")
		b.ReportMetric(s.Dump/float64(s.Entries), name+"-dump-us")
	}
}

// Many entries, in host memory and on the card, beside bpftool on the same kernel.
func TestMapSpeed(t *testing.T) { everyKernel(t, testMapSpeed) }

func testMapSpeed(t *testing.T, k *kernel) {
	got := k.mapSpeeds(t, 100_000, 5000)
	for _, name := range slices.Sorted(maps.Keys(got)) {
		s := got[name]
		t.Logf("suite: %s: %d entries: update %.1f us each, dump %.1f us each (guest's clock)", name, s.Entries, s.Update/float64(s.Entries), s.Dump/float64(s.Entries))
	}
	if len(got) < 2 {
		t.Errorf("%d results, want those of the host and of the card at least", len(got))
	}
}

// The manager on a card that runs programs, with frames that show which one they met.
func TestManage(t *testing.T) { everyKernel(t, testManage) }

func testManage(t *testing.T, k *kernel) {
	l := k.goLive(t, &card.Options{Cable: true}, "manage")
	for _, c := range data[[]struct {
		Name, Error string
		Ms          int
	}](t, l.next("manage")) {
		t.Run(c.Name, func(t *testing.T) {
			t.Logf("%d ms", c.Ms)
			if c.Error != "" {
				t.Error(c.Error)
			}
		})
	}
	l.end()
}

// refusedCase is how the guest's kernel refused something.
type refusedCase struct {
	Reason, Line, Extack string
	Log, Kernel          []string
}

// Each refusal has a reason of its own and keeps what the kernel said.
func TestRefusals(t *testing.T) { everyKernel(t, testRefusals) }

func testRefusals(t *testing.T, k *kernel) {
	for _, bed := range []struct {
		name string
		opt  card.Options
		want map[string]refusedCase // parts of texts
	}{
		{"card", card.Options{Cable: true}, map[string]refusedCase{
			"wrong device":                      {Reason: "wrong-device", Extack: "Program bound to different device"},
			"driver without offload":            {Reason: "no-offload"},
			"wrong type":                        {Reason: "wrong-type"},
			"unsupported map":                   {Reason: "map-type"},
			"full card":                         {Reason: "card-full", Kernel: []string{"map with too many elements"}},
			"value too large":                   {Reason: "card-full", Kernel: []string{"map elements too large"}},
			"exit code that the driver refuses": {Reason: "driver-rejected", Log: []string{"[nfp] unsupported exit state"}},
			"foreign namespace":                 {Reason: "foreign-namespace"},
			"no such port":                      {Reason: "no-port"},
			"held by a bpf_link":                {Reason: "link-held", Extack: "Can't replace active BPF XDP link"},
			"no permission":                     {Reason: "no-permission"},
			"link gone mid-operation":           {Reason: "port-gone"},
		}},
		{"nofirmware", card.Options{App: 1}, map[string]refusedCase{
			"missing firmware":         {Reason: "no-firmware"},
			"missing firmware, no map": {Reason: "no-firmware"},
		}},
	} {
		t.Run(bed.name, func(t *testing.T) {
			t.Parallel()
			l := k.goLive(t, &bed.opt, report.Word("refusals", bed.name))
			got := data[map[string]refusedCase](t, l.next("refusals"))
			for name, w := range bed.want {
				if name == "wrong device" && k.version == "6.1" {
					w.Extack = "" // its nfp driver gives no reason
				}
				g, ok := got[name]
				all := strings.Join(append(g.Log, g.Kernel...), "\n")
				if !ok || g.Reason != w.Reason || !strings.Contains(g.Extack, w.Extack) || !strings.Contains(all, strings.Join(append(w.Log, w.Kernel...), "")) {
					t.Errorf("%s: %+v, want %+v", name, g, w)
				}
				if strings.Contains(g.Line, "\n") {
					t.Errorf("%s: %q is more than a line", name, g.Line)
				}
				t.Logf("%s: %s", name, g.Line)
			}
			if len(got) != len(bed.want) {
				t.Errorf("%d refusals, want %d", len(got), len(bed.want))
			}
			l.end()
		})
	}
}

// TestPrivileges checks that the manager needs only two capabilities, and reports a
// missing one.
func TestPrivileges(t *testing.T) { everyKernel(t, testPrivileges) }

func testPrivileges(t *testing.T, k *kernel) {
	l := k.goLive(t, nil, "caps")
	for name, g := range data[map[string]refusedCase](t, l.next("caps")) {
		if want := map[bool]string{false: "no-permission"}[name == "both"]; g.Reason != want {
			t.Errorf("%s: %+v, want reason %q", name, g, want)
		}
	}
	l.end()
}
