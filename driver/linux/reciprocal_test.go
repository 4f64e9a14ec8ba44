package linux

import "testing"

// TestNoShift has divisors whose reciprocal needs no shift, those that divide 2^32 + 1
// or come near enough and even ones with such a rest, and others.
func TestNoShift(t *testing.T) {
	for d, want := range map[uint32]bool{
		1: true, 2: false, 3: false, 5: false, 7: false, 10: false, 21: false, 641: true, 1282: false, 1344: true, 6700417: true, 1 << 31: false, 0x7fffffff: false,
		0xfffffd16: false, 0xffffffff: false, 1<<31 + 1: false,
	} {
		if got := NoShift(d); got != want {
			t.Errorf("%d: %v, want %v", d, got, want)
		}
	}
}
