package jit

import "github.com/nfpkit/nfpkit/ir"

// deadcode removes the values that nothing with an effect needs, and the block
// parameters with the arguments that filled them.
//
// It marks what terminators and effects use, and from there what those use; a
// parameter's arguments are used if the parameter is. So values that only keep
// each other alive round a loop go too.
func deadcode(f *ir.Func) {
	live := make([]bool, f.NextID)
	preds := f.Preds()
	home := make([]*ir.Block, f.NextID)
	var work []*ir.Value
	mark := func(v *ir.Value) {
		if v != nil && !live[v.ID] {
			live[v.ID] = true
			work = append(work, v)
		}
	}
	for _, b := range f.Blocks {
		for _, p := range b.Params {
			home[p.ID] = b
		}
		for _, v := range b.Values {
			if v.Op.Is(ir.Effect) {
				mark(v)
			}
		}
		mark(b.Cond)
		mark(b.Result)
		mark(b.ResultHi)
	}
	for len(work) > 0 {
		v := work[len(work)-1]
		work = work[:len(work)-1]
		for _, a := range v.Args {
			mark(a)
		}
		if b := home[v.ID]; b != nil {
			for _, p := range preds[b.ID] {
				mark(p.Edge().Args[v.Int])
			}
		}
	}
	f.DropParams(func(p *ir.Value) bool { return !live[p.ID] })
	for _, b := range f.Blocks {
		kept := b.Values[:0]
		for _, v := range b.Values {
			if live[v.ID] {
				kept = append(kept, v)
			}
		}
		clear(b.Values[len(kept):])
		b.Values = kept
	}
}
