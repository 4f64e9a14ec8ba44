package ir

import (
	"math/rand/v2"
	"testing"
)

// randomFunc is a function of n blocks with random edges and nothing in them.
func randomFunc(rnd *rand.Rand, n int) *Func {
	f := &Func{Name: "f", Result: I32}
	for range n {
		f.NewBlock()
	}
	cond := f.Add(f.Blocks[0], OpConst, I32, -1)
	pick := func() *Block { return f.Blocks[1+rnd.IntN(n-1)] }
	for _, b := range f.Blocks {
		switch rnd.IntN(4) {
		case 0:
			b.Kind = TermAbort
		case 1:
			b.Jump(-1, pick())
		default:
			b.Branch(-1, cond, Edge{To: pick()}, Edge{To: pick()})
		}
	}
	return f
}

// reach is which blocks the entry leads to, without passing through avoid.
func reach(f *Func, avoid *Block) map[*Block]bool {
	seen := map[*Block]bool{}
	var visit func(b *Block)
	visit = func(b *Block) {
		if b == avoid || seen[b] {
			return
		}
		seen[b] = true
		for _, e := range b.Succs {
			visit(e.To)
		}
	}
	visit(f.Blocks[0])
	return seen
}

// TestDominators compares with the definition: a dominates b if b cannot be reached
// without passing a.
func TestDominators(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		f := randomFunc(rnd, 2+rnd.IntN(14))
		dom := f.Dominators()
		all := reach(f, nil)
		for _, a := range f.Blocks {
			around := reach(f, a)
			for _, b := range f.Blocks {
				want := a == b || all[a] && all[b] && !around[b]
				if got := dom.Dominates(a, b); got != want {
					t.Fatalf("%v dominates %v: got %v, want %v in\n%v", a, b, got, want, f)
				}
				if want && a != b && !dom.Dominates(a, dom.Idom(b)) {
					t.Fatalf("%v does not dominate the immediate dominator of %v in\n%v", a, b, f)
				}
			}
			if dom.Reachable(a) != all[a] {
				t.Fatalf("%v reachable: %v in\n%v", a, dom.Reachable(a), f)
			}
		}
	}
}

// In reverse postorder a block comes before those it dominates, and exactly the
// reachable ones are there.
func TestReversePostorder(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		f := randomFunc(rnd, 2+rnd.IntN(14))
		dom := f.Dominators()
		at := map[*Block]int{}
		for i, b := range f.ReversePostorder() {
			at[b] = i
		}
		if all := reach(f, nil); len(at) != len(all) {
			t.Fatalf("%d blocks, want %d", len(at), len(all))
		}
		for b := range at {
			if d := dom.Idom(b); d != nil && at[d] >= at[b] {
				t.Fatalf("%v before its dominator %v in\n%v", b, d, f)
			}
		}
		f.RemoveUnreachable()
		for _, b := range f.Blocks {
			if _, ok := at[b]; !ok {
				t.Fatalf("%v stayed", b)
			}
		}
	}
}

func TestEdits(t *testing.T) {
	const before = `module ""

func f() i64 frame=0 {
b0:
  v1:i64 = const 1
  v2:i64 = const 2
  v3:i32 = const 0
  branch v3 b1(v1, v2) b2(v1, v2)
b1(v4:i64, v5:i64):
  jump b2(v5, v4)
b2(v6:i64, v7:i64):
  v8:i64 = add v7, v7
  return v8
}
`
	const replaced = `module ""

func f() i64 frame=0 {
b0:
  v1:i64 = const 1
  v2:i64 = const 2
  v3:i32 = const 0
  branch v3 b1(v1) b2(v1)
b1(v4:i64):
  jump b2(v2)
b2(v6:i64):
  v8:i64 = add v6, v6
  return v8
}
`
	const reduced = `module ""

func f() i64 frame=0 {
b0:
  v1:i64 = const 1
  v2:i64 = const 2
  v3:i32 = const 0
  jump b2(v1)
b2(v6:i64):
  v8:i64 = add v6, v6
  return v8
}
`
	m, err := Parse(before)
	if err != nil {
		t.Fatal(err)
	}
	f := m.Funcs[0]
	value := map[string]*Value{}
	for _, b := range f.Blocks {
		for _, v := range append(append([]*Value{}, b.Params...), b.Values...) {
			value[v.String()] = v
		}
	}
	if uses := f.Uses(); uses[1] != 2 || uses[2] != 2 || uses[7] != 2 || uses[8] != 1 || uses[6] != 0 {
		t.Errorf("uses %v", uses)
	}
	by := make([]*Value, f.NextID)
	by[7], by[5] = value["v6"], value["v2"]
	f.Replace(by)
	f.DropParams(func(v *Value) bool { return v == value["v5"] || v == value["v7"] })
	if got := m.String(); got != replaced {
		t.Errorf("replaced: got\n%s", got)
	}
	if err := Check(m); err != nil {
		t.Error(err)
	}
	if !f.prune() || f.prune() {
		t.Error("prune changes once")
	}
	if got := m.String(); got != reduced {
		t.Errorf("reduced: got\n%s", got)
	}
	f.DropTrivialParams()
	if f.RemoveUnreachable() {
		t.Error("RemoveUnreachable changes after prune and DropTrivialParams")
	}
}
