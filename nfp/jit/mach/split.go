package mach

// spot is an instruction of a function: number at of a block, from which a bundle
// begins.
type spot struct {
	block int32
	at    int
}

// cuts holds the points inside blocks that become branch targets. Until make splits
// the blocks there, such targets have numbers past those of the blocks.
type cuts struct {
	f      *Func
	number map[spot]int32
	middle []spot // by number past the blocks'
}

func newCuts(f *Func) *cuts { return &cuts{f: f, number: map[spot]int32{}} }

// at returns the target number of a branch to s.
func (c *cuts) at(s spot) int32 {
	if s.at == 0 {
		return s.block
	}
	n, ok := c.number[s]
	if !ok {
		n = int32(len(c.f.Blocks) + len(c.middle))
		c.number[s] = n
		c.middle = append(c.middle, s)
	}
	return n
}

// spotOf returns the target of a branch with number n.
func (c *cuts) spotOf(n int32) spot {
	if k := int(n) - len(c.f.Blocks); k >= 0 {
		return c.middle[k]
	}
	return spot{block: n}
}

// make splits the blocks, and removes those that became unreachable.
func (c *cuts) make() {
	var out []*Block
	number := make([]int32, len(c.f.Blocks)+len(c.middle))
	for i, b := range c.f.Blocks {
		number[i] = int32(len(out))
		from := 0
		for at := 1; at < len(b.Insts); at++ {
			n, ok := c.number[spot{int32(i), at}]
			if !ok {
				continue
			}
			out = append(out, &Block{Insts: b.Insts[from:at:at], Next: n, Depth: b.Depth})
			number[n], from = int32(len(out)), at
		}
		out = append(out, &Block{Insts: b.Insts[from:], Next: b.Next, Depth: b.Depth})
	}
	for _, b := range out {
		if b.Next >= 0 {
			b.Next = number[b.Next]
		}
		if in := b.branch(); in != nil {
			in.To = number[in.To]
		}
	}
	c.f.Blocks = out
	c.f.keepReached()
}
