package ir

// memory numbers the versions of the memories that a program reads: stack, packet, its
// bounds, context, the values of each map (memory SSA). The blocks are walked in
// reverse postorder, and at each point each memory has a version. Every operation that
// may change it starts a new version. So does a join of different versions, or with a
// predecessor not walked yet. If one point dominates another and both have the same
// version of a memory, nothing changed it in between.
//
// Maps are distinguished by name: pointers to their values come from lookups and reach
// no other map.
type memory struct {
	maps map[string]int // its state's index
	ends [][]int32      // the states at the end of each block, by number; nil before
	now  []int32
	last int32
}

// State is a kind of state that operations read and change.
type State uint8

const (
	StackState  State = iota // local memory
	PacketState              // bytes of the packet
	MapState                 // map values, of any map
	EndsState                // bounds of the packet
	CtxState                 // context fields
	numStates
)

func newMemory(f *Func) *memory {
	m := &memory{maps: map[string]int{}, ends: make([][]int32, f.NextBlock)}
	for _, b := range f.Blocks {
		for _, v := range b.Values {
			if (v.Op == OpMapHandle || v.Op == OpMapValueAddr) && v.Sym != "" {
				if _, ok := m.maps[v.Sym]; !ok {
					m.maps[v.Sym] = int(numStates) + len(m.maps)
				}
			}
		}
	}
	m.now = make([]int32, int(numStates)+len(m.maps))
	return m
}

func (m *memory) fresh() int32 { m.last++; return m.last }

// begin enters a block. The ends of its predecessors are recorded, except for
// back edges.
func (m *memory) begin(b *Block, preds []Pred) {
	for s := range m.now {
		same := len(preds) > 0
		for i, p := range preds {
			out := m.ends[p.Block.ID]
			if out == nil || i > 0 && out[s] != m.now[s] {
				same = false
				break
			}
			m.now[s] = out[s]
		}
		if !same {
			m.now[s] = m.fresh()
		}
	}
}

func (m *memory) end(b *Block) { m.ends[b.ID] = append([]int32(nil), m.now...) }

// of returns the number of the state that v reads, 0 if it reads none.
func (m *memory) of(v *Value) int32 {
	s, ok := v.Observes()
	switch {
	case !ok:
		return 0
	case s == MapState:
		if named, ok := m.maps[mapOf(v.Args[0])]; ok {
			return m.now[named]
		}
	}
	return m.now[s]
}

// Observes returns the memory that a load reads; false if v is no load.
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

func stateOf(s Space) State {
	switch s {
	case Stack:
		return StackState
	case Packet:
		return PacketState
	}
	return MapState
}

// mapOf returns the map that an address points into, "" if unknown. An address is an
// I64, or the low half of one.
func mapOf(addr *Value) string {
	for addr.Op == OpAdd {
		switch {
		case addr.Args[1].Op == OpConst:
			addr = addr.Args[0]
		case addr.Args[0].Op == OpConst:
			addr = addr.Args[1]
		default:
			return ""
		}
	}
	if addr.Op == OpPart {
		addr = addr.Args[0]
	}
	switch {
	case addr.Op == OpMapValueAddr:
		return addr.Sym
	case addr.Op == OpCallHelper && addr.Int == fnMapLookup:
		return handleOf(addr)
	}
	return ""
}

// handleOf is the map a helper is called for.
func handleOf(call *Value) string {
	h := call.Args[0]
	if h.Op == OpZExt32 {
		h = h.Args[0]
	}
	if h.Op == OpMapHandle {
		return h.Sym
	}
	return ""
}

// Helpers whose effects are known.
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
// clears the bytes of a key's last word that are not the key's.
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

// effect records the states that an operation may change: of maps only the one
// that it names.
func (m *memory) effect(v *Value) {
	for s := range numStates {
		if v.Changes(s) {
			m.now[s] = m.fresh()
		}
	}
	if !v.Changes(MapState) {
		return
	}
	name := ""
	switch v.Op {
	case OpStore, OpAtomic, OpWrite:
		name = mapOf(v.Args[0])
	case OpCallHelper:
		if v.Int == fnMapUpdate || v.Int == fnMapDelete {
			name = handleOf(v)
		}
	}
	if s, ok := m.maps[name]; ok {
		m.now[s] = m.fresh()
		return
	}
	for s := int(numStates); s < len(m.now); s++ {
		m.now[s] = m.fresh()
	}
}
