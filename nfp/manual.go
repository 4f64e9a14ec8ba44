package nfp

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Manual is the instruction set as Markdown, printed from the tables: docs/isa.md.
func Manual() string {
	var b strings.Builder
	b.WriteString(`# The micro-engine's instruction set

Printed from the tables of package nfp (` + "`go test ./nfp -run TestManual -update`" + ` rewrites it);
where they come from and what is odd about them: isa-notes.md.

A word has 45 bits; bits 51:45 of a stored word are check bits. Bits that a form neither fixes
nor gives to a field are 0. Reserved forms print as GNU objdump prints them and are never
written. In a syntax, braces hold an operand or an option.

## Forms

| form | fixed bits (value / mask) | fields | syntax | timing | slots | meaning |
|---|---|---|---|---|---|---|
`)
	forms := table().forms
	for i := range forms {
		f := &forms[i]
		name := f.Name
		if f.Reserved {
			name += " (reserved)"
		}
		fixed := fmt.Sprintf("%011x / %011x", uint64(f.Value), uint64(f.Mask))
		for _, e := range f.Except {
			fixed += fmt.Sprintf(", not %x / %x", uint64(e.Value), uint64(e.Mask))
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %v | %d | %s |\n", cell(name), fixed,
			f.fieldText(), cell(f.syntaxText()), f.Latency, f.MaxDefer, cell(f.Doc))
	}
	operandManual(&b)
	commandManual(&b)
	b.WriteString("\n## Control registers\n\n| address | name |\n|---|---|\n")
	for _, a := range slices.Sorted(maps.Keys(csrNames)) {
		fmt.Fprintf(&b, "| 0x%03x | %s |\n", a, csrNames[a])
	}
	return b.String()
}

// cell escapes text for a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func (f *Form) syntaxText() string {
	var t []string
	for _, s := range f.Syntax {
		t = append(t, "`"+s.Text+"`")
	}
	return strings.Join(t, " or ")
}

// fieldText lists the fields of a form's operands and options, as code.
func (f *Form) fieldText() string {
	var t []string
	add := func(name string, bits ...Range) {
		s := make([]string, len(bits))
		for i, r := range bits {
			s[len(bits)-1-i] = r.String()
		}
		t = append(t, name+" "+strings.Join(s, "+"))
	}
	bit := func(name string, n uint8) {
		if n != 0 {
			add(name, Range{n, 1})
		}
	}
	for i := range f.Fields {
		x := &f.Fields[i]
		name := x.Prop.String()
		if x.Code == Hidden {
			name = fmt.Sprintf("%s=%d", name, x.Want)
			if x.Prop == PropNone {
				name = fmt.Sprintf("%#x", x.Want)
			}
		}
		add(name, x.Bits...)
	}
	bit("destination bank", f.DstBank)
	if p := f.Pair; p != nil {
		add("slot A ("+p.X.String()+")", p.A)
		add("slot B ("+p.Y.String()+")", p.B)
		if p.Cross == SwapBit {
			bit("swap", p.Swap)
		}
		bit("bit 7 of constants", p.I8)
		bit("destination bank", p.DstBank)
	}
	bit("source LM pointer bit 1", f.SrcLM)
	bit("destination LM pointer bit 1", f.DstLM)
	if len(t) == 0 {
		return ""
	}
	return "`" + strings.Join(t, ", ") + "`"
}

// String is the range as data sheets write it, high bit first.
func (r Range) String() string {
	if r.Width == 1 {
		return fmt.Sprint(r.Lo)
	}
	return fmt.Sprintf("%d:%d", r.Lo+r.Width-1, r.Lo)
}

var roleNames = [...]string{
	Empty: "0", Dest: "destination", Left: "left", Right: "right", ImmLow: "constant 7:0", BitNumber: "bit + 1", Zero: "constant 0",
	CamControl: "pointer load", CRCControl: "polynomial",
}

func (r Role) String() string { return roleNames[r] }

var latencyNames = [...]string{
	LatencyNone: "none", LatencyALU: "alu", LatencyMul: "mul", LatencyCSRRead: "csr read", LatencyCSRWrite: "csr write",
	LatencyBranch: "branch", LatencyCond: "conditional", LatencyJump: "jump", LatencySwap: "swap", LatencyCommand: "command",
	LatencyUstore: "code store",
}

func (l Latency) String() string { return latencyNames[l] }

func operandManual(b *strings.Builder) {
	for _, s := range []struct {
		name string
		rows []operandCode
		bits int
		n    int
		res  bool
	}{
		{"Unrestricted operands (10 bits)", unrestricted, 10, 1024, false},
		{"Restricted operands (8 bits)", restricted, 8, 256, true},
	} {
		fmt.Fprintf(b, "\n## %s\n\n| code | mask | first | last |\n|---|---|---|---|\n", s.name)
		for _, r := range s.rows {
			first, last := Operand{}, Operand{}
			for c := range uint32(s.n) {
				// the codes an assembler writes
				o := decodeOperand(c, s.res, false, false, false)
				if uint16(c)&r.mask != r.value || o.Kind != r.kind || o.Mod != r.mod {
					continue
				}
				if code, err := encodeOperand(o, s.res, 8); err != nil || code != c {
					continue
				}
				if first.Kind == None {
					first = o
				}
				last = o
			}
			fmt.Fprintf(b, "| 0x%03x | 0x%03x | `%v` | `%v` |\n", r.value, r.mask, first, last)
		}
	}
}

func commandManual(b *strings.Builder) {
	b.WriteString("\n## Commands\n\nLengths are those of the field, units - 1. A unit is the amount that one count moves, if the sources state it.\n\n" +
		"| code | unit's name | lengths | token 0 | token 1 | token 2 | token 3 | unit |\n|---|---|---|---|---|---|---|---|\n")
	for _, r := range commandRows {
		unit := ""
		switch {
		case r.op.Atomic():
			unit = "4 bytes, 8 with length bit 2"
		case r.op != MemoryUnknown:
			unit = fmt.Sprint(r.unit, " bytes")
		}
		var lengths []string
		for l := range 8 {
			if r.lengths>>l&1 != 0 {
				lengths = append(lengths, fmt.Sprint(l))
			}
		}
		text := strings.Join(lengths, " ")
		if r.lengths == 0xff {
			text = "all"
		}
		fmt.Fprintf(b, "| 0x%02x | %s | %s | %s | %s | %s | %s | %s |\n", r.code, r.target, text, r.names[0], r.names[1], r.names[2], r.names[3], unit)
	}
}
