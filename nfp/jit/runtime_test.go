package jit

import (
	"math/rand/v2"
	"testing"

	"github.com/nfpkit/nfpkit/ir"
)

// TestRoutines evaluates each routine on numbers of all sizes.
func TestRoutines(t *testing.T) {
	want := map[string]func(x, y uint64) uint64{
		routineDiv32: func(x, _ uint64) uint64 {
			n, d := uint32(x), uint32(x>>32)
			if d == 0 {
				return uint64(n) << 32
			}
			return uint64(n/d) | uint64(n%d)<<32
		},
		routineUDiv64: func(x, y uint64) uint64 {
			if y == 0 {
				return 0
			}
			return x / y
		},
		routineUMod64: func(x, y uint64) uint64 {
			if y == 0 {
				return x
			}
			return x % y
		},
		routineSDiv64: func(x, y uint64) uint64 {
			switch int64(y) {
			case 0:
				return 0
			case -1:
				return -x
			}
			return uint64(int64(x) / int64(y))
		},
		routineSMod64: func(x, y uint64) uint64 {
			switch int64(y) {
			case 0:
				return x
			case -1:
				return 0
			}
			return uint64(int64(x) % int64(y))
		},
	}
	rng := rand.New(rand.NewPCG(7, 8))
	number := func() uint64 {
		n := rng.Uint64() >> rng.IntN(64)
		switch rng.IntN(5) {
		case 0:
			return -n
		case 1:
			return 1 << rng.IntN(64)
		case 2:
			return uint64(rng.IntN(3)) - 1
		}
		return n
	}
	for name, f := range want {
		all, err := runtimeRoutines(map[string]bool{name: true})
		if err != nil {
			t.Fatal(err)
		}
		m := &ir.Module{Name: name}
		for _, fn := range all { // the entry comes first
			if fn.Name == name {
				m.Funcs = append([]*ir.Func{fn}, m.Funcs...)
			} else {
				m.Funcs = append(m.Funcs, fn)
			}
		}
		if err := ir.Check(m); err != nil {
			t.Fatal(err)
		}
		for range 3000 {
			args := []uint64{number(), number()}
			out, err := ir.Eval(m, noWorld{}, args[:len(m.Funcs[0].Params)], 3000)
			if err != nil {
				t.Fatal(err)
			}
			if w := f(args[0], args[1]); out.R0 != w {
				t.Fatalf("%s(%#x, %#x) = %#x, want %#x", name, args[0], args[1], out.R0, w)
			}
		}
	}
}

// noWorld is an environment that a routine does not use.
type noWorld struct{ ir.Env }

func (noWorld) StackBase() uint32 { return 0 }
