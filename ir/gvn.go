package ir

// NumberValues replaces a value by an equal one that dominates it (global value
// numbering): the same operation on the same arguments and, for loads, the same memory
// state. A load after a store to the same place becomes the stored value; a store of
// the value already there is removed.
//
// Other contexts may write to maps concurrently. Merging two loads of a word is valid
// because both might have happened at the same moment.
func (f *Func) NumberValues() {
	if len(f.Blocks) == 0 {
		return
	}
	g := &numbering{
		f: f, by: make([]*Value, f.NextID), dom: f.Dominators(),
		table: make(map[valueKey]*tableEntry, f.NextID), mem: newMemory(f), syms: map[string]int32{},
	}
	g.walk()
	f.Replace(g.by)
	for _, b := range f.Blocks {
		kept := b.Values[:0]
		for _, v := range b.Values {
			if g.by[v.ID] == nil && !g.dropped[v] {
				kept = append(kept, v)
			}
		}
		clear(b.Values[len(kept):])
		b.Values = kept
	}
}

// valueKey is equal for equal values; it has no padding, so that its bytes can be
// hashed.
type valueKey struct {
	what  uint64 // op, type, space, size, Big, number of arguments, a byte each
	int   int64
	sym   int32 // by number, 0 none
	state int32
	args  [4]ID
}

// tableEntry is a value in the table, with the older entry of the same hash.
type tableEntry struct {
	v    *Value
	home *Block
	next *tableEntry
}

type numbering struct {
	f       *Func
	by      []*Value
	dom     *DomTree
	table   map[valueKey]*tableEntry
	mem     *memory
	syms    map[string]int32
	dropped map[*Value]bool
}

// walk goes through the blocks in reverse postorder, so that dominators come
// first. Entries of blocks that do not dominate the current one stay in the table
// and are ignored.
func (g *numbering) walk() {
	preds := g.f.Preds()
	for _, b := range g.f.ReversePostorder() {
		g.mem.begin(b, preds[b.ID])
		for _, v := range b.Values {
			for i, a := range v.Args {
				v.Args[i] = Final(g.by, a)
			}
			g.value(b, v)
		}
		g.mem.end(b)
	}
}

func (g *numbering) value(b *Block, v *Value) {
	switch {
	case v.Op == OpStore && !v.Big:
		g.store(b, v)
	case v.Op.Is(Effect):
		g.mem.effect(v)
	case v.Op.Is(Pure | Reads):
		k, ok := g.keyOf(v)
		if !ok {
			return
		}
		if same := g.find(b, k); same != nil {
			g.by[v.ID] = same
			return
		}
		g.enter(b, k, v)
	}
}

func (g *numbering) find(b *Block, k valueKey) *Value {
	for e := g.table[k]; e != nil; e = e.next {
		if g.dom.Dominates(e.home, b) {
			return e.v
		}
	}
	return nil
}

func (g *numbering) enter(b *Block, k valueKey, v *Value) {
	g.table[k] = &tableEntry{v: v, home: b, next: g.table[k]}
}

// store forwards a stored value to later loads of the place, if they load all of it.
func (g *numbering) store(b *Block, v *Value) {
	x := v.Args[len(v.Args)-1]
	load := Value{Op: OpLoad, Type: I32, Space: v.Space, Size: v.Size, Args: v.Args[:len(v.Args)-1]}
	whole := v.Size == 4
	if v.Size == 8 && x.Type == I64 {
		whole, load.Type = true, I64
	}
	if whole {
		if k, ok := g.keyOf(&load); ok && g.find(b, k) == x {
			if g.dropped == nil {
				g.dropped = map[*Value]bool{}
			}
			g.dropped[v] = true
			return
		}
	}
	g.mem.effect(v)
	if whole {
		if k, ok := g.keyOf(&load); ok {
			g.enter(b, k, x)
		}
	}
}

// keyOf returns the key that equal values share; false if v has too many arguments.
func (g *numbering) keyOf(v *Value) (valueKey, bool) {
	if len(v.Args) > 4 {
		return valueKey{}, false
	}
	what := uint64(v.Op) | uint64(v.Type)<<8 | uint64(v.Space)<<16 | uint64(v.Size)<<24 | uint64(len(v.Args))<<32
	if v.Big {
		what |= 1 << 40
	}
	k := valueKey{what: what, int: v.Int, state: g.mem.of(v)}
	if v.Sym != "" {
		if k.sym = g.syms[v.Sym]; k.sym == 0 {
			k.sym = int32(len(g.syms)) + 1
			g.syms[v.Sym] = k.sym
		}
	}
	if v.Op == OpConst && v.Type == I32 {
		k.int = int64(uint32(v.Int))
	}
	for i, a := range v.Args {
		k.args[i] = a.ID
	}
	if commutes(v.Op) && k.args[0] > k.args[1] {
		k.args[0], k.args[1] = k.args[1], k.args[0]
	}
	return k, true
}
