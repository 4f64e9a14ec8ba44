package difftest

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// A verified program may still do what no two engines do alike: the kernel lets
// a privileged program return a pointer as a number and read stack that it did
// not write. The generator writes no such program, but the shrinker's cuts make
// them, and then the program no longer shows the difference it was cut from.

// clean reports whether the program's results are its own: no pointer becomes a
// number that is seen, and the stack's first content does not matter.
func clean(p *Program, f *verify.Facts, want *Result) bool {
	return keepsPointers(f) && !readsUnwritten(p, f.Code, want)
}

// keepsPointers is a check of each instruction by itself: pointers are moved,
// added to, subtracted and compared only with their kind, stored only to the
// stack, and neither passed for a number nor returned.
func keepsPointers(f *verify.Facts) bool {
	for i := range f.Code.Insns {
		ins := &f.Code.Insns[i]
		if !f.Reachable[i] {
			continue
		}
		pointer := func(r asm.Register) bool { k := f.Regs[i][r].Kind; return k != verify.Scalar && k != verify.NotInit }
		packet := func(r asm.Register) bool {
			k := f.Regs[i][r].Kind
			return k == verify.PtrPacket || k == verify.PtrPacketEnd
		}
		op, register := ins.OpCode, ins.OpCode.Source() == asm.RegSource
		switch class := op.Class(); {
		case class == asm.ALU64Class && op.ALUOp() == asm.Mov:
		case class.IsALU() && op.ALUOp() == asm.Mov:
			if register && pointer(ins.Src) {
				return false
			}
		case class == asm.ALU64Class && op.ALUOp() == asm.Add:
		case class == asm.ALU64Class && op.ALUOp() == asm.Sub:
			if register && pointer(ins.Src) && !(packet(ins.Dst) && packet(ins.Src)) {
				return false
			}
		case class.IsALU():
			if pointer(ins.Dst) || register && pointer(ins.Src) {
				return false
			}
		case class == asm.StXClass:
			if pointer(ins.Src) && (f.Mem[i] == nil || f.Mem[i].Kind != verify.PtrStack || !f.Mem[i].Spill) {
				return false
			}
		case ins.IsBuiltinCall():
			proto, _ := helper.ByID(asm.BuiltinFunc(ins.Constant))
			for a, arg := range proto.Args {
				if arg == helper.ArgAnything && pointer(asm.R1+asm.Register(a)) {
					return false
				}
			}
		case op.JumpOp() == asm.Exit:
			if pointer(asm.R0) {
				return false
			}
		case class.IsJump() && op.JumpOp() != asm.Ja && op.JumpOp() != asm.Call:
			if register && (pointer(ins.Dst) || pointer(ins.Src)) && !(packet(ins.Dst) && packet(ins.Src)) {
				return false
			}
			if !register && pointer(ins.Dst) && ins.Constant != 0 {
				return false
			}
		}
	}
	return true
}

// readsUnwritten reports whether the result changes with what stack frames hold
// at first. One pattern is not enough: a branch may not tell it from zero.
func readsUnwritten(p *Program, c *code.Code, want *Result) bool {
	for _, junk := range []uint64{0xa5a5a5a5a5a5a5a5, 0x1312111017161514, 1} {
		var w *world
		opt := cardWorld()
		opt.Trace = func(c *code.Code, i int, regs *[11]uint64) {
			if c.Funcs[c.Insns[i].Func].Start != i {
				return
			}
			for at := uint64(8); at <= interp.StackSize; at += 8 {
				w.mach.Store(regs[10]-at, 8, junk) // the frame is there
			}
		}
		w, err := newWorld(p, c, opt)
		if err != nil {
			return true
		}
		if got, err := w.run(p); err != nil || compare(want, got, raw) != nil {
			return true
		}
	}
	return false
}
