package sim

import (
	"math/bits"

	"github.com/nfpkit/nfpkit/nfp"
)

// generator polynomials by the number in the instruction, with their width.
var generators = [8]struct {
	width uint
	poly  uint32
}{
	2: {16, 0x1021},     // ccitt
	4: {32, 0x04c11db7}, // crc_32
	5: {32, 0x1edc6f41}, // iscsi
	6: {10, 0x233},      // crc_10
	7: {5, 0x05},        // crc_5
}

// crcBytes are the first byte of a subset and the one past its last, in
// processing order.
var crcBytes = [8][2]int{{0, 4}, {1, 4}, {2, 4}, {3, 4}, {0, 3}, {0, 2}, {0, 1}, {0, 0}}

// crc folds a word into a remainder, most significant bit of each byte first,
// or least significant with bit_swap; the most significant byte first, or the
// least with little-endian order. The remainder lies right-aligned (assumed).
func crc(rem, poly uint32, subset uint8, flags, word uint32) uint32 {
	g := generators[poly&7]
	if g.width == 0 {
		return rem
	}
	if nfp.Flags(flags)&nfp.LittleEndian == 0 {
		word = bits.ReverseBytes32(word)
	}
	span := crcBytes[subset&7]
	mask := uint32(1)<<g.width - 1
	for i := span[0]; i < span[1]; i++ {
		b := uint8(word >> (8 * i))
		if nfp.Flags(flags)&nfp.BitSwap != 0 {
			b = bits.Reverse8(b)
		}
		for bit := 7; bit >= 0; bit-- {
			top := rem>>(g.width-1)&1 ^ uint32(b>>bit&1)
			rem = rem << 1 & mask
			if top != 0 {
				rem ^= g.poly
			}
		}
	}
	return rem
}
