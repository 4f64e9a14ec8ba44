package verify

import (
	"math"
	"os"
	"strconv"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// An extent is the least description of a set of numbers: every abstract value that
// covers the set covers its extent.
type extent struct {
	ulo, uhi uint64
	slo, shi int64
	hulo     uint32
	huhi     uint32
	hslo     int32
	hshi     int32
	ones     uint64 // set in all
	some     uint64 // set in any
}

func extentOf(v uint64) extent {
	return extent{v, v, int64(v), int64(v), uint32(v), uint32(v), int32(v), int32(v), v, v}
}

func (e *extent) join(o *extent) {
	e.ulo, e.uhi = min(e.ulo, o.ulo), max(e.uhi, o.uhi)
	e.slo, e.shi = min(e.slo, o.slo), max(e.shi, o.shi)
	e.hulo, e.huhi = min(e.hulo, o.hulo), max(e.huhi, o.huhi)
	e.hslo, e.hshi = min(e.hslo, o.hslo), max(e.hshi, o.hshi)
	e.ones, e.some = e.ones&o.ones, e.some|o.some
}

// within reports whether n covers every set of this extent.
func (e *extent) within(n *num) bool {
	return n.w.ulo <= e.ulo && e.uhi <= n.w.uhi && n.w.slo <= e.slo && e.shi <= n.w.shi &&
		n.h.ulo <= e.hulo && e.huhi <= n.h.uhi && n.h.slo <= e.hslo && e.hshi <= n.h.shi &&
		n.bits.Value&^e.ones == 0 && e.some&^(n.bits.Value|n.bits.Mask) == 0
}

// TestIntervalLaws checks that every operation covers all results, for every pair of
// intervals of 6-bit signed numbers, in 64 and 32 bits. Sets are joined one number at a
// time, so that each pair costs one abstract operation. NFPKIT_LAWS_STEP=N takes
// every N-th first end of the second interval only.
func TestIntervalLaws(t *testing.T) {
	const n = 1 << (small - 1)
	t.Parallel()
	step := int64(1)
	if testing.Short() {
		step = 11
	}
	if s, err := strconv.ParseInt(os.Getenv("NFPKIT_LAWS_STEP"), 0, 64); err == nil && s > 0 {
		step = s
	}
	pairs := 0
	for _, op := range binaryOps {
		for _, wide := range []bool{true, false} {
			for lo := int64(-n); lo < n; lo++ {
				for lo2 := int64(-n) + (lo+n)%step; lo2 < n; lo2 += step {
					pairs += intervalsFrom(t, op, wide, lo, lo2, n)
				}
			}
		}
	}
	t.Logf("suite: interval laws: %d pairs of intervals", pairs)
}

// intervalsFrom checks all pairs of intervals that begin at lo and lo2.
func intervalsFrom(t *testing.T, op asm.ALUOp, wide bool, lo, lo2, n int64) (pairs int) {
	t.Helper()
	all := make([]extent, n-lo2)
	for hi := lo; hi < n; hi++ {
		a := srangeNum(lo, hi)
		var column extent
		for hi2 := lo2; hi2 < n; hi2++ {
			p := uint64(hi)
			v := concrete64(op, p, uint64(hi2))
			if !wide {
				v = uint64(concrete32(op, uint32(p), uint32(hi2)))
			}
			e := extentOf(v)
			if hi2 > lo2 {
				e.join(&column)
			}
			column = e
			k := hi2 - lo2
			if hi > lo {
				e.join(&all[k])
			}
			all[k] = e
			b := srangeNum(lo2, hi2)
			if r := alu(op, &a, &b, wide); !e.within(&r) {
				t.Fatalf("[%d,%d] %v [%d,%d] (wide %v) = %v, results are %+v", lo, hi, op, lo2, hi2, wide, r, e)
			}
			pairs++
		}
	}
	return pairs
}

// TestExtent checks the test itself: the extent of no numbers covers nothing.
func TestExtent(t *testing.T) {
	e := extentOf(5)
	o := extentOf(math.MaxUint64)
	e.join(&o)
	five, all := constNum(5), anyNum()
	if e.within(&five) || !e.within(&all) {
		t.Error("5 and -1 are in 5, or not in all numbers")
	}
}
