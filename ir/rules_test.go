package ir

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// smt turns expressions of a rule into SMT-LIB terms over bit vectors.
type smt struct {
	width int
	vars  map[byte]int // width by letter
}

func (s *smt) num(n uint64, w int) string {
	if w < 64 {
		n &= 1<<w - 1
	}
	return fmt.Sprintf("(_ bv%d %d)", n, w)
}

// widths of the test's own: with narrow set an I32 and an I64 are 8 bits each,
// so that all inputs can be tried.
func (s *smt) term(t *testing.T, e *Expr, w int) string {
	switch {
	case e.Var != 0:
		s.vars[e.Var] = VarWidth(e.Var, s.width)
		if s.vars[e.Var] != w {
			t.Fatalf("variable %c is %d bits wide in a place of %d", e.Var, s.vars[e.Var], w)
		}
		return string(e.Var)
	case e.Bits:
		return s.num(uint64(s.width), w)
	case e.Op == OpInvalid:
		return s.num(uint64(e.Num), w)
	}
	x := XWidth(e, s.width)
	var a []string
	for i, arg := range e.Args {
		a = append(a, s.term(t, arg, ArgWidth(e.Op, i, w, x)))
	}
	return s.apply(t, e, w, x, a)
}

var smtBinary = map[Op]string{
	OpAdd: "bvadd", OpSub: "bvsub", OpMul: "bvmul", OpAnd: "bvand", OpOr: "bvor", OpXor: "bvxor",
}

var smtCompare = map[Op]string{OpEQ: "=", OpNE: "distinct", OpULT: "bvult", OpULE: "bvule", OpSLT: "bvslt", OpSLE: "bvsle"}

// apply is an operation on terms; w is the width its place asks for, x that of a
// comparison's arguments.
func (s *smt) apply(t *testing.T, e *Expr, w, x int, a []string) string {
	truth := func(cond string) string { return fmt.Sprintf("(ite %s %s %s)", cond, s.num(1, 32), s.num(0, 32)) }
	zero := s.num(0, w)
	if op, ok := smtBinary[e.Op]; ok {
		return fmt.Sprintf("(%s %s %s)", op, a[0], a[1])
	}
	if op, ok := smtCompare[e.Op]; ok {
		return truth(fmt.Sprintf("(%s %s %s)", op, a[0], a[1]))
	}
	switch e.Op {
	case OpTest:
		return truth(fmt.Sprintf("(distinct (bvand %s %s) %s)", a[0], a[1], s.num(0, x)))
	case OpUDiv:
		return fmt.Sprintf("(ite (= %s %s) %s (bvudiv %s %s))", a[1], zero, zero, a[0], a[1])
	case OpUMod:
		return fmt.Sprintf("(ite (= %s %s) %s (bvurem %s %s))", a[1], zero, a[0], a[0], a[1])
	case OpSDiv: // MIN / -1 is MIN in SMT-LIB too
		return fmt.Sprintf("(ite (= %s %s) %s (bvsdiv %s %s))", a[1], zero, zero, a[0], a[1])
	case OpSMod:
		return fmt.Sprintf("(ite (= %s %s) %s (bvsrem %s %s))", a[1], zero, a[0], a[0], a[1])
	case OpShl, OpShr, OpSar:
		n := fmt.Sprintf("(bvand %s %s)", a[1], s.num(uint64(w-1), 32))
		if w == 64 {
			n = fmt.Sprintf("((_ zero_extend 32) %s)", n)
		}
		return fmt.Sprintf("(%s %s %s)", map[Op]string{OpShl: "bvshl", OpShr: "bvlshr", OpSar: "bvashr"}[e.Op], a[0], n)
	case OpSExt8, OpSExt16:
		n := 8
		if e.Op == OpSExt16 {
			n = 16
		}
		return fmt.Sprintf("((_ sign_extend %d) ((_ extract %d 0) %s))", w-n, n-1, a[0])
	case OpSExt32:
		return fmt.Sprintf("((_ sign_extend 32) %s)", a[0])
	case OpZExt32:
		return fmt.Sprintf("((_ zero_extend 32) %s)", a[0])
	case OpTrunc:
		return fmt.Sprintf("((_ extract 31 0) %s)", a[0])
	case OpBSwap:
		var parts []string
		for i := int64(0); i < e.Int; i += 8 {
			parts = append(parts, fmt.Sprintf("((_ extract %d %d) %s)", i+7, i, a[0]))
		}
		swapped := "(concat " + strings.Join(parts, " ") + ")"
		if int(e.Int) < w {
			swapped = fmt.Sprintf("((_ zero_extend %d) %s)", w-int(e.Int), swapped)
		}
		return swapped
	case OpSelect:
		return fmt.Sprintf("(ite (distinct %s %s) %s %s)", a[0], s.num(0, 32), a[1], a[2])
	case OpFunnel:
		return fmt.Sprintf("((_ extract 31 0) (bvlshr (concat %s %s) ((_ zero_extend 32) (bvand %s %s))))", a[0], a[1], a[2], s.num(31, 32))
	case OpAddHi, OpSubHi:
		op := smtBinary[map[Op]Op{OpAddHi: OpAdd, OpSubHi: OpSub}[e.Op]]
		return fmt.Sprintf("((_ extract 63 32) (%s (concat %s %s) (concat %s %s)))", op, a[2], a[0], a[3], a[1])
	case OpULT64, OpSLT64:
		op := map[Op]string{OpULT64: "bvult", OpSLT64: "bvslt"}[e.Op]
		return truth(fmt.Sprintf("(%s (concat %s %s) (concat %s %s))", op, a[1], a[0], a[3], a[2]))
	}
	t.Fatalf("no SMT form of %v", e.Op)
	return ""
}

// widths a rule is proved at: those at which its expressions are of the widths
// their places ask for.
func widths(t *testing.T, r Rule) []int {
	var out []int
	for _, w := range []int{32, 64} {
		if r.Width != 0 && r.Width != w {
			continue
		}
		from, to, cond := parse(t, r.From), parse(t, r.To), parse(t, r.If)
		result := opWidth(from.Op, w)
		if fits(from, result, w) && fits(to, result, w) && (cond == nil || fits(cond, 32, w)) {
			out = append(out, w)
		}
	}
	if len(out) == 0 {
		t.Errorf("%s: fits no width", r)
	}
	return out
}

func fits(e *Expr, place, width int) bool {
	switch {
	case e.Var != 0:
		return VarWidth(e.Var, width) == place
	case e.Op == OpInvalid:
		return true
	}
	if opWidth(e.Op, place) != place {
		return false
	}
	x := XWidth(e, width)
	for i, a := range e.Args {
		if !fits(a, ArgWidth(e.Op, i, place, x), width) {
			return false
		}
	}
	return true
}

func parse(t *testing.T, text string) *Expr {
	if text == "" {
		return nil
	}
	e, err := ParseExpr(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return e
}

// resultWidth returns the width of a rule's two sides; a truth value has 32 bits.
func resultWidth(e *Expr, w int) int { return opWidth(e.Op, w) }

// question returns the script that is unsatisfiable if the rule is valid.
func question(t *testing.T, r Rule, width int) string {
	s := &smt{width: width, vars: map[byte]int{}}
	from := parse(t, r.From)
	w := resultWidth(from, width)
	var b strings.Builder
	fmt.Fprintf(&b, "(assert (distinct %s %s))\n", s.term(t, from, w), s.term(t, parse(t, r.To), w))
	if r.If != "" {
		fmt.Fprintf(&b, "(assert (distinct %s %s))\n", s.term(t, parse(t, r.If), 32), s.num(0, 32))
	}
	var head strings.Builder
	head.WriteString("(set-logic QF_BV)\n")
	letters := make([]byte, 0, len(s.vars))
	for v := range s.vars {
		letters = append(letters, v)
	}
	slices.Sort(letters)
	for _, v := range letters {
		fmt.Fprintf(&head, "(declare-const %c (_ BitVec %d))\n", v, s.vars[v])
	}
	return head.String() + b.String() + "(check-sat)\n"
}

// proofTime is the time limit of z3 for one rule at one width.
const proofTime = 60 * time.Second

// Each rule holds for all inputs at each width it claims.
func TestRulesProved(t *testing.T) {
	if testing.Short() {
		t.Skip("takes longer than make check may")
	}
	z3, err := exec.LookPath("z3")
	if err != nil {
		t.Skip("no z3 (Debian package z3): TestRulesExhaustive alone checks the rules")
	}
	type job struct{ what, script string }
	jobs := make(chan job)
	var wg sync.WaitGroup
	defer func() { close(jobs); wg.Wait() }()
	for range 2 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range jobs {
				prove(t, z3, j.what, j.script)
			}
		}()
	}
	for _, r := range Rules {
		for _, w := range widths(t, r) {
			jobs <- job{fmt.Sprintf("%d bits: %s", w, r), question(t, r, w)}
		}
	}
}

func prove(t *testing.T, z3, what, script string) {
	ctx, cancel := context.WithTimeout(t.Context(), proofTime+10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, z3, "-in", fmt.Sprintf("-T:%d", int(proofTime.Seconds())))
	cmd.Stdin = strings.NewReader(script + "(get-model)\n")
	out, _ := cmd.CombinedOutput()
	if answer, _, _ := strings.Cut(string(out), "\n"); answer != "unsat" {
		t.Errorf("%s: z3 says %s\nto\n%s", what, out, script)
	}
}
