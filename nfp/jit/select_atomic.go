package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Atomics on map words are commands of the memory engine, which takes words as
// big-endian. Counter words (Value.Big) are stored so, and every operation works. The
// engine sees the bytes of other words reversed. And, or, xor, exchange and
// compare-exchange work on reversed operands just as well; an addition becomes a loop
// around a compare-exchange.
//
// In 64 bits the engine only adds. And, or and xor whose old value is unused become
// two operations on words. An addition to words that are not counters becomes two
// loops, the second of which adds the carry of the first. Other contexts may then
// see the halves change one after the other. All other 64-bit operations are refused
// (atomic64).
//
// Assumed where published sources are silent, as in nfp/sim: test_ forms return the
// old value in the transfer registers the operand came from; test_compare_write of
// length 2 takes the expected value, then the new one.
func (s *selector) atomic(v *ir.Value) {
	op := ir.AtomicOp(v.Int).Base()
	fetch := v.Type == ir.I32 && s.uses[v.ID] > 0 || v.Type == ir.Tuple && s.used[v.ID] != 0
	a := &atomicSite{s: s, v: v, op: op, p: s.place(v), args: data(v)}
	switch {
	case v.Size == 4:
		old := none
		if fetch {
			old = s.dst(v)
		}
		a.word(a.p, a.args[0], a.arg(1), old)
	case op == ir.AtomicAdd && v.Big && !fetch && s.postAdd(a):
	case op == ir.AtomicAdd && v.Big:
		c, base, ins := nfp.CmdAdd, scratchXfer, 2
		if fetch {
			c.Token = 1
		} else {
			base, ins = s.outXfers(2), 0
		}
		s.give(base, a.args[0])
		s.give(base+1, a.args[1])
		s.command(c, a.p, 5, base, ins, 2)
		if fetch {
			s.take(s.tuplePart(v, 0), base)
			s.take(s.tuplePart(v, 1), base+1)
		}
	case fetch || op >= ir.AtomicXchg:
		s.unsupported("atomic64", "64-bit atomic "+ir.AtomicOp(v.Int).String()+" on a map value", "")
		for i := range 2 {
			if d := s.tuplePart(v, i); d != none {
				s.load(d, 0)
			}
		}
	case op == ir.AtomicAdd:
		a.addPlain64()
	default:
		a.word(a.p, a.args[0], nil, none)
		a.word(s.further(a.p, 4), a.args[1], nil, none)
	}
}

// override is a register that holds the fields that an indirect reference replaces
// besides its data, valid in the block that loaded it.
type override struct {
	block int32
	code  uint32
	reg   nfp.Operand
}

// Indirect references of additions with immediate data (docs/isa-notes.md):
// the data in bits 31:16, the length overridden with bit 3, and bit 2 for 64 bits.
const (
	overrideAdd   = 0x890
	overrideAdd64 = 0xc90
)

// postAdd adds a 16-bit number encoded in the command itself. No wait for such an
// addition is needed: it reads no register of the program, and later reads of the
// counter by the same program are issued after it.
func (s *selector) postAdd(a *atomicSite) bool {
	code := uint32(overrideAdd)
	if a.v.Size == 8 {
		code = overrideAdd64
		if n, ok := constOf(a.args[1]); !ok || n != 0 {
			return false
		}
	}
	if widthOf(a.args[0], 0) > 16 {
		return false
	}
	if o := &s.override; o.reg == none || o.block != s.cur || o.code != code {
		*o = override{s.cur, code, s.number(code)}
	}
	x := s.operand(a.args[0])
	p := place{a.p.mode, s.inRegister(a.p.a), s.inRegister(a.p.b), a.p.mem}
	s.shift(nfp.ShfOr, none, s.override.reg, x, nfp.ShiftLeft, 16)
	in := s.command(nfp.CmdAddImm, p, 1, 0, 0, 0)
	in.Flags |= nfp.Indirect
	in.Glue = true
	return true
}

type atomicSite struct {
	s    *selector
	v    *ir.Value
	op   ir.AtomicOp
	p    place
	args []*ir.Value // operand, expected
}

func (a *atomicSite) arg(i int) *ir.Value {
	if i < len(a.args) {
		return a.args[i]
	}
	return nil
}

// word is a 32-bit operation; old may be none.
func (a *atomicSite) word(p place, x, expected *ir.Value, old nfp.Operand) {
	s := a.s
	if a.op == ir.AtomicAdd && !a.v.Big {
		a.addLoop(p, s.operand(x), s.orNew(old))
		return
	}
	if a.op == ir.AtomicAdd && old == none && s.postAdd(a) {
		return
	}
	var c nfp.Command
	units := 1
	switch a.op {
	case ir.AtomicAdd:
		c = nfp.CmdAdd
	case ir.AtomicOr:
		c = nfp.CmdSet
	case ir.AtomicXor:
		c = nfp.CmdXor
	case ir.AtomicAnd:
		c = nfp.CmdClr
	case ir.AtomicXchg:
		c = nfp.CmdSwap
	default:
		c, units = nfp.CmdCompareSwap, 2
	}
	if old != none {
		c.Token |= 1
	}
	base, ins := scratchXfer, units
	if c.Token&1 == 0 {
		base, ins = s.outXfers(units), 0
	}
	value := a.turn(s.word(x))
	switch a.op {
	case ir.AtomicAnd:
		s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUNotB), Dst: mach.Xfer(base), B: value})
	case ir.AtomicCmpXchg:
		s.move(mach.Xfer(base), a.turn(s.word(expected)))
		s.move(mach.Xfer(base+1), value)
	default:
		s.move(mach.Xfer(base), value)
	}
	s.command(c, p, units, base, ins, units)
	switch {
	case old == none:
	case a.v.Big:
		s.take(old, base)
	default:
		s.byteSwap(old, mach.Xfer(base), 32)
	}
}

// turn returns x in the byte order that the memory engine needs.
func (a *atomicSite) turn(x nfp.Operand) nfp.Operand {
	if a.v.Big {
		return x
	}
	t := a.s.newReg()
	a.s.byteSwap(t, x, 32)
	return t
}

// addLoop adds x to a little-endian word: read, add, and write if the word is
// still what was read. old receives what it was; condition codes are lost.
func (a *atomicSite) addLoop(p place, x, old nfp.Operand) {
	s := a.s
	again, done := s.block(), s.block()
	s.jump(again)
	s.begin(again)
	const base = scratchXfer
	s.command(nfp.CmdRead32Swap, p, 1, base, 1, 0)
	s.take(old, base)
	seen, sum, turned := s.newReg(), s.newReg(), s.newReg()
	s.byteSwap(seen, old, 32)
	s.alu(nfp.ALUAdd, sum, old, x)
	s.byteSwap(turned, sum, 32)
	s.move(mach.Xfer(base), seen)
	s.move(mach.Xfer(base+1), turned)
	s.command(nfp.CmdCompareSwap, p, 2, base, 2, 2)
	s.alu(nfp.ALUSub, none, seen, mach.Xfer(base))
	s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondNE)}).To = again
	s.jump(done)
	s.begin(done)
}

// addPlain64 adds to the low word, then the high operand and the carry to the
// high word.
func (a *atomicSite) addPlain64() {
	s := a.s
	low, high := s.operand(a.args[0]), s.operand(a.args[1])
	old := s.newReg()
	a.addLoop(a.p, low, old)
	more := s.newReg()
	if high.Kind == nfp.Const {
		high = s.number(high.N)
	}
	s.alu(nfp.ALUAdd, none, old, low)
	s.alu(nfp.ALUAddC, more, high, mach.Const(0))
	a.addLoop(s.further(a.p, 4), more, s.newReg())
}
