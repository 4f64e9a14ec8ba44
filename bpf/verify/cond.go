package verify

import "github.com/cilium/ebpf/asm"

// A refined holds the two operands of a conditional jump as refined on one of its
// edges; ok is false if the edge is infeasible.
type refined struct {
	a, b num
	ok   bool
}

// negated returns the condition of the fall-through edge. JSet has none: see refine.
func negated(op asm.JumpOp) asm.JumpOp {
	switch op {
	case asm.JEq:
		return asm.JNE
	case asm.JNE:
		return asm.JEq
	case asm.JGT:
		return asm.JLE
	case asm.JLE:
		return asm.JGT
	case asm.JGE:
		return asm.JLT
	case asm.JLT:
		return asm.JGE
	case asm.JSGT:
		return asm.JSLE
	case asm.JSLE:
		return asm.JSGT
	case asm.JSGE:
		return asm.JSLT
	case asm.JSLT:
		return asm.JSGE
	}
	return op
}

// swapped returns the condition with its operands exchanged.
func swapped(op asm.JumpOp) asm.JumpOp {
	switch op {
	case asm.JGT:
		return asm.JLT
	case asm.JLT:
		return asm.JGT
	case asm.JGE:
		return asm.JLE
	case asm.JLE:
		return asm.JGE
	case asm.JSGT:
		return asm.JSLT
	case asm.JSLT:
		return asm.JSGT
	case asm.JSGE:
		return asm.JSLE
	case asm.JSLE:
		return asm.JSGE
	}
	return op
}

// refine returns the operands a and b as refined on the edge on which `a op b` holds
// (taken) or does not.
func refine(op asm.JumpOp, a, b *num, wide, taken bool) refined {
	r := refined{a: *a, b: *b, ok: true}
	if op == asm.JSet {
		r.ok = bitTest(&r.a, b, wide, taken) && bitTest(&r.b, a, wide, taken)
	} else {
		if !taken {
			op = negated(op)
		}
		if wide {
			r.ok = compare(op, &r.a.w, &r.b.w)
		} else {
			r.ok = compare(op, &r.a.h, &r.b.h)
		}
		if op == asm.JEq {
			r.ok = r.ok && equalBits(&r.a, &r.b, wide)
		}
		if op == asm.JNE && r.ok {
			r.ok = differ(&r.a, &r.b, wide)
		}
	}
	r.ok = r.ok && r.a.sync() && r.b.sync()
	return r
}

// compare refines both intervals by `a op b` and reports whether any pair is left.
func compare[U uint32 | uint64, S int32 | int64](op asm.JumpOp, a, b *span[U, S]) bool {
	switch op {
	case asm.JEq:
		m := a.meet(b)
		*a, *b = m, m
	case asm.JGT, asm.JLT:
		if op == asm.JLT {
			a, b = b, a
		}
		if b.ulo == ^U(0) || a.uhi == 0 {
			return false
		}
		a.ulo, b.uhi = max(a.ulo, b.ulo+1), min(b.uhi, a.uhi-1)
	case asm.JGE, asm.JLE:
		if op == asm.JLE {
			a, b = b, a
		}
		a.ulo, b.uhi = max(a.ulo, b.ulo), min(b.uhi, a.uhi)
	case asm.JSGT, asm.JSLT:
		if op == asm.JSLT {
			a, b = b, a
		}
		if b.slo == S(^U(0)>>1) || a.shi == S(^U(0)>>1+1) {
			return false
		}
		a.slo, b.shi = max(a.slo, b.slo+1), min(b.shi, a.shi-1)
	case asm.JSGE, asm.JSLE:
		if op == asm.JSLE {
			a, b = b, a
		}
		a.slo, b.shi = max(a.slo, b.slo), min(b.shi, a.shi)
	}
	return !a.empty() && !b.empty()
}

func equalBits(a, b *num, wide bool) bool {
	if wide {
		m, ok := a.bits.Intersect(b.bits)
		a.bits, b.bits = m, m
		a.h = a.h.meet(&b.h)
		b.h = a.h
		return ok
	}
	m, ok := a.bits.Trunc(32).Intersect(b.bits.Trunc(32))
	const high = uint64(0xffffffff) << 32
	a.bits = Tnum{a.bits.Value&high | m.Value, a.bits.Mask&high | m.Mask}
	b.bits = Tnum{b.bits.Value&high | m.Value, b.bits.Mask&high | m.Mask}
	return ok
}

// differ removes a known operand from the ends of the other's intervals.
func differ(a, b *num, wide bool) bool {
	if !wide {
		return trim(&a.h, &b.h) && trim(&b.h, &a.h) && !sameLow(a.bits, b.bits)
	}
	return trim(&a.w, &b.w) && trim(&b.w, &a.w)
}

func sameLow(a, b Tnum) bool {
	a, b = a.Trunc(32), b.Trunc(32)
	return a.Known() && a == b
}

// trim removes the single value of b from the ends of a.
func trim[U uint32 | uint64, S int32 | int64](a, b *span[U, S]) bool {
	if b.ulo != b.uhi {
		return true
	}
	if a.ulo == a.uhi {
		return a.ulo != b.ulo
	}
	if a.ulo == b.ulo {
		a.ulo++
	}
	if a.uhi == b.ulo {
		a.uhi--
	}
	if s := S(b.ulo); a.slo < a.shi {
		if a.slo == s {
			a.slo++
		}
		if a.shi == s {
			a.shi--
		}
	}
	return !a.empty()
}

// bitTest refines a by `a & b != 0` (taken) or `== 0`.
func bitTest(a, b *num, wide, taken bool) bool {
	possible, sure := b.bits.Value|b.bits.Mask, b.bits.Value
	if !wide {
		possible, sure = uint64(uint32(possible)), uint64(uint32(sure))
	}
	if !taken {
		if a.bits.Value&sure != 0 {
			return false
		}
		a.bits = Tnum{a.bits.Value, a.bits.Mask &^ sure}
		return true
	}
	could := (a.bits.Value | a.bits.Mask) & possible
	if could == 0 {
		return false
	}
	if could&(could-1) == 0 { // only one bit can have made it true
		a.bits = Tnum{a.bits.Value | could, a.bits.Mask &^ could}
	}
	return true
}
