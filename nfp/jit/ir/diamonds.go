package ir

// FlattenDiamonds takes out branches that only choose between 1 and 0: where both
// ways of a branch meet at once and differ in one argument, 1 here and 0 there, the
// comparison itself is the number. It is made with the carry and no branch, in
// three or four cycles; the branch takes four to six.
//
// Other choices stay branches. The engine has no conditional move (what its
// predicate does is not known well enough to rely on), and a mask made of the
// carry, with which to choose, takes five.
func (f *Func) FlattenDiamonds() {
	preds := f.Preds()
	changed := false
	for _, b := range f.Blocks {
		if b.Kind != TermBranch || !countable(b.Cond) {
			continue
		}
		yes, yesValues := arm(b.Succs[0], preds)
		no, noValues := arm(b.Succs[1], preds)
		if yes.To != no.To || len(yes.Args) == 0 {
			continue
		}
		at := -1
		for i := range yes.Args {
			if !same(yes.Args[i], no.Args[i]) {
				if at >= 0 {
					at = len(yes.Args)
					break
				}
				at = i
			}
		}
		if at < 0 || at == len(yes.Args) {
			continue
		}
		x, okx := numberOf(yes.Args[at])
		y, oky := numberOf(no.Args[at])
		if !okx || !oky || x+y != 1 || x > 1 {
			continue
		}
		b.Values = append(b.Values[:len(b.Values):len(b.Values)], yesValues...)
		b.Values = append(b.Values, noValues...)
		truth := b.Cond
		if x == 0 {
			truth = f.opposite(b, b.Cond)
		}
		args := f.list(yes.Args)
		args[at] = truth
		b.Cond = nil
		b.Jump(b.PC, yes.To, args...)
		changed = true
	}
	if changed {
		f.RemoveUnreachable()
	}
}

// arm is where an edge leads, past a block of its own that makes constants only.
func arm(e Edge, preds [][]Pred) (Edge, []*Value) {
	b := e.To
	if b.Kind != TermJump || len(preds[b.ID]) != 1 || len(b.Params) > 0 {
		return e, nil
	}
	for _, v := range b.Values {
		if v.Op != OpConst {
			return e, nil
		}
	}
	return b.Succs[0], b.Values
}

// countable reports whether a comparison, and its opposite, can be made a number
// without a branch.
func countable(v *Value) bool {
	switch v.Op {
	case OpEQ, OpNE:
		return v.Args[0].Type == I32
	case OpULT, OpULE:
		n, ok := numberOf(v.Args[1])
		m, okm := numberOf(v.Args[0])
		return v.Args[0].Type == I32 && (ok && n != 0 && n != 1<<32-1 || okm && m != 0 && m != 1<<32-1)
	case OpTest:
		n, ok := numberOf(v.Args[1])
		return ok && v.Args[0].Type == I32 && n&(n-1) == 0
	}
	return false
}

// opposite appends a comparison to b that is 1 where v is 0.
func (f *Func) opposite(b *Block, v *Value) *Value {
	op, x, y := v.Op, v.Args[0], v.Args[1]
	switch op {
	case OpEQ:
		op = OpNE
	case OpNE:
		op = OpEQ
	case OpULT:
		op, x, y = OpULE, y, x
	case OpULE:
		op, x, y = OpULT, y, x
	default:
		one := f.Add(b, OpConst, I32, v.PC)
		one.Int = 1
		return f.Add(b, OpXor, I32, v.PC, v, one)
	}
	return f.Add(b, op, I32, v.PC, x, y)
}
