package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// share merges identical blocks that only branches lead to; most hold an edge's moves
// and a jump. A block that another falls through to stays in place, so that no path
// becomes longer. It runs after link, which makes jumps explicit. Blocks with commands
// or calls are not merged.
func share(f *Func) {
	to := make([]int32, len(f.Blocks))
	for i := range to {
		to[i] = int32(i)
	}
	type key struct {
		length int
		first  nfp.Inst
		to     int32
	}
	seen := map[key][]int32{}
	merged := false
	for round := range 2 { // blocks that are fallen into first: those are kept
		for i, b := range f.Blocks {
			if fallen := i == 0 || f.Blocks[i-1].Next == int32(i); fallen != (round == 0) || !shareable(b) {
				continue
			}
			n := len(b.Insts)
			k := key{n, b.Insts[0].Inst, b.Insts[n-1].To}
			at := slices.IndexFunc(seen[k], func(j int32) bool { return alike(f.Blocks[j], b) })
			switch {
			case at < 0:
				seen[k] = append(seen[k], int32(i))
			case round == 1:
				to[i], merged = seen[k][at], true
			}
		}
	}
	if !merged {
		return
	}
	for _, b := range f.Blocks {
		if in := b.branch(); in != nil {
			in.To = to[in.To]
		}
	}
	f.keepReached()
}

// shareLimit is the maximum length of merged blocks, in instructions: longer ones
// are rarely identical.
const shareLimit = 6

func shareable(b *Block) bool {
	if b.Next >= 0 || len(b.Insts) == 0 || len(b.Insts) > shareLimit {
		return false
	}
	return !slices.ContainsFunc(b.Insts, func(in Inst) bool {
		return in.Op == nfp.OpCmd || in.Call != nil || in.Return || in.Base
	})
}

// alike reports whether two blocks have the same instructions, whatever code
// they were compiled from.
func alike(a, b *Block) bool {
	return slices.EqualFunc(a.Insts, b.Insts, func(x, y Inst) bool { return alikeInst(&x, &y) })
}

func alikeInst(x, y *Inst) bool {
	return x.Inst == y.Inst && x.To == y.To && x.Slots == y.Slots && x.Glue == y.Glue && x.PortA == y.PortA &&
		x.DeadCC == y.DeadCC && x.Drop == y.Drop && x.Frame == y.Frame && x.Reloc == y.Reloc && x.Helper == y.Helper &&
		x.In == y.In && x.Out == y.Out && x.Sym == y.Sym
}
