package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// The text form, one line a value:
//
//	module "xdp_prog"
//	map counters entries=16 stride=8 marks=false
//
//	func main() i32 frame=16 {
//	b0:
//	  v1:i32 = packetstart ; pc 2
//	  v2:i32 = load.packet.4 v1 align=4 phase=2
//	  branch v2 b1(v1) b2 ; pc 4
//	b1(v3:i32):
//	  ...
//
// The operation's name has suffixes for its parameters (space and size, width,
// helper number). Then follow symbol, integer and arguments, then attributes
// that are not zero. Text holds everything but NextID and NextBlock.

// String is the module's text; Parse reads it back.
func (m *Module) String() string {
	var p printer
	fmt.Fprintf(&p.out, "module %s\n", strconv.Quote(m.Name))
	for _, known := range m.Maps {
		fmt.Fprintf(&p.out, "map %s entries=%d stride=%d marks=%t\n", name(known.Name), known.Entries, known.Stride, known.Marks)
	}
	for _, f := range m.Funcs {
		p.out.WriteByte('\n')
		p.fn(f)
	}
	return p.out.String()
}

// String is the function's text.
func (f *Func) String() string {
	var p printer
	p.fn(f)
	return p.out.String()
}

// String is the block's name.
func (b *Block) String() string { return "b" + strconv.Itoa(int(b.ID)) }

// String is the value's name.
func (v *Value) String() string {
	if v == nil {
		return "v?"
	}
	return "v" + strconv.Itoa(int(v.ID))
}

// Long is the value's line.
func (v *Value) Long() string {
	var p printer
	p.value(v)
	return strings.TrimSpace(p.out.String())
}

type printer struct{ out strings.Builder }

func (p *printer) fn(f *Func) {
	fmt.Fprintf(&p.out, "func %s", name(f.Name))
	p.params(f.Params, true)
	fmt.Fprintf(&p.out, " %v frame=%d {\n", f.Result, f.Frame)
	for _, b := range f.Blocks {
		p.out.WriteString(b.String())
		p.params(b.Params, false)
		p.out.WriteString(":\n")
		for _, v := range b.Values {
			p.value(v)
		}
		p.terminator(b)
	}
	p.out.WriteString("}\n")
}

func (p *printer) params(params []*Value, always bool) {
	if len(params) == 0 && !always {
		return
	}
	p.out.WriteByte('(')
	for i, v := range params {
		if i > 0 {
			p.out.WriteString(", ")
		}
		fmt.Fprintf(&p.out, "%v:%v", v, v.Type)
	}
	p.out.WriteByte(')')
}

func (p *printer) value(v *Value) {
	p.out.WriteString("  ")
	if v.Type != Void {
		fmt.Fprintf(&p.out, "%v:%v = ", v, v.Type)
	}
	row := v.Op.Row()
	p.out.WriteString(v.Op.String())
	if row.Int == IntAtomic {
		fmt.Fprintf(&p.out, ".%v", AtomicOp(v.Int))
	}
	if row.Mem {
		size := int64(v.Size)
		if row.Int == IntWords {
			size = v.Int
		}
		fmt.Fprintf(&p.out, ".%v.%d", v.Space, size)
	}
	if row.Int == IntSuffix {
		fmt.Fprintf(&p.out, ".%d", v.Int)
	}
	var operands []string
	if row.Sym {
		operands = append(operands, name(v.Sym))
	}
	if row.Int == IntOperand {
		operands = append(operands, strconv.FormatInt(v.Int, 10))
	}
	operands = append(operands, names(v.Args)...)
	if len(operands) > 0 {
		p.out.WriteString(" " + strings.Join(operands, ", "))
	}
	p.attributes(v)
	p.pc(v.PC)
}

func (p *printer) attributes(v *Value) {
	if v.Big {
		p.out.WriteString(" big")
	}
	if v.Align != 0 {
		fmt.Fprintf(&p.out, " align=%d", v.Align)
	}
	if v.Phase != 0 {
		fmt.Fprintf(&p.out, " phase=%d", v.Phase)
	}
	if v.Kinds != 0 {
		fmt.Fprintf(&p.out, " kinds=%#x", v.Kinds)
	}
	if v.Reach != 0 {
		fmt.Fprintf(&p.out, " reach=%#x", v.Reach)
	}
}

func (p *printer) terminator(b *Block) {
	switch b.Kind {
	case TermJump:
		p.out.WriteString("  jump")
	case TermBranch:
		fmt.Fprintf(&p.out, "  branch %v", b.Cond)
	case TermReturn:
		fmt.Fprintf(&p.out, "  return %v", b.Result)
		if b.ResultHi != nil {
			fmt.Fprintf(&p.out, ", %v", b.ResultHi)
		}
	case TermAbort:
		p.out.WriteString("  abort")
	default:
		return
	}
	for _, e := range b.Succs {
		fmt.Fprintf(&p.out, " %v", e.To)
		if len(e.Args) > 0 {
			fmt.Fprintf(&p.out, "(%s)", strings.Join(names(e.Args), ", "))
		}
	}
	p.pc(b.PC)
}

func (p *printer) pc(pc int32) {
	if pc >= 0 {
		fmt.Fprintf(&p.out, " ; pc %d", pc)
	}
	p.out.WriteByte('\n')
}

func names(values []*Value) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = v.String()
	}
	return out
}

// name prints a symbol: bare if it is an identifier, else quoted.
func name(s string) string {
	for i := 0; i < len(s); i++ {
		if !symbolByte(s[i]) {
			return strconv.Quote(s)
		}
	}
	// What looks like a value or a number needs quotes too.
	if s == "" || s[0] >= '0' && s[0] <= '9' || isValueName(s) {
		return strconv.Quote(s)
	}
	return s
}

func symbolByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '$'
}

func isValueName(s string) bool {
	if len(s) < 2 || s[0] != 'v' {
		return false
	}
	_, err := strconv.Atoi(s[1:])
	return err == nil
}
