package mach

import (
	"sort"

	"github.com/nfpkit/nfpkit/nfp"
)

// Coalescing of general registers is optimistic (Park and Moon, "Optimistic Register
// Coalescing"): registers of one bank that are joined by a copy and never live at once
// form a class. Copies in inner loops are taken first. Each class gets one register, a
// conventional one if a copy joins the class to it. If classes cause a spill, all are
// split and their members are placed one by one, with the copies as hints.

// moveSite is a copy between registers, one of them virtual at least.
type moveSite struct {
	dst, src nfp.Operand
	depth    int32
}

// free reports whether both registers are virtual, so that no convention
// decides.
func (m *moveSite) free() bool { return m.dst.Kind == nfp.Virtual && m.src.Kind == nfp.Virtual }

// join forms the classes and assigns conventional registers to those joined to one.
func (a *allocator) join() {
	a.part()
	sort.SliceStable(a.moves, func(i, j int) bool {
		x, y := &a.moves[i], &a.moves[j]
		return x.depth > y.depth || x.depth == y.depth && x.free() && !y.free()
	})
	for _, m := range a.moves {
		switch {
		case m.dst.Kind != nfp.Virtual:
			a.joinConvention(m.src.N, m.dst)
		case m.src.Kind != nfp.Virtual:
			a.joinConvention(m.dst.N, m.src)
		default:
			a.joinPair(m.dst.N, m.src.N)
		}
	}
	for r := range a.class {
		a.class[r] = a.classOf(uint32(r))
	}
}

// joinConvention gives r's class a register of a convention.
func (a *allocator) joinConvention(r uint32, to nfp.Operand) {
	n, _ := Physical(to)
	x := a.classOf(r)
	if a.home[x] < 0 && !a.small[r] && n/32 == int(a.bank[x]) && a.allowed>>n&1 != 0 && a.free(n, x) {
		a.take(n, x)
	}
}

// joinPair joins two classes.
func (a *allocator) joinPair(r, q uint32) {
	x, y := a.classOf(r), a.classOf(q)
	if x == y || a.bank[x] != a.bank[y] || a.small[r] || a.small[q] || overlap(a.spans[x], a.spans[y]) {
		return
	}
	if a.home[x] < 0 {
		x, y = y, x
	}
	if n := a.home[x]; n >= 0 {
		if a.home[y] >= 0 && a.home[y] != n || a.home[y] < 0 && !a.free(int(n), y) {
			return
		}
		if a.home[y] < 0 {
			a.take(int(n), y)
		}
	}
	a.spans[x] = mergeSpans(a.spans[x], a.spans[y])
	a.class[y] = x
}

// classOf is the register that stands for r's class.
func (a *allocator) classOf(r uint32) uint32 {
	for a.class[r] != r {
		a.class[r] = a.class[a.class[r]]
		r = a.class[r]
	}
	return r
}

// part splits all classes into single registers without a place.
func (a *allocator) part() {
	a.class = make([]uint32, a.f.VRegs)
	for r := range a.class {
		a.class[r] = uint32(r)
	}
	a.spans = append([][]span(nil), a.live.virtual...)
	for i := range a.home {
		a.home[i] = -1
	}
	for r := range a.busy {
		a.busy[r] = a.busy[r][:0]
		for _, s := range a.live.physical[r] {
			a.busy[r] = append(a.busy[r], busySpan{s, -1})
		}
	}
}
