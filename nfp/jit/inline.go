package jit

import "github.com/nfpkit/nfpkit/ir"

// inlineRoom is how many words inlining may add to a program. A program that then
// does not fit is compiled again without.
const inlineRoom = 256

func inline(m *ir.Module, c *ir.Costs) (*ir.Module, error) {
	m.Inline(inlineRoom, c)
	for _, f := range m.Funcs {
		dropTrivialParams(f)
	}
	return m, nil
}
