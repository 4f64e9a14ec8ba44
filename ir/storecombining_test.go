package ir

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// storesText is a straight line of stores to packet and map, with loads, lookups
// and atomics between them, in the legal form.
func storesText(r *rand.Rand) string {
	var b strings.Builder
	next := 20
	emit := func(format string, args ...any) int {
		next++
		fmt.Fprintf(&b, "  v%d:i32 = "+format+"\n", append([]any{next}, args...)...)
		return next
	}
	b.WriteString("func f() i32 frame=8 {\nb0:\n  v1:i32 = packetstart\n  v2:tuple = mapvalueaddr one, 0\n  v3:i32 = part.0 v2\n  v4:i32 = part.1 v2\n  v5:i32 = const 0\n")
	words := []int{emit("load.packet.4 v1"), emit("load.map.4 v3, v4 align=4")}
	pick := func() int { return words[r.IntN(len(words))] }
	address := func(space string, off int) string {
		n := emit("const %d", off)
		if space == "packet" {
			return fmt.Sprintf("v%d", emit("add v1, v%d", n))
		}
		return fmt.Sprintf("v%d, v%d", emit("add v3, v%d", n), emit("addhi v3, v%d, v4, v5", n))
	}
	at := 0
	for range 4 + r.IntN(40) {
		space := "packet"
		if r.IntN(3) == 0 {
			space = "map"
		}
		size := 1 << r.IntN(4)
		if at > 72 || r.IntN(4) == 0 {
			at = r.IntN(72)
		}
		big := ""
		if space == "map" && r.IntN(3) > 0 {
			big, at, size = " big align=4", at&^3, max(size, 4)
		}
		switch k := r.IntN(24); {
		case k < 5:
			words = append(words, emit("const %d", r.Int32()))
		case k < 10:
			n := emit("const %d", 8*r.IntN(4))
			words = append(words, emit("%s v%d, v%d", [...]string{"shl", "shr"}[r.IntN(2)], pick(), n),
				emit("funnel v%d, v%d, v%d", pick(), pick(), n))
		case k < 12:
			words = append(words, emit("and v%d, v%d", pick(), emit("const %d", []uint32{0xff, 0xffff, 0xffff00, 0xff0000ff, 0xf0f}[r.IntN(5)])))
		case k == 12:
			words = append(words, emit("load.%s.4 %s", space, address(space, at+r.IntN(12))))
		case k == 13:
			b.WriteString("  v" + fmt.Sprint(next+1) + ":tuple = helper.7 v5, v5\n")
			next++
		case k == 14 && space == "map":
			fmt.Fprintf(&b, "  atomic.add.map.4 %s, v%d\n", address(space, at&^3), pick())
		default:
			data := fmt.Sprintf("v%d", pick())
			if size == 8 {
				data += fmt.Sprintf(", v%d", pick())
			}
			fmt.Fprintf(&b, "  store.%s.%d %s, %s%s\n", space, size, address(space, at), data, big)
			at += size
		}
	}
	fmt.Fprintf(&b, "  return v%d\n}\n", pick())
	return b.String()
}

// TestCombineStores checks that random straight-line code leaves the same bytes and
// the same result, with fewer commands.
func TestCombineStores(t *testing.T) {
	stores, after := 0, 0
	count := func(f *Func) (n int) {
		for _, v := range f.Blocks[0].Values {
			if v.Op == OpStore || v.Op == OpWrite {
				n++
			}
		}
		return n
	}
	for seed := range uint64(3000) {
		text := storesText(rand.New(rand.NewPCG(seed, 5)))
		m, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := CheckLegal(m); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		want := newWorld()
		r0, err := Eval(m, want, nil, 1000)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		f := m.Funcs[0]
		stores += count(f)
		f.CombineStores()
		after += count(f)
		if err := CheckLegal(m); err != nil {
			t.Fatalf("seed %d: %v\n%s\n%s", seed, err, text, m)
		}
		if again, err := Parse(m.String()); err != nil || again.String() != m.String() {
			t.Fatalf("seed %d: %v\n%s", seed, err, m)
		}
		got := newWorld()
		again, err := Eval(m, got, nil, 1000)
		if err != nil || again.R0 != r0.R0 || !reflect.DeepEqual(got, want) {
			t.Fatalf("seed %d: r0 %#x %v, want %#x\n%s\n%s", seed, again.R0, err, r0.R0, text, m)
		}
	}
	if 4*after > 3*stores {
		t.Errorf("%d of %d stores remain", after, stores)
	}
}
