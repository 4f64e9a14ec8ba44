package ir

// HoistLoopInvariants moves loop-invariant values before the loop: operations on
// values from outside, and loads of memory that the loop does not change if the loop's
// head executes them unconditionally. Constants and frame addresses cost nothing and
// stay, unless a hoisted value uses them.
//
// A hoisted value occupies a register throughout the loop, so at most hoistLimit
// values leave one loop.
func (f *Func) HoistLoopInvariants() {
	if !f.hasCycle() {
		return
	}
	dom := f.Dominators()
	loops := f.Loops(dom)
	for i, l := range loops {
		h := &hoister{f: f, loop: l, around: loops[i+1:], outside: map[*Value]bool{}}
		h.survey()
		h.run()
	}
}

// hoistLimit bounds the values that leave a loop.
const hoistLimit = 8

type hoister struct {
	f       *Func
	loop    *Loop
	around  []*Loop         // loops that may be around it
	inside  []bool          // by value number: defined in the loop
	outside map[*Value]bool // moved
	changed [numStates]bool // kinds of state that the loop changes
	moved   []*Value
}

func (h *hoister) survey() {
	h.inside = make([]bool, h.f.NextID)
	for _, b := range h.loop.Blocks {
		for _, v := range b.Params {
			h.inside[v.ID] = true
		}
		for _, v := range b.Values {
			h.inside[v.ID] = true
			if v.Op.Is(Effect) {
				for s := range numStates {
					h.changed[s] = h.changed[s] || v.Changes(s)
				}
			}
		}
	}
}

func (h *hoister) run() {
	count := 0
	for _, b := range h.loop.Blocks {
		kept := b.Values[:0:0]
		effects := false
		for _, v := range b.Values {
			if v.Op.Is(Effect) {
				effects = true
			}
			if count < hoistLimit && h.invariant(v, b == h.loop.Head && !effects) {
				count++
				for i, a := range v.Args {
					v.Args[i] = h.bring(a)
				}
				h.take(v)
				continue
			}
			kept = append(kept, v)
		}
		if len(kept) < len(b.Values) {
			b.Values = kept
		}
	}
	if len(h.moved) == 0 {
		return
	}
	front := h.preheader()
	front.Values = append(front.Values[:len(front.Values):len(front.Values)], h.moved...)
}

func (h *hoister) take(v *Value) {
	h.outside[v] = true
	h.moved = append(h.moved, v)
}

// bring returns an argument in the form that is available before the loop; constants
// are copied.
func (h *hoister) bring(a *Value) *Value {
	if !h.in(a) {
		return a
	}
	c := h.f.NewValue(a.Op, a.Type, a.PC)
	c.Int, c.Sym = a.Int, a.Sym
	h.take(c)
	return c
}

// in reports whether a value is still defined in the loop.
func (h *hoister) in(v *Value) bool {
	return int(v.ID) < len(h.inside) && h.inside[v.ID] && !h.outside[v]
}

func noWork(v *Value) bool { return v.Op == OpConst || v.Op == OpStackAddr || v.Op == OpMapHandle }

// invariant reports whether v can move and is worth it; always means that v is
// executed in each iteration before any effect.
func (h *hoister) invariant(v *Value, always bool) bool {
	if noWork(v) {
		return false
	}
	switch s, reads := v.Observes(); {
	case reads:
		if h.changed[s] || !always && s != EndsState && s != CtxState {
			return false
		}
	case !v.Op.Is(Pure):
		return false
	}
	for _, a := range v.Args {
		if h.in(a) && !noWork(a) {
			return false
		}
	}
	return true
}

// preheader returns the only block outside the loop with an edge into it; it
// creates one if there are several.
func (h *hoister) preheader() *Block {
	head := h.loop.Head
	var outside []Pred
	for _, p := range h.f.Preds()[head.ID] {
		if !h.loop.Has(p.Block) {
			outside = append(outside, p)
		}
	}
	if len(outside) == 1 && outside[0].Block.Kind == TermJump {
		return outside[0].Block
	}
	n := h.f.NewBlock()
	n.PC = head.PC
	args := make([]*Value, len(head.Params))
	for i, p := range head.Params {
		args[i] = h.f.NewParam(n, p.Type, p.PC)
	}
	n.Jump(head.PC, head, args...)
	for _, p := range outside {
		p.Edge().To = n
	}
	for _, l := range h.around {
		if l.Has(head) {
			l.insert(n, head)
		}
	}
	return n
}
