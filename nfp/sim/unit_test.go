package sim

import (
	"math/bits"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// Check values of the catalogue of parametrised CRC algorithms (reveng): the
// remainder of "123456789".
func TestCRCCheckValues(t *testing.T) {
	const one, two, nine = 0x31323334, 0x35363738, 0x39000000
	for _, c := range []struct {
		name      string
		poly      uint32
		init      uint32
		reflected bool
		want      uint32
	}{
		{"crc-16/ccitt-false", 2, 0xffff, false, 0x29b1},
		{"crc-32", 4, 0xffffffff, true, 0xcbf43926},
		{"crc-32/bzip2", 4, 0xffffffff, false, 0xfc891918},
		{"crc-32c", 5, 0xffffffff, true, 0xe3069283},
		{"crc-10", 6, 0, false, 0x199},
	} {
		var flags nfp.Flags
		if c.reflected {
			flags = nfp.BitSwap
		}
		rem := c.init
		for _, w := range []uint32{one, two} {
			rem = crc(rem, c.poly, 0, uint32(flags), w)
		}
		rem = crc(rem, c.poly, 6, uint32(flags), nine)
		// The other byte order and order of folding must agree.
		little := crc(c.init, c.poly, 0, uint32(flags|nfp.LittleEndian), bits.ReverseBytes32(one))
		if big := crc(c.init, c.poly, 0, uint32(flags), one); little != big {
			t.Errorf("%s: 0x%x least significant byte first, 0x%x most", c.name, little, big)
		}
		switch {
		case c.reflected:
			rem = ^bits.Reverse32(rem)
		case c.name == "crc-32/bzip2":
			rem = ^rem
		}
		if rem != c.want {
			t.Errorf("%s: 0x%x, want 0x%x", c.name, rem, c.want)
		}
	}
}

// TestCAMOrder checks that the CAM answers a miss with the least recently used entry.
func TestCAMOrder(t *testing.T) {
	var m cam
	for i := range uint32(16) {
		m.tag[i], m.valid[i] = 100+i, true
		m.touch(i)
	}
	if got := m.lookup(100); got != 0<<3|1<<7 {
		t.Errorf("hit: 0x%x", got)
	}
	if got := m.lookup(5); got != 1<<3 {
		t.Errorf("miss: 0x%x, entry 1 is the oldest", got)
	}
	m.state[3] = 9
	if got := m.lookup(103); got != 3<<3|1<<7|9<<8 {
		t.Errorf("hit with state: 0x%x", got)
	}
}

// Every multiplier sequence gives the product.
func TestMultiplier(t *testing.T) {
	const code = `
		mul_step[gprA_2, gprB_3], start
		mul_step[gprA_2, gprB_3], 32x32_step1
		mul_step[gprA_2, gprB_3], 32x32_step2
		mul_step[gprA_2, gprB_3], 32x32_step3
		mul_step[gprA_2, gprB_3], 32x32_step4
		mul_step[gprA_4, --], 32x32_last
		mul_step[gprA_5, --], 32x32_last2`
	b := newBench(t, false, code)
	c := &b.e.Ctx[0]
	for _, x := range []uint32{0, 1, 0xffff, 0x10000, 0x12345678, 0x80000000, 0xffffffff} {
		for _, y := range []uint32{0, 3, 0xff00ff, 0x7fffffff, 0xffffffff} {
			c.SetA(2, x)
			c.SetB(3, y)
			c.Start(0)
			if err := b.e.Run(20); err != nil {
				t.Fatal(err)
			}
			if got := uint64(c.A(5))<<32 | uint64(c.A(4)); got != uint64(x)*uint64(y) {
				t.Errorf("%#x * %#x = %#x", x, y, got)
			}
		}
	}
}
