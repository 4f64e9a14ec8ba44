package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Change selects how to replace one generation by the next. The zero value replaces
// the program without a trial.
type Change struct {
	// Migrate copies the entries of a map whose shape changed, by the map's name,
	// before any packet meets the new program. The old program keeps updating old
	// meanwhile.
	Migrate map[string]Migration
	// Fresh names maps that start empty although the old generation has maps of these
	// names.
	Fresh []string
	// Health is called repeatedly while the new program is on trial; its first error
	// rolls the change back. If nil, the trial only checks that the program stays
	// attached.
	Health func(ctx context.Context) error
	// Window is the duration of the trial. Interval is the time between two checks; 0
	// selects a tenth of the window.
	Window, Interval time.Duration
	// Force replaces any program that is attached to the ports, not only the expected
	// one.
	Force bool
}

// A Migration copies entries from a map to its successor.
type Migration func(ctx context.Context, old, new Map) error

// transition is one change in progress. After an error nothing of it remains except
// what the error states.
type transition struct {
	*session
	change *Change
	op     string
	name   string
	record Record // the journal's record
	coll   *ebpf.CollectionSpec
	spec   *ebpf.ProgramSpec
	ports  []*Port // of the new deployment, in its order
	left   []*Port // ports of the old deployment that the new one does not have
	next   Program
	old    Program
	before map[string]Map // maps of the current generation that still exist
	maps   map[string]Map
	made   map[string]bool // maps that did not exist before
	close  []interface{ Close() error }
}

// change replaces the journal's deployment named d.Name, if any, by d.
func (s *session) change(ctx context.Context, op string, d *Deployment, c *Change) (err error) {
	if c == nil {
		c = &Change{}
	}
	if d.Mode == "" {
		d.Mode = XDPOffload
	}
	if err := s.stuck[d.Name]; err != nil {
		return err
	}
	t := &transition{session: s, change: c, op: op, name: d.Name, maps: map[string]Map{}, made: map[string]bool{}}
	defer func() {
		for _, o := range t.close {
			o.Close()
		}
	}()
	start := time.Now()
	if err := t.look(d); err != nil {
		return err
	}
	if err := t.prepare(ctx, d); err != nil {
		return errors.Join(err, s.undo(t.name))
	}
	if err := t.switchOver(ctx); err != nil {
		return errors.Join(err, s.undo(t.name))
	}
	trial := time.Now()
	if err := t.confirm(ctx); err != nil {
		if !s.locked { // the next process that locks the journal settles it
			return err
		}
		return errors.Join(err, s.undo(t.name))
	}
	onTrial := time.Since(trial)
	t.record.Next.Took = trial.Sub(start)
	if err := t.accept(); err != nil {
		if s.records[t.name].Phase == Switching { // the write to the journal failed: the next start would roll back
			err = errors.Join(err, s.undo(t.name))
		}
		return err
	}
	took := time.Since(start) - onTrial
	s.opt.Took(op, took)
	s.logf("%s %s: program %d of generation %d runs, after %v", op, t.name, t.record.Current.Program, t.record.Current.Number, took.Round(time.Microsecond))
	return nil
}

// look reads the object and finds the ports, without changing anything.
func (t *transition) look(d *Deployment) error {
	if err := d.check(); err != nil {
		return err
	}
	var err error
	if t.coll, t.spec, err = d.open(t.opt.Open); err != nil {
		return err
	}
	for _, ref := range d.Ports {
		p, err := t.port(ref)
		if err != nil {
			return err
		}
		t.ports = append(t.ports, p)
		if first := t.ports[0]; d.Mode.Offloaded() && p.Card != first.Card {
			return &Error{Op: t.op, Object: t.name, Reason: "wrong-device",
				Msg: fmt.Sprintf("ports %s and %s are of different cards, %s and %s", first.Ref(), p.Ref(), first.Card, p.Card)}
		}
	}
	if err := t.portsFree(d); err != nil {
		return err
	}
	if r := t.records[t.name]; r != nil {
		t.record = *r
		newest, err := t.newestPin(t.name)
		if err != nil {
			return err
		}
		if newest > r.Counter {
			return damaged(t.opt.Journal, "generation %d of deployment %s is pinned, the journal has %d: an older file was put in its place", newest, t.name, r.Counter)
		}
	}
	return t.lookAtCurrent(d)
}

// portsFree checks that no other deployment has the ports, or is about to get them.
func (t *transition) portsFree(d *Deployment) error {
	for _, other := range t.names() {
		r := t.records[other]
		if other == t.name {
			continue
		}
		for _, g := range []*Generation{r.Current, r.Next} {
			if g == nil || g.Deployment.Mode != d.Mode {
				continue
			}
			for _, ref := range d.Ports {
				if slices.Contains(g.Deployment.Ports, ref) {
					return &Error{Op: t.op, Object: t.name, Reason: "port-taken", Msg: fmt.Sprintf("port %s runs deployment %s in mode %s", ref, other, d.Mode)}
				}
			}
		}
	}
	return nil
}

// lookAtCurrent opens the program of the current generation and compares the ports
// with it.
func (t *transition) lookAtCurrent(d *Deployment) error {
	cur := t.record.Current
	var err error
	if t.old, err = t.program(cur); err != nil {
		return err
	}
	if t.old != nil {
		t.close = append(t.close, t.old)
	}
	if t.before, err = t.survivors(cur, t.old); err != nil {
		return err
	}
	for _, m := range t.before {
		t.close = append(t.close, m)
	}
	if cur != nil {
		for _, ref := range cur.Deployment.Ports {
			if slices.Contains(d.Ports, ref) && cur.Deployment.Mode == d.Mode {
				continue
			}
			p, err := t.port(ref)
			if ReasonOf(err) == "no-port" {
				continue // the port is gone, and the program with it
			}
			if err != nil {
				return err
			}
			t.left = append(t.left, p)
		}
	}
	if t.change.Force {
		return nil
	}
	for _, p := range t.ports {
		found, err := t.attached(p, d.Mode)
		if err != nil {
			return err
		}
		if want := t.expected(p.Ref(), d.Mode); found != want {
			return changed(t.op, p, d.Mode, want, found)
		}
	}
	return nil
}

// expected returns the id of the program that should be attached to a port now.
func (t *transition) expected(ref Ref, mode Mode) uint32 {
	cur := t.record.Current
	if cur == nil || cur.Deployment.Mode != mode || !slices.Contains(cur.Deployment.Ports, ref) {
		return 0
	}
	return idOf(t.old)
}

// changed returns the error for an unexpected program.
func changed(op string, p *Port, mode Mode, want, found uint32) error {
	say := func(id uint32) string {
		if id == 0 {
			return "none"
		}
		return fmt.Sprintf("program %d", id)
	}
	return &Error{Op: op, Object: p.Ref().String(), Reason: "program-changed",
		Msg: fmt.Sprintf("in mode %s %s is attached, expected is %s", mode, say(found), say(want))}
}

// prepare creates the next generation, pinned and attached to no port.
func (t *transition) prepare(ctx context.Context, d *Deployment) error {
	t.record.Counter++
	next := &Generation{Number: t.record.Counter, Deployment: d, Loaded: time.Now().UTC(), Boot: t.kernel.Boot()}
	t.record.Next, t.record.Phase, t.record.Want = next, Preparing, d
	if err := t.save(); err != nil {
		return err
	}
	var on *Port
	if d.Mode.Offloaded() {
		on = t.ports[0]
	}
	if err := t.prepareMaps(on); err != nil {
		return err
	}
	p, err := t.kernel.LoadProgram(t.spec, t.maps, on)
	if err != nil {
		return err
	}
	t.next, t.close = p, append(t.close, p)
	if err := t.kernel.Pin(p, programPin(next)); err != nil {
		return err
	}
	info, err := p.Info()
	if err != nil {
		return err
	}
	next.Program, next.Tag = info.ID, info.Tag
	for _, e := range next.Maps {
		if !slices.Contains(info.Maps, e.ID) {
			return &Error{Op: t.op, Object: t.name, Reason: "unexpected", Msg: fmt.Sprintf("the kernel loaded the program without map %s, id %d", e.Name, e.ID)}
		}
	}
	if err := t.save(); err != nil {
		return err
	}
	// The card's driver learns from the program which words are counters, so contents
	// are written only now.
	if err := t.fillMaps(); err != nil {
		return err
	}
	return t.migrate(ctx)
}

func (t *transition) save() error {
	r := t.record
	if r.Next != nil {
		g := *r.Next
		r.Next = &g
	}
	return t.put(t.name, &r)
}

// switchOver attaches the next program to each port.
func (t *transition) switchOver(ctx context.Context) error {
	mode := t.record.Next.Deployment.Mode
	t.record.Phase = Switching
	for _, p := range t.ports {
		if mode.TC() && !p.Clsact && !slices.Contains(t.record.Hooks, p.Ref()) {
			t.record.Hooks = append(slices.Clone(t.record.Hooks), p.Ref())
		}
	}
	if err := t.save(); err != nil {
		return err
	}
	for _, p := range t.ports {
		if err := ctx.Err(); err != nil {
			return &Error{Op: t.op, Object: t.name, Reason: "interrupted", Msg: err.Error(), Err: err}
		}
		if _, err := t.kernel.Hook(p, mode, true); err != nil {
			return err
		}
		if err := t.swapIn(p, mode); err != nil {
			return err
		}
		t.logf("%s %s: port %s runs program %d", t.op, t.name, p.Ref(), t.next.ID())
	}
	for _, p := range t.left {
		if err := t.takeAway(p, t.record.Current.Deployment.Mode, t.old); err != nil {
			return err
		}
	}
	return nil
}

// swapIn replaces the program of a port: the expected one, or any with Force.
func (t *transition) swapIn(p *Port, mode Mode) error {
	old := t.old
	if t.expected(p.Ref(), mode) == 0 {
		old = nil
	}
	if t.change.Force {
		found, err := t.attached(p, mode)
		if err != nil {
			return err
		}
		if found != idOf(old) {
			old = nil
			if found != 0 {
				if old, err = t.kernel.Program(found); err != nil {
					return err
				}
				defer old.Close()
			}
		}
	}
	return t.kernel.Swap(p, mode, old, t.next)
}

// takeAway detaches prog from a port, if it is attached.
func (s *session) takeAway(p *Port, mode Mode, prog Program) error {
	found, err := s.attached(p, mode)
	if err != nil || found == 0 || prog == nil {
		return err
	}
	if found != prog.ID() {
		s.logf("port %s: program %d in mode %s is not ours: it stays", p.Ref(), found, mode)
		return nil
	}
	if err := s.kernel.Swap(p, mode, prog, nil); err != nil {
		return err
	}
	if found, err = s.attached(p, mode); err == nil && found == prog.ID() {
		err = changed("detach", p, mode, 0, found)
	}
	return err
}

// confirm watches the next program while it is on trial. The journal is unlocked
// meanwhile.
func (t *transition) confirm(ctx context.Context) error {
	if err := t.stands(); err != nil {
		return err
	}
	if t.change.Health == nil && t.change.Window == 0 {
		return nil
	}
	t.pause()
	err := t.trial(ctx)
	// Others lock the journal only for moments, and a program must not stay on trial.
	return errors.Join(err, t.resume(context.WithoutCancel(ctx), max(t.opt.Patience, time.Minute)))
}

// trial checks repeatedly that the program is attached and healthy.
func (t *transition) trial(ctx context.Context) error {
	health := t.change.Health
	interval := t.change.Interval
	if interval <= 0 {
		interval = max(t.change.Window/10, time.Millisecond)
	}
	end := time.Now().Add(t.change.Window)
	for {
		if health != nil {
			if err := health(ctx); err != nil {
				return &Error{Op: t.op, Object: t.name, Reason: "unhealthy", Msg: oneLine(err), Err: err}
			}
		}
		if err := t.stands(); err != nil {
			return err
		}
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return &Error{Op: t.op, Object: t.name, Reason: "interrupted", Msg: ctx.Err().Error(), Err: ctx.Err()}
		case <-time.After(min(left, interval)):
		}
	}
}

// stands checks that each port runs the next program, in the requested mode.
func (t *transition) stands() error {
	mode := t.record.Next.Deployment.Mode
	for _, p := range t.ports {
		found, err := t.attached(p, mode)
		if err != nil {
			return err
		}
		if found != t.next.ID() {
			return changed(t.op, p, mode, t.next.ID(), found)
		}
	}
	return nil
}

// accept makes the next generation the current one and drops the previous one. The
// change cannot be rolled back afterwards.
func (t *transition) accept() error {
	t.record.Current, t.record.Next, t.record.Phase = t.record.Next, nil, Retiring
	if err := t.save(); err != nil {
		return err
	}
	for _, o := range t.close { // releases the references to the objects that are dropped
		o.Close()
	}
	t.close = nil
	return t.retire(t.name)
}
