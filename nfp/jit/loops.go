package jit

import (
	"sort"

	"github.com/nfpkit/nfpkit/ir"
)

// loopDepths counts for each block the loops around it, by block number: the
// bodies of back edges, found by walking predecessors.
func loopDepths(f *ir.Func, order []*ir.Block) []int32 {
	depth := make([]int32, f.NextBlock)
	place := make([]int, f.NextBlock)
	for i, b := range order {
		place[b.ID] = i
	}
	preds := f.Preds()
	dom := f.Dominators()
	heads := map[ir.ID][]*ir.Block{}
	for _, b := range order {
		for _, e := range b.Succs {
			if dom.Dominates(e.To, b) {
				heads[e.To.ID] = append(heads[e.To.ID], b)
			}
		}
	}
	ids := make([]ir.ID, 0, len(heads))
	for id := range heads {
		ids = append(ids, id)
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	mark := make([]ir.ID, f.NextBlock)
	for _, id := range ids {
		stamp := id + 1
		mark[id] = stamp
		depth[id]++
		stack := append([]*ir.Block(nil), heads[id]...)
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
