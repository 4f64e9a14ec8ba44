package ir

import (
	"slices"
	"testing"
)

// evaluate is an expression's value by the operations' own meaning (evalop.go).
func evaluate(t *testing.T, e *Expr, w, width int, vars *[len(variables)]uint64) uint64 {
	switch {
	case e.Var != 0:
		return cutTo(vars[varIndex(e.Var)], w)
	case e.Bits:
		return uint64(width)
	case e.Op == OpInvalid:
		return cutTo(uint64(e.Num), w)
	}
	x := XWidth(e, width)
	var a [4]uint64
	for i, arg := range e.Args {
		a[i] = evaluate(t, arg, ArgWidth(e.Op, i, w, x), width, vars)
	}
	out := opWidth(e.Op, w)
	switch e.Op {
	case OpSelect:
		if a[0] != 0 {
			return a[1]
		}
		return a[2]
	case OpBSwap:
		return bswap(a[0], e.Int)
	case OpAddHi, OpSubHi, OpFunnel, OpULT64, OpSLT64:
		return halves(e.Op, uint32(a[0]), uint32(a[1]), uint32(a[2]), uint32(a[3]))
	}
	n, ok := scalarOp(e.Op, ArgWidth(e.Op, 0, w, x) == 64, a[0], a[1])
	if !ok {
		t.Fatalf("no value of %v", e.Op)
	}
	return cutTo(n, out)
}

// letters are the variables of an expression.
func letters(e *Expr, into []byte) []byte {
	if e == nil {
		return into
	}
	if e.Var != 0 && !slices.Contains(into, e.Var) {
		into = append(into, e.Var)
	}
	for _, a := range e.Args {
		into = letters(a, into)
	}
	return into
}

// inputs returns the values to try for each of n variables: all values of 8 bits and
// all with only the top byte set if there are at most two, else edge cases.
func inputs(n int) []uint64 {
	edges := []uint64{0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 0x7f, 0x80, 0xff, 0x100, 0x8000, 0xffff, 0x10000,
		1<<31 - 1, 1 << 31, 1<<32 - 2, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0) - 1, ^uint64(0)}
	if n > 2 {
		return edges
	}
	for i := range uint64(256) {
		edges = append(edges, i)
		if n == 1 {
			edges = append(edges, i<<24, i<<56, i<<8|0xff, ^i)
		}
	}
	return edges
}

// TestRulesExhaustive checks each rule for all values of 8 bits of up to two
// variables, and for edge cases of more; TestRulesProved covers all inputs if z3 is
// installed. It also checks that the proofs' semantics are Eval's, since a rule that
// z3 proves must hold here.
func TestRulesExhaustive(t *testing.T) {
	if testing.Short() {
		t.Skip("takes longer than make check may")
	}
	for _, r := range Rules {
		from, to, cond := parse(t, r.From), parse(t, r.To), parse(t, r.If)
		names := letters(cond, letters(to, letters(from, nil)))
		if len(names) > 4 {
			t.Fatalf("%s: %d variables", r, len(names))
		}
		for _, w := range widths(t, r) {
			tryRule(t, r, from, to, cond, names, w)
		}
	}
}

func tryRule(t *testing.T, r Rule, from, to, cond *Expr, names []byte, w int) {
	var vars [len(variables)]uint64
	values := inputs(len(names))
	result := opWidth(from.Op, w)
	held := 0
	at := make([]int, len(names))
	for {
		for i, name := range names {
			vars[varIndex(name)] = cutTo(values[at[i]], VarWidth(name, w))
		}
		if cond == nil || evaluate(t, cond, 32, w, &vars) != 0 {
			held++
			if a, b := evaluate(t, from, result, w, &vars), evaluate(t, to, result, w, &vars); a != b {
				t.Errorf("%d bits: %s: %#x and %#x", w, r, a, b)
				return
			}
		}
		i := 0
		for ; i < len(at); i++ {
			if at[i]++; at[i] < len(values) {
				break
			}
			at[i] = 0
		}
		if i == len(at) {
			break
		}
	}
	if held == 0 {
		t.Errorf("%d bits: %s: its condition never holds", w, r)
	}
}
