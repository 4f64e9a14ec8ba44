package nfp

import "fmt"

// operandCode is one row of an operand code space: the codes with code & mask ==
// value, their number in the low bits, their local memory pointer's low bit in bit ptr.
type operandCode struct {
	mask, value uint16
	kind        Kind // GPRA means the bank of the slot, AbsA too
	width       uint8
	base        uint8 // number of the first
	ptr         uint8 // bit number, LM only
	mod         int8
}

// unrestricted is the 10-bit code space, restricted the 8-bit one. The first row
// that matches a code decodes it, the first row of a kind and modification
// encodes it; all other codes are aliases that no assembler writes. Codes that no
// row matches are undefined.
var unrestricted = []operandCode{
	{mask: 0x3c0, value: 0x000, kind: GPRA, width: 5},
	{mask: 0x380, value: 0x080, kind: AbsA, width: 7},
	{mask: 0x386, value: 0x102, kind: XferIndex, mod: 1},
	{mask: 0x386, value: 0x104, kind: XferIndex, mod: -1},
	{mask: 0x380, value: 0x100, kind: XferIndex},
	{mask: 0x3c0, value: 0x180, kind: Xfer, width: 5},
	{mask: 0x3c0, value: 0x1c0, kind: Xfer, width: 5, base: 32},
	{mask: 0x3d0, value: 0x200, kind: LM, width: 4, ptr: 5},
	{mask: 0x3d1, value: 0x210, kind: LM, ptr: 5, mod: 1},
	{mask: 0x3d1, value: 0x211, kind: LM, ptr: 5, mod: -1},
	{mask: 0x3c2, value: 0x242, kind: NNIndex, mod: 1},
	{mask: 0x3c0, value: 0x240, kind: NNIndex},
	{mask: 0x3c0, value: 0x280, kind: NN, width: 5},
	{mask: 0x300, value: 0x300, kind: Const, width: 8},
}

var restricted = []operandCode{
	{mask: 0xe0, value: 0x00, kind: GPRA, width: 5},
	{mask: 0x20, value: 0x20, kind: Const, width: 5}, // bits 7:6 of the code are bits 6:5 of the constant
	{mask: 0xf7, value: 0x42, kind: XferIndex, mod: 1},
	{mask: 0xf7, value: 0x44, kind: XferIndex, mod: -1},
	{mask: 0xf1, value: 0x40, kind: XferIndex},
	{mask: 0xf3, value: 0x43, kind: NNIndex, mod: 1},
	{mask: 0xf1, value: 0x41, kind: NNIndex},
	{mask: 0xf0, value: 0x50, kind: LM, width: 3, ptr: 3},
	{mask: 0xe0, value: 0x80, kind: Xfer, width: 5},
	{mask: 0xe0, value: 0xc0, kind: Xfer, width: 5, base: 32},
}

// decoded code spaces, for slot A and pointers 0 and 1
var (
	unrestrictedOperand = decodeSpace(unrestricted, 1024, false)
	restrictedOperand   = decodeSpace(restricted, 256, true)
)

func decodeSpace(rows []operandCode, n int, restricted bool) []Operand {
	t := make([]Operand, n)
	for c := range t {
		for _, r := range rows {
			if uint16(c)&r.mask != r.value {
				continue
			}
			o := Operand{Kind: r.kind, Mod: r.mod, N: uint32(c)&(1<<r.width-1) + uint32(r.base)}
			if r.kind == LM {
				o.Ptr = uint8(c >> r.ptr & 1)
			}
			if r.kind == Const && restricted {
				o.N |= uint32(c) >> 6 << 5
			}
			t[c] = o
			break
		}
	}
	return t
}

// decodeOperand reads a code in slot A, or in slot B with bankB; lm says that the
// pointer extension bit is set, i8 is bit 7 of a restricted constant. None means
// an undefined code.
func decodeOperand(code uint32, restricted, bankB, lm, i8 bool) Operand {
	var o Operand
	if restricted {
		o = restrictedOperand[code]
	} else {
		o = unrestrictedOperand[code]
	}
	switch o.Kind {
	case GPRA, AbsA:
		if bankB {
			o.Kind++ // GPRB and AbsB follow
		}
	case LM:
		o.Ptr += uint8(b2u(lm)) * 2
	case Const:
		o.N += b2u(i8) << 7
	}
	return o
}

// encodeOperand finds the code of an operand. The caller encodes the bank, the
// pointer extension and bit 7 of restricted constants; constants have wide bits
// at most.
func encodeOperand(o Operand, isRestricted bool, wide uint8) (uint32, error) {
	kind := o.Kind
	if kind == GPRB || kind == AbsB {
		kind--
	}
	rows := unrestricted
	if isRestricted {
		rows = restricted
	}
	found := false
	for _, r := range rows {
		if r.kind != kind {
			continue
		}
		found = true
		if r.mod != o.Mod {
			continue
		}
		if kind == Const {
			if o.N >= 1<<wide {
				return 0, fmt.Errorf("constant %#x does not fit in %d bits", o.N, wide)
			}
			if isRestricted {
				return uint32(r.value) | o.N&31 | o.N>>5&3<<6, nil
			}
			return uint32(r.value) | o.N, nil
		}
		if o.N < uint32(r.base) || o.N-uint32(r.base) >= 1<<r.width {
			continue
		}
		code := uint32(r.value) | (o.N - uint32(r.base))
		if kind == LM {
			if o.Ptr > 3 {
				return 0, fmt.Errorf("local memory pointer %d, there are 4", o.Ptr)
			}
			code |= uint32(o.Ptr&1) << r.ptr
		}
		return code, nil
	}
	return 0, operandError(o, isRestricted, found)
}

func operandError(o Operand, isRestricted, kindExists bool) error {
	space := "an unrestricted"
	if isRestricted {
		space = "a restricted"
	}
	switch {
	case o.Kind == Virtual:
		return fmt.Errorf("%v is a virtual register", o)
	case o.Kind == None:
		return fmt.Errorf("operand missing")
	case !kindExists:
		return fmt.Errorf("%v cannot stand in %s operand", o, space)
	case o.Mod != 0:
		return fmt.Errorf("%v: no such post-modification in %s operand", o, space)
	case o.Kind == LM:
		return fmt.Errorf("%v: offset out of range of %s operand", o, space)
	}
	return fmt.Errorf("%v: number out of range of %s operand", o, space)
}

// class groups kinds that cannot both be sources of one instruction.
func (k Kind) class() Kind {
	switch k {
	case AbsA:
		return GPRA
	case AbsB:
		return GPRB
	case XferIndex:
		return Xfer
	case NNIndex:
		return NN
	}
	return k
}

// BankA reports whether the operand is a register of bank A.
func (o Operand) BankA() bool { return o.Kind.class() == GPRA }

// BankB reports whether the operand is a register of bank B.
func (o Operand) BankB() bool { return o.Kind.class() == GPRB }

// GPR reports whether the operand is a general register.
func (o Operand) GPR() bool { return o.BankA() || o.BankB() }

// String prints the operand as objdump does; Virtual as v and its number, None as --.
func (o Operand) String() string { return string(o.append(nil)) }

func (o Operand) append(b []byte) []byte {
	switch o.Kind {
	case GPRA:
		return appendUint(append(b, "gprA_"...), o.N)
	case GPRB:
		return appendUint(append(b, "gprB_"...), o.N)
	case AbsA:
		return appendUint(append(b, "@gprA_"...), o.N)
	case AbsB:
		return appendUint(append(b, "@gprB_"...), o.N)
	case Xfer:
		return appendUint(append(b, "$xfer_"...), o.N)
	case XferIndex:
		return appendMod(append(b, "*$index"...), o.Mod)
	case LM:
		b = appendMod(appendUint(append(b, "*l$index"...), uint32(o.Ptr)), o.Mod)
		if o.N != 0 {
			b = append(appendUint(append(b, '['), o.N), ']')
		}
		return b
	case NN:
		return appendUint(append(b, "n$reg_"...), o.N)
	case NNIndex:
		return appendMod(append(b, "*n$index"...), o.Mod)
	case Const:
		return appendHex(b, o.N)
	case Virtual:
		return appendUint(append(b, 'v'), o.N)
	}
	return append(b, "--"...)
}

func appendMod(b []byte, mod int8) []byte {
	switch {
	case mod > 0:
		return append(b, "++"...)
	case mod < 0:
		return append(b, "--"...)
	}
	return b
}
