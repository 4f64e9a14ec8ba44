package verify

import (
	"math"

	"github.com/cilium/ebpf/asm"
)

// Numbers as Linux before 6.8 tracks them (Options.Linux with such an Options.Kernel).
// That release changed how the views of a number refine each other, and what a branch
// on two unknown numbers teaches. Before it:
//
//   - A 64-bit and a 32-bit view learn from each other by known bits only, except
//     after a branch: one of 64 bits recomputes the 32-bit bounds, and one of 32 bits
//     the 64-bit bounds. What was known of the other width is lost.
//   - Only a comparison with a constant is decided or teaches, and equality of two
//     64-bit numbers. An equality is decided only for two constants.
//   - A product, an "or" and an "xor" with an unknown number give any number.
//   - Bounds that contradict each other are kept.
//   - The zero-extended copy of a number is not linked to it, nor is a stored number
//     to the register (kernelslot.go).
//
// kernel/bpf/verifier.c of 6.1: reg_bounds_sync, adjust_scalar_min_max_vals,
// is_branch_taken, reg_set_min_max.

// early reports whether numbers are to be tracked as Linux before 6.8 does.
func (opt *Options) early() bool { return opt.Linux && !opt.since(6, 8) }

// syncEarly refines the views of n by each other, once.
func (n *num) syncEarly() {
	n.fromBits()
	n.w.deduceEarly()
	n.h.deduceEarly()
	const high = uint64(math.MaxUint32) << 32
	b, _ := n.bits.Intersect(rangeBits(n.w.ulo, n.w.uhi))
	low, _ := b.Trunc(32).Intersect(rangeBits(uint64(n.h.ulo), uint64(n.h.uhi)))
	n.bits = Tnum{b.Value&high | low.Value, b.Mask&high | low.Mask}
	n.fromBits()
}

// deduceEarly moves bounds between the signed and the unsigned interval if one of them
// tells the sign.
func (a *span[U, S]) deduceEarly() {
	switch {
	case a.slo >= 0 || a.shi < 0:
		a.ulo, a.uhi = max(U(a.slo), a.ulo), min(U(a.shi), a.uhi)
		a.slo, a.shi = S(a.ulo), S(a.uhi)
	case S(a.uhi) >= 0:
		a.slo, a.uhi = S(a.ulo), min(U(a.shi), a.uhi)
		a.shi = S(a.uhi)
	case S(a.ulo) < 0:
		a.ulo = max(U(a.slo), a.ulo)
		a.slo, a.shi = S(a.ulo), S(a.uhi)
	}
}

// extend makes n its own low half, zero-extended.
func (n *num) extend() {
	n.bits = n.bits.Trunc(32)
	n.w = span[uint64, int64]{uint64(n.h.ulo), uint64(n.h.uhi), 0, math.MaxUint32}
	if n.h.slo >= 0 && n.h.shi >= 0 {
		n.w.slo, n.w.shi = int64(n.h.slo), int64(n.h.shi)
	}
}

// zextEarly returns the low half of n, zero-extended.
func (n num) zextEarly() num {
	n.extend()
	n.syncEarly()
	return n
}

// aluEarly returns a op b.
func aluEarly(op asm.ALUOp, a, b *num, wide bool) num {
	known := b.bits.Trunc(32).Known()
	torn := known && (b.h.slo != b.h.shi || b.h.ulo != b.h.uhi) || b.h.empty()
	if wide {
		known = b.known()
		torn = known && (b.w.slo != b.w.shi || b.w.ulo != b.w.uhi) || b.w.empty()
	}
	if torn || !known && op != asm.Add && op != asm.Sub && op != asm.And {
		return anyNum()
	}
	r := *a
	switch op {
	case asm.Add:
		r = sumInside(a, b)
	case asm.Sub:
		r = differenceInside(a, b)
	case asm.Mul:
		r = num{a.bits.Mul(b.bits), a.w.mulHalves(&b.w), a.h.mulHalves(&b.h)}
	case asm.And, asm.Or, asm.Xor:
		r = bitwiseEarly(op, a, b)
	case asm.LSh, asm.RSh, asm.ArSh:
		r = shiftEarly(op, a, b, wide)
	default:
		r = anyNum()
	}
	if !wide {
		r.extend()
	}
	r.syncEarly()
	return r
}

// bitwiseEarly returns a op b for and, or, xor.
func bitwiseEarly(op asm.ALUOp, a, b *num) num {
	r := num{bits: a.bits.And(b.bits)}
	switch op {
	case asm.Or:
		r.bits = a.bits.Or(b.bits)
	case asm.Xor:
		r.bits = a.bits.Xor(b.bits)
	}
	low := r.bits.Trunc(32)
	r.h = a.h.bitsEarly(op, &b.h, uint32(low.Value), uint32(low.Mask))
	if a.bits.Trunc(32).Known() && b.bits.Trunc(32).Known() {
		r.h = point[uint32, int32](uint32(low.Value))
	}
	r.w = a.w.bitsEarly(op, &b.w, r.bits.Value, r.bits.Mask)
	if a.known() && b.known() {
		r.w, r.h = point[uint64, int64](r.bits.Value), point[uint32, int32](uint32(low.Value))
	}
	return r
}

// bitsEarly returns the interval of a op b, of which the bits are known.
func (a span[U, S]) bitsEarly(op asm.ALUOp, b *span[U, S], value, mask U) span[U, S] {
	r := a.full()
	r.ulo, r.uhi = value, value|mask
	switch op {
	case asm.And:
		r.uhi = min(a.uhi, b.uhi)
	case asm.Or:
		r.ulo = max(a.ulo, b.ulo)
	}
	if a.slo >= 0 && b.slo >= 0 {
		r.slo, r.shi = S(r.ulo), S(r.uhi)
	}
	return r
}

// shiftEarly returns a shifted by the constant b.
func shiftEarly(op asm.ALUOp, a, b *num, wide bool) num {
	width, n := uint(32), uint(b.h.ulo)
	if wide {
		width = 64
	}
	r := anyNum()
	if b.w.uhi >= uint64(width) {
		return r
	}
	r.bits = shiftBits(op, a.bits, n, width)
	switch {
	case op == asm.LSh:
		if wide {
			r.w = a.w.shlEarly(n, n)
			if n == 32 {
				r.w.slo, r.w.shi = int64(a.h.slo)<<32, int64(a.h.shi)<<32
			}
		}
		r.h = a.h.shlEarly(n, n)
	case op == asm.RSh && wide:
		r.w.ulo, r.w.uhi = a.w.ulo>>n, a.w.uhi>>n
	case op == asm.RSh:
		r.h.ulo, r.h.uhi = a.h.ulo>>n, a.h.uhi>>n
	case wide:
		r.w.slo, r.w.shi = a.w.slo>>n, a.w.shi>>n
	default:
		r.h.slo, r.h.shi = a.h.slo>>n, a.h.shi>>n
	}
	r.fromBits()
	return r
}

// shlEarly keeps an interval of which no bit is shifted out, nor into the highest.
func (a span[U, S]) shlEarly(lo, hi uint) span[U, S] {
	r := a.full()
	if top := bitsOf(a.ulo) - 1; hi <= top && a.uhi <= 1<<(top-hi) {
		r.ulo, r.uhi = a.ulo<<lo, a.uhi<<hi
	}
	return r
}

// foreseeEarly returns the outcome of a comparison; known reports whether Linux can
// decide it.
func foreseeEarly(op asm.JumpOp, a, b *num, wide bool) (taken, known bool) {
	x, y := a.bits, b.bits
	if !wide {
		x, y = x.Trunc(32), y.Trunc(32)
	}
	switch {
	case !y.Known():
		return false, false
	case op == asm.JSet:
		if x.Value&y.Value != 0 {
			return true, true
		}
		return false, (x.Value|x.Mask)&y.Value == 0
	case op == asm.JEq || op == asm.JNE:
		return (x == y) == (op == asm.JEq), x.Known()
	case wide:
		c := point[uint64, int64](y.Value)
		return foreseeSize(op, &a.w, &c)
	}
	c := point[uint32, int32](uint32(y.Value))
	return foreseeSize(op, &a.h, &c)
}

// learnEarly refines p and q by what `p op q` teaches on the edge on which it holds
// (taken) or does not.
func learnEarly(op asm.JumpOp, p, q *num, wide, taken bool) {
	constant := func(n *num) bool { return n.known() || !wide && n.bits.Trunc(32).Known() }
	switch {
	case constant(q):
		p.boundEarly(op, q.bits.Value, wide, taken)
	case constant(p):
		q.boundEarly(swapped(op), p.bits.Value, wide, taken)
	case wide && (op == asm.JEq && taken || op == asm.JNE && !taken):
		m, _ := p.bits.Intersect(q.bits)
		p.bits, q.bits = m, m
		p.w = p.w.meet(&q.w)
		q.w = p.w
		p.syncEarly()
		q.syncEarly()
	}
}

// boundEarly refines n by a comparison with v.
func (n *num) boundEarly(op asm.JumpOp, v uint64, wide, taken bool) {
	w, h := point[uint64, int64](v), point[uint32, int32](uint32(v))
	const high = uint64(math.MaxUint32) << 32
	switch equal := op == asm.JEq && taken || op == asm.JNE && !taken; {
	case op == asm.JEq || op == asm.JNE:
		if equal && wide {
			*n = constNum(v)
		} else if equal {
			n.bits, n.h = Tnum{n.bits.Value&high | v&^high, n.bits.Mask & high}, h
		}
	case op == asm.JSet:
		if !wide {
			v &^= high
		}
		if !taken {
			*n = num{Tnum{n.bits.Value &^ v, n.bits.Mask &^ v}, anyNum().w, anyNum().h}
		} else if v != 0 && v&(v-1) == 0 {
			n.bits = Tnum{n.bits.Value | v, n.bits.Mask &^ v}
		}
	default:
		if !taken {
			op = negated(op)
		}
		if wide {
			compare(op, &n.w, &w)
		} else {
			compare(op, &n.h, &h)
		}
	}
	if wide {
		n.narrowEarly()
	} else {
		n.widenEarly()
	}
	n.syncEarly()
}

// narrowEarly recomputes the 32-bit bounds from the 64-bit bounds.
func (n *num) narrowEarly() {
	n.h = anyNum().h
	if n.w.slo >= math.MinInt32 && n.w.slo <= math.MaxInt32 && n.w.shi >= math.MinInt32 && n.w.shi <= math.MaxInt32 {
		n.h.slo, n.h.shi = int32(n.w.slo), int32(n.w.shi)
	}
	if n.w.ulo <= math.MaxUint32 && n.w.uhi <= math.MaxUint32 {
		n.h.ulo, n.h.uhi = uint32(n.w.ulo), uint32(n.w.uhi)
	}
}

// widenEarly recomputes the 64-bit bounds from the 32-bit bounds.
func (n *num) widenEarly() {
	if n.bits.Value>>32 == 0 && n.bits.Mask>>32 == 0 {
		n.extend()
	} else {
		n.w = anyNum().w
	}
}

// coerceEarly keeps the low size bytes of a number that was loaded.
func (n *num) coerceEarly(size int) {
	most := sizedMax(size)
	n.bits = n.bits.Trunc(uint(8 * size))
	if n.w.ulo&^most == n.w.uhi&^most {
		n.w.ulo, n.w.uhi = n.w.ulo&most, n.w.uhi&most
	} else {
		n.w.ulo, n.w.uhi = 0, most
	}
	n.w.slo, n.w.shi = int64(n.w.ulo), int64(n.w.uhi)
	if size < 4 {
		n.narrowEarly()
		n.syncEarly()
	}
}
