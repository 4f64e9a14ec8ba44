package mach

import "testing"

// TestVerifySchedule checks that the checker accepts schedule's result, and rejects an
// exchange of two dependent instructions.
func TestVerifySchedule(t *testing.T) {
	for _, vars := range []int{4, 14, 22} {
		f := allocated(t, vars, false)
		cleanFlow(f)
		addWaits(f, []int{1, 2, 3})
		link(f)
		before := blocksOf(f)
		schedule(f, chip(t))
		if err := checkSchedule(f, before); err != nil {
			t.Fatalf("%d variables: %v\n%s", vars, err, f)
		}
		missed, tried := 0, 0
		for _, b := range f.Blocks {
			for i := 0; i+1 < len(b.Insts); i++ {
				x, y := &b.Insts[i], &b.Insts[i+1]
				if x.Glue || y.Glue || i+2 < len(b.Insts) && b.Insts[i+2].Glue || y.Branches() {
					continue
				}
				ex, ey := effectOf(x), effectOf(y)
				ex.writes[resCodes/64] &^= 1 << (resCodes % 64)
				if !ex.writes.meets(&ey.reads) && !ex.reads.meets(&ey.writes) {
					continue
				}
				tried++
				*x, *y = *y, *x
				if checkSchedule(f, before) == nil {
					missed++
					t.Logf("%d variables: not noticed: %s before %s", vars, x.text(), y.text())
				}
				*x, *y = *y, *x
			}
		}
		if tried < vars || missed > 0 {
			t.Errorf("%d variables: %d of %d exchanges went unnoticed", vars, missed, tried)
		}
	}
}
