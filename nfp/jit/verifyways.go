package jit

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// verifyWays shows that a function does after words were moved and copied between
// blocks what it did before, by other means than those passes used: it executes both
// on symbols, side by side, from branch to branch (translation validation), until
// nothing new is found.
//
// At each pair of places that both come to it knows of what the new function holds
// in a resource two things, or less: that the old one holds the same, and how the old
// one would make it from what it holds, by words that are perhaps still to come
// there. Where ways meet, what holds on all of them is known. Both must issue the
// same commands in the same order with the same operands, branch alike, and leave
// the same where something looks at it behind them.
func verifyWays(old, now *machFunc) error {
	v := &ways{old: old, now: now, words: map[wordKey]int32{}, ids: map[string]symbol{}, from: map[places]map[origin]*relation{}}
	v.comes(places{}, origin{}, sameAll())
	for limit := 1000 + 100*(len(old.Blocks)+len(now.Blocks)); len(v.work) > 0; limit-- {
		if limit == 0 {
			return fmt.Errorf("%s: no end of following it", now.Name)
		}
		p := v.work[0]
		v.work = v.work[1:]
		if err := v.follow(p); err != nil {
			return fmt.Errorf("%s b%d, before b%d: %w", now.Name, p.now.block, p.old.block, err)
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

// places is where both functions are.
type places struct{ old, now point }

// step is a word, the one before it, and those behind it in its block.
type step struct {
	in, before *machInst
	behind     []machInst
}

// symbol numbers a content.
type symbol int32

// Kinds of contents.
const (
	heldByOld   uint8 = iota // what the old function holds in a resource at the last pair of places
	heldByNew                // what the new one holds there, of which nothing is known
	made                     // what a word makes of others
	madeByEvent              // the same of a word that must come in order
	dead                     // codes that nobody looks at
)

// content is a symbol's meaning. Words name their registers, so that what one makes
// is only ever in one resource.
type content struct {
	kind uint8
	word int32
	res  int // where it lies
	args []symbol
	deep int // how many words one behind the other make it
}

// resPrevious is what the word before leaves to the next one.
const resPrevious = resCount

// contents is a symbol for each resource.
type contents [resCount + 1]symbol

type ways struct {
	old, now *machFunc
	words    map[wordKey]int32
	ids      map[string]symbol
	all      []content
	from     map[places]map[origin]*relation // what is known there, by where control came from
	work     []places
}

// origin is a pair of places and which way led on from there.
type origin struct {
	places
	taken bool
}

// relation is what is known of what the new function holds: resources in which the
// old one holds the same, and how it would be made, noSymbol where that is not known.
// That is told twice: by what the old function holds as far as possible, and by the
// words that made it as far as possible, since ways may agree on one and not the other.
type relation struct {
	same  resSet
	makes [2]contents
	tired [resCount + 1]uint8 // how often makes has changed
}

const noSymbol symbol = -1

// sameAll is the relation of functions that hold the same.
func sameAll() *relation {
	k := &relation{}
	for r := range k.tired {
		k.same.add(r)
		k.makes[0][r], k.makes[1][r] = noSymbol, noSymbol
	}
	return k
}

// symbol is the one number of a content; event tells those apart that are not made by
// the word alone.
func (v *ways) symbol(c content, event int) symbol {
	key := binary.AppendVarint([]byte{c.kind}, int64(c.word))
	key = binary.AppendVarint(key, int64(c.res))
	key = binary.AppendVarint(key, int64(event))
	for _, a := range c.args {
		key = binary.AppendVarint(key, int64(a))
	}
	id, ok := v.ids[string(key)]
	if !ok {
		id = symbol(len(v.all))
		v.ids[string(key)] = id
		c.args, c.deep = slices.Clone(c.args), 0
		for _, a := range c.args {
			c.deep = max(c.deep, v.all[a].deep+1)
		}
		v.all = append(v.all, c)
	}
	return id
}

func (v *ways) held(r int) symbol { return v.symbol(content{kind: heldByOld, res: r}, 0) }

// comes notes what is known where both come to from another pair of places.
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

// tires gives up what would be made where that has changed too often: in loops it
// might do so for ever.
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

// known is what holds at a pair of places wherever control came from.
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

// start makes what both hold at a pair of places, of which k is known.
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
		case k.makes[1][r] != noSymbol:
			now.holds[r] = k.makes[1][r]
		default:
			now.holds[r] = v.symbol(content{kind: heldByNew, res: r}, 0)
		}
	}
	return old, now
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
func run(f *machFunc, p point) ([]step, stop, error) {
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

// engine is one function while it is executed on symbols.
type engine struct {
	v      *ways
	side   int32 // 0 old, 1 new
	holds  contents
	again  map[symbol]symbol // what words would make anew, as both hold it
	events []event
}

// event is a word whose order matters, and all that it sees.
type event struct {
	step
	seen symbol
}

func (e *engine) execute(words []step) {
	for _, x := range words {
		e.step(x)
	}
}

func (e *engine) step(x step) {
	fx := effectOf(x.in)
	c := content{kind: made, word: e.v.word(x.in), res: -1}
	fx.reads.each(func(r int) { c.args = append(c.args, e.holds[r]) })
	if leans(x) {
		c.args = append(c.args, e.holds[resPrevious])
	}
	n := 0
	if inOrder(x.in) {
		c.kind, n = madeByEvent, len(e.events)
	}
	seen := e.v.symbol(c, n)
	if inOrder(x.in) {
		e.events = append(e.events, event{x, seen})
	}
	was := e.holds
	fx.writes.each(func(r int) {
		w := c
		w.res = r
		if r >= resFrame && x.in.Dst.Kind == nfp.LM && x.in.Dst.Ptr >= 2 { // one word of many
			w.args = append(slices.Clone(c.args), was[r])
		}
		if r == resCodes && x.in.DeadCC {
			w = content{kind: dead, word: e.side, res: r}
		}
		e.holds[r] = e.v.symbol(w, n)
		if held, ok := e.again[e.holds[r]]; ok {
			e.holds[r] = held
		}
	})
	for p, first := range [...]int{resFrame, resVector} { // the words that a pointer reaches are others now
		if fx.writes.has(resPointer + p) {
			for r := first; r < first+16; r++ {
				e.holds[r] = e.v.symbol(content{kind: made, word: -1, res: r, args: []symbol{e.holds[r], e.holds[resPointer+p]}}, 0)
			}
		}
	}
	e.holds[resPrevious] = seen
}

// returns is what a call does to registers and codes, the same to both functions.
func (e *engine) returns(c *machInst) {
	n := len(e.events)
	for r := range 64 {
		if c.Call.Clobbers>>r&1 != 0 {
			e.holds[resGPR+r] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resGPR + r}, n)
		}
	}
	e.holds[resCodes] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resCodes}, n)
	e.holds[resPrevious] = e.v.symbol(content{kind: madeByEvent, word: -2, res: resPrevious}, n)
}

// shallow is how many words one behind the other are told where the old function holds
// what they made.
const shallow = 4

// related is what the new function holds in terms of what the old one does.
func (v *ways) related(was *relation, old, now *engine) *relation {
	k := &relation{}
	for form := range k.makes {
		e := &expression{v: v, old: old, was: was, deep: form == 1, known: map[symbol]symbol{}}
		for r, x := range now.holds {
			if old.holds[r] == x {
				k.same.add(r)
			}
			k.makes[form][r] = e.made(x)
		}
	}
	return k
}

// expression tells contents by what the old function holds.
type expression struct {
	v     *ways
	old   *engine
	was   *relation // where both started
	deep  bool
	known map[symbol]symbol
}

// made tells a content by the words that made it, noSymbol where that is not possible.
func (e *expression) made(x symbol) symbol {
	c := e.v.all[x]
	if c.kind == heldByOld { // perhaps it is known how it was made before
		for _, m := range [...]symbol{e.was.makes[0][c.res], e.was.makes[1][c.res]} {
			if m != noSymbol && e.was.same.has(c.res) {
				if y := e.made(m); y != noSymbol {
					return y
				}
			}
		}
	}
	if c.kind != made {
		return noSymbol
	}
	args := slices.Clone(c.args)
	for i, a := range args {
		if args[i] = e.tell(a); args[i] == noSymbol {
			return noSymbol
		}
	}
	c.args = args
	return e.v.symbol(c, 0)
}

func (e *expression) tell(x symbol) symbol {
	if y, ok := e.known[x]; ok {
		return y
	}
	c, y := e.v.all[x], noSymbol
	held := c.res >= 0 && e.old.holds[c.res] == x
	if !held || e.deep && c.deep <= shallow {
		e.known[x] = noSymbol // not by itself
		y = e.made(x)
	}
	if y == noSymbol && held {
		y = e.v.held(c.res)
	}
	e.known[x] = y
	return y
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

// sameEvents reports whether both did the same in order.
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

// looksAt checks what leaves the function.
func looksAt(old, now *engine, in *machInst) error {
	e := lookedAt(in)
	if r := differs(old, now, &e.reads); r >= 0 {
		return fmt.Errorf("%s is given something else", in.text())
	}
	return nil
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

// commute reports whether two words may be exchanged.
func commute(x, y *machInst) bool {
	if inOrder(x) && inOrder(y) {
		return false
	}
	a, b := effectOf(x), effectOf(y)
	return !a.writes.meets(&b.reads) && !a.writes.meets(&b.writes) && !a.reads.meets(&b.writes)
}

// inOrder reports whether a word's order among others like it matters.
func inOrder(in *machInst) bool {
	switch in.Op {
	case nfp.OpCmd, nfp.OpCtxArb, nfp.OpCSRRead, nfp.OpCSRWrite, nfp.OpMul:
		return true
	}
	return false
}

// wordKey is what makes two words do the same: slots left aside, and codes that are
// set in vain.
type wordKey struct {
	nfp.Inst
	callee, sym      string
	frame, base, ret bool
	reloc            nfp.RelocKind
	helper           int32
	in, out          uint32
	mem              memBytes
}

func keyOfWord(in *machInst, branch bool) wordKey {
	k := wordKey{Inst: in.Inst, frame: in.Frame, base: in.Base, ret: in.Return}
	if in.DeadCC {
		k.Flags |= nfp.NoCC
	}
	if branch || in.Op == nfp.OpCtxArb {
		k.Defer = 0
	}
	if in.Op == nfp.OpCmd && in.Swaps() {
		k.Cmd.Ctx = 0
	}
	if in.Call != nil {
		k.callee = in.Call.Callee
	}
	if branch && !in.always() { // where it goes is followed
		return k
	}
	k.sym, k.reloc, k.helper, k.in, k.out, k.mem = in.Sym, in.Reloc, in.Helper, in.In, in.Out, in.Mem
	return k
}

// sameWord reports whether two words do the same.
func sameWord(x, y *machInst, branch bool) bool { return keyOfWord(x, branch) == keyOfWord(y, branch) }

// word numbers words that do the same.
func (v *ways) word(in *machInst) int32 {
	k := keyOfWord(in, false)
	n, ok := v.words[k]
	if !ok {
		n = int32(len(v.words))
		v.words[k] = n
	}
	return n
}
