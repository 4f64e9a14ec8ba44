package nfp

// Queries about the reads, writes and requirements of an instruction, for
// allocators, schedulers and checkers. All answers follow from the form table.

// Form returns the table's row of an instruction; ok is false if there is none.
func (in *Inst) Form() (f Form, ok bool) {
	p := in.row()
	if p == nil {
		return Form{}, false
	}
	return *p, true
}

func (in *Inst) row() *Form {
	if in.Raw != 0 {
		return formOfWord(in.Raw)
	}
	return in.form()
}

func (in *Inst) effects() Effects {
	if f := in.row(); f != nil {
		return f.Effects
	}
	return 0
}

// Latency is the instruction's timing class.
func (in *Inst) Latency() Latency {
	if f := in.row(); f != nil {
		return f.Latency
	}
	return LatencyNone
}

// MaxDefer is the number of defer slots that the instruction may have. A command that
// swaps has two, given by Cmd.Ctx.
func (in *Inst) MaxDefer() int {
	if in.Op == OpCmd && in.Swaps() {
		return SwapSlots
	}
	if f := in.row(); f != nil {
		return int(f.MaxDefer)
	}
	return 0
}

// Slots is the number of words after the instruction that are its defer slots.
func (in *Inst) Slots() int {
	if in.Op == OpCmd && in.Swaps() {
		return int(in.Cmd.Ctx)
	}
	return int(in.Defer)
}

// ReadsDst reports whether the destination is also a source: ld_field, immed_b and
// immed_w keep its other bits, and so does every predicated instruction.
func (in *Inst) ReadsDst() bool {
	return in.Dst.Kind != None && in.Dst.Kind != Const && (in.effects()&ReadsDst != 0 || in.Flags&Predicate != 0)
}

// Sources appends the operands that the instruction reads: A, B, and a
// destination of which bits stay. It omits constants and missing operands.
// Transfer returns the out-registers that a command sends.
func (in *Inst) Sources(t []Operand) []Operand {
	for _, o := range [...]Operand{in.A, in.B} {
		if o.Kind != None && o.Kind != Const {
			t = append(t, o)
		}
	}
	if in.ReadsDst() {
		t = append(t, in.Dst)
	}
	return t
}

// Dests appends the operands the instruction writes: the destination, in both banks
// with WriteBoth. Transfer returns the in-registers that a command fills.
func (in *Inst) Dests(t []Operand) []Operand {
	if in.Dst.Kind == None {
		return t
	}
	t = append(t, in.Dst)
	if in.Flags&WriteBoth != 0 && in.Dst.GPR() {
		t = append(t, in.Dst.OtherBank())
	}
	return t
}

// OtherBank is the register of the same number in the other bank; the operand itself
// if it is no general register.
func (o Operand) OtherBank() Operand {
	switch o.Kind {
	case GPRA, AbsA:
		o.Kind++
	case GPRB, AbsB:
		o.Kind--
	}
	return o
}

// ReadsCC reports whether the instruction uses condition codes.
func (in *Inst) ReadsCC() bool { return in.effects()&ReadsCC != 0 }

// WritesCC reports whether the instruction sets condition codes.
func (in *Inst) WritesCC() bool {
	if in.effects()&WritesCC == 0 || in.Flags&NoCC != 0 {
		return false
	}
	return in.Op != OpLdField || in.Flags&LoadCC != 0
}

// ReadsPrevious reports whether the instruction reads a side result of the word
// right before it. That is the amount of an indirect shift, the sign of asr, the
// other source of byte_align, the override of an indirect reference, or the earlier
// steps of a population count or of a multiplication. The word after a local_csr_rd
// reads one too.
func (in *Inst) ReadsPrevious() bool {
	switch {
	case in.effects()&ReadsPrev != 0:
		return true
	case in.Op == OpCmd:
		return in.Flags&Indirect != 0
	}
	return in.ShiftsIndirectly()
}

// ShiftsIndirectly reports whether the amount of the instruction's shift is the A port
// of the word right before it.
func (in *Inst) ShiftsIndirectly() bool {
	return (in.Op == OpShf || in.Op == OpLdField) && in.Shift != ShiftNone && in.Shift != ShiftRotate && in.Amount == 0
}

// Branches reports whether the instruction may leave the sequence.
func (in *Inst) Branches() bool {
	switch in.Op {
	case OpBr, OpBrBit, OpBrByte, OpRtn:
		return true
	case OpCtxArb:
		return in.Flags&Resume != 0
	}
	return false
}

// AlwaysBranches reports whether the instruction never goes on to the next one.
func (in *Inst) AlwaysBranches() bool {
	return in.Branches() && in.Op != OpBrBit && in.Op != OpBrByte && (in.Op != OpBr || Cond(in.Fn) == CondAlways)
}

// Controls reports whether the instruction branches or waits, and so has defer slots
// of its own. A command that swaps does not count.
func (in *Inst) Controls() bool { return in.effects()&ControlsPC != 0 }

// Computes reports whether all that the instruction does is to compute a value from
// its operands and set condition codes.
func (in *Inst) Computes() bool {
	switch in.Op {
	case OpALU, OpShf, OpLdField, OpImmed:
		return true
	}
	return false
}

// IsMove reports whether the instruction is dst = src and nothing else: condition
// codes stay.
func (in *Inst) IsMove() bool {
	return in.Op == OpALU && ALUOp(in.Fn) == ALUB && in.Flags == NoCC
}

// HasTarget reports whether Target is a branch address.
func (in *Inst) HasTarget() bool {
	switch in.Op {
	case OpBr, OpBrBit, OpBrByte:
		return true
	case OpCtxArb:
		return in.Flags&Resume != 0
	}
	return false
}

// Swaps reports whether another context may run before the next word.
func (in *Inst) Swaps() bool {
	return in.Op == OpCtxArb || in.Op == OpCmd && in.Cmd.Ctx != 3
}

// RegA is register n of bank A, RegB of bank B.
func RegA(n int) Operand { return Operand{Kind: GPRA, N: uint32(n)} }

// RegB is register n of bank B.
func RegB(n int) Operand { return Operand{Kind: GPRB, N: uint32(n)} }

// LocalMem is the word at an offset from a local memory pointer.
func LocalMem(ptr, offset int) Operand { return Operand{Kind: LM, Ptr: uint8(ptr), N: uint32(offset)} }

// Num is a constant operand.
func Num(v uint32) Operand { return Operand{Kind: Const, N: v} }

// Nop does nothing.
func Nop() Inst { return Inst{Op: OpNop} }

// ALU is dst = a op b; a is None for B and ~B.
func ALU(dst, a Operand, op ALUOp, b Operand) Inst {
	return Inst{Op: OpALU, Fn: uint8(op), Dst: dst, A: a, B: b}
}

// Move is dst = src.
func Move(dst, src Operand) Inst { return ALU(dst, Operand{}, ALUB, src) }

// Immediate is dst = v if one instruction can encode it: 16 bits shifted by 0, 8 or
// 16, or the complement of such a number. ok is false if it takes two, see LoadConst.
func Immediate(dst Operand, v uint32) (in Inst, ok bool) {
	in = Inst{Op: OpImmed, Fn: ImmedAll, Dst: dst}
	for _, f := range [...]Flags{0, Invert} {
		for _, s := range [...]uint8{0, 8, 16} {
			if x := v >> s; x <= 0xffff && x<<s == v {
				in.Imm, in.Amount, in.Flags = x, s, f
				return in, true
			}
		}
		v = ^v
	}
	return Inst{}, false
}

// LoadConst appends the one or two words that set dst to v.
func LoadConst(t []Inst, dst Operand, v uint32) []Inst {
	if in, ok := Immediate(dst, v); ok {
		return append(t, in)
	}
	return append(t,
		Inst{Op: OpImmed, Fn: ImmedAll, Dst: dst, Imm: v & 0xffff},
		Inst{Op: OpImmed, Fn: ImmedWord, Dst: dst, Imm: v >> 16, Amount: 16})
}

// Branch goes to target if the condition holds.
func Branch(c Cond, target int) Inst {
	return Inst{Op: OpBr, Fn: uint8(c), Target: uint16(target)}
}
