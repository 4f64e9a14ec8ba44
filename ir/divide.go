package ir

import "math/bits"

// DivideByConstants turns divisions and remainders by constants into
// multiplications, shifts and masks. The engine has no divider, and the division
// routine is always slower than the multiplications. So the only choice by cost is
// the form of a remainder's product.
//
// It comes before legalize, whose 64-bit product of two zero-extended words is
// one sequence of the multiplier.
func (f *Func) DivideByConstants(c *Costs) {
	if !f.hasOp(OpUDiv, OpUMod, OpSDiv, OpSMod) {
		return
	}
	e := newEditor(f)
	e.costs = c
	e.known = f.KnownBits()
	for _, b := range f.Blocks {
		e.begin(b)
		for _, v := range b.Values {
			w := (*Value)(nil)
			switch v.Op {
			case OpUDiv, OpUMod, OpSDiv, OpSMod:
				if v.Args[1].Op == OpConst {
					e.pc = v.PC
					w = e.divide(v)
				}
			}
			e.put(v, w)
		}
		e.end(b)
	}
	e.finish()
}

// divide returns the replacement of a division by a constant.
func (e *editor) divide(v *Value) *Value {
	x, t := v.Args[0], v.Type
	d, _ := numberOf(v.Args[1])
	signed := v.Op == OpSDiv || v.Op == OpSMod
	rest := v.Op == OpUMod || v.Op == OpSMod
	if d == 0 {
		if rest {
			return x
		}
		return e.number(t, 0)
	}
	if !signed {
		return e.quotient(x, d, e.max(x), rest)
	}
	// Divide magnitudes. The quotient is negative if the signs differ, the remainder
	// if the dividend is negative. The magnitude of MIN is 2^(width-1).
	w := width(t)
	top := e.add(OpSar, t, x, e.number(I32, uint64(w-1)))
	magnitude := e.add(OpSub, t, e.add(OpXor, t, x, top), top)
	sign := top
	if d>>(w-1) != 0 {
		d = cutTo(-d, w)
		if !rest {
			sign = e.add(OpXor, t, top, e.number(t, ^uint64(0)))
		}
	}
	q := e.quotient(magnitude, d, 1<<(w-1), rest)
	return e.add(OpSub, t, e.add(OpXor, t, q, sign), sign)
}

// quotient is x / d, or x mod d, of an x up to limit and a d that is not 0.
func (e *editor) quotient(x *Value, d, limit uint64, rest bool) *Value {
	t := x.Type
	switch {
	case d > limit:
		if rest {
			return x
		}
		return e.number(t, 0)
	case d&(d-1) == 0 && rest:
		return e.add(OpAnd, t, x, e.number(t, d-1))
	case d&(d-1) == 0:
		return e.add(OpShr, t, x, e.number(I32, uint64(bits.TrailingZeros64(d))))
	}
	var q *Value
	switch {
	case limit/d == 1: // the quotient is 0 or 1
		q = e.add(OpULE, I32, e.number(t, d), x)
		if t == I64 {
			q = e.add(OpZExt32, I64, q)
		}
	case limit>>32 == 0:
		q = e.reciprocal32(x, reciprocalOf(d, limit, 32))
	default:
		q = e.reciprocal64(x, reciprocalOf(d, limit, 64))
	}
	if !rest {
		return q
	}
	return e.add(OpSub, t, x, e.product(q, d, limit))
}

// reciprocal32 divides a number of 32 bits.
func (e *editor) reciprocal32(x *Value, r reciprocal) *Value {
	wide := x
	if x.Type == I32 {
		wide = e.add(OpZExt32, I64, x)
	}
	wide = e.shift(OpShr, wide, r.pre)
	m := e.number(I64, r.mul)
	p := e.add(OpMul, I64, wide, m)
	if r.add {
		p = e.add(OpAdd, I64, p, m)
	}
	q := e.shift(OpShr, p, 32+r.shift)
	if x.Type == I32 {
		return e.add(OpTrunc, I32, q)
	}
	return q
}

// reciprocal64 divides a 64-bit number: it needs the upper half of the 128-bit
// product. With halves xh:xl and mh:ml,
//
//	low = xl ml (+ ml), mid1 = xh ml + low>>32, mid2 = xl mh + mid1 mod 2^32 (+ mh),
//	high = xh mh + mid1>>32 + mid2>>32,
//
// none of which has more than 64 bits.
func (e *editor) reciprocal64(x *Value, r reciprocal) *Value {
	x = e.shift(OpShr, x, r.pre)
	mask := e.number(I64, 1<<32-1)
	xl, xh := e.add(OpAnd, I64, x, mask), e.shift(OpShr, x, 32)
	ml, mh := e.number(I64, uint64(uint32(r.mul))), e.number(I64, r.mul>>32)
	mul := func(a, b *Value) *Value { return e.add(OpMul, I64, a, b) }
	add := func(a, b *Value) *Value { return e.add(OpAdd, I64, a, b) }
	low, mid2 := mul(xl, ml), mul(xl, mh)
	if r.add {
		low, mid2 = add(low, ml), add(mid2, mh)
	}
	mid1 := add(mul(xh, ml), e.shift(OpShr, low, 32))
	mid2 = add(mid2, e.add(OpAnd, I64, mid1, mask))
	high := add(mul(xh, mh), add(e.shift(OpShr, mid1, 32), e.shift(OpShr, mid2, 32)))
	return e.shift(OpShr, high, r.shift)
}
