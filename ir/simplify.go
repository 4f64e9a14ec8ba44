package ir

// Simplify applies the rules, and removes the blocks that are then unreachable.
func (f *Func) Simplify() {
	f.ApplyRules(nil)
	f.RemoveUnreachable()
}

// ApplyRules replaces values by cheaper equal ones: by constants if all bits are
// known, and by the rules; constant arguments of commutative operations move to the
// right. It repeats until a round changes nothing, for at most simplifyRounds rounds.
// Replaced values stay without uses, for EliminateDeadCode.
//
// fired, unless nil, counts how often each rule was used, by its index in Rules.
func (f *Func) ApplyRules(fired []int) {
	for range simplifyRounds {
		s := &simplifier{f: f, known: f.KnownBits(), by: make([]*Value, f.NextID), uses: f.Uses(), fired: fired}
		changed := false
		for _, b := range f.ReversePostorder() {
			changed = s.block(b) || changed
		}
		f.Replace(s.by)
		if !changed {
			return
		}
	}
}

const simplifyRounds = 2

type simplifier struct {
	f     *Func
	known []Known
	by    []*Value // by value number: what replaces it
	uses  []int32
	fired []int
	out   []*Value // the block's values, as they become
	pc    int32
}

func (s *simplifier) block(b *Block) bool {
	changed := false
	s.out = make([]*Value, 0, len(b.Values)+4)
	for _, p := range b.Params {
		if k := s.known[p.ID]; k.Const() && s.uses[p.ID] > 0 {
			s.pc = p.PC
			s.by[p.ID] = s.constant(p.Type, k.Value)
			changed = true
		}
	}
	for _, v := range b.Values {
		for i, a := range v.Args {
			v.Args[i] = Final(s.by, a)
		}
		s.pc = v.PC
		if s.swap(v) {
			changed = true
		}
		if w := s.replacement(v, 0); w != nil {
			s.by[v.ID] = w
			changed = true
			if v.Op.Is(Effect) {
				s.out = append(s.out, v)
			}
			continue
		}
		s.known[v.ID] = knownOf(v, s.knownOf)
		s.out = append(s.out, v)
	}
	b.Values = s.out
	return changed
}

func (s *simplifier) knownOf(v *Value) Known { return s.known[v.ID] }

// swap puts a constant to the right.
func (s *simplifier) swap(v *Value) bool {
	if !commutes(v.Op) || v.Args[0].Op != OpConst || v.Args[1].Op == OpConst {
		return false
	}
	v.Args[0], v.Args[1] = v.Args[1], v.Args[0]
	return true
}

// depth bounds how often the result of a rule is simplified in turn.
const simplifyDepth = 8

// replacement returns the value that replaces v, nil if v stays.
func (s *simplifier) replacement(v *Value, depth int) *Value {
	if v.Op == OpConst || v.Type != I32 && v.Type != I64 || v.Op.Is(Effect) {
		return nil
	}
	if k := knownOf(v, s.knownOf); k.Const() {
		return s.constant(v.Type, k.Value)
	}
	rules := compiledRules()[v.Op]
	if len(rules) == 0 || depth > simplifyDepth {
		return nil
	}
	w := ruleWidth(v)
	for i := range rules {
		r := &rules[i]
		if r.width != 0 && r.width != w || !mayMatch(r.from, v) {
			continue
		}
		b := binding{width: w}
		var single func(*Value) bool
		if r.once {
			single = func(v *Value) bool { return int(v.ID) < len(s.uses) && s.uses[v.ID] == 1 }
		}
		if !b.match(r.from, v, true, single) {
			continue
		}
		if r.if_ != nil {
			if k := s.abstract(r.if_, &b, 32); !k.Const() || k.Value == 0 {
				continue
			}
		}
		if s.fired != nil {
			s.fired[r.index]++
		}
		return s.make(r.to, &b, width(v.Type), depth+1)
	}
	return nil
}

// abstract returns the known bits of an expression.
func (s *simplifier) abstract(e *Expr, b *binding, w int) Known {
	switch {
	case e.Var != 0:
		return s.known[b.vals[varIndex(e.Var)].ID]
	case e.Bits:
		return exactly(uint64(b.width))
	case e.Op == OpInvalid:
		return exactly(cutTo(uint64(e.Num), w))
	}
	x := b.xWidth(e)
	t := Value{Op: e.Op, Int: e.Int, Type: typeOf(opWidth(e.Op, w))}
	var args [4]Known
	arg := Value{Type: typeOf(ArgWidth(e.Op, 0, w, x))}
	for i, a := range e.Args {
		args[i] = s.abstract(a, b, ArgWidth(e.Op, i, w, x))
		t.Args = append(t.Args, &arg)
	}
	k := knownResult(&t, args)
	if t.Type == I32 {
		return k.cut()
	}
	return k
}

func typeOf(width int) Type {
	if width == 64 {
		return I64
	}
	return I32
}

// opWidth returns the width of an operation's result if its position requires w.
func opWidth(op Op, w int) int {
	switch op.Row().Result {
	case "w":
		return 32
	case "d":
		return 64
	}
	return w
}

// xWidth is the width of a comparison's arguments: that of the first variable, or
// the rule's.
func (b *binding) xWidth(e *Expr) int { return XWidth(e, b.width) }

// XWidth is the width of the arguments of comparison e in a rule of some width:
// that of the first argument that has one of its own.
func XWidth(e *Expr, width int) int {
	for i, a := range e.Args {
		if row := e.Op.Row(); row.Args[min(i, len(row.Args)-1)] == 'w' {
			continue // the amount of a shift
		}
		switch {
		case a.Var != 0:
			return VarWidth(a.Var, width)
		case a.Op != OpInvalid:
			switch a.Op.Row().Result {
			case "w":
				return 32
			case "d":
				return 64
			}
			return XWidth(a, width)
		}
	}
	return width
}

// make builds an expression's values before the value being simplified.
func (s *simplifier) make(e *Expr, b *binding, w, depth int) *Value {
	switch {
	case e.Var != 0:
		return b.vals[varIndex(e.Var)]
	case e.Bits:
		return s.constant(typeOf(w), uint64(b.width))
	case e.Op == OpInvalid:
		return s.constant(typeOf(w), uint64(e.Num))
	}
	x := b.xWidth(e)
	args := make([]*Value, len(e.Args))
	for i, a := range e.Args {
		args[i] = s.make(a, b, ArgWidth(e.Op, i, w, x), depth)
	}
	v := s.f.NewValue(e.Op, typeOf(opWidth(e.Op, w)), s.pc, args...)
	v.Int = e.Int
	s.grow()
	s.swap(v)
	if by := s.replacement(v, depth); by != nil {
		return by
	}
	s.known[v.ID] = knownOf(v, s.knownOf)
	s.out = append(s.out, v)
	return v
}

func (s *simplifier) constant(t Type, n uint64) *Value {
	v := s.f.NewValue(OpConst, t, s.pc)
	v.Int = int64(n)
	if t == I32 {
		v.Int = int64(int32(n))
	}
	s.grow()
	s.known[v.ID] = exactly(cutTo(n, width(t)))
	s.out = append(s.out, v)
	return v
}

// grow extends the tables to the newest value.
func (s *simplifier) grow() {
	for len(s.known) < int(s.f.NextID) {
		s.known = append(s.known, Known{})
		s.by = append(s.by, nil)
	}
}
