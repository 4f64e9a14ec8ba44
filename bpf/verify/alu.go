package verify

import (
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// alu returns the abstract meaning of `a op b` for two numbers, in 64 bits or, with
// the result zero-extended, in 32. Moves, byte swaps and sign extension are not
// here: they have one operand.
func alu(op asm.ALUOp, a, b *num, wide bool) num {
	if a.known() && b.known() {
		if wide {
			return constNum(concrete64(op, a.bits.Value, b.bits.Value))
		}
		return constNum(uint64(concrete32(op, uint32(a.bits.Value), uint32(b.bits.Value))))
	}
	switch op {
	case asm.LSh, asm.RSh, asm.ArSh:
		return shift(op, a, b, wide)
	case asm.And, asm.Or, asm.Xor:
		return bitwise(op, a, b, wide)
	}
	r := anyNum()
	switch op {
	case asm.Add:
		r = num{a.bits.Add(b.bits), a.w.add(&b.w), a.h.add(&b.h)}
	case asm.Sub:
		r = num{a.bits.Sub(b.bits), a.w.sub(&b.w), a.h.sub(&b.h)}
	case asm.Mul:
		r = num{a.bits.Mul(b.bits), a.w.mul(&b.w), a.h.mul(&b.h)}
	case asm.Neg:
		zero := constNum(0)
		r = num{zero.bits.Sub(a.bits), zero.w.sub(&a.w), zero.h.sub(&a.h)}
	case asm.Div:
		r.w, r.h = a.w.div(&b.w), a.h.div(&b.h)
	case asm.Mod:
		r.w, r.h = a.w.mod(&b.w), a.h.mod(&b.h)
		remainderBits(&r, a, b, wide)
	case asm.SDiv:
		r.w, r.h = a.w.sdiv(&b.w), a.h.sdiv(&b.h)
	case asm.SMod:
		r.w, r.h = a.w.smod(&b.w), a.h.smod(&b.h)
	}
	if op == asm.Div || op == asm.Mod || op == asm.SDiv || op == asm.SMod {
		// A division's result in one width implies nothing for the other width:
		// keep the one that was computed.
		if wide {
			r.h = anyNum().h
		} else {
			r.w = anyNum().w
		}
	}
	if !wide {
		return r.zext32()
	}
	r.sync()
	return r
}

// remainderBits sets the known bits of a remainder by a power of two: the low bits.
func remainderBits(r, a, b *num, wide bool) {
	if !b.known() {
		return
	}
	m := b.bits.Value
	if !wide {
		m = uint64(uint32(m))
	}
	if m != 0 && m&(m-1) == 0 {
		r.bits = a.bits.And(KnownBits(m - 1))
	}
}

func bitwise(op asm.ALUOp, a, b *num, wide bool) num {
	r := anyNum()
	switch op {
	case asm.And:
		r.bits = a.bits.And(b.bits)
		r.w.uhi, r.h.uhi = min(a.w.uhi, b.w.uhi), min(a.h.uhi, b.h.uhi)
	case asm.Or:
		r.bits = a.bits.Or(b.bits)
		r.w.ulo, r.h.ulo = max(a.w.ulo, b.w.ulo), max(a.h.ulo, b.h.ulo)
	case asm.Xor:
		r.bits = a.bits.Xor(b.bits)
	}
	if !wide {
		return r.zext32()
	}
	r.sync()
	return r
}

// shift masks the amount to the word's width, as every engine does.
func shift(op asm.ALUOp, a, b *num, wide bool) num {
	width := uint(32)
	if wide {
		width = 64
	}
	lo, hi := uint(0), width-1
	if b.w.uhi < uint64(width) {
		lo, hi = uint(b.w.ulo), uint(b.w.uhi)
	} else if b.known() {
		lo = uint(b.bits.Value) & (width - 1)
		hi = lo
	}
	r := anyNum()
	r.bits = shiftBits(op, a.bits, lo, width)
	for n := lo + 1; n <= hi && r.bits.Mask != ^uint64(0); n++ {
		r.bits = r.bits.Union(shiftBits(op, a.bits, n, width))
	}
	switch {
	case op == asm.LSh && wide && lo == 32 && hi == 32: // sign extension's first half
		r.w = span[uint64, int64]{uint64(a.h.ulo) << 32, uint64(a.h.uhi) << 32, int64(a.h.slo) << 32, int64(a.h.shi) << 32}
	case op == asm.LSh && wide:
		r.w = a.w.shl(lo, hi)
		if hi < 32 {
			r.h = a.h.shl(lo, hi)
		}
	case op == asm.LSh:
		r.h = a.h.shl(lo, hi)
	case op == asm.RSh && wide:
		r.w = a.w.shr(lo, hi)
	case op == asm.RSh:
		r.h = a.h.shr(lo, hi)
	case wide:
		r.w = a.w.sar(lo, hi)
	default:
		r.h = a.h.sar(lo, hi)
	}
	if !wide {
		return r.zext32()
	}
	r.sync()
	return r
}

func shiftBits(op asm.ALUOp, t Tnum, n, width uint) Tnum {
	if width == 32 {
		t = t.Trunc(32)
	}
	switch op {
	case asm.LSh:
		return t.Shl(n).Trunc(width)
	case asm.RSh:
		return t.Shr(n)
	}
	return t.Sar(n, width)
}

// concrete64 and concrete32 are RFC 9669's arithmetic on known numbers.
func concrete64(op asm.ALUOp, a, b uint64) uint64 {
	switch op {
	case asm.Add:
		return a + b
	case asm.Sub:
		return a - b
	case asm.Mul:
		return a * b
	case asm.And:
		return a & b
	case asm.Or:
		return a | b
	case asm.Xor:
		return a ^ b
	case asm.LSh:
		return a << (b & 63)
	case asm.RSh:
		return a >> (b & 63)
	case asm.ArSh:
		return uint64(int64(a) >> (b & 63))
	case asm.Neg:
		return -a
	}
	if b == 0 {
		if op == asm.Mod || op == asm.SMod {
			return a
		}
		return 0
	}
	switch op {
	case asm.Div:
		return a / b
	case asm.Mod:
		return a % b
	case asm.SDiv:
		return uint64(int64(a) / int64(b)) // Go wraps MinInt64 / -1 as the ISA asks
	}
	return uint64(int64(a) % int64(b))
}

func concrete32(op asm.ALUOp, a, b uint32) uint32 {
	switch op {
	case asm.LSh:
		return a << (b & 31)
	case asm.RSh:
		return a >> (b & 31)
	case asm.ArSh:
		return uint32(int32(a) >> (b & 31))
	case asm.SDiv, asm.SMod:
		return uint32(concrete64(op, uint64(int64(int32(a))), uint64(int64(int32(b)))))
	}
	return uint32(concrete64(op, uint64(a), uint64(b)))
}

// byteSwap returns the meaning of the END instructions on a little-endian machine:
// to big-endian and the unconditional swap reverse, to little-endian truncates.
func byteSwap(a *num, ins asm.Instruction) num {
	width := uint(ins.Constant)
	if ins.OpCode.Class() == asm.ALUClass && ins.OpCode.Endianness() == asm.LE {
		return a.zext(width)
	}
	if a.known() {
		return constNum(bits.ReverseBytes64(a.bits.Value) >> (64 - width))
	}
	return a.swap(width)
}
