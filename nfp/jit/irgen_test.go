package jit_test

import (
	"math/rand/v2"

	"github.com/nfpkit/nfpkit/ir"
)

// irGen generates random raw programs in ir: all operations, branches, counted loops,
// stack and packet memory at all alignments, a callee.
type irGen struct {
	r      *rand.Rand
	m      *ir.Module
	f      *ir.Func
	b      *ir.Block
	vars   []*ir.Value
	mem    *ir.Value // address of packet memory, nil in callees
	callee *ir.Func
	left   int
}

const (
	genFrame = 104 // bytes of stack, more than LM0 reaches
	genMem   = 64  // bytes of packet memory
)

// randomModule has about size operations over vars variables.
func randomModule(r *rand.Rand, size, vars int) *ir.Module {
	m := &ir.Module{Name: "random"}
	entry := &ir.Func{Name: "main", Result: ir.I64, Frame: genFrame}
	m.Funcs = append(m.Funcs, entry)
	g := &irGen{r: r, m: m}
	if r.IntN(3) == 0 {
		callee := &ir.Func{Name: "callee", Result: ir.I64}
		if r.IntN(2) == 0 {
			callee.Frame = genFrame
		}
		for i := range 1 + r.IntN(5) {
			p := callee.NewValue(ir.OpParam, ir.I64, -1)
			p.Int = int64(i)
			callee.Params = append(callee.Params, p)
		}
		m.Funcs = append(m.Funcs, callee)
		g.fn(callee, size/4, min(vars, 8))
		g.callee = callee
	}
	for i := range 2 {
		p := entry.NewValue(ir.OpParam, ir.I64, -1)
		p.Int = int64(i)
		entry.Params = append(entry.Params, p)
	}
	g.fn(entry, size, vars)
	return m
}

func (g *irGen) fn(f *ir.Func, size, vars int) {
	g.f, g.b, g.left = f, f.NewBlock(), size
	g.vars, g.mem = nil, nil
	if f.Name == "main" {
		g.mem = g.f.Add(g.b, ir.OpTrunc, ir.I32, -1, f.Params[0])
	} else {
		g.vars = append(g.vars, f.Params...)
	}
	for off := 0; off < f.Frame; off += 8 {
		a := g.stackAt(off)
		st := g.f.Add(g.b, ir.OpStore, ir.Void, -1, a, g.num(ir.I64))
		st.Space, st.Size = ir.Stack, 8
	}
	for len(g.vars) < vars {
		switch t := ir.Type(1 + g.r.IntN(2)); {
		case g.mem != nil && g.r.IntN(3) > 0:
			size := uint8(8)
			if t == ir.I32 {
				size = 1 << g.r.IntN(3)
			}
			g.vars = append(g.vars, g.load(t, g.packetAt(int(size)), ir.Packet, size))
		default:
			g.vars = append(g.vars, g.num(t))
		}
	}
	g.region(3)
	sum := g.wide(g.vars[0])
	k := g.constant(ir.I64, 0x9e3779b97f4a7c15-1<<63)
	for _, v := range g.vars[1:] {
		sum = g.f.Add(g.b, ir.OpMul, ir.I64, -1, sum, k)
		sum = g.f.Add(g.b, ir.OpXor, ir.I64, -1, sum, g.wide(v))
	}
	g.b.Kind, g.b.Result, g.b.PC = ir.TermReturn, sum, -1
}

func (g *irGen) constant(t ir.Type, n int64) *ir.Value {
	v := g.f.Add(g.b, ir.OpConst, t, -1)
	v.Int = n
	if t == ir.I32 {
		v.Int = int64(int32(n))
	}
	return v
}

// num is a constant of an interesting kind.
func (g *irGen) num(t ir.Type) *ir.Value {
	n := int64(g.r.Uint64())
	switch g.r.IntN(6) {
	case 0:
		n = int64(g.r.IntN(8)) - 3
	case 1:
		n = 1 << g.r.IntN(64)
	case 2:
		n = n >> g.r.IntN(64)
	case 3:
		n = int64(g.r.IntN(300))
	}
	return g.constant(t, n)
}

func (g *irGen) wide(v *ir.Value) *ir.Value {
	if v.Type == ir.I64 {
		return v
	}
	op := ir.OpZExt32
	if g.r.IntN(2) == 0 {
		op = ir.OpSExt32
	}
	return g.f.Add(g.b, op, ir.I64, -1, v)
}

func (g *irGen) narrow(v *ir.Value) *ir.Value {
	if v.Type == ir.I32 {
		return v
	}
	return g.f.Add(g.b, ir.OpTrunc, ir.I32, -1, v)
}

// pick is a variable as type t, or now and then a constant.
func (g *irGen) pick(t ir.Type) *ir.Value {
	if g.r.IntN(6) == 0 {
		return g.num(t)
	}
	v := g.vars[g.r.IntN(len(g.vars))]
	if t == ir.I64 {
		return g.wide(v)
	}
	return g.narrow(v)
}

// region emits statements.
func (g *irGen) region(depth int) {
	n := 2 + g.r.IntN(12)
	for range n {
		if g.left <= 0 {
			return
		}
		g.left--
		switch k := g.r.IntN(20); {
		case k == 0 && depth > 0:
			g.ifElse(depth - 1)
		case k == 1 && depth > 0:
			g.loop(depth - 1)
		default:
			g.statement()
		}
	}
	if depth == 3 && g.left > 0 {
		g.region(depth)
	}
}

// params adds a block with a parameter for each variable.
func (g *irGen) params() (*ir.Block, []*ir.Value) {
	b := g.f.NewBlock()
	var vars []*ir.Value
	for _, v := range g.vars {
		vars = append(vars, g.f.NewParam(b, v.Type, -1))
	}
	return b, vars
}

func (g *irGen) cond() *ir.Value {
	ops := []ir.Op{ir.OpEQ, ir.OpNE, ir.OpULT, ir.OpULE, ir.OpSLT, ir.OpSLE, ir.OpTest}
	t := ir.Type(1 + g.r.IntN(2))
	return g.f.Add(g.b, ops[g.r.IntN(len(ops))], ir.I32, -1, g.pick(t), g.pick(t))
}

func (g *irGen) ifElse(depth int) {
	yes, no := g.f.NewBlock(), g.f.NewBlock()
	g.b.Branch(-1, g.cond(), ir.Edge{To: yes}, ir.Edge{To: no})
	start := append([]*ir.Value(nil), g.vars...)
	join, merged := g.params()
	for _, b := range []*ir.Block{yes, no} {
		g.b, g.vars = b, append([]*ir.Value(nil), start...)
		g.region(depth)
		g.b.Jump(-1, join, g.vars...)
	}
	g.b, g.vars = join, merged
}

func (g *irGen) loop(depth int) {
	count := g.constant(ir.I32, int64(1+g.r.IntN(4)))
	head, vars := g.params()
	counter := g.f.NewParam(head, ir.I32, -1)
	g.b.Jump(-1, head, append(append([]*ir.Value(nil), g.vars...), count)...)
	g.b, g.vars = head, vars
	g.region(depth)
	if g.r.IntN(2) == 0 { // a permutation: the edge's copies contain cycles
		for i := len(g.vars) - 1; i > 0; i-- {
			if j := g.r.IntN(i + 1); g.vars[i].Type == g.vars[j].Type {
				g.vars[i], g.vars[j] = g.vars[j], g.vars[i]
			}
		}
	}
	less := g.f.Add(g.b, ir.OpSub, ir.I32, -1, counter, g.constant(ir.I32, 1))
	more := g.f.Add(g.b, ir.OpNE, ir.I32, -1, less, g.constant(ir.I32, 0))
	out := g.f.NewBlock()
	g.b.Branch(-1, more, ir.Edge{To: head, Args: append(append([]*ir.Value(nil), g.vars...), less)}, ir.Edge{To: out})
	g.b = out
}

func (g *irGen) set(v *ir.Value) {
	var same []int
	for i, x := range g.vars {
		if x.Type == v.Type {
			same = append(same, i)
		}
	}
	if len(same) > 0 {
		g.vars[same[g.r.IntN(len(same))]] = v
	}
}

func (g *irGen) stackAt(off int) *ir.Value {
	a := g.f.Add(g.b, ir.OpStackAddr, ir.I32, -1)
	a.Int = int64(off)
	return a
}

// offset is an offset below limit-size that is not known to the compiler.
func (g *irGen) offset(limit, size int) *ir.Value {
	mask := 1
	for 2*mask+1+size <= limit {
		mask = 2*mask + 1
	}
	return g.f.Add(g.b, ir.OpAnd, ir.I32, -1, g.narrow(g.vars[g.r.IntN(len(g.vars))]), g.constant(ir.I32, int64(mask)))
}

func (g *irGen) packetAt(size int) *ir.Value {
	if g.r.IntN(3) == 0 && len(g.vars) > 0 {
		return g.f.Add(g.b, ir.OpAdd, ir.I32, -1, g.mem, g.offset(genMem, size))
	}
	return g.f.Add(g.b, ir.OpAdd, ir.I32, -1, g.mem, g.constant(ir.I32, int64(g.r.IntN(genMem-size+1))))
}

// place is an address in the stack, with what is known of its alignment.
func (g *irGen) place(size int) (addr *ir.Value, align, phase uint8) {
	if g.r.IntN(3) > 0 {
		off := g.r.IntN(genFrame - size + 1)
		return g.stackAt(off), 8, uint8(off % 8)
	}
	off := g.offset(genFrame-8, size)
	if g.r.IntN(3) > 0 {
		return g.f.Add(g.b, ir.OpAdd, ir.I32, -1, g.stackAt(g.r.IntN(8)), off), 0, 0
	}
	off = g.f.Add(g.b, ir.OpAnd, ir.I32, -1, off, g.constant(ir.I32, -4))
	phase = uint8(g.r.IntN(4))
	return g.f.Add(g.b, ir.OpAdd, ir.I32, -1, g.stackAt(int(phase)), off), 4, phase
}

func (g *irGen) load(t ir.Type, addr *ir.Value, s ir.Space, size uint8) *ir.Value {
	v := g.f.Add(g.b, ir.OpLoad, t, -1, addr)
	v.Space, v.Size = s, size
	return v
}

func (g *irGen) memory() {
	size := uint8(1) << g.r.IntN(4)
	t := ir.I32
	if size == 8 {
		t = ir.I64
	}
	space, align, phase := ir.Packet, uint8(0), uint8(0)
	var addr *ir.Value
	if g.mem != nil && (g.f.Frame == 0 || g.r.IntN(3) == 0) {
		addr = g.packetAt(int(size))
	} else if g.f.Frame > 0 {
		space = ir.Stack
		if size >= 4 && g.r.IntN(4) == 0 {
			g.atomic(t, size)
			return
		}
		addr, align, phase = g.place(int(size))
	} else {
		return
	}
	if g.r.IntN(2) == 0 {
		v := g.load(t, addr, space, size)
		v.Align, v.Phase = align, phase
		g.set(v)
		return
	}
	v := g.f.Add(g.b, ir.OpStore, ir.Void, -1, addr, g.pick(t))
	v.Space, v.Size, v.Align, v.Phase = space, size, align, phase
}

func (g *irGen) atomic(t ir.Type, size uint8) {
	op := ir.AtomicOp(g.r.IntN(6))
	if g.r.IntN(2) == 0 || op >= ir.AtomicXchg {
		op |= ir.AtomicFetch
	}
	addr, align, phase := g.place(int(size))
	v := g.f.NewValue(ir.OpAtomic, ir.Void, -1, addr, g.pick(t))
	if op.Base() == ir.AtomicCmpXchg {
		v.Args = append(v.Args, g.pick(t))
	}
	g.b.Values = append(g.b.Values, v)
	v.Int, v.Space, v.Size, v.Align, v.Phase = int64(op), ir.Stack, size, align, phase
	if op.Fetches() {
		v.Type = t
		g.set(v)
	}
}

// statement changes one variable, or memory.
func (g *irGen) statement() {
	t := ir.Type(1 + g.r.IntN(2))
	two := []ir.Op{ir.OpAdd, ir.OpSub, ir.OpMul, ir.OpAnd, ir.OpOr, ir.OpXor}
	div := []ir.Op{ir.OpUDiv, ir.OpUMod, ir.OpSDiv, ir.OpSMod}
	shifts := []ir.Op{ir.OpShl, ir.OpShr, ir.OpSar}
	add := func(op ir.Op, t ir.Type, args ...*ir.Value) *ir.Value {
		v := g.f.Add(g.b, op, t, -1, args...)
		g.set(v)
		return v
	}
	switch g.r.IntN(14) {
	case 0, 1, 2, 3:
		add(two[g.r.IntN(len(two))], t, g.pick(t), g.pick(t))
	case 4:
		if g.r.IntN(3) == 0 {
			add(div[g.r.IntN(len(div))], t, g.pick(t), g.pick(t))
		}
	case 5, 6:
		n := g.pick(ir.I32)
		if g.r.IntN(2) == 0 {
			n = g.constant(ir.I32, int64(g.r.IntN(64)))
		}
		add(shifts[g.r.IntN(3)], t, g.pick(t), n)
	case 7:
		add([]ir.Op{ir.OpSExt8, ir.OpSExt16}[g.r.IntN(2)], t, g.pick(t))
	case 8:
		v := add(ir.OpBSwap, t, g.pick(t))
		v.Int = 64
		if t == ir.I32 {
			v.Int = int64(16 << g.r.IntN(2))
		}
	case 9:
		g.set(g.cond())
	case 10:
		add(ir.OpSelect, t, g.cond(), g.pick(t), g.pick(t))
	case 11:
		if g.callee != nil && g.mem != nil {
			var args []*ir.Value
			for range g.callee.Params {
				args = append(args, g.pick(ir.I64))
			}
			add(ir.OpCallFunc, ir.I64, args...).Sym = g.callee.Name
		}
	default:
		g.memory()
	}
}
