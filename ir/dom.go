package ir

// DomTree holds each block's immediate dominator and answers "does a dominate
// b" in constant time. It is valid until an edge or a block changes.
//
// Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
type DomTree struct {
	idom      []*Block // by block number; nil for the entry and for unreachable blocks
	pre, post []int32  // number of the block in pre- and postorder of the tree; 0 if unreachable
}

// Dominators computes the dominator tree of f.
func (f *Func) Dominators() *DomTree {
	order := f.ReversePostorder()
	d := &DomTree{
		idom: make([]*Block, f.NextBlock),
		pre:  make([]int32, f.NextBlock),
		post: make([]int32, f.NextBlock),
	}
	if len(order) == 0 {
		return d
	}
	index := make([]int32, f.NextBlock) // position in order, plus one
	for i, b := range order {
		index[b.ID] = int32(i) + 1
	}
	preds := f.Preds()
	meet := func(a, b *Block) *Block {
		for a != b {
			for index[a.ID] > index[b.ID] {
				a = d.idom[a.ID]
			}
			for index[b.ID] > index[a.ID] {
				b = d.idom[b.ID]
			}
		}
		return a
	}
	d.idom[order[0].ID] = order[0]
	for changed := true; changed; {
		changed = false
		for _, b := range order[1:] {
			var best *Block
			for _, p := range preds[b.ID] {
				switch {
				case index[p.Block.ID] == 0 || d.idom[p.Block.ID] == nil:
				case best == nil:
					best = p.Block
				default:
					best = meet(best, p.Block)
				}
			}
			if d.idom[b.ID] != best {
				d.idom[b.ID] = best
				changed = true
			}
		}
	}
	d.idom[order[0].ID] = nil
	d.number(order)
	return d
}

// number gives each block its time of entry and exit of a walk over the tree.
func (d *DomTree) number(order []*Block) {
	children := make([][]*Block, len(d.idom))
	for _, b := range order[1:] {
		p := d.idom[b.ID]
		children[p.ID] = append(children[p.ID], b)
	}
	var clock int32
	stack := []*Block{order[0]}
	for len(stack) > 0 {
		b := stack[len(stack)-1]
		clock++
		if d.pre[b.ID] == 0 {
			d.pre[b.ID] = clock
			stack = append(stack, children[b.ID]...)
			continue
		}
		d.post[b.ID] = clock
		stack = stack[:len(stack)-1]
	}
}

// Idom returns b's immediate dominator, nil for the entry and for unreachable
// blocks.
func (d *DomTree) Idom(b *Block) *Block { return d.idom[b.ID] }

// Reachable reports whether the entry leads to b.
func (d *DomTree) Reachable(b *Block) bool { return d.pre[b.ID] != 0 }

// Dominates reports whether every path from the entry to b contains a. A block
// dominates itself; an unreachable block dominates nothing else and is dominated by
// nothing else.
func (d *DomTree) Dominates(a, b *Block) bool {
	if a == b {
		return true
	}
	return d.Reachable(a) && d.Reachable(b) && d.pre[a.ID] <= d.pre[b.ID] && d.post[b.ID] <= d.post[a.ID]
}
