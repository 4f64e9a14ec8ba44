package verify

import (
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

// Exploration.
//
// The explorer follows all paths of a program, as the kernel's verifier does, but not
// depth first. It visits the blocks of a function in a weak topological order and
// keeps a set of states for each block. All states that reach a join arrive before the
// explorer leaves it. The states of a loop advance in lockstep: the explorer returns
// to the head only after no state is pending in the body. So states that meet have
// done the same number of iterations.
//
//   - A state is dropped if another state at the same point covers it.
//   - At most width states wait at a point. If one more arrives, the explorer replaces
//     the two most similar states of equal shape by their hull. This bounds the work
//     by width times program length times iterations; the kernel's work may double at
//     every branch.
//   - If a program is refused after such a merge, the explorer tries again with more
//     width, and at last walks it path by path, as Linux does (walk.go). Only then
//     does the refusal count. If the walk proves the program, the facts stand: the
//     exploration assumed that the program is correct, and it is.
//   - Calls between functions are explored in place, in the caller's context.
//   - Facts are recorded at every visit. A kept state covers each dropped one, so the
//     facts hold for dropped states as well.
//
// Termination: a loop is accepted if its exploration ends. Consider the graph with the
// loop-head states as nodes. It has an edge if a state leads to another, merges into
// it, or is dropped because the other covers it. The graph stays acyclic: a state is
// never dropped because of its own ancestor. If a state equals an ancestor, the loop
// is reported as infinite. If an ancestor merely covers it (a counter that runs down),
// exploration continues.

// An activation is a function being explored in one calling context.
type activation struct {
	f    int
	g    *graph
	pend [][]*state // states waiting, per block
	out  []*state   // states at the function's exits
	hist []*history // per block, for the heads of running components
}

type explorer struct {
	c        *code.Code
	opt      *Options
	ctx      *helper.Ctx
	gs       []*graph
	at       []int32
	live     []uint16
	sets     [][]int // sets of maps; the first len(c.Maps) hold one map each
	facts    *Facts
	log      *journal
	shared   []sharing
	budget   int
	width    int
	narrow   int  // below this budget, width is narrowWidth
	differed int  // register in which states last differed
	merged   bool // some states were merged: another width may do better
	stop     bool // budget spent
	endless  bool // an infinite loop was found
	widening bool // find a fixpoint instead of walking the loops out
	free     []*state
	nodes    []node
	dropped  map[int32][]int32 // node -> nodes of states dropped in its favour
	search   int32             // number of searches through nodes
	stack    []int32           // of the search
	ids      idPairs
	walker   *walker // walks as Linux does, instead
}

// The widths that are tried one after the other while merging costs proofs. each
// and plus bound the instructions explored at full width: each for every
// instruction of the program, and plus in addition. After that, narrowWidth is
// used.
var widths = [...]struct{ width, each, plus int }{{8, 12, 20_000}, {64, 100, 200_000}}

const narrowWidth = 4

// run explores function f from the states in and returns those at its exits.
func (x *explorer) run(f int, in []*state) []*state {
	g := x.gs[f]
	a := &activation{f: f, g: g, pend: make([][]*state, len(g.blocks)), hist: make([]*history, len(g.blocks))}
	a.pend[0] = in
	x.walk(a, g.order)
	return a.out
}

func (x *explorer) walk(a *activation, order []item) {
	for i := range order {
		if x.stop {
			return
		}
		it := &order[i]
		if !it.loop {
			x.process(a, it.block)
			continue
		}
		// A jump from outside may lead past the head, into the body: such a loop runs
		// although no state is pending at its head yet.
		a.hist[it.block] = newHistory(len(x.nodes))
		for run := a.waits(order[i : i+1]); run && !x.stop; run = len(a.pend[it.block]) > 0 {
			x.enter(a, it.block)
			x.process(a, it.block)
			x.walk(a, it.body)
		}
		a.hist[it.block] = nil
	}
}

// waits reports whether states are pending at any block of order.
func (a *activation) waits(order []item) bool {
	for i := range order {
		if len(a.pend[order[i].block]) > 0 || a.waits(order[i].body) {
			return true
		}
	}
	return false
}

// process executes block b from all states that are pending there.
func (x *explorer) process(a *activation, b int32) {
	states := a.pend[b]
	a.pend[b] = nil
	bl := &a.g.blocks[b]
	last := &x.c.Insns[bl.end-1]
	var calls []*state
	for _, s := range states {
		if x.stop {
			return
		}
		if !x.straight(a, s, bl) {
			x.drop(s)
			continue
		}
		switch {
		case isCall(last):
			calls = append(calls, s)
		case isExit(last):
			x.exit(a, s, bl.end-1)
		case isBranch(last):
			x.branch(a, s, bl)
		default:
			x.deliver(a, bl.succs[0], s)
		}
	}
	if len(calls) > 0 {
		x.call(a, calls, bl)
	}
}

// straight executes the block's instructions up to a final branch, exit or call. It
// reports whether the path continues after them.
func (x *explorer) straight(a *activation, s *state, bl *block) bool {
	for i := bl.start; i < bl.end; i++ {
		if x.budget--; x.budget < 0 {
			x.outOfBudget(s, i)
			return false
		}
		x.record(s, i)
		if !x.step(s, i) {
			return false
		}
		if x.tailReturns(s, i) {
			t := x.clone(s)
			x.afterTail(t, i)
			a.out = x.gather(a.out, t)
		}
	}
	return true
}

// record joins the state before instruction i into the facts.
func (x *explorer) record(s *state, i int) {
	regs := &x.facts.Regs[i]
	live := x.live[i]
	if !x.facts.Reachable[i] {
		x.facts.Reachable[i] = true
		switch ins := &x.c.Insns[i]; {
		case indirect(ins):
			x.fail(s, i, "indirect-call", "call through a register")
		case reserved(ins):
			x.fail(s, i, "reserved-field", "a field that the instruction does not use is not zero")
		}
		for r := range regs {
			if live&(1<<r) != 0 {
				x.put(&regs[r], &s.regs[r], s.cur)
				if s.regs[r].mixed {
					x.facts.Differs[i] |= 1 << r
				}
			}
		}
		return
	}
	for r := range regs[:10] {
		if live&(1<<r) != 0 && (x.join(&regs[r], &s.regs[r], s.cur) || s.regs[r].mixed) {
			x.facts.Differs[i] |= 1 << r
		}
	}
}

// deliver adds s to the states pending at block b.
func (x *explorer) deliver(a *activation, b int32, s *state) {
	bl := &a.g.blocks[b]
	if bl.preds == 1 && !bl.head {
		a.pend[b] = append(a.pend[b], s)
		return
	}
	live := x.live[bl.start]
	for r := range s.regs[:10] {
		if live&(1<<r) == 0 {
			s.regs[r] = val{}
		}
	}
	a.pend[b] = x.gather(a.pend[b], s)
}

// gather adds s to the states pending at one block.
func (x *explorer) gather(list []*state, s *state) []*state {
	for i, t := range list {
		if apart(&t.regs[x.differed], &s.regs[x.differed]) {
			continue
		}
		if x.covers(t, s) {
			t.node = x.join2(t.node, s.node)
			t.mix(s)
			x.drop(s)
			return list
		}
		if x.covers(s, t) {
			s.node = x.join2(t.node, s.node)
			s.mix(t)
			x.drop(t)
			list[i] = s
			return list
		}
	}
	width := x.width
	if x.budget < x.narrow {
		width = narrowWidth
	}
	if len(list) < width {
		return append(list, s)
	}
	best, least := -1, 0
	for i, t := range list {
		if d, ok := distance(t, s); ok && (best < 0 || d < least) {
			best, least = i, d
		}
	}
	if best < 0 {
		if len(list) < 4*width {
			return append(list, s)
		}
		best = len(list) - 1
	}
	x.merged = true
	x.merge(list[best], s, false)
	x.drop(s)
	return list
}

// enter drops the states pending at a loop's head that an earlier state covers,
// and finds infinite loops.
func (x *explorer) enter(a *activation, b int32) {
	h := a.hist[b]
	i := a.g.blocks[b].start
	kept := a.pend[b][:0]
	for _, s := range a.pend[b] {
		if x.widening {
			if s = x.widen(h, s); s != nil {
				kept = append(kept, s)
			}
			continue
		}
		switch hash := s.hash(); {
		case x.revisits(h, s, hash):
			x.endless = true
			x.fail(s, i, "infinite-loop", "the loop comes back here with nothing changed")
			x.drop(s)
		case x.seen(h, s):
			x.drop(s)
		default:
			x.remember(h, s, hash)
			kept = append(kept, s)
		}
	}
	a.pend[b] = kept
}
