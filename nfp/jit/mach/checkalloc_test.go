package mach

import (
	"fmt"
	"os"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// selected reads a function as instruction selection leaves it: more values than
// registers, live across a call that clobbers most of them and around a loop.
// Derived values are sums of an argument, which stays live, and a constant.
func selected(t *testing.T, name string) *Func {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	f, err := Parse(string(text))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return f
}

// allocated is such a function after register allocation.
func allocated(t *testing.T, vars int, derived bool) *Func {
	t.Helper()
	name := fmt.Sprintf("pressure-%d", vars)
	if derived {
		name = fmt.Sprintf("pressure-derived-%d", vars)
	}
	f := selected(t, name)
	remember(f)
	coalesce(f)
	allocate(f)
	return f
}

// TestVerifyAllocation checks that the checker accepts allocate's result and rejects
// every damage to it: another register, a copy left out, a changed constant of a
// rematerialised register.
func TestVerifyAllocation(t *testing.T) {
	for _, vars := range []int{4, 14, 22, 40} {
		f := allocated(t, vars, false)
		if vars > 10 && f.Spill == 0 {
			t.Errorf("%d variables: nothing was spilled", vars)
		}
		if err := checkAllocation(f); err != nil {
			t.Fatalf("%d variables: %v\n%s", vars, err, f)
		}
		if vars < 40 { // slots out of LM3's reach: it is set more often than needed
			damage(t, f, 0.02)
		}
	}
	for _, vars := range []int{30} {
		f := allocated(t, vars, true)
		anew := 0
		for _, b := range f.Blocks {
			for i := range b.Insts {
				if in := &b.Insts[i]; in.Orig == nil && in.Fn == uint8(nfp.ALUAnd) {
					anew++
				}
			}
		}
		if f.Spill > 16 || anew == 0 {
			t.Errorf("%d derived variables: %d bytes spilled, %d words made anew", vars, f.Spill, anew)
		}
		if err := checkAllocation(f); err != nil {
			t.Fatalf("%d derived variables: %v\n%s", vars, err, f)
		}
		damage(t, f, 0.05) // some are rematerialised twice in a row
	}
}

// damage breaks a function at every place, one at a time, and expects all but a part
// of the damages to be found: a dead value may go anywhere.
func damage(t *testing.T, f *Func, part float64) {
	t.Helper()
	missed, tried := 0, 0
	try := func(in *Inst, what string) {
		tried++
		if checkAllocation(f) == nil {
			missed++
			t.Logf("not missed: %s: %s", what, in.text())
		}
	}
	for _, b := range f.Blocks {
		for i := range b.Insts {
			in := &b.Insts[i]
			if in.Drop || in.Call != nil {
				continue
			}
			for _, o := range [...]*nfp.Operand{&in.A, &in.B, &in.Dst} {
				if n, ok := Physical(*o); ok && n != 22 {
					old := *o
					*o = register((n&^31 | (n&31+1)%22))
					try(in, "register")
					*o = old
				}
				if in.Orig == nil && o.Kind == nfp.Const {
					o.N++
					try(in, "constant")
					o.N--
				}
			}
			if in.Orig == nil {
				old := in.Inst
				in.Inst = nfp.Inst{Op: nfp.OpNop}
				try(in, "left out")
				in.Inst = old
			}
		}
	}
	if float64(missed) > part*float64(tried) {
		t.Errorf("%d of %d damages went unnoticed", missed, tried)
	}
}
