package verify

import (
	"math"

	"github.com/cilium/ebpf/asm"
)

// Linked numbers: values of one id differ by constants until one of them is
// recomputed. A fact that a branch proves of one therefore gives a fact about the
// others:
//
// 	r2 = r1; r2 += 4; if r1 > 100 goto ...   // r2 is at most 104
//
// A 32-bit sum that may wrap is linked by its low half only. A known number has no id:
// nothing remains to be learned of it.
//
// The kernel's verifier links numbers since 6.11 (BPF_ADD_CONST, sync_linked_regs), by
// one addition. Later releases link differences and 32-bit sums too. Here several
// constants add up.

// copyOf returns a copy of v that is linked to v in all 64 bits. If v was linked to
// others by its low half only, it loses those links.
func (x *explorer) copyOf(s *state, v *val) val {
	if v.kind == NotInit {
		return scalar(anyNum())
	}
	if v.low || x.opt.Linux && v.kind == Scalar && v.delta != 0 { // assign_scalar_id_before_mov
		v.unlink()
	}
	if v.kind == Scalar && v.id == 0 && !v.n.known() {
		v.id = s.freshID()
	}
	return *v
}

func (v *val) unlink() { v.id, v.delta, v.low = 0, 0, false }

// follow returns the link of `a op b`: that of a with the constant b added, or
// none.
func (x *explorer) follow(a *val, op asm.ALUOp, b *num, wide bool) (id uint32, delta int32, low bool) {
	if a.id == 0 {
		return 0, 0, false
	}
	d, ok := constantShift(op, b, wide)
	sum := int64(a.delta) + d
	if !ok || d != int64(int32(d)) || sum != int64(int32(sum)) {
		return 0, 0, false
	}
	if x.opt.Linux && (a.delta != 0 || !x.opt.since(6, 11) || !x.opt.since(6, 18) && (op != asm.Add || !wide || d <= 0)) {
		return 0, 0, false // adjust_reg_min_max_vals
	}
	return a.id, int32(sum), a.low || !wide && leavesWord(&a.n, d)
}

// constantShift returns d if `a op b` is a + d for every a, modulo 2^64, or modulo
// 2^32 for 32-bit operations.
func constantShift(op asm.ALUOp, b *num, wide bool) (d int64, ok bool) {
	if op != asm.Add && op != asm.Sub || !b.known() {
		return 0, false
	}
	d = int64(b.bits.Value)
	if !wide {
		d = int64(int32(b.bits.Value))
	}
	if op == asm.Sub {
		d = -d
	}
	return d, true
}

// leavesWord reports whether a + d, |d| <= 2^31, may not be a number of 32 bits.
func leavesWord(a *num, d int64) bool {
	return a.w.uhi > math.MaxUint32 || int64(a.w.ulo)+d < 0 || int64(a.w.uhi)+d > math.MaxUint32
}

// learn replaces the facts about register r, which holds v, by n, and refines all
// numbers that are linked to it. It returns false if one of them has no possible value
// left: the path is then infeasible.
func (x *explorer) learn(s *state, r asm.Register, v *val, n *num) bool {
	if *n == v.n && !(x.opt.Linux && v.id != 0) { // which Linux says again
		return true
	}
	if v.id == 0 {
		s.regs[r].n = *n
		return true
	}
	alive, of := true, *v
	s.each(func(o *val) bool { return o.id == of.id && o.kind == Scalar }, func(o *val) {
		d, low := int64(o.delta)-int64(of.delta), o.low || of.low
		switch {
		case o == &s.regs[r] && o.n == of.n:
			o.n = *n
		case x.opt.Linux:
			o.n = x.carried(n, d)
		case d == 0 && !low && o.n == of.n:
			o.n = *n
		default:
			m, ok := shifted(&o.n, n, d, low && o != &s.regs[r])
			o.n, alive = m, alive && ok
		}
		if o.n.known() {
			o.unlink()
		}
	})
	return alive
}

// shifted refines o, a number equal to a number of n plus d, modulo 2^64, or modulo
// 2^32 if low. It returns false if no such number exists.
func shifted(o, n *num, d int64, low bool) (num, bool) {
	m := plus(n, d)
	if low {
		m = num{Tnum{m.bits.Value & math.MaxUint32, m.bits.Mask | math.MaxUint32<<32}, anyNum().w, m.h}
	}
	return m.meet(o)
}
