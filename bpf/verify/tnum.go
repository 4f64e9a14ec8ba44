package verify

import (
	"fmt"
	"math/bits"
)

// Arithmetic on numbers of which some bits are known. The algorithms are those of
// Vishwanathan, Shachnai, Narayana and Nagarakatte, "Sound, Precise, and Fast
// Abstract Interpretation with Tristate Numbers" (CGO 2022). add, sub and the bit
// operations are as precise as possible, and mul is sound.
//
// Invariant: Value & Mask == 0.

// KnownBits returns the Tnum with exactly one value.
func KnownBits(v uint64) Tnum { return Tnum{Value: v} }

// UnknownBits returns the Tnum of all values.
func UnknownBits() Tnum { return Tnum{Mask: ^uint64(0)} }

// Known reports whether t has exactly one value.
func (t Tnum) Known() bool { return t.Mask == 0 }

// Contains reports whether v is one of t's values.
func (t Tnum) Contains(v uint64) bool { return v&^t.Mask == t.Value }

// Covers reports whether all of o's values are t's.
func (t Tnum) Covers(o Tnum) bool { return o.Mask&^t.Mask == 0 && o.Value&^t.Mask == t.Value }

// String prints the bits above the lowest unknown run as hex: value/mask.
func (t Tnum) String() string {
	if t.Known() {
		return fmt.Sprintf("%#x", t.Value)
	}
	return fmt.Sprintf("%#x/%#x", t.Value, t.Mask)
}

// rangeBits returns the best Tnum over all values from lo to hi: the common high bits.
func rangeBits(lo, hi uint64) Tnum {
	n := bits.Len64(lo ^ hi)
	if n == 64 {
		return UnknownBits()
	}
	mask := uint64(1)<<n - 1
	return Tnum{Value: lo &^ mask, Mask: mask}
}

// Add returns a + b.
func (t Tnum) Add(o Tnum) Tnum {
	low := t.Value + o.Value
	sigma := t.Mask + o.Mask + low
	mask := (sigma ^ low) | t.Mask | o.Mask
	return Tnum{Value: low &^ mask, Mask: mask}
}

// Sub returns a - b.
func (t Tnum) Sub(o Tnum) Tnum {
	diff := t.Value - o.Value
	mask := ((diff + t.Mask) ^ (diff - o.Mask)) | t.Mask | o.Mask
	return Tnum{Value: diff &^ mask, Mask: mask}
}

// And returns a & b.
func (t Tnum) And(o Tnum) Tnum {
	v := t.Value & o.Value
	return Tnum{Value: v, Mask: (t.Value | t.Mask) & (o.Value | o.Mask) &^ v}
}

// Or returns a | b.
func (t Tnum) Or(o Tnum) Tnum {
	v := t.Value | o.Value
	return Tnum{Value: v, Mask: (t.Mask | o.Mask) &^ v}
}

// Xor returns a ^ b.
func (t Tnum) Xor(o Tnum) Tnum {
	mask := t.Mask | o.Mask
	return Tnum{Value: (t.Value ^ o.Value) &^ mask, Mask: mask}
}

// Shl returns t << n, n < 64.
func (t Tnum) Shl(n uint) Tnum { return Tnum{Value: t.Value << n, Mask: t.Mask << n} }

// Shr returns t >> n unsigned, n < 64.
func (t Tnum) Shr(n uint) Tnum { return Tnum{Value: t.Value >> n, Mask: t.Mask >> n} }

// Sar returns t >> n with the sign of a word of width bits (32 or 64), n < width; the
// result for width 32 is zero-extended.
func (t Tnum) Sar(n, width uint) Tnum {
	if width == 32 {
		return Tnum{Value: uint64(uint32(int32(t.Value) >> n)), Mask: uint64(uint32(int32(t.Mask) >> n))}
	}
	return Tnum{Value: uint64(int64(t.Value) >> n), Mask: uint64(int64(t.Mask) >> n)}
}

// Mul returns a * b: long multiplication in which known and unknown parts are summed apart.
func (t Tnum) Mul(o Tnum) Tnum {
	product := KnownBits(t.Value * o.Value)
	var unknown Tnum
	for t.Value|t.Mask != 0 {
		switch {
		case t.Value&1 != 0:
			unknown = unknown.Add(Tnum{Mask: o.Mask})
		case t.Mask&1 != 0:
			unknown = unknown.Add(Tnum{Mask: o.Value | o.Mask})
		}
		t, o = t.Shr(1), o.Shl(1)
	}
	return product.Add(unknown)
}

// Union returns the best Tnum that covers both.
func (t Tnum) Union(o Tnum) Tnum {
	mask := t.Mask | o.Mask | (t.Value ^ o.Value)
	return Tnum{Value: t.Value &^ mask, Mask: mask}
}

// Intersect returns the Tnum of the values in both. It returns false if there are
// none.
func (t Tnum) Intersect(o Tnum) (Tnum, bool) {
	mask := t.Mask & o.Mask
	return Tnum{Value: (t.Value | o.Value) &^ mask, Mask: mask}, (t.Value^o.Value)&^(t.Mask|o.Mask) == 0
}

// Trunc keeps the low n bits, n <= 64, and zeroes the others.
func (t Tnum) Trunc(n uint) Tnum {
	if n >= 64 {
		return t
	}
	keep := uint64(1)<<n - 1
	return Tnum{Value: t.Value & keep, Mask: t.Mask & keep}
}

// Sext extends the sign of the low n bits, 0 < n <= 64.
func (t Tnum) Sext(n uint) Tnum { return t.Shl(64-n).Sar(64-n, 64) }

// Swap reverses the low n/8 bytes and zeroes the others.
func (t Tnum) Swap(n uint) Tnum {
	return Tnum{Value: bits.ReverseBytes64(t.Value) >> (64 - n), Mask: bits.ReverseBytes64(t.Mask) >> (64 - n)}
}
