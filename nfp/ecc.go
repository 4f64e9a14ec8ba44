package nfp

import (
	"fmt"
	"math/bits"
)

// The code store keeps seven check bits above each word, bits 51:45. They are a
// Hsiao code, which corrects one wrong bit and detects two: its columns are odd
// for data bits, so a single error has an odd syndrome and a double one an even
// syndrome. Bit i is the parity of the word under eccMask[i]; the masks are the
// Linux driver's.
var eccMask = [7]Word{
	0x0ff800007fff, 0x11f801ff801f, 0x1e387e0781e1, 0x17cb8e388e22, 0x1af5b2c93244, 0x1f56d5525488, 0x0daf69a46910,
}

// ECC returns the check bits of a word.
func ECC(w Word) uint8 {
	var c uint8
	for i, m := range eccMask {
		c |= uint8(bits.OnesCount64(uint64(w&m))&1) << i
	}
	return c
}

// WithECC returns the word as an image stores it, check bits in 51:45. Bits of w above 44 are dropped.
func WithECC(w Word) uint64 {
	w &= 1<<45 - 1
	return uint64(w) | uint64(ECC(w))<<45
}

// ECCError is a stored word whose check bits do not fit. Single errors are
// correctable: Corrected is then the word that was stored.
type ECCError struct {
	Stored    uint64
	Syndrome  uint8
	Single    bool
	Bit       int // the wrong bit of a single error, 45..51 a check bit; else -1
	Corrected Word
}

func (e *ECCError) Error() string {
	if e.Single {
		return fmt.Sprintf("word %#013x: single error in bit %d, syndrome %#02x", e.Stored, e.Bit, e.Syndrome)
	}
	return fmt.Sprintf("word %#013x: double error, syndrome %#02x", e.Stored, e.Syndrome)
}

// CheckECC checks and removes the check bits of a stored word. Bits above 51
// must be zero; errors in the other bits are *ECCError.
func CheckECC(u uint64) (Word, error) {
	if u>>52 != 0 {
		return 0, fmt.Errorf("word %#x: bits above 51 are set", u)
	}
	w := Word(u & (1<<45 - 1))
	s := ECC(w) ^ uint8(u>>45)
	if s == 0 {
		return w, nil
	}
	e := &ECCError{Stored: u, Syndrome: s, Bit: -1, Corrected: w}
	for i := range 52 {
		x := u ^ 1<<i
		if ECC(Word(x&(1<<45-1))) == uint8(x>>45) {
			e.Single, e.Bit, e.Corrected = true, i, Word(x&(1<<45-1))
			break
		}
	}
	return e.Corrected, e
}
