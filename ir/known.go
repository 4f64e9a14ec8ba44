package ir

import "math/bits"

// Known holds the known bits of a number: a bit whose Mask is 0 equals Value's bit.
// The upper half of an I32 is known to be zero.
//
// The arithmetic is that of the kernel's tristate numbers; Vishwanathan and others,
// "Sound, Precise, and Fast Abstract Interpretation with Tristate Numbers" (2022).
type Known struct{ Value, Mask uint64 }

// Const reports whether all bits are known.
func (k Known) Const() bool { return k.Mask == 0 }

// Min and Max bound the number, unsigned.
func (k Known) Min() uint64 { return k.Value }
func (k Known) Max() uint64 { return k.Value | k.Mask }

func exactly(n uint64) Known { return Known{Value: n} }

// upTo is a number of which only the low n bits may be set.
func upTo(n int) Known {
	if n >= 64 {
		return Known{Mask: ^uint64(0)}
	}
	return Known{Mask: 1<<n - 1}
}

// join returns the known bits of a number that is one or the other.
func (k Known) join(o Known) Known {
	mask := k.Mask | o.Mask | (k.Value ^ o.Value)
	return Known{k.Value &^ mask, mask}
}

// cut keeps the low half.
func (k Known) cut() Known { return Known{uint64(uint32(k.Value)), uint64(uint32(k.Mask))} }

func (k Known) add(o Known) Known {
	sum := k.Value + o.Value
	change := (k.Mask + o.Mask + sum) ^ sum | k.Mask | o.Mask
	return Known{sum &^ change, change}
}

func (k Known) sub(o Known) Known {
	d := k.Value - o.Value
	change := (d + k.Mask) ^ (d - o.Mask) | k.Mask | o.Mask
	return Known{d &^ change, change}
}

func (k Known) and(o Known) Known {
	value := k.Value & o.Value
	may := (k.Value | k.Mask) & (o.Value | o.Mask)
	return Known{value, may &^ value}
}

func (k Known) or(o Known) Known {
	value := k.Value | o.Value
	return Known{value, (k.Mask | o.Mask) &^ value}
}

func (k Known) xor(o Known) Known {
	mask := k.Mask | o.Mask
	return Known{(k.Value ^ o.Value) &^ mask, mask}
}

// signed extends from bit width-1 upward.
func (k Known) signed(width int) Known {
	s := 64 - width
	return Known{uint64(int64(k.Value<<s) >> s), uint64(int64(k.Mask<<s) >> s)}
}

func (k Known) swap(width int64) Known {
	return Known{bswap(k.Value, width), bswap(k.Mask, width)}
}

// packetLenBits is the width of the length field of the packet vector
// (docs/firmware-contract.md section 3).
const packetLenBits = 14

// KnownBits computes the known bits of each value, by value number. Parameters
// that a back edge fills are assumed unknown.
func (f *Func) KnownBits() []Known {
	known := make([]Known, f.NextID)
	done := make([]bool, f.NextBlock)
	preds := f.Preds()
	for _, p := range f.Params {
		known[p.ID] = unknown(p.Type)
	}
	for _, b := range f.ReversePostorder() {
		for i, p := range b.Params {
			known[p.ID] = unknown(p.Type)
			for j, e := range preds[b.ID] {
				if !done[e.Block.ID] {
					known[p.ID] = unknown(p.Type)
					break
				}
				arg := known[e.Edge().Args[i].ID]
				if j == 0 {
					known[p.ID] = arg
				} else {
					known[p.ID] = known[p.ID].join(arg)
				}
			}
		}
		for _, v := range b.Values {
			known[v.ID] = knownOf(v, func(a *Value) Known { return known[a.ID] })
		}
		done[b.ID] = true
	}
	return known
}

func unknown(t Type) Known {
	if t == I32 {
		return upTo(32)
	}
	return upTo(64)
}

// knownOf is the transfer function of v's operation.
func knownOf(v *Value, of func(*Value) Known) Known {
	var args [4]Known
	for i, a := range v.Args {
		if i < len(args) {
			args[i] = of(a)
		}
	}
	k := knownResult(v, args)
	if v.Type == I32 {
		return k.cut()
	}
	return k
}

func knownResult(v *Value, args [4]Known) Known {
	wide := len(v.Args) > 0 && v.Args[0].Type == I64
	switch v.Op {
	case OpConst:
		return exactly(uint64(v.Int))
	case OpLoad:
		return upTo(8 * int(v.Size))
	case OpPacketLen:
		return upTo(packetLenBits)
	case OpSelect:
		switch c := args[0]; {
		case c.Value != 0:
			return args[1]
		case c.Const():
			return args[2]
		}
		return args[1].join(args[2])
	case OpBSwap:
		return args[0].swap(v.Int)
	}
	if k, ok := knownScalar(v.Op, wide, args[0], args[1]); ok {
		return k
	}
	if k, ok := knownHalves(v.Op, args); ok {
		return k
	}
	return unknown(v.Type)
}

// knownScalar is the operations on one or two numbers.
func knownScalar(op Op, wide bool, x, y Known) (Known, bool) {
	width := 32
	if wide {
		width = 64
	}
	switch op {
	case OpAdd:
		return x.add(y), true
	case OpSub:
		return x.sub(y), true
	case OpAnd:
		return x.and(y), true
	case OpOr:
		return x.or(y), true
	case OpXor:
		return x.xor(y), true
	case OpTrunc:
		return x.cut(), true
	case OpZExt32:
		return x, true
	case OpSExt32:
		return x.signed(32), true
	case OpSExt8:
		return x.signed(8), true
	case OpSExt16:
		return x.signed(16), true
	case OpShl, OpShr, OpSar:
		return knownShift(op, width, x, y), true
	case OpEQ, OpNE, OpULT, OpULE, OpSLT, OpSLE, OpTest:
		return knownComparison(op, width, x, y), true
	}
	if x.Const() && y.Const() {
		if n, ok := scalarOp(op, wide, x.Value, y.Value); ok {
			return exactly(n), true
		}
	}
	switch op {
	case OpMul:
		zeros := bits.TrailingZeros64(x.Max()) + bits.TrailingZeros64(y.Max())
		high, low := bits.Mul64(x.Max(), y.Max())
		if high != 0 || !wide && low>>32 != 0 {
			return above(zeros, width), true
		}
		return above(zeros, bits.Len64(low)), true
	case OpUDiv:
		return upTo(bits.Len64(x.Max() / max(y.Min(), 1))), true
	case OpUMod:
		if y.Min() > 0 {
			return upTo(bits.Len64(min(x.Max(), y.Max()-1))), true
		}
		return upTo(bits.Len64(x.Max())), true
	}
	return Known{}, false
}

// above is a number of which bits below from, and bits to and above, are zero.
func above(from, to int) Known {
	if from >= to {
		return Known{}
	}
	return Known{Mask: upTo(to).Mask &^ (1<<from - 1)}
}

func knownShift(op Op, width int, x, y Known) Known {
	if !y.Const() {
		if op == OpShr {
			return upTo(bits.Len64(x.Max()))
		}
		return upTo(width)
	}
	n := y.Value % uint64(width)
	switch op {
	case OpShl:
		return Known{x.Value << n, x.Mask << n}
	case OpShr:
		return Known{x.Value >> n, x.Mask >> n}
	}
	if width == 32 {
		x = x.signed(32)
	}
	return Known{uint64(int64(x.Value) >> n), uint64(int64(x.Mask) >> n)}
}

// knownComparison evaluates a comparison as far as the operands' bounds decide it.
func knownComparison(op Op, width int, x, y Known) Known {
	sign := uint64(1) << (width - 1)
	switch op {
	case OpEQ, OpNE:
		if (x.Value^y.Value)&^(x.Mask|y.Mask) != 0 {
			return exactly(truth(op == OpNE))
		}
		if x.Const() && y.Const() {
			return exactly(truth(op == OpEQ))
		}
		return upTo(1)
	case OpTest:
		switch k := x.and(y); {
		case k.Value != 0:
			return exactly(1)
		case k.Mask == 0:
			return exactly(0)
		}
		return upTo(1)
	case OpSLT, OpSLE:
		// With the sign bit turned, signed order is unsigned order.
		flip := func(k Known) Known { return k.xor(exactly(sign)) }
		x, y = flip(x), flip(y)
	}
	switch less, most := x.Max() < y.Min(), x.Max() <= y.Min(); {
	case less, most && (op == OpULE || op == OpSLE):
		return exactly(1)
	case x.Min() > y.Max(), x.Min() == y.Max() && (op == OpULT || op == OpSLT):
		return exactly(0)
	}
	return upTo(1)
}

// knownHalves is the operations on halves of 64-bit numbers.
func knownHalves(op Op, a [4]Known) (Known, bool) {
	switch op {
	case OpAddHi:
		carry := upTo(1)
		switch {
		case a[0].Max()+a[1].Max() < 1<<32:
			carry = exactly(0)
		case a[0].Min()+a[1].Min() >= 1<<32:
			carry = exactly(1)
		}
		return a[2].add(a[3]).add(carry).cut(), true
	case OpSubHi:
		borrow := upTo(1)
		switch {
		case a[0].Min() >= a[1].Max():
			borrow = exactly(0)
		case a[0].Max() < a[1].Min():
			borrow = exactly(1)
		}
		return a[2].sub(a[3]).sub(borrow).cut(), true
	case OpFunnel:
		if a[2].Const() {
			n := a[2].Value % 32
			return Known{(a[0].Value<<32 | a[1].Value) >> n, (a[0].Mask<<32 | a[1].Mask) >> n}.cut(), true
		}
	case OpULT64, OpSLT64:
		x := Known{a[1].Value<<32 | a[0].Value, a[1].Mask<<32 | a[0].Mask}
		y := Known{a[3].Value<<32 | a[2].Value, a[3].Mask<<32 | a[2].Mask}
		if op == OpULT64 {
			return knownComparison(OpULT, 64, x, y), true
		}
		return knownComparison(OpSLT, 64, x, y), true
	}
	return Known{}, false
}
