package ir

import "math/bits"

// FoldPacketPointers takes the packet's address out of sums and comparisons. A
// packet pointer becomes a 32-bit sum of the packet's start and an offset. A
// parameter that is such a pointer on every edge becomes a parameter of offsets. A
// comparison of two such pointers becomes one of their offsets: data + n > data_end
// is then length < n.
//
// It relies on the layout of packet addresses (docs/firmware-contract.md section
// 3). Bit 31 of an address is set, bits 30:26 are clear, and a length is below
// 2^14. So offsets within maxPacketOffset of the start neither carry nor borrow.
func (f *Func) FoldPacketPointers() {
	p := &packetFolder{f: f, known: f.KnownBits(), place: make([]packetPlace, f.NextID), by: make([]*Value, f.NextID)}
	order := f.ReversePostorder()
	preds := f.Preds()
	for _, b := range order {
		p.out = make([]*Value, 0, len(b.Values)+4)
		p.params(b, preds[b.ID])
		for _, v := range b.Values {
			for i, a := range v.Args {
				v.Args[i] = Final(p.by, a)
			}
			p.value(v)
		}
		b.Values = p.out
	}
	f.Replace(p.by)
}

// maxPacketOffset bounds the offsets of packet pointers; the verifier allows no
// larger ones.
const maxPacketOffset = 1 << 29

// packetPlace is a packet address: start + off. An I64 that is one has a zero
// high half. off is an I32, nil for 0; of it Lo <= off <= Hi, signed.
type packetPlace struct {
	start  *Value // OpPacketStart
	off    *Value
	lo, hi int64
}

type packetFolder struct {
	f     *Func
	known []Known
	place []packetPlace // by value number; start nil for what is no packet address
	by    []*Value
	out   []*Value
	pc    int32
}

func (p *packetFolder) grow() {
	for len(p.known) < int(p.f.NextID) {
		p.known = append(p.known, upTo(64))
		p.place = append(p.place, packetPlace{})
		p.by = append(p.by, nil)
	}
}

func (p *packetFolder) new(op Op, t Type, args ...*Value) *Value {
	v := p.f.NewValue(op, t, p.pc, args...)
	p.grow()
	p.out = append(p.out, v)
	return v
}

func (p *packetFolder) finish(v *Value) *Value {
	p.known[v.ID] = knownOf(v, func(a *Value) Known { return p.known[a.ID] })
	return v
}

// offset is a place's offset as a value.
func (p *packetFolder) offset(q packetPlace) *Value {
	if q.off != nil {
		return q.off
	}
	v := p.new(OpConst, I32)
	return p.finish(v)
}

// value rewrites v if it is a packet address.
func (p *packetFolder) value(v *Value) {
	p.pc = v.PC
	keep := func() { p.out = append(p.out, v) }
	switch v.Op {
	case OpPacketStart:
		keep()
		p.place[v.ID] = packetPlace{start: v}
		return
	case OpZExt32, OpTrunc:
		keep()
		p.place[v.ID] = p.place[v.Args[0].ID]
		return
	case OpAdd:
		if p.sum(v, v.Args[0], v.Args[1]) || p.sum(v, v.Args[1], v.Args[0]) {
			return
		}
	case OpSub:
		if p.difference(v) {
			return
		}
	case OpEQ, OpNE, OpULT, OpULE:
		x, y := p.place[v.Args[0].ID], p.place[v.Args[1].ID]
		if x.start != nil && x.start == y.start {
			a, b := p.offset(x), p.offset(y)
			if (v.Op == OpULT || v.Op == OpULE) && (x.lo < 0 || y.lo < 0) {
				v.Op += OpSLT - OpULT
			}
			v.Args[0], v.Args[1] = a, b
		}
	}
	keep()
}

// bounds is the range of an offset as wide as its type.
func (p *packetFolder) bounds(v *Value) (lo, hi int64, ok bool) {
	k := p.known[v.ID]
	if n, isConst := numberOf(v); isConst {
		lo = int64(n)
		if v.Type == I32 {
			lo = int64(int32(n))
		}
		return lo, lo, lo > -maxPacketOffset && lo < maxPacketOffset
	}
	return 0, int64(k.Max()), k.Max() < maxPacketOffset
}

// sum handles a packet address plus a small number.
func (p *packetFolder) sum(v, x, y *Value) bool {
	q := p.place[x.ID]
	if q.start == nil || p.place[y.ID].start != nil {
		return false
	}
	lo, hi, ok := p.bounds(y)
	if !ok || q.lo+lo <= -maxPacketOffset || q.hi+hi >= maxPacketOffset {
		return false
	}
	n := y
	if y.Type == I64 {
		n = p.finish(p.new(OpTrunc, I32, y))
		if c, isConst := numberOf(y); isConst {
			n.Op, n.Args, n.Int = OpConst, nil, int64(int32(c))
			p.finish(n)
		}
	}
	if q.off != nil {
		n = p.finish(p.new(OpAdd, I32, q.off, n))
		a, aConst := numberOf(n.Args[0])
		b, bConst := numberOf(n.Args[1])
		if aConst && bConst {
			n.Op, n.Args, n.Int = OpConst, nil, int64(int32(a+b))
			p.finish(n)
		}
	}
	place := packetPlace{start: q.start, off: n, lo: q.lo + lo, hi: q.hi + hi}
	p.become(v, place)
	return true
}

// become turns v into the address of a place.
func (p *packetFolder) become(v *Value, q packetPlace) {
	sum := q.start
	if q.off != nil {
		sum = p.new(OpAdd, I32, q.start, q.off)
		p.place[sum.ID] = q
		p.known[sum.ID] = upTo(32)
	}
	if v.Type == I64 {
		sum = p.finish(p.new(OpZExt32, I64, sum))
		p.place[sum.ID] = q
	}
	p.by[v.ID] = sum
}

// difference handles an address minus an address, or minus a small number.
func (p *packetFolder) difference(v *Value) bool {
	x, y := p.place[v.Args[0].ID], p.place[v.Args[1].ID]
	if x.start == nil || x.start != y.start {
		return false
	}
	d := p.new(OpSub, I32, p.offset(x), p.offset(y))
	p.finish(d)
	switch {
	case v.Type == I32:
	case x.lo >= y.hi:
		d = p.finish(p.new(OpZExt32, I64, d))
	default:
		d = p.finish(p.new(OpSExt32, I64, d))
	}
	p.by[v.ID] = d
	return true
}

// params turns parameters that are packet addresses on every edge into
// parameters of offsets.
func (p *packetFolder) params(b *Block, preds []Pred) {
	for i, param := range b.Params {
		p.pc = param.PC
		var q packetPlace
		for j, e := range preds {
			arg := p.place[Final(p.by, e.Edge().Args[i]).ID]
			if arg.start == nil || j > 0 && arg.start != q.start {
				q.start = nil
				break
			}
			if j == 0 {
				q = arg
			}
			q.lo, q.hi = min(q.lo, arg.lo), max(q.hi, arg.hi)
		}
		if q.start == nil {
			continue
		}
		for _, e := range preds {
			edge := e.Edge()
			arg := p.place[Final(p.by, edge.Args[i]).ID]
			if arg.off == nil {
				zero := p.f.NewValue(OpConst, I32, p.pc)
				p.grow()
				e.Block.Values = append(e.Block.Values, zero)
				p.known[zero.ID] = exactly(0)
				arg.off = zero
			}
			edge.Args[i] = arg.off
		}
		off := p.f.NewValue(OpParam, I32, p.pc)
		p.grow()
		off.Int = param.Int
		b.Params[i] = off
		p.known[off.ID] = upTo(32)
		if q.lo >= 0 {
			p.known[off.ID] = Known{Mask: 1<<bits.Len64(uint64(q.hi)) - 1}
		}
		q.off = off
		p.become(param, q)
	}
}
