package jit

import "github.com/nfpkit/nfpkit/ir"

// unreachable removes blocks that nothing reaches and branches that go one way
// only. Parameters of the blocks that stay may have one value now; they are
// removed as build removes them.
func unreachable(f *ir.Func) {
	if f.RemoveUnreachable() {
		dropTrivialParams(f)
	}
}
