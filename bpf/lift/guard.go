package lift

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// guard checks at run time what the verifier could not prove: that size bytes at ptr +
// off lie in the memory a raw program was given, or in the function's own frame. If
// not, the program aborts.
//
// A pointer to a caller's frame is not checked here; the engine stops only accesses
// outside local memory.
func (b *funcBuilder) guard(acc *verify.Access, ptr *ir.Value, off int64, size int) {
	var start, length *ir.Value
	switch {
	case acc.Kind == verify.PtrStack && acc.Up == 0:
		start = b.op(ir.OpStackAddr, ir.I32)
		length = b.constant(ir.I32, int64(b.fn.Frame))
	case space(acc.Kind) == ir.Packet:
		start, length = b.op(ir.OpPacketStart, ir.I32), b.op(ir.OpPacketLen, ir.I32)
	default:
		return
	}
	addr := b.add(ptr, off)
	high := b.trunc(b.op(ir.OpShr, ir.I64, addr, b.constant(ir.I32, 32)))
	from := b.op(ir.OpSub, ir.I32, b.trunc(addr), start)
	need := b.constant(ir.I32, int64(size))
	// In this order nothing wraps: need <= length, then from <= length - need.
	fits := b.op(ir.OpULE, ir.I32, need, length)
	inside := b.op(ir.OpULE, ir.I32, from, b.op(ir.OpSub, ir.I32, length, need))
	narrow := b.op(ir.OpEQ, ir.I32, high, b.constant(ir.I32, 0))
	cond := b.op(ir.OpAnd, ir.I32, b.op(ir.OpAnd, ir.I32, fits, inside), narrow)
	good, bad := b.fn.NewBlock(), b.fn.NewBlock()
	b.cur.Branch(b.pc, cond, ir.Edge{To: good}, ir.Edge{To: bad})
	bad.Kind, bad.PC = ir.TermAbort, b.pc
	b.cur = good
}

// stray builds an access through a register that holds no pointer. Only a
// program that was not verified has one, and it aborts when it reaches the
// access.
func (b *funcBuilder) stray(ins *code.Insn) {
	bad, rest := b.fn.NewBlock(), b.fn.NewBlock()
	b.cur.Branch(b.pc, b.constant(ir.I32, 1), ir.Edge{To: bad}, ir.Edge{To: rest})
	bad.Kind, bad.PC = ir.TermAbort, b.pc
	b.cur = rest
	if ins.OpCode.Class() == asm.LdXClass {
		b.regs[ins.Dst] = b.constant(ir.I64, 0)
	}
}
