package verify

import (
	"fmt"
	"math/bits"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// small is the width in bits at which laws are checked exhaustively.
const small = 6

// eachTnum calls fn for every Tnum of n bits.
func eachTnum(n int, fn func(Tnum)) {
	for mask := uint64(0); mask < 1<<n; mask++ {
		for v := uint64(0); v < 1<<n; v++ {
			if v&mask == 0 {
				fn(Tnum{v, mask})
			}
		}
	}
}

// members calls fn for every value of a small Tnum.
func members(t Tnum, fn func(uint64)) {
	for sub := t.Mask; ; sub = (sub - 1) & t.Mask {
		fn(t.Value | sub)
		if sub == 0 {
			return
		}
	}
}

var binaryOps = []asm.ALUOp{asm.Add, asm.Sub, asm.Mul, asm.Div, asm.SDiv, asm.Or, asm.And, asm.LSh, asm.RSh, asm.ArSh, asm.Mod, asm.SMod, asm.Xor}

// TestTnumExhaustive checks that the result contains every result of every pair of
// values, and that add, sub and the bit operations give the least such Tnum.
func TestTnumExhaustive(t *testing.T) {
	ops := []struct {
		op   asm.ALUOp
		f    func(a, b Tnum) Tnum
		best bool
	}{
		{asm.Add, Tnum.Add, true}, {asm.Sub, Tnum.Sub, true}, {asm.Mul, Tnum.Mul, false},
		{asm.And, Tnum.And, true}, {asm.Or, Tnum.Or, true}, {asm.Xor, Tnum.Xor, true},
	}
	for _, o := range ops {
		eachTnum(small, func(a Tnum) {
			eachTnum(small, func(b Tnum) {
				r := o.f(a, b)
				least, first := Tnum{}, true
				members(a, func(p uint64) {
					members(b, func(q uint64) {
						v := concrete64(o.op, p, q)
						if !r.Contains(v) {
							t.Fatalf("%v %v %v = %v lacks %d %v %d = %#x", a, o.op, b, r, p, o.op, q, v)
						}
						if first {
							least, first = KnownBits(v), false
						}
						least = least.Union(KnownBits(v))
					})
				})
				if o.best && r != least {
					t.Fatalf("%v %v %v = %v, least is %v", a, o.op, b, r, least)
				}
			})
		})
	}
}

func TestTnumLattice(t *testing.T) {
	eachTnum(small, func(a Tnum) {
		eachTnum(small, func(b Tnum) {
			u := a.Union(b)
			if !u.Covers(a) || !u.Covers(b) {
				t.Fatalf("union %v of %v and %v covers not both", u, a, b)
			}
			m, ok := a.Intersect(b)
			some := false
			members(a, func(v uint64) {
				if b.Contains(v) {
					some = true
					if !m.Contains(v) {
						t.Fatalf("%v in %v and %v but not in %v", v, a, b, m)
					}
				}
			})
			if some != ok {
				t.Fatalf("intersection of %v and %v: %v, want %v", a, b, ok, some)
			}
		})
	})
}

// numsOf returns nums of interesting shapes: intervals near the borders of both
// signednesses and widths, known bits, and meets of them.
func numsOf(r *rand.Rand) num {
	edge := [...]uint64{0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0)}
	pick := func() uint64 {
		v := edge[r.IntN(len(edge))]
		switch r.IntN(4) {
		case 0:
			v += uint64(r.IntN(9)) - 4
		case 1:
			v = r.Uint64() >> r.IntN(64)
		}
		return v
	}
	n := anyNum()
	v := pick() // always a member, so that the num is not empty
	c := constNum(v)
	if r.IntN(5) == 0 {
		return c
	}
	if r.IntN(2) == 0 {
		m := pick() & (r.Uint64() | r.Uint64())
		n.bits = Tnum{v &^ m, m}
	}
	if r.IntN(2) == 0 {
		w := pick()
		n.w.ulo, n.w.uhi = min(v, w), max(v, w)
	}
	if r.IntN(2) == 0 {
		w := int64(pick())
		n.w.slo, n.w.shi = min(int64(v), w), max(int64(v), w)
	}
	if r.IntN(3) == 0 {
		w := uint32(pick())
		n.h.ulo, n.h.uhi = min(uint32(v), w), max(uint32(v), w)
	}
	if r.IntN(3) == 0 {
		w := int32(pick())
		n.h.slo, n.h.shi = min(int32(v), w), max(int32(v), w)
	}
	n.sync()
	if !n.contains(v) {
		panic(fmt.Sprintf("sync lost %#x: %+v", v, n))
	}
	return n
}

// sample returns a member of n, if it finds one.
func sample(r *rand.Rand, n *num) (uint64, bool) {
	for range 20 {
		v := n.bits.Value | r.Uint64()&n.bits.Mask
		switch r.IntN(6) {
		case 0:
			v = n.w.ulo
		case 1:
			v = n.w.uhi
		case 2:
			v = uint64(n.w.slo)
		case 3:
			v = uint64(n.w.shi)
		case 4:
			if d := n.w.uhi - n.w.ulo; d != ^uint64(0) {
				v = n.w.ulo + r.Uint64()%(d+1)
			}
		}
		if n.contains(v) {
			return v, true
		}
	}
	return 0, false
}

// TestNumOps checks that every sampled result lies in the abstract result, at 64 and 32 bits.
func TestNumOps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 400_000 {
		a, b := numsOf(r), numsOf(r)
		p, ok := sample(r, &a)
		q, ok2 := sample(r, &b)
		if !ok || !ok2 {
			continue
		}
		op := binaryOps[r.IntN(len(binaryOps))]
		if got, want := alu(op, &a, &b, true), concrete64(op, p, q); !got.contains(want) {
			t.Fatalf("%v %v %v (64) = %v lacks %#x %v %#x = %#x\n%+v\n%+v\n%+v", a, op, b, got, p, op, q, want, a, b, got)
		}
		if got, want := alu(op, &a, &b, false), uint64(concrete32(op, uint32(p), uint32(q))); !got.contains(want) {
			t.Fatalf("%v %v %v (32) = %v lacks %#x %v %#x = %#x\n%+v\n%+v\n%+v", a, op, b, got, p, op, q, want, a, b, got)
		}
		for _, width := range []uint{8, 16, 32, 64} {
			if got, want := a.sext(width), uint64(int64(p<<(64-width))>>(64-width)); !got.contains(want) {
				t.Fatalf("sext%d %v = %v lacks %#x", width, a, got, want)
			}
			if got, want := a.zext(width), p<<(64-width)>>(64-width); !got.contains(want) {
				t.Fatalf("zext%d %v = %v lacks %#x", width, a, got, want)
			}
			if width > 8 {
				if got, want := a.swap(width), bits.ReverseBytes64(p)>>(64-width); !got.contains(want) {
					t.Fatalf("swap%d %v = %v lacks %#x", width, a, got, want)
				}
			}
		}
		h, w := a.hull(&b), a.widen(&b)
		if !h.covers(&a) || !h.covers(&b) || !w.covers(&h) {
			t.Fatalf("hull %v and widening %v of %v and %v", h, w, a, b)
		}
	}
}

// TestNumSmall checks every pair of small intervals, at both signs, exhaustively.
func TestNumSmall(t *testing.T) {
	const n = 1 << (small - 3)
	for lo := int64(-n); lo < n; lo++ {
		for hi := lo; hi < n; hi++ {
			a := srangeNum(lo, hi)
			for lo2 := int64(-n); lo2 < n; lo2 += 3 {
				for hi2 := lo2; hi2 < n; hi2++ {
					b := srangeNum(lo2, hi2)
					for _, op := range binaryOps {
						r, r32 := alu(op, &a, &b, true), alu(op, &a, &b, false)
						for p := lo; p <= hi; p++ {
							for q := lo2; q <= hi2; q++ {
								if v := concrete64(op, uint64(p), uint64(q)); !r.contains(v) {
									t.Fatalf("[%d,%d] %v [%d,%d] = %v lacks %d", lo, hi, op, lo2, hi2, r, int64(v))
								}
								if v := concrete32(op, uint32(p), uint32(q)); !r32.contains(uint64(v)) {
									t.Fatalf("[%d,%d] %v [%d,%d] (32) = %v lacks %d", lo, hi, op, lo2, hi2, r32, int32(v))
								}
							}
						}
					}
				}
			}
		}
	}
}

var jumpOps = []asm.JumpOp{asm.JEq, asm.JNE, asm.JGT, asm.JGE, asm.JLT, asm.JLE, asm.JSGT, asm.JSGE, asm.JSLT, asm.JSLE, asm.JSet}

func concreteJump(op asm.JumpOp, a, b uint64, wide bool) bool {
	s, u := int64(a), int64(b)
	if !wide {
		a, b = uint64(uint32(a)), uint64(uint32(b))
		s, u = int64(int32(a)), int64(int32(b))
	}
	switch op {
	case asm.JEq:
		return a == b
	case asm.JNE:
		return a != b
	case asm.JGT:
		return a > b
	case asm.JGE:
		return a >= b
	case asm.JLT:
		return a < b
	case asm.JLE:
		return a <= b
	case asm.JSGT:
		return s > u
	case asm.JSGE:
		return s >= u
	case asm.JSLT:
		return s < u
	case asm.JSLE:
		return s <= u
	}
	return a&b != 0
}

// TestRefine checks that the edge that a pair of values takes is feasible and still
// contains the pair.
func TestRefine(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 600_000 {
		a, b := numsOf(r), numsOf(r)
		p, ok := sample(r, &a)
		q, ok2 := sample(r, &b)
		if r.IntN(4) == 0 && b.contains(p) {
			q, ok2 = p, ok
		}
		if !ok || !ok2 {
			continue
		}
		op, wide := jumpOps[r.IntN(len(jumpOps))], r.IntN(2) == 0
		taken := concreteJump(op, p, q, wide)
		e := refine(op, &a, &b, wide, taken)
		if !e.ok || !e.a.contains(p) || !e.b.contains(q) {
			t.Fatalf("%v %v %v (wide %v) taken %v by %#x, %#x: %v, %v, %v", a, op, b, wide, taken, p, q, e.ok, e.a, e.b)
		}
		if !a.covers(&e.a) || !b.covers(&e.b) {
			t.Fatalf("%v %v %v (wide %v) loses: %v, %v", a, op, b, wide, e.a, e.b)
		}
	}
}

// TestRefineExact checks small intervals against a constant. The result must be
// exactly the values on the edge, if they form an interval.
func TestRefineExact(t *testing.T) {
	for lo := uint64(0); lo < 12; lo++ {
		for hi := lo; hi < 12; hi++ {
			for c := uint64(0); c < 13; c++ {
				for _, op := range jumpOps[:10] {
					a, b := rangeNum(lo, hi), constNum(c)
					a.bits = anyNum().bits // compare intervals only
					e := refine(op, &a, &b, true, true)
					least, most, some := hi, lo, false
					for v := lo; v <= hi; v++ {
						if concreteJump(op, v, c, true) {
							least, most, some = min(least, v), max(most, v), true
						}
					}
					if some != e.ok {
						t.Fatalf("[%d,%d] %v %d alive: %v", lo, hi, op, c, e.ok)
					}
					if some && (e.a.w.ulo != least || e.a.w.uhi != most) {
						t.Fatalf("[%d,%d] %v %d = %v, want [%d,%d]", lo, hi, op, c, e.a, least, most)
					}
				}
			}
		}
	}
}
