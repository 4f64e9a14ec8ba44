package ir

import (
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
	p.text("module ", strconv.Quote(m.Name), "\n")
	for _, known := range m.Maps {
		p.text("map ", name(known.Name))
		p.number(" entries=", int64(known.Entries))
		p.number(" stride=", int64(known.Stride))
		p.text(" marks=", strconv.FormatBool(known.Marks), "\n")
	}
	for _, f := range m.Funcs {
		p.text("\n")
		p.fn(f)
	}
	return string(p.out)
}

// String is the function's text.
func (f *Func) String() string {
	var p printer
	p.fn(f)
	return string(p.out)
}

// String is the block's name.
func (b *Block) String() string {
	if b == nil {
		return "b?"
	}
	return "b" + strconv.Itoa(int(b.ID))
}

// String is the value's name.
func (v *Value) String() string {
	var p printer
	p.name(v)
	return string(p.out)
}

// Long is the value's line.
func (v *Value) Long() string {
	var p printer
	p.value(v)
	return strings.TrimSpace(string(p.out))
}

// printer collects text without package fmt: comparisons of many programs print a
// module after each pass.
type printer struct{ out []byte }

func (p *printer) text(parts ...string) {
	for _, s := range parts {
		p.out = append(p.out, s...)
	}
}

// number prints a number after some text.
func (p *printer) number(before string, n int64) {
	p.out = strconv.AppendInt(append(p.out, before...), n, 10)
}

// hex prints a number in hexadecimal after some text.
func (p *printer) hex(before string, n uint64) {
	p.out = strconv.AppendUint(append(append(p.out, before...), "0x"...), n, 16)
}

// name prints the value's name.
func (p *printer) name(v *Value) {
	if v == nil {
		p.text("v?")
		return
	}
	p.number("v", int64(v.ID))
}

// list prints names with commas between them.
func (p *printer) list(values []*Value) {
	for i, v := range values {
		if i > 0 {
			p.text(", ")
		}
		p.name(v)
	}
}

func (p *printer) fn(f *Func) {
	p.text("func ", name(f.Name))
	p.params(f.Params, true)
	p.text(" ", f.Result.String())
	p.number(" frame=", int64(f.Frame))
	p.text(" {\n")
	for _, b := range f.Blocks {
		p.text(b.String())
		p.params(b.Params, false)
		p.text(":\n")
		for _, v := range b.Values {
			p.value(v)
		}
		p.terminator(b)
	}
	p.text("}\n")
}

func (p *printer) params(params []*Value, always bool) {
	if len(params) == 0 && !always {
		return
	}
	p.text("(")
	for i, v := range params {
		if i > 0 {
			p.text(", ")
		}
		p.name(v)
		p.text(":", v.Type.String())
	}
	p.text(")")
}

func (p *printer) value(v *Value) {
	p.text("  ")
	if v.Type != Void {
		p.name(v)
		p.text(":", v.Type.String(), " = ")
	}
	row := v.Op.Row()
	p.text(v.Op.String())
	if row.Int == IntAtomic {
		p.text(".", AtomicOp(v.Int).String())
	}
	if row.Mem {
		size := int64(v.Size)
		if row.Int == IntWords {
			size = v.Int
		}
		p.text(".", v.Space.String())
		p.number(".", size)
	}
	if row.Int == IntSuffix {
		p.number(".", v.Int)
	}
	before := " " // of the next operand
	if row.Sym {
		p.text(before, name(v.Sym))
		before = ", "
	}
	if row.Int == IntOperand {
		p.number(before, v.Int)
		before = ", "
	}
	if len(v.Args) > 0 {
		p.text(before)
		p.list(v.Args)
	}
	p.attributes(v)
	p.pc(v.PC)
}

func (p *printer) attributes(v *Value) {
	if v.Big {
		p.text(" big")
	}
	if v.Align != 0 {
		p.number(" align=", int64(v.Align))
	}
	if v.Phase != 0 {
		p.number(" phase=", int64(v.Phase))
	}
	if v.Kinds != 0 {
		p.hex(" kinds=", uint64(v.Kinds))
	}
	if v.Reach != 0 {
		p.hex(" reach=", v.Reach)
	}
}

func (p *printer) terminator(b *Block) {
	switch b.Kind {
	case TermJump:
		p.text("  jump")
	case TermBranch:
		p.text("  branch ")
		p.name(b.Cond)
	case TermReturn:
		p.text("  return ")
		p.name(b.Result)
		if b.ResultHi != nil {
			p.text(", ")
			p.name(b.ResultHi)
		}
	case TermAbort:
		p.text("  abort")
	default:
		return
	}
	for _, e := range b.Succs {
		p.text(" ", e.To.String())
		if len(e.Args) > 0 {
			p.text("(")
			p.list(e.Args)
			p.text(")")
		}
	}
	p.pc(b.PC)
}

func (p *printer) pc(pc int32) {
	if pc >= 0 {
		p.number(" ; pc ", int64(pc))
	}
	p.text("\n")
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
