package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

func (s *selector) packetLen(d nfp.Operand) {
	s.alu(nfp.ALUAnd, d, s.number(firmware.LengthMask), mach.LM(1, firmware.VectorLength))
}

func (s *selector) ctxLoad(v *ir.Value) {
	if isPacketStart(v) {
		s.packetStart(v)
		return
	}
	d := s.dst(v)
	switch v.Sym {
	case "data_end":
		n := s.newReg()
		s.packetLen(n)
		s.alu(nfp.ALUAdd, d, n, mach.LM(1, firmware.VectorStart))
	case "len":
		s.packetLen(d)
	case "rx_queue_index":
		s.shift(nfp.ShfB, d, none, mach.LM(1, firmware.VectorQueue), nfp.ShiftRight, firmware.QueueShift)
	case "ingress_ifindex":
		s.move(d, mach.LM(1, firmware.VectorPort))
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
	s.alu(nfp.ALUSub, none, mach.Const(255), x)
	s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondCS)}).To = fits
	s.jump(other)
	s.begin(other)
	s.load(q, 0x40)
	s.jump(fits)
	s.begin(fits)
	s.field(mach.LM(1, firmware.VectorQueue), q, 1, nfp.ShiftNone, 0, false)
	s.alu(nfp.ALUOr, mach.LM(1, firmware.VectorFlags), s.number(firmware.QueueSelected), mach.LM(1, firmware.VectorFlags))
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

// place is the address of a memory command: its mode and address operands, of which in
// mode 1 the left one is shifted, and the bytes it covers.
type place struct {
	mode uint8
	a, b nfp.Operand
	mem  mach.Access
}

// data returns the arguments after the address.
func data(v *ir.Value) []*ir.Value {
	if v.Space == ir.MapMem {
		return v.Args[2:]
	}
	return v.Args[1:]
}

// place is the address of an access.
func (s *selector) place(v *ir.Value) place {
	write := v.Op != ir.OpLoad && v.Op != ir.OpRead
	size := int32(s.bytes(v))
	if v.Space == ir.MapMem {
		base, off := baseOf(v.Args[0])
		return place{1, s.word(v.Args[1]), s.word(v.Args[0]), mach.Access{Space: uint8(v.Space), Base: int32(base.ID), From: off, To: off + size, Write: write}}
	}
	base, off := baseOf(v.Args[0])
	mem := mach.Access{Space: uint8(v.Space), Base: int32(base.ID), From: off, To: off + size, Write: write}
	if s.isStart(base) {
		mem.Base = mach.BasePacket
	}
	if n, ok := smallOffset(v.Args[0]); ok {
		return place{4, s.word(v.Args[0].Args[0]), mach.Const(n), mem}
	}
	return place{4, s.word(v.Args[0]), mach.Const(0), mem}
}

// baseOf splits a sum into its base and its constant.
func baseOf(v *ir.Value) (*ir.Value, int32) {
	off := int32(0)
	for v.Op == ir.OpAdd {
		n, ok := constOf(v.Args[1])
		if !ok {
			break
		}
		off += int32(n)
		v = v.Args[0]
	}
	return v, off
}

// isStart reports whether v is the address of the packet's first byte and the
// packet vector keeps it during the whole program.
func (s *selector) isStart(v *ir.Value) bool {
	if s.env.headMoves {
		return false
	}
	return isPacketStart(v)
}

// isPacketStart reports whether v is the address of the packet's first byte at the
// time at which v is computed.
func isPacketStart(v *ir.Value) bool {
	return v.Op == ir.OpPacketStart || v.Op == ir.OpCtxLoad && (v.Sym == "data" || v.Sym == "data_meta")
}

// packetStart is the word of the packet vector, or a copy if the packet's start moves
// before the last use.
func (s *selector) packetStart(v *ir.Value) {
	if s.isStart(v) || s.xfers.stays(v, 0) {
		s.reg[v.ID] = mach.LM(1, firmware.VectorStart)
		return
	}
	s.move(s.dst(v), mach.LM(1, firmware.VectorStart))
}

// command issues a memory command over the transfer registers from base on:
// ins arrive, outs are sent. addWaits chooses its signal and waits for it.
func (s *selector) command(c nfp.Command, p place, units, base, ins, outs int) *mach.Inst {
	c.Len, c.Mode, c.Ctx, c.Xfer = uint8(units-1), p.mode, 3, uint8(base)
	in := s.emit(nfp.Inst{Op: nfp.OpCmd, A: s.apart(p.a, p.b), B: p.b, Cmd: c})
	in.In, in.Out, in.Mem = mach.XferMask(base, ins), mach.XferMask(base, outs), p.mem
	return in
}

// readInto issues a read of words and returns the register of the first.
func (s *selector) readInto(v *ir.Value, c nfp.Command, p place, words int) (base int) {
	base = int(s.xfers.base[v.ID])
	s.command(c, p, words, base, words, 0)
	return base
}

// takeWord defines the result of a read of one word, which is no Tuple.
func (s *selector) takeWord(v *ir.Value, base int) {
	if s.xfers.stays(v, 0) {
		s.reg[v.ID] = mach.Xfer(base)
		return
	}
	s.take(s.dst(v), base)
}

// takeParts copies the words of a read that do not stay in their transfer
// registers.
func (s *selector) takeParts(v *ir.Value, base, words int) {
	for i := range words {
		if !s.xfers.stays(v, i) {
			s.take(s.tuplePart(v, i), base+i)
		}
	}
}

// access is a plain load or store of packet or map.
func (s *selector) access(v *ir.Value, p place) {
	switch v.Op {
	case ir.OpLoad:
		base := s.readInto(v, nfp.CmdRead32Swap, p, (int(v.Size)+3)/4)
		switch {
		case v.Size < 4:
			s.field(s.newDst(v), mach.Xfer(base), 1<<v.Size-1, nfp.ShiftNone, 0, true)
		case v.Size == 8:
			s.takeParts(v, base, 2)
		default:
			s.takeWord(v, base)
		}
	case ir.OpRead:
		s.takeParts(v, s.readInto(v, nfp.CmdRead32Swap, p, int(v.Int)), int(v.Int))
	default:
		s.write(data(v), p, int(v.Size))
	}
}

// write stores size bytes of words; the last word may contribute only its low
// bytes.
func (s *selector) write(words []*ir.Value, p place, size int) {
	base := s.outXfers(len(words))
	for i, w := range words {
		s.give(base+i, w)
	}
	if size%4 == 0 {
		s.command(nfp.CmdWrite32Swap, p, size/4, base, 0, size/4)
		return
	}
	for at := 0; at < size; at += 8 { // what write8 moves at once
		if at > 0 {
			p = s.further(p, 8)
		}
		n := min(size-at, 8)
		s.command(nfp.CmdWrite8Swap, p, n, base+at/4, 0, (n+3)/4)
	}
}

// further returns the place n bytes after p.
func (s *selector) further(p place, n uint32) place {
	p.mem.From += int32(n)
	if p.mode == 4 && p.b.Kind == nfp.Const && p.b.N+n <= maxCommandConst {
		p.b.N += n
		return p
	}
	t := s.newReg()
	if p.mode == 1 {
		s.alu(nfp.ALUAdd, t, p.b, mach.Const(n))
		p.b = t
		return p
	}
	s.alu(nfp.ALUAdd, t, p.a, mach.Const(n))
	p.a = t
	return p
}

// take copies a transfer register to d, unless that is none.
func (s *selector) take(d nfp.Operand, i int) {
	if d != none {
		s.move(d, mach.Xfer(i))
	}
}

// give copies v to a transfer register. The second instruction of a constant
// that takes two cannot merge with the register's content, so it is an OR.
func (s *selector) give(i int, v *ir.Value) {
	if n, ok := constOf(v); ok {
		in := nfp.Inst{Op: nfp.OpImmed, Dst: mach.Xfer(i)}
		if encodeImmed(&in, n) {
			s.emit(in)
			return
		}
		in.Dst = s.newReg()
		if encodeImmed(&in, n&^0xff) {
			s.emit(in)
			s.alu(nfp.ALUOr, mach.Xfer(i), in.Dst, mach.Const(n&0xff))
			return
		}
	}
	s.move(mach.Xfer(i), s.word(v))
}

// bigAccess accesses words that are big-endian in memory. Whole aligned words
// move without the swap. A piece of one word, at a known offset in it, is
// extracted from the word. Everything else moves byte by byte: the byte that the
// program sees at address a lies at a XOR 3 (tables begin at a multiple of four).
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
		base := s.readInto(v, nfp.CmdRead32, p, size/4)
		if v.Type == ir.Tuple {
			s.takeParts(v, base, size/4)
		} else {
			s.takeWord(v, base)
		}
	case known && phase == 0 && size%4 == 0:
		base := s.outXfers(size / 4)
		for i, w := range data(v) {
			s.give(base+i, w)
		}
		s.command(nfp.CmdWrite32, p, size/4, base, 0, size/4)
	case known && load && phase+size <= 4:
		t := s.newReg()
		s.alu(nfp.ALUAndNotB, t, p.b, mach.Const(3))
		p.b, p.mem.Base = t, mach.BaseUnknown
		s.command(nfp.CmdRead32, p, 1, scratchXfer, 1, 0)
		s.field(s.dst(v), mach.Xfer(scratchXfer), 1<<size-1, nfp.ShiftRight, uint8(8*phase), true)
	case load:
		for i := range size {
			s.command(nfp.CmdRead8, s.turned(p, i), 1, scratchXfer, 1, 0)
			if d := dst(i / 4); d != none {
				s.field(d, mach.Xfer(scratchXfer), 1<<(i%4), nfp.ShiftRight, uint8(24-8*(i%4)), i%4 == 0)
			}
		}
	default:
		for i := range size {
			base := s.outXfers(1)
			s.shiftTo(mach.Xfer(base), s.word(data(v)[i/4]), uint8(8*(i%4)))
			s.command(nfp.CmdWrite8Swap, s.turned(p, i), 1, base, 0, 1)
		}
	}
}

// turned is the address of byte i of the place, XOR 3.
func (s *selector) turned(p place, i int) place {
	low := p.b
	if i > 0 {
		low = s.plus(low, i)
	}
	t := s.newReg()
	s.alu(nfp.ALUXor, t, low, mach.Const(3))
	p.b, p.mem.Base = t, mach.BaseUnknown
	return p
}

// shiftTo is d := x >> n.
func (s *selector) shiftTo(d, x nfp.Operand, n uint8) {
	if n == 0 {
		s.move(d, x)
		return
	}
	s.shift(nfp.ShfB, d, none, x, nfp.ShiftRight, n)
}
