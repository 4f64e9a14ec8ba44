package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// value selects value j of b.
func (s *selector) value(b *ir.Block, j int) {
	v := b.Values[j]
	if s.uses[v.ID] == 0 && !v.Op.Is(ir.Effect) || s.fused[v.ID] || isCheap(v) {
		return
	}
	switch v.Op {
	case ir.OpAdd, ir.OpSub:
		s.sum(v, s.highOf(b, j))
	case ir.OpAddHi, ir.OpSubHi:
		if s.reg[v.ID].Kind == nfp.None { // else done with its low half
			s.sumHi(v, none)
		}
	case ir.OpAnd, ir.OpOr:
		s.logic(v)
	case ir.OpXor:
		s.xor(v)
	case ir.OpMul:
		s.multiply(s.dst(v), none, v)
	case ir.OpMulWide:
		low, high := s.tuplePart(v, 0), s.tuplePart(v, 1)
		s.multiply(low, high, v)
	case ir.OpShl, ir.OpShr, ir.OpSar, ir.OpFunnel:
		s.shifted(v)
	case ir.OpSExt8:
		s.extend(v, 24)
	case ir.OpSExt16:
		s.extend(v, 16)
	case ir.OpBSwap:
		s.byteSwap(s.dst(v), s.word(v.Args[0]), v.Int)
	case ir.OpSelect:
		s.choose(v)
	case ir.OpPart:
		s.part(v)
	case ir.OpPacketStart:
		s.packetStart(v)
	case ir.OpPacketLen:
		s.packetLen(s.dst(v))
	case ir.OpCtxLoad:
		s.ctxLoad(v)
	case ir.OpCtxStore:
		s.ctxStore(v)
	case ir.OpCtxAddr: // at its parts
	case ir.OpMapValueAddr:
		s.mapAddr(v)
	case ir.OpLoad, ir.OpStore, ir.OpRead, ir.OpWrite, ir.OpAtomic:
		s.memory(v)
	case ir.OpCallHelper:
		s.helper(v)
	case ir.OpCallFunc:
		s.call(v)
	case ir.OpTailCall:
		s.tailCall(v)
	default:
		if !isCompare(v.Op) {
			panic("select: cannot select " + v.Long())
		}
		s.truth(v)
	}
}

// tuplePart returns the register of part i of v, none if the part is unused.
func (s *selector) tuplePart(v *ir.Value, i int) nfp.Operand {
	if s.used[v.ID]>>i&1 == 0 {
		return none
	}
	if s.xfers.stays(v, i) {
		return mach.Xfer(int(s.xfers.base[v.ID]) + i)
	}
	for len(s.parts[v.ID]) <= i {
		s.parts[v.ID] = append(s.parts[v.ID], none)
	}
	if s.parts[v.ID][i] == none {
		s.parts[v.ID][i] = s.newReg()
	}
	return s.parts[v.ID][i]
}

// orNew returns r, or a new register if r is none.
func (s *selector) orNew(r nfp.Operand) nfp.Operand {
	if r == none {
		return s.newReg()
	}
	return r
}

// part names a part of a Tuple: the same register.
func (s *selector) part(v *ir.Value) {
	t := v.Args[0]
	switch {
	case t.Op == ir.OpCtxAddr:
		s.load(s.dst(v), uint32(1-v.Int)) // the context's address in ir.Eval
	case t.Op == ir.OpMapValueAddr && v.Int == 1:
		s.mapBase(v)
	default:
		s.reg[v.ID] = s.tuplePart(t, int(v.Int))
	}
}

// mapAddr is the low word of the address of a map's value: its offset from the
// first one.
func (s *selector) mapAddr(v *ir.Value) {
	d := s.tuplePart(v, 0)
	switch {
	case d == none:
	case len(v.Args) == 0:
		s.load(d, uint32(v.Int))
	case v.Int == 0:
		s.moveValue(d, v.Args[0])
	default:
		s.alu(nfp.ALUAdd, d, s.word(v.Args[0]), s.operandOrWordConst(uint32(v.Int)))
	}
}

// mapBase is the high word: bits 39:8 of the map's base, which loading fills in or
// the firmware keeps in a register.
func (s *selector) mapBase(v *ir.Value) {
	t := v.Args[0]
	if s.env.profile.DirectMap {
		s.isDirect(t.Sym)
		s.reg[v.ID] = mach.GPRB(firmware.MapRegister)
		return
	}
	low := s.emit(nfp.Inst{Op: nfp.OpImmed, Dst: s.dst(v)})
	low.Reloc, low.Sym = nfp.RelocMapBase, t.Sym
	high := s.emit(nfp.Inst{Op: nfp.OpImmed, Fn: nfp.ImmedWord, Amount: 16, Dst: s.dst(v)})
	high.Reloc, high.Sym = nfp.RelocMapBase1, t.Sym
}

// highOf returns the value after value j if it is the high half of the same sum.
func (s *selector) highOf(b *ir.Block, j int) *ir.Value {
	v := b.Values[j]
	hi := ir.OpAddHi
	if v.Op == ir.OpSub {
		hi = ir.OpSubHi
	}
	for _, w := range b.Values[j+1:] {
		if isCheap(w) || s.uses[w.ID] == 0 && !w.Op.Is(ir.Effect) {
			continue
		}
		if w.Op == hi && w.Args[0] == v.Args[0] && w.Args[1] == v.Args[1] {
			return w
		}
		return nil
	}
	return nil
}

// sum is an addition or subtraction of words, and of the high words too if high is not
// nil.
func (s *selector) sum(v, high *ir.Value) {
	if high != nil {
		s.sumHi(high, s.dst(v))
		return
	}
	op, a, b := s.sumOperands(v.Op == ir.OpSub, v.Args[0], v.Args[1])
	s.alu(op, s.dst(v), a, b)
}

// sumOperands chooses between + and -: x + c is x - (2^32-c) with the same carry,
// c being neither 0 nor to be loaded.
func (s *selector) sumOperands(sub bool, x, y *ir.Value) (nfp.ALUOp, nfp.Operand, nfp.Operand) {
	if _, ok := constOf(x); ok && !sub {
		x, y = y, x
	}
	if n, ok := constOf(y); ok && n > 255 && -n <= 255 {
		sub = !sub
		return sumOp(sub), s.operandOrWord(x, true), mach.Const(-n)
	}
	b := s.operand(y)
	return sumOp(sub), s.operandOrWord(x, b.Kind == nfp.Const), b
}

// operandOrWord is operand, or word if a constant cannot be encoded.
func (s *selector) operandOrWord(v *ir.Value, word bool) nfp.Operand {
	if word {
		return s.word(v)
	}
	return s.operand(v)
}

func sumOp(sub bool) nfp.ALUOp {
	if sub {
		return nfp.ALUSub
	}
	return nfp.ALUAdd
}

// sumHi is the high half of a sum; the low half goes to low, which may be none.
func (s *selector) sumHi(v *ir.Value, low nfp.Operand) {
	sub := v.Op == ir.OpSubHi
	xh, yh := v.Args[2], v.Args[3]
	op, a, b := s.sumOperands(sub, v.Args[0], v.Args[1])
	// The same choice above: xh + c + C is xh - (2^32-1-c) - !C.
	if _, ok := constOf(xh); ok && !sub {
		xh, yh = yh, xh
	}
	var ha, hb nfp.Operand
	if n, ok := constOf(yh); ok && n > 255 && ^n <= 255 {
		sub = !sub
		ha, hb = s.word(xh), mach.Const(^n)
	} else {
		hb = s.operand(yh)
		ha = s.operandOrWord(xh, hb.Kind == nfp.Const)
	}
	s.alu(op, low, a, b)
	carry := nfp.ALUAddC
	if sub {
		carry = nfp.ALUSubC
	}
	s.alu(carry, s.dst(v), ha, hb)
}

// logic is and, or: with a shift folded in, a field of whole bytes, or plain.
func (s *selector) logic(v *ir.Value) {
	op, shf := nfp.ALUOr, nfp.ShfOr
	if v.Op == ir.OpAnd {
		op, shf = nfp.ALUAnd, nfp.ShfAnd
	}
	for i, x := range v.Args {
		if !s.fused[x.ID] {
			continue
		}
		n, _ := constOf(x.Args[1])
		kind := nfp.ShiftLeft
		if x.Op == ir.OpShr {
			kind = nfp.ShiftRight
		}
		other := v.Args[1-i]
		if c, ok := constOf(other); ok && c == 0xffff {
			s.field(s.dst(v), s.word(x.Args[0]), 0b0011, kind, uint8(n&31), true)
			return
		}
		s.shift(shf, s.dst(v), s.operand(other), s.word(x.Args[0]), kind, uint8(n&31))
		return
	}
	if n, ok := constOf(v.Args[1]); ok && v.Op == ir.OpAnd && n > 255 {
		if mask, ok := byteMask(n); ok {
			s.field(s.dst(v), s.word(v.Args[0]), mask, nfp.ShiftNone, 0, true)
			return
		}
	}
	s.alu(op, s.dst(v), s.operand(v.Args[0]), s.operand(v.Args[1]))
}

// byteMask returns the bytes of n that are all ones, if the others are zero.
func byteMask(n uint32) (mask uint8, ok bool) {
	for i := range 4 {
		switch n >> (8 * i) & 0xff {
		case 0xff:
			mask |= 1 << i
		case 0:
		default:
			return 0, false
		}
	}
	return mask, true
}

func (s *selector) xor(v *ir.Value) {
	x, y := v.Args[0], v.Args[1]
	if n, ok := constOf(y); ok && n == ^uint32(0) {
		s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUNotB), Dst: s.dst(v), B: s.word(x)})
		return
	}
	s.alu(nfp.ALUXor, s.dst(v), s.operand(x), s.operand(y))
}

// multiply is the step sequence of a 32 x 32 product; high may be none.
func (s *selector) multiply(low, high nfp.Operand, v *ir.Value) {
	x, y := s.word(v.Args[0]), s.operand(v.Args[1])
	x = s.apart(x, y)
	for _, step := range [...]nfp.MulStep{nfp.MulStart, nfp.Mul32Step1, nfp.Mul32Step1 + 1, nfp.Mul32Step1 + 2, nfp.Mul32Step1 + 3} {
		in := s.emit(nfp.Inst{Op: nfp.OpMul, Fn: uint8(step), A: x, B: y})
		in.Glue = step != nfp.MulStart
	}
	s.emit(nfp.Inst{Op: nfp.OpMul, Fn: uint8(nfp.Mul32Last), Dst: low}).Glue = true
	if high != none {
		s.emit(nfp.Inst{Op: nfp.OpMul, Fn: uint8(nfp.Mul32Last2), Dst: high}).Glue = true
	}
}

// shifted is a shift or funnel shift of words.
func (s *selector) shifted(v *ir.Value) {
	amount := v.Args[len(v.Args)-1]
	d := s.dst(v)
	if n, ok := constOf(amount); ok {
		s.shiftConst(v, d, uint8(n&31))
		return
	}
	n := s.word(amount)
	switch v.Op {
	case ir.OpShl:
		s.shiftBy(d, s.word(v.Args[0]), n, nfp.ShiftLeft)
	case ir.OpShr:
		s.shiftBy(d, s.word(v.Args[0]), n, nfp.ShiftRight)
	case ir.OpFunnel:
		s.funnel(d, s.word(v.Args[0]), s.word(v.Args[1]), s.low5(n))
	case ir.OpSar:
		x := s.word(v.Args[0])
		// The instruction before gives the amount (port A) and the sign (bit 31 of
		// its result: the amount's own is 0).
		s.alu(nfp.ALUOr, none, s.low5(n), x).PortA = true
		s.emit(nfp.Inst{Op: nfp.OpShf, Fn: uint8(nfp.ShfAsr), Dst: d, B: x, Shift: nfp.ShiftRight}).Glue = true
	}
}

// low5 is n modulo 32 in a new register.
func (s *selector) low5(n nfp.Operand) nfp.Operand {
	t := s.newReg()
	s.alu(nfp.ALUAnd, t, n, mach.Const(31))
	return t
}

// shiftBy is d := x << n or x >> n, of n the low 5 bits count.
func (s *selector) shiftBy(d, x, n nfp.Operand, kind nfp.ShiftKind) {
	s.alu(nfp.ALUOr, none, s.inRegister(n), mach.Const(0)).PortA = true
	s.shift(nfp.ShfB, d, none, x, kind, 0).Glue = true
}

// funnel is d := low word of hi:lo >> n, n below 32.
func (s *selector) funnel(d, hi, lo, n nfp.Operand) {
	hi = s.apart(hi, lo)
	s.alu(nfp.ALUOr, none, s.inRegister(n), mach.Const(0)).PortA = true
	s.shift(nfp.ShfB, d, hi, lo, nfp.ShiftDouble, 0).Glue = true
}

func (s *selector) shiftConst(v *ir.Value, d nfp.Operand, n uint8) {
	last := s.word(v.Args[max(0, len(v.Args)-2)])
	switch {
	case n == 0:
		s.move(d, last)
	case v.Op == ir.OpShl:
		s.shift(nfp.ShfB, d, none, last, nfp.ShiftLeft, n)
	case v.Op == ir.OpShr:
		s.shift(nfp.ShfB, d, none, last, nfp.ShiftRight, n)
	case v.Op == ir.OpFunnel && v.Args[0] == v.Args[1]:
		s.shift(nfp.ShfB, d, none, last, nfp.ShiftRotate, n)
	case v.Op == ir.OpFunnel:
		s.shift(nfp.ShfB, d, s.word(v.Args[0]), last, nfp.ShiftDouble, n)
	default:
		s.alu(nfp.ALUOr, none, last, mach.Const(0))
		s.emit(nfp.Inst{Op: nfp.OpShf, Fn: uint8(nfp.ShfAsr), Dst: d, B: last, Shift: nfp.ShiftRight, Amount: n}).Glue = true
	}
}

// extend shifts up and arithmetically down again; the first shift's result has
// the sign that the second fills with.
func (s *selector) extend(v *ir.Value, n uint8) {
	t := s.newReg()
	s.shift(nfp.ShfB, t, none, s.word(v.Args[0]), nfp.ShiftLeft, n)
	s.emit(nfp.Inst{Op: nfp.OpShf, Fn: uint8(nfp.ShfAsr), Dst: s.dst(v), B: t, Shift: nfp.ShiftRight, Amount: n}).Glue = true
}

// byteSwap reverses the low 16 or all 32 bits.
func (s *selector) byteSwap(d, x nfp.Operand, width int64) {
	if width == 16 {
		s.field(d, x, 0b0001, nfp.ShiftRight, 8, true)
		s.field(d, x, 0b0010, nfp.ShiftLeft, 8, false)
		return
	}
	s.shift(nfp.ShfB, d, none, x, nfp.ShiftRotate, 8) // bytes 3 and 1 are right
	s.field(d, x, 0b0101, nfp.ShiftRotate, 24, false)
}

// choose is cond ? x : y by a branch round the second of two copies.
func (s *selector) choose(v *ir.Value) {
	cond, x, y := v.Args[0], v.Args[1], v.Args[2]
	s.moveValue(s.dst(v), x)
	done, other := s.block(), s.block()
	s.cond(cond, done, other)
	s.begin(other)
	s.moveValue(s.dst(v), y)
	s.jump(done)
	s.begin(done)
}

// truth is 1 or 0.
func (s *selector) truth(v *ir.Value) {
	if s.truthByCarry(v) {
		return
	}
	done, other := s.block(), s.block()
	d := s.newReg() // with v's own register cond would take it for computed
	s.reg[v.ID] = none
	s.load(d, 1)
	s.cond(v, done, other)
	s.reg[v.ID] = d
	s.begin(other)
	s.load(d, 0)
	s.jump(done)
	s.begin(done)
}
