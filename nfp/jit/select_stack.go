package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// The stack is local memory: 32-bit words, reached through pointers, byte b of the
// stack being bits 8(b&3) and up of word b>>2. A pointer ignores the low two bits of
// an address and ORs a constant word offset, so offsets work only from a pointer
// aligned to their range.
//
//   - Bytes 0..63 of the frame: through LM0.
//   - Other constant offsets: through LM2, set to a multiple of 32 bytes; it stays
//     there for the next access of the block.
//   - An offset in a register: through LM2 set to the word of the first byte, and again
//     for the word of the last byte if they may differ. No word outside the access is
//     touched.
//
// Parts of words are extracted and merged with ld_field, whose operands reach only the
// first eight words of a pointer.

// frameAddr is the local-memory address of byte off of the frame.
func (s *selector) frameAddr(off int) nfp.Operand {
	base := mach.GPRA(firmware.StackRegister)
	if s.out.Entry && off == 0 {
		return base
	}
	t := s.newReg()
	if s.out.Entry && off <= 255 {
		s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUAdd), Dst: t, A: base, B: mach.Const(uint32(off)), Flags: nfp.NoCC})
		return t
	}
	k := s.newReg()
	s.emit(nfp.Inst{Op: nfp.OpImmed, Dst: k, Imm: uint32(off)}).Frame = true
	s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUAdd), Dst: t, A: base, B: k, Flags: nfp.NoCC})
	return t
}

func (s *selector) setPointer(ptr uint8, addr nfp.Operand) {
	s.emit(nfp.Inst{Op: nfp.OpCSRWrite, A: s.inRegister(addr), Imm: mach.PointerCSR[ptr]})
	if ptr == 0 {
		s.out.Moves0 = true
	}
}

// slot is the word of the frame that byte off lies in.
func (s *selector) slot(off int) nfp.Operand {
	if s.out.LM0 && off < 64 {
		return mach.LM(0, off/4)
	}
	window := off &^ (mach.FieldWindow - 1)
	if s.lm2 != window {
		s.setPointer(2, s.frameAddr(window))
		s.lm2 = window
	}
	return mach.LM(2, (off-window)/4)
}

// near returns the word of byte off as an operand that ld_field can have.
func (s *selector) near(off int) nfp.Operand {
	w := s.slot(off)
	if w.N < mach.FieldWindow/4 {
		return w
	}
	t := s.newReg()
	s.move(t, w)
	return t
}

// frameOffset reports whether an address is a constant place in the frame.
func frameOffset(addr *ir.Value) (int, bool) {
	off := int32(0)
	for addr.Op == ir.OpAdd {
		n, ok := constOf(addr.Args[1])
		if !ok {
			return 0, false
		}
		off += int32(n)
		addr = addr.Args[0]
	}
	if addr.Op != ir.OpStackAddr {
		return 0, false
	}
	off += int32(addr.Int)
	return int(off), true
}

func (s *selector) stackAccess(v *ir.Value) {
	off, static := frameOffset(v.Args[0])
	static = static && off >= 0 && off+s.bytes(v) <= s.f.Frame
	switch v.Op {
	case ir.OpLoad:
		var d [2]nfp.Operand
		if v.Size == 8 {
			d = [2]nfp.Operand{s.tuplePart(v, 0), s.tuplePart(v, 1)}
		} else {
			d[0] = s.dst(v)
		}
		if static {
			s.loadFrame(d[:], off, int(v.Size))
		} else {
			s.loadPointer(v, d, s.word(v.Args[0]), int(v.Size), int(v.Phase))
		}
	case ir.OpStore:
		s.stackStore(v, v.Args[1:], off, static, 0, int(v.Size))
	case ir.OpRead:
		for i := range int(v.Int) {
			d := s.tuplePart(v, i)
			if d == none {
				continue
			}
			if static {
				s.loadFrame([]nfp.Operand{d}, off+4*i, 4)
			} else {
				s.loadPointer(v, [2]nfp.Operand{d}, s.advance(v.Args[0], 4*i), 4, int(v.Phase)+4*i)
			}
		}
	case ir.OpWrite:
		for i := 0; i < int(v.Size); i += 4 {
			rest := min(int(v.Size)-i, 4)
			word := v.Args[1+i/4 : 2+i/4]
			if rest == 3 {
				s.stackStore(v, word, off, static, i, 2)
				top := s.newReg()
				s.shift(nfp.ShfB, top, none, s.word(word[0]), nfp.ShiftRight, 16)
				s.storeByte(v, top, off, static, i+2)
				continue
			}
			s.stackStore(v, word, off, static, i, rest)
		}
	}
}

// bytes returns the size of an access.
func (s *selector) bytes(v *ir.Value) int {
	if v.Op == ir.OpRead {
		return 4 * int(v.Int)
	}
	return int(v.Size)
}

// advance returns the address n bytes after addr.
func (s *selector) advance(addr *ir.Value, n int) nfp.Operand {
	a := s.word(addr)
	if n == 0 {
		return a
	}
	t := s.newReg()
	s.alu(nfp.ALUAdd, t, a, mach.Const(uint32(n)))
	return t
}

// stackStore stores size bytes of words at the access's address plus at.
func (s *selector) stackStore(v *ir.Value, words []*ir.Value, off int, static bool, at, size int) {
	if v.Big {
		s.storeBig(v, words, off, static, at, size)
		return
	}
	if static {
		s.storeFrame(words, off+at, size)
		return
	}
	s.storePointer(v, words, s.advance(v.Args[0], at), size, int(v.Phase)+at)
}

// storeBig stores words in the byte order in which they will lie in a map:
// whole words reversed, everything else byte by byte at the address XOR 3.
func (s *selector) storeBig(v *ir.Value, words []*ir.Value, off int, static bool, at, size int) {
	aligned := static && (off+at)%4 == 0 || v.Align >= 4 && (int(v.Phase)+at)%4 == 0
	for i := 0; i < size; i += 4 {
		w := s.word(words[i/4])
		if aligned && size >= 4 {
			t := s.newReg()
			s.byteSwap(t, w, 32)
			if static {
				s.move(s.slot(off+at+i), t)
			} else {
				s.setPointer(2, s.advance(v.Args[0], at+i))
				s.lm2 = -1
				s.move(mach.LM(2, 0), t)
			}
			continue
		}
		for j := 0; j < 4 && i+j < size; j++ {
			b := w
			if j > 0 {
				b = s.newReg()
				s.shift(nfp.ShfB, b, none, w, nfp.ShiftRight, uint8(8*j))
			}
			s.storeByte(v, b, off, static, at+i+j)
		}
	}
}

// storeByte stores the low byte of b.
func (s *selector) storeByte(v *ir.Value, b nfp.Operand, off int, static bool, at int) {
	if static {
		place := off + at
		if v.Big {
			place ^= 3
		}
		s.mergeFrame(place, 1<<(place&3), b, nfp.ShiftLeft, uint8(8*(place&3)))
		return
	}
	p := s.advance(v.Args[0], at)
	if v.Big {
		t := s.newReg()
		s.alu(nfp.ALUXor, t, p, mach.Const(3))
		p = t
	}
	s.storePieces(p, [2]nfp.Operand{b}, 1)
}

// loadFrame loads size bytes from byte off of the frame into d, four to a
// register; registers that are none are skipped.
func (s *selector) loadFrame(d []nfp.Operand, off, size int) {
	for i := 0; i < size; i += 4 {
		dst, at, n := d[i/4], off+i, min(size-i, 4)
		first := 4 - at&3 // bytes in the first word
		switch {
		case dst == none:
		case n == 4 && first == 4:
			s.move(dst, s.slot(at))
		case n <= first:
			s.field(dst, s.near(at), 1<<n-1, nfp.ShiftRight, uint8(8*(at&3)), true)
		default:
			s.field(dst, s.near(at), 1<<first-1, nfp.ShiftRight, uint8(8*(at&3)), true)
			s.field(dst, s.near(at+first), (1<<n-1)&^(1<<first-1), nfp.ShiftLeft, uint8(8*first), false)
		}
	}
}

// storeFrame stores size bytes at byte off of the frame.
func (s *selector) storeFrame(words []*ir.Value, off, size int) {
	for i := 0; i < size; i += 4 {
		at, n := off+i, min(size-i, 4)
		first := 4 - at&3
		if n == 4 && first == 4 {
			s.storeWord(at, words[i/4])
			continue
		}
		src := s.word(words[i/4])
		s.mergeFrame(at, (1<<min(n, first)-1)<<(at&3), src, nfp.ShiftLeft, uint8(8*(at&3)))
		if n > first {
			s.mergeFrame(at+first, 1<<(n-first)-1, src, nfp.ShiftRight, uint8(8*first))
		}
	}
}

// storeWord stores a whole word, a constant without a register if possible.
func (s *selector) storeWord(off int, v *ir.Value) {
	if n, ok := constOf(v); ok {
		in := nfp.Inst{Op: nfp.OpImmed}
		if encodeImmed(&in, n) {
			in.Dst = s.slot(off)
			s.emit(in)
			return
		}
	}
	src := s.word(v)
	s.move(s.slot(off), src)
}

// mergeFrame puts the bytes mask of the shifted src into the word of byte off.
func (s *selector) mergeFrame(off int, mask uint8, src nfp.Operand, kind nfp.ShiftKind, n uint8) {
	w := s.slot(off)
	if w.N < mach.FieldWindow/4 {
		s.field(w, src, mask, kind, n, false)
		return
	}
	t := s.newReg()
	s.move(t, w)
	s.field(t, src, mask, kind, n, false)
	s.move(w, t)
}

// loadPointer loads through an address in a register, which is phase modulo the
// access's Align.
func (s *selector) loadPointer(v *ir.Value, d [2]nfp.Operand, p nfp.Operand, size, phase int) {
	s.lm2 = -1
	if v.Align >= 4 && phase%4+min(size, 4) <= 4 && (size < 8 || phase%4 == 0) {
		s.setPointer(2, p)
		switch {
		case size == 8:
			s.move(s.orNew(d[0]), mach.LMNext(2))
			if d[1] != none {
				s.move(d[1], mach.LM(2, 0))
			}
		case size == 4:
			s.move(d[0], mach.LM(2, 0))
		default:
			s.field(d[0], mach.LM(2, 0), 1<<size-1, nfp.ShiftRight, uint8(8*(phase%4)), true)
		}
		return
	}
	bits := s.bitOffset(p)
	w := [3]nfp.Operand{s.newReg(), s.newReg(), s.newReg()}
	s.setPointer(2, p)
	if size == 1 {
		s.move(w[0], mach.LM(2, 0))
		s.shiftBy(w[1], w[0], bits, nfp.ShiftRight)
		s.field(d[0], w[1], 1, nfp.ShiftNone, 0, true)
		return
	}
	n := 1
	if size == 8 {
		s.move(w[0], mach.LMNext(2))
		s.move(w[1], mach.LM(2, 0))
		n = 2
	} else {
		s.move(w[0], mach.LM(2, 0))
	}
	s.setPointer(2, s.plus(p, size-1))
	s.move(w[n], mach.LM(2, 0))
	switch {
	case size < 4:
		t := s.newReg()
		s.funnel(t, w[1], w[0], bits)
		s.field(d[0], t, 1<<size-1, nfp.ShiftNone, 0, true)
	default:
		for i := range n {
			if d[i] != none {
				s.funnel(d[i], w[i+1], w[i], bits)
			}
		}
	}
}

func (s *selector) plus(p nfp.Operand, n int) nfp.Operand {
	t := s.newReg()
	s.alu(nfp.ALUAdd, t, p, mach.Const(uint32(n)))
	return t
}

// bitOffset is 8 (p & 3).
func (s *selector) bitOffset(p nfp.Operand) nfp.Operand {
	t, u := s.newReg(), s.newReg()
	s.alu(nfp.ALUAnd, t, p, mach.Const(3))
	s.shift(nfp.ShfB, u, none, t, nfp.ShiftLeft, 3)
	return u
}

// storePointer stores through an address in a register.
func (s *selector) storePointer(v *ir.Value, words []*ir.Value, p nfp.Operand, size, phase int) {
	var src [2]nfp.Operand
	for i, w := range words {
		src[i] = s.word(w)
	}
	s.lm2 = -1
	if v.Align < 4 || phase%4+min(size, 4) > 4 || size == 8 && phase%4 != 0 {
		s.storePieces(p, src, size)
		return
	}
	s.setPointer(2, p)
	switch {
	case size == 8:
		s.move(mach.LMNext(2), src[0])
		s.move(mach.LM(2, 0), src[1])
	case size == 4:
		s.move(mach.LM(2, 0), src[0])
	default:
		s.field(mach.LM(2, 0), src[0], (1<<size-1)<<(phase%4), nfp.ShiftLeft, uint8(8*(phase%4)), false)
	}
}

// storePieces stores at any alignment: the bytes are shifted into place over two or
// three words, and merged into the first and the last under masks that are shifted
// likewise. If the access does not cross a word the last mask is empty, and the last
// word, read after the first was written, stays as it is.
func (s *selector) storePieces(p nfp.Operand, src [2]nfp.Operand, size int) {
	s.lm2 = -1
	bits := s.bitOffset(p)
	low := src[0]
	mask := s.newReg()
	if size < 4 {
		low = s.newReg()
		s.field(low, src[0], 1<<size-1, nfp.ShiftNone, 0, true)
		s.load(mask, 1<<(8*size)-1)
	} else {
		s.load(mask, ^uint32(0))
	}
	s.setPointer(2, p)
	v0, m0 := s.newReg(), s.newReg()
	s.shiftBy(v0, low, bits, nfp.ShiftLeft)
	s.shiftBy(m0, mask, bits, nfp.ShiftLeft)
	if size == 8 {
		s.mergeWord(mach.LM(2, 0), mach.LMNext(2), v0, m0)
		mid := s.newReg()
		s.shiftBy(mid, src[1], bits, nfp.ShiftLeft)
		top := s.over(low, bits)
		s.alu(nfp.ALUOr, mid, mid, top)
		s.move(mach.LM(2, 0), mid)
		low = src[1]
	} else {
		s.mergeWord(mach.LM(2, 0), mach.LM(2, 0), v0, m0)
		if size == 1 {
			return
		}
	}
	v1, m1 := s.over(low, bits), s.over(mask, bits)
	s.setPointer(2, s.plus(p, size-1))
	s.mergeWord(mach.LM(2, 0), mach.LM(2, 0), v1, m1)
}

// over returns the bits that x << n shifts out at the top, n below 32: x >> 32-n, in
// two steps because a shift by 32 would shift by 0.
func (s *selector) over(x, n nfp.Operand) nfp.Operand {
	half, rest, out := s.newReg(), s.newReg(), s.newReg()
	s.shift(nfp.ShfB, half, none, x, nfp.ShiftRight, 1)
	s.alu(nfp.ALUXor, rest, n, mach.Const(31))
	s.shiftBy(out, half, rest, nfp.ShiftRight)
	return out
}

// mergeWord is to := from &^ mask | v.
func (s *selector) mergeWord(from, to, v, mask nfp.Operand) {
	t, u := s.newReg(), s.newReg()
	s.move(t, from)
	s.alu(nfp.ALUAndNotB, u, t, mask)
	t2 := s.newReg()
	s.alu(nfp.ALUOr, t2, u, v)
	s.move(to, t2)
}
