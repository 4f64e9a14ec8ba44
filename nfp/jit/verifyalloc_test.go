package jit

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
)

// allocated is a function with more values than registers live across a call that
// clobbers most of them, and around a loop. Derived values are sums of an argument,
// which stays live, and a constant.
func allocated(t *testing.T, vars int, derived bool) *machFunc {
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
		op := ir.OpXor
		if derived {
			k.Int = int64(i)
			op = ir.OpAnd
		}
		live = append(live, f.Add(b, op, ir.I64, -1, f.Params[i%2], k))
	}
	random := f.Add(b, ir.OpCallHelper, ir.I64, -1)
	random.Int = 5
	head := f.NewBlock()
	count := f.NewParam(head, ir.I64, -1)
	b.Jump(-1, head, random)
	sum := f.Add(head, ir.OpAdd, ir.I64, -1, count, live[0])
	if derived {
		live = append(live, f.Params...)
	}
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
	env := &backend{kind: ebpf.UnspecifiedProgram, profile: p, opt: &Options{}, model: chip(), done: map[string]*machFunc{}}
	mf := selectFunc(env, legal.Funcs[0], true)
	remember(mf)
	coalesce(mf)
	allocate(mf)
	return mf
}

// TestVerifyAllocation: the checker accepts what allocate made, and notices each
// way of breaking it: any other register read, any copy left out, any constant
// changed that a register is made anew of.
func TestVerifyAllocation(t *testing.T) {
	for _, vars := range []int{4, 14, 22, 40} {
		f := allocated(t, vars, false)
		if vars > 10 && f.Spill == 0 {
			t.Errorf("%d variables: nothing was spilled", vars)
		}
		if err := verifyAllocation(f); err != nil {
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
		if err := verifyAllocation(f); err != nil {
			t.Fatalf("%d derived variables: %v\n%s", vars, err, f)
		}
		damage(t, f, 0.05) // some are made anew twice in a row
	}
}

// damage breaks a function in all ways, one at a time, and expects all but a part
// of them to be noticed: what is never read again may go anywhere.
func damage(t *testing.T, f *machFunc, part float64) {
	t.Helper()
	missed, tried := 0, 0
	try := func(in *machInst, what string) {
		tried++
		if verifyAllocation(f) == nil {
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
				if n, ok := physical(*o); ok && n != 22 {
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

// TestVerifyPlaces: the checker notices a word that is made in its place too early,
// or dropped where the place does not hold it.
func TestVerifyPlaces(t *testing.T) {
	v := func(n uint32) nfp.Operand { return nfp.Operand{Kind: nfp.Virtual, N: n} }
	add := func(dst nfp.Operand) machInst {
		return machInst{Inst: nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUAdd), Dst: dst, A: gprA(22), B: constant(1)}, To: -1}
	}
	send := machInst{Inst: nfp.Inst{Op: nfp.OpCmd, A: gprA(22), B: constant(0)}, To: -1, Out: 1 << 3}
	look := machInst{Inst: nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUB), B: lm(0, 1)}, To: -1}
	far := machInst{Inst: nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUB), B: lm(2, 0)}, To: -1}
	call := machInst{Inst: nfp.Inst{Op: nfp.OpBr}, To: -1, Call: &callSite{}}
	for _, c := range []struct {
		to      nfp.Operand
		between []machInst
		bad     bool
	}{
		{xfer(3), nil, false},
		{xfer(3), []machInst{look}, false},
		{xfer(3), []machInst{send}, true},
		{xfer(3), []machInst{add(xfer(3))}, true},
		{xfer(3), []machInst{call}, true},
		{lm(0, 1), []machInst{send}, false},
		{lm(0, 1), []machInst{look}, true},
		{lm(0, 1), []machInst{far}, true},
		{lm(0, 1), []machInst{call}, true},
		{lm(2, 0), []machInst{look}, true},
		{lm(1, 2), []machInst{far}, false},
	} {
		insts := append([]machInst{add(v(0))}, c.between...)
		insts = append(insts, copyInst(c.to, v(0), 0), send, look)
		f := &machFunc{Frame: 16, Entry: true, LM0: true, VRegs: 1, Blocks: []*machBlock{{Insts: insts, Next: -1}}}
		remember(f)
		sendDirectly(f)
		coalesce(f)
		last := &insts[len(insts)-3]
		if last.Drop == c.bad {
			t.Errorf("%v behind %v: dropped: %v", c.to, c.between, last.Drop)
		}
		insts[0].Dst = c.to
		last.Inst, last.Drop = nfp.Inst{Op: nfp.OpNop}, true
		if err := verifyAllocation(f); (err != nil) != c.bad {
			t.Errorf("%v behind %v: checker says %v", c.to, c.between, err)
		}
	}
}
