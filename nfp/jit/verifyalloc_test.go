package jit

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/ir"
)

// allocated is a function with more values than registers live across a call that
// clobbers most of them, and around a loop.
func allocated(t *testing.T, vars int) *machFunc {
	t.Helper()
	m := &ir.Module{Name: "pressure"}
	f := &ir.Func{Name: "main", Result: ir.I64, Frame: 8}
	m.Funcs = []*ir.Func{f}
	for i := range 2 {
		p := f.NewValue(ir.OpParam, ir.I64, -1)
		p.Int = int64(i)
		f.Params = append(f.Params, p)
	}
	b := f.NewBlock()
	var live []*ir.Value
	for i := range vars {
		k := f.Add(b, ir.OpConst, ir.I64, -1)
		k.Int = int64(i) * 0x123456789
		live = append(live, f.Add(b, ir.OpXor, ir.I64, -1, f.Params[i%2], k))
	}
	random := f.Add(b, ir.OpCallHelper, ir.I64, -1)
	random.Int = 5
	head := f.NewBlock()
	count := f.NewParam(head, ir.I64, -1)
	b.Jump(-1, head, random)
	sum := f.Add(head, ir.OpAdd, ir.I64, -1, count, live[0])
	for _, v := range live[1:] {
		sum = f.Add(head, ir.OpXor, ir.I64, -1, sum, v)
		sum = f.Add(head, ir.OpMul, ir.I64, -1, sum, v)
	}
	zero := f.Add(head, ir.OpConst, ir.I64, -1)
	again := f.Add(head, ir.OpSLT, ir.I32, -1, sum, zero)
	out := f.NewBlock()
	head.Branch(-1, again, ir.Edge{To: head, Args: []*ir.Value{sum}}, ir.Edge{To: out})
	out.Kind, out.Result = ir.TermReturn, sum
	if err := ir.Check(m); err != nil {
		t.Fatal(err)
	}
	legal, err := legalize(m)
	if err != nil {
		t.Fatal(err)
	}
	p := unlimited(t)
	env := &backend{kind: ebpf.UnspecifiedProgram, profile: p, opt: &Options{}, done: map[string]*machFunc{}}
	mf := selectFunc(env, legal.Funcs[0], true)
	allocate(mf, true)
	return mf
}

// TestVerifyAllocation: the checker accepts what allocate made, and notices each
// way of breaking it: any other register read, any copy left out, any two copies
// exchanged that belong in order.
func TestVerifyAllocation(t *testing.T) {
	for _, vars := range []int{4, 14, 22, 40} {
		f := allocated(t, vars)
		if vars > 10 && f.Spill == 0 {
			t.Errorf("%d variables: nothing was spilled", vars)
		}
		if err := verifyAllocation(f); err != nil {
			t.Fatalf("%d variables: %v\n%s", vars, err, f)
		}
		if vars == 40 { // slots out of LM3's reach: it is set more often than needed
			continue
		}
		missed, tried := 0, 0
		for _, b := range f.Blocks {
			for i := range b.Insts {
				in := &b.Insts[i]
				if in.Drop || in.Call != nil {
					continue
				}
				for _, o := range [...]*nfp.Operand{&in.A, &in.B, &in.Dst} {
					if n, ok := physical(*o); ok && n != 22 {
						old := *o
						*o = register((n&^31 | (n&31+1)%22))
						tried++
						if verifyAllocation(f) == nil {
							missed++
						}
						*o = old
					}
				}
				if in.Orig == nil {
					old := in.Inst
					in.Inst = nfp.Inst{Op: nfp.OpNop}
					tried++
					if verifyAllocation(f) == nil {
						missed++
						t.Logf("%d variables: not missed: %v", vars, old)
					}
					in.Inst = old
				}
			}
		}
		// What is never read again may go anywhere.
		if missed > tried/50 {
			t.Errorf("%d variables: %d of %d damages went unnoticed", vars, missed, tried)
		}
	}
}
