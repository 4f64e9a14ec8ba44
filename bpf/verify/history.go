package verify

import "math/bits"

// A history is the set of states seen at a loop's head since the loop was entered.
type history struct {
	base   int32            // graph nodes below belong to states before the loop
	hashes map[uint64]int32 // of every state -> its node
	recent []*state         // copies of the latest, a ring
	at     int
	wide   []*state // widening: one hull per shape
}

// recentStates bounds the number of states with which a state at a loop head is
// compared. Of older ones only the hash is kept, by which infinite loops are
// found but no state is dropped.
const recentStates = 16

func newHistory(base int) *history {
	return &history{base: int32(base), hashes: map[uint64]int32{}}
}

// A node is a state at a loop head, or a merge; from are the nodes it came from.
// More of them are in explorer.dropped.
type node struct {
	from [2]int32
	mark int32 // last search that came by
}

func (x *explorer) newNode(a, b int32) int32 {
	x.nodes = append(x.nodes, node{from: [2]int32{a, b}})
	return int32(len(x.nodes) - 1)
}

// join2 returns the node of a state that two were merged to.
func (x *explorer) join2(a, b int32) int32 {
	if a == b {
		return a
	}
	return x.newNode(a, b)
}

// ancestor reports whether node a leads to node n by nodes from base on. A
// search that takes too long returns true, which only prevents pruning.
func (x *explorer) ancestor(a, n, base int32) bool {
	if a == n {
		return true
	}
	x.search++
	stack := append(x.stack[:0], n)
	limit := 10000
	for len(stack) > 0 {
		n = stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		d := &x.nodes[n]
		if n == a || limit == 0 {
			x.stack = stack
			return true
		}
		if n < base || d.mark == x.search {
			continue
		}
		d.mark = x.search
		limit--
		stack = append(append(stack, d.from[:]...), x.dropped[n]...)
	}
	x.stack = stack
	return false
}

// revisits reports whether s, of the given hash, equals one of its own ancestors.
func (x *explorer) revisits(h *history, s *state, hash uint64) bool {
	n, ok := h.hashes[hash]
	return ok && x.ancestor(n, s.node, h.base)
}

// seen reports whether s is covered by an earlier state that does not lead to it.
func (x *explorer) seen(h *history, s *state) bool {
	for k := range h.recent {
		t := h.recent[(h.at-1-k+2*len(h.recent))%len(h.recent)]
		if x.covers(t, s) && !x.ancestor(t.node, s.node, h.base) {
			x.dropped[t.node] = append(x.dropped[t.node], s.node)
			return true
		}
	}
	return false
}

// remember adds s, of the given hash, to h.
func (x *explorer) remember(h *history, s *state, hash uint64) {
	s.node = x.newNode(s.node, s.node)
	h.hashes[hash] = s.node
	c := x.clone(s)
	if len(h.recent) < recentStates {
		h.recent = append(h.recent, c)
		h.at = len(h.recent) % recentStates
		return
	}
	x.drop(h.recent[h.at])
	h.recent[h.at] = c
	h.at = (h.at + 1) % recentStates
}

// widen merges s into the hull of its shape. It returns nil if s adds nothing.
func (x *explorer) widen(h *history, s *state) *state {
	var t *state
	for _, w := range h.wide {
		if x.covers(w, s) {
			x.drop(s)
			return nil
		}
		if _, ok := distance(w, s); ok && t == nil {
			t = w
		}
	}
	if t == nil && len(h.wide) < 8 {
		h.wide = append(h.wide, x.clone(s))
		return s
	}
	if t == nil {
		t = h.wide[len(h.wide)-1]
	}
	x.merge(t, s, true)
	x.drop(s)
	return x.clone(t)
}

// hash is over everything that covers compares, with ids numbered by order of
// appearance. It omits deltas: a loop in which only they change does not end
// either.
func (s *state) hash() uint64 {
	h := hasher{sum: 14695981039346656037}
	for r := range s.regs[:10] {
		h.val(&s.regs[r])
	}
	for i := 0; i <= s.cur; i++ {
		f := s.frames[i]
		h.word(uint64(f.call)<<32 | uint64(len(f.slots)))
		for r := range f.saved {
			h.val(&f.saved[r])
		}
		for k := range f.slots {
			l := &f.slots[k]
			h.word(uint64(l.n)<<16 | uint64(l.written)<<8 | uint64(l.zero))
			if l.n > 0 {
				h.val(l.v)
			}
		}
	}
	return h.sum
}

type hasher struct {
	sum uint64
	ids []uint32
}

func (h *hasher) word(v uint64) {
	hi, lo := bits.Mul64(h.sum^v, 0x9e3779b97f4a7c15)
	h.sum = hi ^ lo ^ bits.RotateLeft64(v, 31)
}

func (h *hasher) val(v *val) {
	h.word(uint64(v.kind) | uint64(uint8(v.frame))<<8 | uint64(v.past)<<56 ^ uint64(uint16(v.set))<<16 | uint64(uint32(v.off))<<32)
	if v.kind == NotInit {
		return
	}
	id := uint64(0)
	if v.id != 0 {
		for id = 0; id < uint64(len(h.ids)) && h.ids[id] != v.id; id++ {
		}
		if id == uint64(len(h.ids)) {
			h.ids = append(h.ids, v.id)
		}
		id++
	}
	h.word(uint64(uint32(v.rng))<<32 | id)
	if v.stale != 0 {
		h.word(uint64(v.stale)<<32 | uint64(uint32(v.delta)))
	}
	h.word(v.n.bits.Value)
	if v.n.bits.Mask == 0 {
		return
	}
	h.word(v.n.bits.Mask)
	h.word(v.n.w.ulo)
	h.word(v.n.w.uhi)
	h.word(uint64(v.n.w.slo))
	h.word(uint64(v.n.w.shi))
	h.word(uint64(v.n.h.ulo)<<32 | uint64(v.n.h.uhi))
	h.word(uint64(uint32(v.n.h.slo))<<32 | uint64(uint32(v.n.h.shi)))
}
