package ir

// CombineLoads replaces several loads from constant offsets of one packet address or
// map value by one OpRead at the first of them; each load becomes a Part of it. The
// first load must dominate the others, and nothing between them may write their bytes.
// It works on the legal form.
//
// The window that is read may exceed the bytes that the first load may access. In a
// packet it stays within the buffer, any byte of which may be read; bytes past the
// packet's end are garbage that no value depends on (docs/firmware-contract.md section
// 3). In a map value it stays within the 32-bit words that loads of this very pointer
// touch, which comes from a lookup in one map.
//
// The window is aligned so that the fewest loads cross a word boundary.
func (f *Func) CombineLoads() {
	g := &gatherer{f: f, known: f.KnownBits(), dom: f.Dominators(), mem: newMemory(f), groups: map[windowKey][]*window{}}
	g.survey()
	if len(g.windows) > 0 {
		g.rewrite()
	}
}

// Bounds of a window.
const (
	windowWords = 8    // what one command reads without a longer length
	bufferReach = 1700 // bytes from the packet's start that are sure to lie in its buffer
)

// windowKey identifies loads that can share a window.
type windowKey struct {
	space    Space
	base, hi ID
	state    int32
}

// window is loads gathered.
type window struct {
	space Space
	base  *Value // low word of the address
	hi    *Value // high word, of maps
	loads []windowLoad
	from  int64 // first byte, from base
	to    int64 // past the last
	home  *Block
}

type windowLoad struct {
	v   *Value
	off int64
}

// pendingStore is a store to a packet in the block being walked.
type pendingStore struct {
	base     *Value
	from, to int64
	before   int32 // state before it
}

type gatherer struct {
	f       *Func
	known   []Known
	dom     *DomTree
	mem     *memory
	groups  map[windowKey][]*window
	windows []*window
}

// split takes a constant offset off an address.
func split(addr *Value) (*Value, int64) {
	off := int64(0)
	for addr.Op == OpAdd {
		n, ok := numberOf(addr.Args[1])
		if !ok {
			break
		}
		off += int64(int32(n))
		addr = addr.Args[0]
	}
	return addr, off
}

// survey puts each load into a window.
func (g *gatherer) survey() {
	preds := g.f.Preds()
	var all []*window
	for _, b := range g.f.ReversePostorder() {
		g.mem.begin(b, preds[b.ID])
		var stores []pendingStore
		for _, v := range b.Values {
			switch {
			case v.Op == OpLoad && !v.Big && (v.Space == Packet || v.Space == MapMem):
				all = g.load(b, v, stores, all)
			case v.Op.Is(Effect):
				if (v.Op == OpStore || v.Op == OpWrite) && v.Space == Packet {
					base, off := split(v.Args[0])
					stores = append(stores, pendingStore{base, off, off + int64(v.Size), g.mem.now[PacketState]})
				} else if v.Space == Packet || v.Op == OpCallHelper || v.Op == OpCallFunc || v.Op == OpTailCall {
					stores = nil
				}
				g.mem.effect(v)
			}
		}
		g.mem.end(b)
	}
	for _, w := range all {
		if len(w.loads) > 1 {
			g.windows = append(g.windows, w)
		}
	}
}

func (g *gatherer) load(b *Block, v *Value, stores []pendingStore, all []*window) []*window {
	base, off := split(v.Args[0])
	end := off + int64(v.Size)
	key := windowKey{space: v.Space, base: base.ID, state: g.mem.of(v)}
	w := &window{space: v.Space, base: base, loads: []windowLoad{{v, off}}, from: off, to: end, home: b}
	if v.Space == MapMem {
		if off < 0 || mapOf(v.Args[0]) == "" {
			return all
		}
		w.hi = mapHigh(v.Args[1])
		key.hi = w.hi.ID
	} else {
		if off < 0 || g.reach(base)+off+4*windowWords > bufferReach {
			return all
		}
		for i := len(stores) - 1; i >= 0; i-- { // the load may as well stand above stores to other bytes
			s := &stores[i]
			if s.base != base || s.from < end && off < s.to {
				break
			}
			key.state = s.before
		}
	}
	for _, have := range g.groups[key] {
		if g.dom.Dominates(have.home, b) && spanWords(min(have.from, off), max(have.to, end)) <= windowWords {
			have.loads = append(have.loads, w.loads[0])
			have.from, have.to = min(have.from, off), max(have.to, end)
			return all
		}
	}
	g.groups[key] = append(g.groups[key], w)
	return append(all, w)
}

// spanWords returns the number of words of a window at the worst alignment.
func spanWords(from, to int64) int64 { return (to - from + 3 + 3) / 4 }

// mapHigh is the high word of a map address without the carry of an offset: the
// base of a table is a multiple of 256 bytes and offsets within one stay below
// 2^32.
func mapHigh(hi *Value) *Value {
	for hi.Op == OpAddHi {
		n, ok := numberOf(hi.Args[3])
		c, okc := numberOf(hi.Args[1])
		if !ok || !okc || n != 0 || int32(c) < 0 {
			break
		}
		hi = hi.Args[2]
	}
	return hi
}

// reach returns the largest distance of an address from the packet's start, or more
// than any window if it is unknown.
func (g *gatherer) reach(addr *Value) int64 {
	n := int64(0)
	for addr.Op == OpAdd {
		x, y := addr.Args[0], addr.Args[1]
		if x.Op != OpPacketStart && x.Op != OpAdd {
			x, y = y, x
		}
		n += int64(g.known[y.ID].Max())
		addr = x
	}
	if addr.Op != OpPacketStart {
		return bufferReach
	}
	return n
}

// place moves a window's start down so that the fewest loads cross words.
func (w *window) place() {
	w.from = max(w.from, 0)
	best, cost := w.from, -1
	for p := int64(0); p < 4 && w.from-p >= 0; p++ {
		start := w.from - p
		if w.space == MapMem && start%4 != 0 {
			continue
		}
		n := 0
		for _, l := range w.loads {
			at, size := (l.off-start)%4, int64(l.v.Size)
			switch {
			case at == 0 && size >= 4:
			case at+min(size, 4) > 4 || size == 8:
				n += 2 * int(size+3) / 4
			case at+size < 4 && at > 0:
				n++
			}
		}
		if cost < 0 || n < cost {
			best, cost = start, n
		}
	}
	w.from = best
}

// rewrite inserts the reads and replaces the loads by their parts.
func (g *gatherer) rewrite() {
	e := newEditor(g.f)
	first := map[*Value]*window{}
	member := map[*Value]*window{}
	parts := map[*window][]*Value{}
	for _, w := range g.windows {
		w.place()
		first[w.loads[0].v] = w
		for _, l := range w.loads {
			member[l.v] = w
		}
	}
	for _, b := range g.f.ReversePostorder() {
		e.begin(b)
		for _, v := range b.Values {
			e.pc = v.PC
			if w := first[v]; w != nil {
				parts[w] = w.read(e)
			}
			w := member[v]
			switch {
			case v.Op == OpPart && member[v.Args[0]] != nil:
				w := member[v.Args[0]]
				e.put(v, w.word(e, parts[w], w.offset(v.Args[0])+4*v.Int, 4))
			case w == nil:
				e.put(v, nil)
			case v.Type == Tuple: // its parts are replaced
			default:
				e.put(v, w.word(e, parts[w], w.offset(v), int64(v.Size)))
			}
		}
		e.end(b)
	}
	e.finish()
}

func (w *window) offset(v *Value) int64 {
	_, off := split(v.Args[0])
	return off - w.from
}

// read is the window's read, and its words.
func (w *window) read(e *editor) []*Value {
	args := e.address(w.base, w.hi, w.from)
	r := e.add(OpRead, Tuple, args...)
	r.Space, r.Int = w.space, (w.to-w.from+3)/4
	if w.space == MapMem {
		r.Align = 4
	}
	words := make([]*Value, r.Int)
	for i := range words {
		words[i] = e.add(OpPart, I32, r)
		words[i].Int = int64(i)
	}
	return words
}

// word is size bytes of a window from byte at.
func (w *window) word(e *editor, words []*Value, at, size int64) *Value {
	i, skip := at/4, at%4
	if skip+size > 4 {
		x := e.add(OpFunnel, I32, words[i+1], words[i], e.number(I32, uint64(8*skip)))
		return e.field(x, 0, size)
	}
	return e.field(words[i], skip, size)
}
