package ir

import (
	"math/bits"
	"slices"
)

// SearchChains turns a chain of comparisons of one value with constants, as a
// switch or a list of ports leaves it, into a binary search where that is
// expected to be faster: the last of n cases is found after log n comparisons, not
// n. The search ends in short chains, for a comparison for equality is cheaper
// than one for order.
//
// A chain is a block that ends with x = c (or its opposite), and as the way on
// where that does not hold another one for the same x, to which nothing else
// leads and in which nothing else happens.
func (f *Func) SearchChains() {
	preds := f.Preds()
	uses := f.Uses()
	var known []Known
	done := make([]bool, f.NextBlock)
	changed := false
	for _, b := range f.ReversePostorder() {
		if done[b.ID] {
			continue
		}
		c := &chain{f: f, pc: b.PC}
		next := b
		for {
			x, n, yes, no, ok := test(next)
			if !ok || c.x != nil && (x != c.x || len(preds[next.ID]) != 1 || !onlyTests(next, uses)) {
				break
			}
			c.x = x
			c.add(n, yes)
			c.rest = no
			c.blocks = append(c.blocks, next)
			done[next.ID] = true
			if next = no.To; done[next.ID] || len(next.Params) > 0 {
				break
			}
		}
		if len(c.blocks) < 4 {
			continue
		}
		if known == nil {
			known = f.KnownBits()
		}
		slices.SortFunc(c.cases, func(p, q chainCase) int { return int(int64(p.n) - int64(q.n)) })
		if w := bits.Len64(known[c.x.ID].Max()); c.plan(len(c.cases), w) < c.straight(len(c.cases), w) {
			c.width = w
			c.rebuild()
			changed = true
		}
	}
	if changed {
		f.RemoveUnreachable()
	}
}

// test is the comparison for equality that a block ends with.
func test(b *Block) (x *Value, n uint32, yes, no Edge, ok bool) {
	if b.Kind != TermBranch || b.Cond.Op != OpEQ && b.Cond.Op != OpNE {
		return
	}
	x = b.Cond.Args[0]
	m, isConst := numberOf(b.Cond.Args[1])
	if !isConst || x.Type != I32 || x.Op == OpConst {
		return
	}
	yes, no = b.Succs[0], b.Succs[1]
	if b.Cond.Op == OpNE {
		yes, no = no, yes
	}
	return x, uint32(m), yes, no, true
}

// onlyTests reports whether a block makes constants and its condition only.
func onlyTests(b *Block, uses []int32) bool {
	for _, v := range b.Values {
		if v.Op != OpConst && (v != b.Cond || uses[v.ID] != 1) {
			return false
		}
	}
	return true
}

type chainCase struct {
	n  uint32
	to Edge
}

type chain struct {
	f      *Func
	x      *Value
	pc     int32
	cases  []chainCase
	seen   map[uint32]bool
	rest   Edge
	blocks []*Block
	width  int // bits that x may have
}

// add notes a case, unless it was decided before.
func (c *chain) add(n uint32, to Edge) {
	if c.seen[n] {
		return
	}
	if c.seen == nil {
		c.seen = map[uint32]bool{}
	}
	c.seen[n] = true
	c.cases = append(c.cases, chainCase{n, to})
}

// Costs in quarters of a cycle, of numbers of some width: a comparison for
// equality that fails, and one for order, whose branch is taken half the time.
func equalCost(width int) int {
	if width <= 8 {
		return 4
	}
	return 14
}

func orderCost(width int) int {
	if width <= 8 {
		return 14
	}
	return 20
}

// straight is what a chain of n cases is expected to cost where half of all
// numbers are none of them: three quarters of it are gone through.
func (c *chain) straight(n, width int) int { return 3 * n * equalCost(width) / 4 }

// plan is what the best search costs.
func (c *chain) plan(n, width int) int {
	if n < 2 {
		return c.straight(n, width)
	}
	return min(c.straight(n, width), orderCost(width)+c.plan((n+1)/2, width))
}

// rebuild makes the search.
func (c *chain) rebuild() {
	head := c.blocks[0]
	for _, b := range c.blocks[1:] {
		for _, v := range b.Values {
			if v.Op == OpConst { // edges may carry them
				head.Values = append(head.Values[:len(head.Values):len(head.Values)], v)
			}
		}
		b.Values = nil
	}
	c.search(head, c.cases)
}

// search ends block b with a search among cases, which are sorted.
func (c *chain) search(b *Block, cases []chainCase) {
	if n := len(cases); c.plan(n, c.width) < c.straight(n, c.width) {
		mid := (n + 1) / 2
		low, high := c.f.NewBlock(), c.f.NewBlock()
		c.branch(b, OpULT, cases[mid].n, Edge{To: low}, Edge{To: high})
		c.search(low, cases[:mid])
		c.search(high, cases[mid:])
		return
	}
	for i, k := range cases {
		if i == len(cases)-1 {
			c.branch(b, OpEQ, k.n, k.to, c.rest)
			return
		}
		next := c.f.NewBlock()
		c.branch(b, OpEQ, k.n, k.to, Edge{To: next})
		b = next
	}
}

func (c *chain) branch(b *Block, op Op, n uint32, yes, no Edge) {
	k := c.f.Add(b, OpConst, I32, c.pc)
	k.Int = int64(int32(n))
	b.Branch(c.pc, c.f.Add(b, op, I32, c.pc, c.x, k), c.edge(yes), c.edge(no))
}

// edge is a copy with arguments of its own.
func (c *chain) edge(e Edge) Edge { return Edge{To: e.To, Args: c.f.list(e.Args)} }
