//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/offload"
)

// mixedChecks are steps 48 to 53.
func mixedChecks() []selfCheck {
	return []selfCheck{
		{"mixing of TC and XDP", func(b *bench) error {
			p := b.sim(1)[0]
			b.clsact(p)
			xdp, tc := b.loaded(ebpf.XDP, p), b.loaded(ebpf.SchedCLS, p)
			return errors.Join(
				b.k.Swap(p, offload.XDPOffload, nil, xdp),
				refusal(b.k.Swap(p, offload.TCOffload, nil, tc), "card-busy", b.words("driver and netdev offload states mismatch")),
				b.k.Swap(p, offload.XDPOffload, xdp, nil),
				b.k.Swap(p, offload.TCOffload, nil, tc),
				refusal(b.k.Swap(p, offload.XDPOffload, nil, xdp), "card-busy", b.words("TC program is already loaded")),
			)
		}},
		{"binding TC from pinned", func(b *bench) error { return fromPin(b, ebpf.SchedCLS, offload.TCOffload) }},
		{"binding XDP from pinned", func(b *bench) error { return fromPin(b, ebpf.XDP, offload.XDPOffload) }},
		{"offload of wrong type fails", func(b *bench) error {
			p := b.sim(1)[0]
			b.clsact(p)
			err := b.k.Swap(p, offload.TCOffload, nil, b.loaded(ebpf.XDP, p))
			if err == nil {
				return errors.New("an XDP program was taken as a filter")
			}
			return refusal(err, "wrong-type", "")
		}},
		{"asking for TC offload of two filters", func(b *bench) error {
			p := b.sim(1)[0]
			b.clsact(p)
			return errors.Join(
				b.k.Swap(p, offload.TCOffload, nil, b.loaded(ebpf.SchedCLS, p)),
				(tcFilter{fd: b.program(ebpf.SchedCLS, p).FD(), skip: skipSW}).add(p).failed(b.words("driver and netdev offload states mismatch")),
			)
		}},
		{"netdev removal waits for translation", func(b *bench) error {
			p := b.sim(1)[0]
			d := b.sims[0]
			const delay = 500 * time.Millisecond
			knob(d, -1, "bpf_bind_verifier_delay", fmt.Sprint(delay.Milliseconds()))
			loading := make(chan error)
			go func() {
				prog, err := b.k.LoadProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: smallest(ebpf.XDP), License: "GPL"}, nil, p)
				if err != nil {
					loading <- nil
					return
				}
				defer prog.Close()
				if info, infoErr := prog.Info(); infoErr != nil || !info.Gone {
					err = fmt.Errorf("%+v, %v: a program was loaded for a device that was being removed", info, infoErr)
				}
				loading <- err
			}()
			if err := eventually(func() error {
				if len(b.bound(d)) == 0 {
					return errors.New("the verifier has not started")
				}
				return nil
			}); err != nil {
				return err
			}
			if err := d.remove(); err != nil {
				return err
			}
			if n := len(b.bound(d)); n != 0 {
				return fmt.Errorf("%d programs are bound to a device that is gone", n)
			}
			// A program that was being verified when the device went was
			// refused, or has no device.
			return <-loading
		}},
	}
}

// fromPin attaches a program, detaches it and attaches it again from its pin.
func fromPin(b *bench, typ ebpf.ProgramType, mode offload.Mode) error {
	p := b.sim(1)[0]
	b.clsact(p)
	prog := b.loaded(typ, p)
	if err := errors.Join(b.k.Pin(prog, "selftest/program"), b.k.Swap(p, mode, nil, prog), b.k.Swap(p, mode, prog, nil)); err != nil {
		return err
	}
	b.later(func() { b.k.Unpin("selftest") })
	id := prog.ID()
	prog.Close()
	pinned, err := b.k.PinnedProgram("selftest/program")
	if err != nil {
		return err
	}
	defer pinned.Close()
	return errors.Join(b.k.Swap(p, mode, nil, pinned), b.stands(p, inMode(mode, id)), b.k.Swap(p, mode, pinned, nil))
}

// twoMaps is a program with an array and a hash of two entries each.
func twoMaps() *ebpf.CollectionSpec {
	lookup := func(name string) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Imm(asm.R2, 0),
			asm.StoreMem(asm.R10, -4, asm.R2, asm.Word),
			asm.Mov.Reg(asm.R2, asm.R10),
			asm.Add.Imm(asm.R2, -4),
			asm.LoadMapPtr(asm.R1, 0).WithReference(name),
			asm.FnMapLookupElem.Call(),
		}
	}
	insns := append(append(lookup("htab"), lookup("array")...), smallest(ebpf.XDP)...)
	spec := func(name string, typ ebpf.MapType) *ebpf.MapSpec {
		return &ebpf.MapSpec{Name: name, Type: typ, KeySize: 4, ValueSize: 8, MaxEntries: 2}
	}
	return &ebpf.CollectionSpec{
		Maps:     map[string]*ebpf.MapSpec{"htab": spec("htab", ebpf.Hash), "array": spec("array", ebpf.Array)},
		Programs: map[string]*ebpf.ProgramSpec{"prog": {Name: "prog", Type: ebpf.XDP, Instructions: insns, License: "GPL"}},
	}
}

// mapped loads the program of twoMaps for a port, with the given maps or new
// ones.
func (b *bench) mapped(p *offload.Port, maps map[string]offload.Map) (offload.Program, map[string]offload.Map, error) {
	coll := twoMaps()
	if maps == nil {
		maps = map[string]offload.Map{}
		for name, spec := range coll.Maps {
			m, err := b.k.CreateMap(spec, p)
			if err != nil {
				return nil, nil, err
			}
			b.later(func() { m.Close() })
			maps[name] = m
		}
	}
	prog, err := b.k.LoadProgram(coll.Programs["prog"], maps, p)
	if err == nil {
		b.later(func() { prog.Close() })
	}
	return prog, maps, err
}

// shown checks that the kernel reports p, in p's namespace, as the interface of the
// program and its maps.
func shown(prog offload.Program, maps map[string]offload.Map, p *offload.Port) error {
	info, err := prog.Info()
	if err != nil {
		return err
	}
	if info.Device != p.Index || info.Netns == 0 {
		return fmt.Errorf("program of interface %d in namespace %d, want interface %d", info.Device, info.Netns, p.Index)
	}
	for name, m := range maps {
		i, err := m.Info()
		if err != nil {
			return err
		}
		if i.Device != info.Device {
			return fmt.Errorf("map %s is of interface %d, the program of %d", name, i.Device, info.Device)
		}
	}
	return nil
}

func number(i int) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(i)) }
func wide(i int) []byte   { return binary.NativeEndian.AppendUint64(nil, uint64(i)) }

// filled is the program's maps with two entries each.
func (b *bench) filled() (map[string]offload.Map, error) {
	p := b.sim(1)[0]
	prog, maps, err := b.mapped(p, nil)
	if err != nil {
		return nil, err
	}
	if err := b.k.Swap(p, offload.XDPOffload, nil, prog); err != nil {
		return nil, err
	}
	for _, m := range maps {
		for i := range 2 {
			if err := m.Update(number(i), wide(3*i), ebpf.UpdateAny); err != nil {
				return nil, err
			}
		}
	}
	return maps, nil
}

// eachMap runs a check on both maps, filled.
func eachMap(do func(m offload.Map) error) func(b *bench) error {
	return func(b *bench) error {
		maps, err := b.filled()
		for name, m := range maps {
			if mapErr := do(m); mapErr != nil {
				err = errors.Join(err, fmt.Errorf("%s: %w", name, mapErr))
			}
		}
		return err
	}
}

// mapChecks are steps 54 to 68.
func mapChecks() []selfCheck {
	return []selfCheck{
		{"loading program with maps", func(b *bench) error {
			p := b.sim(1)[0]
			prog, _, err := b.mapped(p, nil)
			if err != nil {
				return err
			}
			info, err := prog.Info()
			if err != nil || len(info.Maps) != 2 {
				return fmt.Errorf("maps %v of the program, want two: %v", info.Maps, err)
			}
			return errors.Join(b.k.Swap(p, offload.XDPOffload, nil, prog), b.objects(3))
		}},
		{"bound info reporting (own ns)", func(b *bench) error {
			p := b.sim(1)[0]
			prog, maps, err := b.mapped(p, nil)
			return errors.Join(err, shown(prog, maps, p))
		}},
		{"bound info reporting (other ns)", func(b *bench) error { return inOther(b, func(*offload.Port) error { return nil }) }},
		{"bound info reporting (remote ns)", func(b *bench) error {
			return inOther(b, func(there *offload.Port) error {
				// The manager loads for a port of another namespace, too.
				prog := b.loaded(ebpf.XDP, there)
				return errors.Join(
					b.k.Swap(there, offload.XDPOffload, nil, prog),
					b.stands(there, inMode(offload.XDPOffload, prog.ID())),
					b.k.Swap(there, offload.XDPOffload, prog, nil),
				)
			})
		}},
		{"bound info reporting (back to own ns)", func(b *bench) error {
			return inOther(b, func(there *offload.Port) error {
				b.move(there, "")
				return nil
			})
		}},
		{"bound info reporting (removed dev)", func(b *bench) error {
			p := b.sim(1)[0]
			prog, maps, err := b.mapped(p, nil)
			if err != nil {
				return err
			}
			if err := errors.Join(b.k.Pin(prog, "selftest/program"), b.k.Pin(maps["htab"], "selftest/map")); err != nil {
				return err
			}
			b.later(func() { b.k.Unpin("selftest") })
			id := prog.ID()
			prog.Close()
			maps["htab"].Close()
			maps["array"].Close()
			if err := b.sims[0].remove(); err != nil {
				return err
			}
			if prog, err = b.k.PinnedProgram("selftest/program"); err != nil {
				return err
			}
			defer prog.Close()
			info, err := prog.Info()
			if err != nil || !info.Gone || info.ID != id {
				return fmt.Errorf("%+v, %v: want program %d with its device gone", info, err, id)
			}
			m, err := b.k.PinnedMap("selftest/map")
			if err != nil {
				return err
			}
			defer m.Close()
			if i, err := m.Info(); err != nil || !i.Gone || i.Shape.Type != "hash" {
				return fmt.Errorf("%+v, %v: want a hash with its device gone", i, err)
			}
			_, err = m.Lookup(number(0))
			return refusal(err, "gone", "")
		}},
		{"map update (no flags)", eachMap(func(m offload.Map) error {
			return refusal(m.Update(number(3), wide(9), ebpf.UpdateAny), "map-full", "")
		})},
		{"map update (exists)", eachMap(func(m offload.Map) error {
			for i := range 2 {
				if err := m.Update(number(i), wide(4*i), ebpf.UpdateExist); err != nil {
					return err
				}
			}
			err := m.Update(number(3), wide(9), ebpf.UpdateExist)
			if info, _ := m.Info(); info.Shape.Type == "array" && offload.ReasonOf(err) == "map-full" {
				return nil // the card checks the index first, netdevsim the entries
			}
			return refusal(err, "no-entry", "")
		})},
		{"map update (noexist)", eachMap(func(m offload.Map) error {
			return errors.Join(
				refusal(m.Update(number(0), wide(9), ebpf.UpdateNoExist), "entry-exists", ""),
				refusal(m.Update(number(1), wide(9), ebpf.UpdateNoExist), "entry-exists", ""),
			)
		})},
		{"map dump", eachMap(func(m offload.Map) error {
			i := 0
			err := m.Dump(func(key, value []byte) bool {
				if string(key) != string(number(i)) || string(value) != string(wide(3*i)) {
					i = -10
				}
				i++
				return true
			})
			if err != nil || i != 2 {
				return fmt.Errorf("the dump is wrong at entry %d: %v", i, err)
			}
			return nil
		})},
		{"map getnext", eachMap(func(m offload.Map) error {
			raw, err := ebpf.NewMapFromID(ebpf.MapID(m.ID()))
			if err != nil {
				return err
			}
			defer raw.Close()
			var next uint32
			if err := raw.NextKey(nil, &next); err != nil || next != 0 {
				return fmt.Errorf("the first key is %d: %v", next, err)
			}
			if err := raw.NextKey(uint32(0), &next); err != nil || next != 1 {
				return fmt.Errorf("the key behind 0 is %d: %v", next, err)
			}
			if err := raw.NextKey(uint32(1), &next); !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("there is key %d behind the last: %v", next, err)
			}
			return nil
		})},
		{"map delete (htab)", func(b *bench) error {
			maps, err := b.filled()
			if err != nil {
				return err
			}
			m := maps["htab"]
			return errors.Join(m.Delete(number(0)), m.Delete(number(1)), refusal(m.Delete(number(0)), "no-entry", ""))
		}},
		{"map delete (array)", func(b *bench) error {
			maps, err := b.filled()
			if err != nil {
				return err
			}
			return refusal(maps["array"].Delete(number(0)), "map-value", "")
		}},
		{"map remove", func(b *bench) error {
			if _, err := b.filled(); err != nil {
				return err
			}
			for i := len(b.undo) - 1; i >= 0; i-- { // what this process holds
				b.undo[i]()
			}
			b.undo = nil
			return errors.Join(b.objects(3), b.sims[0].remove(), b.objects(0))
		}},
		{"map creation fail path", func(b *bench) error {
			p := b.sim(1)[0]
			knob(b.sims[0], 0, "bpf_map_accept", "N")
			_, _, err := b.mapped(p, nil)
			return refusal(err, "map-type", "")
		}},
	}
}

// inOther loads a program and maps, moves their port to another namespace, checks what
// the kernel shows there, runs do, and checks again in the namespace where the port is
// then.
func inOther(b *bench, do func(there *offload.Port) error) error {
	p := b.sim(1)[0]
	prog, maps, err := b.mapped(p, nil)
	if err != nil {
		return err
	}
	before, err := prog.Info()
	if err != nil {
		return err
	}
	ns := b.netns()
	b.move(p, ns)
	all, err := b.k.Ports(ns, p.Name)
	if err != nil || len(all) != 1 {
		return fmt.Errorf("port %s in namespace %s: %v, %v", p.Name, ns, all, err)
	}
	there := &all[0]
	if err := shown(prog, maps, there); err != nil {
		return err
	}
	after, err := prog.Info()
	if err != nil || after.Netns == before.Netns {
		return fmt.Errorf("the program is of namespace %d as before: %v", after.Netns, err)
	}
	// From the first namespace it cannot be used any more.
	_, err = b.k.LoadProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: smallest(ebpf.XDP), License: "GPL"}, nil, p)
	if err := refusal(err, "foreign-namespace", ""); err != nil {
		return err
	}
	if err := do(there); err != nil {
		return err
	}
	if all, err = b.k.Ports("", p.Name); err == nil && len(all) == 1 {
		return shown(prog, maps, &all[0])
	}
	if err == nil {
		b.move(there, "")
	}
	return err
}
