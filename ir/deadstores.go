package ir

import "slices"

// EliminateDeadStores removes stores to the packet, map values and the frame whose
// bytes are overwritten on every path before anything may read them. The program's
// exits and every call read packet and maps; the frame is dead after a return. It
// works on the legal form.
//
// All bytes count as read around a loop.
func (f *Func) EliminateDeadStores() {
	if d := newDeadBytes(f); d != nil {
		d.run(true)
	}
}

// deadBytes holds, for points of a function, the bytes that will be overwritten before
// they are read.
type deadBytes struct {
	f      *Func
	groups map[storeKey]*byteGroup
	order  []*byteGroup
	bytes  int
	in     [][]uint64 // by block number, at its start; nil for blocks not walked yet
	now    []uint64
}

// byteGroup is the bytes that stores write at offsets of one address.
type byteGroup struct {
	storeKey
	name  string        // of the map, "" where that is not known
	index map[int64]int // by offset
	first int           // indices are [first, first+len(index))
}

// newDeadBytes numbers the bytes that can be dead: those that some group stores twice,
// and those of the frame. It returns nil if there are none.
func newDeadBytes(f *Func) *deadBytes {
	d := &deadBytes{f: f, groups: map[storeKey]*byteGroup{}}
	twice := map[*byteGroup]bool{}
	var order []*byteGroup
	for _, b := range f.Blocks {
		for _, v := range b.Values {
			key, off, ok := placeOfStore(v)
			if !ok {
				continue
			}
			g := d.groups[key]
			if g == nil {
				g = &byteGroup{storeKey: key, index: map[int64]int{}}
				if key.space == MapMem {
					g.name = mapOf(key.base)
				}
				d.groups[key] = g
				order = append(order, g)
			}
			for n := range int64(v.Size) {
				if _, again := g.index[off+n]; again || key.space == Stack {
					twice[g] = true
				}
				g.index[off+n] = len(g.index)
			}
		}
	}
	for _, g := range order {
		if !twice[g] {
			delete(d.groups, g.storeKey)
			continue
		}
		n := 0
		for off := range g.index {
			g.index[off] = n
			n++
		}
		g.first = d.bytes
		d.bytes += n
		d.order = append(d.order, g)
	}
	if d.bytes == 0 {
		return nil
	}
	d.in = make([][]uint64, f.NextBlock)
	return d
}

// placeOfStore returns the group of a store's bytes, and their offset in it.
func placeOfStore(v *Value) (storeKey, int64, bool) {
	if v.Op != OpStore && v.Op != OpWrite {
		return storeKey{}, 0, false
	}
	if v.Space == Stack {
		off, ok := framePlace(v.Args[0])
		return storeKey{space: Stack}, off, ok && !v.Big
	}
	key, off := keyOf(v)
	return key, off, true
}

// run walks the blocks backwards, from the ends of the function.
func (d *deadBytes) run(drop bool) {
	for _, b := range d.f.Postorder() {
		d.now = make([]uint64, (d.bytes+63)/64)
		d.end(b)
		for i := len(b.Values) - 1; i >= 0; i-- {
			v := b.Values[i]
			if key, off, ok := placeOfStore(v); ok {
				if g := d.groups[key]; g != nil {
					if d.holds(d.now, g, off, int64(v.Size)) && drop {
						b.Values[i] = nil
						continue
					}
					for n := range int64(v.Size) {
						at := g.first + g.index[off+n]
						d.now[at/64] |= 1 << (at % 64)
					}
				}
				continue
			}
			d.look(v)
		}
		d.in[b.ID] = d.now
		kept := b.Values[:0]
		for _, v := range b.Values {
			if v != nil {
				kept = append(kept, v)
			}
		}
		b.Values = kept
	}
}

// end returns the bytes that are dead at the end of a block.
func (d *deadBytes) end(b *Block) {
	for i, e := range b.Succs {
		in := d.in[e.To.ID]
		for k := range d.now {
			switch {
			case in == nil:
				d.now[k] = 0
			case i == 0:
				d.now[k] = in[k]
			default:
				d.now[k] &= in[k]
			}
		}
		if in == nil {
			return
		}
	}
	if g := d.groups[storeKey{space: Stack}]; g != nil && len(b.Succs) == 0 {
		for at := g.first; at < g.first+len(g.index); at++ {
			d.now[at/64] |= 1 << (at % 64)
		}
	}
}

// holds reports whether all of some bytes are dead.
func (d *deadBytes) holds(in []uint64, g *byteGroup, off, size int64) bool {
	for n := range size {
		at := g.first + g.index[off+n]
		if in[at/64]>>(at%64)&1 == 0 {
			return false
		}
	}
	return true
}

// deadAt reports whether a store's bytes are dead at the start of b.
func (d *deadBytes) deadAt(b *Block, v *Value) bool {
	key, off, ok := placeOfStore(v)
	if d == nil || !ok || int(b.ID) >= len(d.in) || d.in[b.ID] == nil {
		return false
	}
	g := d.groups[key]
	return g != nil && d.holds(d.in[b.ID], g, off, int64(v.Size))
}

// look marks the bytes that an operation other than a plain store may read,
// which are then not dead.
func (d *deadBytes) look(v *Value) {
	switch v.Op {
	case OpCallHelper, OpCallFunc, OpTailCall:
		clear(d.now)
		return
	case OpLoad, OpRead, OpAtomic:
	default:
		return
	}
	if !slices.ContainsFunc(d.now, func(w uint64) bool { return w != 0 }) {
		return
	}
	size := int64(v.Size)
	if v.Op == OpRead {
		size = 4 * v.Int
	}
	key, off := storeKey{space: Stack}, int64(0)
	known, name := true, ""
	if v.Space == Stack {
		off, known = framePlace(v.Args[0])
	} else {
		key, off = keyOf(v)
		if v.Space == MapMem {
			name = mapOf(key.base)
		}
	}
	for _, g := range d.order {
		switch {
		case g.space != v.Space, g.name != "" && name != "" && g.name != name:
		case known && g.base == key.base && g.hi == key.hi && v.Op != OpAtomic:
			for n := range size {
				if i, ok := g.index[off+n]; ok {
					at := g.first + i
					d.now[at/64] &^= 1 << (at % 64)
				}
			}
		default:
			for at := g.first; at < g.first+len(g.index); at++ {
				d.now[at/64] &^= 1 << (at % 64)
			}
		}
	}
}
