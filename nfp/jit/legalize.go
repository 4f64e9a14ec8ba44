package jit

import (
	"github.com/nfpkit/nfpkit/ir"
)

// legalize rewrites a module so that ir.CheckLegal holds: every I64 becomes two I32
// halves, low and high. The engine adds, compares and shifts 32 bits at a time, so
// that
//
//   - addition, subtraction and comparison become an operation on the low halves
//     and one that takes the carry (OpAddHi, OpULT64 and their like);
//   - multiplication uses the engine's 32 x 32 -> 64 steps (OpMulWide);
//   - shifts become funnel shifts, those by a variable with a choice between
//     "below 32" and "32 and more";
//   - division becomes a call of a routine (runtime.go), in 32 bits too;
//   - atomics on the stack become plain reads and writes: contexts of an engine
//     are not preempted, and no other context sees this one's stack.
//
// Constant halves are folded during the rewrite: a zero-extended value has one, and
// most operations on it then need no instruction for the high half.
//
// The result is a new module; functions keep their names, frames and pcs.
func legalize(m *ir.Module) (*ir.Module, error) {
	out := &ir.Module{Name: m.Name, Maps: m.Maps}
	used := map[string]bool{}
	for _, f := range m.Funcs {
		out.Funcs = append(out.Funcs, legalizeFunc(f, used))
	}
	routines, err := runtimeRoutines(used)
	if err != nil {
		return nil, err
	}
	for _, f := range routines {
		out.Funcs = append(out.Funcs, legalizeFunc(f, used))
	}
	return out, nil
}

// halves are the parts of a legalised number; hi is nil for I32.
type halves struct{ lo, hi *ir.Value }

type legalizer struct {
	f      *ir.Func
	b      *ir.Block
	pc     int32
	value  []halves    // by old number
	block  []*ir.Block // by old number
	consts map[uint32]*ir.Value
	used   map[string]bool // runtime routines called
}

func legalizeFunc(old *ir.Func, used map[string]bool) *ir.Func {
	l := &legalizer{
		f:     &ir.Func{Name: old.Name, Result: old.Result, Frame: old.Frame},
		value: make([]halves, old.NextID), block: make([]*ir.Block, old.NextBlock), used: used,
	}
	order := old.ReversePostorder()
	for _, b := range order {
		n := l.f.NewBlock()
		n.PC = b.PC
		l.block[b.ID] = n
	}
	for _, p := range old.Params {
		l.value[p.ID] = l.param(p, func(v *ir.Value) {
			v.Int = int64(len(l.f.Params))
			l.f.Params = append(l.f.Params, v)
		})
	}
	for _, b := range order {
		n := l.block[b.ID]
		for _, p := range b.Params {
			l.value[p.ID] = l.param(p, func(v *ir.Value) {
				v.Int = int64(len(n.Params))
				n.Params = append(n.Params, v)
			})
		}
	}
	for _, b := range order {
		l.b = l.block[b.ID]
		l.consts = map[uint32]*ir.Value{}
		for _, v := range b.Values {
			l.pc = v.PC
			l.value[v.ID] = l.rewrite(v)
		}
		l.pc = b.PC
		l.terminator(b)
	}
	return l.f
}

// param creates the one or two parameters that replace p.
func (l *legalizer) param(p *ir.Value, add func(*ir.Value)) halves {
	h := halves{lo: l.f.NewValue(ir.OpParam, ir.I32, p.PC)}
	add(h.lo)
	if p.Type == ir.I64 {
		h.hi = l.f.NewValue(ir.OpParam, ir.I32, p.PC)
		add(h.hi)
	}
	return h
}

func (l *legalizer) terminator(b *ir.Block) {
	n := l.b
	n.Kind, n.PC = b.Kind, b.PC
	if b.Cond != nil {
		n.Cond = l.lo(b.Cond)
	}
	if b.Result != nil {
		n.Result = l.lo(b.Result)
		if l.f.Result == ir.I64 {
			n.ResultHi = l.hi(b.Result)
		}
	}
	for _, e := range b.Succs {
		to := ir.Edge{To: l.block[e.To.ID]}
		for _, a := range e.Args {
			h := l.value[a.ID]
			to.Args = append(to.Args, h.lo)
			if h.hi != nil {
				to.Args = append(to.Args, h.hi)
			}
		}
		n.Succs = append(n.Succs, to)
	}
}

func (l *legalizer) lo(v *ir.Value) *ir.Value { return l.value[v.ID].lo }

// hi returns the high half of v, zero if v is an I32.
func (l *legalizer) hi(v *ir.Value) *ir.Value {
	if h := l.value[v.ID].hi; h != nil {
		return h
	}
	return l.num(0)
}

// num is a constant, one value a block.
func (l *legalizer) num(n uint32) *ir.Value {
	if v := l.consts[n]; v != nil {
		return v
	}
	v := l.f.NewValue(ir.OpConst, ir.I32, l.pc)
	v.Int = int64(n)
	l.b.Values = append(l.b.Values, v)
	l.consts[n] = v
	return v
}

func (l *legalizer) add(op ir.Op, args ...*ir.Value) *ir.Value {
	return l.f.Add(l.b, op, ir.I32, l.pc, args...)
}

func constOf(v *ir.Value) (uint32, bool) {
	if v.Op == ir.OpConst {
		return uint32(v.Int), true
	}
	return 0, false
}

// op is a binary operation. It is folded if both operands are constants, or if
// one is a neutral or an absorbing constant.
func (l *legalizer) op(op ir.Op, x, y *ir.Value) *ir.Value {
	a, xc := constOf(x)
	b, yc := constOf(y)
	if xc && yc {
		if n, ok := foldWord(op, a, b); ok {
			return l.num(n)
		}
	}
	if xc && !yc && (op == ir.OpAnd || op == ir.OpOr || op == ir.OpXor || op == ir.OpAdd) {
		x, y, b, xc, yc = y, x, a, false, true
	}
	if yc {
		switch {
		case b == 0 && (op == ir.OpOr || op == ir.OpXor || op == ir.OpAdd || op == ir.OpSub ||
			op == ir.OpShl || op == ir.OpShr || op == ir.OpSar):
			return x
		case b == ^uint32(0) && op == ir.OpAnd:
			return x
		case b == 0 && op == ir.OpAnd:
			return y
		}
	}
	if xc && a == 0 && (op == ir.OpShl || op == ir.OpShr || op == ir.OpSar) {
		return x
	}
	return l.add(op, x, y)
}

func foldWord(op ir.Op, a, b uint32) (uint32, bool) {
	switch op {
	case ir.OpAdd:
		return a + b, true
	case ir.OpSub:
		return a - b, true
	case ir.OpAnd:
		return a & b, true
	case ir.OpOr:
		return a | b, true
	case ir.OpXor:
		return a ^ b, true
	case ir.OpShl:
		return a << (b & 31), true
	case ir.OpShr:
		return a >> (b & 31), true
	case ir.OpSar:
		return uint32(int32(a) >> (b & 31)), true
	}
	return 0, false
}

// part returns a part of a Tuple.
func (l *legalizer) part(t *ir.Value, i int64) *ir.Value {
	v := l.add(ir.OpPart, t)
	v.Int = i
	return v
}

// pair returns the parts of a Tuple{low, high}.
func (l *legalizer) pair(t *ir.Value) halves { return halves{l.part(t, 0), l.part(t, 1)} }

// wide reports whether v is a number of 64 bits.
func wide(v *ir.Value) bool { return v.Type == ir.I64 }

// rewrite returns the legal form of v.
func (l *legalizer) rewrite(v *ir.Value) halves {
	switch v.Op {
	case ir.OpConst:
		if wide(v) {
			return halves{l.num(uint32(v.Int)), l.num(uint32(v.Int >> 32))}
		}
		return halves{lo: l.num(uint32(v.Int))}
	case ir.OpTrunc:
		return halves{lo: l.lo(v.Args[0])}
	case ir.OpZExt32:
		return halves{l.lo(v.Args[0]), l.num(0)}
	case ir.OpSExt32:
		return l.signed(l.lo(v.Args[0]))
	case ir.OpEQ, ir.OpNE, ir.OpULT, ir.OpULE, ir.OpSLT, ir.OpSLE, ir.OpTest:
		return halves{lo: l.compare(v)}
	case ir.OpUDiv, ir.OpUMod, ir.OpSDiv, ir.OpSMod:
		return l.divide(v)
	case ir.OpLoad, ir.OpStore, ir.OpAtomic, ir.OpRead, ir.OpWrite:
		return l.memory(v)
	case ir.OpMapValueAddr:
		return l.mapAddr(v)
	case ir.OpCallHelper, ir.OpCallFunc, ir.OpTailCall, ir.OpCtxAddr:
		return l.opaque(v)
	}
	if wide(v) {
		return l.arithmetic(v)
	}
	return halves{lo: l.narrow(v)}
}

// narrow keeps an operation on 32 bits.
func (l *legalizer) narrow(v *ir.Value) *ir.Value {
	args := make([]*ir.Value, len(v.Args))
	for i, a := range v.Args {
		args[i] = l.lo(a)
	}
	if len(args) == 2 {
		if _, ok := foldWord(v.Op, 0, 0); ok {
			return l.op(v.Op, args[0], args[1])
		}
	}
	return l.clone(v, v.Type, args)
}

// clone is v with other arguments.
func (l *legalizer) clone(v *ir.Value, t ir.Type, args []*ir.Value) *ir.Value {
	n := l.f.Add(l.b, v.Op, t, v.PC, args...)
	n.Int, n.Sym, n.Space, n.Size = v.Int, v.Sym, v.Space, v.Size
	n.Big, n.Align, n.Phase, n.Kinds = v.Big, v.Align, v.Phase, v.Kinds
	n.Reach = v.Reach
	return n
}

// signed extends a word by its sign.
func (l *legalizer) signed(lo *ir.Value) halves { return halves{lo, l.op(ir.OpSar, lo, l.num(31))} }

// arithmetic splits operations on two 64-bit values with a 64-bit result.
func (l *legalizer) arithmetic(v *ir.Value) halves {
	x := l.value[v.Args[0].ID]
	switch v.Op {
	case ir.OpAnd, ir.OpOr, ir.OpXor:
		y := l.value[v.Args[1].ID]
		return halves{l.op(v.Op, x.lo, y.lo), l.op(v.Op, x.hi, y.hi)}
	case ir.OpAdd:
		return l.addWide(x, l.value[v.Args[1].ID])
	case ir.OpSub:
		return l.subWide(x, l.value[v.Args[1].ID])
	case ir.OpMul:
		return l.multiply(x, l.value[v.Args[1].ID])
	case ir.OpShl, ir.OpShr, ir.OpSar:
		return l.shift(v.Op, x, l.lo(v.Args[1]))
	case ir.OpSExt8, ir.OpSExt16:
		return l.signed(l.add(v.Op, x.lo))
	case ir.OpBSwap:
		return halves{l.swap(x.hi), l.swap(x.lo)}
	case ir.OpSelect:
		y, z := l.value[v.Args[1].ID], l.value[v.Args[2].ID]
		return halves{l.choose(x.lo, y.lo, z.lo), l.choose(x.lo, y.hi, z.hi)}
	}
	panic("legalize: no 64-bit form of " + v.Long())
}

func (l *legalizer) swap(x *ir.Value) *ir.Value {
	v := l.add(ir.OpBSwap, x)
	v.Int = 32
	return v
}

func (l *legalizer) choose(cond, x, y *ir.Value) *ir.Value {
	a, xc := constOf(x)
	b, yc := constOf(y)
	if x == y || xc && yc && a == b {
		return x
	}
	return l.add(ir.OpSelect, cond, x, y)
}

func (l *legalizer) addWide(x, y halves) halves {
	if n, ok := constOf(x.lo); ok && n == 0 {
		x, y = y, x
	}
	if n, ok := constOf(y.lo); ok && n == 0 {
		return halves{x.lo, l.op(ir.OpAdd, x.hi, y.hi)}
	}
	return halves{l.add(ir.OpAdd, x.lo, y.lo), l.add(ir.OpAddHi, x.lo, y.lo, x.hi, y.hi)}
}

func (l *legalizer) subWide(x, y halves) halves {
	if n, ok := constOf(y.lo); ok && n == 0 {
		return halves{x.lo, l.op(ir.OpSub, x.hi, y.hi)}
	}
	return halves{l.add(ir.OpSub, x.lo, y.lo), l.add(ir.OpSubHi, x.lo, y.lo, x.hi, y.hi)}
}

// multiply: (xh:xl)(yh:yl) = xl yl + 2^32 (xl yh + xh yl), the rest is above 64 bits.
func (l *legalizer) multiply(x, y halves) halves {
	t := l.f.Add(l.b, ir.OpMulWide, ir.Tuple, l.pc, x.lo, y.lo)
	p := l.pair(t)
	for _, cross := range [][2]*ir.Value{{x.lo, y.hi}, {x.hi, y.lo}} {
		a, xc := constOf(cross[0])
		b, yc := constOf(cross[1])
		if xc && a == 0 || yc && b == 0 {
			continue
		}
		p.hi = l.op(ir.OpAdd, p.hi, l.add(ir.OpMul, cross[0], cross[1]))
	}
	return p
}

func (l *legalizer) shift(op ir.Op, x halves, n *ir.Value) halves {
	if c, ok := constOf(n); ok {
		return l.shiftBy(op, x, c&63)
	}
	zero := l.num(0)
	// The results for n below 32 and for n of 32 and more.
	var near, far halves
	switch op {
	case ir.OpShl:
		// The high word takes the low one's top n bits: shifted right by 1 and by
		// 31-n, as a shift by 32-n would be none for n = 0.
		top := l.op(ir.OpShr, l.op(ir.OpShr, x.lo, l.num(1)), l.op(ir.OpXor, n, l.num(31)))
		near = halves{l.op(op, x.lo, n), l.op(ir.OpOr, l.op(op, x.hi, n), top)}
		far = halves{zero, near.lo}
	default:
		near = halves{l.add(ir.OpFunnel, x.hi, x.lo, n), l.op(op, x.hi, n)}
		far = halves{near.hi, zero}
		if op == ir.OpSar {
			far.hi = l.op(ir.OpSar, x.hi, l.num(31))
		}
	}
	big := l.op(ir.OpAnd, n, l.num(32))
	return halves{l.choose(big, far.lo, near.lo), l.choose(big, far.hi, near.hi)}
}

// shiftBy shifts by a constant below 64.
func (l *legalizer) shiftBy(op ir.Op, x halves, n uint32) halves {
	k, m := l.num(n&31), l.num((32-n)&31)
	switch {
	case n == 0:
		return x
	case n < 32 && op == ir.OpShl:
		return halves{l.op(op, x.lo, k), l.funnel(x.hi, x.lo, m)}
	case n < 32:
		return halves{l.funnel(x.hi, x.lo, k), l.op(op, x.hi, k)}
	case op == ir.OpShl:
		return halves{l.num(0), l.op(op, x.lo, k)}
	case op == ir.OpShr:
		return halves{l.op(op, x.hi, k), l.num(0)}
	}
	return halves{l.op(op, x.hi, k), l.op(op, x.hi, l.num(31))}
}

// funnel is the low word of hi:lo >> n, n a constant 1 to 31.
func (l *legalizer) funnel(hi, lo, n *ir.Value) *ir.Value {
	k, _ := constOf(n)
	if h, ok := constOf(hi); ok && h == 0 {
		return l.op(ir.OpShr, lo, n)
	}
	if o, ok := constOf(lo); ok && o == 0 {
		return l.op(ir.OpShl, hi, l.num(32-k))
	}
	return l.add(ir.OpFunnel, hi, lo, n)
}

// compare returns 0 or 1.
func (l *legalizer) compare(v *ir.Value) *ir.Value {
	x, y := l.value[v.Args[0].ID], l.value[v.Args[1].ID]
	if !wide(v.Args[0]) {
		return l.clone(v, ir.I32, []*ir.Value{x.lo, y.lo})
	}
	zero := l.num(0)
	switch v.Op {
	case ir.OpEQ, ir.OpNE:
		high := l.op(ir.OpXor, x.hi, y.hi)
		if n, ok := constOf(high); ok && n == 0 {
			return l.add(v.Op, x.lo, y.lo)
		}
		return l.add(v.Op, l.op(ir.OpOr, l.op(ir.OpXor, x.lo, y.lo), high), zero)
	case ir.OpTest:
		return l.add(ir.OpNE, l.op(ir.OpOr, l.op(ir.OpAnd, x.lo, y.lo), l.op(ir.OpAnd, x.hi, y.hi)), zero)
	case ir.OpULT:
		return l.less(ir.OpULT, ir.OpULT64, x, y)
	case ir.OpSLT:
		return l.less(ir.OpSLT, ir.OpSLT64, x, y)
	case ir.OpULE:
		return l.add(ir.OpEQ, l.less(ir.OpULT, ir.OpULT64, y, x), zero)
	}
	return l.add(ir.OpEQ, l.less(ir.OpSLT, ir.OpSLT64, y, x), zero)
}

// less compares two values; if both high halves are zero, the low ones decide.
func (l *legalizer) less(narrow, wide ir.Op, x, y halves) *ir.Value {
	a, xc := constOf(x.hi)
	b, yc := constOf(y.hi)
	if xc && yc && a == 0 && b == 0 {
		return l.add(ir.OpULT, x.lo, y.lo)
	}
	return l.add(wide, x.lo, x.hi, y.lo, y.hi)
}

// divide calls the routine of the operation.
func (l *legalizer) divide(v *ir.Value) halves {
	x, y := l.value[v.Args[0].ID], l.value[v.Args[1].ID]
	if !wide(v) {
		return halves{lo: l.divideWord(v.Op, x.lo, y.lo)}
	}
	if unsigned := v.Op == ir.OpUDiv || v.Op == ir.OpUMod; unsigned && isZero(x.hi) && isZero(y.hi) {
		return halves{l.divideWord(v.Op, x.lo, y.lo), l.num(0)} // quotient and remainder are no larger than the dividend
	}
	name := map[ir.Op]string{ir.OpUDiv: routineUDiv64, ir.OpUMod: routineUMod64, ir.OpSDiv: routineSDiv64, ir.OpSMod: routineSMod64}[v.Op]
	return l.pair(l.callRoutine(name, x.lo, x.hi, y.lo, y.hi))
}

// divideWord calls the routine, which takes dividend and divisor as the two halves of
// one argument and returns quotient and remainder as those of its result. Signed
// division divides the magnitudes; the quotient is negative if the signs differ, the
// remainder if the dividend is negative. MIN / -1 is correct because the magnitude of
// MIN is 2^31 and its negation is MIN again; x / 0 is 0 and x % 0 is x for all signs.
func (l *legalizer) divideWord(op ir.Op, x, y *ir.Value) *ir.Value {
	i := int64(0)
	if op == ir.OpUMod || op == ir.OpSMod {
		i = 1
	}
	if op == ir.OpUDiv || op == ir.OpUMod {
		return l.part(l.callRoutine(routineDiv32, x, y), i)
	}
	sx, sy := l.op(ir.OpSar, x, l.num(31)), l.op(ir.OpSar, y, l.num(31))
	sign := sx
	if op == ir.OpSDiv {
		sign = l.op(ir.OpXor, sx, sy)
	}
	r := l.part(l.callRoutine(routineDiv32, l.negateIf(sx, x), l.negateIf(sy, y)), i)
	return l.negateIf(sign, r)
}

// negateIf is -x if sign is all ones, x if it is 0.
func (l *legalizer) negateIf(sign, x *ir.Value) *ir.Value {
	return l.op(ir.OpSub, l.op(ir.OpXor, x, sign), sign)
}

func isZero(v *ir.Value) bool {
	n, ok := constOf(v)
	return ok && n == 0
}

func (l *legalizer) callRoutine(name string, args ...*ir.Value) *ir.Value {
	l.used[name] = true
	v := l.f.Add(l.b, ir.OpCallFunc, ir.Tuple, l.pc, args...)
	v.Sym = name
	return v
}
