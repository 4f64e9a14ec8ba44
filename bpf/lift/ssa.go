package lift

import (
	"math"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// enter starts block w: its registers are those at the end of its one
// predecessor, or parameters. Blocks come in reverse postorder, so that a lone
// predecessor was built before.
func (b *funcBuilder) enter(w *flow) {
	b.pc = int32(b.code.Insns[w.start].PC)
	b.cur = b.block(w)
	if b.cur != b.fn.Blocks[0] {
		b.fn.Blocks = append(b.fn.Blocks, b.cur)
	}
	preds := len(w.preds)
	if w.entered != nil {
		preds++
	}
	switch {
	case preds == 0:
		b.regs = w.regs
	case preds == 1:
		b.regs = w.preds[0].out
	default:
		b.regs = [10]*ir.Value{}
		for r := asm.R0; r <= asm.R9; r++ {
			if w.live.has(r) {
				b.regs[r] = b.proven(w.start, r, b.fn.NewParam(w.in, ir.I64, b.pc))
			}
		}
	}
}

// proven is parameter v, which is register r before instruction i, with what the
// verifier learned of it: a constant, or a number or an address of 32 bits. Of a
// raw program it may not have seen all paths.
func (b *funcBuilder) proven(i int, r asm.Register, v *ir.Value) *ir.Value {
	if b.raw() || i >= len(b.f.Regs) {
		return v
	}
	switch reg := &b.f.Regs[i][r]; reg.Kind {
	case verify.Scalar:
		if reg.Bits.Mask == 0 {
			return b.constant(ir.I64, int64(reg.Bits.Value))
		}
		if reg.UMax > math.MaxUint32 {
			return v
		}
	case verify.PtrPacket, verify.PtrPacketMeta, verify.PtrPacketEnd, verify.PtrStack:
	default:
		return v
	}
	return b.zext(b.trunc(v))
}

// block returns the block that w begins as. It is laid down when it is entered.
func (b *funcBuilder) block(w *flow) *ir.Block {
	if w.in == nil {
		w.in = &ir.Block{ID: b.fn.NextBlock, PC: -1}
		b.fn.NextBlock++
	}
	return w.in
}

// connect ends the entry block and adds the arguments to every edge to a block with
// parameters. Terminators were created without.
func (b *funcBuilder) connect(entry *ir.Block) {
	b.cur = entry
	for _, at := range b.r.order {
		w := b.r.flows[at]
		if w.entered != nil {
			entry.Jump(b.pc, w.in, b.arguments(w, w.regs)...)
		}
		for _, p := range w.preds {
			for i := range p.last.Succs {
				if e := &p.last.Succs[i]; e.To == w.in && e.Args == nil {
					e.Args = b.arguments(w, p.out)
				}
			}
		}
	}
}

// arguments picks the registers that w takes.
func (b *funcBuilder) arguments(w *flow, regs [10]*ir.Value) []*ir.Value {
	if len(w.in.Params) == 0 {
		return nil
	}
	var args []*ir.Value
	for r := asm.R0; r <= asm.R9; r++ {
		if w.live.has(r) {
			args = append(args, b.written(regs[r]))
		}
	}
	return args
}

// written is v, or zero for a register that nothing wrote on this path.
func (b *funcBuilder) written(v *ir.Value) *ir.Value {
	if v != nil {
		return v
	}
	if b.zero == nil {
		b.zero = b.fn.NewValue(ir.OpConst, ir.I64, -1)
		entry := b.fn.Blocks[0]
		entry.Values = append([]*ir.Value{b.zero}, entry.Values...)
	}
	return b.zero
}
