package ir

// ConvertIfs replaces branches that only choose between two numbers by arithmetic, if
// that is faster (if-conversion): both paths of the branch join at once and differ in
// one argument. The comparison becomes a number t, 1 or 0, computed with the carry and
// no branch; the choice of x if it holds, else y, is then
//
//	t                        of 1 and 0
//	y + t                    of y + 1 and y
//	y ^ (x ^ y) & -t         of any two
//
// with the opposite comparison if that is shorter. The engine has no conditional move:
// the semantics of its predicate are not known well enough to rely on.
func (f *Func) ConvertIfs(c *Costs) {
	preds := f.Preds()
	changed := false
	for _, b := range f.Blocks {
		if b.Kind != TermBranch || !countable(b.Cond) {
			continue
		}
		yes, yesValues := arm(b.Succs[0], preds)
		no, noValues := arm(b.Succs[1], preds)
		if yes.To != no.To {
			continue
		}
		at := onlyDifference(yes.Args, no.Args)
		if at < 0 {
			continue
		}
		if isPlace(yes.Args[at]) || isPlace(no.Args[at]) {
			continue
		}
		d := &choice{cond: b.Cond, x: yes.Args[at], y: no.Args[at]}
		d.plan(c)
		if 2*d.words > d.branch(c) {
			continue
		}
		b.Values = append(b.Values[:len(b.Values):len(b.Values)], yesValues...)
		b.Values = append(b.Values, noValues...)
		args := f.list(yes.Args)
		args[at] = f.choose(b, d)
		b.Cond = nil
		b.Jump(b.PC, yes.To, args...)
		changed = true
	}
	if changed {
		f.prune()
	}
}

// onlyDifference returns the position at which two argument lists differ, -1 if they
// differ at none or at several.
func onlyDifference(x, y []*Value) int {
	at := -1
	for i := range x {
		if same(x[i], y[i]) {
			continue
		}
		if at >= 0 {
			return -1
		}
		at = i
	}
	return at
}

// isPlace reports whether a value is an address or a handle, which its uses must
// have as their direct argument.
func isPlace(v *Value) bool { return v.Op == OpStackAddr || v.Op == OpMapHandle || v.Type != I32 }

// choice is one of two values by a comparison.
type choice struct {
	cond *Value
	x, y *Value // value if cond holds, and if not; exchanged if opposite
	form choiceForm
	// opposite reports whether t is computed from the opposite comparison.
	opposite bool
	words    int // without a branch
}

type choiceForm uint8

const (
	chooseBit  choiceForm = iota // t
	chooseNext                   // y + t
	chooseMask                   // y ^ (x ^ y) & -t
)

// plan finds the shortest form.
func (d *choice) plan(c *Costs) {
	x, xConst := numberOf(d.x)
	y, yConst := numberOf(d.y)
	d.words = c.truth(d.cond)
	// The smaller of two constants, or a zero, is the one to begin with.
	if xConst && (x == 0 || yConst && uint32(x) == uint32(y)-1) {
		d.opposite = true
		if d.cond.Op == OpTest {
			d.words++ // the opposite is computed from it
		}
		d.x, d.y = d.y, d.x
		x, xConst, y, yConst = y, yConst, x, xConst
	}
	switch {
	case xConst && yConst && x == 1 && y == 0:
		d.form = chooseBit
	case xConst && yConst && uint32(x) == uint32(y)+1:
		d.form = chooseNext
		d.words += 1 + c.number(y)
	default:
		d.form = chooseMask
		d.words += 2 // the mask and the combination
		both := x
		if !yConst || y != 0 {
			d.words++
			both ^= y
			if !xConst || !yConst {
				d.words++
			}
		}
		if xConst && yConst {
			d.words += c.number(both)
		} else if xConst {
			d.words += c.number(x)
		}
		if yConst {
			d.words += c.number(y)
		}
	}
}

// branch is twice the cycles of the choice with a branch, which is taken half the
// time. Of two constants one is loaded before the branch, and replaced half the
// time. Of other values one is often in the result's register already.
func (d *choice) branch(c *Costs) int {
	compare := 1
	if d.cond.Op == OpTest {
		compare = 0 // there is a branch on a bit
	} else if n, ok := numberOf(d.cond.Args[1]); ok {
		compare += c.number(n)
	}
	moves := 1
	if d.x.Op == OpConst && d.y.Op == OpConst {
		moves = 3
	}
	return 2*(compare+1) + c.Branch + moves
}

// truth returns the words that turn a countable comparison into a number: a zero, a
// subtraction and an addition of its carry, or a shift of a bit.
func (c *Costs) truth(v *Value) int {
	if v.Op == OpTest {
		return 1
	}
	words := 3
	n, ok := numberOf(v.Args[1])
	if (v.Op == OpEQ || v.Op == OpNE) && !(ok && n == 0) {
		words++ // is the difference 0?
	}
	if ok {
		words += c.number(n)
	}
	return words
}

// choose appends the choice to b.
func (f *Func) choose(b *Block, d *choice) *Value {
	pc := d.cond.PC
	t := d.cond
	if d.opposite {
		t = f.opposite(b, t)
	}
	switch d.form {
	case chooseBit:
		return t
	case chooseNext:
		return f.Add(b, OpAdd, I32, pc, t, d.y)
	}
	zero := f.Add(b, OpConst, I32, pc)
	mask := f.Add(b, OpSub, I32, pc, zero, t)
	if y, ok := numberOf(d.y); ok && y == 0 {
		return f.Add(b, OpAnd, I32, pc, d.x, mask)
	}
	both := f.xor(b, d.x, d.y, pc)
	return f.Add(b, OpXor, I32, pc, f.Add(b, OpAnd, I32, pc, mask, both), d.y)
}

// xor appends x ^ y, folded if both are constants.
func (f *Func) xor(b *Block, x, y *Value, pc int32) *Value {
	m, okx := numberOf(x)
	n, oky := numberOf(y)
	if !okx || !oky {
		return f.Add(b, OpXor, I32, pc, x, y)
	}
	k := f.Add(b, OpConst, I32, pc)
	k.Int = int64(int32(m ^ n))
	return k
}

// arm returns the target of an edge, past a block of its own that only has constants.
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

// countable reports whether a comparison and its opposite can be computed as numbers
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

// opposite appends a comparison to b that is 1 if v is 0.
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
