package jit

import (
	"math/bits"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// truthByCarry computes a comparison as a number without a branch, if that is no
// longer: a subtraction leaves "not below" in the carry, which is added to zero. A bit
// is shifted down and masked.
func (s *selector) truthByCarry(v *ir.Value) bool {
	x, y := v.Args[0], v.Args[1]
	n, ok := constOf(y)
	switch v.Op {
	case ir.OpEQ, ir.OpNE:
		t := s.word(x)
		if !ok || n != 0 {
			d := s.newReg()
			s.alu(nfp.ALUXor, d, s.operand(x), s.operand(y)).Flags |= nfp.NoCC
			t = d
		}
		if v.Op == ir.OpEQ {
			s.notBelow(v, mach.Const(0), t)
		} else {
			s.notBelow(v, t, mach.Const(1))
		}
	case ir.OpULE:
		s.notBelow(v, s.operand(y), s.operand(x))
	case ir.OpULT:
		if m, isConst := constOf(x); isConst && m != ^uint32(0) {
			s.notBelow(v, s.word(y), s.small(m+1))
			return true
		}
		if !ok || n == 0 {
			return false
		}
		s.notBelow(v, s.small(n-1), s.word(x))
	case ir.OpTest:
		if !ok || !isBit(n) {
			return false
		}
		if bit := bits.TrailingZeros32(n); bit > 0 {
			s.shift(nfp.ShfAnd, s.dst(v), mach.Const(1), s.word(x), nfp.ShiftRight, uint8(bit)).Flags |= nfp.NoCC
		} else {
			s.alu(nfp.ALUAnd, s.dst(v), s.word(x), mach.Const(1)).Flags |= nfp.NoCC
		}
	default:
		return false
	}
	return true
}

// small is a constant as an operand, or in a register.
func (s *selector) small(n uint32) nfp.Operand {
	if n <= 255 {
		return mach.Const(n)
	}
	return s.number(n)
}

// notBelow is 1 if x >= y, unsigned, else 0.
func (s *selector) notBelow(v *ir.Value, x, y nfp.Operand) {
	zero := s.number(0)
	s.alu(nfp.ALUSub, none, x, y)
	s.alu(nfp.ALUAddC, s.dst(v), zero, mach.Const(0)).Flags |= nfp.NoCC
}
