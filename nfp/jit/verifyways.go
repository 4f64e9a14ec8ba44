package jit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
)

// verifyWays shows that a function does after words were moved and copied between
// blocks what it did before, by other means than those passes used: it follows both
// along all ways at once, from branch to branch.
//
// The new function may be ahead: words that it executed and the old one did not yet
// are kept. When the old one comes to such a word it is one of these, unless those
// executed before it there touch what it touches. A word that the old one never
// comes to on this way must have changed nothing but registers and local memory,
// which are dirty from then on: nothing may look at them until the old function
// writes them. So the new function always holds what the old one does, beside what
// is dirty, with what it is ahead done too.
func verifyWays(old, now *machFunc) error {
	if verifyWaysBy(old, now, true) == nil {
		return nil
	}
	return verifyWaysBy(old, now, false)
}

// verifyWaysBy does it; where words that are alike stand on several ways, guess says
// to take those for executed early of which a way has too many. Either finding is
// proof enough.
func verifyWaysBy(old, now *machFunc, guess bool) error {
	v := &ways{old: old, now: now, guess: guess, seen: map[string]bool{}}
	v.next(way{})
	for limit := 1000 + 100*len(now.Blocks); len(v.work) > 0; limit-- {
		if limit == 0 {
			return fmt.Errorf("%s: too many ways to follow", now.Name)
		}
		w := v.work[len(v.work)-1]
		v.work = v.work[:len(v.work)-1]
		if err := v.follow(w); err != nil {
			return fmt.Errorf("%s b%d, before b%d: %w", now.Name, w.now.block, w.old.block, err)
		}
	}
	return nil
}

// point is where a function is: before instruction at of a block, or, where exit is
// not nil, behind a branch to the firmware.
type point struct {
	block int32
	at    int
	exit  *machInst
}

// way is where both functions are.
type way struct {
	old, now point
	oldSlots []step // of the branch just behind them
	nowSlots []step
	ahead    []step // words that now executed and old not yet
	dirty    resSet
}

// step is a word, the one before it, and those behind it in its block.
type step struct {
	in, before *machInst
	behind     []machInst
	copied     bool   // of a word ahead: executed more than once, with the same result
	met        bool   // the old function came to one of the copies
	lost       resSet // what a word behind it that was dropped wrote over
}

type ways struct {
	old, now *machFunc
	guess    bool
	work     []way
	seen     map[string]bool
}

// next adds a way that was not followed yet.
func (v *ways) next(w way) {
	var key strings.Builder
	fmt.Fprintf(&key, "%v %v %v", w.old, w.now, w.dirty)
	for _, list := range [...][]step{w.oldSlots, w.nowSlots, w.ahead} {
		for _, s := range list {
			fmt.Fprintf(&key, " %p %t %t %x", s.in, s.copied, s.met, s.lost)
		}
		key.WriteByte(';')
	}
	if !v.seen[key.String()] {
		v.seen[key.String()] = true
		v.work = append(v.work, w)
	}
}

// stop is the next thing at which ways may part: a branch that is taken or not, a
// call, an end.
type stop struct {
	in    *machInst // nil at the firmware
	slots []step    // of a branch that may not be taken
	taken point
	falls point
}

// run collects the words from p to the next stop.
func run(f *machFunc, p point, words []step) ([]step, stop, error) {
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

func beforeIt(words []step) *machInst {
	if n := len(words); n > 0 {
		return words[n-1].in
	}
	return nil
}

// complete reports whether the slots of a swap stand behind it.
func complete(insts []machInst) error {
	if in := &insts[0]; in.Swaps() && in.Inst.Slots() >= len(insts) {
		return fmt.Errorf("%s has lost its slots", in.text())
	}
	return nil
}

// follow takes both functions to their next stop.
func (v *ways) follow(w way) error {
	oldWords, oldStop, err := run(v.old, w.old, w.oldSlots)
	if err != nil {
		return fmt.Errorf("old: %w", err)
	}
	nowWords, nowStop, err := run(v.now, w.now, w.nowSlots)
	if err != nil {
		return err
	}
	m := &meeting{ahead: slices.Clone(w.ahead), carried: len(w.ahead), dirty: w.dirty, guess: v.guess}
	early := 0 // words in the slots of the branch before may be copies of what stands on one of its ways
	for i, x := range nowWords {
		if m.carried == 0 || !m.again(x) {
			m.ahead = append(m.ahead, x)
			if i < len(w.nowSlots) {
				early++
			}
		}
	}
	m.carried += early
	for i, x := range oldWords {
		if err := m.meet(x, oldWords[i:]); err != nil {
			return err
		}
	}
	switch {
	case oldStop.in == nil || nowStop.in == nil:
		if oldStop.in != nil || nowStop.in != nil {
			return fmt.Errorf("one ends the program, the other does not")
		}
		if err := m.dropAll(); err != nil {
			return err
		}
		return m.looksAt(oldStop.taken.exit)
	case !sameWord(oldStop.in, nowStop.in, true):
		return fmt.Errorf("comes to %s, not %s", nowStop.in.text(), oldStop.in.text())
	case oldStop.in.always():
		if err := m.dropAll(); err != nil {
			return err
		}
		if err := m.looksAt(oldStop.in); err != nil || oldStop.in.Op == nfp.OpRtn {
			return err
		}
		m.dirty[0] &^= uint64(oldStop.in.Call.Clobbers)
		v.next(way{old: oldStop.falls, now: nowStop.falls, dirty: m.dirty})
		return nil
	}
	var test effects
	test.operand(oldStop.in.A, true, false)
	if oldStop.in.ReadsCC() {
		test.reads.add(resCodes)
	}
	if m.dirty.meets(&test.reads) {
		return fmt.Errorf("%s tests what is dirty", oldStop.in.text())
	}
	for _, s := range m.ahead {
		if e := effectOf(s.in); e.writes.meets(&test.reads) {
			return fmt.Errorf("%s changes what %s tests", s.in.text(), oldStop.in.text())
		}
	}
	for _, p := range [...][2]point{{oldStop.taken, nowStop.taken}, {oldStop.falls, nowStop.falls}} {
		v.next(way{old: p[0], now: p[1], oldSlots: oldStop.slots, nowSlots: nowStop.slots, ahead: m.ahead, dirty: m.dirty})
	}
	return nil
}

// meeting is a list of words that one function executed, which the other comes to.
type meeting struct {
	ahead   []step
	carried int // of those, from before the last stop, or in its slots
	dirty   resSet
	guess   bool
}

// again notes that a word was executed already with the same result.
func (m *meeting) again(x step) bool {
	e := effectOf(x.in)
	if e.reads.meets(&e.writes) || leans(x) || x.in.Op == nfp.OpCmd || x.in.Op == nfp.OpCtxArb {
		return false
	}
	for i := len(m.ahead) - 1; i >= 0; i-- {
		if y := &m.ahead[i]; sameWord(x.in, y.in, false) && effectOf(y.in) == e {
			y.copied = true
			return true
		} else if !commute(x.in, y.in) {
			return false
		}
	}
	return false
}

// meet finds a word of the old function among those ahead; rest is what that
// executes from there to the next stop.
func (m *meeting) meet(x step, rest []step) error {
	if m.guess {
		for spare := m.spare(x, rest); spare > 0; spare-- {
			was := *m
			was.ahead = slices.Clone(m.ahead)
			if m.find(x, spare, rest) == nil {
				return nil
			}
			*m = was
		}
	}
	return m.find(x, 0, nil)
}

// find looks for a word among those ahead, the first spare ones that are like it
// left aside, and with them words of which rest has none left to come to.
func (m *meeting) find(x step, spare int, rest []step) error {
	e := effectOf(x.in)
	for i := 0; i < len(m.ahead); {
		y := m.ahead[i]
		if sameWord(x.in, y.in, false) {
			if spare == 0 {
				return m.take(i, x, e)
			}
			spare--
		}
		if commute(x.in, y.in) {
			i++
			continue
		}
		if rest != nil && m.excess(y, rest) <= 0 {
			return fmt.Errorf("%s is still to come", y.in.text())
		}
		if err := m.drop(i); err != nil {
			return fmt.Errorf("%w, before %s", err, x.in.text())
		}
	}
	return fmt.Errorf("%s is not executed", x.in.text())
}

// spare is how many words ahead are as x beyond those that the old function comes
// to: where words that are alike stand on several ways and one went ahead, it is that
// one which this way has no use for.
func (m *meeting) spare(x step, rest []step) int {
	if !slices.ContainsFunc(m.ahead[:m.carried], func(y step) bool { return sameWord(x.in, y.in, false) }) {
		return 0
	}
	return max(m.excess(x, rest), 0)
}

// excess is how many more words are as x among those ahead than in rest.
func (m *meeting) excess(x step, rest []step) int {
	n := 0
	for _, y := range m.ahead {
		if sameWord(x.in, y.in, false) {
			n++
		}
	}
	for _, y := range rest {
		if sameWord(x.in, y.in, false) {
			n--
		}
	}
	return n
}

// take lets word i ahead be what the old function executes now.
func (m *meeting) take(i int, x step, e effects) error {
	y := &m.ahead[i]
	if m.dirty.meets(&e.reads) {
		return fmt.Errorf("%s looks at what is dirty", x.in.text())
	}
	if leans(x) && !(y.before != nil && x.before != nil && sameWord(x.before, y.before, false) || y.before == nil && x.before == nil) {
		return fmt.Errorf("%s stands behind another word", x.in.text())
	}
	if err := sameSlots(x, *y); err != nil {
		return err
	}
	kept := e.writes.without(&y.lost)
	m.dirty = m.dirty.without(&kept)
	if x.in.WritesCC() && !y.in.WritesCC() {
		m.dirty.add(resCodes)
	}
	if y.copied { // further ones change nothing
		y.met = true
		return nil
	}
	m.remove(i)
	return nil
}

func (m *meeting) remove(i int) {
	if i < m.carried {
		m.carried--
	}
	if i == 0 {
		m.ahead = m.ahead[1:]
		return
	}
	m.ahead = slices.Delete(m.ahead, i, i+1)
}

// leans reports whether a word takes something from the word right before it.
func leans(s step) bool {
	return s.in.ReadsPrevious() || s.in.Op == nfp.OpMul && nfp.MulStep(s.in.Fn) != nfp.MulStart || s.before != nil && s.before.Op == nfp.OpCSRRead
}

// sameSlots compares swaps: what stands in the slots of the new one beside what did
// before has nothing to do with it, as it takes its data behind them.
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

// drop gives up word i ahead: the old function does not come to it on this way.
func (m *meeting) drop(i int) error {
	if m.ahead[i].met {
		m.remove(i)
		return nil
	}
	in := m.ahead[i].in
	switch in.Op {
	case nfp.OpALU, nfp.OpShf, nfp.OpLdField, nfp.OpImmed:
	default:
		return fmt.Errorf("%s is executed early", in.text())
	}
	if in.A.Mod != 0 || in.B.Mod != 0 || in.Dst.Mod != 0 {
		return fmt.Errorf("%s moves a pointer early", in.text())
	}
	e := effectOf(in)
	for k := range m.ahead[:i] {
		for w, x := range e.writes {
			m.ahead[k].lost[w] |= x
		}
	}
	for w, x := range e.writes {
		m.dirty[w] |= x
	}
	m.remove(i)
	return nil
}

func (m *meeting) dropAll() error {
	for len(m.ahead) > 0 {
		if err := m.drop(0); err != nil {
			return err
		}
	}
	return nil
}

// looksAt checks what leaves the function.
func (m *meeting) looksAt(in *machInst) error {
	if e := lookedAt(in); m.dirty.meets(&e.reads) {
		return fmt.Errorf("%s is given what is dirty", in.text())
	}
	return nil
}

// commute reports whether two words may be exchanged.
func commute(x, y *machInst) bool {
	memory := func(in *machInst) bool {
		return in.Op == nfp.OpCmd || in.Op == nfp.OpCtxArb || in.Op == nfp.OpCSRRead || in.Op == nfp.OpCSRWrite || in.Op == nfp.OpMul
	}
	if memory(x) && memory(y) {
		return false
	}
	a, b := effectOf(x), effectOf(y)
	return !a.writes.meets(&b.reads) && !a.writes.meets(&b.writes) && !a.reads.meets(&b.writes)
}

// sameWord reports whether two words do the same: slots left aside, and codes that
// the old one sets in vain.
func sameWord(old, now *machInst, branch bool) bool {
	x, y := old.Inst, now.Inst
	if old.DeadCC {
		x.Flags |= nfp.NoCC
		y.Flags |= nfp.NoCC
	}
	if branch || old.Op == nfp.OpCtxArb {
		x.Defer, y.Defer = 0, 0
	}
	if old.Swaps() && now.Swaps() && old.Op == nfp.OpCmd {
		x.Cmd.Ctx, y.Cmd.Ctx = 0, 0
	}
	callee := func(in *machInst) string {
		if in.Call == nil {
			return ""
		}
		return in.Call.Callee
	}
	same := x == y && callee(old) == callee(now) && old.Frame == now.Frame && old.Base == now.Base && old.Return == now.Return
	if branch && !old.always() { // where it goes is followed
		return same
	}
	return same && old.Reloc == now.Reloc && old.Helper == now.Helper && old.Sym == now.Sym && old.In == now.In && old.Out == now.Out && old.Mem == now.Mem
}
