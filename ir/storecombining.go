package ir

import "slices"

// CombineStores replaces the stores of a block to constant offsets of one address, in
// the packet or a map value, by as few commands as can hold their bytes. Nothing
// between them may read those bytes. A command is placed at the last store that
// contributes to it. A byte stored twice is written once. It works on the legal form.
//
// A command moves up to eight bytes or up to eight 32-bit words, in maps from a
// multiple of four on. The bytes are divided so that the fewest instructions assemble
// the words; a store that remains a command of its own stays in place.
func (f *Func) CombineStores() {
	c := &combiner{f: f, writes: map[*Value][]combined{}, gone: map[*Value]bool{}}
	for _, b := range f.Blocks {
		c.survey(b)
	}
	if len(c.gone) > 0 {
		c.rewrite()
	}
}

// storeKey identifies the stores of a group.
type storeKey struct {
	space    Space
	base, hi *Value // hi is the address' high word, of maps
	big      bool
}

// storeGroup is a sequence of stores between which their bytes are not read.
type storeGroup struct {
	storeKey
	stores []groupedStore
}

type groupedStore struct {
	v   *Value
	off int64
}

// byteSource is the origin of a stored byte: byte at of word, or a constant if word is
// nil.
type byteSource struct {
	store int // of the group's
	word  *Value
	at    int64
	n     uint64 // the constant
}

// combined is a command that takes the place of stores.
type combined struct {
	storeKey
	off   int64
	bytes []byteSource
}

type combiner struct {
	f      *Func
	open   [MapMem + 1]*storeGroup
	writes map[*Value][]combined // by the store they follow
	gone   map[*Value]bool
}

// survey finds a block's groups. A group ends at operations that may read its bytes or
// write them through another address, and at calls.
func (c *combiner) survey(b *Block) {
	for _, v := range b.Values {
		shared := v.Space == Packet || v.Space == MapMem
		switch {
		case v.Op == OpCallHelper, v.Op == OpCallFunc, v.Op == OpTailCall:
			c.close(Packet)
			c.close(MapMem)
		case !shared:
		case v.Op == OpStore, v.Op == OpWrite:
			c.store(v)
		case c.open[v.Space] == nil, (v.Op == OpLoad || v.Op == OpRead) && c.open[v.Space].misses(v):
		default:
			c.close(v.Space)
		}
	}
	c.close(Packet)
	c.close(MapMem)
}

// keyOf returns the group that an access belongs to, and its offset in it.
func keyOf(v *Value) (storeKey, int64) {
	base, off := split(v.Args[0])
	key := storeKey{space: v.Space, base: base, big: v.Big}
	if v.Space == MapMem {
		key.hi = mapHigh(v.Args[1])
	}
	return key, off
}

// misses reports whether a load reads none of the group's bytes.
func (g *storeGroup) misses(v *Value) bool {
	key, off := keyOf(v)
	if key.base != g.base || key.hi != g.hi {
		return false
	}
	end := off + int64(v.Size)
	if v.Op == OpRead {
		end = off + 4*v.Int
	}
	return !slices.ContainsFunc(g.stores, func(s groupedStore) bool {
		return s.off < end && off < s.off+int64(s.v.Size)
	})
}

// store puts a store into the group that is open, or begins one.
func (c *combiner) store(v *Value) {
	key, off := keyOf(v)
	g := c.open[v.Space]
	if !joins(v, off) {
		c.close(v.Space)
		return
	}
	if g == nil || g.storeKey != key {
		c.close(v.Space)
		g = &storeGroup{storeKey: key}
		c.open[v.Space] = g
	}
	g.stores = append(g.stores, groupedStore{v, off})
}

// joins reports whether a store may share a command with others. All stores to a
// packet may. A store to a map value may if the map's name is known and the
// store does not cross a word of the value. A store to big-endian words must be
// of whole words.
func joins(v *Value, off int64) bool {
	switch {
	case v.Space == Packet:
		return true
	case off < 0 || mapOf(v.Args[0]) == "" || v.Size >= 4 && off%4 != 0:
		return false
	}
	return !v.Big || v.Align >= 4 && v.Phase%4 == 0 && v.Size%4 == 0
}

// close decides which commands write the bytes of a group.
func (c *combiner) close(s Space) {
	g := c.open[s]
	c.open[s] = nil
	if g == nil || len(g.stores) < 2 {
		return
	}
	from := map[int64]byteSource{}
	for i, s := range g.stores {
		for n := range int64(s.v.Size) {
			from[s.off+n] = sourceOf(i, s.v, n)
		}
	}
	offs := make([]int64, 0, len(from))
	for off := range from {
		offs = append(offs, off)
	}
	slices.Sort(offs)
	kept := make([]bool, len(g.stores))
	for len(offs) > 0 {
		n := 1
		for n < len(offs) && offs[n] == offs[n-1]+1 {
			n++
		}
		run := make([]byteSource, n)
		for i := range run {
			run[i] = from[offs[i]]
		}
		c.commands(g, offs[0], run, kept)
		offs = offs[n:]
	}
	for i, s := range g.stores {
		if !kept[i] {
			c.gone[s.v] = true
		}
	}
}

// sourceOf returns the origin of byte n that a store writes, through masks and shifts
// by whole bytes, so that bytes of one word are moved together.
func sourceOf(store int, v *Value, n int64) byteSource {
	words := v.Args[1:]
	if v.Space == MapMem {
		words = v.Args[2:]
	}
	x, at := words[n/4], n%4
	for {
		if c, ok := numberOf(x); ok {
			return byteSource{store: store, n: c >> (8 * at) & 0xff}
		}
		zero, next, to := false, x, at
		if k, ok := lastNumber(x); ok {
			k8 := int64(k) / 8
			switch whole := k%8 == 0 && k < 32; {
			case x.Op == OpAnd && k>>(8*at)&0xff == 0:
				zero = true
			case x.Op == OpAnd && k>>(8*at)&0xff == 0xff:
				next = x.Args[0]
			case x.Op == OpShr && whole:
				next, to, zero = x.Args[0], at+k8, at+k8 > 3
			case x.Op == OpShl && whole:
				next, to, zero = x.Args[0], at-k8, at < k8
			case x.Op == OpFunnel && whole && at+k8 > 3:
				next, to = x.Args[0], at+k8-4
			case x.Op == OpFunnel && whole:
				next, to = x.Args[1], at+k8
			}
		}
		switch {
		case zero:
			return byteSource{store: store}
		case next == x:
			return byteSource{store: store, word: x, at: at}
		}
		x, at = next, to
	}
}

// lastNumber returns the last argument if it is a constant.
func lastNumber(v *Value) (uint64, bool) {
	if len(v.Args) == 0 {
		return 0, false
	}
	return numberOf(v.Args[len(v.Args)-1])
}

// Bounds of a command.
const (
	writeBytes = 8            // of those that count bytes
	writeWords = 4 * maxWords // of those that count words, in bytes
)

// commands divides a run of bytes into commands: it chooses the fewest words of
// code, then the fewest commands.
func (c *combiner) commands(g *storeGroup, off int64, run []byteSource, kept []bool) {
	type cut struct{ words, commands, size int }
	best := make([]cut, len(run)+1) // from each byte to the run's end
	for i := len(run) - 1; i >= 0; i-- {
		words := 0 // of code that puts the words before size together
		for size := 1; size <= min(writeWords, len(run)-i); size++ {
			part := run[i+size&^3 : i+size]
			whole := size%4 == 0
			if whole {
				part = run[i+size-4 : i+size]
			}
			total := words + 1
			if len(part) > 0 {
				total += wordCost(part)
			}
			if whole {
				words = total - 1
			}
			switch {
			case whole && (g.space == Packet || (off+int64(i))%4 == 0):
			case size > writeBytes || whole || g.big:
				continue
			}
			rest := best[i+size]
			if size < len(run)-i && rest.size == 0 {
				continue
			}
			now := cut{total + rest.words, 1 + rest.commands, size}
			if b := best[i]; b.size == 0 || now.words < b.words || now.words == b.words && now.commands < b.commands {
				best[i] = now
			}
		}
	}
	for i := 0; i < len(run); i += best[i].size {
		c.command(g, off+int64(i), run[i:i+best[i].size], kept)
	}
}

// wordCost returns the number of instructions that assemble a word: one for each
// piece, and one for two pieces that a funnel shift joins.
func wordCost(bytes []byteSource) int {
	p := piecesOf(bytes)
	if len(p) == 2 && p[0].word != nil && p[1].word != nil && p[0].at+p[0].size == 4 && p[1].at == 0 {
		return 1
	}
	return len(p)
}

// piece is a run of bytes of a word that lie in order in another word; a constant if
// word is nil.
type piece struct {
	word     *Value
	at, size int64 // in word
	to       int64 // offset in the assembled word
	n        uint64
}

// piecesOf is a word's pieces, from its lowest byte on. Constant bytes, wherever
// they lie, are one piece, and the first.
func piecesOf(bytes []byteSource) []piece {
	var list []piece
	number, constant := uint64(0), false
	for i, b := range bytes {
		if b.word == nil {
			number, constant = number|b.n<<(8*i), true
			continue
		}
		if n := len(list); n > 0 {
			if last := &list[n-1]; last.word == b.word && last.at+last.size == b.at && last.to+last.size == int64(i) {
				last.size++
				continue
			}
		}
		list = append(list, piece{word: b.word, at: b.at, size: 1, to: int64(i)})
	}
	if constant && (number != 0 || len(list) == 0) {
		list = slices.Insert(list, 0, piece{n: number})
	}
	return list
}

// command records a command, unless it equals one existing store.
func (c *combiner) command(g *storeGroup, off int64, bytes []byteSource, kept []bool) {
	last, single := bytes[0].store, true
	for _, b := range bytes {
		single = single && b.store == bytes[0].store
		last = max(last, b.store)
	}
	s := g.stores[last]
	if single && s.off == off && int(s.v.Size) == len(bytes) {
		kept[last] = true
		return
	}
	c.writes[s.v] = append(c.writes[s.v], combined{g.storeKey, off, bytes})
}

// rewrite inserts the commands and removes the stores that they replace.
func (c *combiner) rewrite() {
	e := newEditor(c.f)
	for _, b := range c.f.Blocks {
		e.begin(b)
		for _, v := range b.Values {
			if !c.gone[v] {
				e.put(v, nil)
			}
			e.pc = v.PC
			for _, w := range c.writes[v] {
				w.write(e)
			}
		}
		e.end(b)
	}
	e.finish()
}

func (w *combined) write(e *editor) {
	args := e.address(w.base, w.hi, w.off)
	for i := 0; i < len(w.bytes); i += 4 {
		args = append(args, e.assemble(w.bytes[i:min(i+4, len(w.bytes))]))
	}
	v := e.add(OpWrite, Void, args...)
	v.Space, v.Size, v.Big = w.space, uint8(len(w.bytes)), w.big
	if w.big {
		v.Align = 4
	}
}

// assemble returns a word with the given bytes; its bits above the last of them
// are undefined.
func (e *editor) assemble(bytes []byteSource) *Value {
	var word *Value
	for _, p := range piecesOf(bytes) {
		if p.word == nil {
			word = e.number(I32, p.n)
			continue
		}
		x := p.word
		end := p.to + p.size
		if len(bytes) < 4 && end == int64(len(bytes)) {
			end = 4
		}
		switch {
		case p.at > p.to:
			x = e.shift(OpShr, x, int(8*(p.at-p.to)))
		case p.at < p.to:
			x = e.shift(OpShl, x, int(8*(p.to-p.at)))
		}
		if mask := uint64(1<<(8*(end-p.to))-1) << (8 * p.to); mask != 1<<32-1 {
			x = e.add(OpAnd, I32, x, e.number(I32, mask))
		}
		if word != nil {
			x = e.add(OpOr, I32, word, x)
		}
		word = x
	}
	return word
}
