package mach

import (
	"math/bits"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// Delay slots: instructions after a swap or a branch that execute before it takes
// effect. An empty slot is a stall cycle.

// mayDefer reports whether a bundle may move to slots. It must not branch or swap,
// move a pointer, whose delay is counted in words, or issue a command that has a
// wait.
func (n *schedNode) mayDefer() bool {
	for i := range n.insts {
		in := &n.insts[i]
		if in.Swaps() || in.Return || !in.Computes() && (in.Op != nfp.OpCmd || in.Cmd.Sig != 0) {
			return false
		}
	}
	return true
}

// fuseReach is the largest number of words between a command and its wait for
// which the two are fused. Their overlap is lost, and the wait's word is saved.
const fuseReach = 8

// fuseWaits replaces a command and the only wait for it by a command that swaps, with
// the instructions between them as its slots and the rest after it. Other waits take
// the instructions before them as slots.
func (s *scheduler) fuseWaits(order []int32) []int32 {
	waits := slices.DeleteFunc(slices.Clone(order), func(x int32) bool { return !s.nodes[x].isWait() })
	for _, x := range waits {
		k := slices.Index(order, x)
		if fused, ok := s.fuseWait(order, k); ok {
			order = fused
		} else {
			order = s.waitSlots(order, k)
		}
	}
	return order
}

// commandOf returns the position of the last command for which wait k waits, -1 if
// there is none in the region.
func (s *scheduler) commandOf(order []int32, k int) int {
	due := s.nodes[order[k]].insts[0].Imm
	for c := k - 1; c >= 0; c-- {
		if in := s.nodes[order[c]].command(); in != nil && due>>in.Cmd.Sig&1 != 0 {
			return c
		}
	}
	return -1
}

func (s *scheduler) fuseWait(order []int32, k int) ([]int32, bool) {
	wait := &s.nodes[order[k]]
	c := s.commandOf(order, k)
	if c < 0 || bits.OnesCount32(wait.insts[0].Imm) != 1 || len(s.nodes[order[c]].insts) != 1 || k-c-1 > fuseReach {
		return nil, false
	}
	cmd := &s.nodes[order[c]]
	var slots, rest []int32
	room := nfp.SwapSlots
	for _, x := range order[c+1 : k] {
		n := &s.nodes[x]
		c := n.command() // carried out before the one whose slots these are
		overtakes := c != nil && c.Mem.conflicts(&cmd.insts[0].Mem)
		if len(n.insts) <= room && n.mayDefer() && !overtakes && !s.dependsOn(x, rest) {
			slots = append(slots, x)
			room -= len(n.insts)
		} else {
			rest = append(rest, x)
		}
	}
	if s.dependsOn(order[k], rest) || slices.ContainsFunc(rest, func(x int32) bool { return s.nodes[x].command() != nil }) {
		return nil, false // it would keep other commands back
	}
	insts := slices.Clone(cmd.insts)
	insts[0].Cmd.Ctx = uint8(nfp.SwapSlots - room)
	insts[0].In |= wait.insts[0].In
	cmd.insts = insts
	cmd.Succs = append(cmd.Succs, wait.Succs...) // it is the wait from now on
	s.takeSlots(cmd, slots)
	out := append(slices.Clone(order[:c+1]), rest...)
	return append(out, order[k+1:]...), true
}

// dependsOn reports whether x must follow any of list.
func (s *scheduler) dependsOn(x int32, list []int32) bool {
	for _, y := range list {
		for _, e := range s.nodes[y].Succs {
			if e.to == x {
				return true
			}
		}
	}
	return false
}

// takeSlots puts nodes into the slots of a swap; nodes that depend on them then
// depend on the swap.
func (s *scheduler) takeSlots(n *schedNode, slots []int32) {
	for _, x := range slots {
		for _, in := range s.nodes[x].insts {
			in.Glue = true
			n.insts = append(n.insts, in)
		}
		n.Succs = append(n.Succs, s.nodes[x].Succs...)
	}
}

// waitSlots moves the words before wait k into its slots.
func (s *scheduler) waitSlots(order []int32, k int) []int32 {
	first, room := k, nfp.SwapSlots
	for first > 0 {
		n := &s.nodes[order[first-1]]
		if len(n.insts) > room || !n.mayDefer() {
			break
		}
		first--
		room -= len(n.insts)
	}
	wait := &s.nodes[order[k]]
	wait.insts = slices.Clone(wait.insts)
	wait.insts[0].Defer = uint8(nfp.SwapSlots - room)
	s.takeSlots(wait, order[first:k])
	return append(slices.Clone(order[:first]), order[k:]...)
}

// branchReach is the number of instructions that branchSlots considers.
const branchReach = 24

// branchSlots removes from the end of order the instructions that fill the
// branch's slots: those on which the branch does not depend.
func (s *scheduler) branchSlots(order []int32, br *Inst) (rest, slots []int32) {
	if br == nil {
		return order, nil
	}
	room := br.MaxDefer()
	var needs effects // reads of the branch itself, without those of its target
	needs.operand(br.A, true, false)
	if br.ReadsCC() {
		needs.reads.add(resCodes)
	}
	moved := map[int32]bool{}
	for i := len(order) - 1; i >= 0 && i >= len(order)-branchReach && room > 0; i-- {
		x := order[i]
		n := &s.nodes[x]
		if len(n.insts) > room || !n.mayDefer() || n.eff.writes.meets(&needs.reads) ||
			slices.ContainsFunc(n.Succs, func(e schedEdge) bool { return !moved[e.to] }) {
			continue
		}
		moved[x] = true
		room -= len(n.insts)
	}
	for _, x := range order {
		if moved[x] {
			slots = append(slots, x)
		} else {
			rest = append(rest, x)
		}
	}
	return rest, slots
}
