package live_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// text returns eBPF text that marks byte 14 of each packet with mark, counts the
// packet in element 0 of map counts, and returns verdict. entries and value are the
// map's sizes.
func text(mark, verdict, entries, value int) []byte {
	return fmt.Appendf(nil, `
.map counts array key=4 value=%d entries=%d
.program xdp mark
	r6 = *(u32 *)(r1 + 0)
	r3 = *(u32 *)(r1 + 4)
	r4 = r6
	r4 += 60
	if r4 > r3 goto out
	r5 = %d
	*(u8 *)(r6 + 14) = r5
	r2 = 0
	*(u32 *)(r10 - 4) = r2
	r2 = r10
	r2 += -4
	r1 = map[counts]
	call bpf_map_lookup_elem#1
	if r0 == 0 goto out
	r1 = 1
	lock *(u64 *)(r0 + 0) += r1
out:
	r0 = %d
	exit
`, value, entries, mark, verdict)
}

func open(data []byte, settings offload.Settings) (*ebpf.CollectionSpec, error) {
	o, err := object.Read("test.bpf", data, &object.Options{Entries: settings.Entries, Set: settings.Set})
	if err != nil {
		return nil, err
	}
	return o.Spec, nil
}

const (
	drop = 1
	pass = 2
)

var port0, port1 = offload.Ref{Name: "nfp0"}, offload.Ref{Name: "nfp1"}

// bed is a card and a manager on it.
type bed struct {
	t       testing.TB
	card    *live.Card
	kernel  *live.Kernel
	manager *offload.Manager
	journal string
}

func newBed(t testing.TB) *bed {
	t.Helper()
	c, err := live.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &bed{t: t, card: c, journal: filepath.Join(t.TempDir(), "state", "journal.db")}
	b.restart()
	return b
}

// restart replaces the manager by that of a new process.
func (b *bed) restart() {
	if b.kernel != nil {
		b.kernel.Close()
	}
	b.kernel = b.card.Open()
	b.manager = b.on(b.kernel)
}

func (b *bed) on(k offload.Kernel) *offload.Manager {
	return offload.New(k, offload.Options{Journal: b.journal, Open: open, Patience: time.Second})
}

func deployment(object []byte, ports ...offload.Ref) *offload.Deployment {
	if len(ports) == 0 {
		ports = []offload.Ref{port0}
	}
	return &offload.Deployment{Name: "fw", Object: object, Source: "test.bpf", Mode: offload.XDPOffload, Ports: ports}
}

// ok fails the test on an error.
func (b *bed) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatalf("%+v", err)
	}
}

// refused checks an error's reason.
func (b *bed) refused(err error, reason string) *offload.Error {
	b.t.Helper()
	var e *offload.Error
	if !errors.As(err, &e) || e.Reason != reason {
		b.t.Fatalf("error %v, want reason %s", err, reason)
	}
	return e
}

// mark sends a packet to a port and returns the mark with which it came back: 0 for
// none, and -1 for a dropped packet.
func (b *bed) mark(ref offload.Ref) int {
	b.t.Helper()
	r, err := b.card.Receive(ref, make([]byte, 64))
	b.ok(err)
	if r.Action == drop {
		return -1
	}
	return int(r.Packet[14])
}

// count returns the program's counter, read from its pinned map.
func (b *bed) count() uint64 {
	b.t.Helper()
	status, err := b.manager.Status(b.t.Context())
	b.ok(err)
	if len(status.Deployments) != 1 || len(status.Deployments[0].Maps) != 1 {
		b.t.Fatalf("%+v: want one deployment with one map", status)
	}
	m, err := b.kernel.Map(status.Deployments[0].Maps[0].ID)
	b.ok(err)
	defer m.Close()
	v, err := m.Lookup(make([]byte, 4))
	b.ok(err)
	return binary.NativeEndian.Uint64(v)
}

func (b *bed) left(want live.Left) {
	b.t.Helper()
	b.restart() // closes descriptors
	if got := b.card.Left(); got != want {
		b.t.Errorf("left: %+v, want %+v", got, want)
	}
}

func TestLoadReloadUnload(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8), port0, port1), nil))
	if b.mark(port0) != 1 || b.mark(port1) != 1 {
		t.Error("a port does not run the program")
	}
	b.refused(b.manager.Load(ctx, deployment(text(2, pass, 4, 8)), nil), "name-taken")
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8), port0, port1), nil)) // unchanged

	// The map keeps its shape, so the counter continues.
	b.ok(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8), port0, port1), nil))
	if b.mark(port0) != 2 || b.mark(port1) != 2 {
		t.Error("a port does not run the new program")
	}
	if n := b.count(); n != 4 {
		t.Errorf("the map has counted %d packets, want 4: two before the reload", n)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 2, Tables: 1})

	// Another shape: refused, then migrated.
	e := b.refused(b.manager.Reload(ctx, deployment(text(3, pass, 8, 16), port0), nil), "map-shape")
	if !strings.Contains(e.Msg, "array 4:8 x 4") || !strings.Contains(e.Msg, "array 4:16 x 8") {
		t.Errorf("%v: does not name both shapes", e)
	}
	if b.mark(port0) != 2 {
		t.Error("after a refused reload the old program does not run")
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 2, Tables: 1})
	resize := &offload.Change{Migrate: map[string]offload.Migration{"counts": offload.Resize}}
	b.ok(b.manager.Reload(ctx, deployment(text(3, pass, 8, 16), port0), resize))
	if b.mark(port0) != 3 || b.mark(port1) != 0 {
		t.Error("want the third program on port 0 and none on port 1")
	}
	if n := b.count(); n != 6 {
		t.Errorf("the map has counted %d packets, want 6: five came with the migration", n)
	}
	b.ok(b.manager.Reload(ctx, deployment(text(4, pass, 4, 8), port0), &offload.Change{Fresh: []string{"counts"}}))
	if n := b.count(); n != 0 {
		t.Errorf("a fresh map has counted %d", n)
	}

	b.ok(b.manager.Unload(ctx, "fw"))
	if b.mark(port0) != 0 {
		t.Error("the program runs after unload")
	}
	b.left(live.Left{})
	b.refused(b.manager.Unload(ctx, "fw"), "unknown-deployment")
}

func TestRollBack(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	one := live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1}

	asked := 0
	sick := &offload.Change{Window: time.Second, Interval: time.Millisecond, Health: func(context.Context) error {
		if asked++; asked < 3 {
			return nil
		}
		if m := b.mark(port0); m != 2 {
			t.Errorf("on trial packets meet mark %d, want 2", m)
		}
		return errors.New("half of the packets are dropped")
	}}
	e := b.refused(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8), port0, port1), sick), "unhealthy")
	if !strings.Contains(e.Error(), "half of the packets") || asked != 3 {
		t.Errorf("%v after %d questions", e, asked)
	}
	if b.mark(port0) != 1 || b.mark(port1) != 0 {
		t.Error("the old state is not back")
	}
	b.left(one)

	// Another process takes the port during the trial.
	thief := &offload.Change{Window: time.Second, Interval: time.Millisecond, Health: func(context.Context) error {
		b.steal(port0)
		return nil
	}}
	b.refused(b.manager.Reload(ctx, deployment(text(3, pass, 4, 8)), thief), "program-changed")
	if m := b.mark(port0); m != -1 {
		t.Errorf("mark %d: what the other put there was taken away", m)
	}
	// The other process's program is overwritten only with --force.
	b.refused(b.manager.Reload(ctx, deployment(text(4, pass, 4, 8)), nil), "program-changed")
	drifts, err := b.manager.Drifts(ctx)
	b.ok(err)
	if len(drifts) != 1 || drifts[0].Kind != "replaced" {
		t.Errorf("drift %v, want one of kind replaced", drifts)
	}
	b.ok(b.manager.Repair(ctx, "fw"))
	if m := b.mark(port0); m != 1 {
		t.Errorf("after repair mark %d, want 1", m)
	}
	b.left(one)

	// The first load of a name is rolled back to nothing.
	b.ok(b.manager.Unload(ctx, "fw"))
	b.refused(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), &offload.Change{Health: func(context.Context) error { return errors.New("no") }}), "unhealthy")
	b.left(live.Left{})

	// A migration that fails.
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	fails := &offload.Change{Migrate: map[string]offload.Migration{"counts": func(context.Context, offload.Map, offload.Map) error { return errors.New("cannot") }}}
	b.refused(b.manager.Reload(ctx, deployment(text(2, pass, 8, 8)), fails), "migration-failed")
	if m := b.mark(port0); m != 1 {
		t.Errorf("mark %d, want 1", m)
	}
	b.left(one)
}

// steal attaches another program to a port, as another tool might.
func (b *bed) steal(ref offload.Ref) {
	b.t.Helper()
	other := b.card.Open()
	defer other.Close()
	ports, err := other.Ports("", ref.Name)
	b.ok(err)
	at, err := other.Attached(&ports[0])
	b.ok(err)
	var old offload.Program
	if len(at) > 0 {
		old, err = other.Program(at[0].Program)
		b.ok(err)
	}
	spec, err := open([]byte(".program xdp other\n\tr0 = 1\n\texit\n"), offload.Settings{})
	b.ok(err)
	p, err := other.LoadProgram(spec.Programs["other"], nil, &ports[0])
	b.ok(err)
	b.ok(other.Swap(&ports[0], offload.XDPOffload, old, p))
}

func TestApply(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	a := deployment(text(1, pass, 4, 8))
	z := deployment(text(9, pass, 4, 8), port1)
	z.Name = "other"
	apply := func(opt *offload.ApplyOptions, want []string, list ...*offload.Deployment) {
		t.Helper()
		steps, err := b.manager.Apply(ctx, list, opt)
		b.ok(err)
		var got []string
		for _, s := range steps {
			got = append(got, s.Do+" "+s.Deployment)
		}
		if !slices.Equal(got, want) {
			t.Errorf("steps %q, want %q", got, want)
		}
	}
	apply(&offload.ApplyOptions{DryRun: true}, []string{"load fw", "load other"}, a, z)
	b.left(live.Left{})
	apply(nil, []string{"load fw", "load other"}, a, z)
	apply(nil, []string{"nothing fw", "nothing other"}, a, z)
	a2 := deployment(text(2, pass, 4, 8))
	apply(nil, []string{"reload fw", "nothing other"}, a2, z)
	b.steal(port0)
	apply(nil, []string{"nothing fw", "nothing other"}, a2, z)
	if b.mark(port0) != -1 {
		t.Error("apply without repair replaced a foreign program")
	}
	apply(&offload.ApplyOptions{Repair: true}, []string{"repair fw", "nothing other"}, a2, z)
	if b.mark(port0) != 2 {
		t.Error("apply with repair did not")
	}
	apply(&offload.ApplyOptions{Prune: true, DryRun: true}, []string{"unload other", "nothing fw"}, a2)
	apply(nil, []string{"nothing fw"}, a2)
	apply(&offload.ApplyOptions{Prune: true}, []string{"unload other", "nothing fw"}, a2)
	apply(&offload.ApplyOptions{Prune: true}, []string{"unload fw"})
	b.left(live.Left{})
	_, err := b.manager.Apply(ctx, []*offload.Deployment{a, a}, nil)
	b.refused(err, "bad-state")
	z.Ports = a.Ports
	_, err = b.manager.Apply(ctx, []*offload.Deployment{a, z}, nil)
	b.refused(err, "port-taken")
}

// TestDeviceRemovalAndReboot checks that apply restores everything after the card was
// removed and after the machine was rebooted.
func TestDeviceRemovalAndReboot(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	d := deployment(text(1, pass, 4, 8))
	b.ok(b.manager.Load(ctx, d, nil))
	b.mark(port0)
	b.card.Unplug()
	status, err := b.manager.Status(ctx)
	b.ok(err)
	if drift := status.Deployments[0].Drift; len(drift) != 1 || drift[0].Kind != "no-port" {
		t.Errorf("drift %v, want one of kind no-port", drift)
	}
	b.refused(b.manager.Repair(ctx, "fw"), "no-port")
	b.card.Plug()
	drifts, err := b.manager.Drifts(ctx)
	b.ok(err)
	if len(drifts) != 1 || drifts[0].Kind != "device-gone" {
		t.Errorf("drift %v, want one of kind device-gone", drifts)
	}
	_, err = b.manager.Apply(ctx, []*offload.Deployment{d}, nil)
	b.ok(err)
	if b.mark(port0) != 1 {
		t.Error("the program is not back")
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})

	b.kernel.Close()
	b.card.Reboot()
	b.restart()
	// Another program now has the same number.
	b.steal(port1)
	_, err = b.manager.Apply(ctx, []*offload.Deployment{d}, nil)
	b.ok(err)
	if b.mark(port0) != 1 || b.mark(port1) != -1 {
		t.Error("after a reboot the program is not back, or the other one is gone")
	}
	b.ok(b.manager.Unload(ctx, "fw"))
	b.left(live.Left{Programs: 1, Ports: 1})

	// Unload while the card is removed.
	b.ok(b.manager.Load(ctx, d, nil))
	b.card.Unplug()
	b.ok(b.manager.Unload(ctx, "fw"))
	b.left(live.Left{})
}

func TestOrphans(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	other := b.card.Open()
	defer other.Close()
	ports, err := other.Ports("", "nfp0")
	b.ok(err)
	coll, err := open(text(1, pass, 4, 8), offload.Settings{})
	b.ok(err)
	m, err := other.CreateMap(coll.Maps["counts"], &ports[0])
	b.ok(err)
	p, err := other.LoadProgram(coll.Programs["mark"], map[string]offload.Map{"counts": m}, &ports[0])
	b.ok(err)
	free, err := other.CreateMap(coll.Maps["counts"], &ports[0])
	b.ok(err)
	b.ok(other.Pin(p, "stray/program"))
	status, err := b.manager.Status(ctx)
	b.ok(err)
	var got []string
	for _, o := range status.Orphans {
		got = append(got, fmt.Sprint(o.Kind, o.ID, o.Name))
	}
	want := []string{fmt.Sprint("program", p.ID(), "mark"), fmt.Sprint("map", free.ID(), "counts"), "pins0stray"}
	if !slices.Equal(got, want) {
		t.Errorf("orphans %q, want %q", got, want)
	}
	gone, err := b.manager.Clean(ctx)
	b.ok(err)
	if !slices.Equal(gone, []string{"stray"}) {
		t.Errorf("cleaned %q", gone)
	}
}

func TestWatch(t *testing.T) {
	b := newBed(t)
	b.ok(b.manager.Load(t.Context(), deployment(text(1, pass, 4, 8)), nil))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reports := make(chan offload.WatchReport, 10)
	done := make(chan error)
	process := b.card.Open()
	defer process.Close()
	go func() {
		done <- b.on(process).Watch(ctx, &offload.WatchOptions{Repair: true, Report: func(r offload.WatchReport) { reports <- r }})
	}()
	b.steal(port0)
	for _, want := range []string{"appeared", "repaired"} {
		if r := <-reports; r.State != want || r.Drift.Kind != "replaced" {
			t.Fatalf("report %+v, want %s", r, want)
		}
	}
	if m := b.mark(port0); m != 1 {
		t.Errorf("mark %d after the repair, want 1", m)
	}
	cancel()
	b.ok(<-done)
}

func TestJournalMode(t *testing.T) {
	b := newBed(t)
	b.ok(b.manager.Load(t.Context(), deployment(text(1, pass, 4, 8)), nil))
	info, err := os.Stat(b.journal)
	b.ok(err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the journal's mode is %04o", info.Mode().Perm())
	}
	b.ok(os.Chmod(b.journal, 0o644))
	b.refused(b.manager.Recover(t.Context()), "journal")
	b.ok(os.Chmod(b.journal, 0o600))
	b.ok(os.Rename(b.journal, b.journal+".moved"))
	b.ok(os.Symlink(b.journal+".moved", b.journal))
	b.refused(b.manager.Recover(t.Context()), "journal")
	b.ok(os.Remove(b.journal))
	b.ok(os.Mkdir(b.journal, 0o700))
	b.refused(b.manager.Recover(t.Context()), "journal")
}

// TestTrialLocksOnlyItsDeployment checks that a deployment is locked while a program
// is on trial, and no other deployment is.
func TestTrialLocksOnlyItsDeployment(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	process := b.card.Open()
	defer process.Close()
	m := offload.New(process, offload.Options{Journal: b.journal, Open: open, Patience: 10 * time.Millisecond})
	other := deployment(text(9, pass, 4, 8), port1)
	other.Name = "other"
	asked := false
	trial := &offload.Change{Health: func(context.Context) error {
		asked = true
		b.ok(m.Load(ctx, other, nil))
		b.ok(m.Reload(ctx, other, nil))
		status, err := m.Status(ctx)
		b.ok(err)
		if d := status.Deployments; len(d) != 2 || len(d[0].Drift) > 0 || !strings.Contains(d[0].UnderWay, "on trial") || d[1].UnderWay != "" {
			t.Errorf("status on trial: %+v", d)
		}
		if len(status.Orphans) > 0 {
			t.Errorf("orphans on trial: %v", status.Orphans)
		}
		b.refused(m.Unload(ctx, "fw"), "journal-busy")
		b.refused(m.Reload(ctx, deployment(text(3, pass, 4, 8)), nil), "journal-busy")
		thief := deployment(text(4, pass, 4, 8))
		thief.Name = "thief"
		b.refused(m.Load(ctx, thief, nil), "port-taken")
		b.ok(m.Recover(ctx)) // does not mistake the trial for an operation of a dead process
		if mark := b.mark(port0); mark != 2 {
			t.Errorf("on trial packets meet mark %d, want 2", mark)
		}
		b.ok(m.Unload(ctx, "other"))
		return nil
	}}
	b.ok(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), trial))
	if mark := b.mark(port0); mark != 2 || !asked {
		t.Errorf("mark %d, want 2; trial: %v", mark, asked)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

func TestRefusals(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	with := func(change func(d *offload.Deployment)) *offload.Deployment {
		d := deployment(text(1, pass, 4, 8))
		change(d)
		return d
	}
	for _, c := range []struct {
		reason string
		d      *offload.Deployment
	}{
		{"bad-name", with(func(d *offload.Deployment) { d.Name = "../x" })},
		{"bad-name", with(func(d *offload.Deployment) { d.Name = "" })},
		{"bad-state", with(func(d *offload.Deployment) { d.Ports = nil })},
		{"bad-state", with(func(d *offload.Deployment) { d.Ports = []offload.Ref{port0, port0} })},
		{"bad-state", with(func(d *offload.Deployment) { d.Mode = "fast" })},
		{"bad-object", with(func(d *offload.Deployment) { d.Object = []byte("\x7fELF") })},
		{"bad-object", with(func(d *offload.Deployment) { d.Object = nil })},
		{"no-program", with(func(d *offload.Deployment) { d.Program = "nobody" })},
		{"wrong-type", with(func(d *offload.Deployment) { d.Mode = offload.TCOffload })},
		{"no-port", with(func(d *offload.Deployment) { d.Ports = []offload.Ref{{Name: "eth9"}} })},
		{"no-native", with(func(d *offload.Deployment) { d.Mode = offload.XDPDriver })},
		{"rejected", with(func(d *offload.Deployment) { d.Object = []byte(".program xdp p\n\texit\n") })},
		{"driver-rejected", with(func(d *offload.Deployment) {
			d.Object = []byte(".program xdp p\n\tr0 = *(u32 *)(r1 + 12)\n\tr0 = 1\n\texit\n")
		})},
		{"card-full", with(func(d *offload.Deployment) { d.Object = text(1, pass, 1<<23, 8) })},
		{"map-type", with(func(d *offload.Deployment) {
			d.Object = []byte(strings.Replace(string(text(1, pass, 4, 8)), "array", "lru_hash", 1))
		})},
	} {
		e := b.refused(b.manager.Load(ctx, c.d, nil), c.reason)
		if strings.ContainsAny(e.Error(), "\n") || e.Link() == "" || offload.Explain(c.reason).Word != c.reason {
			t.Errorf("%s: %v: not one line, or not in the table", c.reason, e)
		}
		if full := fmt.Sprintf("%+v", e); !strings.Contains(full, "broken link: ") || !strings.Contains(full, "cure: ") {
			t.Errorf("%s: %s: lacks link or cure", c.reason, full)
		}
		if c.reason == "rejected" && len(e.Log) == 0 || c.reason == "driver-rejected" && len(e.Log) == 0 {
			t.Errorf("%v: without a log", e)
		}
	}
	b.left(live.Left{})
}

// TestHostileObjects checks that objects with changed bytes run or are refused with a
// reason, and leave nothing on the card.
func TestHostileObjects(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	names, err := filepath.Glob("../../examples/*.o")
	if err != nil || len(names) == 0 {
		t.Fatalf("no objects: %v", err)
	}
	ran := 0
	for i := range 300 {
		dice := rand.New(rand.NewPCG(uint64(i), 8))
		data, err := os.ReadFile(names[i%len(names)])
		b.ok(err)
		for range dice.IntN(4) {
			data[dice.IntN(len(data))] = byte(dice.Uint32())
		}
		if err := b.manager.Load(ctx, deployment(data), nil); err != nil {
			if offload.ReasonOf(err) == "" || strings.Contains(err.Error(), "\n") {
				t.Errorf("object %d: %q is not one line with a reason", i, err)
			}
			continue
		}
		ran++
		b.ok(b.manager.Unload(ctx, "fw"))
	}
	if ran < 30 {
		t.Errorf("%d of 300 objects ran: too few bytes that do not matter were changed", ran)
	}
	b.left(live.Left{})
}

// TestReloadsUnderTraffic reloads while packets arrive: each packet meets a program,
// and none an older one than the previous packet.
func TestReloadsUnderTraffic(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	const reloads = 100
	program := func(i int) *offload.Deployment { return deployment(text(i%250+1, pass, 4, 8)) }
	b.ok(b.manager.Load(ctx, program(0), nil))
	done := make(chan error)
	go func() {
		for i := 1; i <= reloads; i++ {
			if err := b.manager.Reload(ctx, program(i), nil); err != nil {
				done <- err
				return
			}
		}
		close(done)
	}()
	sent, last := uint64(0), 1
	for running := true; running; sent++ {
		select {
		case err := <-done:
			b.ok(err)
			running = false
		default:
		}
		mark := b.mark(port0)
		if back := (mark - last + 250) % 250; mark < 1 || back > 125 {
			t.Fatalf("packet %d has mark %d behind mark %d", sent, mark, last)
		}
		last = mark
	}
	if n := b.count(); n != sent {
		t.Errorf("%d packets were counted, %d sent", n, sent)
	}
	t.Logf("suite: %d packets met %d reloads", sent, reloads)
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

// TestManyEntries writes many entries to the card through the manager's own interface.
func TestManyEntries(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	const entries = 100_000
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, entries, 8)), nil))
	m, err := b.kernel.PinnedMap("fw/gen-1/maps/counts")
	b.ok(err)
	defer m.Close()
	var keys, values []byte
	for i := range uint32(entries) {
		keys = binary.NativeEndian.AppendUint32(keys, i)
		values = binary.NativeEndian.AppendUint64(values, 3*uint64(i))
	}
	n, err := m.Fill(keys, values)
	b.ok(err)
	seen := 0
	b.ok(m.Dump(func(key, value []byte) bool {
		if binary.NativeEndian.Uint64(value) != 3*uint64(binary.NativeEndian.Uint32(key)) {
			t.Fatalf("entry %x is %x", key, value)
		}
		seen++
		return true
	}))
	if n != entries || seen != entries {
		t.Errorf("%d written, %d read, want %d", n, seen, entries)
	}
}

// TestTurns checks that managers of several processes take turns.
func TestTurns(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	errs := make(chan error)
	for i := range 4 {
		go func() {
			process := b.card.Open()
			defer process.Close()
			m := offload.New(process, offload.Options{Journal: b.journal, Open: open, Patience: time.Minute})
			errs <- m.Reload(ctx, deployment(text(i+2, pass, 4, 8)), nil)
		}()
	}
	for range 4 {
		b.ok(<-errs)
	}
	status, err := b.manager.Status(ctx)
	b.ok(err)
	if g := status.Deployments[0].Generation; g != 5 {
		t.Errorf("generation %d, want 5", g)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

// TestPinsRemoved checks that maps are carried over although their pins were removed.
func TestPinsRemoved(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	b.mark(port0)
	b.ok(b.kernel.Unpin("fw"))
	b.ok(b.manager.Reload(ctx, deployment(text(2, pass, 4, 8)), nil))
	b.mark(port0)
	if n := b.count(); n != 2 {
		t.Errorf("the map has counted %d packets, want 2: one before its pin was removed", n)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

// jammed is a kernel whose firmware accepts no further program.
type jammed struct {
	offload.Kernel
	on bool
}

func (j *jammed) Swap(p *offload.Port, mode offload.Mode, old, new offload.Program) error {
	if j.on && p.Name == port0.Name {
		return &offload.Error{Op: "attach", Object: p.Name, Reason: "firmware-error", Msg: "no answer"}
	}
	return j.Kernel.Swap(p, mode, old, new)
}

// TestStuck checks that a deployment that cannot be rolled back is kept and shown, and
// does not prevent others from being managed.
func TestStuck(t *testing.T) {
	b, ctx := newBed(t), t.Context()
	b.ok(b.manager.Load(ctx, deployment(text(1, pass, 4, 8)), nil))
	j := &jammed{Kernel: b.kernel}
	m := b.on(j)
	err := m.Reload(ctx, deployment(text(2, pass, 4, 8)), &offload.Change{Health: func(context.Context) error { j.on = true; return errors.New("sick") }})
	if err == nil || !strings.Contains(err.Error(), "sick") || !strings.Contains(err.Error(), "no answer") {
		t.Errorf("error %v, want why the trial failed and why the old program is not back", err)
	}
	status, err := m.Status(ctx)
	b.ok(err)
	if len(status.Deployments) != 1 || !strings.Contains(status.Deployments[0].Error, "no answer") {
		t.Errorf("%+v: want the error of recovery", status.Deployments)
	}
	b.refused(m.Recover(ctx), "firmware-error")
	b.refused(m.Reload(ctx, deployment(text(3, pass, 4, 8)), nil), "firmware-error")
	other := deployment(text(9, pass, 4, 8), port1)
	other.Name = "other"
	b.ok(m.Load(ctx, other, nil))
	b.ok(m.Unload(ctx, "other"))
	j.on = false
	b.ok(m.Recover(ctx))
	if mark := b.mark(port0); mark != 1 {
		t.Errorf("mark %d, want 1: the old program is back", mark)
	}
	b.left(live.Left{Programs: 1, Maps: 1, Pins: 2, Ports: 1, Tables: 1})
}

// TestJournalCreation checks that a new journal is either complete or absent, whatever
// killed processes left of one.
func TestJournalCreation(t *testing.T) {
	b := newBed(t)
	dir := filepath.Dir(b.journal)
	b.ok(os.MkdirAll(dir, 0o700))
	for _, half := range []string{".new", ".last.new"} {
		b.ok(os.WriteFile(b.journal+half, make([]byte, 4096), 0o600))
	}
	errs := make(chan error)
	for i := range 4 { // processes that each find no journal
		go func() {
			process := b.card.Open()
			defer process.Close()
			d := deployment(text(1, pass, 4, 8), []offload.Ref{port0, port1}[i%2])
			d.Name = fmt.Sprint("d", i%2)
			errs <- offload.New(process, offload.Options{Journal: b.journal, Open: open, Patience: time.Minute}).Load(t.Context(), d, nil)
		}()
	}
	for range 4 {
		b.ok(<-errs)
	}
	entries, err := os.ReadDir(dir)
	b.ok(err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"journal.db", "journal.db.last", "journal.db.lock"}; !slices.Equal(names, want) {
		t.Errorf("files %q, want %q", names, want)
	}
}
