package ir

// Uses counts the uses of each value, by value number: as an argument, a
// condition, a result, or an edge's argument.
func (f *Func) Uses() []int32 {
	uses := make([]int32, f.NextID)
	for _, b := range f.Blocks {
		b.Operands(func(v **Value) { uses[(*v).ID]++ })
	}
	return uses
}

// Replace replaces every use of value number n by by[n], unless that is nil; by has
// length NextID. Chains of replacements are followed, and shortened in by. The
// replaced values stay in place, without uses. A value must not be replaced by itself,
// directly or through a cycle.
func (f *Func) Replace(by []*Value) {
	for _, b := range f.Blocks {
		b.Operands(func(v **Value) { *v = Final(by, *v) })
	}
}

// Final returns the value that finally replaces v: v itself if none does.
func Final(by []*Value, v *Value) *Value {
	next := by[v.ID]
	if next == nil {
		return v
	}
	for after := by[next.ID]; after != nil; after = by[next.ID] {
		by[v.ID] = after
		v, next = next, after
	}
	return next
}

// DropParams removes the parameters of blocks that drop reports true for, and
// the arguments of the edges that filled them. Nothing may use them any more.
func (f *Func) DropParams(drop func(*Value) bool) {
	for _, b := range f.Blocks {
		for i := range b.Succs {
			e := &b.Succs[i]
			kept := e.Args[:0:0]
			for j, p := range e.To.Params {
				if !drop(p) {
					kept = append(kept, e.Args[j])
				}
			}
			e.Args = kept
		}
	}
	for _, b := range f.Blocks {
		kept := b.Params[:0:0]
		for _, p := range b.Params {
			if !drop(p) {
				p.Int = int64(len(kept))
				kept = append(kept, p)
			}
		}
		b.Params = kept
	}
}
