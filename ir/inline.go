package ir

// Inline replaces calls by the callee's body if the saved cycles are worth the added
// words, and removes the functions that are no longer called.
//
// A call costs the moves of its arguments, a branch, a return and every register that
// must survive it; an inlined body costs its words once more, and later passes can
// optimise it in context. A body is inlined if it has one caller or is no larger than
// a call. A larger one is inlined if the call's cycles are worth the added words and
// these fit the module's room (Costs.InlineRoom). Calls that were measured never to
// run stay. The verifier refuses recursion; a recursive function would stay as it is.
//
// The callee's frame becomes part of the caller's, above the caller's own. All bodies
// inlined into one function share that place: only one runs at a time.
func (m *Module) Inline(c *Costs) {
	in := &inliner{mod: m, room: c.InlineRoom, costs: c, sites: map[string]int{}, state: map[*Func]int{}}
	for _, f := range m.Funcs {
		for _, b := range f.Blocks {
			for _, v := range b.Values {
				if v.Op == OpCallFunc {
					in.sites[v.Sym]++
				}
			}
		}
	}
	for _, f := range m.Funcs {
		in.visit(f)
	}
	called := map[string]bool{}
	var mark func(f *Func)
	mark = func(f *Func) {
		if f == nil || called[f.Name] {
			return
		}
		called[f.Name] = true
		for _, b := range f.Blocks {
			for _, v := range b.Values {
				if v.Op == OpCallFunc {
					mark(m.Func(v.Sym))
				}
			}
		}
	}
	mark(m.Funcs[0])
	kept := make([]*Func, 0, len(m.Funcs))
	for _, f := range m.Funcs {
		if called[f.Name] {
			kept = append(kept, f)
		}
	}
	m.Funcs = kept
	for _, f := range m.Funcs {
		f.DropTrivialParams()
	}
}

type inliner struct {
	mod   *Module
	room  int
	costs *Costs
	sites map[string]int // calls of a function
	state map[*Func]int  // 1 being visited, 2 done
}

// visit inlines into f, callees first.
func (in *inliner) visit(f *Func) {
	if in.state[f] != 0 {
		return
	}
	in.state[f] = 1
	s := &splicer{f: f, by: make([]*Value, f.NextID), own: f.Frame}
	for i := 0; i < len(f.Blocks); i++ { // grows: the rest of a block after a call moves to the end
		b := f.Blocks[i]
		for j, v := range b.Values {
			if v.Op != OpCallFunc {
				continue
			}
			callee := in.mod.Func(v.Sym)
			in.visit(callee)
			if in.state[callee] == 2 && in.wanted(callee, v.PC) {
				s.splice(b, j, callee)
				i-- // b now has the body's first calls, if any
				break
			}
		}
	}
	if s.spliced {
		f.Replace(s.by)
		f.prune()
	}
	in.state[f] = 2
}

// wanted decides whether to inline the call of f at pc, and deducts its cost from the
// room.
func (in *inliner) wanted(f *Func, pc int32) bool {
	call := in.costs.Call(len(f.Params))
	grow := in.costs.FuncWords(f) - call
	if grow > 0 && in.costs.idle(pc) {
		return false
	}
	if in.sites[f.Name] > 1 && grow > 0 {
		if grow > in.room || grow > in.costs.WordsPerCycle*call {
			return false
		}
		in.room -= grow
	}
	in.sites[f.Name]--
	return true
}

// splicer inserts bodies into f.
type splicer struct {
	f       *Func
	by      []*Value // by number: what replaces a call's result
	own     int      // bytes of f's own frame
	spliced bool
}

// splice replaces value j of block b, a call, by a copy of callee. The rest of the
// block moves to a new block at the end.
func (s *splicer) splice(b *Block, j int, callee *Func) {
	f, call := s.f, b.Values[j]
	s.spliced = true
	base := 0
	if callee.Frame > 0 {
		base = (s.own + FrameAlign - 1) &^ (FrameAlign - 1)
		f.Frame = max(f.Frame, base+callee.Frame)
	}

	rest := &Block{Values: append([]*Value(nil), b.Values[j+1:]...)}
	rest.end(b)
	c := &copier{f: f, value: make([]*Value, callee.NextID), block: make([]*Block, callee.NextBlock)}
	for i, p := range callee.Params {
		c.value[p.ID] = call.Args[i]
	}
	at := len(f.Blocks)
	c.copy(callee.Blocks, base)
	result := s.leave(f.Blocks[at:], rest, call.PC)

	// The call is the only predecessor of the body's entry.
	entry := f.Blocks[at]
	b.Values = append(b.Values[:j:j], entry.Values...)
	b.end(entry)
	f.Blocks = append(f.Blocks[:at], f.Blocks[at+1:]...)
	for len(s.by) < int(f.NextID) {
		s.by = append(s.by, nil)
	}
	s.by[call.ID] = result
}

// leave redirects the returns of a body to rest, a block without a number yet, and
// returns the value that the body returned. If one block returns, rest is appended
// to it. Otherwise rest becomes a block of its own, with the value as its
// parameter.
func (s *splicer) leave(body []*Block, rest *Block, pc int32) *Value {
	var returns []*Block
	for _, b := range body {
		if b.Kind == TermReturn {
			returns = append(returns, b)
		}
	}
	if len(returns) == 1 {
		b := returns[0]
		result := b.Result
		b.Values = append(b.Values, rest.Values...)
		b.end(rest)
		return result
	}
	n := s.f.NewBlock()
	n.Values = rest.Values
	n.end(rest)
	for _, b := range returns {
		v := b.Result
		b.Result = nil
		b.Jump(b.PC, n, v)
	}
	return s.f.NewParam(n, I64, pc)
}

// end gives b the terminator of another block.
func (b *Block) end(as *Block) {
	b.Kind, b.PC, b.Cond, b.Result, b.ResultHi, b.Succs = as.Kind, as.PC, as.Cond, as.Result, as.ResultHi, as.Succs
}

// copier copies blocks into f. Values and blocks that it did not copy are used
// as they are.
type copier struct {
	f     *Func
	value []*Value // by number in the original
	block []*Block
}

// copy copies blocks to the end of f, base being added to stack addresses.
func (c *copier) copy(blocks []*Block, base int) {
	for _, b := range blocks {
		n := c.f.NewBlock()
		n.PC = b.PC
		c.block[b.ID] = n
		for _, p := range b.Params {
			c.value[p.ID] = c.f.NewParam(n, p.Type, p.PC)
		}
		n.Values = make([]*Value, 0, len(b.Values))
		for _, v := range b.Values {
			w := c.f.Add(n, v.Op, v.Type, v.PC)
			id := w.ID
			*w = *v
			w.ID = id
			if v.Op == OpStackAddr {
				w.Int += int64(base)
			}
			c.value[v.ID] = w
		}
	}
	// Arguments come last: in a loop, a definition can follow its use.
	for _, b := range blocks {
		n := c.block[b.ID]
		for i, v := range b.Values {
			n.Values[i].Args = c.args(v.Args)
		}
		n.Kind, n.Cond, n.Result, n.ResultHi = b.Kind, c.of(b.Cond), c.of(b.Result), c.of(b.ResultHi)
		for _, e := range b.Succs {
			to := e.To
			if t := c.block[to.ID]; t != nil {
				to = t
			}
			n.Succs = append(n.Succs, Edge{To: to, Args: c.args(e.Args)})
		}
	}
}

func (c *copier) args(args []*Value) []*Value {
	out := c.f.list(args)
	for i, a := range out {
		out[i] = c.of(a)
	}
	return out
}

// of returns the copy of v.
func (c *copier) of(v *Value) *Value {
	if v == nil {
		return nil
	}
	if int(v.ID) < len(c.value) {
		if w := c.value[v.ID]; w != nil {
			return w
		}
	}
	return v
}
