package ir

import (
	"fmt"
	"math/bits"
)

// value evaluates one operation. The caller truncates results of type I32.
func (a *activation) value(v *Value) (uint64, error) {
	r := reader{a, v.Args}
	env := a.e.env
	switch v.Op {
	case OpConst:
		return uint64(v.Int), nil
	case OpPacketStart:
		return uint64(env.PacketStart()), nil
	case OpPacketLen:
		return uint64(env.PacketLen()), nil
	case OpCtxLoad:
		n, err := env.CtxLoad(v.Sym)
		return uint64(n), err
	case OpCtxStore:
		return 0, env.CtxStore(v.Sym, uint32(r.word()))
	case OpStackAddr:
		return uint64(a.base + uint32(v.Int)), nil
	case OpMapHandle:
		n, err := env.MapHandle(v.Sym)
		return uint64(n), err
	case OpMapValueAddr:
		n, err := env.MapValueAddr(v.Sym, v.Int+int64(r.word()))
		return a.pair(v, n), err
	case OpCtxAddr:
		return a.pair(v, ctxAddr), nil
	case OpLoad, OpStore, OpAtomic, OpRead, OpWrite:
		return a.memory(v)
	case OpCallHelper, OpCallFunc, OpTailCall:
		return a.calls(v)
	case OpSelect:
		cond, x, y := r.word(), r.word(), r.word()
		if cond != 0 {
			return x, nil
		}
		return y, nil
	case OpBSwap:
		return bswap(r.word(), v.Int), nil
	case OpMulWide:
		product := r.word() * r.word()
		a.tuple(v, uint32(product), uint32(product>>32))
		return 0, nil
	case OpPart:
		if a.parts == nil || v.Int < 0 || int(v.Int) >= len(a.parts[v.Args[0].ID]) {
			return 0, fmt.Errorf("no part %d", v.Int)
		}
		return uint64(a.parts[v.Args[0].ID][v.Int]), nil
	case OpAddHi, OpSubHi, OpULT64, OpSLT64, OpFunnel:
		return halves(v.Op, uint32(r.word()), uint32(r.word()), uint32(r.word()), uint32(r.word())), nil
	}
	if len(v.Args) == 0 {
		return 0, fmt.Errorf("cannot evaluate %v", v.Op)
	}
	wide := v.Args[0].Type == I64
	x, y := r.word(), r.word()
	n, ok := scalarOp(v.Op, wide, x, y)
	if !ok {
		return 0, fmt.Errorf("cannot evaluate %v", v.Op)
	}
	return n, nil
}

// scalarOp is the meaning of the operations on one or two numbers. Numbers are
// 64 bits wide, or 32 with zeros above; of a narrow result only the low half
// counts.
func scalarOp(op Op, wide bool, x, y uint64) (uint64, bool) {
	sx, sy := int64(x), int64(y)
	width := uint64(64)
	if !wide {
		sx, sy = int64(int32(x)), int64(int32(y))
		width = 32
	}
	switch op {
	case OpAdd:
		return x + y, true
	case OpSub:
		return x - y, true
	case OpMul:
		return x * y, true
	case OpUDiv, OpUMod, OpSDiv, OpSMod:
		return divide(op, x, y, sx, sy), true
	case OpAnd:
		return x & y, true
	case OpOr:
		return x | y, true
	case OpXor:
		return x ^ y, true
	case OpShl:
		return x << (y % width), true
	case OpShr:
		return x >> (y % width), true
	case OpSar:
		return uint64(sx >> (y % width)), true
	case OpSExt8:
		return uint64(int8(x)), true
	case OpSExt16:
		return uint64(int16(x)), true
	case OpSExt32:
		return uint64(int32(x)), true
	case OpZExt32, OpTrunc:
		return uint64(uint32(x)), true
	case OpEQ:
		return truth(x == y), true
	case OpNE:
		return truth(x != y), true
	case OpULT:
		return truth(x < y), true
	case OpULE:
		return truth(x <= y), true
	case OpSLT:
		return truth(sx < sy), true
	case OpSLE:
		return truth(sx <= sy), true
	case OpTest:
		return truth(x&y != 0), true
	}
	return 0, false
}

// divide is eBPF's division: nothing traps. In 64 bits Go's own MIN / -1 is MIN;
// in 32 bits the caller truncates 2^31, which is MIN.
func divide(op Op, x, y uint64, sx, sy int64) uint64 {
	switch {
	case y == 0 && (op == OpUDiv || op == OpSDiv):
		return 0
	case y == 0:
		return x
	case op == OpUDiv:
		return x / y
	case op == OpUMod:
		return x % y
	case op == OpSDiv:
		return uint64(sx / sy)
	}
	return uint64(sx % sy)
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func bswap(x uint64, width int64) uint64 {
	switch width {
	case 16:
		return uint64(bits.ReverseBytes16(uint16(x)))
	case 32:
		return uint64(bits.ReverseBytes32(uint32(x)))
	}
	return bits.ReverseBytes64(x)
}

// halves is the meaning of the operations on halves of 64-bit numbers, their
// arguments in order.
func halves(op Op, p, q, r, s uint32) uint64 {
	switch op {
	case OpAddHi: // xl, yl, xh, yh
		_, carry := bits.Add32(p, q, 0)
		return uint64(r + s + carry)
	case OpSubHi:
		_, borrow := bits.Sub32(p, q, 0)
		return uint64(r - s - borrow)
	case OpFunnel: // hi, lo, n
		return uint64(uint32((uint64(p)<<32 | uint64(q)) >> (r % 32)))
	}
	x, y := uint64(q)<<32|uint64(p), uint64(s)<<32|uint64(r) // xl, xh, yl, yh
	if op == OpSLT64 {
		return truth(int64(x) < int64(y))
	}
	return truth(x < y)
}

func (a *activation) memory(v *Value) (uint64, error) {
	r := reader{a, v.Args}
	env := a.e.env
	addr := r.addr(v.Space)
	switch v.Op {
	case OpLoad:
		n, err := env.Load(v.Space, addr, int(v.Size))
		return a.pair(v, n), err
	case OpStore:
		return 0, env.Store(v.Space, addr, int(v.Size), r.sized(v.Size))
	case OpAtomic:
		x, expected := r.sized(v.Size), uint64(0)
		if AtomicOp(v.Int).Base() == AtomicCmpXchg {
			expected = r.sized(v.Size)
		}
		n, err := env.Atomic(AtomicOp(v.Int), v.Space, addr, int(v.Size), x, expected)
		return a.pair(v, n), err
	case OpRead:
		words := make([]uint32, v.Int)
		for i := range words {
			n, err := env.Load(v.Space, advance(v.Space, addr, i), 4)
			if err != nil {
				return 0, err
			}
			words[i] = uint32(n)
		}
		a.tuple(v, words...)
		return 0, nil
	}
	for i := 0; i < int(v.Size); i += 4 {
		if err := a.write(v.Space, advance(v.Space, addr, i/4), r.word(), int(v.Size)-i); err != nil {
			return 0, err
		}
	}
	return 0, nil
}

// advance returns the address of word i from addr; narrow addresses wrap.
func advance(s Space, addr uint64, i int) uint64 {
	addr += uint64(i) * 4
	if s != MapMem {
		addr = uint64(uint32(addr))
	}
	return addr
}

// write stores the low n bytes of a word, at most four.
func (a *activation) write(s Space, addr, word uint64, n int) error {
	if n >= 4 {
		return a.e.env.Store(s, addr, 4, word)
	}
	if n >= 2 {
		if err := a.e.env.Store(s, addr, 2, word); err != nil || n == 2 {
			return err
		}
		addr, word = addr+2, word>>16
	}
	return a.e.env.Store(s, addr, 1, word)
}

func (a *activation) calls(v *Value) (uint64, error) {
	r := reader{a, v.Args}
	if v.Op == OpTailCall {
		index := r.wide()
		handle := uint32(r.word())
		if v.Sym != "" {
			var err error
			if handle, err = a.e.env.MapHandle(v.Sym); err != nil {
				return 0, err
			}
		}
		r0, taken, err := a.e.env.TailCall(handle, uint32(index))
		if err == nil && taken {
			a.e.tail, err = r0, errTail
		}
		return 0, err
	}
	var args []uint64
	for len(r.args) > 0 {
		args = append(args, r.wide())
	}
	if v.Op == OpCallHelper {
		var five [5]uint64
		if copy(five[:], args) < len(args) {
			return 0, fmt.Errorf("%d arguments", len(args))
		}
		n, err := a.e.env.Helper(int32(v.Int), five)
		return a.pair(v, n), err
	}
	callee := a.e.mod.Func(v.Sym)
	if callee == nil {
		return 0, fmt.Errorf("no function %s", v.Sym)
	}
	frame := (uint32(a.fn.Frame) + FrameAlign - 1) / FrameAlign * FrameAlign
	n, err := a.e.call(callee, args, a.base+frame, a.depth+1)
	return a.pair(v, n), err
}
