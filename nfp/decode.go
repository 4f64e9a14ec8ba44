package nfp

import "fmt"

// DecodeError describes a word that is no instruction.
type DecodeError struct {
	Word Word
	Msg  string
}

func (e *DecodeError) Error() string { return fmt.Sprintf("word %#011x: %s", uint64(e.Word), e.Msg) }

// Decode returns the instruction of a word. Raw is set if Encode would write another
// word for the same text; fields that the text does not show (Pip, CSS of ordinary
// branches) are filled in only then. Errors are *DecodeError: no form has the word, or
// one of its operands, its command or its polynomial is undefined.
func Decode(w Word) (Inst, error) {
	f := formOfWord(w)
	if f == nil {
		return Inst{}, &DecodeError{w, "undefined instruction"}
	}
	in := Inst{Op: f.Op}
	for _, s := range f.Fixed {
		in.set(s.Prop, s.Value)
	}
	for i := range f.Fields {
		if err := f.take(&f.Fields[i], &in, w); err != nil {
			return Inst{}, err
		}
	}
	if f.Pair != nil {
		if err := f.unplace(&in, w); err != nil {
			return Inst{}, err
		}
	}
	if err := f.defined(&in, w); err != nil {
		return Inst{}, err
	}
	if f.Reserved {
		in.Raw = w
	} else if x, err := f.encode(&in); err != nil || x != w {
		in.Raw = w
		for i := range f.Fields {
			if x := &f.Fields[i]; x.Code == Hidden && x.Prop != PropNone {
				in.set(x.Prop, x.get(w))
			}
		}
	}
	return in, nil
}

// take reads one field.
func (f *Form) take(x *Field, in *Inst, w Word) error {
	v := x.get(w)
	switch x.Code {
	case Hidden:
	case DestU, DestR:
		bankB := f.DstBank != 0 && w>>f.DstBank&1 != 0
		lm := f.DstLM != 0 && w>>f.DstLM&1 != 0
		o := decodeOperand(v, x.Code == DestR, bankB, lm, false)
		switch o.Kind {
		case None:
			return &DecodeError{w, fmt.Sprintf("undefined destination %#x", v)}
		case Const:
			o = Operand{}
		}
		in.Dst = o
	case Quarter:
		in.set(x.Prop, v*4)
	case Eighth:
		in.set(x.Prop, v*8)
	case ShiftPair:
		in.Shift, in.Amount = shiftOf(v&3, uint8(v>>2))
	default:
		in.set(x.Prop, v)
	}
	return nil
}

// shiftOf is the inverse of Form.shift.
func shiftOf(control uint32, n uint8) (ShiftKind, uint8) {
	switch control {
	case 0:
		if n == 0 {
			return ShiftNone, 0
		}
		return ShiftRotate, n
	case 1:
		return ShiftRight, n
	case 2:
		return ShiftLeft, (32 - n) & 31
	}
	return ShiftDouble, n
}

// unplace reads the two slots.
func (f *Form) unplace(in *Inst, w Word) error {
	p := f.Pair
	a, b := p.A.of(w), p.B.of(w)
	crossed := false
	switch p.Cross {
	case SwapBit:
		crossed = w>>p.Swap&1 != 0
	case ConstInA:
		crossed = p.constant(a)
	case ConstInB:
		crossed = !p.constant(b) && p.constant(a)
	case ConstTwice:
		crossed = p.constant(a) && !p.constant(b)
	}
	x, y := a, b
	if crossed {
		x, y = b, a
	}
	if err := f.assign(in, p.X, x, crossed, w); err != nil {
		return err
	}
	return f.assign(in, p.Y, y, !crossed, w)
}

// constant reports whether a code is a constant's.
func (p *Pair) constant(code uint32) bool {
	if p.Restricted {
		return code&0x20 != 0
	}
	return code >= 0x300
}

// assign sets the property that a role names from a slot's code; slotB reports
// whether it is slot B.
func (f *Form) assign(in *Inst, r Role, code uint32, slotB bool, w Word) error {
	p := f.Pair
	switch r {
	case Empty, Zero:
		return nil
	case CamControl:
		if code&3 != 0 {
			in.Flags |= LoadLM
			in.Imm, in.Byte = code>>2&3, uint8(code>>1&1|code>>3&2)
		}
		return nil
	case CRCControl:
		in.Imm, in.Byte = code>>5&7, uint8(code&7)
		if code&8 != 0 {
			in.Flags |= LittleEndian
		}
		if code&16 != 0 {
			in.Flags |= BitSwap
		}
		return nil
	}
	lm := f.SrcLM
	if r == Dest {
		lm = f.DstLM
		if p.DstBank != 0 {
			slotB = w>>p.DstBank&1 != 0
		}
	}
	o := decodeOperand(code, p.Restricted, slotB, lm != 0 && w>>lm&1 != 0, p.I8 != 0 && w>>p.I8&1 != 0)
	if o.Kind == None && (r != ImmLow && r != BitNumber || f.Op == OpBrByte) {
		return &DecodeError{w, fmt.Sprintf("undefined operand %#x", code)}
	}
	switch r {
	case Dest:
		in.Dst = o
		if o.Kind == Const && (f.Op == OpImmed || f.Op == OpMul && o.N == 0) {
			in.Dst = Operand{}
		}
	case Left:
		in.A = o
	case Right:
		in.B = o
	case ImmLow, BitNumber:
		in.immediate(r, o)
	}
	return nil
}

// immediate reads the slot of a constant. No assembler writes a word with a
// register there. It is read as the disassembler prints it, as if the constant
// were -1.
func (in *Inst) immediate(r Role, o Operand) {
	n := o.N
	if o.Kind != Const {
		n = ^uint32(0)
		if in.Op == OpBrByte {
			in.B = o
		}
	}
	switch {
	case r == BitNumber:
		in.Imm = (n - 1) & 31
	case o.Kind == Const:
		in.Imm |= n
	default:
		in.Imm = n
	}
}

// defined checks the codes that are no operands.
func (f *Form) defined(in *Inst, w Word) error {
	switch {
	case f.Op == OpCmd:
		if in.command() == nil {
			return &DecodeError{w, fmt.Sprintf("undefined command %#x, token %d, length %d", in.Cmd.Code, in.Cmd.Token, in.Cmd.Len+1)}
		}
	case f.Op == OpALU && ALUOp(in.Fn) == ALUCRC:
		if crcNames[in.Imm] == "" {
			return &DecodeError{w, fmt.Sprintf("undefined polynomial %d", in.Imm)}
		}
		if in.Byte > 6 {
			return &DecodeError{w, fmt.Sprintf("undefined byte subset %d", in.Byte)}
		}
	}
	return nil
}
