package jit

import "github.com/nfpkit/nfpkit/nfp/jit/ir"

// unrollRoom is how many words unrolling may add to a function. A program that
// then does not fit is compiled again without.
const unrollRoom = 64

func unroll(f *ir.Func) {
	f.Unroll(unrollRoom)
	dropTrivialParams(f)
}
