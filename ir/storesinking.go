package ir

import "slices"

// SinkStores moves stores to the packet and to map values down to joins, so that bytes
// that every path stores are stored once, and combines the stores that meet there
// (CombineStores). A store whose bytes one successor stores again before they are read
// moves to the other successor: partial dead code elimination of stores, after Knoop,
// Rüthing and Steffen, "Partial Dead Code Elimination" (1994). It works on the legal
// form.
//
//   - A store moves along paths on which it was executed, and never past an operation
//     that may read its bytes or write them through another address, an atomic in maps,
//     or a call. It therefore stays after the checks that it followed.
//   - A store before a branch moves to the join of all its paths if the join stores
//     adjacent bytes.
//   - Paths that store different words pass them as parameters.
//   - Nothing moves into a loop, or out of one along its back edge.
//   - No path executes more commands than before: of each run of bytes that a path
//     stores all move or none, except those that are stored again after the join.
func (f *Func) SinkStores() {
	if !f.twoBlocksStore() {
		return
	}
	s := &sinker{f: f, preds: f.Preds(), place: make([]int, f.NextBlock), dead: newDeadBytes(f), dom: f.Dominators()}
	if s.dead != nil {
		s.dead.run(false)
	}
	order := f.ReversePostorder()
	for i, b := range order {
		s.place[b.ID] = i + 1
	}
	for _, b := range order {
		if s.meets(b) {
			s.join(b)
			s.pull(b)
		}
		if s.dead != nil {
			s.split(b)
		}
	}
}

// twoBlocksStore reports whether two blocks store to the packet or to maps.
func (f *Func) twoBlocksStore() bool {
	n := 0
	for _, b := range f.Blocks {
		if slices.ContainsFunc(b.Values, sinkable) {
			n++
		}
	}
	return n > 1
}

// sinkable reports whether a value is a store that may move.
func sinkable(v *Value) bool {
	if v.Op != OpStore && v.Op != OpWrite || v.Space != Packet && v.Space != MapMem {
		return false
	}
	_, off := keyOf(v)
	return joins(v, off)
}

const (
	sinkLimit   = 8  // words that a join takes as parameters: they need registers
	sinkLook    = 64 // accesses at the end of a block that are examined
	sinkBetween = 32 // blocks that a store is pulled past
)

type sinker struct {
	f     *Func
	preds [][]Pred // by block number
	place []int    // by block number: position in reverse postorder, from 1; 0 for new blocks
	dead  *deadBytes
	dom   *DomTree // of the blocks that there were
}

// meets reports whether b is a join without incoming back edge.
func (s *sinker) meets(b *Block) bool {
	for _, p := range s.preds[b.ID] {
		if s.place[p.Block.ID] >= s.place[b.ID] {
			return false
		}
	}
	return len(s.preds[b.ID]) > 1
}

// trailing returns the stores of a block that can move to its end, in order and in
// groups of one base and memory. No store of a group must stay between two of
// another, so groups may move one by one.
func trailing(b *Block) []*storeGroup {
	var groups []*storeGroup
	var stay []*Value
	left := sinkLook
	for i := len(b.Values) - 1; i >= 0 && left > 0; i-- {
		v := b.Values[i]
		if isCall(v) {
			break
		}
		if v.Space != Packet && v.Space != MapMem {
			continue
		}
		left--
		stays := !sinkable(v) || slices.ContainsFunc(stay, func(w *Value) bool { return parts(v, w) })
		var key storeKey
		var off int64
		at := -1
		if !stays {
			key, off = keyOf(v)
			for i, g := range groups {
				if g.storeKey == key {
					at = i
					continue
				}
				stays = stays || slices.ContainsFunc(g.stores, func(s groupedStore) bool { return parts(v, s.v) })
			}
		}
		if stays {
			stay = append(stay, v)
			continue
		}
		if at < 0 {
			at = len(groups)
			groups = append(groups, &storeGroup{storeKey: key})
		}
		groups[at].stores = append(groups[at].stores, groupedStore{v, off})
	}
	for _, g := range groups {
		slices.Reverse(g.stores)
	}
	return groups
}

func isCall(v *Value) bool {
	return v.Op == OpCallHelper || v.Op == OpCallFunc || v.Op == OpTailCall
}

// parts reports whether store v must not move past access w, which is no call.
func parts(v, w *Value) bool {
	if v.Space != w.Space {
		return false
	}
	if w.Op == OpAtomic {
		return true
	}
	key, off := keyOf(v)
	other, at := keyOf(w)
	if key.base != other.base || key.hi != other.hi {
		if v.Space == Packet {
			return true
		}
		x, y := mapOf(key.base), mapOf(other.base)
		return x == "" || y == "" || x == y
	}
	size := int64(w.Size)
	if w.Op == OpRead {
		size = 4 * w.Int
	}
	return off < at+size && at < off+int64(v.Size)
}

// predStores has the stores of one group at the end of one predecessor of a join.
type predStores struct {
	from  *Block
	edge  *Edge
	group *storeGroup
	bytes map[int64]byteSource
}

// join sinks stores of bytes that all predecessors of b store.
func (s *sinker) join(b *Block) {
	preds := s.preds[b.ID]
	if slices.ContainsFunc(preds, func(p Pred) bool { return p.Block.Kind != TermJump }) {
		return
	}
	for _, g := range trailing(preds[0].Block) {
		joined := make([]predStores, 0, len(preds))
		for _, p := range preds {
			at := 0
			list := trailing(p.Block)
			for at < len(list) && list[at].storeKey != g.storeKey {
				at++
			}
			if at == len(list) {
				break
			}
			w := predStores{p.Block, p.Edge(), list[at], map[int64]byteSource{}}
			for i, st := range w.group.stores {
				for n := range int64(st.v.Size) {
					w.bytes[st.off+n] = sourceOf(i, st.v, n)
				}
			}
			joined = append(joined, w)
		}
		if len(joined) == len(preds) {
			s.sink(b, g.storeKey, joined)
		}
	}
}

// sunkWord is one store of the join: n bytes at an offset, a word at most.
type sunkWord struct {
	off    int64
	n      int
	differ bool // between paths
}

// sink moves the bytes of one group that all paths store.
func (s *sinker) sink(b *Block, key storeKey, joined []predStores) {
	again := storedAgain(b, key)
	common := map[int64]bool{}
	for off := range joined[0].bytes {
		common[off] = !again[off] && !slices.ContainsFunc(joined, func(w predStores) bool { _, ok := w.bytes[off]; return !ok })
	}
	words, params := wordsOf(key, joined, wholeRuns(joined, common, again))
	if len(words) == 0 || params > sinkLimit {
		return
	}
	e := newEditor(s.f)
	e.pc = joined[0].group.stores[0].v.PC
	for _, w := range words {
		w.store(e, key, w.value(e, b, joined))
	}
	b.Values = append(e.out, b.Values...)
	for _, w := range joined {
		gone := map[*Value]bool{}
		for _, st := range w.group.stores {
			gone[st.v] = true
			for n := range int64(st.v.Size) {
				gone[st.v] = gone[st.v] && (common[st.off+n] || again[st.off+n])
			}
		}
		w.from.Values = slices.DeleteFunc(w.from.Values, func(v *Value) bool { return gone[v] })
	}
}

// storedAgain returns the bytes of a group that b stores before anything may read
// them.
func storedAgain(b *Block, key storeKey) map[int64]bool {
	again, looked := map[int64]bool{}, map[int64]bool{}
	for _, v := range b.Values {
		switch {
		case isCall(v), v.Op == OpAtomic && v.Space == key.space:
			return again
		case v.Space != key.space:
		case v.Op == OpStore, v.Op == OpWrite:
			if k, off := keyOf(v); k == key {
				for n := range int64(v.Size) {
					again[off+n] = again[off+n] || !looked[off+n]
				}
			}
		default:
			k, off := keyOf(v)
			if k.base != key.base || k.hi != key.hi {
				return again
			}
			size := int64(v.Size)
			if v.Op == OpRead {
				size = 4 * v.Int
			}
			for n := range size {
				looked[off+n] = true
			}
		}
	}
	return again
}

// wholeRuns removes bytes from common so that each run of bytes that a path stores
// remains whole or not at all, and returns the rest in order.
func wholeRuns(joined []predStores, common, again map[int64]bool) []int64 {
	for changed := true; changed; {
		changed = false
		for _, w := range joined {
			offs := make([]int64, 0, len(w.bytes))
			for off := range w.bytes {
				offs = append(offs, off)
			}
			slices.Sort(offs)
			for len(offs) > 0 {
				n, stays, moves := 0, false, false
				for n == 0 || n < len(offs) && offs[n] == offs[n-1]+1 {
					moves = moves || common[offs[n]]
					stays = stays || !common[offs[n]] && !again[offs[n]]
					n++
				}
				for i := 0; i < n && stays && moves; i++ {
					common[offs[i]], changed = false, true
				}
				offs = offs[n:]
			}
		}
	}
	var offs []int64
	for off, is := range common {
		if is {
			offs = append(offs, off)
		}
	}
	slices.Sort(offs)
	return offs
}

// wordsOf divides bytes into words, those of maps at their word boundaries, and counts
// the words that differ between paths.
func wordsOf(key storeKey, joined []predStores, offs []int64) (words []sunkWord, params int) {
	for len(offs) > 0 {
		w := sunkWord{off: offs[0], n: 1}
		for w.n < min(4, len(offs)) && offs[w.n] == w.off+int64(w.n) && !(key.space == MapMem && offs[w.n]%4 == 0) {
			w.n++
		}
		first := w.sources(joined[0])
		for _, other := range joined[1:] {
			for i, src := range w.sources(other) {
				w.differ = w.differ || src.word != first[i].word || src.at != first[i].at || src.n != first[i].n
			}
		}
		if w.differ {
			params++
		}
		words = append(words, w)
		offs = offs[w.n:]
	}
	return words, params
}

func (w *sunkWord) sources(from predStores) []byteSource {
	list := make([]byteSource, w.n)
	for i := range list {
		list[i] = from.bytes[w.off+int64(i)]
	}
	return list
}

// value returns the word at the start of b: a parameter if the paths differ.
func (w *sunkWord) value(e *editor, b *Block, joined []predStores) *Value {
	if !w.differ {
		return e.assemble(w.sources(joined[0]))
	}
	here := e.out
	for _, from := range joined {
		e.out = from.from.Values
		x := e.assemble(w.sources(from))
		from.from.Values = e.out
		from.edge.Args = append(slices.Clip(from.edge.Args), x)
	}
	e.out = here
	return e.f.NewParam(b, I32, e.pc)
}

// store writes a word at the start of b.
func (w *sunkWord) store(e *editor, key storeKey, word *Value) {
	args := e.address(key.base, key.hi, w.off)
	op := OpStore
	if w.n == 3 {
		op = OpWrite
	}
	v := e.add(op, Void, append(args, word)...)
	v.Space, v.Size, v.Big = key.space, uint8(w.n), key.big
	if key.big {
		v.Align = 4
	}
}

// pull moves stores from the branch whose paths join at b down to b, if b stores the
// adjacent bytes.
func (s *sinker) pull(b *Block) {
	top := s.dom.Idom(b)
	if top == nil || top.Kind != TermBranch {
		return
	}
	var moved []*Value
	var between []*Block
	for _, g := range trailing(top) {
		beside := storedAgain(b, g.storeKey)
		for i, st := range g.stores {
			if !beside[st.off-1] && !beside[st.off+int64(st.v.Size)] ||
				slices.ContainsFunc(g.stores[i+1:], func(later groupedStore) bool { return parts(st.v, later.v) }) {
				continue
			}
			if between == nil {
				var ok bool
				if between, ok = s.region(top, b); !ok {
					return
				}
			}
			if !slices.ContainsFunc(between, func(x *Block) bool {
				return slices.ContainsFunc(x.Values, func(w *Value) bool { return isCall(w) || parts(st.v, w) })
			}) {
				moved = append(moved, st.v)
			}
		}
	}
	if len(moved) > 0 {
		top.Values = slices.DeleteFunc(top.Values, func(v *Value) bool { return slices.Contains(moved, v) })
		b.Values = append(moved, b.Values...)
	}
}

// region returns the blocks between a branch and the join of all its paths; false if a
// path leads elsewhere, or there are too many blocks.
func (s *sinker) region(top, b *Block) ([]*Block, bool) {
	var blocks []*Block
	in := map[*Block]bool{b: true}
	work := []*Block{b}
	for len(work) > 0 {
		x := work[len(work)-1]
		work = work[:len(work)-1]
		for _, p := range s.preds[x.ID] {
			if p.Block != top && !in[p.Block] {
				if len(blocks) == sinkBetween {
					return nil, false
				}
				in[p.Block] = true
				blocks = append(blocks, p.Block)
				work = append(work, p.Block)
			}
		}
	}
	for _, x := range append(blocks, top) {
		if len(x.Succs) == 0 || slices.ContainsFunc(x.Succs, func(e Edge) bool { return !in[e.To] }) {
			return nil, false
		}
	}
	return blocks, true
}

// split moves stores at the end of a branch whose bytes one successor stores again to
// the other successor. If that is a join, the edge gets a block of its own, provided
// that all other predecessors store the same bytes.
func (s *sinker) split(b *Block) {
	if b.Kind != TermBranch || b.Succs[0].To == b.Succs[1].To {
		return
	}
	for _, e := range b.Succs {
		if s.place[e.To.ID] <= s.place[b.ID] {
			return
		}
	}
	var moved [2][]*Value
	for _, g := range trailing(b) {
		for i, st := range g.stores {
			if slices.ContainsFunc(g.stores[i+1:], func(later groupedStore) bool { return parts(st.v, later.v) }) {
				continue
			}
			for edge := range 2 {
				to := b.Succs[edge].To
				if s.dead.deadAt(b.Succs[1-edge].To, st.v) && !s.dead.deadAt(to, st.v) && s.takes(b, to, st.v) {
					moved[edge] = append(moved[edge], st.v)
				}
			}
		}
	}
	for edge, list := range moved {
		if len(list) == 0 {
			continue
		}
		b.Values = slices.DeleteFunc(b.Values, func(v *Value) bool { return slices.Contains(list, v) })
		to := b.Succs[edge].To
		if len(s.preds[to.ID]) > 1 {
			to = s.between(b, edge)
		}
		to.Values = append(list, to.Values...)
	}
}

// takes reports whether an edge can receive a store.
func (s *sinker) takes(b, to *Block, v *Value) bool {
	key, off := keyOf(v)
	for _, p := range s.preds[to.ID] {
		if p.Block == b {
			continue
		}
		if p.Block.Kind != TermJump {
			return false
		}
		stored := int64(0)
		for _, g := range trailing(p.Block) {
			for n := range int64(v.Size) {
				if g.storeKey == key && slices.ContainsFunc(g.stores, func(st groupedStore) bool {
					return st.off <= off+n && off+n < st.off+int64(st.v.Size)
				}) {
					stored++
				}
			}
		}
		if stored < int64(v.Size) {
			return false
		}
	}
	return true
}

// between inserts a block on an edge out of b.
func (s *sinker) between(b *Block, edge int) *Block {
	n := s.f.NewBlock()
	n.PC = b.PC
	e := &b.Succs[edge]
	n.Jump(b.PC, e.To, e.Args...)
	list := s.preds[e.To.ID]
	at := slices.Index(list, Pred{b, edge})
	list[at] = Pred{n, 0}
	*e = Edge{To: n}
	s.preds = append(s.preds, []Pred{{b, edge}})
	s.place = append(s.place, 0)
	return n
}
