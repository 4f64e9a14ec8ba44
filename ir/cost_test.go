package ir

import (
	"strings"
	"testing"
)

// chipCosts are about those of the cards.
func chipCosts() *Costs { return &Costs{Branch: 3, Return: 3, Mul: 6, MulWide: 7, WordsPerCycle: 4} }

// TestProductCost checks that a product of three shifted terms stays a product if the
// multiplier is fast, and becomes a sum if it is slow.
func TestProductCost(t *testing.T) {
	const text = "func main(v0:i32) i32 frame=0 {\nb0:\n  v1:i32 = const 273\n  v2:i32 = mul v0, v1\n  return v2\n}\n"
	for _, c := range []struct {
		mul  int
		want string
	}{{2, "mul"}, {6, "shl"}, {30, "shl"}} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		costs := chipCosts()
		costs.Mul = c.mul
		m.Funcs[0].MultiplyByConstants(costs)
		if got := m.String(); !strings.Contains(got, c.want) {
			t.Errorf("a multiplier of %d words: no %s in\n%s", c.mul, c.want, got)
		}
	}
}
