package asmtext

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// ParseInsn parses one instruction. A jump or call to a name is returned as a
// reference to it, as cilium/ebpf's asm package represents one.
func ParseInsn(text string) (asm.Instruction, error) {
	ins, to, err := parseInsn(text)
	if err != nil {
		err.Line = 1
		return asm.Instruction{}, err
	}
	if to.name != "" {
		setDistance(&ins, -1)
		ins = ins.WithReference(to.name)
	}
	return ins, nil
}

// A target is the named destination of a jump or call.
type target struct {
	name string
	col  int
}

func parseInsn(text string) (asm.Instruction, target, *Error) {
	toks, err := lex(text)
	if err != nil {
		return asm.Instruction{}, target{}, err
	}
	p := &line{toks: toks}
	ins := p.insn()
	p.finish()
	if p.err != nil {
		return asm.Instruction{}, target{}, p.err
	}
	return ins, p.target, nil
}

// setDistance writes a jump's or call's distance into the field it lives in.
func setDistance(ins *asm.Instruction, d int64) {
	switch {
	case ins.OpCode.IsDWordLoad() && ins.Src != asm.PseudoFunc:
	case ins.OpCode.IsDWordLoad(), ins.OpCode.JumpOp() == asm.Call, isLongJump(ins.OpCode):
		ins.Constant = d
	default:
		ins.Offset = int16(d)
	}
}

// A line walks the tokens of one instruction or directive. The first error
// sticks; after it every step is a no-op that returns zero values.
type line struct {
	toks   []token
	pos    int
	target target
	listed *insnLine // the prefix that a listing prints before the instruction, or nil
	mapID  bool      // the instruction loads map[id:N]
	err    *Error
}

func (p *line) peek() token {
	if p.pos < len(p.toks) {
		return p.toks[p.pos]
	}
	t := token{kind: tokEnd, col: 1}
	if n := len(p.toks); n > 0 {
		t.col = p.toks[n-1].end
	}
	return t
}

func (p *line) next() token {
	t := p.peek()
	if p.pos < len(p.toks) {
		p.pos++
	}
	return t
}

func (p *line) fail(t token, format string, args ...any) {
	if p.err == nil {
		p.err = &Error{Col: t.col, Msg: fmt.Sprintf(format, args...)}
	}
	p.pos = len(p.toks)
}

func (p *line) finish() {
	if t := p.peek(); t.kind != tokEnd {
		p.fail(t, "unexpected %v", t)
	}
}

// accept takes the token if its text is as given.
func (p *line) accept(text string) bool {
	t := p.peek()
	if t.kind == tokEnd || t.kind == tokString || t.text != text {
		return false
	}
	p.pos++
	return true
}

func (p *line) expect(texts ...string) {
	for _, text := range texts {
		if t := p.peek(); !p.accept(text) {
			p.fail(t, "expected %q, found %v", text, t)
			return
		}
	}
}

// number reads an integer with an optional sign, which must lie in [min, max].
// An unsigned number above the largest signed one is accepted if max is that of 64 bits.
func (p *line) number(min, max int64) int64 {
	t, neg := p.peek(), false
	if p.accept("-") {
		neg = true
	} else {
		p.accept("+")
	}
	digits := p.next()
	u, err := parseUint(digits.text)
	if digits.kind != tokNumber || err != nil {
		p.fail(digits, "expected a number, found %v", digits)
		return 0
	}
	n, wide := int64(u), min == math.MinInt64
	if neg {
		n = -n
	}
	fits := n >= min && n <= max
	switch {
	case neg:
		fits = fits && u <= 1<<63
	case !wide:
		fits = fits && u <= math.MaxInt64
	}
	if !fits {
		p.fail(t, "number out of range: expected %d to %d", min, max)
		return 0
	}
	return n
}

func parseUint(s string) (uint64, error) {
	if hex, ok := strings.CutPrefix(strings.ToLower(s), "0x"); ok {
		return strconv.ParseUint(hex, 16, 64)
	}
	return strconv.ParseUint(s, 10, 64)
}

func (p *line) int32() int64 { return p.number(math.MinInt32, math.MaxInt32) }

// imm reads a 32-bit constant. It may be written unsigned beside a 32-bit register, and
// in the kernel's listings, which print the constants of all jumps unsigned.
func (p *line) imm(wide bool) int64 {
	if wide && (p.listed == nil || p.listed.op < 0) {
		return p.int32()
	}
	return int64(int32(p.number(math.MinInt32, math.MaxUint32)))
}

// register recognises r0 to r10 and w0 to w10.
func register(s string) (r asm.Register, wide, ok bool) {
	if len(s) < 2 || len(s) > 3 || s[0] != 'r' && s[0] != 'w' || len(s) == 3 && s[1] == '0' {
		return 0, false, false
	}
	n, err := strconv.ParseUint(s[1:], 10, 8)
	return asm.Register(n), s[0] == 'r', err == nil && n <= 10
}

func (p *line) isRegister() bool {
	_, _, ok := register(p.peek().text)
	return ok && p.peek().kind == tokName
}

// reg reads a register of either width.
func (p *line) reg() (asm.Register, bool) {
	t := p.next()
	r, wide, ok := register(t.text)
	if !ok || t.kind != tokName {
		p.fail(t, "expected a register, found %v", t)
	}
	return r, wide
}

// regOf reads a register of the given width.
func (p *line) regOf(wide bool) asm.Register {
	t := p.peek()
	r, w := p.reg()
	if p.err == nil && w != wide {
		p.fail(t, "expected %s, found %v", map[bool]string{true: "a 64-bit register (r)", false: "a 32-bit register (w)"}[wide], t)
	}
	return r
}

// name reads a name, bare or quoted.
func (p *line) name(what string) string {
	t := p.next()
	if t.kind == tokName && !reserved(t.text) || t.kind == tokString && t.text != "" {
		return t.text
	}
	p.fail(t, "expected %s, found %v", what, t)
	return ""
}

// insn parses one instruction, up to but not including what follows it.
func (p *line) insn() asm.Instruction {
	t := p.peek()
	switch {
	case p.accept("exit"):
		return asm.Return()
	case p.accept("goto"):
		return p.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)})
	case p.accept("gotol"):
		return p.jump(asm.Instruction{OpCode: asm.OpCode(asm.Jump32Class).SetJumpOp(asm.Ja)})
	case p.accept("may_goto"):
		return p.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.JCOND)})
	case p.accept("if"):
		return p.condition()
	case p.accept("call"):
		return p.call()
	case p.accept("callx"):
		return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call).SetSource(asm.RegSource), Dst: p.regOf(true)}
	case p.accept("lock"):
		return p.atomic()
	case p.accept("store_release"):
		return p.storeRelease()
	case p.accept("*"):
		return p.store()
	case p.accept(".insn"):
		return p.raw()
	case p.isRegister():
		return p.assign()
	}
	if strings.HasPrefix(t.text, "BUG_") {
		p.fail(t, "the tool that made the listing does not know this instruction: use bpftool prog dump xlated with opcodes, or a newer one")
	}
	p.fail(t, "expected an instruction, found %v", t)
	return asm.Instruction{}
}

// raw parses .insn opcode dst src offset constant [reference].
func (p *line) raw() asm.Instruction {
	ins := asm.Instruction{
		OpCode:   asm.OpCode(p.number(0, math.MaxUint32)),
		Dst:      asm.Register(p.number(0, 255)),
		Src:      asm.Register(p.number(0, 255)),
		Offset:   int16(p.number(math.MinInt16, math.MaxInt16)),
		Constant: p.number(math.MinInt64, math.MaxInt64),
	}
	if p.err == nil && p.peek().kind != tokEnd {
		ins = ins.WithReference(p.name("a name"))
	}
	return ins
}

// jump parses a jump's target: pc+5, +5 or a name. It ignores the name that
// llvm-objdump repeats after it in angle brackets.
func (p *line) jump(ins asm.Instruction) asm.Instruction {
	t := p.peek()
	if t.text == "+" || t.text == "-" || p.accept("pc") {
		min, max := int64(math.MinInt16), int64(math.MaxInt16)
		if isLongJump(ins.OpCode) || ins.OpCode.JumpOp() == asm.Call {
			min, max = math.MinInt32, math.MaxInt32
		}
		if sign := p.peek(); sign.text != "+" && sign.text != "-" {
			p.fail(sign, "expected + or -, found %v", sign)
			return ins
		}
		setDistance(&ins, p.number(min, max))
	} else {
		p.target = target{name: p.name("a label or pc+N"), col: t.col}
	}
	if p.peek().text == "<" {
		p.pos = len(p.toks)
	}
	return ins
}

func (p *line) condition() asm.Instruction {
	left, wide := p.reg()
	ins := asm.Instruction{OpCode: asm.OpCode(asm.Jump32Class), Dst: left}
	if wide {
		ins.OpCode = asm.OpCode(asm.JumpClass)
	}
	t, found := p.next(), false
	for op, sign := range conditions {
		if sign == t.text {
			ins.OpCode, found = ins.OpCode.SetJumpOp(op), true
		}
	}
	if !found || t.kind != tokOp {
		p.fail(t, "expected a comparison, found %v", t)
		return ins
	}
	if p.isRegister() {
		ins.OpCode = ins.OpCode.SetSource(asm.RegSource)
		ins.Src = p.regOf(wide)
	} else {
		ins.Constant = p.imm(wide)
	}
	p.expect("goto")
	return p.jump(ins)
}

// call parses what follows "call": helper#1, helper, a number (a helper's),
// kfunc#7, pc+3 or the name of a function.
func (p *line) call() asm.Instruction {
	ins := asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call)}
	t := p.peek()
	if t.kind == tokNumber {
		ins.Constant = p.int32()
		return ins
	}
	if t.text == "pc" || t.kind == tokOp {
		ins.Src = asm.PseudoCall
		ins = p.jump(ins)
		if p.accept("#") { // bpftool adds the symbol of the function's code
			p.next()
		}
		return ins
	}
	name := p.name("a helper or function")
	if !p.accept("#") {
		if id, ok := helperIDs()[name]; ok && t.kind == tokName {
			ins.Constant = id
			return ins
		}
		ins.Src = asm.PseudoCall
		p.target = target{name: name, col: t.col}
		return ins
	}
	ins.Constant = p.int32()
	id, known := helperIDs()[name]
	switch {
	case name == "kfunc":
		ins.Src = asm.PseudoKfuncCall
	case known && id != ins.Constant && HelperName(ins.Constant) == "unknown":
		ins.Constant = id // a loaded program's call has the distance of the helper's address
	case known && id != ins.Constant:
		p.fail(t, "helper %s is number %d, not %d", name, id, ins.Constant)
	case !known && name != "unknown" && HelperName(ins.Constant) != "unknown":
		p.fail(t, "helper %d is %s, not %s", ins.Constant, HelperName(ins.Constant), name)
	}
	return ins
}

// place parses (rN + offset), or rN + offset within parentheses already open.
func (p *line) place() (asm.Register, int16) {
	p.expect("(")
	r, off := p.inner()
	p.expect(")")
	return r, off
}

func (p *line) inner() (asm.Register, int16) {
	r := p.regOf(true)
	var off int64
	if t := p.peek(); t.text == "+" || t.text == "-" {
		off = p.number(math.MinInt16, math.MaxInt16)
	}
	return r, int16(off)
}

// sizes are the types of memory accesses.
var sizes = map[string]asm.Size{
	"u8": asm.Byte, "u16": asm.Half, "u32": asm.Word, "u64": asm.DWord,
	"s8": asm.Byte, "s16": asm.Half, "s32": asm.Word,
}

// cast parses (u32 *).
func (p *line) cast() (size asm.Size, sign bool) {
	p.expect("(")
	t := p.next()
	size, ok := sizes[t.text]
	if !ok {
		p.fail(t, "expected a type u8 to u64 or s8 to s32, found %v", t)
		return asm.Byte, false
	}
	p.expect("*", ")")
	return size, t.text[0] == 's'
}

// unsignedCast parses (u32 *), and no signed type.
func (p *line) unsignedCast() asm.Size {
	t := p.peek()
	size, sign := p.cast()
	if sign {
		p.fail(t, "signed type: only loads extend a sign")
	}
	return size
}

// store parses what follows the star of *(u32 *)(r1 + 0) = ...
func (p *line) store() asm.Instruction {
	size := p.unsignedCast()
	dst, off := p.place()
	p.expect("=")
	if p.isRegister() {
		t := p.peek()
		src, wide := p.reg()
		if !wide && size == asm.DWord {
			p.fail(t, "expected a 64-bit register (r), found %v", t)
		}
		return asm.StoreMem(dst, off, src, size)
	}
	return asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: dst, Offset: off, Constant: p.imm(size == asm.DWord)}
}

func (p *line) storeRelease() asm.Instruction {
	p.expect("(")
	size := p.unsignedCast()
	dst, off := p.place()
	p.expect(",")
	src, _ := p.reg()
	p.expect(")")
	return p.atomicInsn(storeRelease, dst, src, size, off)
}

// atomic parses what follows the word lock.
func (p *line) atomic() asm.Instruction {
	p.expect("*")
	t := p.peek()
	size := p.unsignedCast()
	dst, off := p.place()
	sign := p.next()
	for op, s := range atomicSigns {
		if s == sign.text {
			src, wide := p.reg()
			if !wide && size == asm.DWord {
				p.fail(t, "a 64-bit atomic takes a 64-bit register (r)")
			}
			return p.atomicInsn(op, dst, src, p.atomicSize(t, size), off)
		}
	}
	p.fail(sign, "expected += &= |= or ^=, found %v", sign)
	return asm.Instruction{}
}

func (p *line) atomicSize(t token, size asm.Size) asm.Size {
	if size != asm.Word && size != asm.DWord {
		p.fail(t, "atomics are of 32 or 64 bits")
	}
	return size
}

// atomicInsn builds an atomic instruction as cilium/ebpf decodes one: the
// operation stands in the opcode and in the constant, and its encoder writes
// the constant.
func (p *line) atomicInsn(op asm.AtomicOp, dst, src asm.Register, size asm.Size, off int16) asm.Instruction {
	return asm.Instruction{
		OpCode: asm.OpCode(asm.StXClass).SetMode(asm.AtomicMode).SetSize(size).SetAtomicOp(op),
		Dst:    dst, Src: src, Offset: off, Constant: int64(op >> 8),
	}
}
