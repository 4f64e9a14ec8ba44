package mach

import (
	"fmt"
	"math"
	"sort"

	"github.com/nfpkit/nfpkit/nfp"
)

// allocate assigns virtual registers to general registers: 22 of bank A, 23 of bank B.
// Banks come first (assignBanks); then each bank is a linear scan over live ranges
// with holes, in order of their start (Wimmer and Franz, "Linear Scan Register
// Allocation on SSA Form", without its splitting):
//
//   - a register is free for a range if it does not overlap other ranges in it,
//     conventional registers, and calls that clobber it;
//   - registers joined by copies are coalesced first, and copies within one register
//     disappear;
//   - if none is free, the conflicting range with the least weight (uses, by loop
//     depth, per length) is spilled to local memory, and allocation restarts with
//     the short ranges of its loads and stores.
//
// Its input is the code after select, with or without the passes that choose
// destinations. Afterwards no operand is virtual; Spill and Clobber are set.
func allocate(f *Func) {
	a := &allocator{f: f, bank: assignBanks(f), allowed: AllRegs}
	a.small = make([]bool, f.VRegs)
	for _, r := range f.Pinned {
		a.small[r] = true
	}
	for round := 0; ; round++ {
		a.live = computeLiveness(f)
		a.measure()
		a.join()
		a.scan()
		if len(a.spilled) > 0 {
			a.discount()
			a.part()
			a.scan()
		}
		if len(a.spilled) == 0 {
			break
		}
		if round > 50 {
			panic("allocate: spilling does not end")
		}
		a.spill()
	}
	a.rewrite()
	a.setSpillPointer()
	a.summarise()
}

// remember keeps each instruction in Orig, for checkAllocation; instructions
// that are added later have none.
func remember(f *Func) {
	for _, b := range f.Blocks {
		for i := range b.Insts {
			in := b.Insts[i].Inst
			b.Insts[i].Orig = &in
		}
	}
}

type allocator struct {
	f        *Func
	bank     []uint8   // by virtual register
	small    []bool    // by virtual register: cannot be spilled
	allowed  RegSet    //
	live     *liveness //
	weight   []float64 // by virtual register
	mentions []float64 // by virtual register, by loop depth
	recipe   []*recipe // by virtual register, in rounds that spill
	hints    [][]nfp.Operand
	home     []int8     // by virtual register: physical register, -1 none
	class    []uint32   // by virtual register: the one that stands for it
	spans    [][]span   // by virtual register that represents a class: live range of the class
	moves    []moveSite // copies between registers
	busy     [64][]busySpan
	spilled  []uint32
	slots    int // spill slots given out so far
	far      bool
}

// busySpan is a piece of a physical register's time; owner -1 is a convention's.
type busySpan struct {
	span
	owner int32
}

// measure computes weights and hints.
func (a *allocator) measure() {
	n := a.f.VRegs
	a.weight, a.hints, a.home = make([]float64, n), make([][]nfp.Operand, n), make([]int8, n)
	a.moves = a.moves[:0]
	for _, b := range a.f.Blocks {
		cost := depthCost(b.Depth)
		for i := range b.Insts {
			in := &b.Insts[i]
			for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
				if o.Kind == nfp.Virtual {
					a.weight[o.N] += cost
				}
			}
			if in.isCopy() && (in.Dst.Kind == nfp.Virtual || in.B.Kind == nfp.Virtual) && in.Dst != in.B {
				a.moves = append(a.moves, moveSite{in.Dst, in.B, b.Depth})
				if in.Dst.Kind == nfp.Virtual {
					a.hints[in.Dst.N] = append(a.hints[in.Dst.N], in.B)
				}
				if in.B.Kind == nfp.Virtual {
					a.hints[in.B.N] = append(a.hints[in.B.N], in.Dst)
				}
			}
		}
	}
	a.mentions = append(a.mentions[:0], a.weight...)
	for r := range a.weight {
		length := int32(1)
		for _, s := range a.live.virtual[r] {
			length += s.to - s.from
		}
		a.weight[r] /= float64(length)
	}
}

// scan assigns registers; those that find none are in spilled.
func (a *allocator) scan() {
	a.spilled = a.spilled[:0]
	var order []uint32
	for r, s := range a.spans {
		if len(s) > 0 && a.class[r] == uint32(r) && a.home[r] < 0 {
			order = append(order, uint32(r))
		}
	}
	sort.Slice(order, func(i, j int) bool {
		x, y := a.spans[order[i]][0].from, a.spans[order[j]][0].from
		return x < y || x == y && order[i] < order[j]
	})
	for _, r := range order {
		a.place(r)
	}
}

// preference is the order in which registers of a bank are tried. Those that
// helpers preserve come last, so that they are free for values that are live
// across calls.
var preference = [23]int8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 20, 21, 22, 12, 13, 14, 15, 16, 17, 18, 19}

func (a *allocator) place(r uint32) {
	base := int(a.bank[r]) * 32
	for _, h := range a.hints[r] {
		n, ok := Physical(h)
		if h.Kind == nfp.Virtual {
			n = int(a.home[a.class[h.N]])
			ok = n >= 0
		}
		if ok && n/32*32 == base && a.allowed>>n&1 != 0 && a.free(n, r) {
			a.take(n, r)
			return
		}
	}
	for _, p := range preference {
		if n := base + int(p); a.allowed>>n&1 != 0 && a.free(n, r) {
			a.take(n, r)
			return
		}
	}
	a.evict(r, base)
}

// overlaps calls do with each busy span of register n that overlaps r's, until
// do returns false.
func (a *allocator) overlaps(n int, r uint32, do func(busySpan) bool) {
	busy := a.busy[n]
	lo := 0
	for _, s := range a.spans[r] {
		lo += sort.Search(len(busy)-lo, func(i int) bool { return busy[lo+i].to > s.from })
		for i := lo; i < len(busy) && busy[i].from < s.to; i++ {
			if !do(busy[i]) {
				return
			}
		}
	}
}

func (a *allocator) free(n int, r uint32) bool {
	free := true
	a.overlaps(n, r, func(busySpan) bool { free = false; return false })
	return free
}

func (a *allocator) take(n int, r uint32) {
	a.home[r] = int8(n)
	busy := a.busy[n]
	for _, s := range a.spans[r] {
		i := sort.Search(len(busy), func(i int) bool { return busy[i].from > s.from })
		busy = append(busy, busySpan{})
		copy(busy[i+1:], busy[i:])
		busy[i] = busySpan{s, int32(r)}
	}
	a.busy[n] = busy
}

// evict spills r, or the ranges it conflicts with if they weigh less.
func (a *allocator) evict(r uint32, base int) {
	best, bestCost := -1, a.weight[r]
	if a.small[r] {
		bestCost = math.MaxFloat64
	}
	for _, p := range preference {
		n := base + int(p)
		if a.allowed>>n&1 == 0 {
			continue
		}
		cost, possible := 0.0, true
		a.overlaps(n, r, func(s busySpan) bool {
			if s.owner < 0 || a.small[s.owner] {
				possible = false
				return false
			}
			cost = max(cost, a.weight[s.owner])
			return true
		})
		if possible && cost < bestCost {
			best, bestCost = n, cost
		}
	}
	if best < 0 {
		if a.small[r] {
			panic(fmt.Sprintf("allocate: no register for v%d", r))
		}
		a.spilled = append(a.spilled, r)
		return
	}
	var out []int32
	a.overlaps(best, r, func(s busySpan) bool {
		out = append(out, s.owner)
		return true
	})
	for _, o := range out {
		if a.home[o] < 0 {
			continue // met twice
		}
		a.home[o] = -1
		a.spilled = append(a.spilled, uint32(o))
		kept := a.busy[best][:0]
		for _, s := range a.busy[best] {
			if s.owner != o {
				kept = append(kept, s)
			}
		}
		a.busy[best] = kept
	}
	a.take(best, r)
}

// rewrite replaces virtual registers by physical ones.
func (a *allocator) rewrite() {
	put := func(o *nfp.Operand) {
		if o.Kind == nfp.Virtual {
			*o = register(int(a.home[a.class[o.N]]))
		}
	}
	for _, b := range a.f.Blocks {
		for i := range b.Insts {
			in := &b.Insts[i]
			put(&in.Dst)
			put(&in.A)
			put(&in.B)
			if in.isCopy() && in.Dst == in.B {
				in.Drop = true
			}
		}
	}
}

// summarise records the size of the spill slots and the registers that a call of the function clobbers.
func (a *allocator) summarise() {
	f := a.f
	f.Spill = 4 * a.slots
	for _, b := range f.Blocks {
		for i := range b.Insts {
			in := &b.Insts[i]
			if n, ok := Physical(in.Dst); ok && !in.Drop {
				f.Clobber |= 1 << n
			}
			if in.Call != nil {
				f.Clobber |= in.Call.Clobbers
				f.LM3 = f.LM3 || in.Call.LM3
			}
			if in.Op == nfp.OpCSRWrite && in.Imm == PointerCSR[3] {
				f.LM3 = true
			}
		}
	}
	f.Clobber |= BankA(0) | BankB(0)
}
