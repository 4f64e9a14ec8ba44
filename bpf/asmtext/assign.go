package asmtext

import (
	"math"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// assign parses the instructions that begin with a register.
func (p *line) assign() asm.Instruction {
	dst, wide := p.reg()
	ins := asm.Instruction{OpCode: asm.OpCode(asm.ALUClass), Dst: dst}
	if wide {
		ins.OpCode = asm.OpCode(asm.ALU64Class)
	}
	if p.accept("=") {
		return p.value(ins, wide)
	}
	sign := p.next()
	for op, s := range aluSigns {
		if s == sign.text && sign.kind == tokOp {
			ins.OpCode = ins.OpCode.SetALUOp(op)
			return p.operand(ins, wide)
		}
	}
	p.fail(sign, "expected an assignment, found %v", sign)
	return ins
}

// operand parses a register or constant, the source of an ALU instruction.
func (p *line) operand(ins asm.Instruction, wide bool) asm.Instruction {
	if p.isRegister() {
		ins.OpCode = ins.OpCode.SetSource(asm.RegSource)
		ins.Src = p.regOf(wide)
	} else {
		ins.Constant = p.imm(wide)
	}
	return ins
}

// value parses what follows "r1 =".
func (p *line) value(ins asm.Instruction, wide bool) asm.Instruction {
	t := p.peek()
	switch {
	case p.isRegister():
		ins.OpCode = ins.OpCode.SetALUOp(asm.Mov)
		return p.operand(ins, wide)
	case t.kind == tokNumber || t.text == "-" || t.text == "+":
		return p.constant(ins, wide)
	case p.accept("("):
		return p.signExtend(ins, wide)
	case p.accept("*"):
		return p.load(ins.Dst, wide)
	case p.accept("map"):
		return p.mapLoad(ins.Dst, wide)
	case p.accept("subprog"):
		return p.funcLoad(ins.Dst, wide)
	case p.accept("load_acquire"):
		p.expect("(")
		size := p.unsignedCast()
		src, off := p.place()
		p.expect(")")
		return p.atomicInsn(loadAcquire, ins.Dst, src, size, off)
	case t.kind == tokName:
		p.pos++
		if swap, ok := swaps[t.text]; ok {
			return p.swap(swap, ins.Dst)
		}
		return p.fetch(t, ins.Dst, wide)
	}
	p.fail(t, "expected a value, found %v", t)
	return ins
}

// constant parses a number, a number followed by ll, or the -rN of a negation.
func (p *line) constant(ins asm.Instruction, wide bool) asm.Instruction {
	start := p.pos
	if p.accept("-") && p.isRegister() {
		t := p.peek()
		if src := p.regOf(wide); p.err == nil && src != ins.Dst {
			p.fail(t, "a negation works in place: expected r%d", ins.Dst)
		}
		ins.OpCode = ins.OpCode.SetALUOp(asm.Neg)
		return ins
	}
	p.pos = start
	n := p.number(math.MinInt64, math.MaxInt64)
	if p.err != nil {
		return ins
	}
	isWide := p.listed != nil && p.listed.op == int(asm.LoadImmOp(asm.DWord)) // the kernel writes no ll
	if t := p.peek(); p.accept("ll") || isWide {
		if !wide {
			p.fail(t, "a 64-bit constant goes to a 64-bit register (r)")
		}
		return asm.LoadImm(ins.Dst, n, asm.DWord)
	}
	p.pos = start
	ins.OpCode, ins.Constant = ins.OpCode.SetALUOp(asm.Mov), p.imm(wide)
	return ins
}

// signExtend parses (s8)r2 with the parenthesis read.
func (p *line) signExtend(ins asm.Instruction, wide bool) asm.Instruction {
	t := p.next()
	for op, name := range signExtensions {
		if name == t.text && (wide || op != asm.MovSX32) {
			p.expect(")")
			ins.OpCode = ins.OpCode.SetALUOp(op).SetSource(asm.RegSource)
			ins.Src = p.regOf(wide)
			return ins
		}
	}
	p.fail(t, "expected s8, s16 or, for a 64-bit register, s32, found %v", t)
	return ins
}

// load parses *(u8 *)(r1 + 0) and *(u8 *)skb[14] with the star read.
func (p *line) load(dst asm.Register, wide bool) asm.Instruction {
	t := p.peek()
	size, sign := p.cast()
	if p.accept("skb") {
		return p.packetLoad(t, dst, size, sign)
	}
	src, off := p.place()
	switch {
	case !wide && (sign || size == asm.DWord):
		p.fail(t, "such a load fills a 64-bit register (r)")
	case sign:
		return asm.LoadMemSX(dst, src, off, size)
	}
	return asm.LoadMem(dst, src, off, size)
}

func (p *line) packetLoad(t token, dst asm.Register, size asm.Size, sign bool) asm.Instruction {
	if dst != asm.R0 || sign || size == asm.DWord {
		p.fail(t, "a packet load is of u8, u16 or u32 into r0")
	}
	p.expect("[")
	if !p.isRegister() {
		n := p.int32()
		p.expect("]")
		return asm.LoadAbs(int32(n), size)
	}
	src := p.regOf(true)
	var n int64
	if t := p.peek(); t.text == "+" || t.text == "-" {
		n = p.int32()
	}
	p.expect("]")
	return asm.LoadInd(asm.R0, src, int32(n), size)
}

// mapLoad parses [name], [fd:3] or [name][0]+16, optionally followed by ll.
func (p *line) mapLoad(dst asm.Register, wide bool) asm.Instruction {
	t := p.peek()
	if !wide {
		p.fail(t, "a map goes to a 64-bit register (r)")
	}
	ins := asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: dst, Src: asm.PseudoMapFD}
	p.expect("[")
	if p.accept("fd") {
		p.expect(":")
		ins.Constant = int64(uint32(p.int32()))
	} else if t.text == "[" && p.pos+1 < len(p.toks) && p.toks[p.pos].text == "id" && p.toks[p.pos+1].text == ":" {
		p.pos += 2
		p.mapID = true
		ins.Constant = p.number(0, math.MaxUint32)
	} else {
		ins = ins.WithReference(p.name("a map"))
	}
	p.expect("]")
	if p.accept("[") {
		p.expect("0", "]")
		var off int64
		if p.peek().text == "+" {
			off = p.number(0, math.MaxUint32)
		}
		ins.Src = asm.PseudoMapValue
		ins.Constant |= off << 32
	}
	p.accept("ll")
	return ins
}

// funcLoad parses [name] and [+3], the address of a function.
func (p *line) funcLoad(dst asm.Register, wide bool) asm.Instruction {
	t := p.peek()
	if !wide {
		p.fail(t, "an address goes to a 64-bit register (r)")
	}
	ins := asm.Instruction{OpCode: asm.LoadImmOp(asm.DWord), Dst: dst, Src: asm.PseudoFunc}
	p.expect("[")
	if t := p.peek(); t.kind == tokOp {
		ins.Constant = p.int32()
	} else {
		p.target = target{name: p.name("a function"), col: t.col}
	}
	p.expect("]")
	return ins
}

// swaps are the byte order instructions: class, direction, width.
var swaps = map[string]asm.Instruction{
	"le16": asm.HostTo(asm.LE, 0, asm.Half), "le32": asm.HostTo(asm.LE, 0, asm.Word), "le64": asm.HostTo(asm.LE, 0, asm.DWord),
	"be16": asm.HostTo(asm.BE, 0, asm.Half), "be32": asm.HostTo(asm.BE, 0, asm.Word), "be64": asm.HostTo(asm.BE, 0, asm.DWord),
	"bswap16": asm.BSwap(0, asm.Half), "bswap32": asm.BSwap(0, asm.Word), "bswap64": asm.BSwap(0, asm.DWord),
}

func (p *line) swap(ins asm.Instruction, dst asm.Register) asm.Instruction {
	t := p.peek()
	if src, _ := p.reg(); p.err == nil && src != dst {
		p.fail(t, "a byte swap works in place: expected r%d", dst)
	}
	ins.Dst = dst
	return ins
}

// fetch parses the atomics that return the old value. LLVM writes xchg_64 and
// xchg32_32, the kernel atomic64_xchg and atomic_xchg with a cast.
func (p *line) fetch(t token, dst asm.Register, wide bool) asm.Instruction {
	op, size, ok := atomicName(t.text)
	if !ok {
		p.fail(t, "expected a value, found %v", t)
		return asm.Instruction{}
	}
	p.expect("(")
	var base asm.Register
	var off int16
	if size == asm.InvalidSize {
		at := p.peek()
		size = p.atomicSize(at, p.unsignedCast())
		base, off = p.place()
	} else {
		base, off = p.inner()
	}
	p.expect(",")
	if op == asm.CmpXchg {
		if r := p.peek(); p.regOf(wide) != asm.R0 || dst != asm.R0 {
			p.fail(r, "cmpxchg compares with r0 and returns in r0")
		}
		p.expect(",")
	}
	r := p.peek()
	src := p.regOf(wide)
	p.expect(")")
	switch {
	case op != asm.CmpXchg && src != dst:
		p.fail(r, "an atomic returns the old value in its source: expected r%d", dst)
	case !wide && size == asm.DWord:
		p.fail(r, "a 64-bit atomic takes a 64-bit register (r)")
	}
	return p.atomicInsn(op, base, src, size, off)
}

// atomicName splits the name of a fetching atomic into operation and size. The size is
// InvalidSize if a cast gives it instead.
func atomicName(s string) (asm.AtomicOp, asm.Size, bool) {
	switch s {
	case "xchg_64":
		return asm.Xchg, asm.DWord, true
	case "xchg32_32":
		return asm.Xchg, asm.Word, true
	case "cmpxchg_64":
		return asm.CmpXchg, asm.DWord, true
	case "cmpxchg32_32":
		return asm.CmpXchg, asm.Word, true
	}
	rest, ok := strings.CutPrefix(s, "atomic64_")
	if !ok {
		rest, ok = strings.CutPrefix(s, "atomic_")
	}
	if !ok {
		return 0, 0, false
	}
	switch rest {
	case "xchg":
		return asm.Xchg, asm.InvalidSize, true
	case "cmpxchg":
		return asm.CmpXchg, asm.InvalidSize, true
	}
	for op, name := range fetches {
		if rest == "fetch_"+name {
			return op, asm.InvalidSize, true
		}
	}
	return 0, 0, false
}
