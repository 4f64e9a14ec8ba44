package lift

import (
	"fmt"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/ir"
)

// aluOps are the operations on two numbers; the 32-bit forms are the same.
var aluOps = map[asm.ALUOp]ir.Op{
	asm.Add: ir.OpAdd, asm.Sub: ir.OpSub, asm.Mul: ir.OpMul,
	asm.Div: ir.OpUDiv, asm.SDiv: ir.OpSDiv, asm.Mod: ir.OpUMod, asm.SMod: ir.OpSMod,
	asm.Or: ir.OpOr, asm.And: ir.OpAnd, asm.Xor: ir.OpXor,
	asm.LSh: ir.OpShl, asm.RSh: ir.OpShr, asm.ArSh: ir.OpSar,
}

// reg is a register's value at this point.
func (b *funcBuilder) reg(r asm.Register) *ir.Value {
	if r == asm.R10 {
		return b.zext(b.stackAddr(int64(b.fn.Frame)))
	}
	return b.written(b.regs[r])
}

// reg32 is a register's low half.
func (b *funcBuilder) reg32(r asm.Register) *ir.Value { return b.trunc(b.reg(r)) }

// alu builds an instruction of class ALU or ALU64.
func (b *funcBuilder) alu(ins *code.Insn) error {
	op := ins.OpCode.ALUOp()
	if op == asm.Swap {
		return b.swap(ins)
	}
	t := ir.I64
	if ins.OpCode.Class() == asm.ALUClass {
		t = ir.I32
	}
	var v *ir.Value
	switch op {
	case asm.Mov:
		v = b.source(ins, t)
	case asm.MovSX8:
		v = b.op(ir.OpSExt8, t, b.source(ins, t))
	case asm.MovSX16:
		v = b.op(ir.OpSExt16, t, b.source(ins, t))
	case asm.MovSX32:
		v = b.op(ir.OpSExt32, ir.I64, b.source(ins, ir.I32))
		t = ir.I64
	case asm.Neg:
		v = b.op(ir.OpSub, t, b.constant(t, 0), b.dest(ins, t))
	case asm.LSh, asm.RSh, asm.ArSh:
		v = b.op(aluOps[op], t, b.dest(ins, t), b.source(ins, ir.I32))
	default:
		o, ok := aluOps[op]
		if !ok {
			return fmt.Errorf("no translation for %v", ins.OpCode)
		}
		v = b.arith(ins, o, t)
	}
	if t == ir.I32 {
		v = b.zext(v)
	}
	b.regs[ins.Dst] = v
	return nil
}

// arith is dst op src. Sums with constants are built by add, which adds the
// constant to the offset of an address.
func (b *funcBuilder) arith(ins *code.Insn, op ir.Op, t ir.Type) *ir.Value {
	x := b.dest(ins, t)
	if ins.OpCode.Source() == asm.ImmSource {
		switch op {
		case ir.OpAdd:
			return b.add(x, ins.Constant)
		case ir.OpSub:
			return b.add(x, -ins.Constant)
		}
	}
	return b.op(op, t, x, b.source(ins, t))
}

// dest and source are the operands of an ALU or jump instruction, as wide as t.
// A constant is sign-extended.
func (b *funcBuilder) dest(ins *code.Insn, t ir.Type) *ir.Value {
	if t == ir.I32 {
		return b.reg32(ins.Dst)
	}
	return b.reg(ins.Dst)
}

func (b *funcBuilder) source(ins *code.Insn, t ir.Type) *ir.Value {
	switch {
	case ins.OpCode.Source() == asm.ImmSource:
		return b.constant(t, int64(int32(ins.Constant)))
	case t == ir.I32:
		return b.reg32(ins.Src)
	}
	return b.reg(ins.Src)
}

// swap builds the byte-order instructions. The conversion to little-endian only
// truncates; that to big-endian and the unconditional form reverse the bytes.
func (b *funcBuilder) swap(ins *code.Insn) error {
	unconditional := ins.OpCode.Class() == asm.ALU64Class
	turn := unconditional || ins.OpCode.Endianness() == asm.BE
	x := b.reg(ins.Dst)
	var v *ir.Value
	switch width := ins.Constant; {
	case width == 64 && !turn:
		v = x
	case width == 64:
		v = b.op(ir.OpBSwap, ir.I64, x)
		v.Int = 64
	case width == 32 && !turn:
		v = b.zext(b.trunc(x))
	case width == 16 && !turn:
		v = b.zext(b.op(ir.OpAnd, ir.I32, b.trunc(x), b.constant(ir.I32, 0xffff)))
	case width == 32 || width == 16:
		s := b.op(ir.OpBSwap, ir.I32, b.trunc(x))
		s.Int = width
		v = b.zext(s)
	default:
		return fmt.Errorf("byte swap of %d bits", width)
	}
	b.regs[ins.Dst] = v
	return nil
}

// comparison is the operation of a conditional jump; swapped says that the operands
// are exchanged: x > y is y < x.
type comparison struct {
	op      ir.Op
	swapped bool
}

var comparisons = map[asm.JumpOp]comparison{
	asm.JEq: {op: ir.OpEQ}, asm.JNE: {op: ir.OpNE}, asm.JSet: {op: ir.OpTest},
	asm.JLT: {op: ir.OpULT}, asm.JLE: {op: ir.OpULE}, asm.JSLT: {op: ir.OpSLT}, asm.JSLE: {op: ir.OpSLE},
	asm.JGT: {ir.OpULT, true}, asm.JGE: {ir.OpULE, true}, asm.JSGT: {ir.OpSLT, true}, asm.JSGE: {ir.OpSLE, true},
}

// branch ends the block with a conditional jump, or with a plain one if Facts leave
// one edge.
func (b *funcBuilder) branch(ins *code.Insn) error {
	c, ok := comparisons[ins.OpCode.JumpOp()]
	if !ok {
		return fmt.Errorf("no translation for %v", ins.OpCode)
	}
	w := b.w
	switch len(w.succs) {
	case 0:
		return fmt.Errorf("%v leads nowhere", ins.OpCode)
	case 1:
		b.cur.Jump(b.pc, b.block(w.succs[0]))
		return nil
	}
	t := ir.I64
	if ins.OpCode.Class() == asm.Jump32Class {
		t = ir.I32
	}
	x, y := b.dest(ins, t), b.source(ins, t)
	if c.swapped {
		x, y = y, x
	}
	cond := b.op(c.op, ir.I32, x, y)
	b.cur.Branch(b.pc, cond, ir.Edge{To: b.block(w.succs[0])}, ir.Edge{To: b.block(w.succs[1])})
	return nil
}
