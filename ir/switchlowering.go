package ir

import (
	"math/bits"
	"slices"
)

// LowerSwitches replaces a chain of comparisons of one value with constants by a
// binary search if that is expected to be faster. A switch, or a list of ports,
// compiles to such a chain. The last of n cases is then found after log n comparisons,
// not n. The search ends in short chains, since a comparison for equality is cheaper
// than one for order.
//
// A chain consists of blocks that end with the comparison x = c, or its opposite. Each
// block but the first computes nothing else, and its only predecessor is the block
// before it, by the edge on which that comparison failed.
func (f *Func) LowerSwitches(costs *Costs) {
	preds := f.Preds()
	uses := f.Uses()
	var known []Known
	done := make([]bool, f.NextBlock)
	changed := false
	for _, b := range f.ReversePostorder() {
		if done[b.ID] {
			continue
		}
		c := &chain{f: f, costs: costs, pc: b.PC}
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
		c.width = bits.Len64(known[c.x.ID].Max())
		if c.plan(len(c.cases)) < c.measured() {
			c.rebuild()
			changed = true
		}
	}
	if changed {
		f.prune()
	}
	f.MergeBlocks()
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

// onlyTests reports whether a block contains only constants and its condition.
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
	costs  *Costs
	x      *Value
	pc     int32
	cases  []chainCase
	seen   map[uint32]bool
	rest   Edge
	blocks []*Block
	width  int // bits that x may have
}

// add adds a case, unless an earlier comparison with the same number decides
// it.
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

// Costs here are in quarters of a cycle. wideConst is the cost of loading a
// constant that does not fit the instruction into a register, which takes one word
// or two.
const wideConst = 6

// equal is a comparison for equality that fails: a branch on a byte, or a
// comparison and a branch, which is not taken.
func (c *chain) equal() int {
	if c.width <= 8 {
		return 4
	}
	return wideConst + 8
}

// order is a comparison for order, whose branch is taken half the time.
func (c *chain) order() int {
	n := 8 + 2*c.costs.Branch
	if c.width > 8 {
		n += wideConst
	}
	return n
}

// straight returns the expected cost of a chain of n cases if half of all numbers
// match none of them: three quarters of the chain are executed.
func (c *chain) straight(n int) int { return 3 * n * c.equal() / 4 }

// measured returns the cost of the chain as it is: by measured execution counts of its
// comparisons, else as straight expects.
func (c *chain) measured() int {
	first, ok := c.costs.ran(c.blocks[0].PC)
	if !ok {
		return c.straight(len(c.cases))
	}
	if first == 0 {
		return 0
	}
	n := uint64(0)
	for _, b := range c.blocks {
		ran, _ := c.costs.ran(b.PC)
		n += ran
	}
	return int(n * uint64(c.equal()) / first)
}

// plan returns the cost of the best search.
func (c *chain) plan(n int) int {
	if n < 2 {
		return c.straight(n)
	}
	return min(c.straight(n), c.order()+c.plan((n+1)/2))
}

// rebuild replaces the chain by the search.
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
	if n := len(cases); c.plan(n) < c.straight(n) {
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
