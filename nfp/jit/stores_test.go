package jit_test

import (
	"math/rand/v2"
	"testing"

	"github.com/nfpkit/nfpkit/ir"
)

// randomStores is straight lines of loads, and of stores that mostly lie side by
// side, with branches between them.
func randomStores(r *rand.Rand) *ir.Module {
	f := &ir.Func{Name: "main", Result: ir.I64}
	for i := range 2 {
		p := f.NewValue(ir.OpParam, ir.I64, -1)
		p.Int = int64(i)
		f.Params = append(f.Params, p)
	}
	b := f.NewBlock()
	g := &irGen{r: r, f: f, b: b}
	g.mem = f.Add(b, ir.OpTrunc, ir.I32, -1, f.Params[0])
	words := []*ir.Value{g.mem, g.constant(ir.I32, int64(r.Int32()))}
	pick := func() *ir.Value { return words[r.IntN(len(words))] }
	at := 0
	for range 5 + r.IntN(60) {
		size := 1 << r.IntN(4)
		if at+size > genMem || r.IntN(5) == 0 {
			at = r.IntN(genMem - 8)
		}
		addr := f.Add(g.b, ir.OpAdd, ir.I32, -1, g.mem, g.constant(ir.I32, int64(at)))
		switch k := r.IntN(16); {
		case k < 4:
			words = append(words, g.load(ir.I32, addr, ir.Packet, min(uint8(size), 4)))
		case k == 4:
			words = append(words, f.Add(g.b, ir.OpShr, ir.I32, -1, pick(), g.constant(ir.I32, int64(8*r.IntN(4)))))
		case k == 5:
			words = append(words, f.Add(g.b, ir.OpXor, ir.I32, -1, pick(), pick()))
		case k == 6 && r.IntN(2) == 0:
			on, other := f.NewBlock(), f.NewBlock()
			g.b.Branch(-1, f.Add(g.b, ir.OpULT, ir.I32, -1, pick(), pick()), ir.Edge{To: on}, ir.Edge{To: other})
			g.b = other
			other.Kind, other.Result = ir.TermReturn, f.Add(other, ir.OpZExt32, ir.I64, -1, pick())
			g.b = on
		default:
			x := pick()
			if size == 8 {
				x = f.Add(g.b, ir.OpOr, ir.I64, -1, f.Add(g.b, ir.OpZExt32, ir.I64, -1, x),
					f.Add(g.b, ir.OpShl, ir.I64, -1, f.Add(g.b, ir.OpZExt32, ir.I64, -1, pick()), g.constant(ir.I32, 32)))
			}
			v := f.Add(g.b, ir.OpStore, ir.Void, -1, addr, x)
			v.Space, v.Size = ir.Packet, uint8(size)
			at += size
		}
	}
	g.b.Kind, g.b.Result = ir.TermReturn, f.Add(g.b, ir.OpZExt32, ir.I64, -1, pick())
	return &ir.Module{Name: "stores", Funcs: []*ir.Func{f}}
}

// TestRandomStores compares what combined stores leave in memory on the simulated
// card with what the stores say.
func TestRandomStores(t *testing.T) {
	p := unlimited(t)
	for seed := range 300 {
		r := newRand(seed)
		m := randomStores(r)
		mem := make([]byte, genMem)
		for i := range mem {
			mem[i] = byte(r.Uint32())
		}
		text := m.String()
		if err := ir.Check(m); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if err := runBoth(p, nil, m, mem); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
	}
}
