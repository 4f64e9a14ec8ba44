package mach

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// checkMotion shows that moving and copying instructions between blocks kept the
// meaning, independently of how the passes work. It executes both functions on symbols
// (symexec.go), side by side, from branch to branch, to a fixed point. This is
// translation validation over the product of the two.
//
// At each pair of program points it keeps at most two facts about each resource of the
// new function; see relation. At joins, facts are intersected. Both functions must
// have the same events in the same order with equal terms, branch alike, and pass the
// same values to calls and to the firmware.
func checkMotion(old, now *Func) error {
	v := &product{terms: newTerms(now), old: old, now: now, from: map[pointPair]map[edge]*relation{}}
	failed := map[pointPair]error{} // facts may still be lost that an error rests on
	v.arrive(pointPair{}, edge{}, sameAll())
	for limit := 1000 + 100*(len(old.Blocks)+len(now.Blocks)); len(v.work) > 0; limit-- {
		if limit == 0 {
			return fmt.Errorf("%s: no fixed point", now.Name)
		}
		p := v.work[0]
		v.work = v.work[1:]
		if failed[p] = v.follow(p); failed[p] == nil {
			delete(failed, p)
		}
	}
	if len(failed) > 0 {
		p := slices.MinFunc(slices.Collect(maps.Keys(failed)), func(a, b pointPair) int { return cmp.Compare(a.now.block, b.now.block) })
		return fmt.Errorf("%s b%d, before b%d: %w", now.Name, p.now.block, p.old.block, failed[p])
	}
	return nil
}

// point is a program point: before instruction at of a block or, if exit is not nil,
// after a branch to the firmware.
type point struct {
	block int32
	at    int
	exit  *Inst
}

// pointPair is a program point of each function.
type pointPair struct{ old, now point }

// edge is a pair of points and the way that the branch after them goes.
type edge struct {
	pointPair
	taken bool
}

// product holds both functions, and the facts at the pairs of points reached.
type product struct {
	*terms
	old, now *Func
	from     map[pointPair]map[edge]*relation // facts, by incoming edge
	work     []pointPair
}

// arrive records the facts with which both functions reach a pair of points over an
// edge.
func (v *product) arrive(p pointPair, e edge, k *relation) {
	if v.from[p] == nil {
		v.from[p] = map[edge]*relation{}
	}
	was := v.from[p][e]
	if was != nil && was.same == k.same && was.makes == k.makes {
		return
	}
	v.from[p][e] = k
	if was != nil {
		k.widen(was)
	}
	if !slices.Contains(v.work, p) {
		v.work = append(v.work, p)
	}
}

// stop is the next point at which control may leave the sequence: a branch, a call, an
// exit.
type stop struct {
	in    *Inst   // nil at the firmware
	slots []*Inst // of a branch that may not be taken
	taken point
	falls point
}

// run collects the instructions from p to the next stop.
func run(f *Func, p point) ([]*Inst, stop, error) {
	var insts []*Inst
	limit := 16
	for _, b := range f.Blocks {
		limit += len(b.Insts) + 1
	}
	for range 2 * limit {
		if p.exit != nil {
			return insts, stop{taken: p}, nil
		}
		b := f.Blocks[p.block]
		if p.at == len(b.Insts) {
			if b.Next < 0 {
				return nil, stop{}, fmt.Errorf("nothing follows b%d", p.block)
			}
			p = point{block: b.Next}
			continue
		}
		k := p.at
		for k < len(b.Insts) && k <= p.at+3 && !b.Insts[k].Branches() {
			k++
		}
		if k == len(b.Insts) || !b.Insts[k].Branches() || k-int(b.Insts[k].Slots) > p.at {
			in := &b.Insts[p.at]
			if in.Swaps() && in.Inst.Slots() >= len(b.Insts)-p.at {
				return nil, stop{}, lostSlots(in)
			}
			insts = append(insts, in)
			p.at++
			continue
		}
		c := &b.Insts[k]
		if k-int(c.Slots) != p.at {
			return nil, stop{}, fmt.Errorf("enters the slots of %s", c.text())
		}
		first := len(insts)
		for i := p.at; i < k; i++ {
			insts = append(insts, &b.Insts[i])
		}
		s := stop{in: c, falls: point{block: p.block, at: k + 1}}
		switch {
		case c.Reloc == nfp.RelocDone:
			s.taken = point{exit: c}
		case c.To >= 0:
			s.taken = point{block: c.To}
		}
		switch {
		case !c.AlwaysBranches():
			s.slots = slices.Clone(insts[first:])
			return insts[:first], s, nil
		case c.Reloc != nfp.RelocDone && (c.Call != nil || c.To < 0):
			return insts, s, nil
		}
		p = s.taken
	}
	return nil, stop{}, fmt.Errorf("a loop without a branch")
}

// follow takes both functions to their next stop, and records the facts there.
func (v *product) follow(p pointPair) error {
	oldInsts, oldStop, err := run(v.old, p.old)
	if err != nil {
		return fmt.Errorf("old: %w", err)
	}
	nowInsts, nowStop, err := run(v.now, p.now)
	if err != nil {
		return err
	}
	known := v.known(p)
	old, now := v.begin(known)
	began := now.holds
	if err := old.execute(oldInsts); err != nil {
		return fmt.Errorf("old: %w", err)
	}
	if err := now.execute(nowInsts); err != nil {
		return err
	}
	c := oldStop.in
	switch {
	case (c == nil) != (nowStop.in == nil):
		return fmt.Errorf("one ends the program, the other does not")
	case c == nil:
		old.exit(oldStop.taken.exit)
		now.exit(nowStop.taken.exit)
		return sameEvents(old, now)
	case v.word(c) != v.word(nowStop.in):
		return fmt.Errorf("comes to %s, not %s", nowStop.in.text(), c.text())
	case c.AlwaysBranches():
		return v.followCall(p, old, now, oldStop, nowStop, known, &began)
	}
	if err := sameTest(old, now, c, nowStop.in); err != nil {
		return err
	}
	if err := old.steps(oldStop.slots); err != nil {
		return fmt.Errorf("old: %w", err)
	}
	if err := now.steps(nowStop.slots); err != nil {
		return err
	}
	if err := sameEvents(old, now); err != nil {
		return err
	}
	next := v.related(known, old, now, &began)
	v.arrive(pointPair{oldStop.taken, nowStop.taken}, edge{p, true}, next)
	v.arrive(pointPair{oldStop.falls, nowStop.falls}, edge{p, false}, next)
	return nil
}

// followCall executes a call or return.
func (v *product) followCall(p pointPair, old, now *executor, oldStop, nowStop stop, known *relation, began *contents) error {
	if err := old.step(oldStop.in); err != nil {
		return fmt.Errorf("old: %w", err)
	}
	if err := now.step(nowStop.in); err != nil {
		return err
	}
	if err := sameEvents(old, now); err != nil || oldStop.in.Op == nfp.OpRtn {
		return err
	}
	v.arrive(pointPair{oldStop.falls, nowStop.falls}, edge{p, false}, v.related(known, old, now, began))
	return nil
}

func sameTest(old, now *executor, c, is *Inst) error {
	x, err := old.test(c)
	if err != nil {
		return fmt.Errorf("old: %w", err)
	}
	y, err := now.test(is)
	if err == nil && x != y {
		err = fmt.Errorf("%s tests another value", is.text())
	}
	return err
}

// sameEvents compares the events of both functions.
func sameEvents(old, now *executor) error {
	for i, x := range old.events {
		if i == len(now.events) {
			return fmt.Errorf("%s is not executed", x.in.text())
		}
		y := now.events[i]
		switch {
		case x.term == y.term:
		case old.nodes[x.term].word != now.nodes[y.term].word:
			return fmt.Errorf("executes %s, not %s", y.in.text(), x.in.text())
		default:
			return fmt.Errorf("%s reads other values", y.in.text())
		}
	}
	if n := len(old.events); n < len(now.events) {
		return fmt.Errorf("%s is executed early", now.events[n].in.text())
	}
	return nil
}
