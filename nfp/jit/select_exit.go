package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// ret returns from the function: to its caller, or to the firmware with the
// result word of the verdict.
func (s *selector) ret(low, high *ir.Value) {
	switch {
	case !s.out.Entry:
		s.moveValue(mach.GPRA(0), low)
		s.moveValue(mach.GPRB(0), high)
		in := s.emit(nfp.Inst{Op: nfp.OpRtn, A: s.back})
		in.Call = &mach.CallSite{Uses: mach.BankA(0) | mach.BankB(0)}
	case s.f.Result == ir.I64: // raw: r0 as it is
		s.moveValue(mach.GPRA(0), low)
		s.moveValue(mach.GPRA(1), high)
		s.done(0, mach.BankA(0)|mach.BankA(1))
	default:
		if n, ok := constOf(low); ok {
			s.exit(s.env.word(n))
			return
		}
		if s.tail < 0 {
			s.tail, s.tailIn = s.block(), s.newReg()
		}
		s.move(s.tailIn, s.word(low))
		s.jump(s.tail)
	}
}

// done branches to the firmware; the last slots instructions go to its slots.
func (s *selector) done(slots uint8, uses mach.RegSet) {
	in := s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondAlways), Defer: slots})
	in.Reloc, in.Slots, in.Glue = nfp.RelocDone, slots, slots > 0
	in.Call = &mach.CallSite{Uses: uses}
}

// exit ends the program with a result word.
func (s *selector) exit(word uint32) {
	in := nfp.Inst{Op: nfp.OpImmed, Dst: mach.GPRA(0)}
	if encodeImmed(&in, word) {
		s.emit(in)
		s.done(1, mach.BankA(0))
		return
	}
	s.load(mach.GPRA(0), word)
	s.done(0, mach.BankA(0))
}

// exitIf ends the program with a result word, which one immed loads, if the condition
// holds; if not, A0 is clobbered.
func (s *selector) exitIf(c nfp.Cond, word uint32) {
	in := nfp.Inst{Op: nfp.OpImmed, Dst: mach.GPRA(0)}
	if !encodeImmed(&in, word) {
		s.branch(c, s.exitBlock(word))
		return
	}
	s.emit(in)
	s.done(1, mach.BankA(0))
	b := s.blocks[s.cur]
	b.Insts[len(b.Insts)-1].Fn = uint8(c)
}

// exitBlock returns a block that ends the program with a result word, shared by all
// branches to that exit.
func (s *selector) exitBlock(word uint32) int32 {
	if n, ok := s.exits[word]; ok {
		return n
	}
	n := s.block()
	s.exits[word] = n
	s.exitOrder = append(s.exitOrder, word)
	return n
}

// layExits places the shared exits, and the code that turns a verdict into a
// result word, at the function's end.
func (s *selector) layExits() {
	s.pc = -1
	if s.tail >= 0 {
		s.begin(s.tail)
		cases, rest := s.env.verdicts()
		for _, c := range cases {
			s.alu(nfp.ALUSub, none, s.tailIn, mach.Const(c.code))
			s.exitIf(nfp.CondEQ, c.word)
		}
		s.exit(rest)
	}
	for i := 0; i < len(s.exitOrder); i++ {
		word := s.exitOrder[i]
		s.begin(s.exits[word])
		s.exit(word)
	}
}
