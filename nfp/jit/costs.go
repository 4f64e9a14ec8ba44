package jit

import (
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
)

// mulWords is the multiplier's sequence: start, four steps, the low word.
const mulWords = 6

// wordsPerCycle is the number of words of code store that a saved cycle is worth.
// It is a policy, not a measurement: the store has room for a program of
// examples/ twenty times, and a program that does not fit is compiled again
// without the passes that add words.
const wordsPerCycle = 4

// inlineRoom and unrollRoom are the words that inlining may add to a program and
// unrolling to a function: a policy, a tenth of the code store each. A program that
// then does not fit is compiled again without them.
const inlineRoom, unrollRoom = 256, 256

// costsOf returns the costs by which passes over ir decide: those of the simulator's
// chip model, and measured frequencies if there are any.
func costsOf(m *nfp.Model, counts Counts) *ir.Costs {
	c := &ir.Costs{Branch: m.Branch, Return: m.Return, Mul: mulWords, MulWide: mulWords + 1, WordsPerCycle: wordsPerCycle,
		InlineRoom: inlineRoom, UnrollRoom: unrollRoom}
	if counts != nil {
		c.Ran = counts.at
	}
	return c
}

// chip is the default card's model.
func chip() *nfp.Model {
	m, err := nfp.ModelByName("")
	if err != nil {
		panic(err)
	}
	return m
}

// model is the card to compile for.
func (o *Options) model() *nfp.Model {
	if o.Model != nil {
		return o.Model
	}
	return chip()
}
