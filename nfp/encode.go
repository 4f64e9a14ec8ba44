package nfp

import "fmt"

// EncodeError names the part of an instruction that has no encoding.
type EncodeError struct {
	Form string // row of the form table
	Prop Prop   // what is wrong, PropNone for the whole
	Msg  string
}

func (e *EncodeError) Error() string {
	if e.Prop == PropNone {
		return e.Form + ": " + e.Msg
	}
	return e.Form + ": " + e.Prop.String() + ": " + e.Msg
}

// Encode returns the word of an instruction: Raw if it is set, else the only word an
// assembler writes for it. Errors are *EncodeError.
func Encode(in Inst) (Word, error) {
	if in.Raw != 0 {
		if in.Raw>>45 != 0 {
			return 0, &EncodeError{"raw", PropNone, fmt.Sprintf("word %#x has bits above 44", uint64(in.Raw))}
		}
		return in.Raw, nil
	}
	f := in.form()
	if f == nil {
		return 0, &EncodeError{fmt.Sprintf("operation %d.%d", in.Op, in.Fn), PropNone, "no such instruction"}
	}
	return f.encode(&in)
}

func (f *Form) fail(p Prop, format string, args ...any) error {
	return &EncodeError{f.Name, p, fmt.Sprintf(format, args...)}
}

func (f *Form) encode(in *Inst) (Word, error) {
	if err := f.check(in); err != nil {
		return 0, err
	}
	w := f.Value
	for i := range f.Fields {
		x := &f.Fields[i]
		v, err := f.number(x, in)
		if err != nil {
			return 0, err
		}
		b, over := x.put(v)
		if over != 0 {
			return 0, f.fail(x.Prop, "%d is out of range", in.get(x.Prop))
		}
		w |= b
	}
	if f.DstBank != 0 && in.Dst.BankB() {
		w |= 1 << f.DstBank
	}
	if f.DstLM != 0 && in.Dst.Kind == LM && in.Dst.Ptr > 1 {
		w |= 1 << f.DstLM
	}
	if f.Pair == nil {
		return w, nil
	}
	b, err := f.place(in)
	return w | b, err
}

// check refuses properties for which the form has no field, and those that the
// text would not show.
func (f *Form) check(in *Inst) error {
	if f.Reserved {
		return f.fail(PropNone, "reserved encoding")
	}
	for _, o := range [...]struct {
		p Prop
		o Operand
	}{{PropDst, in.Dst}, {PropA, in.A}, {PropB, in.B}} {
		if f.roles&roleBit(o.p) == 0 && o.o.Kind != None {
			return f.fail(o.p, "%v: the instruction has no such operand", o.o)
		}
	}
	if x := in.Flags &^ f.flags; x != 0 {
		for p, fl := range flagOf {
			if fl&x != 0 {
				return f.fail(Prop(p), "the instruction has no such option")
			}
		}
		return f.fail(PropNone, "option %#x does not belong to the instruction", x)
	}
	if in.Defer > f.MaxDefer {
		return f.fail(PropDefer, "%d defer slots, at most %d", in.Defer, f.MaxDefer)
	}
	if in.Flags&WriteBoth != 0 && !in.Dst.GPR() && in.Dst.Kind != Virtual {
		return f.fail(PropWriteBoth, "destination %v is not a general register", in.Dst)
	}
	if in.Shift != ShiftNone && in.Op != OpShf && in.Op != OpLdField {
		return f.fail(PropShift, "the instruction has no shift")
	}
	switch in.Op {
	case OpImmed:
		return f.checkImmed(in)
	case OpCtxArb:
		return f.checkArb(in)
	case OpCmd:
		return f.checkCommand(in)
	case OpALU:
		return f.checkControl(in)
	case OpShf:
		if in.Fn >= uint8(ShfByteAlign) && (in.Shift != ShiftNone || in.Amount != 0) {
			return f.fail(PropShift, "BYTE_INDEX gives the shift")
		}
	case OpCSRRead, OpCSRWrite:
		if in.Imm&3 != 0 {
			return f.fail(PropImm, "register address %#x is not a multiple of 4", in.Imm)
		}
	case OpBrBit:
		if in.Imm > 31 {
			return f.fail(PropImm, "bit %d, a register has 32", in.Imm)
		}
	case OpBrByte:
		if in.Imm > 0xff {
			return f.fail(PropImm, "value %#x is more than a byte", in.Imm)
		}
	}
	return nil
}

func (f *Form) checkImmed(in *Inst) error {
	switch {
	case in.Dst.Kind == None && in.Imm == 0 && (in.Fn != ImmedAll || in.Flags != 0 || in.Amount != 0):
		return f.fail(PropDst, "a constant 0 without a destination is nop")
	case in.Imm > 0xffff, in.Fn == ImmedByte && in.Imm > 0xff:
		return f.fail(PropImm, "%#x is out of range", in.Imm)
	case in.Fn != ImmedAll && in.Flags&Invert != 0:
		return f.fail(PropInvert, "a part of a register takes no inverted constant")
	case in.Amount%8 != 0 || in.Fn == ImmedAll && in.Amount > 16:
		return f.fail(PropAmount, "shift by %d, only 0, 8 and 16 exist", in.Amount)
	}
	return nil
}

func (f *Form) checkArb(in *Inst) error {
	fl := in.Flags
	switch {
	case fl&Resume == 0 && in.Target != 0:
		return f.fail(PropTarget, "target without br")
	case fl&Breakpoint != 0:
		if in.Imm != 0 || fl&NoLoad != 0 {
			return f.fail(PropImm, "a breakpoint waits for no events")
		}
	case in.Imm > 0xffff:
		return f.fail(PropImm, "event mask %#x has more than 16 bits", in.Imm)
	case fl&NoLoad != 0 && in.Imm != 0:
		return f.fail(PropNoLoad, "-- together with events")
	case in.Imm&1 != 0 && in.Imm != 1:
		return f.fail(PropImm, "voluntary together with signals")
	case in.Imm == 0 && fl&(NoLoad|Any) == Any:
		return f.fail(PropAny, "kill waits for no events")
	}
	return nil
}

// checkCommand refuses extended pointers and units that do not exist.
func (f *Form) checkCommand(in *Inst) error {
	for _, o := range [...]struct {
		p Prop
		o Operand
	}{{PropA, in.A}, {PropB, in.B}} {
		if o.o.Kind == LM && o.o.Ptr > 1 {
			return f.fail(o.p, "%v: commands reach pointers 0 and 1 only", o.o)
		}
	}
	c := in.Cmd
	token, length := c.Token, c.Len
	if c.Mode == 6 {
		token, length = 0, uint8(in.Imm>>23&7)
	}
	if CommandOf(c.Code, token, length) == nil {
		return f.fail(PropCode, "target and action %#x with token %d and length %d is no command", c.Code, token, length+1)
	}
	return nil
}

func (f *Form) checkControl(in *Inst) error {
	switch ALUOp(in.Fn) {
	case ALUCamLook:
		if in.Imm > 3 || in.Byte > 3 {
			return f.fail(PropImm, "lm_addr%d[%d]: both numbers are 0 to 3", in.Byte, in.Imm)
		}
		if in.Flags&LoadLM == 0 && (in.Imm != 0 || in.Byte != 0) {
			return f.fail(PropImm, "local memory address without a load")
		}
	case ALUCRC:
		if in.Imm > 7 || crcNames[in.Imm] == "" {
			return f.fail(PropImm, "no polynomial %d", in.Imm)
		}
		if in.Byte > 6 {
			return f.fail(PropByte, "no byte subset %d", in.Byte)
		}
	}
	return nil
}

// number returns a field's value for an instruction.
func (f *Form) number(x *Field, in *Inst) (uint32, error) {
	switch x.Code {
	case Hidden:
		return x.Want, nil
	case DestU, DestR:
		if in.Dst.Kind == None {
			if x.Code == DestR {
				return 0x20, nil
			}
			return 0x300, nil
		}
		if in.Dst.Kind == Const {
			return 0, f.fail(PropDst, "a constant is no destination")
		}
		v, err := encodeOperand(in.Dst, x.Code == DestR, 0)
		if err != nil {
			return 0, f.fail(PropDst, "%v", err)
		}
		return v, nil
	case Quarter:
		return in.get(x.Prop) / 4, nil
	case Eighth:
		return in.get(x.Prop) / 8, nil
	case ShiftPair:
		return f.shift(in)
	}
	return in.get(x.Prop), nil
}

func (f *Form) shift(in *Inst) (uint32, error) {
	n := uint32(in.Amount)
	if n > 31 {
		return 0, f.fail(PropShift, "distance %d, at most 31", n)
	}
	switch in.Shift {
	case ShiftNone:
		if n != 0 {
			return 0, f.fail(PropShift, "distance %d without a shift", n)
		}
		return 0, nil
	case ShiftRotate:
		if n == 0 {
			return 0, f.fail(PropShift, "rotation by 0")
		}
		return n << 2, nil
	case ShiftRight:
		return 1 | n<<2, nil
	case ShiftLeft:
		return 2 | (32-n)&31<<2, nil
	}
	return 0, f.fail(PropShift, "no double shift here")
}

// place puts the two sources in their slots: uncrossed if their banks allow it,
// else crossed if the word can say so.
func (f *Form) place(in *Inst) (Word, error) {
	p := f.Pair
	x, px, err := f.source(in, p.X)
	if err != nil {
		return 0, err
	}
	y, py, err := f.source(in, p.Y)
	if err != nil {
		return 0, err
	}
	if err := f.agree(x, y, px, py); err != nil {
		return 0, err
	}
	if p.Cross == ConstTwice && x.Kind == Const {
		y = x
	}
	var w Word
	if cross := x.BankB() || y.BankA(); cross && p.DstBank == 0 {
		switch p.Cross {
		case Never:
			if x.BankB() {
				return 0, f.fail(px, "%v must be of bank A or no general register", x)
			}
			return 0, f.fail(py, "%v must be of bank B or no general register", y)
		case SwapBit:
			w |= 1 << p.Swap
		}
		x, y, px, py = y, x, py, px
	}
	if p.DstBank != 0 && x.BankB() {
		w |= 1 << p.DstBank
	}
	a, err := f.slot(x, px, p.A)
	if err != nil {
		return 0, err
	}
	b, err := f.slot(y, py, p.B)
	return w | a | b, err
}

// raw operand kinds used between source and slot: a code that is no operand.
const codeKind = numKinds

// source is the operand that has a role.
func (f *Form) source(in *Inst, r Role) (Operand, Prop, error) {
	switch r {
	case Dest:
		if in.Dst.Kind == None && f.Op != OpLdField && f.Op != OpUstore {
			return Operand{Kind: Const}, PropDst, nil // code 0x300: no destination
		}
		if in.Dst.Kind == Const {
			return in.Dst, PropDst, f.fail(PropDst, "a constant is no destination")
		}
		return in.Dst, PropDst, f.present(in.Dst, PropDst)
	case Left:
		if f.Op == OpBrBit || f.Op == OpBrByte || f.Op == OpRtn {
			if in.A.Kind == Const {
				return in.A, PropA, f.fail(PropA, "a constant, a register is needed")
			}
		}
		return in.A, PropA, f.present(in.A, PropA)
	case Right:
		return in.B, PropB, f.present(in.B, PropB)
	case ImmLow:
		return Operand{Kind: Const, N: in.Imm & 0xff}, PropImm, nil
	case BitNumber:
		return Operand{Kind: Const, N: in.Imm + 1}, PropImm, nil
	case Zero:
		return Operand{Kind: Const}, PropNone, nil
	case CamControl:
		var c uint32
		if in.Flags&LoadLM != 0 {
			c = 1 | uint32(in.Byte&1)<<1 | in.Imm<<2 | uint32(in.Byte>>1)<<4
		}
		return Operand{Kind: codeKind, N: c}, PropImm, nil
	case CRCControl:
		return Operand{Kind: codeKind, N: in.Imm<<5 | b2u(in.Flags&BitSwap != 0)<<4 | b2u(in.Flags&LittleEndian != 0)<<3 | uint32(in.Byte)}, PropImm, nil
	}
	return Operand{Kind: codeKind}, PropNone, nil
}

func (f *Form) present(o Operand, p Prop) error {
	if o.Kind == None {
		return f.fail(p, "missing")
	}
	return nil
}

// agree refuses two sources that one instruction cannot have.
func (f *Form) agree(x, y Operand, px, py Prop) error {
	if f.Op == OpImmed || f.Op == OpUstore || f.Pair.Cross == ConstTwice || x.Kind == codeKind || y.Kind == codeKind || x.Kind.class() != y.Kind.class() {
		return nil
	}
	p := py
	if p == PropNone || p == PropImm {
		p = px
	}
	switch {
	case x.BankA():
		return f.fail(p, "%v and %v are both of bank A", x, y)
	case x.BankB():
		return f.fail(p, "%v and %v are both of bank B", x, y)
	case x.Kind == Const:
		return f.fail(p, "%v and %v: one constant at most", x, y)
	}
	return f.fail(p, "%v and %v: two sources of the same kind", x, y)
}

// slot is the word with an operand's code in a slot.
func (f *Form) slot(o Operand, p Prop, at Range) (Word, error) {
	var w Word
	if o.Kind == codeKind {
		return Word(o.N) << at.Lo, nil
	}
	wide := uint8(8)
	if f.Pair.Restricted && f.Pair.I8 == 0 {
		wide = 7
	}
	code, err := encodeOperand(o, f.Pair.Restricted, wide)
	if err != nil {
		return 0, f.fail(p, "%v", err)
	}
	if o.Kind == Const && f.Pair.I8 != 0 && o.N&0x80 != 0 {
		w |= 1 << f.Pair.I8
	}
	if o.Kind == LM && o.Ptr > 1 && p != PropDst {
		if f.SrcLM == 0 {
			return 0, f.fail(p, "%v: pointers 0 and 1 only", o)
		}
		w |= 1 << f.SrcLM
	}
	return w | Word(code)<<at.Lo, nil
}
