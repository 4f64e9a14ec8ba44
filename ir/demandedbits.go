package ir

import "math/bits"

// SimplifyDemandedBits removes operations that change only bits on which no result
// depends: masks before a byte store, sign extensions of values that are truncated
// again, additions above the demanded bits.
//
// It is a backward analysis: the demanded bits of a value are those on which a store,
// a branch or another effect depends. The other bits of a value may change. An address
// is demanded whole even if the loaded value is dead, since another address may be
// invalid.
func (f *Func) SimplifyDemandedBits() {
	d := &demander{f: f, want: make([]uint64, f.NextID), home: make([]*Block, f.NextID), preds: f.Preds()}
	order := f.Postorder()
	for _, b := range order {
		for _, p := range b.Params {
			d.home[p.ID] = b
		}
	}
	for _, b := range order {
		for _, v := range []*Value{b.Cond, b.Result, b.ResultHi} {
			if v != nil {
				d.need(v, ^uint64(0))
			}
		}
		for _, v := range b.Values {
			switch {
			case v.Op.Is(Effect):
				d.effect(v)
			case v.Op.Is(Reads):
				d.all(v.Args)
			}
		}
	}
	for len(d.work) > 0 {
		v := d.work[len(d.work)-1]
		d.work = d.work[:len(d.work)-1]
		d.spread(v)
	}
	by := make([]*Value, f.NextID)
	found := false
	for _, b := range order {
		for _, v := range b.Values {
			if d.idle(v) {
				by[v.ID], found = v.Args[0], true
			}
		}
	}
	if found {
		f.Replace(by)
	}
}

type demander struct {
	f     *Func
	want  []uint64 // by value number: bits demanded
	home  []*Block // of parameters
	preds [][]Pred
	work  []*Value // whose demand grew
}

// need adds mask to the demanded bits of v.
func (d *demander) need(v *Value, mask uint64) {
	if v.Type == I32 {
		mask = uint64(uint32(mask))
	}
	if v.Type == Tuple || v.Type == Void {
		mask = ^uint64(0)
	}
	if mask&^d.want[v.ID] != 0 {
		d.want[v.ID] |= mask
		d.work = append(d.work, v)
	}
}

func (d *demander) all(args []*Value) {
	for _, a := range args {
		d.need(a, ^uint64(0))
	}
}

// effect demands the arguments of an effect: all bits, but of a stored value only its
// bytes.
func (d *demander) effect(v *Value) {
	if v.Op != OpStore || v.Size > 4 {
		d.all(v.Args)
		return
	}
	last := len(v.Args) - 1
	d.all(v.Args[:last])
	d.need(v.Args[last], 1<<(8*v.Size)-1)
}

// carried returns a mask of the highest bit of m and all bits below it.
func carried(m uint64) uint64 {
	n := bits.Len64(m)
	if n == 64 {
		return ^uint64(0)
	}
	return 1<<n - 1
}

// spread propagates the demand on a value to its arguments, or to the edges into a
// parameter.
func (d *demander) spread(v *Value) {
	want := d.want[v.ID]
	if b := d.home[v.ID]; b != nil {
		for _, p := range d.preds[b.ID] {
			d.need(p.Edge().Args[v.Int], want)
		}
		return
	}
	if v.Op.Is(Effect) {
		return // effect said it
	}
	if !d.spreadBits(v, want) {
		d.all(v.Args)
	}
}

// spreadBits propagates it for operations in which a bit of the result depends
// on the same bits of the arguments, or on lower ones.
func (d *demander) spreadBits(v *Value, want uint64) bool {
	if len(v.Args) == 0 {
		return true
	}
	x := v.Args[0]
	sign := uint64(1) << (width(x.Type) - 1)
	switch v.Op {
	case OpAnd, OpOr:
		y := v.Args[1]
		mask := want
		if n, ok := numberOf(y); ok && v.Op == OpAnd {
			mask &= n
		} else if ok {
			mask &^= n
		}
		d.need(x, mask)
		d.need(y, want)
	case OpXor:
		d.need(x, want)
		d.need(v.Args[1], want)
	case OpAdd, OpSub, OpMul:
		d.need(x, carried(want))
		d.need(v.Args[1], carried(want))
	case OpTrunc, OpZExt32:
		d.need(x, uint64(uint32(want)))
	case OpSExt8, OpSExt16, OpSExt32:
		n := extendsFrom(v.Op)
		mask := want & (1<<n - 1)
		if want>>n != 0 {
			mask |= 1 << (n - 1)
		}
		d.need(x, mask)
	case OpBSwap:
		d.need(x, bswap(want, v.Int))
	case OpSelect:
		d.all(v.Args[:1])
		d.need(v.Args[1], want)
		d.need(v.Args[2], want)
	case OpShl, OpShr, OpSar:
		n, ok := numberOf(v.Args[1])
		if !ok {
			return false
		}
		n %= uint64(width(v.Type))
		d.all(v.Args[1:])
		switch {
		case v.Op == OpShl:
			d.need(x, want>>n)
		case v.Op == OpSar && bits.Len64(want)+int(n) > width(v.Type):
			d.need(x, want<<n|sign)
		default:
			d.need(x, want<<n)
		}
	default:
		return false
	}
	return true
}

func extendsFrom(op Op) int {
	switch op {
	case OpSExt8:
		return 8
	case OpSExt16:
		return 16
	}
	return 32
}

// idle reports whether all demanded bits of v equal those of its first
// argument, so that the operation can be removed.
func (d *demander) idle(v *Value) bool {
	if len(v.Args) == 0 || v.Args[0].Type != v.Type || v.Type != I32 && v.Type != I64 {
		return false
	}
	want := d.want[v.ID]
	switch v.Op {
	case OpSExt8, OpSExt16:
		return want>>extendsFrom(v.Op) == 0
	case OpAnd, OpOr, OpXor, OpAdd, OpSub:
	default:
		return false
	}
	n, ok := numberOf(v.Args[1])
	if !ok {
		return false
	}
	switch v.Op {
	case OpAnd:
		return want&^n == 0
	case OpOr, OpXor:
		return want&n == 0
	}
	return carried(want)&n == 0
}
