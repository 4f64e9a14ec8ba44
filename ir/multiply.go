package ir

// MultiplyByConstants replaces products with constants by shifts, additions and
// subtractions if that is cheaper than the multiplier.
func (f *Func) MultiplyByConstants(c *Costs) {
	if !f.hasOp(OpMul) {
		return
	}
	e := newEditor(f)
	e.costs = c
	e.known = f.KnownBits()
	for _, b := range f.Blocks {
		e.begin(b)
		for _, v := range b.Values {
			w := (*Value)(nil)
			if v.Op == OpMul {
				x, y := v.Args[0], v.Args[1]
				if x.Op == OpConst {
					x, y = y, x
				}
				if c, ok := numberOf(y); ok {
					e.pc = v.PC
					w = e.shiftsAndSums(x, c, e.max(x))
				}
			}
			e.put(v, w)
		}
		e.end(b)
	}
	e.finish()
}

// product returns x c in the cheaper form, for an x up to limit.
func (e *editor) product(x *Value, c, limit uint64) *Value {
	if p := e.shiftsAndSums(x, c, limit); p != nil {
		return p
	}
	return e.add(OpMul, x.Type, x, e.number(x.Type, c))
}

// shiftsAndSums returns x c as a sum of shifted x, nil if that is not cheaper. The
// terms are those of the signed-digit form in which no two neighbours are set, which
// has the fewest (Reitwiesner, 1960).
func (e *editor) shiftsAndSums(x *Value, c, limit uint64) *Value {
	if c == 0 {
		return e.number(x.Type, 0)
	}
	plus, minus := signedDigits(c, width(x.Type))
	if sumWords(plus, minus, x.Type, limit) >= e.costs.product(x.Type, c, limit) {
		return nil
	}
	var sum *Value
	for _, n := range plus {
		term := e.shift(OpShl, x, n)
		if sum != nil {
			term = e.add(OpAdd, x.Type, sum, term)
		}
		sum = term
	}
	if sum == nil {
		sum = e.number(x.Type, 0)
	}
	for _, n := range minus {
		sum = e.add(OpSub, x.Type, sum, e.shift(OpShl, x, n))
	}
	return sum
}

// signedDigits is c as a sum of powers of two less another, in width bits.
func signedDigits(c uint64, width int) (plus, minus []int) {
	for n := 0; n < width && c != 0; n, c = n+1, c>>1 {
		switch {
		case c&1 == 0:
		case c&3 == 3:
			minus = append(minus, n)
			c++ // of 2^64-1 nothing is left: the sum is modulo 2^64
		default:
			plus = append(plus, n)
		}
	}
	return plus, minus
}

// sumWords returns the words of a sum of shifted numbers up to limit.
func sumWords(plus, minus []int, t Type, limit uint64) int {
	words := len(plus) + len(minus) - 1
	if len(plus) == 0 {
		words++
	}
	for _, terms := range [][]int{plus, minus} {
		for _, n := range terms {
			if n > 0 {
				words++
			}
		}
	}
	if t == I64 {
		return 2 * words
	}
	return words
}

// product returns the words of n times a number up to limit: the multiplier's, those
// of the constant and, for 64 bits, the cross products, which are added.
func (c *Costs) product(t Type, n, limit uint64) int {
	words := c.Mul + c.number(n)
	if t == I64 {
		words += c.MulWide - c.Mul
		if limit>>32 != 0 {
			words += c.Mul + 1
		}
		if n>>32 != 0 {
			words += c.Mul + 1
		}
	}
	return words
}
