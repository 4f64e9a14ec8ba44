package mach

import (
	"sort"

	"github.com/nfpkit/nfpkit/nfp"
)

// Spill slots are words of the function's frame after the eBPF stack. Those in the
// frame's first 64 bytes are reached through LM0, if the function has it. Those in the
// next 64-byte window are reached through LM3, which is set at the function's start
// and after each call that loses it. Slots beyond are far: each access moves LM3 there
// and back, at the cost of register B21.
//
// A spilled register becomes a short-lived one in each bundle that mentions it, loaded
// or rematerialised before the bundle if it is read, and stored after it if it is
// written. All these copies leave condition codes alone, as they may lie between the
// definition of codes and their use.

const spillScratch = 21 // of bank B

// slotPlace returns a slot's place: a pointer and a word, or far at a frame offset.
func (a *allocator) slotPlace(slot int) (o nfp.Operand, off int, far bool) {
	off = a.f.Frame + 4*slot
	if a.f.LM0 && off < 64 {
		return LM(0, off/4), off, false
	}
	base := a.spillWindow()
	if off-base < 64 {
		return LM(3, (off-base)/4), off, false
	}
	return LM(3, off%64/4), off, true
}

// spillWindow is the frame offset to which LM3 points.
func (a *allocator) spillWindow() int {
	if a.f.LM0 {
		return max(64, a.f.Frame&^63)
	}
	return a.f.Frame &^ 63
}

// spill assigns slots to the spilled registers and rewrites the code. Registers
// that do not overlap share slots.
func (a *allocator) spill() {
	sort.Slice(a.spilled, func(i, j int) bool { return a.spilled[i] < a.spilled[j] })
	made := a.rematerialise()
	slot := make([]int, len(a.bank)) // by register: slot + 1
	var taken [][]span
	for _, r := range a.spilled {
		k := 0
		for k < len(taken) && overlap(taken[k], a.live.virtual[r]) {
			k++
		}
		if k == len(taken) {
			taken = append(taken, nil)
		}
		taken[k] = mergeSpans(taken[k], a.live.virtual[r])
		slot[r] = a.slots + k + 1
	}
	a.slots += len(taken)
	if _, _, far := a.slotPlace(a.slots - 1); far && !a.far && a.slots > 0 {
		a.far = true
		a.allowed &^= BankB(spillScratch)
	}
	s := &spiller{a: a, slot: slot, made: made}
	for _, b := range a.f.Blocks {
		s.block(b)
	}
}

func overlap(x, y []span) bool {
	for i, j := 0, 0; i < len(x) && j < len(y); {
		switch {
		case x[i].to <= y[j].from:
			i++
		case y[j].to <= x[i].from:
			j++
		default:
			return true
		}
	}
	return false
}

func mergeSpans(x, y []span) []span {
	out := append(append([]span(nil), x...), y...)
	sort.Slice(out, func(i, j int) bool { return out[i].from < out[j].from })
	return out
}

// spiller rewrites mentions of spilled registers, a bundle at a time.
type spiller struct {
	a    *allocator
	slot []int
	made []*recipe // of rematerialised registers
	out  []Inst
	here []spillUse
}

// spillUse is a spilled register within a bundle.
type spillUse struct {
	reg         uint32
	now         nfp.Operand
	load, store bool
}

func (s *spiller) spilled(o nfp.Operand) bool {
	return o.Kind == nfp.Virtual && int(o.N) < len(s.slot) && (s.slot[o.N] > 0 || s.made[o.N] != nil)
}

func (s *spiller) block(b *Block) {
	touched := false
	for i := range b.Insts {
		in := &b.Insts[i]
		touched = touched || s.spilled(in.Dst) || s.spilled(in.A) || s.spilled(in.B)
	}
	if !touched {
		return
	}
	s.out = make([]Inst, 0, len(b.Insts)+16)
	b.bundles(func(i, j int) { s.bundle(b.Insts[i:j]) })
	b.Insts = s.out
}

func (s *spiller) bundle(insts []Inst) {
	if len(insts) == 1 && s.direct(&insts[0]) {
		s.out = append(s.out, insts[0])
		return
	}
	s.here = s.here[:0]
	for i := range insts {
		in := &insts[i]
		rw := in.ReadsDst()
		s.mention(&in.A, true, false)
		s.mention(&in.B, true, false)
		s.mention(&in.Dst, rw, true)
	}
	pc := insts[0].PC
	for _, u := range s.here {
		switch c := s.made[u.reg]; {
		case c != nil:
			s.out = c.make(s.out, u.now, pc)
		case u.load:
			s.move(u.now, nfp.Operand{}, s.slot[u.reg]-1, pc)
		}
	}
	s.out = append(s.out, insts...)
	for _, u := range s.here {
		if u.store {
			s.move(nfp.Operand{}, u.now, s.slot[u.reg]-1, pc)
		}
	}
}

// direct replaces a spilled register in a copy by its slot.
func (s *spiller) direct(in *Inst) bool {
	if !in.isCopy() {
		return false
	}
	dst, src := in.Dst, in.B
	for _, o := range [...]*nfp.Operand{&dst, &src} {
		if s.spilled(*o) && s.made[o.N] != nil {
			return false
		}
		if s.spilled(*o) {
			place, _, far := s.a.slotPlace(s.slot[o.N] - 1)
			if far {
				return false
			}
			*o = place
		}
	}
	in.Dst, in.B = dst, src
	return true
}

// mention replaces an operand by the bundle's register for it.
func (s *spiller) mention(o *nfp.Operand, read, write bool) {
	if !s.spilled(*o) {
		return
	}
	r := o.N
	for i := range s.here {
		if u := &s.here[i]; u.reg == r {
			u.store = u.store || write
			*o = u.now
			return
		}
	}
	a := s.a
	now := nfp.Operand{Kind: nfp.Virtual, N: uint32(a.f.VRegs)}
	a.f.VRegs++
	a.bank = append(a.bank, a.bank[r])
	a.small = append(a.small, true)
	s.here = append(s.here, spillUse{reg: r, now: now, load: read, store: write})
	*o = now
}

// move copies between a register and a slot; the operand that is none is the slot.
func (s *spiller) move(dst, src nfp.Operand, slot int, pc int32) {
	place, off, far := s.a.slotPlace(slot)
	if dst == (nfp.Operand{}) {
		dst = place
	} else {
		src = place
	}
	if far {
		s.out = append(s.out, pointLM3(off&^63, pc)...)
	}
	s.out = append(s.out, copyInst(dst, src, pc))
	if far {
		s.out = append(s.out, pointLM3(s.a.spillWindow(), pc)...)
	}
}

// pointLM3 sets LM3 to a place in the frame.
func pointLM3(off int, pc int32) []Inst {
	t := GPRB(spillScratch)
	return []Inst{
		{Inst: nfp.Inst{Op: nfp.OpImmed, Dst: t, Imm: uint32(off)}, PC: pc, To: -1, Frame: true},
		{Inst: nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUAdd), Dst: t, A: GPRA(22), B: t, Flags: nfp.NoCC}, PC: pc, To: -1},
		{Inst: nfp.Inst{Op: nfp.OpCSRWrite, A: t, Imm: PointerCSR[3]}, PC: pc, To: -1},
	}
}

// setSpillPointer sets LM3 at the function's start and after calls that lose it, if a
// slot is reached through it. B21 is free there: only arguments are live before the
// function's first instruction, and a call that loses LM3 clobbers it.
func (a *allocator) setSpillPointer() {
	used := false
	for _, b := range a.f.Blocks {
		for i := range b.Insts {
			in := &b.Insts[i]
			for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
				used = used || o.Kind == nfp.LM && o.Ptr == 3
			}
		}
	}
	if !used {
		return
	}
	for k, b := range a.f.Blocks {
		var out []Inst
		if k == 0 {
			out = append(out, pointLM3(a.spillWindow(), -1)...)
		}
		for i := range b.Insts {
			in := b.Insts[i]
			out = append(out, in)
			if in.Call != nil && in.Call.LM3 {
				out = append(out, pointLM3(a.spillWindow(), in.PC)...)
			}
		}
		b.Insts = out
	}
}
