package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// schedule reorders the instructions of each block to minimise stalls, by list
// scheduling (Gibbons and Muchnick). Dependences are those of physical registers,
// condition codes, pointers and memory. The priority is the longest path to the
// block's end, with the latencies of the chip's model. Then a command followed by its
// wait becomes a swap, and the slots of swaps and branches are filled with
// instructions that may execute late.
//
// Calls stay in place, bundles stay together, and accesses that may overlap keep their
// order.
func schedule(f *Func, m *nfp.Model) { (&scheduler{model: m}).blocks(f) }

// spread is schedule before waits are inserted: commands move up and uses of their
// results down, so that addWaits finds several outstanding at once.
func spread(f *Func, m *nfp.Model) { (&scheduler{model: m, early: true}).blocks(f) }

func (s *scheduler) blocks(f *Func) {
	for _, b := range f.Blocks {
		s.block(b)
	}
}

// schedNode is a bundle.
type schedNode struct {
	insts []Inst
	eff   effects
	Succs []schedEdge
	preds int
	rank  int32 // critical path to the region's end, in cycles
	start int32 // earliest cycle
}

type schedEdge struct {
	to  int32
	lat int32
}

type scheduler struct {
	model *nfp.Model
	early bool // no waits yet, and no slots
	nodes []schedNode
	last  [resCount]int32   // node that wrote a resource, -1 none
	users [resCount][]int32 // nodes that read it since
	out   []Inst
}

// maxRegion is the approximate number of instructions that are ordered at once.
// It keeps the time nearly linear in the length of blocks.
const maxRegion = 300

// block schedules the stretches between calls, the last with the block's branch.
func (s *scheduler) block(b *Block) {
	openExit(b)
	if len(b.Insts) < 2 {
		return
	}
	s.out = make([]Inst, 0, len(b.Insts)+2)
	from, live := 0, codesLive(b)
	b.bundles(func(i, j int) {
		end := j == len(b.Insts)
		if i-from >= maxRegion && !live[i] {
			s.region(b.Insts[from:i], nil, false)
			from = i
		}
		switch {
		case end && b.Insts[j-1].Branches():
			if j-i > 1 { // its slots are chosen
				s.region(b.Insts[from:i], nil, live[i])
				s.out = append(s.out, b.Insts[i:j]...)
			} else {
				s.region(b.Insts[from:i], &b.Insts[i], live[i])
			}
			from = j
		case hasCall(b.Insts[i:j]):
			s.region(b.Insts[from:i], nil, live[i])
			s.out = append(s.out, b.Insts[i:j]...)
			from = j
		case end:
			s.region(b.Insts[from:j], nil, false)
		}
	})
	b.Insts = s.out
}

// openExit removes the result word of an exit from the branch's bundle, so that
// it can be scheduled like any other instruction.
func openExit(b *Block) {
	n := len(b.Insts)
	if n == 0 || b.Insts[n-1].Reloc != nfp.RelocDone || b.Insts[n-1].ReadsCC() {
		return
	}
	br := &b.Insts[n-1]
	for k := n - 1; k > n-1-int(br.Slots); k-- {
		b.Insts[k].Glue = false
	}
	br.Slots, br.Defer, br.Glue = 0, 0, false
}

func hasCall(insts []Inst) bool {
	return slices.ContainsFunc(insts, func(in Inst) bool {
		return in.Call != nil || in.Op == nfp.OpCtxArb && in.Flags&nfp.Breakpoint != 0
	})
}

// region schedules instructions between two barriers; br is the branch that ends the
// block, nil if none does; codes says that condition codes are live after them.
func (s *scheduler) region(insts []Inst, br *Inst, codes bool) {
	s.build(insts, codes)
	order := s.list()
	var slots []int32
	if !s.early {
		order = s.fuseWaits(order)
		order, slots = s.branchSlots(order, br)
	}
	first := len(s.out)
	s.emit(order)
	behind := len(s.out)
	s.emit(slots)
	inSlots := keepCodes(s.out[behind:], false)
	keepCodes(s.out[first:behind], codes || inSlots)
	if br == nil {
		return
	}
	for k := behind + 1; k < len(s.out); k++ {
		s.out[k].Glue = true
	}
	end := *br
	n := uint8(len(s.out) - behind)
	end.Slots, end.Defer, end.Glue = n, n, n > 0
	s.out = append(s.out, end)
}

// build creates the nodes and their dependences.
func (s *scheduler) build(insts []Inst, codes bool) {
	s.nodes = s.nodes[:0]
	for i := 0; i < len(insts); {
		j := i + 1
		for j < len(insts) && insts[j].Glue {
			j++
		}
		s.nodes = append(s.nodes, schedNode{insts: insts[i:j:j], eff: effectsOf(insts[i:j])})
		i = j
	}
	s.dropDeadCodes(codes)
	for i := range s.nodes {
		if n := &s.nodes[i]; s.early && n.command() != nil {
			n.eff.writes.add(resCodes) // the wait for it must not come between codes and their use
		}
	}
	for r := range s.last {
		s.last[r] = -1
		s.users[r] = s.users[r][:0]
	}
	var memory []int32
	for i := range s.nodes {
		n := &s.nodes[i]
		eachResource(&n.eff.reads, func(r int) {
			if w := s.last[r]; w >= 0 {
				s.edge(w, int32(i), s.latency(w, r))
			}
			s.users[r] = append(s.users[r], int32(i))
		})
		eachResource(&n.eff.writes, func(r int) {
			if w := s.last[r]; w >= 0 && w != int32(i) {
				s.edge(w, int32(i), s.latency(w, r))
			}
			for _, u := range s.users[r] {
				if u != int32(i) {
					s.edge(u, int32(i), s.release(u, r))
				}
			}
			s.last[r], s.users[r] = int32(i), s.users[r][:0]
			if n.eff.reads.has(r) {
				s.users[r] = append(s.users[r], int32(i))
			}
		})
		if c := n.command(); c != nil {
			for _, k := range memory {
				if before := s.nodes[k].command(); before.Mem.conflicts(&c.Mem) {
					s.edge(k, int32(i), 1)
				}
			}
			memory = append(memory, int32(i))
		}
	}
}

func eachResource(set *resSet, do func(r int)) {
	for k, w := range set {
		for r := 64 * k; w != 0; r, w = r+1, w>>1 {
			if w&1 != 0 {
				do(r)
			}
		}
	}
}

// command returns the bundle's memory command, nil if it has none.
func (n *schedNode) command() *Inst {
	for i := range n.insts {
		if n.insts[i].Op == nfp.OpCmd {
			return &n.insts[i]
		}
	}
	return nil
}

func (n *schedNode) isWait() bool { return n.insts[0].Op == nfp.OpCtxArb }

func (s *scheduler) edge(from, to, lat int32) {
	n := &s.nodes[from]
	for i := range n.Succs {
		if n.Succs[i].to == to {
			n.Succs[i].lat = max(n.Succs[i].lat, lat)
			return
		}
	}
	n.Succs = append(n.Succs, schedEdge{to, lat})
	s.nodes[to].preds++
}

// latency returns the cycles from a node that writes a resource to its first use.
func (s *scheduler) latency(from int32, r int) int32 {
	n := &s.nodes[from]
	size := int32(len(n.insts))
	switch {
	case r >= resPointer && r < resPointer+4 && n.insts[len(n.insts)-1].Op == nfp.OpCSRWrite:
		return size + PointerDelay
	case r >= resSignal && r < resSignal+16, r >= resIn && r < resIn+32 && s.early:
		if c := n.command(); c != nil {
			return size + s.memory(c)
		}
	}
	return size
}

// release is the cycles from a node that reads a resource to one that writes it.
func (s *scheduler) release(from int32, r int) int32 {
	if s.early && r >= resOut && r < resOut+32 {
		if c := s.nodes[from].command(); c != nil {
			return s.memory(c)
		}
	}
	return 1
}

// memory is the cycles from a command to its signal.
func (s *scheduler) memory(c *Inst) int32 {
	unit := &s.model.EMEM
	if c.Cmd.Mode == 4 {
		unit = &s.model.CTM
	}
	switch {
	case c.In != 0 && c.Out != 0:
		return int32(unit.Atomic)
	case c.Out != 0:
		return int32(unit.Write)
	}
	return int32(unit.Read)
}

// dropDeadCodes removes dead condition codes from the nodes' writes, so that they do
// not restrict the order.
func (s *scheduler) dropDeadCodes(live bool) {
	for i := len(s.nodes) - 1; i >= 0; i-- {
		n := &s.nodes[i]
		if n.isWait() {
			continue
		}
		if n.eff.writes.has(resCodes) {
			if !live {
				for k := range n.insts {
					n.insts[k].DeadCC = true
				}
				n.eff.writes[resCodes/64] &^= 1 << (resCodes % 64)
			}
			live = false
		}
		live = live || n.eff.reads.has(resCodes)
	}
}

// list is the nodes in their new order.
func (s *scheduler) list() []int32 {
	for i := len(s.nodes) - 1; i >= 0; i-- {
		n := &s.nodes[i]
		n.rank = int32(len(n.insts))
		for _, e := range n.Succs {
			n.rank = max(n.rank, e.lat+s.nodes[e.to].rank)
		}
	}
	var ready []int32
	for i := range s.nodes {
		if s.nodes[i].preds == 0 {
			ready = append(ready, int32(i))
		}
	}
	order := make([]int32, 0, len(s.nodes))
	now := int32(0)
	for len(ready) > 0 {
		best := 0
		for k := 1; k < len(ready); k++ {
			if s.before(ready[k], ready[best], now) {
				best = k
			}
		}
		x := ready[best]
		ready = slices.Delete(ready, best, best+1)
		n := &s.nodes[x]
		now = max(now, n.start)
		order = append(order, x)
		for _, e := range n.Succs {
			t := &s.nodes[e.to]
			t.start = max(t.start, now+e.lat)
			if t.preds--; t.preds == 0 {
				ready = append(ready, e.to)
			}
		}
		now += int32(len(n.insts))
	}
	return order
}

// before reports whether x is scheduled before y at cycle now. A ready one comes
// first, then the one with the longer critical path, then the earlier one.
func (s *scheduler) before(x, y, now int32) bool {
	a, b := &s.nodes[x], &s.nodes[y]
	late := func(n *schedNode) int32 { return max(n.start-now, 0) }
	switch {
	case late(a) != late(b):
		return late(a) < late(b)
	case a.rank != b.rank:
		return a.rank > b.rank
	}
	return x < y
}

// emit appends nodes in order.
func (s *scheduler) emit(order []int32) {
	for _, x := range order {
		s.out = append(s.out, s.nodes[x].insts...)
	}
}

// keepCodes marks the instructions between a definition of condition codes and its
// use, so that they leave the codes alone. live reports whether the codes are live
// after the instructions, the result whether they are live before.
func keepCodes(insts []Inst, live bool) bool {
	for i := len(insts) - 1; i >= 0; i-- {
		in := &insts[i]
		switch {
		case in.WritesCC() && !in.DeadCC:
			live = false
		case in.WritesCC() && live:
			in.Flags |= nfp.NoCC
		}
		live = live || in.ReadsCC()
	}
	return live
}
