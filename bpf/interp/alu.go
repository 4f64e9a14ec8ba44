package interp

import (
	"math/bits"

	"github.com/cilium/ebpf/asm"
)

// alu64 returns dst OP src, RFC 9669 section 4.1; ok is false for no operation.
func alu64(op asm.ALUOp, dst, src uint64) (v uint64, ok bool) {
	switch op {
	case asm.Add:
		return dst + src, true
	case asm.Sub:
		return dst - src, true
	case asm.Mul:
		return dst * src, true
	case asm.Div:
		if src == 0 {
			return 0, true
		}
		return dst / src, true
	case asm.SDiv: // Go's division wraps at the smallest value by -1, as eBPF's
		if src == 0 {
			return 0, true
		}
		return uint64(int64(dst) / int64(src)), true
	case asm.Mod:
		if src == 0 {
			return dst, true
		}
		return dst % src, true
	case asm.SMod:
		if src == 0 {
			return dst, true
		}
		return uint64(int64(dst) % int64(src)), true
	case asm.Or:
		return dst | src, true
	case asm.And:
		return dst & src, true
	case asm.Xor:
		return dst ^ src, true
	case asm.LSh:
		return dst << (src & 63), true
	case asm.RSh:
		return dst >> (src & 63), true
	case asm.ArSh:
		return uint64(int64(dst) >> (src & 63)), true
	case asm.Neg:
		return -dst, true
	case asm.Mov:
		return src, true
	case asm.MovSX8:
		return uint64(int8(src)), true
	case asm.MovSX16:
		return uint64(int16(src)), true
	case asm.MovSX32:
		return uint64(int32(src)), true
	}
	return 0, false
}

// alu32 is alu64 for 32 bits. The caller zero-extends by converting.
func alu32(op asm.ALUOp, dst, src uint32) (v uint32, ok bool) {
	switch op {
	case asm.Div, asm.Mod, asm.Or, asm.And, asm.Xor, asm.Add, asm.Sub, asm.Mul, asm.Neg, asm.Mov:
		w, ok := alu64(op, uint64(dst), uint64(src))
		return uint32(w), ok
	case asm.SDiv, asm.SMod:
		w, ok := alu64(op, uint64(int32(dst)), uint64(int32(src)))
		return uint32(w), ok
	case asm.LSh:
		return dst << (src & 31), true
	case asm.RSh:
		return dst >> (src & 31), true
	case asm.ArSh:
		return uint32(int32(dst) >> (src & 31)), true
	case asm.MovSX8:
		return uint32(int8(src)), true
	case asm.MovSX16:
		return uint32(int16(src)), true
	}
	return 0, false
}

// swap reverses, or on a little-endian machine leaves, the low width bits and
// clears the rest.
func swap(v uint64, width int64, reverse bool) (uint64, bool) {
	switch {
	case width == 16 && reverse:
		return uint64(bits.ReverseBytes16(uint16(v))), true
	case width == 16:
		return uint64(uint16(v)), true
	case width == 32 && reverse:
		return uint64(bits.ReverseBytes32(uint32(v))), true
	case width == 32:
		return uint64(uint32(v)), true
	case width == 64 && reverse:
		return bits.ReverseBytes64(v), true
	case width == 64:
		return v, true
	}
	return 0, false
}

// compare evaluates a conditional jump's test on 64-bit values; for 32-bit
// jumps the caller gives both forms extended from 32 bits.
func compare(op asm.JumpOp, u, v uint64, s, t int64) (taken, ok bool) {
	switch op {
	case asm.JEq:
		return u == v, true
	case asm.JNE:
		return u != v, true
	case asm.JGT:
		return u > v, true
	case asm.JGE:
		return u >= v, true
	case asm.JLT:
		return u < v, true
	case asm.JLE:
		return u <= v, true
	case asm.JSet:
		return u&v != 0, true
	case asm.JSGT:
		return s > t, true
	case asm.JSGE:
		return s >= t, true
	case asm.JSLT:
		return s < t, true
	case asm.JSLE:
		return s <= t, true
	}
	return false, false
}
