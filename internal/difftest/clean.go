package difftest

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// A verified program may still have behaviour that differs between engines: the kernel
// lets a privileged program return a pointer as a number and read stack that it did
// not write. The generator writes no such program, but shrinking may produce one,
// whose difference is then not the original one.

// clean reports whether the program's results depend on the program alone: no
// pointer becomes a number in the results, and the stack's initial content has
// no effect.
func clean(f *verify.Facts) bool {
	return keepsPointers(f) && !readsUnwritten(f)
}

// keepsPointers checks each instruction by itself. Pointers may be moved and
// have numbers added; they may be subtracted from and compared with pointers of
// their kind only, and stored to the stack only. They must not be passed as a
// number or returned.
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

// readsUnwritten reports whether the program reads stack that it may not have written. The
// kernel's stack holds earlier contents: sometimes addresses, sometimes zeros.
func readsUnwritten(f *verify.Facts) bool {
	return slices.ContainsFunc(f.Warnings, func(r verify.Reason) bool { return r.Reason == "uninit-stack" })
}

// zeroed returns p with stores that first zero the stack of each function, in those of
// its programs that read unwritten stack. The other engines start with zeros.
func zeroed(p *Program) (*Program, error) {
	q := *p
	q.Targets = maps.Clone(p.Targets)
	var err error
	if q.Spec, err = zeroedSpec(p, p.Spec); err != nil {
		return nil, err
	}
	for i, spec := range p.Targets {
		if q.Targets[i], err = zeroedSpec(p, spec); err != nil {
			return nil, err
		}
	}
	return &q, nil
}

func zeroedSpec(p *Program, spec *ebpf.ProgramSpec) (*ebpf.ProgramSpec, error) {
	c, faults := code.New(spec, p.Maps)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	f, err := verify.Verify(c, nil)
	if err != nil {
		return nil, err
	}
	if !readsUnwritten(f) {
		return spec, nil
	}
	out := *spec
	out.Instructions = nil
	for i, ins := range spec.Instructions {
		for n, fn := range c.Funcs {
			if fn.Start != i {
				continue
			}
			for at := 8; at <= f.Depth[n]; at += 8 {
				store := asm.Instruction{OpCode: asm.StoreImmOp(asm.DWord), Dst: asm.R10, Offset: int16(-at)}
				if at == 8 {
					store, ins = store.WithSource(ins.Source()).WithSymbol(ins.Symbol()), ins.WithSymbol("")
				}
				out.Instructions = append(out.Instructions, store)
			}
		}
		out.Instructions = append(out.Instructions, ins)
	}
	return &out, nil
}
