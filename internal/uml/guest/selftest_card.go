//go:build linux

package main

import (
	"errors"
	"fmt"

	"github.com/nfpkit/nfpkit/offload"
)

// cardChecks are steps 69 to 75: two cards, one of which has three ports.
func cardChecks() []selfCheck {
	// cards creates them, with a program each.
	cards := func(b *bench) (a *offload.Port, c []*offload.Port, progA, progC offload.Program, err error) {
		a, c = b.sim(1)[0], b.sim(3)
		var errA, errC error
		progA, _, errA = b.mapped(a, nil)
		progC, _, errC = b.mapped(c[0], nil)
		return a, c, progA, progC, errors.Join(errA, errC)
	}
	// all attaches each program to all ports of its card.
	all := func(b *bench, a *offload.Port, c []*offload.Port, progA, progC offload.Program) error {
		err := b.k.Swap(a, offload.XDPOffload, nil, progA)
		for _, p := range c {
			err = errors.Join(err, b.k.Swap(p, offload.XDPOffload, nil, progC))
		}
		return err
	}
	const words = "Program bound to different device"
	refused := func(b *bench, p *offload.Port, old, new offload.Program) error {
		return refusal(b.k.Swap(p, offload.XDPOffload, old, new), "wrong-device", ofKernel(words, p))
	}
	return []selfCheck{
		{"multi-dev ASIC program reuse", func(b *bench) error {
			a, c, progA, progC, err := cards(b)
			if err != nil {
				return err
			}
			if a.Card == c[0].Card || c[0].Card != c[2].Card || c[0].Card == "" {
				return fmt.Errorf("cards %q, %q, %q: want the last two equal", a.Card, c[0].Card, c[2].Card)
			}
			err = all(b, a, c, progA, progC)
			for _, p := range c {
				err = errors.Join(err, b.stands(p, inMode(offload.XDPOffload, progC.ID())))
			}
			return err
		}},
		{"multi-dev ASIC cross-dev replace", func(b *bench) error {
			a, c, progA, progC, err := cards(b)
			if err = errors.Join(err, all(b, a, c, progA, progC)); err != nil {
				return err
			}
			err = refused(b, a, progA, progC)
			for _, p := range c {
				err = errors.Join(err, refused(b, p, progC, progA),
					b.stands(p, inMode(offload.XDPOffload, progC.ID())))
			}
			return err
		}},
		{"multi-dev ASIC cross-dev install", func(b *bench) error {
			a, c, progA, progC, err := cards(b)
			err = errors.Join(err, refused(b, a, nil, progC))
			for _, p := range c {
				err = errors.Join(err, refused(b, p, nil, progA))
			}
			return err
		}},
		{"multi-dev ASIC cross-dev map reuse", func(b *bench) error {
			a, c := b.sim(1)[0], b.sim(3)
			_, mapsA, errA := b.mapped(a, nil)
			_, mapsC, errC := b.mapped(c[0], nil)
			if err := errors.Join(errA, errC); err != nil {
				return err
			}
			const mismatch = "offload device mismatch between prog and map"
			_, _, same := b.mapped(c[2], mapsC)
			_, _, other := b.mapped(a, mapsC)
			_, _, third := b.mapped(c[0], mapsA)
			return errors.Join(same, refusal(other, "wrong-device", mismatch), refusal(third, "wrong-device", mismatch))
		}},
		{"multi-dev ASIC cross-dev destruction", func(b *bench) error {
			a, c, progA, progC, err := cards(b)
			if err = errors.Join(err, all(b, a, c, progA, progC)); err != nil {
				return err
			}
			if err := b.sims[0].remove(); err != nil {
				return err
			}
			infoA, errA := progA.Info()
			infoC, errC := progC.Info()
			if err := errors.Join(errA, errC); err != nil || !infoA.Gone || infoC.Gone || infoC.Device != c[0].Index {
				return fmt.Errorf("%+v, %+v, %v: want the first gone and the second on interface %d", infoA, infoC, err, c[0].Index)
			}
			return nil
		}},
		{"multi-dev ASIC cross-dev destruction - move", func(b *bench) error {
			_, c, _, progC, err := cards(b)
			if err != nil {
				return err
			}
			for i := range 2 {
				if err := b.sims[1].removePort(i); err != nil {
					return err
				}
				info, err := progC.Info()
				if err != nil {
					return err
				}
				ok := info.Device == c[2].Index || i == 0 && info.Device == c[1].Index
				if info.Gone || !ok {
					return fmt.Errorf("after %d ports were removed: %+v", i+1, info)
				}
			}
			return nil
		}},
		{"multi-dev ASIC cross-dev destruction - orphaned", func(b *bench) error {
			_, c, _, progC, err := cards(b)
			if err != nil {
				return err
			}
			for i := range c {
				if err := b.sims[1].removePort(i); err != nil {
					return err
				}
			}
			info, err := progC.Info()
			if err != nil || info.ID != progC.ID() {
				return fmt.Errorf("%+v: %v", info, err)
			}
			if err := b.sims[1].remove(); err != nil {
				return err
			}
			if info, err = progC.Info(); err != nil || !info.Gone || info.Tag == "" {
				return fmt.Errorf("%+v, %v: want it shown, without device", info, err)
			}
			return nil
		}},
	}
}
