package mach

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// CheckMotion shows that moving and copying instructions between blocks kept the
// meaning, independently of how the passes work (translation validation). It executes
// both functions on symbolic values, side by side, from branch to branch, to a fixed
// point.
//
// At each pair of program points it keeps at most two facts about each resource of the
// new function: One is that the old function holds the same value. The other is the
// expression by which the old function would still compute that value from the values
// it holds. At joins, facts are intersected. Both functions must issue the same
// commands in the same order with the same operands, branch alike, and leave the same
// values in resources that are live at the exits.
func CheckMotion(old, now *Func) error {
	v := &ways{old: old, now: now, words: map[wordKey]int32{}, ids: map[string]symbol{}, from: map[places]map[origin]*relation{}}
	failed := map[places]error{} // what is known may grow until the end
	v.comes(places{}, origin{}, sameAll())
	for limit := 1000 + 100*(len(old.Blocks)+len(now.Blocks)); len(v.work) > 0; limit-- {
		if limit == 0 {
			return fmt.Errorf("%s: no end of following it", now.Name)
		}
		p := v.work[0]
		v.work = v.work[1:]
		if failed[p] = v.follow(p); failed[p] == nil {
			delete(failed, p)
		}
	}
	if len(failed) > 0 {
		p := slices.MinFunc(slices.Collect(maps.Keys(failed)), func(a, b places) int { return cmp.Compare(a.now.block, b.now.block) })
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

// places is a pair of program points, one of each function.
type places struct{ old, now point }

// step is an instruction with its predecessor and the rest of its block.
type step struct {
	in, before *Inst
	behind     []Inst
}

// ways holds both functions, and the facts at the pairs of points reached.
type ways struct {
	old, now *Func
	words    map[wordKey]int32
	ids      map[string]symbol
	all      []content
	from     map[places]map[origin]*relation // facts there, by the edge that led there
	work     []places
}

// origin is a pair of points and the edge taken from there.
type origin struct {
	places
	taken bool
}

// relation holds the facts about the new function's resources: the resource in which
// the old function holds the same value, and the expression that computes it, noSymbol
// if unknown. The expression is kept in two forms, over the old function's resources
// as far as possible and over the instructions that computed it, since paths may agree
// on one form and not on the other.
type relation struct {
	same  resSet
	makes [2]contents
	tired [resCount + 1]uint8 // how often makes changed
}

const noSymbol symbol = -1

// sameAll is the relation in which every resource holds the same value in both
// functions.
func sameAll() *relation {
	k := &relation{}
	for r := range k.tired {
		k.same.add(r)
		k.makes[0][r], k.makes[1][r] = noSymbol, noSymbol
	}
	return k
}

// comes records the facts with which both functions arrive from another pair of
// points.
func (v *ways) comes(p places, o origin, k *relation) {
	if v.from[p] == nil {
		v.from[p] = map[origin]*relation{}
	}
	was := v.from[p][o]
	if was != nil && was.same == k.same && was.makes == k.makes {
		return
	}
	v.from[p][o] = k
	if was != nil {
		k.tires(was)
	}
	if !slices.Contains(v.work, p) {
		v.work = append(v.work, p)
	}
}

// tires drops an expression that changed too often (widening), since in a loop it
// could change for ever.
func (k *relation) tires(was *relation) {
	for r := range k.tired {
		k.tired[r] = was.tired[r]
		for form := range k.makes {
			if k.makes[form][r] != was.makes[form][r] {
				k.tired[r]++
			}
		}
		if k.tired[r] > 16 {
			k.makes[0][r], k.makes[1][r] = noSymbol, noSymbol
		}
	}
}

// known returns the facts at a pair of points over all incoming edges.
func (v *ways) known(p places) *relation {
	var all *relation
	for _, k := range v.from[p] {
		if all == nil {
			c := *k
			all = &c
			continue
		}
		for w := range all.same {
			all.same[w] &= k.same[w]
		}
		for form := range all.makes {
			for r := range k.makes[form] {
				if all.makes[form][r] != k.makes[form][r] {
					all.makes[form][r] = noSymbol
				}
			}
		}
	}
	return all
}

// start creates the symbolic states of both functions at a pair of points with facts
// k.
func (v *ways) start(k *relation) (old, now *engine) {
	old, now = &engine{v: v, again: map[symbol]symbol{}}, &engine{v: v, side: 1}
	now.again = old.again
	for r := range old.holds {
		old.holds[r] = v.held(r)
		switch {
		case k.same.has(r):
			now.holds[r] = old.holds[r]
			for form := range k.makes {
				if x := k.makes[form][r]; x != noSymbol {
					old.again[x] = old.holds[r]
				}
			}
		case k.makes[0][r] != noSymbol:
			now.holds[r] = k.makes[0][r]
			if x := k.makes[1][r]; x != noSymbol {
				old.again[x] = now.holds[r]
			}
		case k.makes[1][r] != noSymbol:
			now.holds[r] = k.makes[1][r]
		default:
			now.holds[r] = v.symbol(content{kind: heldByNew, res: r}, 0)
		}
	}
	now.began = now.holds
	return old, now
}

// stop is the next event at which paths may diverge: a branch, a call, an exit.
type stop struct {
	in    *Inst  // nil at the firmware
	slots []step // of a branch that may not be taken
	taken point
	falls point
}

// run collects the words from p to the next stop.
func run(f *Func, p point) ([]step, stop, error) {
	var words []step
	limit := 16
	for _, b := range f.Blocks {
		limit += len(b.Insts) + 1
	}
	for range 2 * limit {
		if p.exit != nil {
			return words, stop{taken: p}, nil
		}
		b := f.Blocks[p.block]
		if p.at == len(b.Insts) {
			if b.Next < 0 {
				return nil, stop{}, fmt.Errorf("nothing behind b%d", p.block)
			}
			p = point{block: b.Next}
			continue
		}
		k := p.at
		for k < len(b.Insts) && k <= p.at+3 && !isControl(&b.Insts[k]) {
			k++
		}
		if k == len(b.Insts) || !isControl(&b.Insts[k]) || k-int(b.Insts[k].Slots) > p.at {
			if err := complete(b.Insts[p.at:]); err != nil {
				return nil, stop{}, err
			}
			words = append(words, step{in: &b.Insts[p.at], before: beforeIt(words), behind: b.Insts[p.at+1:]})
			p.at++
			continue
		}
		c := &b.Insts[k]
		if k-int(c.Slots) != p.at {
			return nil, stop{}, fmt.Errorf("enters the slots of %s", c.text())
		}
		first := len(words)
		for i := p.at; i < k; i++ {
			words = append(words, step{in: &b.Insts[i], before: beforeIt(words), behind: b.Insts[i+1:]})
		}
		s := stop{in: c, falls: point{block: p.block, at: k + 1}}
		switch {
		case c.Reloc == nfp.RelocDone:
			s.taken = point{exit: c}
		case c.To >= 0:
			s.taken = point{block: c.To}
		}
		switch {
		case !c.always():
			s.slots = slices.Clone(words[first:])
			return words[:first], s, nil
		case c.Reloc != nfp.RelocDone && (c.Call != nil || c.To < 0):
			return words, s, nil
		}
		p = s.taken
	}
	return nil, stop{}, fmt.Errorf("a loop without a branch")
}

func beforeIt(words []step) *Inst {
	if n := len(words); n > 0 {
		return words[n-1].in
	}
	return nil
}

// complete reports an error unless the slots of a swap follow it.
func complete(insts []Inst) error {
	if in := &insts[0]; in.Swaps() && in.Inst.Slots() >= len(insts) {
		return fmt.Errorf("%s has lost its slots", in.text())
	}
	return nil
}

// follow executes both functions from a pair of points to their next stop.
func (v *ways) follow(p places) error {
	oldWords, oldStop, err := run(v.old, p.old)
	if err != nil {
		return fmt.Errorf("old: %w", err)
	}
	nowWords, nowStop, err := run(v.now, p.now)
	if err != nil {
		return err
	}
	known := v.known(p)
	old, now := v.start(known)
	old.execute(oldWords)
	now.execute(nowWords)
	if oldStop.in == nil || nowStop.in == nil {
		if oldStop.in != nil || nowStop.in != nil {
			return fmt.Errorf("one ends the program, the other does not")
		}
		if err := sameEvents(old, now); err != nil {
			return err
		}
		return looksAt(old, now, oldStop.taken.exit)
	}
	c := oldStop.in
	if !sameWord(c, nowStop.in, true) {
		return fmt.Errorf("comes to %s, not %s", nowStop.in.text(), c.text())
	}
	if c.always() {
		if err := sameEvents(old, now); err != nil {
			return err
		}
		if err := looksAt(old, now, c); err != nil || c.Op == nfp.OpRtn {
			return err
		}
		old.returns(c)
		now.returns(c)
		v.comes(places{oldStop.falls, nowStop.falls}, origin{p, false}, v.related(known, old, now))
		return nil
	}
	var test effects
	test.operand(c.A, true, false)
	if c.ReadsCC() {
		test.reads.add(resCodes)
	}
	if r := differs(old, now, &test.reads); r >= 0 {
		return fmt.Errorf("%s tests something else", c.text())
	}
	old.execute(oldStop.slots)
	now.execute(nowStop.slots)
	if err := sameEvents(old, now); err != nil {
		return err
	}
	next := v.related(known, old, now)
	v.comes(places{oldStop.taken, nowStop.taken}, origin{p, true}, next)
	v.comes(places{oldStop.falls, nowStop.falls}, origin{p, false}, next)
	return nil
}

// related expresses the new function's state over the old one's.
func (v *ways) related(was *relation, old, now *engine) *relation {
	k := &relation{}
	for form := range k.makes {
		e := &expression{v: v, old: old, was: was, deep: form == 1, known: map[symbol]symbol{}}
		for r, x := range now.holds {
			if old.holds[r] == x {
				k.same.add(r)
			}
			if m := was.makes[form][r]; m != noSymbol && x == now.began[r] { // not written since
				x = m
			}
			k.makes[form][r] = e.made(x)
		}
	}
	return k
}

// differs is a resource of a set in which the two do not hold the same, -1 if none.
func differs(old, now *engine, set *resSet) int {
	found := -1
	set.each(func(r int) {
		if old.holds[r] != now.holds[r] {
			found = r
		}
	})
	return found
}

// sameEvents returns an error unless both functions issued the same commands in
// the same order.
func sameEvents(old, now *engine) error {
	for i, x := range old.events {
		if i == len(now.events) {
			return fmt.Errorf("%s is not executed", x.in.text())
		}
		y := now.events[i]
		if !sameWord(x.in, y.in, false) {
			return fmt.Errorf("executes %s, not %s", y.in.text(), x.in.text())
		}
		if x.seen != y.seen {
			return fmt.Errorf("%s looks at something else", y.in.text())
		}
		if err := sameSlots(x.step, y.step); err != nil {
			return err
		}
	}
	if n := len(old.events); n < len(now.events) {
		return fmt.Errorf("%s is executed early", now.events[n].in.text())
	}
	return nil
}

// looksAt checks that the values which leave the function are equal.
func looksAt(old, now *engine, in *Inst) error {
	e := lookedAt(in)
	if r := differs(old, now, &e.reads); r >= 0 {
		return fmt.Errorf("%s is given something else", in.text())
	}
	return nil
}

// sameSlots compares swaps: instructions added to the new one's slots must not affect
// the data it sends, which it reads after them.
func sameSlots(old, now step) error {
	if !old.in.Swaps() {
		return nil
	}
	n, had := now.in.Inst.Slots(), old.in.Inst.Slots()
	if n < had || n > swapSlots || n > had && now.in.Flags&nfp.Indirect != 0 {
		return fmt.Errorf("%s has %d slots", now.in.text(), n)
	}
	for k := range n {
		in := &now.behind[k]
		if k < had && !sameWord(&old.behind[k], in, false) || k >= had && !commute(now.in, in) {
			return fmt.Errorf("%s in the slots of %s", in.text(), now.in.text())
		}
	}
	return nil
}

// commute reports whether two words may be exchanged.
func commute(x, y *Inst) bool {
	if inOrder(x) && inOrder(y) {
		return false
	}
	a, b := effectOf(x), effectOf(y)
	return !a.writes.meets(&b.reads) && !a.writes.meets(&b.writes) && !a.reads.meets(&b.writes)
}

// inOrder reports whether a word's order among others like it matters.
func inOrder(in *Inst) bool {
	switch in.Op {
	case nfp.OpCmd, nfp.OpCtxArb, nfp.OpCSRRead, nfp.OpCSRWrite, nfp.OpMul:
		return true
	}
	return false
}
