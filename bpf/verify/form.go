package verify

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// Checks that need no data flow: instruction forms, reachability by jumps,
// recursion.

func (j *journal) fault(i int, word, format string, args ...any) {
	if j.first(i, word) {
		j.reasons = append(j.reasons, j.reason(i, word, fmt.Sprintf(format, args...)))
	}
}

// checkForm refuses opcodes that the ISA (RFC 9669) does not have.
func checkForm(c *code.Code, j *journal) {
	for i := range c.Insns {
		ins := &c.Insns[i]
		if !knownForm(ins) {
			j.fault(i, "bad-opcode", "no instruction has opcode %#x here", uint32(ins.OpCode))
		}
	}
}

// pseudoMapIndexValue is BPF_PSEUDO_MAP_IDX_VALUE, the last of the sources that say
// what a 64-bit load loads; cilium/ebpf does not name it.
const pseudoMapIndexValue = asm.R6

func knownForm(ins *code.Insn) bool {
	op := ins.OpCode
	size := op.Size()
	sized := size == asm.Byte || size == asm.Half || size == asm.Word || size == asm.DWord
	switch class := op.Class(); class {
	case asm.ALUClass, asm.ALU64Class:
		return knownALU(ins, class == asm.ALU64Class)
	case asm.JumpClass, asm.Jump32Class:
		return knownJump(op.JumpOp(), class == asm.JumpClass)
	case asm.LdClass:
		if op.Mode() == asm.AbsMode || op.Mode() == asm.IndMode {
			return sized && size != asm.DWord
		}
		return op.IsDWordLoad() && ins.Src <= pseudoMapIndexValue
	case asm.LdXClass:
		return sized && (op.Mode() == asm.MemMode || op.Mode() == asm.MemSXMode && size != asm.DWord)
	case asm.StClass:
		return sized && op.Mode() == asm.MemMode
	default:
		return sized && (op.Mode() == asm.MemMode || op.Mode() == asm.AtomicMode)
	}
}

// reserved reports whether a field that the instruction does not use is not zero (RFC
// 9669, section 3). The kernel checks only code that it reaches. cilium/ebpf folds
// some fields into the opcode when it loads: the offsets of signed division and of
// moves, and the constant of atomics. It clears those fields or leaves them to be
// compared here; it keeps all others.
func reserved(ins *code.Insn) bool {
	op, reg := ins.OpCode, ins.OpCode.Source() == asm.RegSource
	switch class := op.Class(); {
	case class.IsALU():
		switch op.ALUOp() {
		case asm.Neg:
			return reg || ins.Offset != 0 || ins.Src != 0 || ins.Constant != 0
		case asm.Swap:
			return ins.Offset != 0 || ins.Src != 0
		}
		return ins.Offset != 0 || !reg && ins.Src != 0 || reg && ins.Constant != 0
	case class.IsJump():
		return reservedInJump(ins, class, reg)
	case class == asm.LdClass && op.IsDWordLoad():
		return ins.Offset != 0
	case class == asm.LdClass:
		return ins.Dst != 0 || ins.Offset != 0 || op.Mode() == asm.AbsMode && ins.Src != 0
	case class == asm.LdXClass:
		return ins.Constant != 0
	case class == asm.StClass:
		return ins.Src != 0
	}
	if op.Mode() == asm.AtomicMode {
		return ins.Constant != 0 && ins.Constant != int64(op.AtomicOp()>>8) // 0 if only the opcode was given
	}
	return ins.Constant != 0
}

// indirect reports a call through a register, callx.
func indirect(ins *code.Insn) bool {
	return ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() == asm.Call && ins.OpCode.Source() == asm.RegSource
}

func reservedInJump(ins *code.Insn, class asm.Class, reg bool) bool {
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		return reg || ins.Dst != 0 || ins.Src != 0 || ins.Constant != 0
	case asm.Call:
		return reg || ins.Dst != 0 || !ins.IsKfuncCall() && ins.Offset != 0
	case asm.Ja:
		distance := ins.Reference() != "" // written when the program is laid out
		if class == asm.Jump32Class {
			return reg || ins.Dst != 0 || ins.Src != 0 || ins.Offset != 0 && !distance
		}
		return reg || ins.Dst != 0 || ins.Src != 0 || ins.Constant != 0 && !distance
	case asm.JCOND:
		return false
	}
	return reg && ins.Constant != 0 || !reg && ins.Src != 0
}

func knownALU(ins *code.Insn, wide bool) bool {
	switch op := ins.OpCode.ALUOp(); op {
	case asm.Add, asm.Sub, asm.Mul, asm.Div, asm.SDiv, asm.Or, asm.And, asm.LSh, asm.RSh, asm.Neg, asm.Mod, asm.SMod, asm.Xor, asm.Mov, asm.ArSh:
		return true
	case asm.MovSX8, asm.MovSX16:
		return ins.OpCode.Source() == asm.RegSource
	case asm.MovSX32:
		return wide && ins.OpCode.Source() == asm.RegSource
	case asm.Swap:
		return (ins.Constant == 16 || ins.Constant == 32 || ins.Constant == 64) && !(wide && ins.OpCode.Endianness() == asm.BE)
	}
	return false
}

func knownJump(op asm.JumpOp, wide bool) bool {
	switch op {
	case asm.Ja, asm.JEq, asm.JGT, asm.JGE, asm.JSet, asm.JNE, asm.JSGT, asm.JSGE, asm.JLT, asm.JLE, asm.JSLT, asm.JSLE:
		return true
	case asm.Call, asm.Exit, asm.JCOND:
		return wide
	}
	return false
}

// checkReach refuses instructions that no path of jumps reaches, as the kernel
// does. Raw programs may have them.
func checkReach(c *code.Code, gs []*graph, j *journal) {
	if c.Type == ebpf.UnspecifiedProgram {
		return
	}
	for _, g := range gs {
		reached := make([]bool, len(g.blocks))
		mark(g.order, reached)
		for b := range g.blocks {
			if !reached[b] && (b == 0 || reached[b-1]) {
				j.fault(g.blocks[b].start, "unreachable-insn", "no path leads here")
			}
		}
	}
}

func mark(order []item, reached []bool) {
	for i := range order {
		reached[order[i].block] = true
		mark(order[i].body, reached)
	}
}

// checkCalls refuses recursion.
func checkCalls(c *code.Code, j *journal) {
	const (
		unseen = iota
		open
		done
	)
	mark := make([]int, len(c.Funcs))
	var visit func(f int)
	visit = func(f int) {
		mark[f] = open
		for i := c.Funcs[f].Start; i < c.Funcs[f].End; i++ {
			if !isCall(&c.Insns[i]) {
				continue
			}
			switch callee := c.Insns[i].Callee; mark[callee] {
			case unseen:
				visit(callee)
			case open:
				j.fault(i, "recursion", "%s is called while it runs", c.Funcs[callee].Name)
			}
		}
		mark[f] = done
	}
	visit(0)
}

// roundFrame returns the part of the stack's budget that a frame of depth bytes uses.
func roundFrame(depth int) int { return (depth + 15) &^ 15 } // kernel 6.12, check_max_stack_depth with a JIT: 16

// checkDepth refuses chains of calls that need more than 512 bytes of stack.
func (x *explorer) checkDepth() {
	sum := make([]int, len(x.c.Funcs)) // of the deepest chain from each function, 0 unknown
	var visit func(f int) int
	visit = func(f int) int {
		if sum[f] > 0 {
			return sum[f]
		}
		own, below := roundFrame(x.facts.Depth[f]), 0
		for i := x.c.Funcs[f].Start; i < x.c.Funcs[f].End; i++ {
			if !isCall(&x.c.Insns[i]) || !x.facts.Reachable[i] {
				continue
			}
			n := visit(x.c.Insns[i].Callee)
			if f == 0 && own+n > maxStack {
				x.fail(nil, i, "stack-depth", "stack of the functions called here is %d bytes with the caller's; %d are allowed", own+n, maxStack)
			}
			below = max(below, n)
		}
		sum[f] = own + below
		return sum[f]
	}
	visit(0)
}
