package ir

// EliminateDeadCode removes the values that no terminator and no operation with an
// effect depends on, and dead block parameters together with their arguments.
//
// Marking starts at terminators and effects and follows arguments; the arguments
// passed to a parameter are live only if the parameter is. Values that only use
// each other around a loop are therefore removed too.
func (f *Func) EliminateDeadCode() {
	live := make([]bool, f.NextID)
	preds := f.Preds()
	home := make([]*Block, f.NextID)
	var work []*Value
	mark := func(v *Value) {
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
			if v.Op.Is(Effect) {
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
	f.DropParams(func(p *Value) bool { return !live[p.ID] })
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
