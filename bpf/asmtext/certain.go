package asmtext

import (
	"math"

	"github.com/cilium/ebpf/asm"
)

// certain reports whether an instruction's text is known to be exact. It requires that
// each field which the syntax omits is zero, that the parser accepts each number, and
// that no name in the text has another meaning. It is conservative: some instructions
// that it refuses have an exact text too. For those, Format parses the text back,
// which costs twenty times as much. Target is as for formatTo.
func certain(ins asm.Instruction, target string) bool {
	if ins.Dst > asm.R10 || target != "" && target[0] == '"' {
		return false
	}
	switch class := ins.OpCode.Class(); {
	case class.IsALU():
		return ins.Offset == 0 && certainALU(ins)
	case class.IsJump():
		return certainJump(ins, target)
	}
	return certainMemory(ins, target)
}

// plainSource reports whether the second operand is plain: a register and no
// constant, or a constant of 32 bits and no register.
func plainSource(ins asm.Instruction) bool {
	if ins.OpCode.Source() == asm.RegSource {
		return ins.Src <= asm.R10 && ins.Constant == 0
	}
	return ins.Src == 0 && fits32(ins.Constant)
}

func fits32(n int64) bool { return n >= math.MinInt32 && n <= math.MaxInt32 }

func certainALU(ins asm.Instruction) bool {
	code, op := ins.OpCode, ins.OpCode.ALUOp()
	wide := code.Class() == asm.ALU64Class
	plain := asm.OpCode(code.Class()) | asm.OpCode(op)
	switch {
	case op == asm.Swap:
		known := ins.Constant == 16 || ins.Constant == 32 || ins.Constant == 64
		if wide {
			return known && ins.Src == 0 && code == plain
		}
		return known && ins.Src == 0 && code == plain|asm.OpCode(code.Endianness())
	case op == asm.Neg:
		return code == plain && ins.Src == 0 && ins.Constant == 0
	case op == asm.MovSX8 || op == asm.MovSX16 || op == asm.MovSX32 && wide:
		return code == plain|asm.OpCode(asm.RegSource) && plainSource(ins)
	case op == asm.MovSX32:
		return false
	}
	return code == plain|asm.OpCode(code.Source()) && plainSource(ins)
}

func certainJump(ins asm.Instruction, target string) bool {
	code, op := ins.OpCode, ins.OpCode.JumpOp()
	plain := asm.OpCode(code.Class()) | asm.OpCode(op)
	switch op {
	case asm.Exit:
		return code == plain && ins.Dst == 0 && ins.Src == 0 && ins.Offset == 0 && ins.Constant == 0
	case asm.Call:
		if code != plain || ins.Dst != 0 || ins.Offset != 0 || !fits32(ins.Constant) {
			return false
		}
		switch {
		case ins.Src == 0:
			return helperIDs()[HelperName(ins.Constant)] == ins.Constant && ins.Constant != 0
		case ins.Src != asm.PseudoCall:
			return false
		}
		_, helper := helperIDs()[target]
		return !helper
	case asm.Ja:
		used := code.Class() == asm.JumpClass // Offset, else Constant
		return code == plain && ins.Dst == 0 && ins.Src == 0 && (used && ins.Constant == 0 || !used && ins.Offset == 0 && fits32(ins.Constant))
	case asm.JCOND, asm.InvalidJumpOp:
		return false
	}
	return code == plain|asm.OpCode(code.Source()) && plainSource(ins)
}

func certainMemory(ins asm.Instruction, target string) bool {
	code, mode := ins.OpCode, ins.OpCode.Mode()
	plain := asm.OpCode(code.Class()) | asm.OpCode(mode) | asm.OpCode(code.Size())
	switch {
	case code.IsDWordLoad():
		if ins.Offset != 0 {
			return false
		}
		switch ins.Src {
		case 0:
			return fits32(ins.Constant)
		case asm.PseudoMapFD:
			return target != "" && ins.Constant == 0
		case asm.PseudoMapValue:
			return target != "" && uint32(ins.Constant) == 0
		}
		return false
	case code.Class() == asm.LdXClass && mode == asm.MemMode, code.Class() == asm.StXClass && mode == asm.MemMode:
		return code == plain && ins.Src <= asm.R10 && ins.Constant == 0
	case code.Class() == asm.LdXClass && mode == asm.MemSXMode:
		return code == plain && ins.Src <= asm.R10 && ins.Constant == 0 && code.Size() != asm.DWord
	case code.Class() == asm.StClass && mode == asm.MemMode:
		return code == plain && ins.Src == 0 && fits32(ins.Constant)
	case code.Class() == asm.StXClass && mode == asm.AtomicMode:
		op := code.AtomicOp()
		known := atomicSigns[op] != "" || fetches[op] != ""
		sized := code.Size() == asm.Word || code.Size() == asm.DWord
		return known && sized && code == plain|asm.OpCode(op) && ins.Src <= asm.R10 &&
			(ins.Constant == 0 || ins.Constant == int64(op>>8))
	}
	return false
}
