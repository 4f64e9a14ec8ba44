package jit

import "github.com/nfpkit/nfpkit/ir"

// unrollRoom is how many words the iterations may take that unrolling puts into a
// function, whatever they save: a tenth of the code store. A program that then does
// not fit is compiled again without.
const unrollRoom = 256

func unroll(f *ir.Func, c *ir.Costs) {
	f.Unroll(unrollRoom, c)
	dropTrivialParams(f)
}
