package difftest

import (
	"errors"
	"fmt"
	stdmaps "maps"
	"slices"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// verify runs our verifier; the result is nil if it refuses the program.
func (w *worker) verify(p *Program, c *code.Code) *verify.Facts {
	f, err := verify.Verify(c, nil)
	var no *verify.Rejection
	switch {
	case errors.As(err, &no):
		w.sum.refuse("verify", no.Reasons[0].Reason)
		return nil
	case err != nil:
		w.sum.refuse("verify", err.Error())
		return nil
	}
	return f
}

// stage is the ir after one pass, as text.
type stage struct{ pass, text string }

// compiled compiles the program and compares the IR after each pass with the
// interpreter, then the card. It reports the first pass that differs and skips the
// rest. It returns the number of words of the image, or 0 if there is none.
func (w *worker) compiled(p *Program, f *verify.Facts, want *Result, note func(string, *Mismatch, error)) int {
	tails, uses, err := w.compileTargets(p, f)
	if err != nil {
		w.uncompiled(err, note)
		return 0
	}
	var stages []stage
	img, err := jit.Compile(f, w.profile, &jit.Options{Use: uses, Check: true, DumpIR: true, Dump: func(pass, text string) {
		if n := len(stages); n > 0 && stages[n-1].text == text {
			return // a pass that found nothing to do
		}
		stages = append(stages, stage{pass, text})
	}})
	w.count(stages)
	if no := new(jit.Unsupported); errors.As(err, &no) {
		w.uncompiled(err, note)
		return 0
	}
	for _, s := range stages {
		if w.apart(p) {
			break
		}
		m, err := w.stage(p, f.Code, want, s)
		if m != nil || err != nil {
			note("ir after "+s.pass, m, err)
			return 0
		}
	}
	note("ir", nil, nil)
	if err != nil {
		w.uncompiled(err, note)
		return 0
	}
	got, err := w.runSim(p, img, tails)
	if err != nil {
		note("sim", nil, err)
		return len(img.Words)
	}
	note("sim", compare(want, got, func(v uint32) uint32 { return driver.Canonical(w.profile, p.Spec.Type, v) }), nil)
	return len(img.Words)
}

// count records the passes that changed the program: all stages but lifting.
func (w *worker) count(stages []stage) {
	passes := map[string]bool{}
	for i := 1; i < len(stages); i++ {
		passes[stages[i].pass] = true
	}
	for pass := range passes {
		w.sum.Changed[pass]++
	}
}

// apart reports whether the card lays out an array's values differently from the
// interpreter. IR that addresses them is then meaningless to the interpreter.
func (w *worker) apart(p *Program) bool {
	if !w.profile.DirectMap {
		return false
	}
	for _, spec := range p.Maps {
		if n := spec.ValueSize; n < 8 || n&(n-1) != 0 {
			return true
		}
	}
	return false
}

// compileTargets compiles the programs of the prog array, and returns which map
// words are counters to them and to main.
func (w *worker) compileTargets(p *Program, main *verify.Facts) (images map[uint32]*nfp.Image, uses []lift.MapUse, err error) {
	if len(p.Targets) == 0 {
		return nil, nil, nil
	}
	order := slices.Sorted(stdmaps.Keys(p.Targets))
	programs := []*verify.Facts{main}
	for _, i := range order {
		c, faults := code.New(p.Targets[i], p.Maps)
		if len(faults) > 0 {
			return nil, nil, faults[0]
		}
		f, err := verify.Verify(c, nil)
		if err != nil {
			return nil, nil, err
		}
		programs = append(programs, f)
	}
	uses = lift.Agree(programs)
	images = map[uint32]*nfp.Image{}
	for k, i := range order {
		if images[i], err = jit.Compile(programs[k+1], w.profile, &jit.Options{Use: uses}); err != nil {
			return nil, nil, err
		}
	}
	return images, uses, nil
}

// uncompiled counts a refusal; any other error is a difference.
func (w *worker) uncompiled(err error, note func(string, *Mismatch, error)) {
	var unsupported *jit.Unsupported
	var rejection *verify.Rejection
	switch {
	case errors.As(err, &unsupported):
		w.sum.refuse("compiler", unsupported.Reasons[0].Reason)
	case errors.As(err, &rejection):
		w.sum.refuse("verify", rejection.Reasons[0].Reason)
	default:
		note("compiler", nil, err)
	}
}

// stage evaluates the ir after one pass.
func (w *worker) stage(p *Program, c *code.Code, want *Result, s stage) (*Mismatch, error) {
	mod, err := ir.Parse(s.text)
	if err != nil {
		return nil, fmt.Errorf("its text: %w", err)
	}
	got, err := runIR(p, c, mod)
	if err != nil {
		return nil, err
	}
	return compare(want, got, raw), nil
}

// runSim runs the image on a card with the profile's firmware.
func (w *worker) runSim(p *Program, img *nfp.Image, tails map[uint32]*nfp.Image) (*Result, error) {
	card, err := driver.New(w.profile, &driver.Options{Guard: driver.GuardPacket, Time: microseconds()})
	if err != nil {
		return nil, err
	}
	return onCard(card, p, img, tails)
}

// microseconds returns the interpreter's clock: a microsecond a call.
func microseconds() func() uint64 {
	now := uint64(0)
	return func() uint64 {
		now += 1000
		return now
	}
}

// Fill sets the maps of a card to their contents before the first packet.
func (p *Program) Fill(card *driver.NIC) error {
	for _, name := range sortedNames(p.Initial) {
		m := card.Map(name)
		if m == nil {
			return fmt.Errorf("the card has no map %s", name)
		}
		n := maps.HostValueSize(m.Map)
		for _, e := range p.Initial[name] {
			value := make([]byte, n)
			copy(value, e.Value)
			if err := m.UpdateAll(e.Key, value, maps.Any); err != nil {
				return fmt.Errorf("map %s: %w", name, err)
			}
		}
	}
	return nil
}

// onCard creates the program's maps on a card, loads the program and runs its packets.
func onCard(card *driver.NIC, p *Program, img *nfp.Image, tails map[uint32]*nfp.Image) (*Result, error) {
	var all []maps.Map
	for _, name := range sortedNames(p.Maps) {
		m, err := card.CreateMap(p.Maps[name])
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	if err := p.Fill(card); err != nil {
		return nil, err
	}
	for i, image := range tails {
		prog, err := card.Load(image, p.Spec.Type)
		if err != nil {
			return nil, err
		}
		if m := card.Map(jumpMap); m != nil {
			if err := card.SetProgArray(m, i, prog); err != nil {
				return nil, err
			}
		}
	}
	prog, err := card.Load(img, p.Spec.Type)
	if err != nil {
		return nil, err
	}
	res := &Result{}
	for i, pkt := range p.Packets {
		out, err := card.Run(prog, &driver.Input{Packet: pkt, Ifindex: 1})
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i, err)
		}
		r := PacketResult{Verdict: out.Action, Data: out.Packet, Aside: []string{}}
		for _, e := range out.Events {
			r.Aside = append(r.Aside, fmt.Sprintf("event to %s: %x %x", e.Map, e.Data, e.Packet))
		}
		if to := out.Redirect; to != nil {
			r.Aside = append(r.Aside, redirectText(to.Ifindex, to.Map, to.Key, to.Value, to.Flags))
		}
		res.Packets = append(res.Packets, r)
	}
	res.Maps, err = readMaps(all)
	return res, err
}

// profile returns the firmware for which programs are compiled here, one without
// limits of size.
func profile() (*firmware.Profile, error) { return firmware.Load("unlimited") }
