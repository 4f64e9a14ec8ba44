//go:build linux

package main

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/offload"
)

// xdpChecks are steps 20 to 32.
func xdpChecks() []selfCheck {
	return []selfCheck{
		{"destroying device gets rid of XDP", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, p)
			if err := b.k.Swap(p, offload.XDPOffload, nil, prog); err != nil {
				return err
			}
			prog.Close()
			return errors.Join(b.sims[0].remove(), b.objects(0))
		}},
		{"XDP prog reporting", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, nil)
			return errors.Join(b.k.Swap(p, offload.XDPDriver, nil, prog), b.stands(p, inMode(offload.XDPDriver, prog.ID())), b.objects(1))
		}},
		{"XDP prog replace without force", func(b *bench) error {
			p := b.sim(1)[0]
			first, second := b.loaded(ebpf.XDP, nil), b.loaded(ebpf.XDP, nil)
			return errors.Join(
				b.k.Swap(p, offload.XDPDriver, nil, first),
				refusal(b.k.Swap(p, offload.XDPDriver, nil, second), "program-changed", "Active program does not match expected"),
				setXDP(p, b.program(ebpf.XDP, nil).FD(), xdpDriver|xdpIfNoExist).failed("XDP program already attached"),
				b.stands(p, inMode(offload.XDPDriver, first.ID())),
			)
		}},
		{"XDP prog replace with force", func(b *bench) error {
			p := b.sim(1)[0]
			first, second := b.loaded(ebpf.XDP, nil), b.loaded(ebpf.XDP, nil)
			if err := errors.Join(b.k.Swap(p, offload.XDPDriver, nil, first), b.k.Swap(p, offload.XDPDriver, first, second)); err != nil {
				return err
			}
			first.Close()
			info, err := second.Info()
			if err != nil || info.Device != 0 {
				return fmt.Errorf("a program of the host is of interface %d: %v", info.Device, err)
			}
			return errors.Join(b.objects(1), b.stands(p, inMode(offload.XDPDriver, second.ID())))
		}},
		{"XDP prog replace with bad flags", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, nil)
			return errors.Join(
				b.k.Swap(p, offload.XDPDriver, nil, prog),
				refusal(b.k.Swap(p, offload.XDPGeneric, nil, prog), "mode-conflict", "Native and generic XDP can't be active at the same time"),
			)
		}},
		{"MTU restrictions", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, nil)
			if err := b.k.Swap(p, offload.XDPDriver, nil, prog); err != nil {
				return err
			}
			if a := setMTU(p, 9000); a.errno == nil {
				return errors.New("the MTU became 9000 under a program")
			}
			return errors.Join(
				b.k.Swap(p, offload.XDPDriver, prog, nil),
				setMTU(p, 9000).ok(),
				refusal(b.k.Swap(p, offload.XDPDriver, nil, prog), "port-busy", "MTU too large w/ XDP enabled"),
				setMTU(p, 1500).ok(),
				b.k.Swap(p, offload.XDPDriver, nil, prog),
			)
		}},
		{"non-offload XDP attaching to HW", func(b *bench) error {
			p := b.sim(1)[0]
			return refusal(b.k.Swap(p, offload.XDPOffload, nil, b.loaded(ebpf.XDP, nil)), "wrong-device", b.words("xdpoffload of non-bound program"))
		}},
		{"offload XDP attaching to drv", func(b *bench) error {
			p := b.sim(1)[0]
			return refusal(b.k.Swap(p, offload.XDPDriver, nil, b.loaded(ebpf.XDP, p)), "mode-conflict",
				ofKernel("Using offloaded program without HW_MODE flag is not supported", p))
		}},
		{"XDP load failure", func(b *bench) error {
			p := b.sim(1)[0]
			knob(b.sims[0], -1, "bpf_bind_verifier_accept", "N")
			_, err := b.k.LoadProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: smallest(ebpf.XDP), License: "GPL"}, nil, p)
			return errors.Join(refusal(err, "driver-rejected", "[netdevsim] Hello from netdevsim!"), b.objects(0))
		}},
		{"XDP offload", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, p)
			return errors.Join(b.k.Swap(p, offload.XDPOffload, nil, prog), b.stands(p, inMode(offload.XDPOffload, prog.ID())), b.objects(1))
		}},
		{"XDP offload is device bound", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, p)
			if err := b.k.Swap(p, offload.XDPOffload, nil, prog); err != nil {
				return err
			}
			info, err := prog.Info()
			if err != nil || info.Device != p.Index || info.Netns == 0 {
				return fmt.Errorf("%+v, %v: want it bound to interface %d", info, err, p.Index)
			}
			if id := b.offloaded(b.sims[0]); id != fmt.Sprint(info.ID) {
				return fmt.Errorf("the port runs program %s, want %d", id, info.ID)
			}
			return b.isBound(b.sims[0], info.ID)
		}},
		{"removing XDP program many times", func(b *bench) error {
			p := b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, p)
			if err := errors.Join(b.k.Swap(p, offload.XDPOffload, nil, prog), b.k.Swap(p, offload.XDPOffload, prog, nil)); err != nil {
				return err
			}
			for _, mode := range []offload.Mode{offload.XDPOffload, offload.XDPDriver} {
				if err := errors.Join(b.k.Swap(p, mode, nil, nil), b.k.Swap(p, mode, nil, nil)); err != nil {
					return err
				}
			}
			prog.Close()
			return errors.Join(setXDP(p, -1, 0).ok(), setXDP(p, -1, 0).ok(), b.objects(0))
		}},
		{"attempt to use a program for a wrong device", func(b *bench) error {
			p, q := b.sim(1)[0], b.sim(1)[0]
			prog := b.loaded(ebpf.XDP, q)
			if err := b.k.Swap(q, offload.XDPOffload, nil, prog); err != nil {
				return err
			}
			err := refusal(b.k.Swap(p, offload.XDPOffload, nil, prog), "wrong-device", ofKernel("Program bound to different device", p))
			orphaned := ofKernel("Program bound to different device", p)
			if kernelBefore(6, 3) {
				orphaned = b.words("xdpoffload of non-bound program") // netdevsim asks whether it is bound first
			}
			return errors.Join(err, b.sims[1].remove(), refusal(b.k.Swap(p, offload.XDPOffload, nil, prog), "wrong-device", orphaned))
		}},
	}
}

// multiChecks are steps 33 to 47: an offloaded program together with another
// one.
func multiChecks() []selfCheck {
	var all []selfCheck
	for _, other := range []struct {
		name  string
		flags uint32
		mode  offload.Mode
	}{{"default", 0, offload.XDPDriver}, {"drv", xdpDriver, offload.XDPDriver}, {"generic", xdpGeneric, offload.XDPGeneric}} {
		// both attaches an offloaded program and another one to a port.
		both := func(b *bench) (p *offload.Port, hw offload.Program, host *ebpf.Program) {
			p = b.sim(1)[0]
			hw, host = b.loaded(ebpf.XDP, p), b.program(ebpf.XDP, nil)
			if err := errors.Join(b.k.Swap(p, offload.XDPOffload, nil, hw), setXDP(p, host.FD(), other.flags).ok()); err != nil {
				panic(err)
			}
			return p, hw, host
		}
		prefix := "multi-attachment XDP - "
		all = append(all,
			selfCheck{prefix + other.name + " + offload", func(b *bench) error {
				p, hw, host := both(b)
				if id := b.offloaded(b.sims[0]); id != fmt.Sprint(hw.ID()) {
					return fmt.Errorf("the port runs program %s, want %d", id, hw.ID())
				}
				return b.stands(p, inMode(offload.XDPOffload, hw.ID()), inMode(other.mode, idOf(host)))
			}},
			selfCheck{prefix + other.name + ", replace", func(b *bench) error {
				p, hw, host := both(b)
				next := b.program(ebpf.XDP, p)
				ours, err := b.k.Program(idOf(next))
				if err != nil {
					return err
				}
				defer ours.Close()
				return errors.Join(
					setXDP(p, next.FD(), xdpHardware|xdpIfNoExist).failed("XDP program already attached"),
					refusal(b.k.Swap(p, offload.XDPOffload, nil, ours), "program-changed", "Active program does not match expected"),
					b.k.Swap(p, offload.XDPOffload, hw, ours),
					b.stands(p, inMode(offload.XDPOffload, ours.ID()), inMode(other.mode, idOf(host))),
				)
			}},
			selfCheck{prefix + other.name + ", remove without mode", func(b *bench) error {
				p, hw, host := both(b)
				err := errors.Join(
					setXDP(p, -1, 0).failed("More than one program loaded, unset mode is ambiguous"),
					b.k.Swap(p, offload.XDPOffload, hw, nil),
					b.stands(p, inMode(other.mode, idOf(host))),
				)
				if id := b.offloaded(b.sims[0]); id != "0" {
					err = errors.Join(err, fmt.Errorf("the port runs program %s", id))
				}
				return err
			}},
			selfCheck{prefix + other.name + ", reattach", func(b *bench) error {
				p, hw, host := both(b)
				return errors.Join(
					b.k.Swap(p, offload.XDPOffload, hw, nil), b.k.Swap(p, offload.XDPOffload, nil, hw),
					b.stands(p, inMode(offload.XDPOffload, hw.ID()), inMode(other.mode, idOf(host))),
				)
			}},
			selfCheck{prefix + other.name + ", device remove", func(b *bench) error {
				_, hw, host := both(b)
				hw.Close()
				host.Close()
				return errors.Join(b.sims[0].remove(), b.objects(0))
			}},
		)
	}
	return all
}
