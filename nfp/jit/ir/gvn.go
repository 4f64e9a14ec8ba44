package ir

// NumberValues replaces a value by an equal one that dominates it: the same
// operation on the same arguments, and for reads on the same state of what is
// read. A load behind a store to the same place gives what was stored; a store of
// what is there already goes.
//
// The state of each kind of memory has a number at each point: a new one behind
// everything that may change it, and where ways meet that bring different
// numbers or one of which is not walked yet.
//
// Other contexts may write to maps meanwhile. Two loads of a word that become one
// are as if they had been made at the same moment, which they might have been.
func (f *Func) NumberValues() {
	if len(f.Blocks) == 0 {
		return
	}
	g := &numbering{
		f: f, by: make([]*Value, f.NextID), dom: f.Dominators(),
		table: map[valueKey]*tableEntry{}, states: make([]*memState, f.NextBlock),
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

// State is a kind of state that operations read and change.
type State uint8

const (
	StackState  State = iota // local memory
	PacketState              // bytes of the packet
	MapState                 // map values
	EndsState                // where the packet starts and ends
	CtxState                 // context fields
	numStates
)

// memState is the number of each kind of state.
type memState [numStates]int32

type valueKey struct {
	op     Op
	t      Type
	space  Space
	size   uint8
	big    bool
	n      uint8
	int    int64
	sym    string
	state  int32
	a0, a1 ID
	a2, a3 ID
}

// tableEntry is a value in the table, with the one that it hides.
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
	states  []*memState // at the end of each block
	last    int32
	dropped map[*Value]bool
}

func (g *numbering) fresh() int32 { g.last++; return g.last }

// walk goes through the blocks in reverse postorder, so that dominators come
// first. Entries of blocks that do not dominate the current one stay in the table
// and are passed over.
func (g *numbering) walk() {
	preds := g.f.Preds()
	for _, b := range g.f.ReversePostorder() {
		st := g.meet(preds[b.ID])
		for _, v := range b.Values {
			for i, a := range v.Args {
				v.Args[i] = Final(g.by, a)
			}
			g.value(b, v, st)
		}
		g.states[b.ID] = st
	}
}

// meet is the state at the start of a block.
func (g *numbering) meet(preds []Pred) *memState {
	var st memState
	for s := range st {
		same := len(preds) > 0
		for i, p := range preds {
			out := g.states[p.Block.ID]
			if out == nil || i > 0 && out[s] != st[s] {
				same = false
				break
			}
			st[s] = out[s]
		}
		if !same {
			st[s] = g.fresh()
		}
	}
	return &st
}

func (g *numbering) value(b *Block, v *Value, st *memState) {
	switch {
	case v.Op == OpStore && !v.Big:
		g.store(b, v, st)
	case v.Op.Is(Effect):
		for s := range numStates {
			if v.Changes(s) {
				st[s] = g.fresh()
			}
		}
	case v.Op.Is(Pure | Reads):
		k, ok := keyOf(v, st)
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

// store makes later loads of the place give what is stored, where that is whole.
func (g *numbering) store(b *Block, v *Value, st *memState) {
	s := stateOf(v.Space)
	load := Value{Op: OpLoad, Type: I32, Space: v.Space, Size: v.Size, Align: v.Align, Phase: v.Phase, Args: v.Args[:len(v.Args)-1]}
	whole := v.Size == 4
	if v.Size == 8 && v.Args[len(v.Args)-1].Type == I64 {
		whole, load.Type = true, I64
	}
	if whole {
		k, ok := keyOf(&load, st)
		if ok && g.find(b, k) == v.Args[len(v.Args)-1] {
			if g.dropped == nil {
				g.dropped = map[*Value]bool{}
			}
			g.dropped[v] = true
			return
		}
	}
	st[s] = g.fresh()
	if whole {
		if k, ok := keyOf(&load, st); ok {
			g.enter(b, k, v.Args[len(v.Args)-1])
		}
	}
}

func stateOf(s Space) State {
	switch s {
	case Stack:
		return StackState
	case Packet:
		return PacketState
	}
	return MapState
}

// Observes is the state that a read looks at; false where it is none.
func (v *Value) Observes() (State, bool) {
	switch v.Op {
	case OpLoad, OpRead:
		return stateOf(v.Space), true
	case OpPacketStart, OpPacketLen:
		return EndsState, true
	case OpCtxLoad:
		return CtxState, true
	}
	return 0, false
}

// Helpers whose effects are told apart.
const (
	fnMapLookup   = 1
	fnMapUpdate   = 2
	fnMapDelete   = 3
	fnKtime       = 5
	fnRandom      = 7
	fnProcessor   = 8
	fnRedirect    = 23
	fnPerfOutput  = 25
	fnCsumDiff    = 28
	fnAdjustHead  = 44
	fnRedirectMap = 51
	fnAdjustTail  = 65
)

// Changes reports whether an operation may change a kind of state. A lookup
// clears the bytes of a key's last word that are not the key's, but build hands
// it copies of such keys.
func (v *Value) Changes(s State) bool {
	switch v.Op {
	case OpStore, OpAtomic, OpWrite:
		return s == stateOf(v.Space)
	case OpCtxStore:
		return s == CtxState
	case OpCallFunc, OpTailCall:
		return true
	case OpCallHelper:
		switch v.Int {
		case fnMapLookup:
			return s == StackState
		case fnMapUpdate, fnMapDelete:
			return s == StackState || s == MapState
		case fnKtime, fnRandom, fnProcessor, fnRedirect, fnRedirectMap, fnPerfOutput, fnCsumDiff:
			return false
		case fnAdjustHead, fnAdjustTail:
			return s == EndsState || s == PacketState
		}
		return true
	}
	return false
}

// keyOf is what makes two values equal; false where v has too many arguments.
func keyOf(v *Value, st *memState) (valueKey, bool) {
	if len(v.Args) > 4 {
		return valueKey{}, false
	}
	k := valueKey{op: v.Op, t: v.Type, space: v.Space, size: v.Size, big: v.Big, n: uint8(len(v.Args)), int: v.Int, sym: v.Sym}
	if v.Op == OpConst && v.Type == I32 {
		k.int = int64(uint32(v.Int))
	}
	ids := [4]*ID{&k.a0, &k.a1, &k.a2, &k.a3}
	for i, a := range v.Args {
		*ids[i] = a.ID
	}
	if commutes(v.Op) && k.a0 > k.a1 {
		k.a0, k.a1 = k.a1, k.a0
	}
	if s, ok := v.Observes(); ok {
		k.state = st[s]
	}
	return k, true
}
