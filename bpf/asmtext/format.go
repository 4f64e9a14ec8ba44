package asmtext

import (
	"fmt"
	"math"
	"strconv"

	"github.com/cilium/ebpf/asm"
)

// Format returns one instruction's text. The text is exact: ParseInsn returns the same
// instruction for it. An instruction that the syntax cannot express fully is printed
// field by field, as ".insn opcode dst src offset constant". Examples are an unused
// field that is not zero and an opcode that the ISA does not have.
func Format(ins asm.Instruction) string { return formatTo(ins, "") }

// formatTo is Format with a name for the jump or call target. An empty target prints
// the number.
func formatTo(ins asm.Instruction, target string) string {
	if ref := ins.Reference(); ref != "" && target == "" {
		target = quoteName(ref)
	}
	text := render(ins, target)
	if text == "" {
		return formatRaw(ins)
	}
	if certain(ins, target) {
		return text
	}
	back, to, err := parseInsn(text)
	if err != nil || !sameFields(back, ins, to.name != "") {
		return formatRaw(ins)
	}
	return text
}

func formatRaw(ins asm.Instruction) string {
	s := fmt.Sprintf(".insn %#x %d %d %d %d", uint32(ins.OpCode), uint8(ins.Dst), uint8(ins.Src), ins.Offset, ins.Constant)
	if ref := ins.Reference(); ref != "" {
		s += " " + quoteName(ref)
	}
	return s
}

// sameFields reports whether two instructions have the same encoding. It ignores the
// distance of a jump or call whose target has a name. An atomic's constant repeats the
// operation, and may be 0 instead, as constructors of package asm leave it.
func sameFields(a, b asm.Instruction, named bool) bool {
	if a.OpCode != b.OpCode || a.Dst != b.Dst || a.Src != b.Src {
		return false
	}
	if named {
		inConstant := b.IsFunctionCall() || b.IsLoadOfFunctionPointer() || isLongJump(b.OpCode)
		return (inConstant || a.Constant == b.Constant) && (!inConstant || a.Offset == b.Offset)
	}
	if b.OpCode.AtomicOp() != asm.InvalidAtomic && b.Constant == 0 {
		return a.Offset == b.Offset
	}
	return a.Offset == b.Offset && a.Constant == b.Constant
}

func isLongJump(op asm.OpCode) bool {
	return op.Class() == asm.Jump32Class && op.JumpOp() == asm.Ja
}

// render returns the text of an instruction without checking that the text is exact.
// It returns "" if the opcode has no syntax.
func render(ins asm.Instruction, target string) string {
	switch class := ins.OpCode.Class(); {
	case class.IsALU():
		return renderALU(ins)
	case class.IsJump():
		return renderJump(ins, target)
	default:
		return renderMemory(ins, target)
	}
}

// aluSigns are the operators of the two-operand arithmetic instructions.
var aluSigns = map[asm.ALUOp]string{
	asm.Add: "+=", asm.Sub: "-=", asm.Mul: "*=", asm.Div: "/=", asm.Mod: "%=", asm.Or: "|=", asm.And: "&=", asm.Xor: "^=",
	asm.LSh: "<<=", asm.RSh: ">>=", asm.ArSh: "s>>=", asm.SDiv: "s/=", asm.SMod: "s%=", asm.Mov: "=",
}

var signExtensions = map[asm.ALUOp]string{asm.MovSX8: "s8", asm.MovSX16: "s16", asm.MovSX32: "s32"}

func renderALU(ins asm.Instruction) string {
	op, wide := ins.OpCode.ALUOp(), ins.OpCode.Class() == asm.ALU64Class
	dst := reg(ins.Dst, wide)
	switch {
	case op == asm.Swap:
		name := "le"
		if wide {
			name = "bswap"
		} else if ins.OpCode.Endianness() == asm.BE {
			name = "be"
		}
		dst = reg(ins.Dst, true)
		return fmt.Sprintf("%s = %s%d %s", dst, name, ins.Constant, dst)
	case op == asm.Neg:
		return fmt.Sprintf("%s = -%s", dst, dst)
	case signExtensions[op] != "":
		return fmt.Sprintf("%s = (%s)%s", dst, signExtensions[op], reg(ins.Src, wide))
	case aluSigns[op] == "":
		return ""
	case ins.OpCode.Source() == asm.RegSource:
		return dst + " " + aluSigns[op] + " " + reg(ins.Src, wide)
	}
	return dst + " " + aluSigns[op] + " " + strconv.FormatInt(ins.Constant, 10)
}

// conditions are the comparisons of the conditional jumps.
var conditions = map[asm.JumpOp]string{
	asm.JEq: "==", asm.JNE: "!=", asm.JGT: ">", asm.JGE: ">=", asm.JLT: "<", asm.JLE: "<=",
	asm.JSGT: "s>", asm.JSGE: "s>=", asm.JSLT: "s<", asm.JSLE: "s<=", asm.JSet: "&",
}

func renderJump(ins asm.Instruction, target string) string {
	op, wide := ins.OpCode.JumpOp(), ins.OpCode.Class() == asm.JumpClass
	if target == "" {
		distance := int64(ins.Offset)
		if isLongJump(ins.OpCode) || ins.IsFunctionCall() {
			distance = ins.Constant
		}
		target = "pc" + strconv.FormatInt(distance, 10)
		if distance >= 0 {
			target = "pc+" + strconv.FormatInt(distance, 10)
		}
	}
	switch op {
	case asm.Exit:
		return "exit"
	case asm.Call:
		return renderCall(ins, target)
	case asm.JCOND:
		return "may_goto " + target
	case asm.Ja:
		if wide {
			return "goto " + target
		}
		return "gotol " + target
	}
	if conditions[op] == "" {
		return ""
	}
	right := strconv.FormatInt(ins.Constant, 10)
	if ins.OpCode.Source() == asm.RegSource {
		right = reg(ins.Src, wide)
	}
	return "if " + reg(ins.Dst, wide) + " " + conditions[op] + " " + right + " goto " + target
}

func renderCall(ins asm.Instruction, target string) string {
	switch {
	case ins.OpCode.Source() == asm.RegSource:
		return "callx " + reg(ins.Dst, true)
	case ins.IsFunctionCall():
		return "call " + target
	case ins.IsKfuncCall():
		return fmt.Sprintf("call kfunc#%d", ins.Constant)
	}
	return "call " + HelperName(ins.Constant) + "#" + strconv.FormatInt(ins.Constant, 10)
}

func renderMemory(ins asm.Instruction, target string) string {
	class, mode, bits := ins.OpCode.Class(), ins.OpCode.Mode(), 8*ins.OpCode.Size().Sizeof()
	switch {
	case ins.OpCode.IsDWordLoad():
		return renderWideLoad(ins, target)
	case class == asm.LdClass && mode == asm.AbsMode:
		return fmt.Sprintf("r0 = *(u%d *)skb[%d]", bits, ins.Constant)
	case class == asm.LdClass && mode == asm.IndMode:
		return fmt.Sprintf("r0 = *(u%d *)skb[%s %s]", bits, reg(ins.Src, true), signed(ins.Constant))
	case class == asm.LdXClass && mode == asm.MemMode:
		return reg(ins.Dst, true) + " = *(u" + strconv.Itoa(bits) + " *)" + place(ins.Src, ins.Offset)
	case class == asm.LdXClass && mode == asm.MemSXMode:
		return fmt.Sprintf("%s = *(s%d *)%s", reg(ins.Dst, true), bits, place(ins.Src, ins.Offset))
	case class == asm.StClass && mode == asm.MemMode:
		return "*(u" + strconv.Itoa(bits) + " *)" + place(ins.Dst, ins.Offset) + " = " + strconv.FormatInt(ins.Constant, 10)
	case class == asm.StXClass && mode == asm.MemMode:
		return "*(u" + strconv.Itoa(bits) + " *)" + place(ins.Dst, ins.Offset) + " = " + reg(ins.Src, true)
	case class == asm.StXClass && mode == asm.AtomicMode:
		return renderAtomic(ins, bits)
	}
	return ""
}

func renderWideLoad(ins asm.Instruction, target string) string {
	dst := reg(ins.Dst, true)
	low, high := int32(ins.Constant), uint32(uint64(ins.Constant)>>32)
	switch {
	case ins.Src == asm.PseudoMapFD && target != "":
		return dst + " = map[" + target + "]"
	case ins.Src == asm.PseudoMapFD:
		return fmt.Sprintf("%s = map[fd:%d]", dst, low)
	case ins.Src == asm.PseudoMapValue && target != "":
		return fmt.Sprintf("%s = map[%s][0]+%d ll", dst, target, high)
	case ins.Src == asm.PseudoMapValue:
		return fmt.Sprintf("%s = map[fd:%d][0]+%d ll", dst, low, high)
	case ins.Src == asm.PseudoFunc && target != "":
		return fmt.Sprintf("%s = subprog[%s]", dst, target)
	case ins.Src == asm.PseudoFunc:
		return fmt.Sprintf("%s = subprog[%+d]", dst, ins.Constant)
	case ins.Src != 0:
		return ""
	}
	return fmt.Sprintf("%s = %s ll", dst, bigNumber(ins.Constant))
}

// fetches are the atomics with a two-operand operator; xchg and cmpxchg have
// their own syntax.
var fetches = map[asm.AtomicOp]string{
	asm.FetchAdd: "add", asm.FetchAnd: "and", asm.FetchOr: "or", asm.FetchXor: "xor",
}

var atomicSigns = map[asm.AtomicOp]string{
	asm.AddAtomic: "+=", asm.AndAtomic: "&=", asm.OrAtomic: "|=", asm.XorAtomic: "^=",
}

func renderAtomic(ins asm.Instruction, bits int) string {
	op, wide := ins.OpCode.AtomicOp(), bits == 64
	src := reg(ins.Src, wide)
	kind := fmt.Sprintf("%d", bits)
	if !wide {
		kind = fmt.Sprintf("%d_%d", bits, bits)
	}
	inner := place(ins.Dst, ins.Offset)
	switch {
	case atomicSigns[op] != "":
		return fmt.Sprintf("lock *(u%d *)%s %s %s", bits, inner, atomicSigns[op], src)
	case fetches[op] != "":
		return fmt.Sprintf("%s = atomic_fetch_%s((u%d *)%s, %s)", src, fetches[op], bits, inner, src)
	case op == asm.Xchg:
		return fmt.Sprintf("%s = %s(%s, %s)", src, exchange("xchg", wide, kind), inner[1:len(inner)-1], src)
	case op == asm.CmpXchg:
		r0 := reg(asm.R0, wide)
		return fmt.Sprintf("%s = %s(%s, %s, %s)", r0, exchange("cmpxchg", wide, kind), inner[1:len(inner)-1], r0, src)
	case op == loadAcquire:
		return fmt.Sprintf("%s = load_acquire((u%d *)%s)", reg(ins.Dst, true), bits, place(ins.Src, ins.Offset))
	case op == storeRelease:
		return fmt.Sprintf("store_release((u%d *)%s, %s)", bits, inner, reg(ins.Src, true))
	}
	return ""
}

// exchange names the exchanges as LLVM does: xchg_64 and xchg32_32.
func exchange(name string, wide bool, kind string) string {
	if wide {
		return name + "_" + kind
	}
	return name + kind
}

// The two atomics that cilium/ebpf has no exported names for.
var (
	loadAcquire  = asm.LoadAcquire(0, 0, asm.DWord, 0).OpCode.AtomicOp()
	storeRelease = asm.StoreRelease(0, 0, asm.DWord, 0).OpCode.AtomicOp()
)

func reg(r asm.Register, wide bool) string {
	if wide {
		return "r" + strconv.Itoa(int(r))
	}
	return "w" + strconv.Itoa(int(r))
}

func place(base asm.Register, off int16) string {
	return "(" + reg(base, true) + " " + signed(int64(off)) + ")"
}

// signed writes "+ 4" or "- 4".
func signed(n int64) string {
	if n < 0 {
		return "- " + strconv.FormatUint(uint64(-n), 10)
	}
	return "+ " + strconv.FormatInt(n, 10)
}

// bigNumber writes what fits an int32 in decimal, and hexadecimal beyond.
func bigNumber(n int64) string {
	if n >= math.MinInt32 && n <= math.MaxInt32 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%#x", uint64(n))
}
