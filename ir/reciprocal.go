package ir

import "math/bits"

// reciprocal is a multiplication that divides by a constant:
//
//	n / d = (n >> pre) * mul >> (width + shift)            or, with add,
//	n / d = ((n >> pre) * mul + mul) >> (width + shift)
//
// mul has at most width bits.
type reciprocal struct {
	mul        uint64
	add        bool
	pre, shift int
}

// reciprocalOf finds how to divide the numbers up to limit, which have width bits (at
// most 64), by d, which is at least 3 and no power of two.
//
// For p = width + shift let mul be 2^p/d rounded up, and e = mul d - 2^p. Then n mul /
// 2^p = n/d + n e / (d 2^p), which has the same integer part if the last term is less
// than 1/d, so whenever n e < 2^p (Granlund and Montgomery, "Division by Invariant
// Integers using Multiplication", 1994, theorem 4.2).
//
// If mul would need one bit more than width, round down (Robison, "N-Bit Unsigned
// Division via N-Bit Multiply-Add", 2005). With e = 2^p mod d, (n+1) mul / 2^p =
// (n+1)/d - (n+1) e / (d 2^p). The last term may be up to 1/d, so (n+1) e <= 2^p is
// enough. One of the two holds for the largest shift, as the two e sum up to d, less
// than 2^(shift+1). An even d needs no addition: a shift beforehand frees the bit
// (Warren, Hacker's Delight, 10-8).
func reciprocalOf(d, limit uint64, width int) reciprocal {
	for shift := 0; shift < width && 1<<shift < d; shift++ {
		if mul, ok := roundUp(d, limit, width, shift); ok {
			return reciprocal{mul: mul, shift: shift}
		}
	}
	if pre := bits.TrailingZeros64(d); pre > 0 {
		r := reciprocalOf(d>>pre, limit>>pre, width)
		if !r.add {
			r.pre = pre
			return r
		}
	}
	for shift := 0; shift < width && 1<<shift < d; shift++ {
		if mul, ok := roundDown(d, limit, width, shift); ok {
			return reciprocal{mul: mul, add: true, shift: shift}
		}
	}
	panic("no reciprocal")
}

// roundUp returns 2^(width+shift)/d rounded up, and reports whether it divides
// exactly up to limit.
func roundUp(d, limit uint64, width, shift int) (uint64, bool) {
	q, r := powerBy(width+shift, d)
	mul, e := q+1, d-r
	if mul == 0 || width < 64 && mul>>width != 0 {
		return 0, false
	}
	hi, lo := bits.Mul64(limit, e)
	return mul, below(hi, lo, width+shift)
}

// roundDown returns 2^(width+shift)/d rounded down, and reports whether it
// divides exactly up to limit.
func roundDown(d, limit uint64, width, shift int) (uint64, bool) {
	q, e := powerBy(width+shift, d)
	hi, lo := bits.Mul64(limit, e)
	lo, carry := bits.Add64(lo, e, 0)
	hi += carry
	lo, borrow := bits.Sub64(lo, 1, 0) // <= 2^p is the same as < 2^p of one less
	return q, below(hi-borrow, lo, width+shift)
}

// powerBy is 2^p / d and 2^p mod d, for a quotient of less than 2^64.
func powerBy(p int, d uint64) (q, r uint64) {
	if p < 64 {
		return (1 << p) / d, (1 << p) % d
	}
	return bits.Div64(1<<(p-64), 0, d)
}

// below reports whether hi:lo < 2^p.
func below(hi, lo uint64, p int) bool {
	if p >= 64 {
		return hi>>(p-64) == 0
	}
	return hi == 0 && lo>>p == 0
}
