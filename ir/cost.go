package ir

// Costs holds the costs by which passes choose between two forms of the code, in
// engine cycles. An instruction takes one cycle and one control-store word. Stall
// cycles beyond that come from the chip's model, for delay slots that stay empty: a
// pass cannot know yet which slots will be filled.
type Costs struct {
	Branch int // stall cycles of a taken branch
	Return int // stall cycles of the return from a function

	Mul, MulWide int // words of a product: its low word, both words

	// WordsPerCycle is the number of words of code store that a saved cycle is
	// worth. It is no property of the chip.
	WordsPerCycle int

	// InlineRoom and UnrollRoom are the number of words that Inline may add to a
	// module and Unroll to a function.
	InlineRoom, UnrollRoom int

	// Ran, if not nil, returns how often the instruction at a pc ran; false if that
	// was not measured.
	Ran func(pc int32) (uint64, bool)
}

// Words estimates how many control-store words a value takes if its operands need no
// instructions of their own. Before legalize it counts half of a 64-bit operation,
// since most high halves are dead.
func (c *Costs) Words(v *Value) int {
	switch v.Op {
	case OpConst, OpParam, OpZExt32, OpTrunc, OpPart, OpStackAddr:
		return 0
	case OpMul:
		return c.Mul
	case OpMulWide:
		return c.MulWide
	case OpUDiv, OpUMod, OpSDiv, OpSMod, OpCallFunc, OpCallHelper, OpTailCall:
		return 6
	case OpBSwap, OpAtomic:
		return 3
	case OpLoad, OpStore:
		return 2
	}
	return 1
}

// FuncWords estimates the words of a function.
func (c *Costs) FuncWords(f *Func) int {
	n := 0
	for _, b := range f.Blocks {
		n += c.blockWords(b) + 2
	}
	return n
}

// blockWords estimates the words of a block without its jump.
func (c *Costs) blockWords(b *Block) int {
	n := 0
	for _, v := range b.Values {
		n += c.Words(v)
	}
	return n
}

// moves is the largest number of moves that the edges of a block need.
func (b *Block) moves() int {
	n := 0
	for _, e := range b.Succs {
		n += len(e.Args)
	}
	return n
}

// Taken returns the cycles of a taken branch, its word included.
func (c *Costs) Taken() int { return 1 + c.Branch }

// number returns the words that load a 32-bit constant: none if it has eight bits, one
// for sixteen bits, two otherwise.
func (c *Costs) number(n uint64) int {
	switch {
	case n < 1<<8:
		return 0
	case n < 1<<16:
		return 1
	}
	return 2
}

// Call returns the cycles of a call and the return from it: the moves of args
// arguments and of the result, two words each, the return address, the branch
// and the return.
func (c *Costs) Call(args int) int { return 2*args + 2 + 1 + c.Taken() + 1 + c.Return }

// ran returns how often the instruction at a pc ran, false if that was not measured.
func (c *Costs) ran(pc int32) (uint64, bool) {
	if c.Ran == nil || pc < 0 {
		return 0, false
	}
	return c.Ran(pc)
}

// idle reports whether the instruction at a pc was measured never to run.
func (c *Costs) idle(pc int32) bool {
	n, ok := c.ran(pc)
	return ok && n == 0
}
