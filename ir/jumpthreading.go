package ir

// ThreadJumps redirects edges past blocks that only choose their successor.
//
//   - A block that returns after few operations is copied to each edge that leads to
//     it, so that constant arguments become constant returns. Edges with equal
//     arguments share a copy.
//   - If an edge's arguments decide a block's branch, and no later block uses the
//     block's values, the edge goes to the branch's target.
//   - An edge to a block that only jumps goes to the jump's target.
//
// Few are no more operations than the cycles of the branch that is saved.
func (f *Func) ThreadJumps(c *Costs) {
	t := &threader{f: f, limit: c.Taken()}
	for range 3 {
		if !t.round() {
			break
		}
		f.prune()
	}
	f.RemoveUnreachable()
	f.MergeBlocks()
}

type threader struct {
	f     *Func
	limit int      // operations of a block that is copied or looked through
	home  []*Block // defining block, by value number; nil for new values
	out   []bool   // by block number: its values are used outside
}

func (t *threader) round() bool {
	t.survey()
	changed := false
	returns := map[*Block][]*Block{}
	blocks := t.f.Blocks
	for _, b := range blocks {
		for i := range b.Succs {
			e := &b.Succs[i]
			to := e.To
			if to == b || !t.small(to) {
				continue
			}
			switch to.Kind {
			case TermReturn:
				if len(to.Params) > 0 {
					changed = t.copyReturn(b, e, returns) || changed
				}
			case TermBranch, TermJump:
				changed = t.pass(b, e) || changed
			}
		}
	}
	return changed
}

// survey finds which blocks' values are used outside of them.
func (t *threader) survey() {
	t.home = make([]*Block, t.f.NextID)
	t.out = make([]bool, t.f.NextBlock)
	for _, b := range t.f.Blocks {
		for _, v := range b.Params {
			t.home[v.ID] = b
		}
		for _, v := range b.Values {
			t.home[v.ID] = b
		}
	}
	for _, b := range t.f.Blocks {
		b.Operands(func(v **Value) {
			if h := t.home[(*v).ID]; h != nil && h != b {
				t.out[h.ID] = true
			}
		})
	}
}

// small reports whether a block has few operations and no effects.
func (t *threader) small(b *Block) bool {
	n := 0
	for _, v := range b.Values {
		if !v.Op.Is(Pure) || v.Type == Tuple || v.Op == OpPart {
			return false
		}
		if v.Op != OpConst {
			n++
		}
	}
	return n <= t.limit
}

// copyReturn copies the return that the edge leads to, for this edge.
func (t *threader) copyReturn(b *Block, e *Edge, made map[*Block][]*Block) bool {
	to := e.To
	constant := false
	for _, a := range e.Args {
		constant = constant || a.Op == OpConst
	}
	if !constant && b.Kind != TermJump {
		return false
	}
	c := t.f.NewBlock()
	c.PC, c.Kind = to.PC, TermReturn
	in := t.copyInto(c, to, e.Args)
	c.Result = in(to.Result)
	if to.ResultHi != nil {
		c.ResultHi = in(to.ResultHi)
	}
	if b.Kind == TermJump { // no block of its own is needed
		b.Values = append(b.Values, c.Values...)
		b.Kind, b.PC, b.Result, b.ResultHi, b.Succs = TermReturn, c.PC, c.Result, c.ResultHi, nil
		t.f.Blocks = t.f.Blocks[:len(t.f.Blocks)-1]
		return true
	}
	// The copy may be shared with edges that the argument's definition does not
	// dominate, and values of b that it uses are then used outside of b.
	c.Result, c.ResultHi = t.own(c, c.Result), t.own(c, c.ResultHi)
	t.out[b.ID] = true
	for _, old := range made[to] {
		if sameReturn(old, c) {
			t.f.Blocks = t.f.Blocks[:len(t.f.Blocks)-1]
			*e = Edge{To: old}
			return true
		}
	}
	made[to] = append(made[to], c)
	*e = Edge{To: c}
	return true
}

// own returns a constant in c that equals v, or v if it is no constant.
func (t *threader) own(c *Block, v *Value) *Value {
	if v == nil || v.Op != OpConst {
		return v
	}
	k := t.f.Add(c, OpConst, v.Type, v.PC)
	k.Int = v.Int
	return k
}

// sameReturn reports whether two returns give the same constant.
func sameReturn(a, b *Block) bool {
	hi := a.ResultHi == nil && b.ResultHi == nil ||
		a.ResultHi != nil && b.ResultHi != nil && same(a.ResultHi, b.ResultHi)
	return hi && a.Result.Op == OpConst && same(a.Result, b.Result)
}

// copyInto copies b's values to c with arguments for its parameters, folding
// constants, and returns the function from b's values to those in c.
func (t *threader) copyInto(c, b *Block, args []*Value) func(*Value) *Value {
	as := map[*Value]*Value{}
	for i, p := range b.Params {
		as[p] = args[i]
	}
	in := func(v *Value) *Value {
		if w := as[v]; w != nil {
			return w
		}
		return v
	}
	for _, v := range b.Values {
		w := t.f.NewValue(v.Op, v.Type, v.PC, v.Args...)
		w.Int, w.Sym = v.Int, v.Sym
		for i := range w.Args {
			w.Args[i] = in(w.Args[i])
		}
		if k := knownOf(w, constantBits); k.Const() {
			w.Op, w.Args, w.Sym, w.Int = OpConst, nil, "", int64(k.Value)
			if w.Type == I32 {
				w.Int = int64(int32(k.Value))
			}
		}
		c.Values = append(c.Values, w)
		as[v] = w
	}
	return in
}

// constantBits returns the known bits of a value that may be a constant.
func constantBits(v *Value) Known {
	if n, ok := numberOf(v); ok {
		return exactly(n)
	}
	return unknown(v.Type)
}

// pass redirects an edge past its target if its arguments decide the target's branch.
func (t *threader) pass(b *Block, e *Edge) bool {
	to := e.To
	if t.out[to.ID] {
		return false
	}
	if to.Kind == TermJump && len(to.Values) > 0 {
		return false
	}
	scratch := &Block{}
	in := t.copyInto(scratch, to, e.Args)
	next := 0
	if to.Kind == TermBranch {
		n, ok := numberOf(in(to.Cond))
		if !ok {
			return false
		}
		if n == 0 {
			next = 1
		}
	}
	succ := to.Succs[next]
	if succ.To == to || succ.To == b && to.Kind == TermJump && len(b.Succs) == 1 {
		return false
	}
	args := make([]*Value, len(succ.Args))
	for i, a := range succ.Args {
		args[i] = in(a)
	}
	b.Values = append(b.Values, scratch.Values...)
	*e = Edge{To: succ.To, Args: args}
	return true
}

// MergeBlocks merges each block that ends with a jump with the jump's target, if
// the target has no other predecessor.
func (f *Func) MergeBlocks() {
	preds := f.Preds()
	by := make([]*Value, f.NextID)
	gone := make([]bool, f.NextBlock)
	any := false
	for _, b := range f.Blocks {
		if gone[b.ID] {
			continue
		}
		for b.Kind == TermJump {
			e := b.Succs[0]
			to := e.To
			if to == b || to == f.Blocks[0] || len(preds[to.ID]) != 1 || gone[to.ID] {
				break
			}
			for i, p := range to.Params {
				by[p.ID] = e.Args[i]
			}
			b.Values = append(b.Values, to.Values...)
			b.Kind, b.PC, b.Cond, b.Result, b.ResultHi, b.Succs = to.Kind, to.PC, to.Cond, to.Result, to.ResultHi, to.Succs
			gone[to.ID], any = true, true
		}
	}
	if !any {
		return
	}
	kept := f.Blocks[:0]
	for _, b := range f.Blocks {
		if !gone[b.ID] {
			kept = append(kept, b)
		}
	}
	f.Blocks = kept
	f.Replace(by)
}
