package difftest

import (
	"testing"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
)

// Of ten programs of the generator at least six can be edited to what the Linux
// driver takes.
func TestOffloadable(t *testing.T) {
	pr, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	const n = 300
	faults := map[string]int{}
	ok, insns := 0, 0
	ops := map[string]int{}
	for seed := range uint64(n) {
		var f *verify.Facts
		if _, f = offloadable(seed, pr, faults); f == nil {
			continue
		}
		ok++
		insns += len(f.Code.Insns)
		for i := range f.Code.Insns {
			if f.Reachable[i] {
				ops[f.Code.Insns[i].OpCode.String()]++
			}
		}
	}
	t.Logf("%d of %d programs, %d instructions; kept from faults: %v; %v", ok, n, insns, faults, ops)
	if ok*10 < n*6 {
		t.Errorf("%d of %d programs can be offloaded", ok, n)
	}
}

// Divisors whose reciprocal ends without a shift: those that divide 2^32 + 1 or come
// near enough, and even ones with such a rest.
func TestNoShift(t *testing.T) {
	for d, want := range map[uint32]bool{
		1: true, 2: false, 3: false, 5: false, 7: false, 10: false, 21: false, 641: true, 1282: false, 1344: true, 6700417: true, 1 << 31: false, 0x7fffffff: false,
		0xfffffd16: false, 0xffffffff: false, 1<<31 + 1: false,
	} {
		if got := driver.NoShift(d); got != want {
			t.Errorf("%d: %v, want %v", d, got, want)
		}
	}
}
