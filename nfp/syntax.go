package nfp

import (
	"strings"
	"sync"
)

// element is a piece of a syntax: literal text, or an operand or option that is
// printed from and parsed into an Inst.
type element struct {
	lit   string // if print is nil
	name  string
	prop  Prop // whose column an encoding error names
	print func(b []byte, in *Inst) []byte
	parse func(s *scanner, in *Inst) bool
}

// syntaxes returns the texts of each form, split at their braces. Only printing and
// parsing use them.
var syntaxes = sync.OnceValue(func() map[*Form][][]element {
	t, known, forms := map[*Form][][]element{}, elements(), table().forms
	for i := range forms {
		f := &forms[i]
		for _, s := range f.Syntax {
			t[f] = append(t[f], compileSyntax(f.Name, s.Text, known))
		}
	}
	return t
})

// compileSyntax splits a syntax at its braces.
func compileSyntax(form, text string, elements map[string]element) []element {
	var t []element
	for text != "" {
		i := strings.IndexByte(text, '{')
		if i < 0 {
			i = len(text)
		}
		if i > 0 {
			t = append(t, element{lit: text[:i]})
			text = text[i:]
			continue
		}
		j := strings.IndexByte(text, '}')
		e, ok := elements[text[1:j]]
		if !ok {
			panic("form " + form + ": no element " + text[:j+1])
		}
		e.name = text[1:j]
		t = append(t, e)
		text = text[j+1:]
	}
	return t
}

// elements returns what the names in a syntax stand for.
func elements() map[string]element {
	return map[string]element{
		"dst":    operandElement(PropDst, func(in *Inst) *Operand { return &in.Dst }),
		"a":      operandElement(PropA, func(in *Inst) *Operand { return &in.A }),
		"b":      operandElement(PropB, func(in *Inst) *Operand { return &in.B }),
		"muldst": {prop: PropDst, print: printMulDst, parse: parseMulDst},

		"shift":    {prop: PropShift, print: printShift, parse: (*scanner).shift},
		"fshift":   {prop: PropShift, print: printFieldShift, parse: (*scanner).shift},
		"mask":     {prop: PropMask, print: printMask, parse: (*scanner).mask},
		"immed":    {prop: PropImm, print: printImmed, parse: (*scanner).immed},
		"immshift": {prop: PropAmount, print: printImmShift, parse: (*scanner).immShift},

		"bit":       decimal(PropImm),
		"byte":      decimal(PropByte),
		"state":     decimal(PropImm),
		"css":       decimal(PropCSS),
		"bytevalue": {prop: PropImm, print: printByteValue, parse: (*scanner).byteValue},
		"target":    {prop: PropTarget, print: printTarget, parse: (*scanner).target},
		"offset":    {prop: PropImm, print: printOffset, parse: (*scanner).offset},
		"inp":       named(PropCSS, inputStates[:]),
		"cls":       named(PropCSS, clsStates[:]),
		"defer":     {prop: PropDefer, print: printDefer, parse: (*scanner).deferSlots},
		"events":    {prop: PropImm, print: printEvents, parse: (*scanner).events},
		"csr":       {prop: PropImm, print: printCSR, parse: (*scanner).csr},

		"crc":     {print: printCRC, parse: (*scanner).crc},
		"poly":    named(PropImm, crcNames[:]),
		"bytes":   {prop: PropByte, print: printSubset, parse: (*scanner).subset},
		"lm_load": {prop: PropImm, print: printLMLoad, parse: (*scanner).lmLoad},

		"unit":   {print: printUnit, parse: (*scanner).unit},
		"cmd":    {prop: PropCode, print: printCommand, parse: (*scanner).command},
		"cmd6":   {prop: PropCode, print: printCommand, parse: (*scanner).command},
		"xfer":   {prop: PropXfer, print: printXfer, parse: (*scanner).xfer},
		"data7":  hexadecimal(PropXfer, 0, 7),
		"imm16":  hexadecimal(PropImm, 0, 16),
		"data14": hexadecimal(PropImm, 16, 14),
		"imm22":  hexadecimal(PropImm, 0, 22),
		"len":    {prop: PropLen, print: printLen, parse: (*scanner).length},
		"sync":   {prop: PropSig, print: printSync, parse: (*scanner).sync},

		"no_cc":    option(NoCC, "no_cc"),
		"both":     option(WriteBoth, "gpr_wrboth"),
		"pred":     option(Predicate, "predicate_cc"),
		"load_cc":  option(LoadCC, "load_cc"),
		"any":      option(Any, "any"),
		"bit_swap": option(BitSwap, "bit_swap"),
		"indirect": option(Indirect, "indirect_ref"),
	}
}

var (
	inputStates = [16]string{"nn_empty", "nn_full", "ctm_ring0_status", "ctm_ring1_status", "ctm_ring2_status", "ctm_ring3_status",
		"ctm_ring4_status", "ctm_ring5_status", "ctm_ring6_status", "ctm_ring7_status", "ctm_ring8_status", "ctm_ring9_status",
		"ctm_ring10_status", "ctm_ring11_status", "ctm_ring12_status", "ctm_ring13_status"}
	clsStates = [16]string{"cls_ring0_status", "cls_ring1_status", "cls_ring2_status", "cls_ring3_status", "cls_ring4_status",
		"cls_ring5_status", "cls_ring6_status", "cls_ring7_status", "cls_ring8_status", "cls_ring9_status", "cls_ring10_status",
		"cls_ring11_status", "cls_ring12_status", "cls_ring13_status", "cls_ring14_status", "cls_ring15_status"}
	crcNames    = [8]string{"--", "", "crc_ccitt", "", "crc_32", "crc_iscsi", "crc_10", "crc_5"}
	subsetNames = [7]string{"", "bytes_1_3", "bytes_2_3", "byte_3", "bytes_0_2", "bytes_0_1", "byte_0"}
)

func operandElement(p Prop, at func(*Inst) *Operand) element {
	return element{
		prop:  p,
		print: func(b []byte, in *Inst) []byte { return at(in).append(b) },
		parse: func(s *scanner, in *Inst) bool { return s.operand(at(in)) },
	}
}

func decimal(p Prop) element {
	return element{
		prop:  p,
		print: func(b []byte, in *Inst) []byte { return appendUint(b, in.get(p)) },
		parse: func(s *scanner, in *Inst) bool {
			v, ok := s.number()
			in.set(p, v)
			return ok && (in.get(p) == v || s.fail("%d is out of range", v))
		},
	}
}

// hexadecimal is a number of so many bits in a property from bit lo up.
func hexadecimal(p Prop, lo, width uint8) element {
	mask := uint32(1)<<width - 1
	return element{
		prop:  p,
		print: func(b []byte, in *Inst) []byte { return appendHex(b, in.get(p)>>lo&mask) },
		parse: func(s *scanner, in *Inst) bool {
			v, ok := s.number()
			in.set(p, in.get(p)|v<<lo)
			return ok && (v <= mask || s.fail("%#x does not fit in %d bits", v, width))
		},
	}
}

// named is a number written as one of some names.
func named(p Prop, names []string) element {
	return element{
		prop:  p,
		print: func(b []byte, in *Inst) []byte { return append(b, names[in.get(p)&uint32(len(names)-1)]...) },
		parse: func(s *scanner, in *Inst) bool {
			w := s.word()
			for i, n := range names {
				if n == w && n != "" {
					in.set(p, uint32(i))
					return true
				}
			}
			return s.fail("unknown %v %q", p, w)
		},
	}
}

// option is ", name" if the flag is set.
func option(f Flags, name string) element {
	return element{
		print: func(b []byte, in *Inst) []byte {
			if in.Flags&f != 0 {
				b = append(append(b, ", "...), name...)
			}
			return b
		},
		parse: func(s *scanner, in *Inst) bool {
			if s.option(name) {
				in.Flags |= f
			}
			return true
		},
	}
}
