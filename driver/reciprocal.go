package driver

import (
	"math"
	"math/bits"
)

// NoShift reports whether the Linux driver's division by d ends with a shift by zero. It
// multiplies by a reciprocal of 32 bits and shifts right by as little as will do
// (Granlund and Montgomery, "Division by invariant integers using multiplication",
// 1994); of an even divisor whose reciprocal has 33 bits it shifts out the zeros first.
// By more than 2^31 it compares instead.
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

// reciprocal is the least shift with which some m has n*m/2^(32+shift) equal n/d for all
// numerators n of so many bits, and whether that m has 32 bits. There is one below 32 for
// divisors up to 2^31.
func reciprocal(d uint64, numerator int) (shift int, fits bool) {
	for ; ; shift++ {
		one := uint64(1) << (32 + shift)
		if m := (one + one>>numerator) / d; m > one/d {
			return shift, m <= math.MaxUint32
		}
	}
}
