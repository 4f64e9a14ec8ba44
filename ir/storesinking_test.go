package ir

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// waysText writes functions of branches and loops whose paths store to few places of
// packet and map, in the legal form.
type waysText struct {
	r     *rand.Rand
	b     strings.Builder
	next  int // value
	block int
	words []int
}

func (w *waysText) emit(format string, args ...any) int {
	w.next++
	fmt.Fprintf(&w.b, "  v%d:i32 = "+format+"\n", append([]any{w.next}, args...)...)
	return w.next
}

func (w *waysText) pick() int { return w.words[w.r.IntN(len(w.words))] }

func (w *waysText) address(space string, off int) string {
	n := w.emit("const %d", off)
	switch {
	case space == "map":
		return fmt.Sprintf("v%d, v%d", w.emit("add v3, v%d", n), w.emit("addhi v3, v%d, v4, v5", n))
	case w.r.IntN(20) == 0: // somewhere
		base := w.emit("add v1, v%d", w.emit("and v%d, v%d", w.pick(), w.emit("const 28")))
		return fmt.Sprintf("v%d", w.emit("add v%d, v%d", base, n))
	}
	return fmt.Sprintf("v%d", w.emit("add v1, v%d", n))
}

// some does a few things in the block that is open.
func (w *waysText) some() {
	for range w.r.IntN(6) {
		space, big := "packet", ""
		if w.r.IntN(3) == 0 {
			space = "map"
		}
		size := 1 << w.r.IntN(4)
		off := size * w.r.IntN(16/size)
		if space == "map" && w.r.IntN(3) > 0 {
			big, off, size = " big align=4", off&^3, max(size, 4)
		}
		switch k := w.r.IntN(24); {
		case k < 2:
			w.words = append(w.words, w.emit("const %d", w.r.Int32()))
		case k < 4:
			w.words = append(w.words, w.emit("xor v%d, v%d", w.pick(), w.pick()))
		case k == 4:
			w.words = append(w.words, w.emit("load.%s.4 %s", space, w.address(space, off)))
		case k == 5:
			w.next++
			fmt.Fprintf(&w.b, "  v%d:tuple = helper.7 v5, v5\n", w.next)
		case k == 6 && space == "map":
			fmt.Fprintf(&w.b, "  atomic.add.map.4 %s, v%d\n", w.address(space, off&^3), w.pick())
		default:
			data := fmt.Sprintf("v%d", w.pick())
			if size == 8 {
				data += fmt.Sprintf(", v%d", w.pick())
			}
			fmt.Fprintf(&w.b, "  store.%s.%d %s, %s%s\n", space, size, w.address(space, off), data, big)
		}
	}
}

func (w *waysText) bit() int {
	return w.emit("and v%d, v%d", w.pick(), w.emit("const %d", 1<<w.r.IntN(8)))
}

// region writes what leads from the open block to another one that it leaves open.
func (w *waysText) region(depth int) {
	for range 1 + w.r.IntN(3) {
		w.some()
		first := w.block + 1
		w.block += 3
		words := len(w.words)
		kind := w.r.IntN(8)
		begin := func(n int) {
			w.words = w.words[:words]
			fmt.Fprintf(&w.b, "b%d:\n", n)
			w.some()
			if depth > 0 && w.r.IntN(4) == 0 {
				w.region(depth - 1)
				w.some()
			}
		}
		switch {
		case kind == 0: // three times round
			fmt.Fprintf(&w.b, "  jump b%d(v5)\n", first)
			w.next += 2
			at := w.next
			fmt.Fprintf(&w.b, "b%d(v%d:i32):\n", first, at)
			w.some()
			next := w.emit("add v%d, v%d", at, w.emit("const 1"))
			fmt.Fprintf(&w.b, "  branch v%d b%d b%d\nb%d:\n", w.emit("ult v%d, v%d", next, w.emit("const 3")), first+1, first+2, first+1)
			w.some()
			fmt.Fprintf(&w.b, "  jump b%d(v%d)\n", first, next)
		case kind < 3: // one path is empty
			fmt.Fprintf(&w.b, "  branch v%d b%d b%d\n", w.bit(), first, first+2)
			begin(first)
			fmt.Fprintf(&w.b, "  jump b%d\n", first+2)
		case kind == 3: // one path ends
			fmt.Fprintf(&w.b, "  branch v%d b%d b%d\n", w.bit(), first, first+2)
			begin(first)
			fmt.Fprintf(&w.b, "  return v%d\n", w.pick())
		default:
			fmt.Fprintf(&w.b, "  branch v%d b%d b%d\n", w.bit(), first, first+1)
			begin(first)
			fmt.Fprintf(&w.b, "  jump b%d\n", first+2)
			begin(first + 1)
			fmt.Fprintf(&w.b, "  jump b%d\n", first+2)
		}
		w.words = w.words[:words]
		fmt.Fprintf(&w.b, "b%d:\n", first+2)
	}
}

func randomWays(seed uint64) string {
	w := &waysText{r: rand.New(rand.NewPCG(seed, 9)), next: 20}
	w.b.WriteString("func f() i32 frame=8 {\nb0:\n  v1:i32 = packetstart\n  v2:tuple = mapvalueaddr one, 0\n  v3:i32 = part.0 v2\n  v4:i32 = part.1 v2\n  v5:i32 = const 0\n")
	for i := range 3 {
		w.words = append(w.words, w.emit("load.packet.4 v%d", w.emit("add v1, v%d", w.emit("const %d", 20+4*i))))
	}
	w.region(2)
	w.some()
	fmt.Fprintf(&w.b, "  return v%d\n}\n", w.pick())
	return w.b.String()
}

// storing counts the stores of a function.
func storing(f *Func) (n int) {
	for _, b := range f.Blocks {
		for _, v := range b.Values {
			if v.Op == OpStore || v.Op == OpWrite {
				n++
			}
		}
	}
	return n
}

// TestSinkStores checks that random paths leave the same bytes and the same result
// after dead stores are removed, after stores sink, and after stores at joins are
// combined.
func TestSinkStores(t *testing.T) {
	dead, sunk, before, after := 0, 0, 0, 0
	for seed := range uint64(800) {
		text := randomWays(seed)
		m, err := Parse(text)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		if err := CheckLegal(m); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		f := m.Funcs[0]
		f.NumberValues()
		plain := m.String()
		check := func(pass string) {
			t.Helper()
			if err := CheckLegal(m); err != nil {
				t.Fatalf("seed %d: %s: %v\n%s\n%s", seed, pass, err, plain, m)
			}
			for run := range uint64(3) {
				old, err := Parse(plain)
				if err != nil {
					t.Fatal(err)
				}
				want, got := randomWorld(run), randomWorld(run)
				x, err := Eval(old, want, nil, 10000)
				if err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, err, plain)
				}
				y, err := Eval(m, got, nil, 10000)
				if err != nil || x.R0 != y.R0 || !reflect.DeepEqual(got, want) {
					t.Fatalf("seed %d: %s: r0 %#x %v, want %#x\n%s\n%s", seed, pass, y.R0, err, x.R0, plain, m)
				}
			}
		}
		n := storing(f)
		f.EliminateDeadStores()
		check("deadstores")
		dead += n - storing(f)
		whole := m.String()
		f.SinkStores()
		if m.String() != whole {
			sunk++
		}
		check("sink")
		f.CombineStores()
		check("stores")
		after += storing(f)
		without, err := Parse(whole)
		if err != nil {
			t.Fatal(err)
		}
		without.Funcs[0].CombineStores()
		before += storing(without.Funcs[0])
	}
	t.Logf("%d stores dead, %d functions changed by sinking, %d commands after of %d", dead, sunk, after, before)
	if dead < 100 || sunk < 300 || after >= before {
		t.Errorf("%d stores dead, %d functions changed by sinking, %d commands after of %d", dead, sunk, after, before)
	}
}

// randomWorld is a world of any bytes.
func randomWorld(seed uint64) *world {
	r, w := rand.New(rand.NewPCG(seed, 11)), newWorld()
	for _, s := range []Space{Stack, Packet, MapMem} {
		for i := range w.mem[s] {
			w.mem[s][i] = byte(r.Uint32())
		}
	}
	return w
}
