package verify

import "math"

// Stack slots as Linux's verifier keeps them (Options.Linux): the whole number of the
// last store at the slot's start, and for the other bytes whether they are zero.

// scrub forgets the number that a slot keeps, and the zeros in the rest of the
// slot.
func (l *slot) scrub() {
	if l.n > 0 {
		l.v, l.n, l.zero = nil, 0, 0
	}
}

// holdsZero reports whether the slot keeps the number 0.
func (l *slot) holdsZero() bool {
	return l.n > 0 && l.v.kind == Scalar && l.v.n.known() && l.v.n.bits.Value == 0
}

// storeLinux writes size bytes of v from first of the slot. A number is kept whole,
// however much of it is stored.
func (l *slot) storeLinux(first, size int, v *val) {
	m := cover(first, size)
	l.written |= m
	if first == 0 && (v.kind == Scalar || size == 8) {
		c := *v
		if v.kind == Scalar && v.n.w.uhi > sizedMax(size) {
			c.unlink()
		}
		l.v, l.n = &c, uint8(size)
		l.zero &^= m
		return
	}
	l.scrub()
	l.zero &^= m
	if v.kind == Scalar && v.n.known() && v.n.bits.Value == 0 {
		l.zero |= m
	}
}

// fillLinux reads n bytes from first of a slot that keeps a number.
func (l *slot) fillLinux(first, n int) val {
	m := cover(first, n)
	switch {
	case first == 0 && n <= int(l.n) && l.v.n.w.uhi <= sizedMax(n):
		return *l.v
	case first == 0 && n <= int(l.n):
		return scalar(l.v.n.zext(uint(8 * n)))
	case l.zero&m == m, l.holdsZero() && m&^cover(0, int(l.n)) == 0:
		return constant(0)
	}
	return scalar(sized(n))
}

// sizedMax returns the greatest number of size bytes.
func sizedMax(size int) uint64 { return math.MaxUint64 >> (64 - 8*size) }

// storeEarly is storeLinux before 6.8: 0 is kept as zero bytes, a number of which
// nothing is known not at all, and what is beside a kept number is forgotten.
func (l *slot) storeEarly(first, size int, v *val) {
	m := cover(first, size)
	l.written |= m
	zero := v.kind == Scalar && v.n.known() && v.n.bits.Value == 0
	if first == 0 && !zero && (v.kind == Scalar && v.n != anyNum() || v.kind != Scalar && size == 8) {
		c := *v
		if v.kind == Scalar && v.n.w.uhi > sizedMax(size) {
			c.unlink()
		}
		l.v, l.n, l.zero = &c, uint8(size), 0
		return
	}
	l.scrub()
	l.zero &^= m
	if zero {
		l.zero |= m
	}
}

// fillEarly is fillLinux before 6.8: a number is found again only by a load of the
// size that was stored.
func (l *slot) fillEarly(first, n int) val {
	if first != 0 || n != int(l.n) {
		return scalar(sized(n))
	}
	v := *l.v
	if n < 8 {
		v.n.coerceEarly(n)
	}
	return v
}
