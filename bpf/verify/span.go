package verify

// A span bounds the value of a word by an unsigned and a signed interval, both of
// which hold. The type parameters give the word's width, 32 or 64 bits.
type span[U uint32 | uint64, S int32 | int64] struct {
	ulo, uhi U
	slo, shi S
}

func (span[U, S]) full() span[U, S] {
	top := ^U(0) >> 1
	return span[U, S]{0, ^U(0), S(top + 1), S(top)}
}

func point[U uint32 | uint64, S int32 | int64](v U) span[U, S] {
	return span[U, S]{v, v, S(v), S(v)}
}

func (a *span[U, S]) empty() bool { return a.ulo > a.uhi || a.slo > a.shi }

// deduce refines each interval by the other. An interval that does not contain
// the sign change has the same bounds as unsigned and signed.
func (a *span[U, S]) deduce() {
	if S(a.ulo) <= S(a.uhi) {
		a.slo, a.shi = max(a.slo, S(a.ulo)), min(a.shi, S(a.uhi))
	}
	if U(a.slo) <= U(a.shi) {
		a.ulo, a.uhi = max(a.ulo, U(a.slo)), min(a.uhi, U(a.shi))
	}
}

func (a span[U, S]) covers(b *span[U, S]) bool {
	return a.ulo <= b.ulo && b.uhi <= a.uhi && a.slo <= b.slo && b.shi <= a.shi
}

func (a span[U, S]) hull(b *span[U, S]) span[U, S] {
	return span[U, S]{min(a.ulo, b.ulo), max(a.uhi, b.uhi), min(a.slo, b.slo), max(a.shi, b.shi)}
}

func (a span[U, S]) meet(b *span[U, S]) span[U, S] {
	return span[U, S]{max(a.ulo, b.ulo), min(a.uhi, b.uhi), max(a.slo, b.slo), min(a.shi, b.shi)}
}

// widen is hull, but moves a bound that changed to its extreme.
func (a span[U, S]) widen(b *span[U, S]) span[U, S] {
	r := a.full()
	if b.ulo >= a.ulo {
		r.ulo = a.ulo
	}
	if b.uhi <= a.uhi {
		r.uhi = a.uhi
	}
	if b.slo >= a.slo {
		r.slo = a.slo
	}
	if b.shi <= a.shi {
		r.shi = a.shi
	}
	return r
}

// add keeps an interval whose two ends wrap equally often.
func (a span[U, S]) add(b *span[U, S]) span[U, S] {
	r := a.full()
	if lo, hi := a.ulo+b.ulo, a.uhi+b.uhi; (lo < a.ulo) == (hi < a.uhi) {
		r.ulo, r.uhi = lo, hi
	}
	lo, hi := a.slo+b.slo, a.shi+b.shi
	if (a.slo^lo)&(b.slo^lo) >= 0 && (a.shi^hi)&(b.shi^hi) >= 0 {
		r.slo, r.shi = lo, hi
	}
	return r
}

func (a span[U, S]) sub(b *span[U, S]) span[U, S] {
	r := a.full()
	if (a.ulo < b.uhi) == (a.uhi < b.ulo) {
		r.ulo, r.uhi = a.ulo-b.uhi, a.uhi-b.ulo
	}
	lo, hi := a.slo-b.shi, a.shi-b.slo
	if (a.slo^b.shi)&(a.slo^lo) >= 0 && (a.shi^b.slo)&(a.shi^hi) >= 0 {
		r.slo, r.shi = lo, hi
	}
	return r
}

// mul keeps the product of intervals that cannot overflow.
func (a span[U, S]) mul(b *span[U, S]) span[U, S] {
	r := a.full()
	if b.uhi == 0 || a.uhi <= ^U(0)/b.uhi {
		r.ulo, r.uhi = a.ulo*b.ulo, a.uhi*b.uhi
	}
	// Factors of at most half the word's bits cannot overflow the signed product.
	half := S(1) << (bitsOf(a.ulo)/2 - 1)
	if a.slo >= -half && a.shi < half && b.slo >= -half && b.shi < half {
		p, q, s, t := a.slo*b.slo, a.slo*b.shi, a.shi*b.slo, a.shi*b.shi
		r.slo, r.shi = min(p, q, s, t), max(p, q, s, t)
	}
	return r
}

func bitsOf[U uint32 | uint64](U) uint {
	if ^U(0)>>31>>1 == 0 {
		return 32
	}
	return 64
}

// div returns the unsigned quotient; by zero it gives 0 (RFC 9669, section 4.1).
func (a span[U, S]) div(b *span[U, S]) span[U, S] {
	r := a.full()
	switch {
	case b.uhi == 0:
		r.ulo, r.uhi = 0, 0
	case b.ulo == 0:
		r.ulo, r.uhi = 0, a.uhi
	default:
		r.ulo, r.uhi = a.ulo/b.uhi, a.uhi/b.ulo
	}
	return r
}

// mod returns the unsigned remainder; by zero it gives the dividend.
func (a span[U, S]) mod(b *span[U, S]) span[U, S] {
	r := a.full()
	switch {
	case b.uhi == 0, a.uhi < b.ulo:
		r.ulo, r.uhi = a.ulo, a.uhi
	case b.ulo == 0:
		r.ulo, r.uhi = 0, a.uhi
	default:
		r.ulo, r.uhi = 0, min(a.uhi, b.uhi-1)
	}
	return r
}

// sdiv returns the signed quotient. It keeps intervals of a divisor known positive.
func (a span[U, S]) sdiv(b *span[U, S]) span[U, S] {
	r := a.full()
	if b.slo > 0 {
		r.slo = min(a.slo/b.slo, a.slo/b.shi)
		r.shi = max(a.shi/b.slo, a.shi/b.shi)
	}
	return r
}

// smod returns the remainder with the dividend's sign.
func (a span[U, S]) smod(b *span[U, S]) span[U, S] {
	r := a.full()
	r.slo, r.shi = min(a.slo, 0), max(a.shi, 0)
	if b.slo > 0 {
		r.slo, r.shi = max(r.slo, 1-b.shi), min(r.shi, b.shi-1)
	}
	return r
}

// shl keeps the interval if no set bit is shifted out; amounts lo..hi < width.
func (a span[U, S]) shl(lo, hi uint) span[U, S] {
	r := a.full()
	if a.uhi <= ^U(0)>>hi {
		r.ulo, r.uhi = a.ulo<<lo, a.uhi<<hi
	}
	if top := S(^U(0) >> 1 >> hi); a.shi <= top && a.slo >= ^top {
		r.slo, r.shi = min(a.slo<<hi, a.slo<<lo), max(a.shi<<hi, a.shi<<lo)
	}
	return r
}

func (a span[U, S]) shr(lo, hi uint) span[U, S] {
	r := a.full()
	r.ulo, r.uhi = a.ulo>>hi, a.uhi>>lo
	return r
}

func (a span[U, S]) sar(lo, hi uint) span[U, S] {
	r := a.full()
	r.slo, r.shi = min(a.slo>>lo, a.slo>>hi), max(a.shi>>lo, a.shi>>hi)
	return r
}
