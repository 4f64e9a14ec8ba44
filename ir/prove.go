package ir

// Prove replaces comparisons that a dominating branch has decided. On a walk of the
// dominator tree, each edge into a block with one predecessor adds a fact: the
// condition is 0 or not, and a comparison with a constant bounds the other operand. Of
// packet bounds checks only those remain that check more than a dominating one.
func (f *Func) Prove() {
	if len(f.Blocks) == 0 {
		return
	}
	p := &prover{f: f, known: f.KnownBits(), ranges: map[*Value]span{}, by: make([]*Value, f.NextID)}
	dom := f.Dominators()
	preds := f.Preds()
	children := make([][]*Block, f.NextBlock)
	for _, b := range f.ReversePostorder() {
		if d := dom.Idom(b); d != nil {
			children[d.ID] = append(children[d.ID], b)
		}
	}
	type frame struct {
		b    *Block
		next int
		mark int
	}
	stack := []frame{{b: f.Blocks[0]}}
	p.block(f.Blocks[0])
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(children[top.b.ID]) {
			p.undo(top.mark)
			stack = stack[:len(stack)-1]
			continue
		}
		b := children[top.b.ID][top.next]
		top.next++
		mark := len(p.trail)
		if into := preds[b.ID]; len(into) == 1 {
			p.edge(into[0])
		}
		p.block(b)
		stack = append(stack, frame{b: b, mark: mark})
	}
	f.Replace(p.by)
	f.RemoveUnreachable()
}

// span is an unsigned range.
type span struct{ min, max uint64 }

type prover struct {
	f      *Func
	known  []Known
	ranges map[*Value]span
	trail  []change
	by     []*Value
}

// change records a value's previous range.
type change struct {
	v   *Value
	was span
	had bool
}

func (p *prover) undo(mark int) {
	for len(p.trail) > mark {
		c := p.trail[len(p.trail)-1]
		p.trail = p.trail[:len(p.trail)-1]
		if c.had {
			p.ranges[c.v] = c.was
		} else {
			delete(p.ranges, c.v)
		}
	}
}

func (p *prover) of(v *Value) span {
	if s, ok := p.ranges[v]; ok {
		return s
	}
	if int(v.ID) >= len(p.known) {
		n, _ := numberOf(v)
		return span{n, n}
	}
	k := p.known[v.ID]
	return span{k.Min(), k.Max()}
}

// narrow intersects the range of v with s.
func (p *prover) narrow(v *Value, s span) {
	old, had := p.ranges[v]
	now := p.of(v)
	next := span{max(now.min, s.min), min(now.max, s.max)}
	if next == now || next.min > next.max { // the latter in code that is never reached
		return
	}
	p.trail = append(p.trail, change{v, old, had})
	p.ranges[v] = next
}

// edge records the facts that hold because control took an edge.
func (p *prover) edge(e Pred) {
	b := e.Block
	if b.Kind != TermBranch || b.Succs[0].To == b.Succs[1].To {
		return
	}
	p.learn(b.Cond, e.Index == 0)
}

// learn records that v is not 0 or, if truth is false, that it is 0, and the
// facts that follow.
func (p *prover) learn(v *Value, truth bool) {
	all := ^uint64(0)
	if !truth {
		p.narrow(v, span{0, 0})
	} else {
		p.narrow(v, span{1, all})
	}
	if len(v.Args) != 2 {
		return
	}
	x, y := v.Args[0], v.Args[1]
	sx, sy := p.of(x), p.of(y)
	switch {
	case v.Op == OpEQ && truth, v.Op == OpNE && !truth:
		if n, ok := numberOf(y); ok && n == 0 && isTruth(x) {
			p.learn(x, false)
			return
		}
		p.narrow(x, sy)
		p.narrow(y, sx)
	case v.Op == OpEQ || v.Op == OpNE:
		if n, ok := numberOf(y); ok {
			if n == 0 && isTruth(x) {
				p.learn(x, true)
			}
			switch n {
			case sx.min:
				p.narrow(x, span{n + 1, all})
			case sx.max:
				p.narrow(x, span{0, n - 1})
			}
		}
	case v.Op == OpULT && truth:
		p.below(x, y, sx, sy)
	case v.Op == OpULT:
		p.notAbove(y, x, sy, sx)
	case v.Op == OpULE && truth:
		p.notAbove(x, y, sx, sy)
	case v.Op == OpULE:
		p.below(y, x, sy, sx)
	case v.Op == OpAnd && truth && isTruth(x) && isTruth(y):
		p.learn(x, true)
		p.learn(y, true)
	case v.Op == OpOr && !truth:
		p.narrow(x, span{0, 0})
		p.narrow(y, span{0, 0})
	}
}

func (p *prover) below(x, y *Value, sx, sy span) {
	if sy.max > 0 {
		p.narrow(x, span{0, sy.max - 1})
	}
	if sx.min < ^uint64(0) {
		p.narrow(y, span{sx.min + 1, ^uint64(0)})
	}
}

func (p *prover) notAbove(x, y *Value, sx, sy span) {
	p.narrow(x, span{0, sy.max})
	p.narrow(y, span{sx.min, ^uint64(0)})
}

func isTruth(v *Value) bool {
	switch v.Op {
	case OpEQ, OpNE, OpULT, OpULE, OpSLT, OpSLE, OpTest, OpULT64, OpSLT64:
		return true
	}
	return false
}

// block replaces the decided comparisons of b. Constants are inserted before their
// use.
func (p *prover) block(b *Block) {
	out := make([]*Value, 0, len(b.Values)+1)
	constant := func(v *Value, n uint64) *Value {
		c := p.f.NewValue(OpConst, v.Type, v.PC)
		c.Int = int64(n)
		for len(p.by) < int(p.f.NextID) {
			p.by = append(p.by, nil)
		}
		out = append(out, c)
		return c
	}
	for _, v := range b.Values {
		if n, ok := p.decided(v); ok {
			p.by[v.ID] = constant(v, n)
		}
		out = append(out, v)
	}
	if b.Kind == TermBranch && b.Cond.Op != OpConst {
		// The condition may be any number: its range shows whether it is 0.
		switch s := p.of(b.Cond); {
		case s.max == 0:
			b.Cond = constant(b.Cond, 0)
		case s.min > 0:
			b.Cond = constant(b.Cond, 1)
		}
	}
	b.Values = out
}

// decided returns the result of a comparison if the ranges determine it.
func (p *prover) decided(v *Value) (uint64, bool) {
	if !isTruth(v) || len(v.Args) != 2 {
		return 0, false
	}
	x, y := p.of(v.Args[0]), p.of(v.Args[1])
	switch v.Op {
	case OpULT:
		switch {
		case x.max < y.min:
			return 1, true
		case x.min >= y.max:
			return 0, true
		}
	case OpULE:
		switch {
		case x.max <= y.min:
			return 1, true
		case x.min > y.max:
			return 0, true
		}
	case OpEQ, OpNE:
		if x.max < y.min || x.min > y.max {
			return truth(v.Op == OpNE), true
		}
		if x.min == x.max && y.min == y.max {
			return truth(v.Op == OpEQ), true
		}
	}
	return 0, false
}
