package verify

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

// Register liveness: the textbook backward analysis over the whole program. A call
// uses the registers that are live at its callee's entry. Comparing and merging states
// ignores dead registers, and in the Facts they are NotInit.

// liveness returns the live registers before each instruction, one bit per register.
// If linux, a global function uses all its arguments, even those that it does not
// read.
func liveness(c *code.Code, gs []*graph, linux bool) []uint16 {
	in := make([]uint16, len(c.Insns))
	args := make([]uint16, len(c.Funcs))
	for f := range args {
		args[f] = 1 << asm.R10
		if linux && isGlobal(c, f) {
			args[f] |= argRegs
		}
	}
	for changed := true; changed; {
		changed = false
		for f := len(gs) - 1; f >= 0; f-- {
			for b := len(gs[f].blocks) - 1; b >= 0; b-- {
				changed = flowBack(c, gs[f], b, in, args[f]) || changed
			}
		}
	}
	return in
}

// flowBack carries liveness through one block and reports a change at its start. args is
// live at the function's.
func flowBack(c *code.Code, g *graph, b int, in []uint16, args uint16) bool {
	bl := &g.blocks[b]
	var live uint16
	for _, s := range bl.succs {
		live |= in[g.blocks[s].start]
	}
	before := in[bl.start]
	for i := bl.end - 1; i >= bl.start; i-- {
		use, def := usesAndDefs(c, i, in)
		live = live&^def | use
		in[i] = live | 1<<asm.R10
	}
	if b == 0 {
		in[bl.start] |= args
	}
	return in[bl.start] != before
}

const argRegs = 1<<asm.R1 | 1<<asm.R2 | 1<<asm.R3 | 1<<asm.R4 | 1<<asm.R5

// usesAndDefs returns the registers that instruction i reads and writes.
func usesAndDefs(c *code.Code, i int, in []uint16) (use, def uint16) {
	ins := &c.Insns[i]
	dst, src := uint16(1)<<(ins.Dst&15), uint16(1)<<(ins.Src&15)
	op := ins.OpCode
	switch class := op.Class(); {
	case class.IsALU():
		alu := op.ALUOp()
		if op.Source() == asm.RegSource && alu != asm.Neg && alu != asm.Swap {
			use = src
		}
		if !isMove(alu) {
			use |= dst
		}
		return use, dst
	case class.IsJump():
		return jumpUses(c, i, in)
	case class == asm.LdXClass:
		return src, dst
	case class == asm.StClass:
		return dst, 0
	case class == asm.StXClass:
		use = dst | src
		if a := op.AtomicOp(); a != asm.InvalidAtomic && isFetch(a) {
			def = src
			if a == asm.CmpXchg {
				use, def = use|1<<asm.R0, 1<<asm.R0
			}
		}
		return use, def
	case op.Mode() == asm.AbsMode:
		return 1 << asm.R6, 1<<asm.R0 | argRegs
	case op.Mode() == asm.IndMode:
		return 1<<asm.R6 | src, 1<<asm.R0 | argRegs
	}
	return 0, dst
}

func jumpUses(c *code.Code, i int, in []uint16) (use, def uint16) {
	ins := &c.Insns[i]
	switch ins.OpCode.JumpOp() {
	case asm.Ja, asm.JCOND:
		return 0, 0
	case asm.Exit:
		return 1 << asm.R0, 0
	case asm.Call:
		use = argRegs
		if isCall(ins) {
			use &= in[c.Funcs[ins.Callee].Start]
		} else if p, ok := helper.ByID(asm.BuiltinFunc(ins.Constant)); ok && ins.IsBuiltinCall() {
			for n, a := range p.Args {
				if a == helper.ArgNone {
					use &^= 1 << (n + 1)
				}
			}
		}
		return use, 1<<asm.R0 | argRegs
	}
	use = 1 << (ins.Dst & 15)
	if ins.OpCode.Source() == asm.RegSource {
		use |= 1 << (ins.Src & 15)
	}
	return use, 0
}

func isMove(op asm.ALUOp) bool {
	switch op {
	case asm.Mov, asm.MovSX8, asm.MovSX16, asm.MovSX32:
		return true
	}
	return false
}

// isFetch reports whether an atomic leaves the old value in a register.
func isFetch(a asm.AtomicOp) bool { return a&0x0100 != 0 }
