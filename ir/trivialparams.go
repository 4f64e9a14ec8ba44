package ir

// DropTrivialParams removes the block parameters that have one value: every edge
// passes that value, or the parameter itself. Removing one can make another
// trivial, so the parameters that receive a removed one are visited again.
//
// Braun et al., "Simple and Efficient Construction of Static Single Assignment
// Form" (2013), section 3.1.
func (f *Func) DropTrivialParams() {
	preds := f.Preds()
	by := make([]*Value, f.NextID)
	home := make([]*Block, f.NextID)
	fills := make([][]*Value, f.NextID) // parameters that a value is passed to, if it is one
	var work []*Value
	for _, b := range f.Blocks {
		for _, p := range b.Params {
			home[p.ID] = b
			work = append(work, p)
		}
		for _, e := range b.Succs {
			for i, a := range e.Args {
				if a.Op == OpParam {
					fills[a.ID] = append(fills[a.ID], e.To.Params[i])
				}
			}
		}
	}
	found := false
	seen := make([]bool, f.NextID)
	for n := 0; n < len(work); n++ { // in block order, then those to visit again
		p := work[n]
		seen[p.ID] = true
		if by[p.ID] != nil {
			continue
		}
		var same *Value
		trivial := true
		for _, e := range preds[home[p.ID].ID] {
			a := Final(by, e.Edge().Args[p.Int])
			if a == p || a == same {
				continue
			}
			if same != nil {
				trivial = false
				break
			}
			same = a
		}
		if !trivial || same == nil {
			continue
		}
		by[p.ID], found = same, true
		later := home[same.ID] != nil // same may be replaced yet
		for _, q := range fills[p.ID] {
			if seen[q.ID] && by[q.ID] == nil {
				work = append(work, q)
			}
			if later && by[q.ID] == nil {
				fills[same.ID] = append(fills[same.ID], q)
			}
		}
	}
	if found {
		f.Replace(by)
		f.DropParams(func(p *Value) bool { return by[p.ID] != nil })
	}
}
