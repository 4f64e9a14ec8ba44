package ir

// EliminateLookups replaces a lookup by one that dominates it, in the same map with
// the same key, if no update or delete of that map lies between. Both might have
// happened at the same moment, so concurrent changes by others do not matter.
//
// Keys are compared byte by byte as they lie on the stack. The content of each byte is
// a constant, a byte of a value, or a number that stands for an unknown content. An
// operation that may write the byte gives it a new number, and so does a join of
// different contents. A load from the stack yields the contents of its bytes, so that
// copies of a key are equal. A map counts as one more such place, which updates and
// deletes write.
//
// Lookups in maps that record their use (Map.Marks) stay: an LRU map evicts by the
// order of the last lookups.
//
// It runs before legalize.
func (m *Module) EliminateLookups() {
	for _, f := range m.Funcs {
		f.RemoveUnreachable()
		r := &reuser{f: f, bytes: map[int64]int{}, maps: map[string]int{}, loads: map[*Value][8]content{}}
		if r.survey(m) {
			r.walk()
		}
	}
}

// content is the content of one place: byte n of a value or, if that is nil, the
// number n, which is a constant if it is below firstUnknown.
type content struct {
	v *Value
	n int32
}

const firstUnknown = 256

type reuser struct {
	f     *Func
	bytes map[int64]int  // by offset in the frame: bytes of keys, and all that is read
	maps  map[string]int // by name: the maps looked up
	now   []content
	loads map[*Value][8]content // by read of the stack
	last  int32
	known map[string][]*knownLookup // by map, its content, and key
}

type knownLookup struct {
	v    *Value
	home *Block
}

// keyPlace returns the offset of a lookup's key in the frame, and its size in bytes; 0
// if they are unknown.
func keyPlace(call *Value) (off, size int64) {
	key := call.Args[1]
	if key.Op != OpZExt32 || call.Kinds>>4&15 != KindStack {
		return 0, 0
	}
	off, ok := framePlace(key.Args[0])
	if !ok || off < 0 {
		return 0, 0
	}
	return off, reachOf(call, 1)
}

// survey lists the places; false if no map is looked up twice.
func (r *reuser) survey(m *Module) bool {
	count, twice := map[string]int{}, false
	for _, b := range r.f.Blocks {
		for _, v := range b.Values {
			if v.Op != OpCallHelper || v.Int != fnMapLookup {
				continue
			}
			name := handleOf(v)
			if _, size := keyPlace(v); name == "" || size == 0 || m.Map(name).Marks {
				continue
			}
			count[name]++
			twice = twice || count[name] > 1
		}
	}
	if !twice {
		return false
	}
	for _, b := range r.f.Blocks {
		for _, v := range b.Values {
			if off, ok := r.loadPlace(v); ok {
				r.track(off, int64(v.Size))
			}
			if v.Op != OpCallHelper || v.Int != fnMapLookup || count[handleOf(v)] < 2 {
				continue
			}
			r.track(keyPlace(v))
			if _, ok := r.maps[handleOf(v)]; !ok {
				r.maps[handleOf(v)] = len(r.now)
				r.now = append(r.now, content{})
			}
		}
	}
	return true
}

func (r *reuser) track(off, size int64) {
	for i := off; i < off+size; i++ {
		if _, ok := r.bytes[i]; !ok {
			r.bytes[i] = len(r.now)
			r.now = append(r.now, content{})
		}
	}
}

// loadPlace returns the frame offset that v loads from.
func (r *reuser) loadPlace(v *Value) (int64, bool) {
	if v.Op != OpLoad || v.Space != Stack || v.Big {
		return 0, false
	}
	return framePlace(v.Args[0])
}

func (r *reuser) unknown() content {
	r.last++
	return content{n: firstUnknown + r.last}
}

// walk goes through the blocks in reverse postorder.
func (r *reuser) walk() {
	preds, dom := r.f.Preds(), r.f.Dominators()
	ends := make([][]content, r.f.NextBlock)
	by, found := make([]*Value, r.f.NextID), false
	r.known = map[string][]*knownLookup{}
	for _, b := range r.f.ReversePostorder() {
		r.enter(preds[b.ID], ends)
		kept := b.Values[:0]
		for _, v := range b.Values {
			if same := r.value(b, v, dom); same != nil {
				by[v.ID], found = same, true
				continue
			}
			kept = append(kept, v)
		}
		clear(b.Values[len(kept):])
		b.Values = kept
		ends[b.ID] = append([]content(nil), r.now...)
	}
	if found {
		r.f.Replace(by)
	}
}

// enter computes the contents of all places at the start of a block.
func (r *reuser) enter(preds []Pred, ends [][]content) {
	for i := range r.now {
		same := len(preds) > 0
		for j, p := range preds {
			out := ends[p.Block.ID]
			if out == nil || j > 0 && out[i] != r.now[i] {
				same = false
				break
			}
			r.now[i] = out[i]
		}
		if !same {
			r.now[i] = r.unknown()
		}
	}
}

// value applies the writes of an operation. For a lookup it returns an earlier one
// with the same result.
func (r *reuser) value(b *Block, v *Value, dom *DomTree) *Value {
	switch {
	case v.Op == OpLoad:
		if off, ok := r.loadPlace(v); ok {
			var l [8]content // what it does not read is zero
			for i := range int64(v.Size) {
				l[i] = r.now[r.bytes[off+i]]
			}
			r.loads[v] = l
		}
	case v.Op == OpStore && v.Space == Stack:
		r.store(v)
	case v.Op == OpCallHelper && v.Int == fnMapLookup:
		if key, ok := r.key(v); ok {
			for _, l := range r.known[key] {
				if dom.Dominates(l.home, b) {
					return l.v
				}
			}
			r.known[key] = append(r.known[key], &knownLookup{v, b})
		}
		r.clearsTail(v)
	case v.Op == OpCallHelper && (v.Int == fnMapUpdate || v.Int == fnMapDelete):
		r.clearsTail(v)
		r.writesMap(handleOf(v))
	case v.Op == OpStore || v.Op == OpAtomic || v.Op == OpWrite:
		if v.Space == Stack {
			r.writesFrame()
		}
	default:
		if v.Changes(StackState) {
			r.writesFrame()
		}
		if v.Changes(MapState) {
			r.writesMap("")
		}
	}
	return nil
}

// key identifies equal lookups; false if the key's content is unknown.
func (r *reuser) key(v *Value) (string, bool) {
	at, ok := r.maps[handleOf(v)]
	off, size := keyPlace(v)
	if !ok || size == 0 {
		return "", false
	}
	out := make([]byte, 0, 8*(size+2))
	add := func(id, n int32) {
		out = append(out, byte(id), byte(id>>8), byte(id>>16), byte(id>>24), byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	add(int32(at), r.now[at].n)
	for i := range size {
		c, id := r.now[r.bytes[off+i]], int32(-1)
		if c.v != nil {
			id = int32(c.v.ID)
		}
		add(id, c.n)
	}
	return string(out), true
}

// clearsTail applies a write of the firmware: it clears the bytes of a key's last
// word that are not the key's.
func (r *reuser) clearsTail(v *Value) {
	off, size := keyPlace(v)
	if size == 0 {
		r.writesFrame()
		return
	}
	for at := off + size; at%4 != 0; at++ {
		r.writes(at, r.unknown())
	}
}

func (r *reuser) writes(at int64, c content) {
	if i, ok := r.bytes[at]; ok {
		r.now[i] = c
	}
}

func (r *reuser) writesFrame() {
	for _, i := range r.bytes {
		r.now[i] = r.unknown()
	}
}

// writesMap records a change of a map, or of all maps if the map is unknown.
func (r *reuser) writesMap(name string) {
	if i, ok := r.maps[name]; ok {
		r.now[i] = r.unknown()
	} else if name == "" {
		for _, i := range r.maps {
			r.now[i] = r.unknown()
		}
	}
}

func (r *reuser) store(v *Value) {
	off, ok := framePlace(v.Args[0])
	if !ok {
		r.writesFrame()
		return
	}
	for i := range int64(v.Size) {
		c := r.byteOf(v.Args[1], int32(i))
		if v.Big {
			c = r.unknown()
		}
		r.writes(off+i, c)
	}
}

// byteOf is byte n of a value, the lowest being 0.
func (r *reuser) byteOf(v *Value, n int32) content {
	for {
		switch {
		case v.Op == OpTrunc:
			v = v.Args[0]
		case v.Op == OpZExt32 && n >= 4:
			return content{}
		case v.Op == OpZExt32:
			v = v.Args[0]
		case v.Op == OpConst:
			return content{n: int32(uint8(v.Int >> (8 * n)))}
		default:
			if l, ok := r.loads[v]; ok {
				return l[n]
			}
			return content{v, n}
		}
	}
}
