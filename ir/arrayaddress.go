package ir

import "math/bits"

// AddressArrays replaces lookups in arrays whose values a program may address
// (Map.Entries) by address arithmetic. The key is loaded from the stack and compared
// with the number of entries. If it is below, the value lies stride x key bytes past
// the first one.
//
// The comparison replaces the program's NULL test, and after that test the result is
// the sum alone. A key known to be in range therefore costs neither comparison nor
// test, and a constant key leaves a constant. Other uses of the result get the sum or
// NULL.
//
// It runs before legalize. NumberValues and PromoteFrame forward the key's store to
// its load.
func (m *Module) AddressArrays() {
	for _, f := range m.Funcs {
		f.RemoveUnreachable()
		a := &addresser{mod: m, f: f}
		if a.survey(); len(a.found) > 0 {
			a.tests()
			a.rewrite()
		}
	}
}

// element is a lookup to be removed, and the values that replace it.
type element struct {
	call   *Value
	arr    Map
	inside *Value   // key < entries
	addr   *Value   // address of the value, valid if inside
	result *Value   // addr or NULL
	there  []Pred   // edges on which the result is known not to be NULL
	homes  []*Block // the blocks those edges enter and nothing else does
}

type addresser struct {
	mod   *Module
	f     *Func
	found map[*Value]*element
	order []*element
}

func (a *addresser) survey() {
	for _, b := range a.f.Blocks {
		for _, v := range b.Values {
			if v.Op != OpCallHelper || v.Int != fnMapLookup || v.Kinds>>4&15 != KindStack {
				continue
			}
			if arr := a.mod.Map(handleOf(v)); arr.Entries > 0 {
				if a.found == nil {
					a.found = map[*Value]*element{}
				}
				e := &element{call: v, arr: arr}
				a.found[v] = e
				a.order = append(a.order, e)
			}
		}
	}
}

// nullTest returns the lookup that v compares with NULL, and whether v is 1 for NULL.
func (a *addresser) nullTest(v *Value) (e *element, null bool) {
	if v.Op != OpEQ && v.Op != OpNE {
		return nil, false
	}
	if n, ok := numberOf(v.Args[1]); !ok || n != 0 {
		return nil, false
	}
	return a.found[v.Args[0]], v.Op == OpEQ
}

// tests finds the edges on which a result is known not to be NULL.
func (a *addresser) tests() {
	preds := a.f.Preds()
	for _, b := range a.f.Blocks {
		if b.Kind != TermBranch || b.Succs[0].To == b.Succs[1].To {
			continue
		}
		e, null := a.nullTest(b.Cond)
		if e == nil {
			continue
		}
		p := Pred{b, 0}
		if null {
			p.Index = 1
		}
		e.there = append(e.there, p)
		if to := p.Edge().To; len(preds[to.ID]) == 1 {
			e.homes = append(e.homes, to)
		}
	}
}

func (a *addresser) rewrite() {
	dom := a.f.Dominators()
	ed := newEditor(a.f)
	for _, b := range a.f.ReversePostorder() {
		ed.begin(b)
		use := func(v *Value) *Value {
			e := a.found[v]
			if e == nil {
				return v
			}
			for _, home := range e.homes {
				if dom.Dominates(home, b) {
					return e.addr
				}
			}
			return e.result
		}
		for _, v := range b.Values {
			ed.pc = v.PC
			if e := a.found[v]; e != nil {
				e.replace(ed)
				continue
			}
			if e, null := a.nullTest(v); e != nil {
				v.Args = a.f.list([]*Value{e.inside, ed.number(I32, 0)})
				if v.Op = OpNE; null {
					v.Op = OpEQ
				}
			}
			for i, arg := range v.Args {
				v.Args[i] = use(arg)
			}
			ed.put(v, nil)
		}
		ed.end(b)
		for _, p := range []**Value{&b.Cond, &b.Result, &b.ResultHi} {
			if *p != nil {
				*p = use(*p)
			}
		}
		for i := range b.Succs {
			for j, arg := range b.Succs[i].Args {
				if e := a.found[arg]; e != nil && e.known(b, i) {
					b.Succs[i].Args[j] = e.addr
				} else {
					b.Succs[i].Args[j] = use(arg)
				}
			}
		}
	}
}

// known reports whether edge i of b is dominated by a successful test.
func (e *element) known(b *Block, i int) bool {
	for _, p := range e.there {
		if p.Block == b && p.Index == i {
			return true
		}
	}
	return false
}

// replace creates the values that replace a lookup.
func (e *element) replace(ed *editor) {
	key := ed.add(OpLoad, I32, keyAddress(ed, e.call))
	key.Space, key.Size, key.Align = Stack, 4, 4
	e.inside = ed.add(OpULT, I32, key, ed.number(I32, uint64(e.arr.Entries)))
	off := key
	if s := e.arr.Stride; s&(s-1) == 0 {
		off = ed.shift(OpShl, key, bits.TrailingZeros32(s))
	} else {
		off = ed.add(OpMul, I32, key, ed.number(I32, uint64(s)))
	}
	e.addr = ed.add(OpMapValueAddr, I64, off)
	e.addr.Sym = e.arr.Name
	e.result = ed.add(OpSelect, I64, e.inside, e.addr, ed.number(I64, 0))
}

// keyAddress is the address of a lookup's key in the stack.
func keyAddress(ed *editor, call *Value) *Value {
	if key := call.Args[1]; key.Op == OpZExt32 {
		return key.Args[0]
	}
	return ed.add(OpTrunc, I32, call.Args[1])
}
