//go:build linux

package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// tcChecks are steps 1 to 19, of which the first is about generic XDP.
func tcChecks() []selfCheck {
	const cls = ebpf.SchedCLS
	// one creates a device with a qdisc.
	one := func(b *bench) (*sim, *offload.Port) {
		p := b.sim(1)[0]
		b.clsact(p)
		return b.sims[len(b.sims)-1], p
	}
	// only checks the flags of the one filter.
	only := func(p *offload.Port, want uint32) error {
		all, err := filtersOf(p)
		if err != nil {
			return err
		}
		if len(all) != 1 || all[0].flags&(skipHW|skipSW|inHW) != want {
			return fmt.Errorf("filters %+v, want one with flags %#x", all, want)
		}
		return nil
	}
	return []selfCheck{
		{"destruction of generic XDP", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, nil)
			if err := b.k.Swap(p, offload.XDPGeneric, nil, prog); err != nil {
				return err
			}
			prog.Close()
			if err := b.objects(1); err != nil {
				return err
			}
			return errors.Join(b.sims[0].remove(), b.objects(0))
		}},
		{"TC non-offloaded", func(b *bench) error {
			_, p := one(b)
			prog := b.loaded(cls, nil)
			if err := b.k.Swap(p, offload.TCSoftware, nil, prog); err != nil {
				return err
			}
			return b.stands(p, inMode(offload.TCSoftware, prog.ID()))
		}},
		{"TC non-offloaded isn't getting bound", func(b *bench) error {
			d, p := one(b)
			if err := (tcFilter{fd: b.program(cls, nil).FD()}).add(p).ok(); err != nil {
				return err
			}
			if n := len(b.bound(d)); n != 0 {
				return fmt.Errorf("%d programs are bound", n)
			}
			return nil
		}},
		{"TC offloads are off by default", func(b *bench) error {
			p := b.port(b.device(1).names[0])
			b.clsact(p)
			prog := b.program(cls, p)
			ours, err := b.k.Program(idOf(prog))
			if err != nil {
				return err
			}
			defer ours.Close()
			return errors.Join(
				(tcFilter{fd: prog.FD(), skip: skipSW}).add(p).failed("TC offload is disabled on net device"),
				refusal(b.k.Swap(p, offload.TCOffload, nil, ours), "tc-offload-off", ""),
			)
		}},
		{"TC offload by default", func(b *bench) error {
			d, p := one(b)
			knob(d, 0, "bpf_tc_non_bound_accept", "Y")
			if err := (tcFilter{fd: b.program(cls, nil).FD()}).add(p).ok(); err != nil {
				return err
			}
			if n := len(b.bound(d)); n != 0 {
				return fmt.Errorf("%d programs are bound", n)
			}
			return only(p, inHW)
		}},
		{"TC cBPF bytecode tries offload by default", func(b *bench) error {
			d, p := one(b)
			knob(d, 0, "bpf_tc_non_bound_accept", "Y")
			return errors.Join((tcFilter{}).add(p).ok(), only(p, inHW))
		}},
		{"TC cBPF unbound bytecode doesn't offload", func(b *bench) error {
			_, p := one(b)
			return (tcFilter{skip: skipSW}).add(p).failed("netdevsim configured to reject unbound programs")
		}},
		{"non-0 chain offload", func(b *bench) error {
			_, p := one(b)
			return (tcFilter{fd: b.program(cls, p).FD(), skip: skipSW, chain: 1, prio: 1, handle: 1}).add(p).
				failed("Driver supports only offload of chain 0")
		}},
		{"TC replace", func(b *bench) error {
			_, p := one(b)
			for _, mode := range []offload.Mode{offload.TCOffload, offload.TCSoftware} {
				on := p
				if mode == offload.TCSoftware {
					on = nil
				}
				first, second := b.loaded(cls, on), b.loaded(cls, on)
				if err := errors.Join(
					b.k.Swap(p, mode, nil, first),
					b.k.Swap(p, mode, first, second), b.stands(p, inMode(mode, second.ID())),
					refusal(b.k.Swap(p, mode, first, second), "program-changed", ""),
					b.k.Swap(p, mode, second, nil), b.stands(p),
				); err != nil {
					return err
				}
			}
			f := tcFilter{fd: b.program(cls, nil).FD(), prio: 1, handle: 1}
			return errors.Join(f.add(p).ok(), f.replace(p).ok(), f.remove(p).ok())
		}},
		{"TC replace bad flags", func(b *bench) error {
			_, p := one(b)
			f := tcFilter{prio: 1, handle: 1}
			hosts, card := b.program(cls, nil).FD(), b.program(cls, p).FD()
			with := func(skip uint32) tcFilter {
				g := f
				g.skip, g.fd = skip, hosts
				if skip == skipSW {
					g.fd = card
				}
				return g
			}
			for _, before := range []uint32{0, skipSW, skipHW} {
				if err := with(before).add(p).ok(); err != nil {
					return err
				}
				for _, after := range []uint32{0, skipSW, skipHW} {
					if a := with(after).replace(p); (a.errno == nil) != (before == after) {
						return fmt.Errorf("replace of flags %d by %d: %v", before, after, a.errno)
					}
				}
				if err := f.remove(p).ok(); err != nil {
					return err
				}
			}
			return nil
		}},
		{"spurious extack from the driver", func(b *bench) error {
			d, p := one(b)
			for _, on := range []bool{true, false} {
				if err := setFeature(d.names[0], "hw-tc-offload", on); err != nil {
					return err
				}
				for _, skip := range []uint32{0, skipHW} {
					f := tcFilter{fd: b.program(cls, nil).FD(), prio: 1, handle: 1, skip: skip}
					if err := errors.Join(f.add(p).ok(), f.replace(p).ok(), f.remove(p).ok()); err != nil {
						return err
					}
				}
			}
			return nil
		}},
		{"TC offloads failure", func(b *bench) error {
			d, p := one(b)
			knob(d, -1, "bpf_bind_verifier_accept", "N")
			_, err := b.k.LoadProgram(&ebpf.ProgramSpec{Type: cls, Instructions: smallest(cls), License: "GPL"}, nil, p)
			return refusal(err, "driver-rejected", "[netdevsim] Hello from netdevsim!")
		}},
		{"TC offloads work", func(b *bench) error {
			_, p := one(b)
			prog := b.loaded(cls, p)
			return errors.Join(b.k.Swap(p, offload.TCOffload, nil, prog), b.stands(p, inMode(offload.TCOffload, prog.ID())))
		}},
		{"TC offload basics", func(b *bench) error {
			d, p := one(b)
			if err := b.k.Swap(p, offload.TCOffload, nil, b.loaded(cls, p)); err != nil {
				return err
			}
			if n := len(b.bound(d)); n != 1 {
				return fmt.Errorf("%d programs are bound", n)
			}
			return errors.Join(b.objects(1), only(p, skipSW|inHW))
		}},
		{"TC offload is device-bound", func(b *bench) error {
			d, p := one(b)
			prog := b.loaded(cls, p)
			if err := b.k.Swap(p, offload.TCOffload, nil, prog); err != nil {
				return err
			}
			info, err := prog.Info()
			if err != nil {
				return err
			}
			filters, err := filtersOf(p)
			if err != nil || len(filters) != 1 || filters[0].program != info.ID || filters[0].tag != info.Tag {
				return fmt.Errorf("filters %+v, %v; want program %d with tag %s", filters, err, info.ID, info.Tag)
			}
			if info.Device != p.Index {
				return fmt.Errorf("the program is bound to interface %d, want %d", info.Device, p.Index)
			}
			return b.isBound(d, info.ID)
		}},
		{"disabling TC offloads is rejected while filters installed", func(b *bench) error {
			d, p := one(b)
			if err := b.k.Swap(p, offload.TCOffload, nil, b.loaded(cls, p)); err != nil {
				return err
			}
			if err := setFeature(d.names[0], "hw-tc-offload", false); err == nil && !b.port(p.Name).TCOffload {
				return errors.New("offload was switched off under a filter")
			}
			return nil
		}},
		{"qdisc removal frees things", func(b *bench) error {
			d, p := one(b)
			prog := b.loaded(cls, p)
			if err := b.k.Swap(p, offload.TCOffload, nil, prog); err != nil {
				return err
			}
			if changed, err := b.k.Hook(p, offload.TCOffload, false); changed || err != nil {
				return fmt.Errorf("a qdisc in use was removed: %v, %v", changed, err)
			}
			if err := b.k.Swap(p, offload.TCOffload, prog, nil); err != nil {
				return err
			}
			prog.Close()
			if changed, err := b.k.Hook(p, offload.TCOffload, false); !changed || err != nil {
				return fmt.Errorf("a qdisc was not removed: %v", err)
			}
			if err := b.objects(0); err != nil {
				return err
			}
			if b.port(p.Name).Clsact {
				return errors.New("the qdisc is still there")
			}
			return eventually(func() error {
				if n := len(b.bound(d)); n != 0 {
					return fmt.Errorf("%d programs are bound", n)
				}
				return nil
			})
		}},
		{"disabling TC offloads is OK without filters", func(b *bench) error {
			d, p := one(b)
			prog := b.loaded(cls, p)
			if err := errors.Join(b.k.Swap(p, offload.TCOffload, nil, prog), b.k.Swap(p, offload.TCOffload, prog, nil)); err != nil {
				return err
			}
			if err := setFeature(d.names[0], "hw-tc-offload", false); err != nil || b.port(p.Name).TCOffload {
				return fmt.Errorf("offload could not be switched off: %v", err)
			}
			return nil
		}},
		{"destroying device gets rid of TC filters", func(b *bench) error {
			d, p := one(b)
			prog := b.loaded(cls, p)
			if err := b.k.Swap(p, offload.TCOffload, nil, prog); err != nil {
				return err
			}
			prog.Close()
			return errors.Join(d.remove(), b.objects(0))
		}},
	}
}
