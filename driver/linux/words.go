package linux

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// The number of words that the Linux driver's translator generates for a program
// is bounded from both sides, without repeating the translator. The lowest and
// highest number of each instruction were measured by giving single instructions
// to the 6.12 translator. TestDriverRules compares the bounds with the real
// number.

// wordRange is the lowest and the highest number of words of an instruction or
// a program.
type wordRange struct{ least, most int }

// Parts that every program has.
var (
	wordsIntro   = 2
	wordsPadding = 8
	wordsOutro   = map[ebpf.ProgramType]int{ebpf.XDP: 13, ebpf.SchedCLS: 18}
	wordsSaving  = 18 // the shared routines that push and pop r6 to r9
)

func wordsOf(f *verify.Facts) (least, most int) {
	least = wordsIntro + wordsOutro[f.Code.Type] + wordsPadding
	most = least
	if len(f.Code.Funcs) > 1 {
		most += wordsSaving
	}
	start := true // the driver leaves the set-up of converted classic filters out
	for i := range f.Code.Insns {
		if f.Reachable[i] {
			w := insnWords(f, i)
			if start = start && setsUp(&f.Code.Insns[i]); start {
				w.least = 0
			}
			least, most = least+w.least, most+w.most
		}
	}
	return least, most
}

// setsUp reports whether ins is r6 = r1, or a register xored with itself. At the
// start of a program the translator generates no words for them (jit.c,
// nfp_bpf_opt_reg_init).
func setsUp(ins *code.Insn) bool {
	op := ins.OpCode
	if !op.Class().IsALU() || op.Source() != asm.RegSource {
		return false
	}
	return op.ALUOp() == asm.Mov && ins.Dst == asm.R6 && ins.Src == asm.R1 || op.ALUOp() == asm.Xor && ins.Dst == ins.Src
}

func insnWords(f *verify.Facts, i int) wordRange {
	ins := &f.Code.Insns[i]
	op := ins.OpCode
	switch class := op.Class(); {
	case class == asm.ALU64Class:
		return alu64Words(ins)
	case class == asm.ALUClass:
		return alu32Words(ins)
	case class.IsJump():
		return jumpWords(f, i, ins)
	case class == asm.LdClass && op.IsDWordLoad():
		return wordRange{2, 4}
	case class == asm.LdClass && op.Mode() == asm.AbsMode:
		return wordRange{4, 8}
	case class == asm.LdClass:
		return wordRange{6, 10}
	case op.Mode() == asm.AtomicMode:
		return wordRange{2, 17}
	}
	return accessWords(f.Mem[i])
}

func alu64Words(ins *code.Insn) wordRange {
	reg, op := ins.OpCode.Source() == asm.RegSource, ins.OpCode.ALUOp()
	switch {
	case isPlainMove(op):
		return wordRange{2, 4}
	case op == asm.Mul:
		return wordRange{4, 10}
	case op == asm.Div || op == asm.SDiv:
		return wordRange{1, 18}
	case op == asm.LSh || op == asm.RSh || op == asm.ArSh:
		if reg {
			return wordRange{1, 12}
		}
		return wordRange{1, 3}
	case op == asm.Neg || reg:
		return wordRange{2, 2}
	}
	if ins.Constant == 0 || ins.Constant == -1 || op == asm.And || op == asm.Or || op == asm.Xor {
		return wordRange{0, 6}
	}
	return wordRange{2, 6}
}

func isPlainMove(op asm.ALUOp) bool {
	return op == asm.Mov || op == asm.MovSX8 || op == asm.MovSX16 || op == asm.MovSX32
}

func alu32Words(ins *code.Insn) wordRange {
	reg := ins.OpCode.Source() == asm.RegSource
	switch op := ins.OpCode.ALUOp(); {
	case isPlainMove(op):
		return wordRange{1, 3}
	case op == asm.Swap:
		return wordRange{2, 6}
	case op == asm.Mul:
		return wordRange{4, 10}
	case op == asm.Div || op == asm.SDiv:
		return wordRange{1, 18}
	case op == asm.LSh || op == asm.RSh || op == asm.ArSh:
		if reg {
			return wordRange{1, 12}
		}
		return wordRange{0, 4}
	}
	return wordRange{0, 4}
}

func jumpWords(f *verify.Facts, i int, ins *code.Insn) wordRange {
	switch op := ins.OpCode.JumpOp(); {
	case op == asm.Exit:
		return wordRange{1, 4}
	case op == asm.Ja:
		return wordRange{0, 1}
	case op == asm.Call && ins.Callee != code.None:
		return wordRange{7, 13} // the callee's first word with it
	case op == asm.Call:
		return callWords(asm.BuiltinFunc(ins.Constant))
	case f.Taken[i] != f.Falls[i]: // hard-wired by the kernel
		return wordRange{0, 8}
	}
	return wordRange{1, 8}
}

func callWords(id asm.BuiltinFunc) wordRange {
	switch id {
	case asm.FnMapLookupElem, asm.FnMapDeleteElem, asm.FnMapUpdateElem:
		return wordRange{3, 10}
	case asm.FnXdpAdjustHead:
		return wordRange{5, 18}
	case asm.FnXdpAdjustTail:
		return wordRange{9, 14}
	}
	return wordRange{2, 6}
}

// accessWords returns the words of a load or store. One of packet bytes may
// become part of a block copy, and then takes few words of its own.
func accessWords(m *verify.Access) wordRange {
	if m == nil {
		return wordRange{}
	}
	switch m.Kind {
	case verify.PtrCtx:
		return wordRange{2, 6}
	case verify.PtrStack:
		return wordRange{1, 18}
	case verify.PtrPacket, verify.PtrMapValue:
		return wordRange{0, 12}
	}
	return wordRange{0, 18}
}
