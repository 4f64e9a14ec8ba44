package ir

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestLowerSwitches checks that a chain reaches the same target for each of its
// numbers and for their neighbours.
func TestLowerSwitches(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	searched := 0
	for range 300 {
		n := 2 + rng.IntN(60)
		width := []int{8, 16, 32}[rng.IntN(3)]
		var b strings.Builder
		fmt.Fprintf(&b, "func main(v0:i32, v1:i32) i32 frame=0 {\nb0:\n  v2:i32 = const %d\n  v3:i32 = and v0, v2\n  jump b1\n", int32(1<<width-1))
		var cases []uint32
		for i := range n {
			c := rng.Uint32() >> (32 - width)
			if rng.IntN(4) == 0 && i > 0 {
				c = cases[i-1] + 1
			}
			cases = append(cases, c)
			op, yes, no := "eq", fmt.Sprintf("b999(v%d)", 1000+i), fmt.Sprintf("b%d", i+2)
			if rng.IntN(2) == 0 {
				op, yes, no = "ne", no, yes
			}
			fmt.Fprintf(&b, "b%d:\n  v%d:i32 = const %d\n  v%d:i32 = const %d\n  v%d:i32 = %s v3, v%d\n  branch v%d %s %s\n",
				i+1, 1000+i, i, 2000+i, int32(c), 3000+i, op, 2000+i, 3000+i, yes, no)
		}
		fmt.Fprintf(&b, "b%d:\n  v900:i32 = const -1\n  return v900\nb999(v901:i32):\n  return v901\n}\n", n+1)
		before, err := Parse(b.String())
		if err != nil {
			t.Fatalf("%v\n%s", err, b.String())
		}
		after, _ := Parse(b.String())
		after.Funcs[0].LowerSwitches(chipCosts())
		if err := CheckLegal(after); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(after.String(), "ult") {
			searched++
		}
		for _, c := range cases {
			for _, x := range []uint32{c, c - 1, c + 1, rng.Uint32()} {
				want, err := Eval(before, newWorld(), []uint64{uint64(x), 0}, 1000)
				if err != nil {
					t.Fatal(err)
				}
				got, err := Eval(after, newWorld(), []uint64{uint64(x), 0}, 1000)
				if err != nil {
					t.Fatal(err)
				}
				if got.R0 != want.R0 {
					t.Fatalf("%#x: %d, want %d\n%s", x, int32(got.R0), int32(want.R0), b.String())
				}
			}
		}
	}
	if searched == 0 {
		t.Error("no chain became a search")
	}
}
