package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// cleanFlow removes copies within one register, empty blocks, branches with two equal
// targets and unreachable blocks. It merges a block with its only successor if that
// has no other predecessor, so that schedule has more choice.
func cleanFlow(f *Func) {
	dropPointerWrites(f)
	for _, b := range f.Blocks {
		b.Insts = slices.DeleteFunc(b.Insts, func(in Inst) bool { return in.Drop })
	}
	through := passThrough(f)
	for _, b := range f.Blocks {
		if b.Next >= 0 {
			b.Next = through[b.Next]
		}
		if in := b.branch(); in != nil {
			in.To = through[in.To]
			if in.To == b.Next {
				b.Insts = b.Insts[:len(b.Insts)-1]
			}
		}
	}
	preds := f.predecessors()
	for i, b := range f.Blocks {
		for i == 0 || len(preds[i]) > 0 {
			if b.branch() != nil || b.Next <= 0 || b.Next == int32(i) || len(preds[b.Next]) != 1 {
				break
			}
			next := f.Blocks[b.Next]
			b.Insts = append(b.Insts, next.Insts...)
			b.Next = next.Next
			next.Insts, next.Next = nil, -1
		}
	}
	f.keepReached()
}

// branch returns the block's branch to another block, nil if it has none.
func (b *Block) branch() *Inst {
	if n := len(b.Insts); n > 0 && b.Insts[n-1].To >= 0 {
		return &b.Insts[n-1]
	}
	return nil
}

// predecessors are the blocks that lead to each block that is reached; that of
// the entry is -1.
func (f *Func) predecessors() [][]int32 {
	preds := make([][]int32, len(f.Blocks))
	seen := make([]bool, len(f.Blocks))
	stack := []int32{0}
	seen[0], preds[0] = true, []int32{-1}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		f.Blocks[n].Succs(func(t int32) {
			preds[t] = append(preds[t], n)
			if !seen[t] {
				seen[t] = true
				stack = append(stack, t)
			}
		})
	}
	return preds
}

// keepReached removes unreachable blocks and renumbers the rest.
func (f *Func) keepReached() {
	preds := f.predecessors()
	var order []int32
	for i := range f.Blocks {
		if i == 0 || len(preds[i]) > 0 {
			order = append(order, int32(i))
		}
	}
	f.reorder(order)
}

// reorder puts the blocks into the given order; others are removed.
func (f *Func) reorder(order []int32) {
	to := make([]int32, len(f.Blocks))
	blocks := make([]*Block, len(order))
	for i, n := range order {
		to[n] = int32(i)
		blocks[i] = f.Blocks[n]
	}
	for _, b := range blocks {
		if b.Next >= 0 {
			b.Next = to[b.Next]
		}
		if in := b.branch(); in != nil {
			in.To = to[in.To]
		}
	}
	f.Blocks = blocks
}

// passThrough returns, by block, the first block that is not empty on the path from
// it.
func passThrough(f *Func) []int32 {
	to := make([]int32, len(f.Blocks))
	for i := range to {
		n := int32(i)
		for range f.Blocks {
			b := f.Blocks[n]
			if b.Next < 0 || len(b.Insts) > 0 {
				break
			}
			n = b.Next
		}
		to[i] = n
	}
	return to
}

// dropPointerWrites removes writes of LM0 that are overwritten before a use: after a
// call whose key lay elsewhere LM0 is restored to the frame, which the rest of the
// program may not need.
func dropPointerWrites(f *Func) {
	live := make([]bool, len(f.Blocks)) // at each block's start
	walk := func(b *Block, drop bool) bool {
		on := false
		b.Succs(func(t int32) { on = on || live[t] })
		for i := len(b.Insts) - 1; i >= 0; i-- {
			in := &b.Insts[i]
			if in.Op == nfp.OpCSRWrite && in.Imm == PointerCSR[0] {
				if drop && !on && in.Base {
					in.Drop = true
				}
				on = false
				continue
			}
			on = on || looksThroughLM0(in)
		}
		return on
	}
	for changed := true; changed; {
		changed = false
		for i := len(f.Blocks) - 1; i >= 0; i-- {
			if on := walk(f.Blocks[i], false); on != live[i] {
				live[i], changed = on, true
			}
		}
	}
	for _, b := range f.Blocks {
		walk(b, true)
	}
}

// looksThroughLM0 reports whether an instruction needs LM0: as an operand, or a
// helper that finds its key there.
func looksThroughLM0(in *Inst) bool {
	for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
		if o.Kind == nfp.LM && o.Ptr == 0 {
			return true
		}
	}
	return in.Call != nil && in.Call.ReadsLM0
}
