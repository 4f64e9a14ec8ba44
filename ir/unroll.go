package ir

// Unroll replaces a loop by its iterations if their number is known, the added words
// fit Costs.UnrollRoom, and the saved cycles are worth them. A loop that was measured
// never to run stays.
//
// The number of iterations is found by executing the loop. Starting with the initial
// parameters of the loop's head, the blocks are evaluated as far as their values are
// constant, one iteration after the other, until no back edge can be taken. A decided
// branch takes one edge only; exits that are not decided stay. Constants are folded
// into the copies, so that an iteration costs only the words that remain: the
// counter, its comparison and the back edge disappear.
//
// Inner loops come first; when one is gone, the loop around it may be next.
func (f *Func) Unroll(c *Costs) {
	room := c.UnrollRoom
	for range unrollLoops {
		if !f.hasCycle() || !f.unrollOne(&room, c) {
			break
		}
	}
	f.DropTrivialParams()
}

// Limits of Unroll: loops in a function, iterations of a loop.
const (
	unrollLoops = 16
	unrollTrips = 64
)

func (f *Func) unrollOne(room *int, c *Costs) bool {
	dom := f.Dominators()
	for _, l := range f.Loops(dom) {
		if !l.Inner || c.idle(l.Head.PC) {
			continue
		}
		u := &unroller{f: f, costs: c, loop: l, index: map[*Block]int{}}
		for i, b := range l.Blocks {
			u.index[b] = i
		}
		if !u.run(*room) || !l.close(f) {
			continue
		}
		*room -= u.words
		u.copy()
		f.prune()
		return true
	}
	return false
}

type unroller struct {
	f     *Func
	costs *Costs
	loop  *Loop
	index map[*Block]int // of a block in the loop
	trips []*trip
	words int // what the copies add
	saved int // cycles that they take less than the loop
}

// trip holds the known values of one iteration.
type trip struct {
	known   map[*Value]uint64
	reached []bool    // by index of the block
	takes   [][2]bool // by index of the block: which edges can be taken
}

// lattice of a parameter while edges to it are met.
type meet struct {
	n          uint64
	met, vague bool
}

// run finds the iterations; false if they do not end, or are not worth it.
func (u *unroller) run(room int) bool {
	preds := u.f.Preds()
	in := make([]meet, len(u.loop.Head.Params))
	for _, p := range preds[u.loop.Head.ID] {
		if u.loop.Has(p.Block) {
			continue
		}
		for i, a := range p.Edge().Args {
			n, ok := numberOf(a)
			in[i].join(n, ok)
		}
	}
	for len(u.trips) < unrollTrips {
		t := &trip{known: map[*Value]uint64{}, reached: make([]bool, len(u.loop.Blocks)), takes: make([][2]bool, len(u.loop.Blocks))}
		u.trips = append(u.trips, t)
		again, next := u.iterate(t, in)
		if u.words > room {
			return false
		}
		if !again {
			// The loop itself goes; a single iteration is no loop.
			for _, b := range u.loop.Blocks {
				u.words -= u.costs.blockWords(b) + b.moves() + 2
			}
			return u.words <= u.saved*u.costs.WordsPerCycle
		}
		u.saved += u.costs.Branch // the branch back is taken
		in = next
	}
	return false
}

func (m *meet) join(n uint64, ok bool) {
	switch {
	case !ok, m.met && m.n != n:
		m.vague = true
	}
	m.met, m.n = true, n
}

// iterate evaluates one iteration: in are the head's parameters. It reports whether a
// back edge can be taken, and the parameters it passes.
func (u *unroller) iterate(t *trip, in []meet) (again bool, next []meet) {
	params := make([][]meet, len(u.loop.Blocks))
	for i, b := range u.loop.Blocks {
		params[i] = make([]meet, len(b.Params))
	}
	params[0] = in
	next = make([]meet, len(in))
	t.reached[0] = true
	for i, b := range u.loop.Blocks {
		if !t.reached[i] {
			continue
		}
		for j, p := range b.Params {
			if m := params[i][j]; m.met && !m.vague {
				t.known[p] = m.n
			}
		}
		for _, v := range b.Values {
			if n, ok := t.value(v); ok {
				t.known[v] = n
				u.saved += u.costs.Words(v)
			} else {
				u.words += u.costs.Words(v)
			}
		}
		for j, e := range b.Succs {
			if b.Kind == TermBranch {
				if n, ok := t.number(b.Cond); ok && (n != 0) != (j == 0) {
					u.saved++ // the branch's word
					continue
				}
				u.words++
			}
			t.takes[i][j] = true
			to, inside := u.index[e.To]
			var meets []meet
			switch {
			case !inside:
				continue
			case to == 0:
				again, meets = true, next
			default:
				t.reached[to], meets = true, params[to]
			}
			for k, a := range e.Args {
				n, ok := t.number(a)
				meets[k].join(n, ok)
			}
		}
	}
	return again, next
}

func (t *trip) number(v *Value) (uint64, bool) {
	if n, ok := numberOf(v); ok {
		return n, true
	}
	n, ok := t.known[v]
	return n, ok
}

// value evaluates v if its arguments are known.
func (t *trip) value(v *Value) (uint64, bool) {
	if v.Op == OpConst {
		return numberOf(v)
	}
	if !v.Op.Is(Pure) || len(v.Args) == 0 || len(v.Args) > 3 || v.Type != I32 && v.Type != I64 {
		return 0, false
	}
	var args [3]uint64
	for i, a := range v.Args {
		n, ok := t.number(a)
		if !ok {
			return 0, false
		}
		args[i] = n
	}
	var n uint64
	ok := true
	switch v.Op {
	case OpSelect:
		n = args[2]
		if args[0] != 0 {
			n = args[1]
		}
	case OpBSwap:
		n = bswap(args[0], v.Int)
	default:
		if len(v.Args) == 3 {
			return 0, false
		}
		n, ok = scalarOp(v.Op, v.Args[0].Type == I64, args[0], args[1])
	}
	return cutTo(n, width(v.Type)), ok
}

// copy creates the iterations. Edges into the loop go to the first of them.
func (u *unroller) copy() {
	f, head := u.f, u.loop.Head
	outside := make([]Pred, 0, 2)
	for _, p := range f.Preds()[head.ID] {
		if !u.loop.Has(p.Block) {
			outside = append(outside, p)
		}
	}
	values, blocks := f.NextID, f.NextBlock
	heads := make([]*Block, len(u.trips))
	copies := make([]*copier, len(u.trips))
	for i := range u.trips {
		c := &copier{f: f, value: make([]*Value, values), block: make([]*Block, blocks)}
		c.copy(u.loop.Blocks, 0)
		copies[i], heads[i] = c, c.block[head.ID]
	}
	for i, t := range u.trips {
		for j, b := range u.loop.Blocks {
			n := copies[i].block[b.ID]
			for k, v := range b.Values {
				if c, ok := t.known[v]; ok {
					n.Values[k].toConst(c)
				}
			}
			if b.Kind == TermBranch && t.takes[j][0] != t.takes[j][1] {
				keep := n.Succs[0]
				if t.takes[j][1] {
					keep = n.Succs[1]
				}
				n.Kind, n.Cond, n.Succs = TermJump, nil, []Edge{keep}
			}
			for k := range n.Succs {
				if n.Succs[k].To == heads[i] { // back
					n.Succs[k].To = head
					if i+1 < len(heads) {
						n.Succs[k].To = heads[i+1]
					}
				}
			}
		}
	}
	for _, p := range outside {
		p.Edge().To = heads[0]
	}
	// Constants that a parameter brings.
	by := make([]*Value, f.NextID)
	for i, t := range u.trips {
		for _, b := range u.loop.Blocks {
			n := copies[i].block[b.ID]
			var front []*Value
			for k, p := range b.Params {
				if c, ok := t.known[p]; ok {
					v := f.NewValue(OpConst, p.Type, p.PC)
					v.toConst(c)
					front = append(front, v)
					by[n.Params[k].ID] = v
				}
			}
			n.Values = append(front, n.Values...)
		}
	}
	for len(by) < int(f.NextID) {
		by = append(by, nil)
	}
	f.Replace(by)
}

// toConst turns v into a constant.
func (v *Value) toConst(n uint64) {
	v.Op, v.Args, v.Sym, v.Int = OpConst, nil, "", int64(n)
	if v.Type == I32 {
		v.Int = int64(int32(n))
	}
}
