package jit

import (
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/ir"
)

// Packet vector words (docs/firmware-contract.md section 3).
const (
	pvLength = 0 // bits 13:0
	pvStart  = 2
	pvFlags  = 4 // bit 4: a queue was selected
	pvQueue  = 6 // 31:23 receive queue, 7:0 selected queue
	pvPort   = 7 // ingress_ifindex
)

const pvLengthMask = 0x3fff

func (s *selector) packetLen(d nfp.Operand) {
	s.alu(nfp.ALUAnd, d, s.number(pvLengthMask), lm(1, pvLength))
}

func (s *selector) ctxLoad(v *ir.Value) {
	d := s.dst(v)
	switch v.Sym {
	case "data", "data_meta":
		s.move(d, lm(1, pvStart))
	case "data_end":
		n := s.newReg()
		s.packetLen(n)
		s.alu(nfp.ALUAdd, d, n, lm(1, pvStart))
	case "len":
		s.packetLen(d)
	case "rx_queue_index":
		s.shift(nfp.ShfB, d, none, lm(1, pvQueue), nfp.ShiftRight, 23)
	case "ingress_ifindex":
		s.move(d, lm(1, pvPort))
	default:
		s.unsupported("ctx-field", "firmware "+s.env.profile.Name+" does not give programs "+v.Sym, "")
		s.load(d, 0)
	}
}

// ctxStore selects the receive queue: above 255 it is 0x40, as the Linux driver has it.
func (s *selector) ctxStore(v *ir.Value) {
	if v.Sym != "rx_queue_index" || !s.env.profile.QueueSelect {
		s.unsupported("ctx-field", "firmware "+s.env.profile.Name+" does not let programs write "+v.Sym, "")
		return
	}
	x, q := s.word(v.Args[0]), s.newReg()
	s.move(q, x)
	fits, other := s.block(), s.block()
	s.alu(nfp.ALUSub, none, constant(255), x)
	s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondCS)}).To = fits
	s.jump(other)
	s.begin(other)
	s.load(q, 0x40)
	s.jump(fits)
	s.begin(fits)
	s.field(lm(1, pvQueue), q, 1, nfp.ShiftNone, 0, false)
	s.alu(nfp.ALUOr, lm(1, pvFlags), s.number(1<<4), lm(1, pvFlags))
}

func (s *selector) memory(v *ir.Value) {
	switch {
	case v.Space == ir.Stack:
		s.stackAccess(v)
	case v.Op == ir.OpAtomic:
		s.atomic(v)
	case v.Big:
		s.bigAccess(v)
	default:
		s.access(v, s.place(v))
	}
}

// place is where a memory command goes: its mode and address operands. In mode 1
// the left one is shifted.
type place struct {
	mode uint8
	a, b nfp.Operand
}

// data is the arguments behind the address.
func data(v *ir.Value) []*ir.Value {
	if v.Space == ir.MapMem {
		return v.Args[2:]
	}
	return v.Args[1:]
}

// place is the address of an access.
func (s *selector) place(v *ir.Value) place {
	if v.Space == ir.MapMem {
		return place{1, s.word(v.Args[1]), s.word(v.Args[0])}
	}
	if n, ok := smallOffset(v.Args[0]); ok {
		return place{4, s.word(v.Args[0].Args[0]), constant(n)}
	}
	return place{4, s.word(v.Args[0]), constant(0)}
}

// memory commands of the compiler, nfp-isa 13.1: target and action, token
var (
	cmdRead32Swap  = nfp.Command{Code: 0x5c, Token: 2}
	cmdRead32      = nfp.Command{Code: 0x5c}
	cmdRead8       = nfp.Command{Code: 0x43, Token: 1}
	cmdWrite8Swap  = nfp.Command{Code: 0x42, Token: 2}
	cmdWrite32     = nfp.Command{Code: 0x5f}
	cmdAdd         = nfp.Command{Code: 0x47}
	cmdSet         = nfp.Command{Code: 0x45}
	cmdClr         = nfp.Command{Code: 0x46}
	cmdXor         = nfp.Command{Code: 0x4f}
	cmdSwap        = nfp.Command{Code: 0x44, Token: 1}
	cmdCompareSwap = nfp.Command{Code: 0x43, Token: 3}
)

// command issues a memory command over transfer registers 0 and up and waits for it.
func (s *selector) command(c nfp.Command, p place, units int) {
	c.Len = uint8(units - 1)
	c.Mode = p.mode
	c.Sig = s.env.signal
	s.emit(nfp.Inst{Op: nfp.OpCmd, A: p.a, B: p.b, Cmd: c})
}

// access is a plain load or store of packet or map.
func (s *selector) access(v *ir.Value, p place) {
	switch v.Op {
	case ir.OpLoad:
		s.command(cmdRead32Swap, p, (int(v.Size)+3)/4)
		switch v.Size {
		case 8:
			s.take(s.tuplePart(v, 0), 0)
			s.take(s.tuplePart(v, 1), 1)
		case 4:
			s.take(s.dst(v), 0)
		default:
			s.field(s.dst(v), xfer(0), 1<<v.Size-1, nfp.ShiftNone, 0, true)
		}
	case ir.OpRead:
		s.command(cmdRead32Swap, p, int(v.Int))
		for i := range int(v.Int) {
			s.take(s.tuplePart(v, i), i)
		}
	default:
		for i, w := range data(v) {
			s.give(i, w)
		}
		for at := 0; at < int(v.Size); at += 8 { // what write8 moves at once
			if at > 0 {
				p = s.further(p, 8)
			}
			in := cmdWrite8Swap
			in.Xfer = uint8(at / 4)
			s.command(in, p, min(int(v.Size)-at, 8))
		}
	}
}

// further is a place n bytes on.
func (s *selector) further(p place, n uint32) place {
	t := s.newReg()
	if p.mode == 1 {
		s.alu(nfp.ALUAdd, t, p.b, constant(n))
		return place{1, p.a, t}
	}
	if p.b.Kind == nfp.Const && p.b.N+n <= maxCommandConst {
		p.b.N += n
		return p
	}
	s.alu(nfp.ALUAdd, t, p.a, constant(n))
	return place{4, t, p.b}
}

// take copies a transfer register to d, unless that is none.
func (s *selector) take(d nfp.Operand, i int) {
	if d != none {
		s.move(d, xfer(i))
	}
}

// give copies v to a transfer register.
func (s *selector) give(i int, v *ir.Value) {
	if n, ok := constOf(v); ok {
		in := nfp.Inst{Op: nfp.OpImmed, Dst: xfer(i)}
		if encodeImmed(&in, n) {
			s.emit(in)
			return
		}
	}
	s.move(xfer(i), s.word(v))
}

// bigAccess reaches words that lie in memory big-endian. Whole aligned words move
// without the swap; pieces within a word whose place in it is known are taken out
// of the word; everything else goes byte by byte, the byte that the program sees
// at address a lying at a XOR 3 (tables begin at a multiple of four).
func (s *selector) bigAccess(v *ir.Value) {
	p := s.place(v)
	known, phase := v.Align >= 4, int(v.Phase)%4
	size := s.bytes(v)
	load := v.Op == ir.OpLoad || v.Op == ir.OpRead
	dst := func(i int) nfp.Operand {
		if v.Type == ir.Tuple {
			return s.tuplePart(v, i)
		}
		return s.dst(v)
	}
	switch {
	case known && phase == 0 && size%4 == 0 && load:
		s.command(cmdRead32, p, size/4)
		for i := range size / 4 {
			s.take(dst(i), i)
		}
	case known && phase == 0 && size%4 == 0:
		for i, w := range data(v) {
			s.give(i, w)
		}
		s.command(cmdWrite32, p, size/4)
	case known && load && phase+size <= 4:
		t := s.newReg()
		s.alu(nfp.ALUAndNotB, t, p.b, constant(3))
		s.command(cmdRead32, place{1, p.a, t}, 1)
		s.field(s.dst(v), xfer(0), 1<<size-1, nfp.ShiftRight, uint8(8*phase), true)
	case load:
		for i := range size {
			s.readByte(p, i)
			if d := dst(i / 4); d != none {
				s.field(d, xfer(0), 1<<(i%4), nfp.ShiftRight, uint8(24-8*(i%4)), i%4 == 0)
			}
		}
	default:
		for i := range size {
			w := s.word(data(v)[i/4])
			s.shiftTo(xfer(0), w, uint8(8*(i%4)))
			s.command(cmdWrite8Swap, s.turned(p, i), 1)
		}
	}
}

// readByte brings byte i behind the place, turned, to bits 31:24 of transfer register 0.
func (s *selector) readByte(p place, i int) { s.command(cmdRead8, s.turned(p, i), 1) }

// turned is the address of byte i behind the place, XOR 3.
func (s *selector) turned(p place, i int) place {
	low := p.b
	if i > 0 {
		low = s.plus(low, i)
	}
	t := s.newReg()
	s.alu(nfp.ALUXor, t, low, constant(3))
	return place{1, p.a, t}
}

// shiftTo is d := x >> n.
func (s *selector) shiftTo(d, x nfp.Operand, n uint8) {
	if n == 0 {
		s.move(d, x)
		return
	}
	s.shift(nfp.ShfB, d, none, x, nfp.ShiftRight, n)
}
