package jit

import (
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/ir"
)

// cond ends the block: to yes where v is not 0, else to no. Comparisons set the
// condition codes directly; of a subtraction C says "not below", unsigned, and
// N != V "less", signed.
func (s *selector) cond(v *ir.Value, yes, no int32) {
	test := func(c nfp.Cond) {
		s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(c)}).To = yes
		s.jump(no)
	}
	if n, ok := constOf(v); ok {
		if n != 0 {
			no = yes
		}
		s.jump(no)
		return
	}
	if !s.isTest(v) {
		s.alu(nfp.ALUOr, none, s.word(v), constant(0))
		test(nfp.CondNE)
		return
	}
	x, y := v.Args[0], v.Args[1]
	zero := false
	if n, ok := constOf(y); ok && n == 0 {
		zero = true
	}
	switch v.Op {
	case ir.OpEQ, ir.OpNE:
		switch {
		case zero && s.fused[x.ID] && v.Op == ir.OpEQ:
			s.cond(x, no, yes)
			return
		case zero && s.fused[x.ID]:
			s.cond(x, yes, no)
			return
		case zero:
			s.alu(nfp.ALUOr, none, s.word(x), constant(0))
		default:
			s.compare(x, y)
		}
		if v.Op == ir.OpEQ {
			test(nfp.CondEQ)
		} else {
			test(nfp.CondNE)
		}
	case ir.OpULT:
		s.compare(x, y)
		test(nfp.CondCC)
	case ir.OpULE:
		s.compare(y, x)
		test(nfp.CondCS)
	case ir.OpSLT:
		s.compare(x, y)
		test(nfp.CondLT)
	case ir.OpSLE:
		s.compare(y, x)
		test(nfp.CondGE)
	case ir.OpTest:
		s.alu(nfp.ALUAnd, none, s.operand(x), s.operand(y))
		test(nfp.CondNE)
	case ir.OpULT64:
		s.compareWide(v)
		test(nfp.CondCC)
	case ir.OpSLT64:
		s.compareWide(v)
		test(nfp.CondLT)
	}
}

// isTest reports whether v is a comparison to be made here: one fused with this
// use, or the one that truth makes a number of.
func (s *selector) isTest(v *ir.Value) bool {
	return isCompare(v.Op) && (s.fused[v.ID] || s.reg[v.ID].Kind == nfp.None)
}

// compare sets the codes of x - y.
func (s *selector) compare(x, y *ir.Value) {
	s.alu(nfp.ALUSub, none, s.operand(x), s.operand(y))
}

// compareWide sets C, N and V of a 64-bit subtraction.
func (s *selector) compareWide(v *ir.Value) {
	xl, xh, yl, yh := s.operand(v.Args[0]), s.operand(v.Args[1]), s.operand(v.Args[2]), s.operand(v.Args[3])
	if xl.Kind == nfp.Const && yl.Kind == nfp.Const {
		xl = s.number(xl.N)
	}
	if xh.Kind == nfp.Const && yh.Kind == nfp.Const {
		xh = s.number(xh.N)
	}
	s.alu(nfp.ALUSub, none, xl, yl)
	s.alu(nfp.ALUSubC, none, xh, yh)
}
