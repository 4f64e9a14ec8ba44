package ir

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// Divisions and products by constants give what they gave before.
func TestByConstants(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	small := func() uint64 {
		n := rng.Uint64() >> rng.IntN(64)
		if rng.IntN(4) == 0 {
			n = -n
		}
		return n
	}
	for i := range 4000 {
		op := []string{"udiv", "umod", "sdiv", "smod", "mul"}[i%5]
		a, b := small(), small()
		typ, c, mask := "i64", int64(small()), a|b
		switch {
		case i < 200:
			c = int64(i/5) - 20
		case i%7 == 0:
			c = 1 << rng.IntN(64)
		}
		code := fmt.Sprintf("v3:i64 = const %d\nv4:i64 = and v1, v3\nv5:i64 = const %d\nv6:i64 = %s v4, v5\n", int64(mask), c, op)
		if rng.IntN(2) == 0 {
			typ = "i32"
			code = fmt.Sprintf("v8:i32 = trunc v1\nv3:i32 = const %d\nv4:i32 = and v8, v3\nv5:i32 = const %d\nv7:i32 = %s v4, v5\nv6:i64 = zext32 v7\n", int32(mask), int32(c), op)
		}
		text := "func main(v1:i64, v2:i64) i64 frame=0 {\nb0:\n" + code + "return v6\n}\n"
		before, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		after, _ := Parse(text)
		after.Funcs[0].DivideByConstants(chipCosts())
		after.Funcs[0].MultiplyByConstants(chipCosts())
		if err := Check(after); err != nil {
			t.Fatal(err)
		}
		for range 8 {
			x := small()
			want, err := Eval(before, newWorld(), []uint64{x, 0}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Eval(after, newWorld(), []uint64{x, 0}, 1000)
			if err != nil {
				t.Fatal(err)
			}
			if got.R0 != want.R0 {
				t.Fatalf("%s %#x %s %d: %#x, want %#x", typ, x&mask, op, c, got.R0, want.R0)
			}
		}
	}
}
