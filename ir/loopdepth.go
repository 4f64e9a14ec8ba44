package ir

import "sort"

// LoopDepths returns, by block number, in how many loops each block of order lies.
// order is in reverse postorder.
func (f *Func) LoopDepths(order []*Block) []int32 {
	depth := make([]int32, f.NextBlock)
	place := make([]int, f.NextBlock)
	for i, b := range order {
		place[b.ID] = i
	}
	preds := f.Preds()
	dom := f.Dominators()
	heads := map[ID][]*Block{}
	for _, b := range order {
		for _, e := range b.Succs {
			if dom.Dominates(e.To, b) {
				heads[e.To.ID] = append(heads[e.To.ID], b)
			}
		}
	}
	ids := make([]ID, 0, len(heads))
	for id := range heads {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	mark := make([]ID, f.NextBlock)
	for _, id := range ids {
		stamp := id + 1
		mark[id] = stamp
		depth[id]++
		stack := append([]*Block(nil), heads[id]...)
		for len(stack) > 0 {
			b := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if mark[b.ID] == stamp {
				continue
			}
			mark[b.ID] = stamp
			depth[b.ID]++
			for _, p := range preds[b.ID] {
				stack = append(stack, p.Block)
			}
		}
	}
	return depth
}
