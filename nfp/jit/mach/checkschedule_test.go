package mach

import (
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// TestVerifySchedule checks that the checker accepts schedule's result, and rejects an
// exchange of two dependent instructions.
func TestVerifySchedule(t *testing.T) {
	for _, vars := range []int{4, 14, 22} {
		f := allocated(t, vars, false)
		cleanFlow(f)
		addWaits(f, []int{1, 2, 3})
		link(f)
		before := make([][]Inst, len(f.Blocks))
		for i, b := range f.Blocks {
			before[i] = cloneInsts(b.Insts)
		}
		schedule(f, chip(t))
		if err := CheckSchedule(f, before); err != nil {
			t.Fatalf("%d variables: %v\n%s", vars, err, f)
		}
		missed, tried := 0, 0
		for _, b := range f.Blocks {
			for i := 0; i+1 < len(b.Insts); i++ {
				x, y := &b.Insts[i], &b.Insts[i+1]
				if x.Glue || y.Glue || i+2 < len(b.Insts) && b.Insts[i+2].Glue || isControl(y) {
					continue
				}
				ex, ey := effectOf(x), effectOf(y)
				ex.writes[resCodes/64] &^= 1 << (resCodes % 64)
				if !ex.writes.meets(&ey.reads) && !ex.reads.meets(&ey.writes) {
					continue
				}
				tried++
				*x, *y = *y, *x
				if CheckSchedule(f, before) == nil {
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

// TestVerifyScheduleDamage: an instruction left out, an operand changed, a wait
// too early.
func TestVerifyScheduleDamage(t *testing.T) {
	read := Inst{Inst: nfp.Inst{Op: nfp.OpCmd, A: GPRA(1), B: Const(0), Cmd: nfp.Command{Code: 0x5c, Token: 2, Sig: 1, Ctx: 3, Mode: 4}}, In: 1, To: -1}
	wait := Inst{Inst: nfp.Inst{Op: nfp.OpCtxArb, Imm: 2}, In: 1, To: -1}
	use := Inst{Inst: nfp.ALU(GPRA(2), GPRA(3), nfp.ALUAdd, Xfer(0)), To: -1}
	other := Inst{Inst: nfp.ALU(GPRA(4), GPRA(5), nfp.ALUAdd, GPRB(1)), To: -1}
	changed := use
	changed.B = Xfer(1)
	before := [][]Inst{{read, wait, use, other}}
	for _, c := range []struct {
		name  string
		insts []Inst
		ok    bool
	}{
		{"as it was", []Inst{read, wait, use, other}, true},
		{"other first", []Inst{other, read, wait, use}, true},
		{"other meanwhile", []Inst{read, other, wait, use}, true},
		{"too early", []Inst{read, use, wait, other}, false},
		{"left out", []Inst{read, wait, use}, false},
		{"another operand", []Inst{read, wait, changed, other}, false},
		{"not waited for", []Inst{read, use, other}, false},
	} {
		f := &Func{Name: "f", Blocks: []*Block{{Insts: c.insts, Next: -1}}}
		if err := CheckSchedule(f, before); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
