package ir

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// TestConvertIfs checks that the converted choice has the branch's value, of constants
// and of other numbers, with taken branches free and with branches dear.
func TestConvertIfs(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	numbers := []uint32{0, 1, 2, 5, 6, 255, 256, 1 << 16, 1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1}
	pick := func() uint32 {
		if rng.IntN(3) == 0 {
			return rng.Uint32()
		}
		return numbers[rng.IntN(len(numbers))]
	}
	flat := 0
	for i := range 2000 {
		costs := chipCosts()
		costs.Branch = []int{0, 3, 20}[i%3]
		x, y := pick(), pick()
		if rng.IntN(3) == 0 {
			y = x - 1 + 2*uint32(rng.IntN(2))
		}
		op, with := []string{"eq", "ne", "ult", "ule", "test"}[rng.IntN(5)], pick()
		if op == "test" {
			with = 1 << rng.IntN(32)
		}
		args := []string{"v0", "v1", "v10", "v11"} // of the branch: x and y are constants
		text := fmt.Sprintf("func main(v0:i32, v1:i32) i32 frame=0 {\nb0:\n  v10:i32 = const %d\n  v11:i32 = const %d\n  v12:i32 = const %d\n  v13:i32 = %s v0, %s\n"+
			"  branch v13 b1(%s) b1(%s)\nb1(v14:i32):\n  return v14\n}\n", int32(x), int32(y), int32(with), op,
			[]string{"v12", "v1"}[b2i(op != "test" && rng.IntN(4) == 0)], args[rng.IntN(4)], args[rng.IntN(4)])
		before, err := Parse(text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		after, _ := Parse(text)
		after.Funcs[0].ConvertIfs(costs)
		if err := CheckLegal(after); err != nil {
			t.Fatalf("%v\n%s", err, after)
		}
		if !strings.Contains(after.String(), "branch") {
			flat++
		}
		for _, n := range []uint32{with, with - 1, with + 1, 0, pick(), pick()} {
			in := []uint64{uint64(n), uint64(pick())}
			want, err := Eval(before, newWorld(), in, 100)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Eval(after, newWorld(), in, 100)
			if err != nil {
				t.Fatal(err)
			}
			if got.R0 != want.R0 {
				t.Fatalf("%#x: %#x, want %#x\n%s\n%s", in, got.R0, want.R0, text, after)
			}
		}
	}
	if flat < 300 {
		t.Errorf("only %d of 2000 choices became numbers", flat)
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Each form of a choice is the choice, for all values and either comparison.
func TestChoicesProved(t *testing.T) {
	if testing.Short() {
		t.Skip("takes longer than make check may")
	}
	z3, err := exec.LookPath("z3")
	if err != nil {
		t.Skip("no z3 (Debian package z3): TestFlattenDiamonds alone checks the choices")
	}
	for _, op := range []Op{OpEQ, OpNE, OpULT, OpULE, OpTest} {
		for form, when := range map[choiceForm]string{chooseBit: "(and (eq x 1) (eq y 0))", chooseNext: "(eq x (add y 1))", chooseMask: ""} {
			for _, opposite := range []bool{false, true} {
				f := &Func{}
				b := f.NewBlock()
				letters := map[*Value]string{}
				param := func(letter string) *Value {
					v := f.NewParam(b, I32, 0)
					letters[v] = letter
					return v
				}
				d := &choice{form: form, opposite: opposite, x: param("x"), y: param("y")}
				d.cond = f.Add(b, op, I32, 0, param("v"), param("w"))
				from := fmt.Sprintf("(select %s x y)", expression(d.cond, letters))
				if opposite { // x is of the opposite comparison
					from = fmt.Sprintf("(select %s y x)", expression(d.cond, letters))
				}
				r := Rule{From: from, To: expression(f.choose(b, d), letters), If: when, Width: 32}
				prove(t, z3, r.String(), question(t, r, 32))
			}
		}
	}
}

// expression is a value as rules write it.
func expression(v *Value, letters map[*Value]string) string {
	if l := letters[v]; l != "" {
		return l
	}
	if v.Op == OpConst {
		return fmt.Sprint(v.Int)
	}
	parts := []string{"(" + v.Op.String()}
	for _, a := range v.Args {
		parts = append(parts, expression(a, letters))
	}
	return strings.Join(parts, " ") + ")"
}
