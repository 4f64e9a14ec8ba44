package lift

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// helperArgs returns the registers that a helper call reads. The context is not
// among them, since a helper knows its packet.
func (b *builder) helperArgs(ins *code.Insn) bpfRegs {
	proto, ok := helper.ByID(asm.BuiltinFunc(ins.Constant))
	if !ok {
		return 0
	}
	var use bpfRegs
	for i, a := range proto.Args {
		if a != helper.ArgNone && a != helper.ArgCtx {
			use |= 1 << (i + 1)
		}
	}
	return use
}

// call builds a call: of a function of the program, or of a helper.
func (b *funcBuilder) call(ins *code.Insn) error {
	var r0 *ir.Value
	switch {
	case ins.Callee != code.None:
		var args []*ir.Value
		for r := range b.regions[ins.Callee].params {
			args = append(args, b.reg(asm.Register(r+1)))
		}
		r0 = b.op(ir.OpCallFunc, ir.I64, args...)
		r0.Sym = b.code.Funcs[ins.Callee].Name
	case ins.Src != 0:
		b.refuse(b.i, "helper-missing", "no firmware offers kernel functions")
	default:
		id := int32(ins.Constant)
		proto, ok := helper.ByID(asm.BuiltinFunc(id))
		if !ok || !b.t.offers(id) {
			b.refuse(b.i, "helper-missing", "firmware %s has no helper %d (%s)", b.t.Name, id, asmtext.HelperName(int64(id)))
			break
		}
		call := b.f.Calls[b.i]
		if call == nil {
			return fmt.Errorf("no facts about the call")
		}
		if proto.ID == asm.FnTailCall {
			b.tailCall(call)
			break
		}
		r0 = b.helper(proto, call)
	}
	b.clobber()
	b.regs[asm.R0] = r0
	return nil
}

// tailCall names the map if it is known, else passes its handle.
func (b *funcBuilder) tailCall(call *verify.Call) {
	index := b.reg(asm.R3)
	if len(call.Maps) == 1 {
		b.op(ir.OpTailCall, ir.Void, index).Sym = b.mapNames[call.Maps[0]]
		return
	}
	b.op(ir.OpTailCall, ir.Void, index, b.reg32(asm.R2))
}

// helper builds the call of a helper that the firmware offers.
func (b *funcBuilder) helper(proto helper.Proto, call *verify.Call) *ir.Value {
	var args []*ir.Value
	var kinds uint32
	var reach uint64
	s := b.stage(b.i)
	for i, a := range proto.Args {
		if a == helper.ArgNone {
			break
		}
		arg, kind := (*ir.Value)(nil), uint32(0)
		switch {
		case a == helper.ArgCtx:
			arg = b.constant(ir.I64, 0)
		case s.at[i] >= 0:
			arg, kind = b.copyIn(proto, call, i, s.at[i]), ir.KindStack
		default:
			arg = b.reg(asm.Register(i + 1))
			kind = pointerKind(a, &call.Mem[i])
		}
		args = append(args, arg)
		kinds |= kind << (4 * i)
		if n := call.Mem[i].Size; kind == ir.KindStack && n < 1<<10 {
			reach |= uint64(n) << (10 * i)
		}
	}
	v := b.op(ir.OpCallHelper, ir.I64, args...)
	v.Int, v.Kinds, v.Reach = int64(proto.ID), kinds, reach
	return v
}

// pointerKind returns the kind that the firmware receives of an argument that is not
// staged.
func pointerKind(a helper.Arg, mem *verify.Access) uint32 {
	if !isMem(a) {
		return 0
	}
	if mem.Size == 0 {
		return ir.KindScalar
	}
	switch space(mem.Kind) {
	case ir.Stack:
		return ir.KindStack
	case ir.Packet:
		return ir.KindPacket
	case ir.MapMem:
		return ir.KindMap
	}
	return ir.KindScalar
}

// isMem reports whether the argument is a pointer to memory.
func isMem(a helper.Arg) bool {
	switch a {
	case helper.ArgMapKey, helper.ArgMapValue, helper.ArgMem, helper.ArgMemOrNull, helper.ArgUninitMem:
		return true
	}
	return writesMem(a) || a == helper.ArgFixedMem
}

// writesMem reports whether the helper writes through the argument.
func writesMem(a helper.Arg) bool {
	return a == helper.ArgUninitMem || a == helper.ArgUninitFixedMem
}
