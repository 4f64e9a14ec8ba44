package ir

// RemoveUnreachable removes the blocks that cannot be reached from the entry, and
// the parameters of other blocks that have one value afterwards. Branches with two
// equal edges or a constant condition become jumps. It reports whether it changed
// anything. Blocks keep their order.
func (f *Func) RemoveUnreachable() bool {
	if !f.prune() {
		return false
	}
	f.DropTrivialParams()
	return true
}

// prune is RemoveUnreachable without the parameters.
func (f *Func) prune() bool {
	changed := false
	for _, b := range f.Blocks {
		if b.Kind != TermBranch {
			continue
		}
		keep := -1
		switch {
		case b.Cond.Op == OpConst && uint32(b.Cond.Int) != 0:
			keep = 0
		case b.Cond.Op == OpConst, sameEdge(b.Succs[0], b.Succs[1]):
			keep = 1
		default:
			continue
		}
		b.Kind, b.Cond, b.Succs = TermJump, nil, []Edge{b.Succs[keep]}
		changed = true
	}
	seen := make([]bool, f.NextBlock)
	for _, b := range f.Postorder() {
		seen[b.ID] = true
	}
	kept := make([]*Block, 0, len(f.Blocks))
	for _, b := range f.Blocks {
		if seen[b.ID] {
			kept = append(kept, b)
		}
	}
	changed = changed || len(kept) != len(f.Blocks)
	f.Blocks = kept
	return changed
}

func sameEdge(a, b Edge) bool {
	if a.To != b.To || len(a.Args) != len(b.Args) {
		return false
	}
	for i := range a.Args {
		if a.Args[i] != b.Args[i] {
			return false
		}
	}
	return true
}
