package mach

import (
	"github.com/nfpkit/nfpkit/nfp"
	"math/bits"
)

// merge lets blocks with equal tails share one (tail merging, or cross jumping). A
// block that only branches lead to, and that is the tail of another block, is removed:
// its predecessors branch into the middle of that one. No path becomes longer. When
// compiling for size, other blocks jump into a common tail as well.
//
// It runs after schedule, fill and all other passes that reorder instructions.
func merge(f *Func, small bool) {
	m := &merger{f: f, cuts: newCuts(f), used: make([]bool, len(f.Blocks)), ends: map[nfp.Inst][]int32{}}
	fallen := make([]bool, len(f.Blocks)) // control falls into it
	fallen[0] = true
	for i, b := range f.Blocks {
		if b.Next >= 0 {
			fallen[b.Next] = true
		}
		if n := len(b.Insts); b.Next < 0 && n > 0 && shared(&b.Insts[n-1]) {
			m.ends[m.key(b)] = append(m.ends[m.key(b)], int32(i))
		}
	}
	to := make([]int32, len(f.Blocks))
	for i := range to {
		to[i] = int32(i)
	}
	merged := false
	for i, b := range f.Blocks {
		at, n := m.longest(int32(i))
		switch {
		case n > 0 && n == len(b.Insts) && !fallen[i] && !m.used[i]:
			to[i], b.Insts = m.cuts.at(at), nil
		case small && n >= minMerged && n < len(b.Insts) && !m.used[i]:
			pc := lastPC(b)
			keep := len(b.Insts) - n
			b.Insts = append(b.Insts[:keep:keep], jumpTo(m.cuts.at(at), pc))
		default:
			continue
		}
		m.used[at.block], merged = true, true
	}
	if !merged {
		return
	}
	for _, b := range f.Blocks {
		if in := b.branch(); in != nil && int(in.To) < len(to) {
			in.To = to[in.To]
		}
	}
	m.cuts.make()
}

// minMerged is the number of shared words that are worth a jump.
const minMerged = 3

type merger struct {
	f    *Func
	cuts *cuts
	used []bool // others lead into the block
	ends map[nfp.Inst][]int32
}

// shared reports whether a tail that ends with in may be shared.
func shared(in *Inst) bool {
	return in.AlwaysBranches() && (in.To >= 0 && in.Call == nil || in.Reloc == nfp.RelocDone)
}

// key is equal for blocks whose last words are.
func (m *merger) key(b *Block) nfp.Inst {
	in := b.Insts[len(b.Insts)-1]
	in.Target = uint16(in.To)
	return in.Inst
}

// longest returns the longest tail that block i shares with another block that stays,
// and its number of instructions; 0 if there is none.
func (m *merger) longest(i int32) (at spot, n int) {
	b := m.f.Blocks[i]
	if len(b.Insts) == 0 || b.Next >= 0 || !shared(&b.Insts[len(b.Insts)-1]) {
		return spot{}, 0
	}
	for _, k := range m.ends[m.key(b)] {
		other := m.f.Blocks[k]
		if k == i || len(other.Insts) == 0 || len(other.Insts) < len(b.Insts) && m.used[i] {
			continue
		}
		if x := common(b.Insts, other.Insts); x > n {
			at, n = spot{k, len(other.Insts) - x}, x
		}
	}
	return at, n
}

// mergeReach is the number of words of two ends that are compared.
const mergeReach = 32

// common returns the number of equal instructions at the ends of x and y, in whole
// bundles. Commands and waits count if the same commands are outstanding.
func common(x, y []Inst) int {
	found, wait := 0, false
	for n := 1; n <= len(x) && n <= len(y) && n <= mergeReach; n++ {
		a, b := &x[len(x)-n], &y[len(y)-n]
		if !alikeInst(a, b) || a.Return || a.Base != b.Base || a.Call != nil && a.Reloc != nfp.RelocDone {
			break
		}
		if a.Op == nfp.OpCtxArb {
			if wait || bits.OnesCount32(a.Imm) != 1 {
				break
			}
			wait = true
		}
		if !a.Glue {
			found = n
		}
	}
	return found
}
