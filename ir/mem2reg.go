package ir

// PromoteFrame keeps 32-bit words of the frame in values instead of memory (mem2reg).
// It works on the legal form.
//
// A word is promoted if all its accesses are loads and stores at constant offsets that
// do not cross into another word, and helpers that read it. A helper's key or value is
// written to memory before the call, word by word, unless it is there already. Stores
// of parts of a word therefore become one store next to the call, and bytes that are
// never read are not stored.
//
// A frame whose address escapes, into a sum with a variable, a parameter or a function
// of the program, stays in memory as a whole. Pointers that are not sums of this
// frame's address point to other frames.
func (f *Func) PromoteFrame() {
	p := &promoter{f: f, words: make([]bool, f.Frame/4), parts: map[*Value][2]*Value{}}
	if !p.survey() {
		f.DropTrivialParams()
		return
	}
	p.liveness()
	p.rewrite()
	if p.all {
		p.shrink()
	}
	f.DropTrivialParams()
}

// shrink reduces the frame to the bytes that helpers read. Addresses past its end have
// no uses any more.
func (p *promoter) shrink() {
	p.f.Frame = int(p.used+7) &^ 7
	for _, b := range p.f.Blocks {
		for _, v := range b.Values {
			if v.Op == OpStackAddr && v.Int > int64(p.f.Frame) {
				v.Int = 0
			}
		}
	}
}

type promoter struct {
	f     *Func
	words []bool     // kept
	all   bool       // all words that are accessed
	used  int64      // bytes at the bottom that helpers read
	live  [][]uint64 // by block number: words live at its start, a bit each
	preds [][]Pred
	undef *Value
	parts map[*Value][2]*Value // of loads of two words
}

// framePlace is the offset in the frame of a constant stack address.
func framePlace(addr *Value) (int64, bool) {
	base, off := split(addr)
	if base.Op != OpStackAddr {
		return 0, false
	}
	return base.Int + off, true
}

// stackSize is the number of bytes of an access to the stack.
func stackSize(v *Value) int64 {
	if v.Op == OpRead {
		return 4 * v.Int
	}
	return int64(v.Size)
}

// simple reports whether an access is to part of one word, or to whole words.
func simple(off, size int64) bool { return off%4+size <= 4 || off%4 == 0 && size%4 == 0 }

// survey finds the words that can be promoted; false if there are none, or the frame's
// address escapes.
func (p *promoter) survey() bool {
	for i := range p.words {
		p.words[i] = true
	}
	sums := map[*Value]bool{} // addresses in the frame
	type place struct {
		off, size int64
		ok        bool
	}
	var places []place
	touched := false
	for _, b := range p.f.ReversePostorder() {
		for _, v := range b.Values {
			if v.Op == OpStackAddr {
				sums[v] = true
				continue
			}
			if v.Op == OpAdd && sums[v.Args[0]] {
				if _, ok := numberOf(v.Args[1]); !ok {
					return false
				}
				sums[v] = true
				continue
			}
			for i, a := range v.Args {
				if !sums[a] {
					continue
				}
				off, ok := framePlace(a)
				switch {
				case !ok || off < 0:
					return false
				case v.Space == Stack && i == 0 && v.Op != OpAtomic:
					size := stackSize(v)
					touched = true
					places = append(places, place{off, size, (v.Op == OpLoad || v.Op == OpStore) && !v.Big && simple(off, size)})
				case v.Op == OpCallHelper && i%2 == 0 && v.Kinds>>(4*(i/2))&15 == KindStack:
					size := reachOf(v, i/2)
					if size == 0 || off%4 != 0 {
						return false
					}
					places = append(places, place{off, size, true})
				default:
					return false
				}
			}
		}
		ours := true
		check := func(v *Value) { ours = ours && (v == nil || !sums[v]) }
		check(b.Cond)
		check(b.Result)
		check(b.ResultHi)
		for _, e := range b.Succs {
			for _, a := range e.Args {
				check(a)
			}
		}
		if !ours {
			return false
		}
	}
	// An access with a word that stays in memory keeps its others there.
	for changed := true; changed; {
		changed = false
		for _, l := range places {
			first, last := l.off/4, (l.off+l.size-1)/4
			if last >= int64(len(p.words)) {
				return false
			}
			ok := l.ok
			for w := first; w <= last; w++ {
				ok = ok && p.words[w]
			}
			for w := first; w <= last && !ok; w++ {
				changed = changed || p.words[w]
				p.words[w] = false
			}
		}
	}
	p.all = true
	for _, l := range places {
		p.all = p.all && p.words[l.off/4]
	}
	return touched
}

func reachOf(call *Value, arg int) int64 { return int64(call.Reach >> (10 * arg) & 1023) }

// wordsOf calls do with each kept word of an access: its number.
func (p *promoter) wordsOf(off, size int64, do func(w int64)) {
	for w := off / 4; w <= (off+size-1)/4; w++ {
		if p.words[w] {
			do(w)
		}
	}
}

// uses calls read with the words that v reads, and write with those it writes
// whole; a store of part of a word reads it too.
func (p *promoter) uses(v *Value, read, write func(w int64)) {
	switch {
	case v.Op == OpCallHelper:
		for i := 0; i < len(v.Args); i += 2 {
			if v.Kinds>>(2*i)&15 == KindStack {
				if off, ok := framePlace(v.Args[i]); ok {
					p.wordsOf(off, reachOf(v, i/2), read)
				}
			}
		}
	case v.Space != Stack || v.Op != OpLoad && v.Op != OpStore:
	default:
		off, ok := framePlace(v.Args[0])
		if !ok {
			return
		}
		if v.Op == OpLoad || v.Size < 4 {
			p.wordsOf(off, int64(v.Size), read)
			return
		}
		p.wordsOf(off, int64(v.Size), write)
	}
}

// liveness finds the words that are live at the start of each block.
func (p *promoter) liveness() {
	n := (len(p.words) + 63) / 64
	p.live = make([][]uint64, p.f.NextBlock)
	use, def := make([][]uint64, p.f.NextBlock), make([][]uint64, p.f.NextBlock)
	order := p.f.Postorder()
	for _, b := range order {
		u, d := make([]uint64, n), make([]uint64, n)
		for _, v := range b.Values {
			p.uses(v, func(w int64) {
				if d[w/64]>>(w%64)&1 == 0 {
					u[w/64] |= 1 << (w % 64)
				}
			}, func(w int64) { d[w/64] |= 1 << (w % 64) })
		}
		use[b.ID], def[b.ID], p.live[b.ID] = u, d, make([]uint64, n)
	}
	for changed := true; changed; {
		changed = false
		for _, b := range order {
			for i := range n {
				out := uint64(0)
				for _, e := range b.Succs {
					out |= p.live[e.To.ID][i]
				}
				in := use[b.ID][i] | out&^def[b.ID][i]
				if in != p.live[b.ID][i] {
					p.live[b.ID][i], changed = in, true
				}
			}
		}
	}
}

// frameState holds the values of promoted words, and the values in memory.
type frameState struct{ value, stored []*Value }

func (s *frameState) copy() *frameState {
	return &frameState{append([]*Value(nil), s.value...), append([]*Value(nil), s.stored...)}
}

func (p *promoter) rewrite() {
	p.preds = p.f.Preds()
	ends := make([]*frameState, p.f.NextBlock)
	made := make([][]*Value, p.f.NextBlock) // parameters for words, by block and word
	e := newEditor(p.f)
	order := p.f.ReversePostorder()
	for i, b := range order {
		e.begin(b)
		e.pc = b.PC
		if i == 0 {
			p.undef = e.number(I32, 0)
		}
		st := p.enter(b, ends, made)
		for _, v := range b.Values {
			e.pc = v.PC
			p.value(e, v, st)
		}
		e.end(b)
		ends[b.ID] = st
	}
	for _, b := range order {
		for i := range b.Succs {
			edge := &b.Succs[i]
			for w, param := range made[edge.To.ID] {
				if param != nil {
					edge.Args = append(edge.Args[:len(edge.Args):len(edge.Args)], p.known(ends[b.ID].value[w]))
				}
			}
		}
	}
	e.finish()
}

// known returns a word's value, zero if nothing was stored.
func (p *promoter) known(v *Value) *Value {
	if v == nil {
		return p.undef
	}
	return v
}

// enter returns the state at the start of a block: its only predecessor's, or a
// parameter for each live word.
func (p *promoter) enter(b *Block, ends []*frameState, made [][]*Value) *frameState {
	preds := p.preds[b.ID]
	if len(preds) == 1 && ends[preds[0].Block.ID] != nil {
		return ends[preds[0].Block.ID].copy()
	}
	st := &frameState{make([]*Value, len(p.words)), make([]*Value, len(p.words))}
	if len(preds) == 0 {
		return st
	}
	made[b.ID] = make([]*Value, len(p.words))
	for w := range p.words {
		if !p.words[w] || p.live[b.ID][w/64]>>(w%64)&1 == 0 {
			continue
		}
		param := p.f.NewParam(b, I32, b.PC)
		made[b.ID][w], st.value[w] = param, param
	}
	return st
}

// pass stores the words that a helper reads. If the frame holds nothing else, the
// arguments move to its bottom, to which the frame pointer already points.
func (p *promoter) pass(e *editor, call *Value, st *frameState) {
	var args []int
	total := int64(0)
	for i := 0; i < len(call.Args); i += 2 {
		if call.Kinds>>(2*i)&15 != KindStack {
			continue
		}
		if _, ok := framePlace(call.Args[i]); ok {
			args = append(args, i)
			total += (reachOf(call, i/2) + 3) &^ 3
		}
	}
	if total > int64(p.f.Frame) {
		total = int64(p.f.Frame)
		p.all = false
	}
	p.used = max(p.used, total)
	at := int64(0)
	for _, i := range args {
		off, _ := framePlace(call.Args[i])
		size, to := reachOf(call, i/2), off
		if p.all {
			to, at = at, at+(size+3)&^3
		}
		p.wordsOf(off, size, func(w int64) {
			p.write(e, w+(to-off)/4, p.known(st.value[w]), st)
		})
		if size%4 != 0 { // the firmware clears the rest of a key's last word
			st.stored[(to+size)/4] = nil
		}
		if to != off {
			call.Args[i] = e.add(OpStackAddr, I32)
			call.Args[i].Int = to
		}
	}
}

// write stores x in word w of the frame, unless the word holds it already.
func (p *promoter) write(e *editor, w int64, x *Value, st *frameState) {
	if st.stored[w] == x {
		return
	}
	addr := e.add(OpStackAddr, I32)
	addr.Int = 4 * w
	s := e.add(OpStore, Void, addr, x)
	s.Space, s.Size, s.Align, s.Phase = Stack, 4, 8, uint8(4*w%8)
	st.stored[w] = x
}

// value rewrites an access, and stores the words that a helper reads.
func (p *promoter) value(e *editor, v *Value, st *frameState) {
	if v.Op == OpCallHelper {
		p.pass(e, v, st)
		e.put(v, nil)
		return
	}
	off, ours := int64(0), false
	if v.Space == Stack && (v.Op == OpLoad || v.Op == OpStore) {
		off, ours = framePlace(v.Args[0])
		ours = ours && p.words[off/4]
	}
	switch {
	case v.Op == OpPart && p.parts[v.Args[0]][0] != nil:
		e.put(v, p.parts[v.Args[0]][v.Int])
	case !ours:
		e.put(v, nil)
	case v.Op == OpLoad && v.Type == Tuple: // its parts are replaced
		p.parts[v] = [2]*Value{p.known(st.value[off/4]), p.known(st.value[off/4+1])}
	case v.Op == OpLoad:
		e.put(v, e.field(p.known(st.value[off/4]), off%4, int64(v.Size)))
	case v.Size == 8:
		st.value[off/4], st.value[off/4+1] = v.Args[1], v.Args[2]
	case v.Size == 4:
		st.value[off/4] = v.Args[1]
	default:
		st.value[off/4] = e.insert(p.known(st.value[off/4]), v.Args[1], off%4, int64(v.Size))
	}
}
