package verify

import "math"

// A num is the set of facts about a 64-bit number: its bits, its intervals as a
// 64-bit word (w), and those of its low half as a 32-bit word (h). The five views
// constrain each other; sync refines each by the others. It is the domain of the
// kernel's verifier (struct bpf_reg_state), and every operation here is at least
// as precise as the kernel's.
type num struct {
	bits Tnum
	w    span[uint64, int64]
	h    span[uint32, int32]
}

// anyNum returns the num of every number.
func anyNum() num {
	return num{
		bits: Tnum{Mask: math.MaxUint64},
		w:    span[uint64, int64]{0, math.MaxUint64, math.MinInt64, math.MaxInt64},
		h:    span[uint32, int32]{0, math.MaxUint32, math.MinInt32, math.MaxInt32},
	}
}

func constNum(v uint64) num {
	return num{KnownBits(v), point[uint64, int64](v), point[uint32, int32](uint32(v))}
}

// rangeNum returns the num of every value from lo to hi.
func rangeNum(lo, hi uint64) num {
	n := anyNum()
	n.w.ulo, n.w.uhi = lo, hi
	n.sync()
	return n
}

// srangeNum returns the num of every value from lo to hi as signed numbers.
func srangeNum(lo, hi int64) num {
	n := anyNum()
	n.w.slo, n.w.shi = lo, hi
	n.sync()
	return n
}

// bitsNum returns the num of every value of t.
func bitsNum(t Tnum) num {
	n := anyNum()
	n.bits = t
	n.sync()
	return n
}

func (n *num) known() bool { return n.bits.Mask == 0 }

// empty reports whether no number satisfies all views: the path is then infeasible.
func (n *num) empty() bool { return n.w.empty() || n.h.empty() }

// sync refines each view of a number by the others: bits to intervals, 32-bit halves
// to 64-bit words and back, intervals to bits. Two rounds are at least as precise as
// the kernel's three steps. It returns false if the views contradict each other.
func (n *num) sync() bool {
	if n.bits.Mask == 0 { // the common case: only a contradiction can be found
		c := constNum(n.bits.Value)
		ok := n.w.covers(&c.w) && n.h.covers(&c.h)
		if ok {
			*n = c
		}
		return ok
	}
	for range 2 {
		n.fromBits()
		n.w.deduce()
		n.h.deduce()
		n.halves()
		n.w.deduce()
		n.h.deduce()
		if n.empty() {
			n.w.ulo, n.w.uhi = 1, 0
			return false
		}
		b, ok := n.bits.Intersect(rangeBits(n.w.ulo, n.w.uhi))
		low := rangeBits(uint64(n.h.ulo), uint64(n.h.uhi))
		low.Mask |= math.MaxUint32 << 32
		b, ok2 := b.Intersect(low)
		if !ok || !ok2 {
			n.w.ulo, n.w.uhi = 1, 0
			return false
		}
		if b == n.bits {
			break
		}
		n.bits = b
	}
	if n.w.ulo == n.w.uhi {
		*n = constNum(n.w.ulo)
	}
	return true
}

func (n *num) fromBits() {
	v, m := n.bits.Value, n.bits.Mask
	const sign = 1 << 63
	n.w.ulo, n.w.uhi = max(n.w.ulo, v), min(n.w.uhi, v|m)
	n.w.slo, n.w.shi = max(n.w.slo, int64(v|m&sign)), min(n.w.shi, int64(v|m&^sign))
	v32, m32 := uint32(v), uint32(m)
	const sign32 = 1 << 31
	n.h.ulo, n.h.uhi = max(n.h.ulo, v32), min(n.h.uhi, v32|m32)
	n.h.slo, n.h.shi = max(n.h.slo, int32(v32|m32&sign32)), min(n.h.shi, int32(v32|m32&^sign32))
}

// halves moves bounds between the word and its low half.
func (n *num) halves() {
	// A word interval inside one 2^32 block bounds the low half.
	if n.w.ulo>>32 == n.w.uhi>>32 {
		n.h.ulo, n.h.uhi = max(n.h.ulo, uint32(n.w.ulo)), min(n.h.uhi, uint32(n.w.uhi))
		if lo, hi := int32(n.w.ulo), int32(n.w.uhi); lo <= hi {
			n.h.slo, n.h.shi = max(n.h.slo, lo), min(n.h.shi, hi)
		}
	}
	if n.w.slo>>32 == n.w.shi>>32 {
		n.h.ulo, n.h.uhi = max(n.h.ulo, uint32(n.w.slo)), min(n.h.uhi, uint32(n.w.shi))
	}
	if lo, hi := n.w.slo, n.w.shi; lo >= math.MinInt32 && hi <= math.MaxInt32 {
		n.h.slo, n.h.shi = max(n.h.slo, int32(lo)), min(n.h.shi, int32(hi))
	}
	// The low half's bounds sharpen the low half of the word's bounds.
	const high = uint64(math.MaxUint32) << 32
	n.w.ulo = max(n.w.ulo, n.w.ulo&high|uint64(n.h.ulo))
	n.w.uhi = min(n.w.uhi, n.w.uhi&high|uint64(n.h.uhi))
	n.w.slo = max(n.w.slo, int64(uint64(n.w.slo)&high|uint64(n.h.ulo)))
	n.w.shi = min(n.w.shi, int64(uint64(n.w.shi)&high|uint64(n.h.uhi)))
	// A word that fits int32 is its low half sign-extended.
	if n.w.slo >= math.MinInt32 && n.w.shi <= math.MaxInt32 {
		n.w.slo, n.w.shi = max(n.w.slo, int64(n.h.slo)), min(n.w.shi, int64(n.h.shi))
	}
}

func (n *num) covers(o *num) bool {
	return n.bits.Covers(o.bits) && n.w.covers(&o.w) && n.h.covers(&o.h)
}

func (n *num) contains(v uint64) bool {
	c := constNum(v)
	return n.covers(&c)
}

// hull returns the least num that covers both.
func (n *num) hull(o *num) num {
	return num{n.bits.Union(o.bits), n.w.hull(&o.w), n.h.hull(&o.h)}
}

// meet returns the intersection of n and o; ok is false if it is empty.
func (n *num) meet(o *num) (num, bool) {
	b, ok := n.bits.Intersect(o.bits)
	r := num{b, n.w.meet(&o.w), n.h.meet(&o.h)}
	return r, ok && r.sync()
}

// widen is hull with moved bounds opened, so that chains are finite.
func (n *num) widen(o *num) num {
	r := num{n.bits.Union(o.bits), n.w.widen(&o.w), n.h.widen(&o.h)}
	if r.bits != n.bits { // open the changed bits at once, from the lowest up
		r.bits = Tnum{Value: n.bits.Value &^ smear(r.bits.Mask), Mask: smear(r.bits.Mask)}
	}
	return r
}

// smear sets all bits below the highest set one.
func smear(v uint64) uint64 {
	for s := 1; s < 64; s *= 2 {
		v |= v >> s
	}
	return v
}

// zext32 returns the low half, zero-extended.
func (n *num) zext32() num {
	r := num{bits: n.bits.Trunc(32), w: anyNum().w, h: n.h}
	r.w.ulo, r.w.uhi = uint64(n.h.ulo), uint64(n.h.uhi)
	r.sync()
	return r
}

// zext keeps the low n bits: 8, 16, 32 or 64.
func (n *num) zext(width uint) num {
	switch {
	case width >= 64 || n.w.uhi <= 1<<width-1:
		return *n
	case width == 32:
		return n.zext32()
	}
	return bitsNum(n.bits.Trunc(width))
}

// sext extends the sign of the low n bits: 8, 16, 32 or 64.
func (n *num) sext(width uint) num {
	if width >= 64 {
		return *n
	}
	lo, hi := int64(-1)<<(width-1), int64(1)<<(width-1)-1
	if n.w.slo >= lo && n.w.shi <= hi {
		return *n
	}
	r := anyNum()
	r.bits = n.bits.Sext(width)
	r.w.slo, r.w.shi = lo, hi
	if width == 32 {
		r.h = n.h
		r.w.slo, r.w.shi = int64(n.h.slo), int64(n.h.shi)
	} else if n.h.slo >= int32(lo) && n.h.shi <= int32(hi) {
		r.h = n.h
	}
	r.sync()
	return r
}

// swap reverses the low width/8 bytes and zeroes the rest.
func (n *num) swap(width uint) num { return bitsNum(n.bits.Swap(width)) }
