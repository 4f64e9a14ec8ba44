package verify

import (
	"math"
	"math/bits"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// Value demand: the bits of a register that can affect the program's behaviour. This
// is the textbook backward analysis (demanded bits), over the edges that the facts
// leave.

// A Demand has a set bit for each bit of R0 to R10 that may matter.
type Demand [11]uint64

// Demand returns for each instruction the demanded bits of each register just before
// it. A bit is demanded if it may change the verdict, the path, an address accessed,
// or a value stored or passed to a helper. All other bits may hold any value, all of
// them at once.
//
// Bits stored to memory are demanded; bits that a narrow store omits are not. A
// register has no demanded bit if it is dead, if it is read only by instructions whose
// results are not demanded, or if the instruction is unreachable. A branch that the
// facts decide (only one of Taken and Falls) demands nothing.
//
// Each call computes the demand again, in time proportional to the program.
func (f *Facts) Demand() []Demand {
	d := demand{f: f, before: make([]Demand, len(f.Code.Insns)), result: make([]uint64, len(f.Code.Funcs))}
	d.result[0] = math.MaxUint32 // a verdict is an int
	if f.Code.Type == ebpf.UnspecifiedProgram {
		d.result[0] = math.MaxUint64
	}
	for d.changed = true; d.changed; {
		d.changed = false
		for i := len(d.before) - 1; i >= 0; i-- {
			if !f.Reachable[i] {
				continue
			}
			v := d.through(i)
			d.changed = d.changed || v != d.before[i]
			d.before[i] = v
		}
	}
	return d.before
}

type demand struct {
	f       *Facts
	before  []Demand
	result  []uint64 // per function: bits of R0 at its exits
	changed bool
}

// after returns the demand after instruction i: the union over all edges that can be
// taken.
func (d *demand) after(i int) Demand {
	ins := &d.f.Code.Insns[i]
	var r Demand
	join := func(j int) {
		for k, v := range d.before[j] {
			r[k] |= v
		}
	}
	if isExit(ins) {
		r[asm.R0] = d.result[ins.Func]
		return r
	}
	branch := isBranch(ins)
	if ins.Target != code.None && (!branch || d.f.Taken[i]) {
		join(ins.Target)
	}
	if (ins.Target == code.None || branch && d.f.Falls[i]) && i+1 < len(d.before) {
		join(i + 1)
	}
	return r
}

// through returns the demand before instruction i, given that after it.
func (d *demand) through(i int) Demand {
	ins := &d.f.Code.Insns[i]
	r := d.after(i)
	op := ins.OpCode
	switch class := op.Class(); {
	case class.IsALU():
		d.arith(i, ins, &r)
	case class.IsJump():
		d.jump(i, ins, &r)
	case class == asm.LdXClass:
		r[ins.Dst] = 0
		r[ins.Src] = math.MaxUint64
	case class == asm.StClass:
		r[ins.Dst] = math.MaxUint64
	case class == asm.StXClass:
		size := bytesMask(op.Size().Sizeof())
		if a := op.AtomicOp(); a == asm.CmpXchg {
			r[asm.R0] = size
		} else if a != asm.InvalidAtomic && isFetch(a) {
			r[ins.Src] = 0
		}
		r[ins.Src] |= size
		r[ins.Dst] = math.MaxUint64
	case op.Mode() == asm.AbsMode || op.Mode() == asm.IndMode:
		for k := asm.R0; k <= asm.R5; k++ {
			r[k] = 0
		}
		if op.Mode() == asm.IndMode {
			r[ins.Src] |= math.MaxUint32
		}
		r[asm.R6] = math.MaxUint64
	default:
		r[ins.Dst] = 0
	}
	return r
}

func bytesMask(n int) uint64 {
	if n >= 8 {
		return math.MaxUint64
	}
	return 1<<(8*n) - 1
}

func (d *demand) jump(i int, ins *code.Insn, r *Demand) {
	switch op := ins.OpCode.JumpOp(); {
	case op == asm.Ja || op == asm.JCOND || isExit(ins):
	case op == asm.Call:
		d.call(i, ins, r)
	case d.f.Taken[i] && d.f.Falls[i]:
		m := uint64(math.MaxUint64)
		if ins.OpCode.Class() == asm.Jump32Class {
			m = math.MaxUint32
		}
		if op == asm.JSet && ins.OpCode.Source() == asm.ImmSource {
			m &= uint64(ins.Constant)
		}
		r[ins.Dst] |= m
		if ins.OpCode.Source() == asm.RegSource {
			r[ins.Src] |= m
		}
	}
}

func (d *demand) call(i int, ins *code.Insn, r *Demand) {
	var args Demand
	if isCall(ins) {
		if r[asm.R0]&^d.result[ins.Callee] != 0 {
			d.result[ins.Callee] |= r[asm.R0]
			d.changed = true
		}
		args = d.before[d.f.Code.Funcs[ins.Callee].Start]
	} else {
		use, _ := jumpUses(d.f.Code, i, nil)
		for k := asm.R1; k <= asm.R5; k++ {
			if use&(1<<k) != 0 {
				args[k] = math.MaxUint64
			}
		}
	}
	copy(r[:asm.R6], args[:asm.R6])
}

// arith carries the demand of an ALU instruction's result to its operands.
func (d *demand) arith(i int, ins *code.Insn, r *Demand) {
	op, wide := ins.OpCode.ALUOp(), ins.OpCode.Class() == asm.ALU64Class
	want, width := r[ins.Dst], uint(64)
	if !wide && op != asm.Swap {
		want, width = want&math.MaxUint32, 32 // the upper half is zero for all operands
	}
	r[ins.Dst] = 0
	if want == 0 {
		return
	}
	reg := ins.OpCode.Source() == asm.RegSource
	b := KnownBits(uint64(ins.Constant))
	if reg {
		b = d.f.number(i, ins.Src)
	}
	x, y := operandDemand(op, want, width, ins, d.f.number(i, ins.Dst), b)
	if !isMove(op) {
		r[ins.Dst] |= x
	}
	if reg && op != asm.Neg && op != asm.Swap {
		r[ins.Src] |= y
	}
}

// number returns the known bits of a register before instruction i. For a pointer none
// are known.
func (f *Facts) number(i int, r asm.Register) Tnum {
	if v := &f.Regs[i][r]; v.Kind == Scalar {
		return v.Bits
	}
	return UnknownBits()
}

// operandDemand returns the bits of the first and the second operand that decide the
// bits want of the result. Known bits of one operand can make bits of the other
// irrelevant, but never both at the same bit.
func operandDemand(op asm.ALUOp, want uint64, width uint, ins *code.Insn, a, b Tnum) (x, y uint64) {
	all := uint64(math.MaxUint64) >> (64 - width)
	low := all >> (uint(bits.LeadingZeros64(want)) - (64 - width)) // up to the highest demanded bit
	switch op {
	case asm.Mov:
		return 0, want
	case asm.MovSX8:
		return 0, extended(want, 8)
	case asm.MovSX16:
		return 0, extended(want, 16)
	case asm.MovSX32:
		return 0, extended(want, 32)
	case asm.And:
		zeroA, zeroB := ^(a.Value | a.Mask), ^(b.Value | b.Mask)
		return want &^ zeroB, want &^ (zeroA &^ zeroB)
	case asm.Or:
		return want &^ b.Value, want &^ (a.Value &^ b.Value)
	case asm.Xor:
		return want, want
	case asm.Add, asm.Sub, asm.Mul, asm.Neg:
		return low, low
	case asm.Swap:
		n := uint(ins.Constant)
		want &= uint64(math.MaxUint64) >> (64 - n)
		if ins.OpCode.Class() == asm.ALUClass && ins.OpCode.Endianness() == asm.LE {
			return want, 0
		}
		return bits.ReverseBytes64(want) >> (64 - n), 0
	case asm.LSh, asm.RSh, asm.ArSh:
		return shiftDemand(op, want, low, all, width, b), uint64(width - 1)
	}
	return all, all // division
}

// extended returns the demand on a number before sign extension: bits above the sign are
// copies of it.
func extended(want uint64, n uint) uint64 {
	r := want & (1<<n - 1)
	if want>>n != 0 {
		r |= 1 << (n - 1)
	}
	return r
}

func shiftDemand(op asm.ALUOp, want, low, all uint64, width uint, by Tnum) uint64 {
	if by.Mask&uint64(width-1) != 0 {
		if op == asm.LSh {
			return low
		}
		return all &^ (want&-want - 1) // from the lowest demanded bit up
	}
	n := uint(by.Value) & (width - 1)
	switch op {
	case asm.LSh:
		return want >> n
	case asm.RSh:
		return want << n & all
	}
	r := want << n & all
	if want>>(width-1-n) != 0 {
		r |= 1 << (width - 1)
	}
	return r
}
