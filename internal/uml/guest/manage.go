//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// This file runs the checks of the kernel's selftest that make sense on a card that
// runs programs. Frames show where a program ran: marked frames met one in the card,
// counted frames one on the host. It also checks features of the manager that the
// selftest does not have.

// cardBench is a card and a manager on it.
type cardBench struct {
	*bench
	m    *offload.Manager
	devs []netdev
	p    []*offload.Port
}

func manage(_ *env, _ string) (any, error) {
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	var all []checked
	for _, c := range manageChecks() {
		m, k := newManager(nil)
		b := &cardBench{bench: &bench{k: k}, m: m, devs: devs}
		r := checked{Name: c.name}
		start := time.Now()
		err := b.run(func(*bench) error {
			for _, d := range devs {
				if err := setFeature(d.Name, "hw-tc-offload", true); err != nil {
					return err
				}
				b.p = append(b.p, b.port(d.Name))
			}
			return c.do(b)
		})
		if err != nil {
			r.Error = err.Error()
			// Leftovers would disturb later checks.
			for _, name := range []string{"fw", "host"} {
				m.Unload(background, name)
			}
		}
		r.Millis = time.Since(start).Milliseconds()
		all = append(all, r)
	}
	return all, nil
}

// frames sends a number of frames into port 0 and checks that all come out with a mark;
// mark -1 says that none does.
func (b *cardBench) frames(mark int) error {
	const count = 10
	want := count
	if mark < 0 {
		want = 0
	}
	f, err := flow(b.devs[1], b.devs[0], count, want)
	if err != nil {
		return err
	}
	if f.Received != want || want > 0 && f.Marks[mark] != want {
		return fmt.Errorf("of %d frames %d arrived, with marks %v; want %d with mark %d", f.Sent, f.Received, f.Marks, want, mark)
	}
	return nil
}

// marking is a deployment that marks and passes, on ports of the card.
func (b *cardBench) marking(mark int32, on ...*offload.Port) *offload.Deployment {
	d := deploy(recipe{Mark: mark, Verdict: xdpPass, Entries: 4, Value: 8}, offload.XDPOffload)
	for _, p := range on {
		d.Ports = append(d.Ports, p.Ref())
	}
	return d
}

// onHost is a second deployment, which counts on the host.
func (b *cardBench) onHost(mode offload.Mode) *offload.Deployment {
	d := deploy(recipe{Mark: -1, Verdict: xdpPass, Entries: 1, Value: 8}, mode, b.p[0].Name)
	d.Name = "host"
	return d
}

// unload unloads deployments.
func (b *cardBench) unload(names ...string) error {
	var err error
	for _, name := range names {
		err = errors.Join(err, b.m.Unload(background, name))
	}
	return err
}

type cardCheck struct {
	name string
	do   func(b *cardBench) error
}

func manageChecks() []cardCheck {
	ctx := background
	beside := func(mode offload.Mode) func(b *cardBench) error {
		return func(b *cardBench) error {
			if err := errors.Join(b.m.Load(ctx, b.marking(3, b.p[0]), nil), b.m.Load(ctx, b.onHost(mode), nil), b.frames(3)); err != nil {
				return err
			}
			if n, err := counted(b.k, "host/gen-1/maps/counts"); err != nil || n != 10 {
				return fmt.Errorf("the program on the host counted %d of 10 frames: %v", n, err)
			}
			if all, err := b.k.Attached(b.p[0]); err != nil || len(all) != 2 {
				return fmt.Errorf("attached: %v, %v; want two", all, err)
			}
			// One is replaced and unloaded without the other.
			if err := errors.Join(b.m.Reload(ctx, b.marking(4, b.p[0]), nil), b.frames(4), b.unload("fw"), b.frames(0)); err != nil {
				return err
			}
			if n, err := counted(b.k, "host/gen-1/maps/counts"); err != nil || n != 30 {
				return fmt.Errorf("the program on the host counted %d of 30 frames: %v", n, err)
			}
			return b.unload("host")
		}
	}
	return []cardCheck{
		{"offload, replace, remove", func(b *cardBench) error {
			return errors.Join(
				b.frames(0),
				b.m.Load(ctx, b.marking(1, b.p[0]), nil), b.frames(1),
				b.m.Reload(ctx, b.marking(2, b.p[0]), nil), b.frames(2),
				b.unload("fw"), b.frames(0),
			)
		}},
		{"replace of a program that is not expected", func(b *cardBench) error {
			if err := b.m.Load(ctx, b.marking(1, b.p[0]), nil); err != nil {
				return err
			}
			other := b.loaded(ebpf.XDP, b.p[0])
			return errors.Join(
				refusal(b.k.Swap(b.p[0], offload.XDPOffload, nil, other), "program-changed", "Active program does not match expected"),
				b.frames(1), b.unload("fw"),
			)
		}},
		{"counters on the card", countsRight},
		{"two ports share a program", func(b *cardBench) error {
			if err := errors.Join(b.m.Load(ctx, b.marking(5, b.p...), nil), b.frames(5)); err != nil {
				return err
			}
			f, err := flow(b.devs[0], b.devs[1], 10, 10)
			if err != nil || f.Marks[5] != 10 {
				return fmt.Errorf("port 1: %+v, %v", f, err)
			}
			if n, err := counted(b.k, "fw/gen-1/maps/counts"); err != nil || n != 20 {
				return fmt.Errorf("%d of 20 frames are counted: %v", n, err)
			}
			return errors.Join(b.objects(2), b.unload("fw"))
		}},
		{"xdp in the driver beside", beside(offload.XDPDriver)},
		{"generic xdp beside", beside(offload.XDPGeneric)},
		{"program of the card in the driver", func(b *cardBench) error {
			return refusal(b.k.Swap(b.p[0], offload.XDPDriver, nil, b.loaded(ebpf.XDP, b.p[0])), "mode-conflict",
				ofKernel("Using offloaded program without HW_MODE flag is not supported", b.p[0]))
		}},
		{"program of the host in the card", func(b *cardBench) error {
			err := b.k.Swap(b.p[0], offload.XDPOffload, nil, b.loaded(ebpf.XDP, nil))
			if err == nil {
				return errors.New("it was attached")
			}
			return b.frames(0)
		}},
		{"filter in the card", func(b *cardBench) error {
			filter := func(verdict int32) *offload.Deployment {
				return deploy(recipe{Verdict: verdict, TC: true, Entries: 1, Value: 8}, offload.TCOffload, b.p[0].Name)
			}
			return errors.Join(
				b.m.Load(ctx, filter(-1), nil), b.frames(0),
				b.m.Reload(ctx, filter(actShot), nil), b.frames(-1),
				refusal(b.m.Load(ctx, named(b.marking(1, b.p[0]), "host"), nil), "card-busy", ""),
				b.frames(-1),
				b.unload("fw"), b.frames(0), b.noClsact(),
			)
		}},
		{"filter on the host", func(b *cardBench) error {
			d := deploy(recipe{Verdict: actShot, TC: true, Entries: 1, Value: 8}, offload.TCSoftware, b.p[0].Name)
			if err := errors.Join(b.m.Load(ctx, d, nil), b.m.Load(ctx, named(b.marking(7, b.p[0]), "host"), nil), b.frames(-1)); err != nil {
				return err
			}
			if n, err := counted(b.k, "fw/gen-1/maps/counts"); err != nil || n != 10 {
				return fmt.Errorf("the filter counted %d of 10 frames: %v", n, err)
			}
			return errors.Join(b.unload("fw", "host"), b.noClsact())
		}},
		{"filter beside xdp in the card", func(b *cardBench) error {
			d := named(deploy(recipe{Verdict: actShot, TC: true, Entries: 1, Value: 8}, offload.TCOffload, b.p[0].Name), "host")
			return errors.Join(
				b.m.Load(ctx, b.marking(1, b.p[0]), nil),
				refusal(b.m.Load(ctx, d, nil), "card-busy", ""),
				b.frames(1), b.noClsact(), b.unload("fw"),
			)
		}},
		{"another card's program", func(b *cardBench) error {
			other := b.sim(1)[0]
			return errors.Join(
				refusal(b.k.Swap(b.p[0], offload.XDPOffload, nil, b.loaded(ebpf.XDP, other)), "wrong-device", ofKernel("Program bound to different device", b.p[0])),
				refusal(b.m.Load(ctx, b.marking(1, b.p[0], other), nil), "wrong-device", ""),
				b.frames(0),
			)
		}},
		{"failed trial", func(b *cardBench) error {
			sick := &offload.Change{Health: func(context.Context) error {
				if err := b.frames(2); err != nil {
					return err
				}
				return errors.New("sick")
			}}
			return errors.Join(
				b.m.Load(ctx, b.marking(1, b.p[0]), nil),
				refusal(b.m.Reload(ctx, b.marking(2, b.p[0]), sick), "unhealthy", ""),
				b.frames(1), b.unload("fw"),
			)
		}},
		{"map of another shape", func(b *cardBench) error {
			larger := deploy(recipe{Mark: 2, Verdict: xdpPass, Entries: 8, Value: 16}, offload.XDPOffload, b.p[0].Name)
			resize := &offload.Change{Migrate: map[string]offload.Migration{"counts": offload.Resize}}
			if err := errors.Join(
				b.m.Load(ctx, b.marking(1, b.p[0]), nil), b.frames(1),
				refusal(b.m.Reload(ctx, larger, nil), "map-shape", ""), b.frames(1),
				b.m.Reload(ctx, larger, resize), b.frames(2),
			); err != nil {
				return err
			}
			if n, err := counted(b.k, "fw/gen-3/maps/counts"); err != nil || n != 30 {
				return fmt.Errorf("%d of 30 frames are counted: %v", n, err)
			}
			return b.unload("fw")
		}},
		{"port in another namespace", func(b *cardBench) error {
			ns := b.netns()
			if err := errors.Join(b.m.Load(ctx, b.marking(1, b.p[0]), nil), b.frames(1)); err != nil {
				return err
			}
			// The second port is moved, and managed in its new namespace.
			b.move(b.p[1], ns)
			there := offload.Ref{Netns: ns, Name: b.p[1].Name}
			d := named(b.marking(2), "host")
			d.Ports = []offload.Ref{there}
			err := errors.Join(b.m.Load(ctx, d, nil), b.m.Reload(ctx, func() *offload.Deployment {
				e := named(b.marking(3), "host")
				e.Ports = d.Ports
				return e
			}(), nil))
			if status, statusErr := b.m.Status(ctx); statusErr != nil || len(status.Deployments) != 2 || len(status.Deployments[1].Drift) > 0 {
				err = errors.Join(err, fmt.Errorf("%+v, %v", status, statusErr))
			}
			err = errors.Join(err, b.unload("host"))
			b.move(&offload.Port{Netns: ns, Name: b.p[1].Name, Index: b.p[1].Index}, "")
			for _, dev := range b.devs {
				err = errors.Join(err, netlink.LinkSetUp(dev.link))
			}
			return errors.Join(err, b.frames(1), b.unload("fw"))
		}},
		{"a namespace is removed under a port", func(b *cardBench) error {
			ns := b.netns()
			b.move(b.p[1], ns)
			d := b.marking(1)
			d.Ports = []offload.Ref{{Netns: ns, Name: b.p[1].Name}}
			if err := b.m.Load(ctx, d, nil); err != nil {
				return err
			}
			b.undo[len(b.undo)-1]() // removes it
			if err := eventually(func() error {
				all, err := b.k.Ports("", b.p[1].Name)
				if err == nil && len(all) == 0 {
					err = errors.New("the port is not back")
				}
				return err
			}); err != nil {
				return err
			}
			drifts, err := b.m.Drifts(ctx)
			if err != nil || len(drifts) != 1 || drifts[0].Kind != "no-port" {
				return fmt.Errorf("drift %v, %v; want one of kind no-port", drifts, err)
			}
			err = errors.Join(b.unload("fw"), b.stands(b.port(b.p[1].Name)))
			for _, dev := range b.devs {
				err = errors.Join(err, netlink.LinkSetUp(dev.link))
			}
			return errors.Join(err, b.frames(0))
		}},
		{"drift is seen and repaired", driftRepaired},
		{"watch repairs", watchRepairs},
		{"the card leaves and comes back", func(b *cardBench) error {
			d := b.marking(9, b.p[0])
			if err := errors.Join(b.m.Load(ctx, d, nil), b.frames(9)); err != nil {
				return err
			}
			if _, err := rebind(nil, ""); err != nil {
				return err
			}
			devs, err := ports(2)
			if err != nil {
				return err
			}
			copy(b.devs, devs)
			drifts, err := b.m.Drifts(ctx)
			if err != nil || len(drifts) != 1 || drifts[0].Kind != "device-gone" {
				return fmt.Errorf("drift %v, %v; want the device gone", drifts, err)
			}
			if _, err := b.m.Apply(ctx, []*offload.Deployment{d}, nil); err != nil {
				return err
			}
			return errors.Join(b.frames(9), b.unload("fw"))
		}},
	}
}

// named is a deployment under another name.
func named(d *offload.Deployment, name string) *offload.Deployment {
	d.Name = name
	return d
}

// noClsact checks that the ports have no qdisc left.
func (b *cardBench) noClsact() error {
	for _, p := range b.p {
		if b.port(p.Name).Clsact {
			return fmt.Errorf("port %s has a clsact qdisc left", p.Name)
		}
	}
	return nil
}

// countsRight has the card count 64-bit words past 32 bits. It compares the numbers
// that the host reads, the map's and the card's own counters: a counter is big-endian
// in the card, so its words are in another order there.
func countsRight(b *cardBench) error {
	ctx := background
	before, err := b.k.Verdicts(b.p[0])
	if err != nil {
		return err
	}
	d := deploy(recipe{Mark: 1, Verdict: xdpDrop, Entries: 4, Value: 8}, offload.XDPOffload, b.p[0].Name)
	if err := b.m.Load(ctx, d, nil); err != nil {
		return err
	}
	m, err := b.k.PinnedMap("fw/gen-1/maps/counts")
	if err != nil {
		return err
	}
	defer m.Close()
	// As if it had counted almost 2^32 before: the carry has to go to the right word.
	if err := m.Update(number(0), wide(1<<32-5), ebpf.UpdateAny); err != nil {
		return err
	}
	if err := b.frames(-1); err != nil {
		return err
	}
	if n, err := counted(b.k, "fw/gen-1/maps/counts"); err != nil || n != 1<<32+5 {
		return fmt.Errorf("the map counts %#x, want %#x: %v", n, 1<<32+5, err)
	}
	dumped := uint64(0)
	if err := m.Dump(func(key, value []byte) bool {
		if string(key) == string(number(0)) {
			dumped = nativeUint64(value)
		}
		return true
	}); err != nil || dumped != 1<<32+5 {
		return fmt.Errorf("the dump has %#x: %v", dumped, err)
	}
	// A reload keeps the map, and with it the use of its words.
	d = deploy(recipe{Mark: 2, Verdict: xdpPass, Entries: 4, Value: 8}, offload.XDPOffload, b.p[0].Name)
	if err := errors.Join(b.m.Reload(ctx, d, nil), b.frames(2)); err != nil {
		return err
	}
	if n, err := counted(b.k, "fw/gen-2/maps/counts"); err != nil || n != 1<<32+15 {
		return fmt.Errorf("after the reload the map counts %#x, want %#x: %v", n, 1<<32+15, err)
	}
	after, err := b.k.Verdicts(b.p[0])
	if err != nil {
		return err
	}
	drop, pass := after.Drop.Packets-before.Drop.Packets, after.Pass.Packets-before.Pass.Packets
	bytes := after.Drop.Bytes - before.Drop.Bytes
	if drop != 10 || pass < 10 || bytes != 10*frameSize {
		return fmt.Errorf("the card counts %d dropped of %d bytes, and %d passed; want 10 of %d, and 10 at least", drop, bytes, pass, 10*frameSize)
	}
	return b.unload("fw")
}

// driftRepaired has someone else replace, and then remove, the program.
func driftRepaired(b *cardBench) error {
	ctx := background
	if err := b.m.Load(ctx, b.marking(1, b.p[0]), nil); err != nil {
		return err
	}
	thief, err := load(b.devs[0].link, marks(66))
	if err != nil {
		return err
	}
	defer thief.Close()
	for _, steal := range []struct {
		kind string
		prog *ebpf.Program
		mark int
	}{{"replaced", thief, 66}, {"removed", nil, 0}} {
		if err := errors.Join(attach(b.devs[0].link, steal.prog), b.frames(steal.mark)); err != nil {
			return err
		}
		drifts, err := b.m.Drifts(ctx)
		if err != nil || len(drifts) != 1 || drifts[0].Kind != steal.kind {
			return fmt.Errorf("drift %v, %v; want one of kind %s", drifts, err, steal.kind)
		}
		if err := errors.Join(b.m.Repair(ctx, "fw"), b.frames(1)); err != nil {
			return err
		}
	}
	return b.unload("fw")
}

// watchRepairs lets the watcher do it, from netlink's events.
func watchRepairs(b *cardBench) error {
	ctx, cancel := context.WithCancel(background)
	defer cancel()
	if err := b.m.Load(ctx, b.marking(1, b.p[0]), nil); err != nil {
		return err
	}
	reports, done := make(chan offload.WatchReport, 8), make(chan error, 1)
	watcher, _ := newManager(nil)
	go func() {
		done <- watcher.Watch(ctx, &offload.WatchOptions{Repair: true, Every: time.Hour, Report: func(r offload.WatchReport) { reports <- r }})
	}()
	time.Sleep(50 * time.Millisecond) // so that the following change is reported by an event, not by the first check
	if err := attach(b.devs[0].link, nil); err != nil {
		return err
	}
	for _, want := range []string{"appeared", "repaired"} {
		select {
		case r := <-reports:
			if r.State != want || r.Drift.Kind != "removed" {
				return fmt.Errorf("report %+v, want %s", r, want)
			}
		case err := <-done:
			return fmt.Errorf("the watcher ended: %v", err)
		case <-time.After(patience):
			return fmt.Errorf("no report in %v, want %s", patience, want)
		}
	}
	err := b.frames(1)
	cancel()
	return errors.Join(err, <-done, b.unload("fw"))
}

// nativeUint64 is a value in the host's byte order.
func nativeUint64(b []byte) uint64 {
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

// refusals requests everything that must be refused, and returns the reasons with the
// kernel's messages.
func refusals(_ *env, where string) (any, error) {
	m, k := newManager(nil)
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	all, err := k.Ports("", devs[0].Name)
	if err != nil {
		return nil, err
	}
	found := map[string]refusedCase{}
	try := func(name string, do func() error) {
		found[name] = describeRefusal(do())
	}
	port := &all[0]
	load := func(r recipe, mode offload.Mode, names ...string) func() error {
		return func() error { return m.Load(background, deploy(r, mode, names...), nil) }
	}
	good := recipe{Mark: 1, Verdict: xdpPass, Entries: 4, Value: 8}
	if where == "nofirmware" {
		try("missing firmware", load(good, offload.XDPOffload, port.Name))
		try("missing firmware, no map", load(recipe{Mark: 1, Verdict: xdpPass}, offload.XDPOffload, port.Name))
		return found, nil
	}
	b := &bench{k: k}
	defer func() {
		for _, d := range b.sims {
			d.remove()
		}
	}()
	other := b.sim(1)[0]
	try("wrong device", func() error {
		p := b.loaded(ebpf.XDP, other)
		defer p.Close()
		return k.Swap(port, offload.XDPOffload, nil, p)
	})
	try("driver without offload", load(recipe{Mark: 1, Verdict: xdpPass}, offload.XDPOffload, "lo"))
	try("wrong type", load(recipe{Verdict: -1, TC: true}, offload.XDPOffload, port.Name))
	try("unsupported map", load(recipe{Verdict: xdpPass, Entries: 4, Value: 8, Map: "lru_hash"}, offload.XDPOffload, port.Name))
	try("full card", load(recipe{Verdict: xdpPass, Entries: 1 << 23, Value: 8}, offload.XDPOffload, port.Name))
	try("value too large", load(recipe{Verdict: xdpPass, Entries: 4, Value: 64}, offload.XDPOffload, port.Name))
	try("exit code that the driver refuses", func() error {
		if err := setFeature(port.Name, "hw-tc-offload", true); err != nil {
			return err
		}
		return load(recipe{Verdict: 0, TC: true}, offload.TCOffload, port.Name)()
	})
	try("foreign namespace", func() error {
		ns := b.netns()
		b.move(other, ns)
		_, err := k.LoadProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: smallest(ebpf.XDP), License: "GPL"}, nil, other)
		there := &offload.Port{Netns: ns, Name: other.Name, Index: other.Index}
		b.move(there, "")
		return err
	})
	try("held by a bpf_link", func() error {
		p, q := b.program(ebpf.XDP, nil), b.loaded(ebpf.XDP, nil)
		defer p.Close()
		defer q.Close()
		held, err := link.AttachXDP(link.XDPOptions{Program: p, Interface: other.Index, Flags: link.XDPDriverMode})
		if err != nil {
			return err
		}
		defer held.Close()
		at, err := k.Attached(other)
		if err != nil || len(at) != 1 || !at[0].Link {
			return fmt.Errorf("attached: %+v, %v; want a program that a link holds", at, err)
		}
		return k.Swap(other, offload.XDPDriver, nil, q)
	})
	try("no such port", load(good, offload.XDPOffload, "eth99"))
	try("no permission", func() error {
		return with(nil, func() error { return load(good, offload.XDPOffload, port.Name)() })
	})
	try("link gone mid-operation", func() error {
		d := named(deploy(recipe{Mark: 1, Verdict: xdpPass}, offload.XDPOffload, other.Name), "gone")
		return m.Load(background, d, &offload.Change{Health: func(context.Context) error { return b.sims[0].remove() }})
	})
	if status, err := m.Status(background); err != nil || len(status.Deployments) != 0 {
		return found, fmt.Errorf("left: %+v, %v", status, err)
	}
	n, err := settled(k, 0)
	if err != nil || n != 0 {
		return found, fmt.Errorf("%d objects are left: %v", n, err)
	}
	return found, nil
}

// refusedCase is one refused request.
type refusedCase struct {
	Reason string   `json:"reason"`
	Line   string   `json:"line"`
	Extack string   `json:"extack"`
	Log    []string `json:"log"`
	Kernel []string `json:"kernel"`
}

func describeRefusal(err error) refusedCase {
	var e *offload.Error
	if !errors.As(err, &e) {
		return refusedCase{Line: fmt.Sprint(err)}
	}
	return refusedCase{e.Reason, e.Error(), e.Extack, e.Log, e.Kernel}
}

// with runs do on a thread that has the given capabilities and no others.
func with(capabilities []int, do func() error) error {
	return onThread(func() error {
		var sets [2]unix.CapUserData
		for _, c := range capabilities {
			sets[c/32].Effective |= 1 << (c % 32)
			sets[c/32].Permitted |= 1 << (c % 32)
		}
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &sets[0]); err != nil {
			return fmt.Errorf("capset: %w", err)
		}
		return do()
	})
}

// privileges loads, reloads and unloads with the capabilities that the manager
// needs, and with fewer.
func privileges(*env, string) (any, error) {
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	m, _ := newManager(nil)
	whole := func() error {
		d := func(mark int32, verdict int32) *offload.Deployment {
			return deploy(recipe{Mark: mark, Verdict: verdict, Entries: 4, Value: 8}, offload.XDPOffload, devs[0].Name)
		}
		if err := m.Load(background, d(1, xdpPass), nil); err != nil {
			return err
		}
		return errors.Join(m.Reload(background, d(2, xdpPass), nil), m.Unload(background, "fw"))
	}
	found := map[string]refusedCase{}
	for name, set := range map[string][]int{
		"both":                {unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN},
		"without sys_admin":   {unix.CAP_NET_ADMIN, unix.CAP_BPF},
		"without net_admin":   {unix.CAP_SYS_ADMIN, unix.CAP_BPF},
		"without any of them": {},
	} {
		found[name] = describeRefusal(with(set, whole))
	}
	return found, nil
}
