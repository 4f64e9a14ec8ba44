package ir

// Postorder returns the blocks reachable from the entry, each after its successors,
// back edges aside.
func (f *Func) Postorder() []*Block {
	if len(f.Blocks) == 0 {
		return nil
	}
	type frame struct {
		block *Block
		next  int
	}
	seen := make([]bool, f.NextBlock)
	order := make([]*Block, 0, len(f.Blocks))
	stack := []frame{{block: f.Blocks[0]}}
	seen[f.Blocks[0].ID] = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		if top.next == len(top.block.Succs) {
			order = append(order, top.block)
			stack = stack[:len(stack)-1]
			continue
		}
		to := top.block.Succs[top.next].To
		top.next++
		if !seen[to.ID] {
			seen[to.ID] = true
			stack = append(stack, frame{block: to})
		}
	}
	return order
}

// ReversePostorder returns the blocks reachable from the entry, each before
// those that can be reached from it, loops aside: dominators come first.
func (f *Func) ReversePostorder() []*Block {
	order := f.Postorder()
	for i, j := 0, len(order)-1; i < j; i, j = i+1, j-1 {
		order[i], order[j] = order[j], order[i]
	}
	return order
}

// Pred is one edge into a block: Block.Succs[Index].
type Pred struct {
	Block *Block
	Index int
}

// Edge returns the edge itself, whose Args may be changed.
func (p Pred) Edge() *Edge { return &p.Block.Succs[p.Index] }

// Preds returns the edges into each block, by block number.
func (f *Func) Preds() [][]Pred {
	preds := make([][]Pred, f.NextBlock)
	count, edges := make([]int32, f.NextBlock), 0
	for _, b := range f.Blocks {
		for i := range b.Succs {
			count[b.Succs[i].To.ID]++
			edges++
		}
	}
	room := make([]Pred, edges)
	for id, n := range count {
		if n > 0 {
			preds[id], room = room[:0:n], room[n:]
		}
	}
	for _, b := range f.Blocks {
		for i, e := range b.Succs {
			preds[e.To.ID] = append(preds[e.To.ID], Pred{b, i})
		}
	}
	return preds
}
