package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// advance fills the empty slots of swaps with instructions of later blocks: first from
// the fall-through successor, then from the branch's target. An otherwise empty slot
// costs nothing, whichever path is taken, and the instruction's old place is free.
// Only resources that are dead on all other paths may be written early, and blocks
// with other predecessors keep their instructions.
func advance(f *Func) {
	a := &advancer{f: f, live: liveAtStart(f), preds: f.predecessors()}
	for i := len(f.Blocks) - 1; i >= 0; i-- {
		a.block(f.Blocks[i])
	}
}

type advancer struct {
	f     *Func
	live  []resSet // by block: live resources at its start
	preds [][]int32
}

// block fills the slots of the swaps in b, the last first.
func (a *advancer) block(b *Block) {
	var swaps []int
	b.bundles(func(i, _ int) {
		if b.Insts[i].Swaps() {
			swaps = append(swaps, i)
		}
	})
	slices.Reverse(swaps)
	for _, i := range swaps {
		a.swap(b, i)
	}
}

// swap fills the slots of the swap at i of b.
func (a *advancer) swap(b *Block, i int) {
	end := i + 1
	for end < len(b.Insts) && b.Insts[end].Glue {
		end++
	}
	room := nfp.SwapSlots - (end - i - 1)
	if room <= 0 || b.Insts[i].Call != nil || b.Insts[i].Inst.Slots() != end-i-1 {
		return
	}
	c := &climb{a: a, room: room}
	for k := i; k < end; k++ {
		c.pass(&b.Insts[k])
	}
	c.block(b, end, 0)
	if len(c.found) == 0 {
		return
	}
	for k := range c.found {
		c.found[k].Glue = true
	}
	b.Insts = slices.Insert(b.Insts, end, c.found...)
	s := &b.Insts[i]
	n := uint8(end - i - 1 + len(c.found))
	if s.Op == nfp.OpCmd {
		s.Cmd.Ctx = n
	} else {
		s.Defer = n
	}
}

// climb is a walk from a swap to the instructions that could fill its slots.
type climb struct {
	a      *advancer
	room   int
	passed effects // of what stands between
	taken  effects // of what was found
	aside  resSet  // live on the paths that branch off
	found  []Inst
}

func (c *climb) pass(in *Inst) { c.passed.join(effectOf(in)) }

func (e *effects) join(o effects) {
	for w := range e.reads {
		e.reads[w] |= o.reads[w]
		e.writes[w] |= o.writes[w]
	}
}

// climbReach is the number of blocks after a swap that are searched.
const climbReach = 4

// block searches b from instruction from on, then its successors that have no other
// predecessor.
func (c *climb) block(b *Block, from, depth int) {
	for i := from; i < len(b.Insts) && c.room > 0; {
		j := i + 1
		for j < len(b.Insts) && b.Insts[j].Glue {
			j++
		}
		bundle := b.Insts[i:j]
		if c.takes(bundle) {
			for k := range bundle {
				c.found = append(c.found, early(bundle[k]))
				c.taken.join(effectOf(&bundle[k]))
			}
			c.room -= len(bundle)
			b.Insts = slices.Delete(b.Insts, i, j)
			continue
		}
		for k := range bundle {
			in := &bundle[k]
			if in.Call != nil || in.Swaps() || in.Op == nfp.OpCSRWrite {
				return
			}
			c.pass(in)
		}
		i = j
	}
	if depth == climbReach || c.room == 0 {
		return
	}
	to := int32(-1)
	if br := b.branch(); br != nil {
		to = br.To
	}
	for _, way := range [...][2]int32{{b.Next, to}, {to, b.Next}} {
		next, other := way[0], way[1]
		if next < 0 || len(c.a.preds[next]) != 1 || c.a.f.Blocks[next].Depth > b.Depth {
			continue
		}
		at := *c
		if other >= 0 {
			for w, x := range c.a.live[other] {
				at.aside[w] |= x
			}
		}
		at.block(c.a.f.Blocks[next], 0, depth+1)
		c.found, c.taken, c.room = at.found, at.taken, at.room
		c.passed.join(c.taken) // the other path executes what this one took
	}
}

// early returns an instruction in the form for a slot, in which it does not set
// condition codes.
func early(in Inst) Inst {
	if in.DeadCC && in.WritesCC() {
		in.Flags |= nfp.NoCC
	}
	return in
}

// takes reports whether a bundle may move to the slots.
func (c *climb) takes(bundle []Inst) bool {
	if len(bundle) > c.room {
		return false
	}
	var all effects
	for k := range bundle {
		in := early(bundle[k])
		if !in.Computes() || in.Return || in.A.Mod != 0 || in.B.Mod != 0 || in.Dst.Mod != 0 {
			return false
		}
		all.join(effectOf(&in))
	}
	return !all.writes.meets(&c.passed.reads) && !all.writes.meets(&c.passed.writes) && !all.reads.meets(&c.passed.writes) &&
		!all.writes.meets(&c.aside)
}
