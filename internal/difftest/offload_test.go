package difftest

import (
	"testing"

	"github.com/nfpkit/nfpkit/bpf/verify"
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
