package linux

import (
	"math"
	"math/bits"
)

// NoShift reports whether the Linux driver's division by d ends with a shift by zero.
// The driver multiplies by a 32-bit reciprocal and shifts right by the least
// sufficient amount (Granlund and Montgomery, "Division by invariant integers using
// multiplication", 1994). For an even divisor whose reciprocal needs 33 bits it first
// shifts out the trailing zeros. For a divisor above 2^31 it compares instead.
func NoShift(d uint32) bool {
	if d&(d-1) == 0 || d > 1<<31 {
		return d == 1
	}
	shift, fits := reciprocal(uint64(d), 32)
	if zeros := bits.TrailingZeros32(d); !fits && zeros > 0 {
		shift, fits = reciprocal(uint64(d>>zeros), 32-zeros)
	}
	return fits && shift == 0
}

// reciprocal returns the least shift for which some m satisfies n*m/2^(32+shift) = n/d
// for all n of numerator bits, and whether that m fits 32 bits. For divisors up to
// 2^31 there is such a shift below 32.
func reciprocal(d uint64, numerator int) (shift int, fits bool) {
	for ; ; shift++ {
		one := uint64(1) << (32 + shift)
		if m := (one + one>>numerator) / d; m > one/d {
			return shift, m <= math.MaxUint32
		}
	}
}
