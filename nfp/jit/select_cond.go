package jit

import (
	"math/bits"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
)

// cond ends the block: to yes if v is not 0, else to no. Comparisons set the condition
// codes directly; after a subtraction C means "not below", unsigned, and N != V
// "less", signed. Single bits and single bytes are tested by the branch itself, a
// field of two bytes by two branches.
func (s *selector) cond(v *ir.Value, yes, no int32) {
	if n, ok := constOf(v); ok {
		if n != 0 {
			no = yes
		}
		s.jump(no)
		return
	}
	if !s.isTest(v) {
		s.testZero(v)
		s.test(nfp.CondNE, yes, no)
		return
	}
	x, y := v.Args[0], v.Args[1]
	switch v.Op {
	case ir.OpEQ:
		s.equal(x, y, yes, no)
	case ir.OpNE:
		s.equal(x, y, no, yes)
	case ir.OpULT:
		s.compare(x, y)
		s.test(nfp.CondCC, yes, no)
	case ir.OpULE:
		s.compare(y, x)
		s.test(nfp.CondCS, yes, no)
	case ir.OpSLT:
		if n, ok := constOf(y); ok && n == 0 {
			s.testBit(s.word(x), 31, yes, no)
			return
		}
		s.compare(x, y)
		s.test(nfp.CondLT, yes, no)
	case ir.OpSLE:
		s.compare(y, x)
		s.test(nfp.CondGE, yes, no)
	case ir.OpTest:
		s.testMask(x, y, yes, no)
	case ir.OpULT64:
		s.compareWide(v)
		s.test(nfp.CondCC, yes, no)
	case ir.OpSLT64:
		s.compareWide(v)
		s.test(nfp.CondLT, yes, no)
	}
}

// test ends the block with a branch on the condition codes.
func (s *selector) test(c nfp.Cond, yes, no int32) {
	in := s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(c)})
	in.To, in.Likely = yes, s.likely
	s.jump(no)
}

// likelyField predicts a comparison of a packet field with a constant: it expects the
// EtherType of IPv4 and no VLAN tag. n has the bytes in packet order.
func likelyField(n uint32) int8 {
	switch n {
	case 0x0008:
		return 1
	case 0x0081, 0xa888:
		return -1
	}
	return 0
}

// testBit ends the block: to yes if the bit is set.
func (s *selector) testBit(x nfp.Operand, bit int, yes, no int32) {
	s.emit(nfp.Inst{Op: nfp.OpBrBit, Fn: 1, A: x, Imm: uint32(bit)}).To = yes
	s.jump(no)
}

// testByte ends the block: to yes if byte i of x is n.
func (s *selector) testByte(x nfp.Operand, i int, n uint32, yes, no int32) {
	in := s.emit(nfp.Inst{Op: nfp.OpBrByte, Fn: 1, A: x, Byte: uint8(i), Imm: n})
	in.To, in.Likely = yes, s.likely
	s.jump(no)
}

// testZero sets Z if v is 0.
func (s *selector) testZero(v *ir.Value) {
	s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUB), B: s.word(v)})
}

// testMask ends the block: to yes if x & y is not 0.
func (s *selector) testMask(x, y *ir.Value, yes, no int32) {
	if n, ok := constOf(y); ok && isBit(n) {
		bit := bits.TrailingZeros32(n)
		if s.fused[x.ID] && x.Op == ir.OpShr {
			k, _ := constOf(x.Args[1])
			if bit += int(k & 31); bit > 31 {
				s.jump(no)
				return
			}
			x = x.Args[0]
		}
		s.testBit(s.word(x), bit, yes, no)
		return
	}
	s.alu(nfp.ALUAnd, none, s.operand(x), s.operand(y))
	s.test(nfp.CondNE, yes, no)
}

// equal ends the block: to yes if x = y.
func (s *selector) equal(x, y *ir.Value, yes, no int32) {
	n, ok := constOf(y)
	if ok && widthOf(x, 0) == 16 {
		s.likely = likelyField(n)
		defer func() { s.likely = 0 }()
	}
	switch {
	case ok && n == 0 && s.fused[x.ID]:
		s.isZero(x, yes, no)
		return
	case ok && n == 0:
		s.testZero(x)
	case ok && s.equalBytes(x, n, yes, no):
		return
	default:
		s.compare(x, y)
	}
	s.test(nfp.CondEQ, yes, no)
}

// isZero ends the block: to yes if x, which is computed here, is 0.
func (s *selector) isZero(x *ir.Value, yes, no int32) {
	switch {
	case isCompare(x.Op):
		s.cond(x, no, yes)
	case x.Op == ir.OpAnd:
		if w, at, size := s.fieldOf(x); size > 0 {
			s.testBytes(w, at, size, 0, yes, no)
			return
		}
		s.testMask(x.Args[0], x.Args[1], no, yes)
	case x.Op == ir.OpXor:
		s.compare(x.Args[0], x.Args[1])
		s.test(nfp.CondEQ, yes, no)
	default: // or
		if high := addressOf(x); high != nil {
			s.testZero(high)
		} else {
			s.alu(nfp.ALUOr, none, s.operand(x.Args[0]), s.operand(x.Args[1]))
		}
		s.test(nfp.CondEQ, yes, no)
	}
}

// addressOf returns the high word of a lookup's result, if x is the or of both words:
// bits 39:8 of a table's base are never 0, so that word alone decides.
func addressOf(x *ir.Value) *ir.Value {
	low, high := x.Args[0], x.Args[1]
	if low.Op != ir.OpPart || high.Op != ir.OpPart || low.Args[0] != high.Args[0] {
		return nil
	}
	if low.Int == 1 {
		low, high = high, low
	}
	call := low.Args[0]
	if call.Op != ir.OpCallHelper || call.Int != helperLookup || low.Int != 0 || high.Int != 1 {
		return nil
	}
	return high
}

// equalBytes compares fields of one or two bytes, if x is such a field.
func (s *selector) equalBytes(x *ir.Value, n uint32, yes, no int32) bool {
	w, at, size := s.fieldOf(x)
	if size == 0 {
		if width := widthOf(x, 0); width > 16 || n <= 255 && width > 8 || isCheap(x) {
			return false
		} else if w, at, size = s.word(x), 0, 2; width <= 8 {
			size = 1
		}
	}
	s.testBytes(w, at, size, n, yes, no)
	return true
}

// testBytes ends the block: to yes if the field of size bytes, 1 or 2, from byte at is
// n.
func (s *selector) testBytes(w nfp.Operand, at, size int, n uint32, yes, no int32) {
	if n>>(8*size) != 0 {
		s.jump(no)
		return
	}
	for i := range size - 1 {
		next := s.block()
		s.testByte(w, at+i, n>>(8*i)&0xff, next, no)
		s.begin(next)
	}
	s.testByte(w, at+size-1, n>>(8*(size-1)), yes, no)
}

// fieldOf returns the whole bytes of a word that x, computed at its use, extracts: the
// word, the first byte and the number; size is 0 if x is no such field.
func (s *selector) fieldOf(x *ir.Value) (w nfp.Operand, at, size int) {
	if !s.fused[x.ID] || x.Op != ir.OpAnd {
		return none, 0, 0
	}
	switch n, _ := constOf(x.Args[1]); n {
	case 0xff:
		size = 1
	case 0xffff:
		size = 2
	default:
		return none, 0, 0
	}
	from := x.Args[0]
	if s.fused[from.ID] {
		k, _ := constOf(from.Args[1])
		if k &= 31; k%8 != 0 {
			return none, 0, 0
		} else if at = int(k / 8); at+size > 4 {
			return none, 0, 0
		}
		from = from.Args[0]
	}
	return s.word(from), at, size
}

// isTest reports whether v is a comparison for which code is generated at this use:
// one fused with the use, or the one whose result truth puts into a register.
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
	xh, xl = s.apart(xh, yh), s.apart(xl, yl)
	s.alu(nfp.ALUSub, none, xl, yl)
	s.alu(nfp.ALUSubC, none, xh, yh)
}
