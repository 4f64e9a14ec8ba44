package ir

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// A Rule states that one expression may replace another. Rules are data, each valid
// alone and in any order; rules.go lists them, rules_test.go proves each for all
// inputs.
//
// Expressions are written (op arg arg): op is a name of the table, with its number
// after a dot if it has one. An argument is an expression, a number, which is as wide
// as its position requires, "bits", the width of the rule's values, or a variable:
//
//	x y z    values of the rule's width      C D    constants of that width
//	u v w    values of 32 bits               K L    constants of 32 bits
//	d        a value of 64 bits              E      a constant of 64 bits
//	n        a shift amount, 32 bits         N M    constant shift amounts
//
// The rule is for the widths 32 and 64, unless Width names one.
type Rule struct {
	From, To string
	// If must hold: an expression that is 1 for all inputs with the bits that are
	// known of the variables.
	If    string
	Width int
	// Once requires that the arguments of From that are expressions have no other use.
	// Otherwise they would stay, and the replacement would add instructions.
	Once bool
}

func (r Rule) String() string {
	s := r.From + " => " + r.To
	if r.If != "" {
		s += " if " + r.If
	}
	return s
}

// Expr is an expression of a rule.
type Expr struct {
	Op   Op // OpInvalid for a variable or a number
	Int  int64
	Args []*Expr
	Var  byte // its letter
	Num  int64
	Bits bool // the rule's width as a number
}

// Constant reports whether a variable stands for constants only.
func (e *Expr) Constant() bool { return e.Var >= 'A' && e.Var <= 'Z' }

// VarWidth is a variable's width in a rule of some width.
func VarWidth(letter byte, width int) int {
	switch letter {
	case 'u', 'v', 'w', 'n', 'K', 'L', 'N', 'M':
		return 32
	case 'd', 'E':
		return 64
	}
	return width
}

// ParseExpr reads an expression.
func ParseExpr(s string) (*Expr, error) {
	tokens := strings.Fields(strings.ReplaceAll(strings.ReplaceAll(s, "(", " ( "), ")", " ) "))
	e, rest, err := parseExpr(tokens)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%q behind the expression", rest[0])
	}
	return e, err
}

func parseExpr(t []string) (*Expr, []string, error) {
	if len(t) == 0 {
		return nil, nil, fmt.Errorf("expression ends too early")
	}
	if t[0] != "(" {
		e, err := parseLeaf(t[0])
		return e, t[1:], err
	}
	if len(t) < 2 {
		return nil, nil, fmt.Errorf("no operation behind (")
	}
	name, number, dotted := strings.Cut(t[1], ".")
	op, ok := opNamed(name)
	if !ok {
		return nil, nil, fmt.Errorf("no operation %q", name)
	}
	e := &Expr{Op: op}
	if dotted {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, nil, err
		}
		e.Int = n
	}
	for t = t[2:]; len(t) > 0 && t[0] != ")"; {
		a, rest, err := parseExpr(t)
		if err != nil {
			return nil, nil, err
		}
		e.Args, t = append(e.Args, a), rest
	}
	if len(t) == 0 {
		return nil, nil, fmt.Errorf("no )")
	}
	return e, t[1:], nil
}

func parseLeaf(s string) (*Expr, error) {
	switch {
	case s == "bits":
		return &Expr{Bits: true}, nil
	case len(s) == 1 && varIndex(s[0]) >= 0:
		return &Expr{Var: s[0]}, nil
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		u, err2 := strconv.ParseUint(s, 0, 64)
		if err2 != nil {
			return nil, fmt.Errorf("neither number nor variable: %q", s)
		}
		n = int64(u)
	}
	return &Expr{Num: n}, nil
}

// commutes are the operations whose two arguments may change places.
func commutes(op Op) bool {
	switch op {
	case OpAdd, OpMul, OpAnd, OpOr, OpXor, OpEQ, OpNE, OpTest:
		return true
	}
	return false
}

// compiledRule is a rule ready to match.
type compiledRule struct {
	index         int // in Rules
	from, to, if_ *Expr
	width         int
	once          bool
}

// compiledRules returns the rules by the operation they begin with, never written.
var compiledRules = sync.OnceValue(func() *[numOps][]compiledRule {
	var by [numOps][]compiledRule
	for i, r := range Rules {
		c := compiledRule{index: i, width: r.Width, once: r.Once}
		for _, p := range []struct {
			text string
			to   **Expr
		}{{r.From, &c.from}, {r.To, &c.to}, {r.If, &c.if_}} {
			if p.text == "" {
				continue
			}
			e, err := ParseExpr(p.text)
			if err != nil {
				panic(fmt.Sprintf("rule %s: %v", r, err))
			}
			*p.to = e
		}
		by[c.from.Op] = append(by[c.from.Op], c)
	}
	return &by
})

// binding holds the values of a rule's variables.
type binding struct {
	vals  [len(variables)]*Value
	width int
}

// variables are the letters a rule may use.
const variables = "uvwxyzdnCDEKLNM"

func varIndex(letter byte) int { return strings.IndexByte(variables, letter) }

// mayMatch is a quick test of the arguments of e and v, which have one operation.
func mayMatch(e *Expr, v *Value) bool {
	if len(e.Args) != len(v.Args) || e.Int != v.Int {
		return false
	}
	if commutes(e.Op) {
		return likely(e.Args[0], v.Args[0]) && likely(e.Args[1], v.Args[1]) ||
			likely(e.Args[0], v.Args[1]) && likely(e.Args[1], v.Args[0])
	}
	for i, a := range e.Args {
		if !likely(a, v.Args[i]) {
			return false
		}
	}
	return true
}

// likely compares operations; all constants count as equal.
func likely(e *Expr, v *Value) bool {
	switch {
	case e.Op != OpInvalid:
		return e.Op == v.Op
	case e.Var != 0 && !e.Constant():
		return true
	}
	return v.Op == OpConst
}

// match reports whether v matches e, and binds the variables.
func (b *binding) match(e *Expr, v *Value, root bool, single func(*Value) bool) bool {
	switch {
	case e.Op != OpInvalid:
		if v.Op != e.Op || v.Int != e.Int && e.Op != OpConst || len(v.Args) != len(e.Args) {
			return false
		}
		if !root && single != nil && !single(v) {
			return false
		}
		if !commutes(e.Op) {
			for i, a := range e.Args {
				if !b.match(a, v.Args[i], false, single) {
					return false
				}
			}
			return true
		}
		if !likely(e.Args[0], v.Args[0]) || !likely(e.Args[1], v.Args[1]) {
			return b.match(e.Args[0], v.Args[1], false, single) && b.match(e.Args[1], v.Args[0], false, single)
		}
		saved := *b
		if b.match(e.Args[0], v.Args[0], false, single) && b.match(e.Args[1], v.Args[1], false, single) {
			return true
		}
		*b = saved
		return b.match(e.Args[0], v.Args[1], false, single) && b.match(e.Args[1], v.Args[0], false, single)
	case e.Var != 0:
		if e.Constant() && v.Op != OpConst {
			return false
		}
		if VarWidth(e.Var, b.width) != width(v.Type) {
			return false
		}
		at := &b.vals[varIndex(e.Var)]
		if *at == nil {
			*at = v
			return true
		}
		return same(*at, v)
	case e.Bits:
		n, ok := numberOf(v)
		return ok && n == uint64(b.width)
	}
	n, ok := numberOf(v)
	return ok && n == cutTo(uint64(e.Num), width(v.Type))
}

// same reports whether two values are one, or equal constants.
func same(x, y *Value) bool {
	if x == y {
		return true
	}
	a, xc := numberOf(x)
	b, yc := numberOf(y)
	return xc && yc && a == b && x.Type == y.Type
}

// ruleWidth returns the width of a rule's variables x, y, z at value v: that of the
// first argument if the result is a truth value, else v's.
func ruleWidth(v *Value) int {
	if row := v.Op.Row(); row.Result == "w" && len(v.Args) > 0 && row.Args[0] == 'x' {
		return width(v.Args[0].Type)
	}
	return width(v.Type)
}

// ArgWidth is the width of argument i of an operation whose own width is w, that
// of the x arguments of a comparison being x.
func ArgWidth(op Op, i, w, x int) int {
	row := op.Row()
	switch row.Args[min(i, len(row.Args)-1)] {
	case 'w':
		return 32
	case 'd':
		return 64
	case 'x':
		return x
	}
	return w
}
