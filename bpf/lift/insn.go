package lift

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/ir"
)

// insn builds one instruction; the last one of a block also its terminator.
func (b *funcBuilder) insn(ins *code.Insn) error {
	var err error
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		err = b.alu(ins)
	case asm.LdClass:
		if ins.OpCode.IsDWordLoad() {
			err = b.loadImm(ins)
		} else {
			err = b.classic(ins)
		}
	case asm.LdXClass, asm.StClass, asm.StXClass:
		err = b.access(ins)
	default:
		return b.jump(ins)
	}
	if w := b.w; err == nil && b.i == w.end-1 {
		b.cur.Jump(b.pc, b.block(w.succs[0]))
	}
	return err
}

func (b *funcBuilder) jump(ins *code.Insn) error {
	w := b.w
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		b.exit()
		return nil
	case asm.Ja:
		b.cur.Jump(b.pc, b.block(w.succs[0]))
		return nil
	case asm.Call:
		if err := b.call(ins); err != nil {
			return err
		}
		if b.i == w.end-1 {
			b.cur.Jump(b.pc, b.block(w.succs[0]))
		}
		return nil
	}
	return b.branch(ins)
}

// exit returns R0, or its low half from the entry of an XDP or TC program.
func (b *funcBuilder) exit() {
	v := b.reg(asm.R0)
	if b.fn.Result == ir.I32 {
		v = b.trunc(v)
	}
	b.cur.Kind, b.cur.Result, b.cur.PC = ir.TermReturn, v, b.pc
}

// loadImm builds the instruction of two slots: a number, a map or a place in a
// map's value.
func (b *funcBuilder) loadImm(ins *code.Insn) error {
	var v *ir.Value
	switch {
	case ins.Map != code.None && ins.Src == asm.PseudoMapFD:
		h := b.op(ir.OpMapHandle, ir.I32)
		h.Sym = b.mapNames[ins.Map]
		v = b.zext(h)
	case ins.Map != code.None:
		v = b.op(ir.OpMapValueAddr, ir.I64)
		v.Sym, v.Int = b.mapNames[ins.Map], int64(uint64(ins.Constant)>>32)
	case ins.Src == asm.R0:
		v = b.constant(ir.I64, ins.Constant)
	case ins.IsLoadOfFunctionPointer():
		// No target offers a helper that calls back, so the address is a number
		// that is never dereferenced.
		v = b.constant(ir.I64, int64(ins.Callee)+1)
	default:
		return fmt.Errorf("no translation for the address of source %d", ins.Src)
	}
	b.regs[ins.Dst] = v
	return nil
}

// classic builds LD_ABS and LD_IND: R0 := the big-endian number at an offset into the
// packet. If it is not completely inside the packet, the function ends, and the
// program with its type's abort verdict.
func (b *funcBuilder) classic(ins *code.Insn) error {
	size := int64(ins.OpCode.Size().Sizeof())
	if size != 1 && size != 2 && size != 4 {
		return fmt.Errorf("classic load of %d bytes", size)
	}
	length := b.op(ir.OpPacketLen, ir.I32)
	off := b.constant(ir.I32, ins.Constant)
	if ins.OpCode.Mode() == asm.IndMode {
		off = b.add(b.reg32(ins.Src), int64(int32(ins.Constant)))
	}
	// size <= length and off <= length - size: the second alone would wrap for a
	// length below size.
	room := b.op(ir.OpSub, ir.I32, length, b.constant(ir.I32, size))
	fits := b.op(ir.OpULE, ir.I32, b.constant(ir.I32, size), length)
	inside := b.op(ir.OpULE, ir.I32, off, room)
	cond := b.op(ir.OpAnd, ir.I32, fits, inside)
	from, good, bad := b.cur, b.fn.NewBlock(), b.fn.NewBlock()
	from.Branch(b.pc, cond, ir.Edge{To: good}, ir.Edge{To: bad})
	b.cur = bad
	if b.fn.Result == ir.I32 {
		bad.Kind = ir.TermAbort
	} else {
		bad.Kind, bad.Result = ir.TermReturn, b.constant(ir.I64, 0)
	}
	bad.PC = b.pc
	b.cur = good
	addr := b.op(ir.OpAdd, ir.I32, b.op(ir.OpPacketStart, ir.I32), off)
	v := b.op(ir.OpLoad, ir.I32, addr)
	v.Space, v.Size = ir.Packet, uint8(size)
	if size > 1 {
		v = b.op(ir.OpBSwap, ir.I32, v)
		v.Int = size * 8
	}
	b.clobber()
	b.regs[asm.R0] = b.zext(v)
	return nil
}

// clobber forgets r0 to r5.
func (b *funcBuilder) clobber() {
	for r := asm.R0; r <= asm.R5; r++ {
		b.regs[r] = nil
	}
}
