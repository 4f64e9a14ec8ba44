package jit

import "github.com/nfpkit/nfpkit/ir"

// flat returns arguments in the legal form: two words for a 64-bit value.
func (l *legalizer) flat(args []*ir.Value) []*ir.Value {
	var out []*ir.Value
	for _, a := range args {
		h := l.value[a.ID]
		out = append(out, h.lo)
		if h.hi != nil {
			out = append(out, h.hi)
		}
	}
	return out
}

// opaque keeps an operation whose 64-bit result arrives as a Tuple.
func (l *legalizer) opaque(v *ir.Value) halves {
	if v.Type != ir.I64 {
		return halves{lo: l.clone(v, v.Type, l.flat(v.Args))}
	}
	return l.pair(l.clone(v, ir.Tuple, l.flat(v.Args)))
}

// mapAddr takes the high half, which all addresses of a map share, from the first
// value's address.
func (l *legalizer) mapAddr(v *ir.Value) halves {
	h := l.pair(l.clone(v, ir.Tuple, l.flat(v.Args)))
	if v.Int != 0 || len(v.Args) > 0 {
		first := l.add(ir.OpMapValueAddr)
		first.Type, first.Sym = ir.Tuple, v.Sym
		h.hi = l.part(first, 1)
	}
	return h
}

func (l *legalizer) memory(v *ir.Value) halves {
	if v.Op == ir.OpAtomic && v.Space == ir.Stack {
		return l.stackAtomic(v)
	}
	if v.Op == ir.OpRead { // already legal
		return halves{lo: l.clone(v, ir.Tuple, l.flat(v.Args))}
	}
	return l.opaque(v)
}

// stackAtomic is an atomic operation on this context's own stack, as a load and
// a store: no other context accesses it in between.
func (l *legalizer) stackAtomic(v *ir.Value) halves {
	addr := l.lo(v.Args[0])
	x := l.value[v.Args[1].ID]
	load := l.f.NewValue(ir.OpLoad, ir.I32, v.PC, addr)
	load.Space, load.Size, load.Align, load.Phase = v.Space, v.Size, v.Align, v.Phase
	var old halves
	if v.Size == 8 {
		load.Type = ir.Tuple
		l.b.Values = append(l.b.Values, load)
		old = l.pair(load)
	} else {
		l.b.Values = append(l.b.Values, load)
		old = halves{lo: load}
	}
	now := l.atomicResult(v, old, x)
	args := []*ir.Value{addr, now.lo}
	if v.Size == 8 {
		args = append(args, now.hi)
	}
	store := l.f.Add(l.b, ir.OpStore, ir.Void, v.PC, args...)
	store.Space, store.Size, store.Align, store.Phase = v.Space, v.Size, v.Align, v.Phase
	return old
}

// atomicResult returns the new content of memory.
func (l *legalizer) atomicResult(v *ir.Value, old, x halves) halves {
	both := func(op ir.Op) halves {
		h := halves{lo: l.op(op, old.lo, x.lo)}
		if old.hi != nil {
			h.hi = l.op(op, old.hi, x.hi)
		}
		return h
	}
	switch ir.AtomicOp(v.Int).Base() {
	case ir.AtomicAdd:
		if old.hi != nil {
			return l.addWide(old, x)
		}
		return both(ir.OpAdd)
	case ir.AtomicAnd:
		return both(ir.OpAnd)
	case ir.AtomicOr:
		return both(ir.OpOr)
	case ir.AtomicXor:
		return both(ir.OpXor)
	case ir.AtomicXchg:
		return x
	}
	want := l.value[v.Args[2].ID]
	differ := l.op(ir.OpXor, old.lo, want.lo)
	if old.hi != nil {
		differ = l.op(ir.OpOr, differ, l.op(ir.OpXor, old.hi, want.hi))
	}
	h := halves{lo: l.choose(differ, old.lo, x.lo)}
	if old.hi != nil {
		h.hi = l.choose(differ, old.hi, x.hi)
	}
	return h
}
