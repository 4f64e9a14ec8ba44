//go:build linux

package uml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/driver/card/vhost"
	"github.com/nfpkit/nfpkit/internal/uml/report"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// The tests of this file and its neighbours boot a guest whose unmodified nfp driver
// binds to our card. The guest's steps see the same as a user of the card, and the
// tests compare that with the card's own state.

// live is a card and the guest whose kernel drives it.
type live struct {
	t         testing.TB
	card      *card.Card
	transport *vhost.Transport
	guest     *Guest
	console   lockedBuffer
	unplug    context.CancelFunc // the card's sudden death
	served    chan error

	mu     sync.Mutex
	logged []string // what the card blamed the guest for
}

// lockedBuffer receives the console's output while a test may read it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// guestTime bounds the life of a guest with a card. Most end in seconds, some take minutes
// beside other suites on a host that is slow to switch between processes.
const guestTime = 20 * time.Minute

// goLive boots a guest with a card; the guest ends with the test.
func (k *kernel) goLive(t testing.TB, opt *card.Options, steps ...string) *live {
	t.Helper()
	return boots(t, opt, k.options(t, steps...))
}

// goLiveWith is goLive with more files in the guest.
func (k *kernel) goLiveWith(t testing.TB, files map[string][]byte, opt *card.Options, steps ...string) *live {
	t.Helper()
	o := k.options(t, steps...)
	o.Files = files
	return boots(t, opt, o)
}

// boots is goLive with other options of the guest.
func boots(t testing.TB, opt *card.Options, o *Options) *live {
	t.Helper()
	l := &live{t: t, served: make(chan error, 1)}
	log := func(line string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.logged = append(l.logged, line)
	}
	c := card.Options{}
	if opt != nil {
		c = *opt
	}
	c.Log = log
	var err error
	if l.card, err = card.New(&c); err != nil {
		t.Fatal(err)
	}
	l.transport = vhost.New(log)
	l.card.Attach(l.transport)
	o.Socket = filepath.Join(t.TempDir(), "card")
	ln, err := vhost.Listen(o.Socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	plugged, unplug := context.WithCancel(t.Context())
	l.unplug = unplug
	go func() {
		conn, err := ln.AcceptUnix()
		if err == nil {
			err = l.transport.Serve(plugged, conn, l.card)
		}
		l.served <- err
	}()
	o.Console = &l.console
	ctx, cancel := context.WithTimeout(t.Context(), guestTime)
	t.Cleanup(cancel)
	if l.guest, err = Start(ctx, o); err != nil {
		t.Fatal(err)
	}
	return l
}

// next is the guest's next report, which must be of step and without error.
func (l *live) next(step string) report.Report {
	l.t.Helper()
	start := time.Now()
	r, err := l.guest.Next()
	l.t.Logf("step %s: %v", r.Step, time.Since(start).Round(time.Millisecond))
	if err != nil {
		l.t.Fatalf("step %s: %v\nconsole:\n%s", step, err, &l.console)
	}
	if r.Error != "" {
		l.t.Errorf("step %s: %s", r.Step, r.Error)
	}
	if r.Step != step {
		l.t.Fatalf("report of step %s, want one of %s\nconsole:\n%s", r.Step, step, &l.console)
	}
	return r
}

// tell answers the guest.
func (l *live) tell() {
	l.t.Helper()
	if err := l.guest.Tell(""); err != nil {
		l.t.Fatal(err)
	}
}

// end waits for the guest's end; the card may have blamed it for nothing else than
// what one of the allowed texts has.
func (l *live) end(allowed ...string) {
	l.t.Helper()
	if r, err := l.guest.Next(); !errors.Is(err, io.EOF) {
		l.t.Fatalf("report %+v, %v; want the guest's end\nconsole:\n%s", r, err, &l.console)
	}
	if err := <-l.served; err != nil && !errors.Is(err, context.Canceled) {
		l.t.Errorf("serving the guest: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.logged {
		ok := false
		for _, a := range allowed {
			ok = ok || strings.Contains(line, a)
		}
		if !ok {
			l.t.Errorf("the card says: %s", line)
		}
	}
}

// netdev is a network interface as the guest sees it.
type netdev struct {
	Name, Driver, Firmware, Bus string
}

func checkProbed(t *testing.T, r report.Report) {
	t.Helper()
	devs := data[[]netdev](t, r)
	if len(devs) != 2 {
		t.Errorf("%d interfaces, want two: %+v", len(devs), devs)
	}
	for _, d := range devs {
		if d.Driver != "nfp" || !strings.HasSuffix(d.Firmware, " ebpf") {
			t.Errorf("interface %+v, want one of the driver nfp with the firmware application ebpf", d)
		}
	}
}

func TestProbe(t *testing.T) { everyKernel(t, testProbe) }

func testProbe(t *testing.T, k *kernel) {
	l := k.goLive(t, nil, "probe", "rebind", "probe", "rescan", "probe", "dmesg")
	checkProbed(t, l.next("probe"))
	for _, step := range []string{"rebind", "rescan"} {
		l.next(step)
		checkProbed(t, l.next("probe"))
	}
	l.next("dmesg")
	l.end()
}

// Every card that there is.
func TestProbeModels(t *testing.T) { everyKernel(t, testProbeModels) }

func testProbeModels(t *testing.T, k *kernel) {
	for _, m := range card.Models() {
		t.Run(m.Name, func(t *testing.T) {
			l := k.goLive(t, &card.Options{Model: m.Name}, "rebind", "probe", "rebind", "probe")
			for range 2 {
				l.next("rebind")
				devs := data[[]netdev](t, l.next("probe"))
				if len(devs) != len(m.Ports) {
					t.Errorf("%d interfaces, the card has %d ports", len(devs), len(m.Ports))
				}
				for _, d := range devs {
					if !strings.HasSuffix(d.Firmware, " ebpf") {
						t.Errorf("interface %+v: want firmware application ebpf", d)
					}
				}
			}
			l.end()
		})
	}
}

// The driver loads the firmware that it finds in a file, and writes flash.
func TestFirmwareFiles(t *testing.T) { everyKernel(t, testFirmwareFiles) }

func testFirmwareFiles(t *testing.T, k *kernel) {
	const flashFile = "netronome/flash.nffw"
	image := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i * 7 >> 3)
		}
		return b
	}
	firmware, flash := image(300<<10), image(3<<20+100)
	l := k.goLiveWith(t, map[string][]byte{
		"/lib/firmware/netronome/nic_AMDA0097-0001_2x40.nffw": firmware,
		"/lib/firmware/" + flashFile:                          flash,
	}, nil, "probe", report.Word("flash", flashFile), "wait", "dmesg")
	checkProbed(t, l.next("probe"))
	l.next("flash")
	if r := l.next("wait"); !r.Waits {
		t.Fatalf("report %+v, want one that waits", r)
	}
	var loaded, flashed card.Image
	l.do(func() { loaded, flashed = l.card.Images() })
	for what, test := range map[string]struct {
		got  card.Image
		sent []byte
	}{"firmware": {loaded, firmware}, "flash": {flashed, flash}} {
		if want := card.ImageOf(test.sent); test.got != want {
			t.Errorf("%s: the card has an image of %d bytes, CRC %d; %d bytes, CRC %d were sent", what, test.got.Bytes, test.got.CRC, want.Bytes, want.CRC)
		}
	}
	l.tell()
	l.next("wait")
	log := strings.Join(data[[]string](t, l.next("dmesg")), "\n")
	if !strings.Contains(log, "nic_AMDA0097-0001_2x40.nffw: found") {
		t.Errorf("the kernel's log does not say that firmware was found:\n%s", log)
	}
	l.end()
}

// running is the guest's report of a port's program.
type running struct {
	Port  int
	ID    uint32
	Words []uint64
}

// checkRunning compares the kernel's words, linked for the card's port by our own
// linker, with the words that arrived by DMA.
func (l *live) checkRunning(r running) {
	l.t.Helper()
	var got []uint64
	var on bool
	done := make(chan struct{})
	if err := l.transport.Do(func() { got, on = l.card.Words(r.Port); close(done) }); err != nil {
		l.t.Fatal(err)
	}
	<-done
	if on != (r.ID != 0) {
		l.t.Errorf("port %d: the card runs a program: %v; the kernel's program is %d", r.Port, on, r.ID)
	}
	if r.ID == 0 {
		return
	}
	want := l.link(r)
	if !slices.Equal(got, want) {
		l.t.Errorf("port %d: %d words arrived, %d expected:\n%x\n%x", r.Port, len(got), len(want), got, want)
	}
}

// link returns the words that the driver has to send for the words that it shows.
func (l *live) link(r running) []uint64 {
	l.t.Helper()
	var listing strings.Builder
	for i, w := range r.Words {
		fmt.Fprintf(&listing, "%d:\t%016x\n", 8*i, w)
	}
	im, err := nfp.Assemble(listing.String())
	if err != nil {
		l.t.Fatalf("the kernel's words: %v\n%s", err, &listing)
	}
	p := l.card.NIC().Profile
	linked, err := im.Link(nfp.Placement{Start: p.Start + r.Port*p.MaxLen, Done: p.Done, Helpers: p.Helpers})
	if err != nil {
		l.t.Fatalf("link the kernel's words: %v", err)
	}
	raw := make([]uint64, len(linked))
	for i, w := range linked {
		raw[i] = nfp.WithECC(w)
	}
	return raw
}

func TestOffloadXDP(t *testing.T) { everyKernel(t, testOffloadXDP) }

func testOffloadXDP(t *testing.T, k *kernel) {
	l := k.goLive(t, &card.Options{Cable: true}, "xdp", "replace", "tc")
	for {
		r := l.next("xdp")
		if !r.Waits {
			break
		}
		l.checkRunning(data[running](t, r))
		l.tell()
	}
	f := data[flowed](t, l.next("replace"))
	t.Logf("%d frames, %d replacements, frames by program %v", f.Sent, f.Swaps, f.Marks)
	if f.Received != f.Sent || f.Marks[1]+f.Marks[2] != f.Sent || f.Swaps < 2 {
		t.Errorf("%+v: each frame must have met one of the two programs", f)
	}
	flows := data[map[string]flowed](t, l.next("tc"))
	if f := flows["with"]; f.Received != 0 {
		t.Errorf("%d of %d frames passed a filter that drops all", f.Received, f.Sent)
	}
	if f := flows["without"]; f.Received != f.Sent {
		t.Errorf("%d of %d frames arrived without the filter", f.Received, f.Sent)
	}
	l.end()
}

// flowed is the fate of the frames that the guest sent.
type flowed struct {
	Sent, Received, Swaps int
	Marks                 map[int]int
}

func TestOffloadedMaps(t *testing.T) { everyKernel(t, testOffloadedMaps) }

func testOffloadedMaps(t *testing.T, k *kernel) {
	for _, abi := range []string{"abi 3", "abi 3, single entries", "abi 2"} {
		t.Run(abi, func(t *testing.T) {
			l := k.goLive(t, mapCard(t, abi), "maps")
			cost := data[map[string]float64](t, l.next("maps"))
			t.Logf("%.0f us per update", cost["us_per_update"])
			l.end()
		})
	}
}

// mapCard is a card that speaks an ABI of map messages.
func mapCard(t *testing.T, abi string) *card.Options {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	opt := &card.Options{Firmware: p, SingleEntry: abi != "abi 3"}
	if abi == "abi 2" {
		p.ABI = 2
	}
	return opt
}

func TestMapLimits(t *testing.T) { everyKernel(t, testMapLimits) }

func testMapLimits(t *testing.T, k *kernel) {
	stock, roomy := *mapCard(t, "abi 3"), *mapCard(t, "abi 3")
	// The element's limit hides those of key and value; this card has room for elements.
	roomy.Firmware.Maps.Entry, roomy.Firmware.Maps.Types = 128, []string{"hash"}
	type refusal struct{ errno, log string }
	const noMemory = "cannot allocate memory"
	for name, test := range map[string]struct {
		card card.Options
		want map[string]refusal
	}{
		"stock": {stock, map[string]refusal{
			"kernel's types": {"invalid argument", ""},
			"card's types":   {},
			"key":            {noMemory, "map elements too large: 72, FW max element size (key+value): 64"},
			"value":          {noMemory, "map elements too large: 72, FW max element size (key+value): 64"},
			"element":        {noMemory, "map elements too large: 112, FW max element size (key+value): 64"},
			"entries":        {noMemory, "map with too many elements: 4194304, left: 3072000"},
			"count":          {noMemory, "too many maps for a device"},
		}},
		"roomy": {roomy, map[string]refusal{
			"kernel's types": {"invalid argument", ""},
			"card's types":   {"operation not supported", "map type not supported"},
			"key":            {noMemory, "map key size 60, FW max is 56"},
			"value":          {noMemory, "map value size 60, FW max is 56"},
			"element":        {},
			"entries":        {noMemory, "map with too many elements: 4194304, left: 3072000"},
			"count":          {noMemory, "too many maps for a device"},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := k.goLive(t, &test.card, "limits")
			tried := 0
			for _, r := range data[[]struct {
				Case, Error string
				Log         []string
			}](t, l.next("limits")) {
				w := test.want[r.Case]
				log := strings.Join(r.Log, "\n")
				if !strings.Contains(r.Error, w.errno) || !strings.Contains(log, w.log) || w.errno == "" && r.Error+log != "" {
					t.Errorf("%s: error %q, log %q; want %+v", r.Case, r.Error, r.Log, w)
				}
				tried++
			}
			if tried != len(test.want) {
				t.Errorf("%d limits were tried, want %d", tried, len(test.want))
			}
			l.end()
		})
	}
}

func TestCount(t *testing.T) { everyKernel(t, testCount) }

func testCount(t *testing.T, k *kernel) {
	l := k.goLive(t, &card.Options{Cable: true}, "count")
	got := data[struct {
		Flow   flowed
		Counts []int
		App    map[string]int
		Late   string
	}](t, l.next("count"))
	if got.Flow.Received != 0 || !slices.Equal(got.Counts, []int{0, 0, 50, 0}) {
		t.Errorf("%+v: want 50 frames dropped, and counted in element 2", got)
	}
	if want := "[nfp] atomic counter in map value may already be initialized to non-zero value off: 0"; !strings.Contains(got.Late, want) {
		t.Errorf("a counter in a map that was written before: %q, want %q", got.Late, want)
	}
	if got.App["frames"] != 50 || got.App["bytes"] == 0 {
		t.Errorf("application counters %v, want 50 frames", got.App)
	}
	l.end()
}

// A card that dies takes its device with it; the guest lives, and what was on the
// card is reported as orphaned.
func TestSuddenDeath(t *testing.T) { everyKernel(t, testSuddenDeath) }

func testSuddenDeath(t *testing.T, k *kernel) {
	t.Run("program", func(t *testing.T) { t.Parallel(); dies(t, k, "") })
	// The driver waits 5 s for the card's word that the map is freed.
	t.Run("map", func(t *testing.T) { t.Parallel(); dies(t, k, "map") })
}

func dies(t *testing.T, k *kernel, arg string) {
	l := k.goLive(t, nil, report.Word("death", arg), "uname")
	if r := l.next("death"); !r.Waits {
		t.Fatalf("report %+v, want one that waits", r)
	}
	l.unplug()
	l.tell()
	for what, text := range data[map[string]string](t, l.next("death")) {
		if !strings.Contains(text, "no such device") {
			t.Errorf("%s: %q, want that its device is gone", what, text)
		}
	}
	l.next("uname")
	l.end()
}
