package jit

import (
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// TestVerifySchedule: the checker accepts what schedule makes of a block, and
// notices two instructions exchanged of which the second needs the first.
func TestVerifySchedule(t *testing.T) {
	for _, vars := range []int{4, 14, 22} {
		f := allocated(t, vars, false)
		cleanFlow(f)
		addWaits(f, []int{1, 2, 3})
		link(f)
		before := make([][]machInst, len(f.Blocks))
		for i, b := range f.Blocks {
			before[i] = cloneInsts(b.Insts)
		}
		schedule(f, chip())
		if err := verifySchedule(f, before); err != nil {
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
				if verifySchedule(f, before) == nil {
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
	read := machInst{Inst: nfp.Inst{Op: nfp.OpCmd, A: gprA(1), B: constant(0), Cmd: nfp.Command{Code: 0x5c, Token: 2, Sig: 1, Ctx: 3, Mode: 4}}, In: 1, To: -1}
	wait := machInst{Inst: nfp.Inst{Op: nfp.OpCtxArb, Imm: 2}, In: 1, To: -1}
	use := machInst{Inst: nfp.ALU(gprA(2), gprA(3), nfp.ALUAdd, xfer(0)), To: -1}
	other := machInst{Inst: nfp.ALU(gprA(4), gprA(5), nfp.ALUAdd, gprB(1)), To: -1}
	changed := use
	changed.B = xfer(1)
	before := [][]machInst{{read, wait, use, other}}
	for _, c := range []struct {
		name  string
		insts []machInst
		ok    bool
	}{
		{"as it was", []machInst{read, wait, use, other}, true},
		{"other first", []machInst{other, read, wait, use}, true},
		{"other meanwhile", []machInst{read, other, wait, use}, true},
		{"too early", []machInst{read, use, wait, other}, false},
		{"left out", []machInst{read, wait, use}, false},
		{"another operand", []machInst{read, wait, changed, other}, false},
		{"not waited for", []machInst{read, use, other}, false},
	} {
		f := &machFunc{Name: "f", Blocks: []*machBlock{{Insts: c.insts, Next: -1}}}
		if err := verifySchedule(f, before); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
