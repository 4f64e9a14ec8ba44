package ir

import "slices"

// Loop is a natural loop: a head that dominates the blocks which jump back to
// it, these blocks, and all blocks that reach them without passing the head.
type Loop struct {
	Head   *Block
	Blocks []*Block // in reverse postorder, the head first
	Inner  bool     // no other loop is in it
	has    []bool   // by block number
}

// Has reports whether b is in the loop.
func (l *Loop) Has(b *Block) bool { return int(b.ID) < len(l.has) && l.has[b.ID] }

// hasCycle reports whether f has a back edge. It is cheap, and most functions
// have none.
func (f *Func) hasCycle() bool {
	place := make([]int32, f.NextBlock)
	for i, b := range f.Postorder() {
		place[b.ID] = int32(i) + 1
	}
	for _, b := range f.Blocks {
		for _, e := range b.Succs {
			if place[b.ID] > 0 && place[e.To.ID] >= place[b.ID] {
				return true
			}
		}
	}
	return false
}

// insert adds block n, whose only successor is before, to the loop.
func (l *Loop) insert(n, before *Block) {
	for len(l.has) <= int(n.ID) {
		l.has = append(l.has, false)
	}
	l.has[n.ID] = true
	l.Blocks = slices.Insert(l.Blocks, slices.Index(l.Blocks, before), n)
}

// Loops finds the natural loops of f, inner ones before those around them. Edges into
// the middle of a loop form none.
func (f *Func) Loops(dom *DomTree) []*Loop {
	order := f.ReversePostorder()
	place := make([]int, f.NextBlock)
	for i, b := range order {
		place[b.ID] = i
	}
	by := map[ID]*Loop{}
	var loops []*Loop
	var preds [][]Pred
	for _, b := range order {
		for _, e := range b.Succs {
			if !dom.Dominates(e.To, b) {
				continue
			}
			if preds == nil {
				preds = f.Preds()
			}
			l := by[e.To.ID]
			if l == nil {
				l = &Loop{Head: e.To, Inner: true, Blocks: []*Block{e.To}, has: make([]bool, f.NextBlock)}
				l.has[e.To.ID] = true
				by[e.To.ID] = l
				loops = append(loops, l)
			}
			work := []*Block{b}
			for len(work) > 0 {
				x := work[len(work)-1]
				work = work[:len(work)-1]
				if l.has[x.ID] || !dom.Reachable(x) {
					continue
				}
				l.has[x.ID] = true
				l.Blocks = append(l.Blocks, x)
				for _, p := range preds[x.ID] {
					work = append(work, p.Block)
				}
			}
		}
	}
	for _, l := range loops {
		slices.SortFunc(l.Blocks, func(a, b *Block) int { return place[a.ID] - place[b.ID] })
		for _, b := range l.Blocks[1:] {
			if by[b.ID] != nil {
				l.Inner = false
			}
		}
	}
	slices.SortStableFunc(loops, func(a, b *Loop) int { return len(a.Blocks) - len(b.Blocks) })
	return loops
}

// close routes the loop's values to blocks outside through block parameters, so that
// the loop can be copied (loop-closed SSA). It reports whether that is possible: each
// use outside must be dominated by one exit edge, or by a block that all exits lead
// to.
func (l *Loop) close(f *Func) bool {
	home := make([]*Block, f.NextID)
	for _, b := range l.Blocks {
		for _, v := range b.Params {
			home[v.ID] = b
		}
		for _, v := range b.Values {
			home[v.ID] = b
		}
	}
	// Split each exit edge whose target has other predecessors.
	preds := f.Preds()
	type use struct {
		at *Block
		v  **Value
	}
	var uses []use
	var exits []*Block
	for _, b := range l.Blocks {
		for i := range b.Succs {
			e := &b.Succs[i]
			if l.Has(e.To) || slices.Contains(exits, e.To) {
				continue
			}
			if slices.ContainsFunc(preds[e.To.ID], func(p Pred) bool { return !l.Has(p.Block) }) {
				n := f.NewBlock()
				n.PC = b.PC
				n.Jump(b.PC, e.To, e.Args...)
				*e = Edge{To: n}
				exits = append(exits, n)
				continue
			}
			exits = append(exits, e.To)
		}
	}
	for _, b := range f.Blocks {
		if l.Has(b) {
			continue
		}
		b.Operands(func(v **Value) {
			if int((*v).ID) < len(home) && home[(*v).ID] != nil {
				uses = append(uses, use{b, v})
			}
		})
	}
	dom := f.Dominators()
	preds = f.Preds()
	exitOf := func(u use) *Block {
		for _, x := range exits {
			if !dom.Dominates(x, u.at) {
				continue
			}
			for _, p := range preds[x.ID] {
				if !dom.Dominates(home[(*u.v).ID], p.Block) {
					return nil
				}
			}
			return x
		}
		return nil
	}
	for _, u := range uses {
		if exitOf(u) == nil {
			return false
		}
	}
	type key struct{ exit, v ID }
	params := map[key]*Value{}
	for _, u := range uses {
		x, v := exitOf(u), *u.v
		k := key{x.ID, v.ID}
		if params[k] == nil {
			params[k] = f.NewParam(x, v.Type, v.PC)
			for _, p := range preds[x.ID] {
				e := p.Edge()
				e.Args = append(slices.Clip(e.Args), v)
			}
		}
		*u.v = params[k]
	}
	return true
}
