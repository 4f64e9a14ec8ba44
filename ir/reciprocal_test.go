package ir

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// divide is n / d as r says, in width bits.
func (r reciprocal) divide(n uint64, width int) uint64 {
	hi, lo := bits.Mul64(n>>r.pre, r.mul)
	if r.add {
		var carry uint64
		lo, carry = bits.Add64(lo, r.mul, 0)
		hi += carry
	}
	p := width + r.shift
	if p >= 64 {
		return hi >> (p - 64)
	}
	return hi<<(64-p) | lo>>p
}

// TestReciprocal16 divides by every divisor of 16 bits. Division by r is monotone in
// n, so the multiples of d and the numbers below them decide for all others.
func TestReciprocal16(t *testing.T) {
	for d := uint64(3); d < 1<<16; d++ {
		if d&(d-1) == 0 {
			continue
		}
		for _, limit := range []uint64{1<<16 - 1, 1<<12 - 1} {
			r := reciprocalOf(d, limit, 16)
			if r.mul >= 1<<16 {
				t.Fatalf("%d: multiplier %#x", d, r.mul)
			}
			for n := d; ; n += d {
				if m := min(n, limit+1) - 1; r.divide(m, 16) != m/d {
					t.Fatalf("%d / %d = %d", m, d, r.divide(m, 16))
				}
				if n > limit {
					break
				}
				if r.divide(n, 16) != n/d {
					t.Fatalf("%d / %d = %d", n, d, r.divide(n, 16))
				}
			}
		}
	}
}

func TestReciprocalWide(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var added int
	for i := range 200_000 {
		width := 32 + i%2*32
		limit := ^uint64(0) >> (64 - width) >> rng.IntN(width/2)
		d := rng.Uint64() >> (64 - width) >> rng.IntN(width)
		if i < 20_000 {
			d = uint64(i)/2 + 3
		}
		if d < 3 || d&(d-1) == 0 {
			continue
		}
		r := reciprocalOf(d, limit, width)
		if r.add {
			added++
		}
		for _, n := range []uint64{0, 1, d - 1, d, limit, limit - limit%d, limit - limit%d - 1, rng.Uint64() & limit} {
			if n <= limit && r.divide(n, width) != n/d {
				t.Fatalf("%d bits: %d / %d = %d", width, n, d, r.divide(n, width))
			}
		}
	}
	if added == 0 {
		t.Error("no divisor needed an addition")
	}
}
