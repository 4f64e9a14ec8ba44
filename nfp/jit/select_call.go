package jit

import (
	"fmt"
	"math/bits"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Helper ids.
const (
	helperLookup     = 1
	helperUpdate     = 2
	helperDelete     = 3
	helperRandom     = 7
	helperTailCall   = 12
	helperPerfOutput = 25
	helperCsumDiff   = 28
	helperAdjustHead = 44
	helperAdjustTail = 65
)

const errInvalid = 22 // EINVAL

// Kinds in ir have the firmware's numbers. If they differ, an index below is out of
// range and this does not compile.
var (
	_ = [1]int{}[ir.KindScalar-firmware.KindScalar]
	_ = [1]int{}[ir.KindMap-firmware.KindMap]
	_ = [1]int{}[ir.KindStack-firmware.KindStack]
	_ = [1]int{}[ir.KindPacket-firmware.KindPacket]
)

// helper selects a call of a helper: in place, or by branch.
func (s *selector) helper(v *ir.Value) {
	p := s.env.profile
	id := int32(v.Int)
	switch {
	case id == helperLookup && p.DirectMap:
		s.directLookup(v)
	case !p.Offers(id):
		s.missing(id)
		s.zeroResult(v)
	case !p.Inlines(id):
		s.callHelper(v, id)
	case id == helperRandom:
		s.random(v)
	case id == helperAdjustHead:
		s.adjustHead(v)
	case id == helperAdjustTail:
		s.adjustTail(v)
	default:
		panic(fmt.Sprintf("select: helper %d cannot be compiled in place", id))
	}
}

// zeroResult defines the result of a call that the firmware cannot make as 0. The rest
// of the refused program is compiled to find further reasons, and the checkers read it.
func (s *selector) zeroResult(v *ir.Value) {
	for i := range 2 {
		if d := s.tuplePart(v, i); d != none {
			s.load(d, 0)
		}
	}
}

// callHelper branches to the firmware's code, with arguments as
// docs/firmware-contract.md section 4 requires.
func (s *selector) callHelper(v *ir.Value, id int32) {
	s.lm2 = -1
	moved := false
	var slots []func() // what goes to the branch's slots
	uses := mach.BankB(0)
	pass := func(reg uint32, arg *ir.Value) func() {
		uses |= mach.BankA(int(reg))
		return func() { s.moveValue(mach.GPRA(reg), arg) }
	}
	switch id {
	case helperLookup, helperUpdate, helperDelete:
		if id == helperUpdate {
			pass(8, v.Args[6])()
			pass(9, v.Args[7])()
			s.setPointer(2, s.word(v.Args[4]))
		}
		moved = s.keyPointer(v.Args[2])
		slots = append(slots, pass(0, v.Args[0]))
	case helperPerfOutput:
		for i, arg := range v.Args[2:9] {
			pass(uint32(4+i), arg)()
		}
		uses |= mach.BankA(1)
		kind := v.Kinds >> 12 & 15
		slots = append(slots, func() { s.load(mach.GPRA(1), kind) })
	default:
		for i, arg := range v.Args {
			pass(uint32(2+i), arg)()
		}
		if id == helperCsumDiff {
			uses |= mach.BankA(0)
			slots = append(slots, func() { s.load(mach.GPRA(0), v.Kinds) })
		}
	}
	s.branchAndReturn(moved, slots, mach.GPRB(0), nfp.RelocHelper, id, "", &mach.CallSite{
		Uses: uses, Defs: mach.BankA(0) | mach.BankB(0) | mach.BankA(1) | mach.BankB(1), Clobbers: mach.AllRegs &^ mach.KeptByHelpers, LM3: true,
		ReadsLM0:    id == helperLookup || id == helperUpdate || id == helperDelete,
		MovesPacket: id == helperAdjustHead || id == helperAdjustTail,
	})
	if moved {
		s.restoreLM0()
	}
	// Both banks hold the result: uses take a map pointer's low word from bank A and
	// its high word from bank B.
	if d := s.tuplePart(v, 0); d != none {
		s.move(d, mach.GPRA(0))
	}
	if d := s.tuplePart(v, 1); d != none {
		s.move(d, mach.GPRB(1))
	}
}

func (s *selector) missing(id int32) {
	s.unsupported("helper-missing", fmt.Sprintf("firmware %s has no helper %d (%s)", s.env.profile.Name, id, asmtext.HelperName(int64(id))), "")
}

// restoreLM0 points LM0 to the frame, at the function's start and after each
// instruction that moves it. Spill slots are reached through LM0, so nothing may
// be spilled until then: the registers of the address are pinned.
func (s *selector) restoreLM0() {
	s.out.Moves0 = true
	if !s.out.LM0 {
		return
	}
	from := s.out.VRegs
	s.setPointer(0, s.frameAddr(0))
	b := s.blocks[s.cur]
	b.Insts[len(b.Insts)-1].Base = true
	for r := from; r < s.out.VRegs; r++ {
		s.out.Pinned = append(s.out.Pinned, uint32(r))
	}
}

// keyPointer points LM0 to a key and reports whether it had to move.
func (s *selector) keyPointer(key *ir.Value) bool {
	if off, ok := frameOffset(key); ok && off == 0 && s.out.LM0 {
		return false
	}
	s.setPointer(0, s.word(key))
	return true
}

// branchAndReturn branches to code that returns to the instruction after the branch.
// ret receives the return address; it and the instructions that slots emit (one each)
// go to the branch's defer slots. If glued is set, they must directly follow the last
// instruction.
func (s *selector) branchAndReturn(glued bool, slots []func(), ret nfp.Operand, kind nfp.RelocKind, helper int32, callee string, c *mach.CallSite) {
	b := s.blocks[s.cur]
	n, first := 0, len(b.Insts)
	for _, f := range slots {
		before := len(b.Insts)
		f()
		if len(b.Insts) == before+1 { // a longer one stays in front
			n++
		} else {
			n = 0
		}
	}
	in := s.emit(nfp.Inst{Op: nfp.OpImmed, Dst: ret})
	in.Return, in.Reloc = true, nfp.RelocImmed
	n = min(n+1, 2)
	for i := 1; i < n; i++ {
		b.Insts[len(b.Insts)-i].Glue = true
	}
	for i := first; glued && i < len(b.Insts); i++ {
		b.Insts[i].Glue = true
	}
	br := s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondAlways), Defer: uint8(n)})
	br.Glue, br.Slots, br.Call, br.Reloc, br.Helper, br.Sym = true, uint8(n), c, kind, helper, callee
	c.Callee = callee
	s.lm2 = -1
}

// call is a call of a function of the module.
func (s *selector) call(v *ir.Value) {
	callee := s.env.done[v.Sym]
	uses := mach.BankA(returnReg)
	for i, a := range v.Args {
		if i >= 10 {
			panic("select: more than five arguments")
		}
		uses |= argReg(i)
		s.moveValue(argOperand(i), a)
	}
	s.branchAndReturn(false, nil, mach.GPRA(returnReg), nfp.RelocBranch, 0, v.Sym, &mach.CallSite{
		Uses: uses, Defs: mach.BankA(0) | mach.BankB(0), Clobbers: callee.Clobber, LM3: callee.LM3, Moves0: callee.Moves0,
	})
	s.out.Callees = append(s.out.Callees, v.Sym)
	if callee.Moves0 {
		s.restoreLM0()
	}
	if d := s.tuplePart(v, 0); d != none {
		s.move(d, mach.GPRA(0))
	}
	if d := s.tuplePart(v, 1); d != none {
		s.move(d, mach.GPRB(0))
	}
}

// tailCall returns only if it fails.
func (s *selector) tailCall(v *ir.Value) {
	if !s.env.profile.Offers(helperTailCall) {
		s.missing(helperTailCall)
		return
	}
	uses := mach.BankB(0) | mach.BankA(4) | mach.BankA(5) | mach.BankA(6) | mach.BankA(7)
	if len(v.Args) > 2 {
		s.moveValue(mach.GPRA(4), v.Args[2])
	} else {
		s.handle(mach.GPRA(4), v.Sym)
	}
	s.load(mach.GPRA(5), 0)
	s.moveValue(mach.GPRA(6), v.Args[0])
	s.load(mach.GPRA(7), 0) // the index is 32 bits
	s.branchAndReturn(false, nil, mach.GPRB(0), nfp.RelocHelper, helperTailCall, "", &mach.CallSite{
		Uses: uses, Clobbers: mach.AllRegs &^ mach.KeptByHelpers, LM3: true,
	})
}

// directLookup selects a lookup in the one array of firmware that keeps it at
// B23, if pass array-addresses did not replace it. The result is an address, or
// NULL for a key out of range.
func (s *selector) directLookup(v *ir.Value) {
	handle := v.Args[0]
	if !s.isDirect(handle.Sym) {
		s.zeroResult(v)
		return
	}
	m := s.env.mapSpec(handle.Sym)
	key := s.newReg()
	if off, ok := frameOffset(v.Args[2]); ok {
		s.loadFrame([]nfp.Operand{key}, off, 4)
	} else {
		s.lm2 = -1
		s.setPointer(2, s.word(v.Args[2]))
		s.move(key, mach.LM(2, 0))
	}
	low, high := s.tuplePart(v, 0), s.tuplePart(v, 1)
	outside := s.block()
	s.zeroResult(v)
	s.alu(nfp.ALUSub, none, key, s.operandOrWordConst(m.MaxEntries))
	s.branch(nfp.CondCS, outside)
	if shift := uint8(bits.TrailingZeros32(lift.DirectStride(m))); low != none && shift > 0 {
		s.shift(nfp.ShfB, low, none, key, nfp.ShiftLeft, shift)
	} else if low != none {
		s.move(low, key)
	}
	if high != none {
		s.move(high, mach.GPRB(firmware.MapRegister))
	}
	s.jump(outside)
	s.begin(outside)
}

// isDirect reports whether the map called name can be the firmware's one array;
// if not, it refuses the program.
func (s *selector) isDirect(name string) bool {
	m := s.env.mapSpec(name)
	if m != nil && s.env.directMap(name, m) {
		return true
	}
	s.unsupported("map-type", "the firmware has one array, of a power of two entries, and this lookup is not in such a one",
		"use one array map and round max_entries up to a power of two")
	return false
}

// random reads the engine's generator; the following immed takes the value.
func (s *selector) random(v *ir.Value) {
	const pseudoRandom = 0x148
	d := s.orNew(s.tuplePart(v, 0))
	s.emit(nfp.Inst{Op: nfp.OpCSRRead, Imm: pseudoRandom})
	s.emit(nfp.Inst{Op: nfp.OpImmed, Dst: d}).Glue = true
	if h := s.tuplePart(v, 1); h != none {
		s.load(h, 0)
	}
}

// result sets an inline helper's r0 to 0 or -22: fail is the block that earlier checks
// branch to, the current block is the end of the successful path.
func (s *selector) result(v *ir.Value, fail int32) {
	done := s.block()
	put := func(low, high uint32) {
		if d := s.tuplePart(v, 0); d != none {
			s.load(d, low)
		}
		if d := s.tuplePart(v, 1); d != none {
			s.load(d, high)
		}
	}
	put(0, 0)
	s.jump(done)
	if fail >= 0 {
		s.begin(fail)
		e := int32(-errInvalid)
		put(uint32(e), ^uint32(0))
		s.jump(done)
	}
	s.begin(done)
}

// adjustHead moves the packet's start by r2. A constant step to the left within the
// firmware's guarantee needs no check if it can happen only once. A step to the right
// is checked, since it may leave too little of a short frame.
func (s *selector) adjustHead(v *ir.Value) {
	delta := v.Args[2]
	limits := s.env.profile.AdjustHead
	if n, ok := constOf(delta); ok && surelyFits(s.env.profile, int32(n)) && s.env.singleAdjust {
		if n != 0 {
			grow := s.operandOrWordConst(-n)
			s.alu(nfp.ALUSub, mach.LM(1, firmware.VectorStart), mach.LM(1, firmware.VectorStart), grow)
			s.alu(nfp.ALUAdd, mach.LM(1, firmware.VectorLength), mach.LM(1, firmware.VectorLength), grow)
		}
		s.result(v, -1)
		return
	}
	d := s.word(delta)
	fail := s.block()
	start, rel, length, after := s.newReg(), s.newReg(), s.newReg(), s.newReg()
	s.alu(nfp.ALUAdd16, start, d, mach.LM(1, firmware.VectorStart))
	s.alu(nfp.ALUSub, rel, start, mach.Const(uint32(limits.OffMin)))
	s.alu(nfp.ALUSub, none, mach.Const(uint32(limits.OffMax-limits.OffMin)), rel)
	s.branch(nfp.CondCC, fail)
	s.packetLen(length)
	s.alu(nfp.ALUSub, after, length, d)
	s.alu(nfp.ALUSub, none, after, mach.Const(firmware.ShortestPacket))
	s.branch(nfp.CondLT, fail)
	s.field(mach.LM(1, firmware.VectorStart), start, 0b0011, nfp.ShiftNone, 0, false)
	s.alu(nfp.ALUSub, mach.LM(1, firmware.VectorLength), mach.LM(1, firmware.VectorLength), d)
	s.result(v, fail)
}

// operandOrWordConst is a constant as an operand.
func (s *selector) operandOrWordConst(n uint32) nfp.Operand {
	if n <= 255 {
		return mach.Const(n)
	}
	return s.number(n)
}

// adjustTail moves the packet's end by r2, never outward.
func (s *selector) adjustTail(v *ir.Value) {
	d := s.word(v.Args[2])
	fail := s.block()
	length, after := s.newReg(), s.newReg()
	s.alu(nfp.ALUSub, none, mach.Const(0), d)
	s.branch(nfp.CondLT, fail)
	s.packetLen(length)
	s.alu(nfp.ALUAdd, after, length, d)
	s.alu(nfp.ALUSub, none, after, mach.Const(firmware.ShortestPacket))
	s.branch(nfp.CondLT, fail)
	s.alu(nfp.ALUAdd, mach.LM(1, firmware.VectorLength), mach.LM(1, firmware.VectorLength), d)
	s.result(v, fail)
}
