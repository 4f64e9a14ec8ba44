package verify

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// TestShiftedExhaustive checks shifted for x in n and x + d in o. The result must
// contain all such x + d, and shifted must report whether any exist. The test covers
// every interval n of 6-bit signed numbers and every d. For o it takes the intervals
// that begin or end at a bound of n + d, or one step beside. It does the same for
// every Tnum of 6 bits.
func TestShiftedExhaustive(t *testing.T) {
	const n = 1 << (small - 1)
	t.Parallel()
	pairs := 0
	check := func(a, o *num, d int64, first, last int64) {
		pairs++
		r, ok := shifted(o, a, d, false)
		for x := first; x <= last; x++ {
			if y := uint64(x + d); a.contains(uint64(x)) && o.contains(y) && (!ok || !r.contains(y)) {
				t.Fatalf("%v + %d in %v = %v, %v: lacks %d", a, d, o, r, ok, int64(y))
			}
		}
		any := anyNum()
		low, ok2 := shifted(&any, a, d, true)
		for x := first; x <= last; x++ {
			if y := uint64(x+d)&math.MaxUint32 | 5<<32; a.contains(uint64(x)) && (!ok2 || !low.contains(y)) {
				t.Fatalf("%v + %d = %v, %v: lacks %#x", a, d, low, ok2, y)
			}
		}
		if ok && !o.covers(&r) {
			t.Fatalf("%v + %d in %v = %v", a, d, o, r)
		}
	}
	for d := int64(-n); d < n; d++ {
		for lo := int64(-n); lo < n; lo++ {
			for hi := lo; hi < n; hi++ {
				a := srangeNum(lo, hi)
				for _, e := range [][2]int64{{lo + d, hi + d}, {lo + d + 1, hi + d}, {lo + d, hi + d - 1}, {lo + d - 3, lo + d}, {hi + d, hi + d + 3}} {
					if e[0] <= e[1] {
						o := srangeNum(e[0], e[1])
						check(&a, &o, d, lo, hi)
					}
				}
				o := anyNum()
				if r, ok := shifted(&o, &a, d, false); !ok || r.w.slo != lo+d || r.w.shi != hi+d {
					t.Fatalf("[%d,%d] + %d = %v", lo, hi, d, r)
				}
			}
		}
		eachTnum(small, func(b Tnum) {
			a, o := bitsNum(b), bitsNum(b)
			check(&a, &o, d, 0, 2*n-1)
		})
	}
	t.Logf("suite: linked numbers: %d pairs", pairs)
}

// TestConstantShift checks that, if constantShift calls a 32- or 64-bit sum or
// difference a + d, it is a + d for all members found.
func TestConstantShift(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	kept := [3]int{}
	for range 400_000 {
		a, b := numsOf(r), numsOf(r)
		if v, ok := sample(r, &b); ok {
			b = constNum(v)
		}
		op, wide := [...]asm.ALUOp{asm.Add, asm.Sub}[r.IntN(2)], r.IntN(2) == 0
		d, ok := constantShift(op, &b, wide)
		if !ok {
			continue
		}
		low := !wide && leavesWord(&a, d)
		for range 4 {
			p, ok := sample(r, &a)
			if !ok {
				break
			}
			got := uint64(concrete32(op, uint32(p), uint32(b.bits.Value)))
			k := 1
			if wide {
				got, k = concrete64(op, p, b.bits.Value), 0
			} else if low {
				k = 2
			}
			kept[k]++
			if got != p+uint64(d) && !low || uint32(got) != uint32(p+uint64(d)) {
				t.Fatalf("%#x %v %v (wide %v, low %v) = %#x, not %d more", p, op, b, wide, low, got, d)
			}
			o := alu(op, &a, &b, wide)
			if m, ok := shifted(&o, &a, d, low); !ok || !m.contains(got) {
				t.Fatalf("%v + %d = %v, %v lacks %#x", a, d, m, ok, got)
			}
		}
	}
	if min(kept[0], kept[1], kept[2]) < 10000 {
		t.Errorf("only %v sums compared", kept)
	}
}

// regsIn returns a random assignment of registers 0 to 3 that lies in s, if one is found.
func regsIn(r *rand.Rand, s *state) (v [4]uint64, ok bool) {
	base := map[uint32]uint64{}
	for k := range v {
		x := &s.regs[k]
		if _, ok := base[x.id]; x.id != 0 && ok {
			v[k] = base[x.id] + uint64(int64(x.delta))
			if x.low && r.IntN(2) == 0 {
				v[k] = uint64(uint32(v[k]))
			}
			continue
		}
		n, found := sample(r, &x.n)
		if !found {
			return v, false
		}
		v[k] = n
		if x.id != 0 {
			base[x.id] = n - uint64(int64(x.delta))
		}
	}
	return v, holds(s, &v)
}

// holds reports whether an assignment lies in s: its numbers, and its links.
func holds(s *state, v *[4]uint64) bool {
	for k := range v {
		x := &s.regs[k]
		if x.kind != NotInit && !x.n.contains(v[k]) {
			return false
		}
		for l := range k {
			y := &s.regs[l]
			d := v[k] - uint64(int64(x.delta)) - v[l] + uint64(int64(y.delta))
			if x.id != 0 && x.id == y.id && d != 0 && (!x.low && !y.low || uint32(d) != 0) {
				return false
			}
		}
	}
	return true
}

// linkedState has registers 0 to 3 of numbers, many of them linked.
func linkedState(r *rand.Rand) *state {
	s := &state{next: 10}
	s.frames[0] = newFrame(-1)
	for k := range 4 {
		n := anyNum()
		switch r.IntN(6) {
		case 0:
			n = constNum(uint64(r.IntN(4)))
		case 1:
			n = rangeNum(0, uint64(1+r.IntN(8)))
		case 2:
			n = srangeNum(-int64(r.IntN(4)), int64(r.IntN(4)))
		}
		s.regs[k] = scalar(n)
		if !n.known() && r.IntN(4) > 0 {
			s.regs[k].id, s.regs[k].delta, s.regs[k].low = uint32(1+r.IntN(2)), int32(r.IntN(3)-1), r.IntN(4) == 0
		}
	}
	return s
}

// variant returns a state like s, with other ids and other bases, and sometimes less known
// or some registers known.
func variant(r *rand.Rand, s *state) *state {
	c := *s
	moved := [...]int32{0, int32(r.IntN(3)), -1}
	if r.IntN(3) == 0 {
		if v, ok := regsIn(r, s); ok {
			for k := range v {
				if r.IntN(2) == 0 {
					c.regs[k] = constant(v[k])
				}
			}
		}
	}
	for k := range 4 {
		x := &c.regs[k]
		if x.id != 0 {
			x.delta += moved[x.id]
			x.id += 2
		}
		switch {
		case r.IntN(12) == 0:
			x.unlink()
		case r.IntN(12) == 0 && x.id != 0:
			x.delta++
		case r.IntN(8) == 0 && x.id != 0:
			x.low = !x.low
		case r.IntN(12) == 0:
			*x = scalar(anyNum())
		}
	}
	return &c
}

// TestLinkedStates checks states with links. A state that another covers contains only
// concrete states of the other; a merged one contains those of both.
func TestLinkedStates(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	covered, merged, linked := 0, 0, 0
	for range 100_000 {
		a := linkedState(r)
		b := variant(r, a)
		if r.IntN(8) == 0 {
			b = linkedState(r)
		}
		x := &explorer{opt: &Options{}, nodes: make([]node, 1)}
		in := x.covers(a, b)
		both := *a
		f := *a.frames[0]
		both.frames[0] = &f
		x.merge(&both, b, r.IntN(8) == 0)
		links := map[uint32]int{}
		for k := range 4 {
			if id := both.regs[k].id; id != 0 {
				links[id]++
			}
		}
		for _, n := range links {
			if n > 1 {
				linked++
			}
		}
		for range 4 {
			if v, ok := regsIn(r, b); ok {
				merged++
				if !holds(&both, &v) {
					t.Fatalf("%x is in the second, not in the merged state\n%+v\n%+v\n%+v", v, a.regs[:4], b.regs[:4], both.regs[:4])
				}
				if in {
					covered++
					if !holds(a, &v) {
						t.Fatalf("%x is in the covered state, not in the other\n%+v\n%+v", v, a.regs[:4], b.regs[:4])
					}
				}
			}
			if v, ok := regsIn(r, a); ok && !holds(&both, &v) {
				t.Fatalf("%x is in the first, not in the merged state\n%+v\n%+v\n%+v", v, a.regs[:4], b.regs[:4], both.regs[:4])
			}
		}
	}
	t.Logf("suite: linked states: %d assignments of covered states, %d of merged ones, of which %d links were left", covered, merged, linked)
	if covered < 50_000 || merged < 200_000 || linked < 20_000 {
		t.Errorf("too few")
	}
}
