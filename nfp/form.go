package nfp

import (
	"slices"
	"sync"
)

// The form table says everything there is to say about an instruction layout:
// which words belong to it, what each bit means, how it is written, how long it
// takes. Encode, Decode, String and Parse are walks over it (table.go has the
// rows, operand.go the two operand code spaces). Facts and their sources:
// docs/isa-notes.md.

// Prop names one property of an Inst that a field of a word can hold.
type Prop uint8

const (
	PropNone Prop = iota
	PropDst
	PropA
	PropB
	PropFn
	PropShift  // Shift and Amount together
	PropAmount // Amount alone
	PropMask
	PropImm
	PropImmLow  // Imm bits 7:0
	PropImmHigh // Imm from bit 8 up
	PropByte
	PropCSS
	PropPip
	PropTarget
	PropDefer
	PropCode
	PropToken
	PropLen
	PropSig
	PropCtx
	PropMode
	PropXfer
	PropNoCC
	PropWriteBoth
	PropPredicate
	PropClearOther
	PropLoadCC
	PropInvert
	PropIndirect
	PropAny
	PropBreakpoint
	PropNoLoad
	PropResume
	PropEmptyDst // 1 if Dst is None
	numProps
)

var propNames = [numProps]string{
	PropDst: "destination", PropA: "left operand", PropB: "right operand", PropFn: "operation", PropShift: "shift",
	PropAmount: "shift amount", PropMask: "byte mask", PropImm: "constant", PropImmLow: "constant", PropImmHigh: "constant",
	PropByte: "byte number", PropCSS: "state number", PropPip: "EV_PIP", PropTarget: "branch target", PropDefer: "defer count",
	PropCode: "command", PropToken: "token", PropLen: "length", PropSig: "signal", PropCtx: "ctx field", PropMode: "address mode",
	PropXfer: "transfer register", PropNoCC: "no_cc", PropWriteBoth: "gpr_wrboth", PropPredicate: "predicate_cc",
	PropClearOther: "w_clr", PropLoadCC: "load_cc", PropInvert: "inversion", PropIndirect: "indirect_ref", PropAny: "any",
	PropBreakpoint: "bpt", PropNoLoad: "--", PropResume: "br", PropEmptyDst: "destination",
}

func (p Prop) String() string { return propNames[p] }

// Range is Width bits from bit Lo up.
type Range struct{ Lo, Width uint8 }

// Coding is the encoding of a property as a field's number.
type Coding uint8

const (
	AsIs      Coding = iota
	Quarter          // value / 4 (CSR addresses)
	Eighth           // value / 8 (immed shifts)
	ShiftPair        // bits 1:0 shift control, bits 6:2 amount, left shifts as 32 - n
	DestU            // unrestricted operand code, a constant meaning none
	DestR            // restricted operand code, a constant meaning none
	Hidden           // not in the text; Want in every word Encode writes
)

// Field is one property's place in a word; Bits has the least significant piece first.
type Field struct {
	Prop Prop
	Bits []Range
	Code Coding
	Want uint32
}

// Role is the kind of content of an operand slot.
type Role uint8

const (
	Empty      Role = iota // code 0
	Dest                   // Inst.Dst
	Left                   // Inst.A
	Right                  // Inst.B
	ImmLow                 // constant Imm bits 7:0
	BitNumber              // constant Imm + 1
	Zero                   // constant 0
	CamControl             // LM pointer load of cam_lookup, no operand
	CRCControl             // polynomial and byte subset of crc, no operand
)

// Cross is the form in which a word marks that the operands are in each other's
// slots, because their banks require it.
type Cross uint8

const (
	Never      Cross = iota
	SwapBit          // Pair.Swap is set
	ConstInA         // the constant stands in slot A; looked for there first
	ConstInB         // same, but slot B is tried first
	ConstTwice       // ConstInA, and a constant operand stands in both slots
)

// Pair is the two source slots of a word.
type Pair struct {
	X, Y       Role // in slot A and slot B of an uncrossed word
	Cross      Cross
	Restricted bool
	A, B       Range
	Swap       uint8 // bit number
	I8         uint8 // bit number of bit 7 of restricted constants; 0 if there is none
	DstBank    uint8 // bit number of the bank of X = Dest; 0 if the slot determines it
}

// Setting is a property with the value it must have.
type Setting struct {
	Prop  Prop
	Value uint32
}

// Pattern is a set of words.
type Pattern struct{ Mask, Value Word }

// Syntax is one text of a form, for the instructions that have the settings When.
// Names in braces are operands and options, see elements in syntax.go.
type Syntax struct {
	When []Setting
	Text string
}

// SwapSlots is how many defer slots an instruction has that gives the engine to
// another context.
const SwapSlots = 2

// Latency is the class of an instruction's timing. Timing has the numbers.
type Latency uint8

const (
	LatencyNone     Latency = iota
	LatencyALU              // result usable by the next word
	LatencyMul              // part of a multiplication; the result comes with last
	LatencyCSRRead          // value delivered by the next word, an immed
	LatencyCSRWrite         // seen by the fourth word after it
	LatencyBranch           // taken always
	LatencyCond             // taken or not
	LatencyJump             // rtn, jump
	LatencySwap             // gives the engine to another context
	LatencyCommand          // goes to a memory or unit; the ctx field says whether it swaps
	LatencyUstore           // code store access
)

// Effects are an operation's reads and writes other than its operands.
type Effects uint8

const (
	ReadsDst   Effects = 1 << iota // the destination's other bits stay
	ReadsCC                        // tests or adds in condition codes
	WritesCC                       // sets condition codes, unless no_cc
	ReadsPrev                      // uses the result or operand of the word before it
	ControlsPC                     // branches, may have defer slots
)

// Form is one instruction layout. A word belongs to it if word & Mask == Value
// and it matches no pattern of Except.
type Form struct {
	Name        string
	Op          Op
	Fixed       []Setting // properties all its instructions share, beside Op
	Mask, Value Word
	Except      []Pattern
	Fields      []Field
	Pair        *Pair
	SrcLM       uint8 // bit number of the source pointer extension; 0 if there is none
	DstLM       uint8
	DstBank     uint8 // bit number of the destination's bank; 0 if there is none
	Syntax      []Syntax
	Latency     Latency
	Effects     Effects
	MaxDefer    uint8
	// Reserved forms have words that the disassembler prints but nothing writes:
	// Encode refuses them, Decode sets Raw.
	Reserved bool
	Doc      string

	flags Flags // flags the form has
	roles uint8 // bit set of Prop{Dst,A,B}
}

// has reports whether w belongs to the form.
func (f *Form) has(w Word) bool {
	if w&f.Mask != f.Value {
		return false
	}
	for _, e := range f.Except {
		if w&e.Mask == e.Value {
			return false
		}
	}
	return true
}

func (r Range) of(w Word) uint32 { return uint32(w>>r.Lo) & (1<<r.Width - 1) }

// get collects a field's number from a word.
func (f *Field) get(w Word) uint32 {
	var v uint32
	n := uint8(0)
	for _, r := range f.Bits {
		v |= r.of(w) << n
		n += r.Width
	}
	return v
}

// put returns a word with the number in the field's bits and the bits it has no room for.
func (f *Field) put(v uint32) (w Word, over uint32) {
	for _, r := range f.Bits {
		w |= Word(v&(1<<r.Width-1)) << r.Lo
		v >>= r.Width
	}
	return w, v
}

var flagOf = [numProps]Flags{
	PropNoCC: NoCC, PropWriteBoth: WriteBoth, PropPredicate: Predicate, PropClearOther: ClearOther, PropLoadCC: LoadCC,
	PropInvert: Invert, PropIndirect: Indirect, PropAny: Any, PropBreakpoint: Breakpoint, PropNoLoad: NoLoad, PropResume: Resume,
}

// get reads a property that is a number.
func (in *Inst) get(p Prop) uint32 {
	switch p {
	case PropFn:
		return uint32(in.Fn)
	case PropShift:
		return uint32(in.Shift)
	case PropAmount:
		return uint32(in.Amount)
	case PropMask:
		return uint32(in.Mask)
	case PropImm:
		return in.Imm
	case PropImmLow:
		return in.Imm & 0xff
	case PropImmHigh:
		return in.Imm >> 8
	case PropByte:
		return uint32(in.Byte)
	case PropCSS:
		return uint32(in.CSS)
	case PropPip:
		return uint32(in.Pip)
	case PropTarget:
		return uint32(in.Target)
	case PropDefer:
		return uint32(in.Defer)
	case PropCode:
		return uint32(in.Cmd.Code)
	case PropToken:
		return uint32(in.Cmd.Token)
	case PropLen:
		return uint32(in.Cmd.Len)
	case PropSig:
		return uint32(in.Cmd.Sig)
	case PropCtx:
		return uint32(in.Cmd.Ctx)
	case PropMode:
		if in.Cmd.Mode < 4 {
			return uint32(in.Cmd.Mode &^ 1)
		}
		return uint32(in.Cmd.Mode)
	case PropXfer:
		return uint32(in.Cmd.Xfer)
	case PropEmptyDst:
		return b2u(in.Dst.Kind == None)
	}
	return b2u(in.Flags&flagOf[p] != 0)
}

// set writes a property that is a number.
func (in *Inst) set(p Prop, v uint32) {
	switch p {
	case PropFn:
		in.Fn = uint8(v)
	case PropShift:
		in.Shift = ShiftKind(v)
	case PropAmount:
		in.Amount = uint8(v)
	case PropMask:
		in.Mask = uint8(v)
	case PropImm:
		in.Imm = v
	case PropImmLow:
		in.Imm = in.Imm&^0xff | v&0xff
	case PropImmHigh:
		in.Imm = in.Imm&0xff | v<<8
	case PropByte:
		in.Byte = uint8(v)
	case PropCSS:
		in.CSS = uint8(v)
	case PropPip:
		in.Pip = uint8(v)
	case PropTarget:
		in.Target = uint16(v)
	case PropDefer:
		in.Defer = uint8(v)
	case PropCode:
		in.Cmd.Code = uint8(v)
	case PropToken:
		in.Cmd.Token = uint8(v)
	case PropLen:
		in.Cmd.Len = uint8(v)
	case PropSig:
		in.Cmd.Sig = uint8(v)
	case PropCtx:
		in.Cmd.Ctx = uint8(v)
	case PropMode:
		in.Cmd.Mode = uint8(v)
	case PropXfer:
		in.Cmd.Xfer = uint8(v)
	default:
		if v != 0 {
			in.Flags |= flagOf[p]
		}
	}
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

func (in *Inst) meets(s []Setting) bool {
	for _, x := range s {
		if in.get(x.Prop) != x.Value {
			return false
		}
	}
	return true
}

// formTable is the rows, compiled, with their indexes.
type formTable struct {
	forms  []Form       // in opcode order
	byBits [512][]*Form // that a word can belong to, by its bits 39:31
	// byOp lists the forms of an operation by Fn; the last list of an operation is
	// that of all larger Fn.
	byOp [numOps][][]*Form
}

// table returns the form table. It is built on first use, since most commands need none.
var table = sync.OnceValue(newFormTable)

func newFormTable() *formTable {
	t := &formTable{forms: compile(rows())}
	for i := range t.byBits {
		for j := range t.forms {
			f := &t.forms[j]
			if m := f.Mask >> 31 & 511; f.Value>>31&511 == Word(i)&m {
				t.byBits[i] = append(t.byBits[i], f)
			}
		}
	}
	for op := range t.byOp {
		t.byOp[op] = formsByFn(t.forms, Op(op))
	}
	return t
}

// formsByFn lists an operation's forms for each Fn up to the largest that a form
// requires, and then for all larger ones.
func formsByFn(forms []Form, op Op) [][]*Form {
	var of []*Form
	lists := 1
	for i := range forms {
		if f := &forms[i]; f.Op == op {
			of = append(of, f)
			if fn, ok := f.fixed(PropFn); ok {
				lists = max(lists, int(fn)+2)
			}
		}
	}
	t := make([][]*Form, lists)
	for i := range t {
		for _, f := range of {
			if fn, ok := f.fixed(PropFn); !ok || int(fn) == i {
				t[i] = append(t[i], f)
			}
		}
	}
	return t
}

// fixed returns the value that all the form's instructions have for a property.
func (f *Form) fixed(p Prop) (uint32, bool) {
	for _, s := range f.Fixed {
		if s.Prop == p {
			return s.Value, true
		}
	}
	return 0, false
}

// Forms returns a copy of the form table, in opcode order.
func Forms() []Form { return slices.Clone(table().forms) }

// formOfWord finds the form of a word, nil for undefined words.
func formOfWord(w Word) *Form {
	if w>>45 != 0 {
		return nil
	}
	for _, f := range table().byBits[w>>31&511] {
		if f.has(w) {
			return f
		}
	}
	return nil
}

// form returns the table's row of an instruction, nil if there is none.
func (in *Inst) form() *Form {
	if in.Op >= numOps {
		return nil
	}
	var reserved *Form
	byFn := table().byOp[in.Op]
	for _, f := range byFn[min(int(in.Fn), len(byFn)-1)] {
		if !in.meets(f.Fixed) {
			continue
		}
		if !f.Reserved {
			return f
		}
		if reserved == nil {
			reserved = f
		}
	}
	return reserved
}

// compile computes the fields that follow from the rows.
func compile(fs []Form) []Form {
	for i := range fs {
		f := &fs[i]
		for _, x := range f.Fields {
			f.flags |= flagOf[x.Prop]
			f.roles |= roleBit(x.Prop)
		}
		for _, x := range f.Fixed {
			f.flags |= flagOf[x.Prop]
		}
		if p := f.Pair; p != nil {
			for _, r := range [...]Role{p.X, p.Y} {
				switch r {
				case Dest:
					f.roles |= roleBit(PropDst)
				case Left:
					f.roles |= roleBit(PropA)
				case Right:
					f.roles |= roleBit(PropB)
				case CRCControl:
					f.flags |= BitSwap | LittleEndian
				case CamControl:
					f.flags |= LoadLM
				}
			}
		}
	}
	return fs
}

func roleBit(p Prop) uint8 {
	switch p {
	case PropDst, PropA, PropB:
		return 1 << p
	}
	return 0
}
