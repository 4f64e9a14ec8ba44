package ir

import "encoding/binary"

// MergeTails merges equal blocks: edges to all of them go to the first. Two blocks are
// equal if their values, parameter types and terminators are, with their own values
// numbered from their start, and none of their values is used in another block. Blocks
// are compared after their successors, so that whole tails merge. Short blocks stay: a
// predecessor that fell through may have to jump, which costs more than the saved
// words are worth.
//
// A merged block has the pcs of the first.
func (f *Func) MergeTails(c *Costs) {
	t := &tailMerger{home: make([]*Block, f.NextID), place: make([]int32, f.NextID), leaks: make([]bool, f.NextBlock)}
	for _, b := range f.Blocks {
		for i, v := range b.Params {
			t.home[v.ID], t.place[v.ID] = b, int32(i)
		}
		for i, v := range b.Values {
			t.home[v.ID], t.place[v.ID] = b, int32(len(b.Params)+i)
		}
	}
	for _, b := range f.Blocks {
		b.Operands(func(v **Value) {
			if from := t.home[(*v).ID]; from != nil && from != b {
				t.leaks[from.ID] = true
			}
		})
	}
	to := make([]*Block, f.NextBlock) // what a block was merged into
	first := map[string]*Block{}
	merged := false
	for _, b := range f.Postorder() {
		for i := range b.Succs {
			if by := to[b.Succs[i].To.ID]; by != nil {
				b.Succs[i].To = by
			}
		}
		if b == f.Blocks[0] || t.leaks[b.ID] || c.blockWords(b)+b.moves() < max(1, c.Branch) {
			continue
		}
		key := string(t.key(b))
		if same := first[key]; same != nil {
			to[b.ID], merged = same, true
			continue
		}
		first[key] = b
	}
	if !merged {
		return
	}
	for _, b := range f.Blocks { // back edges, whose targets come after their sources in postorder
		for i := range b.Succs {
			if by := to[b.Succs[i].To.ID]; by != nil {
				b.Succs[i].To = by
			}
		}
	}
	f.prune()
}

type tailMerger struct {
	home  []*Block // by value number; nil for the function's parameters
	place []int32  // of a value in its block, parameters first
	leaks []bool   // by block number: another block uses its values
	buf   []byte
}

// key encodes everything in which two blocks can differ.
func (t *tailMerger) key(b *Block) []byte {
	t.buf = t.buf[:0]
	num := func(n int64) { t.buf = binary.AppendVarint(t.buf, n) }
	text := func(s string) { num(int64(len(s))); t.buf = append(t.buf, s...) }
	use := func(v *Value) {
		switch {
		case v == nil:
			num(0)
		case t.home[v.ID] == b:
			num(-1 - int64(t.place[v.ID]))
		default:
			num(1 + int64(v.ID))
		}
	}
	num(int64(len(b.Params)))
	for _, p := range b.Params {
		num(int64(p.Type))
	}
	num(int64(len(b.Values)))
	for _, v := range b.Values {
		t.buf = append(t.buf, byte(v.Op), byte(v.Type), byte(v.Space), v.Size, v.Align, v.Phase)
		big := int64(0)
		if v.Big {
			big = 1
		}
		num(big)
		num(int64(v.Kinds))
		num(int64(v.Reach))
		num(v.Int)
		text(v.Sym)
		num(int64(len(v.Args)))
		for _, a := range v.Args {
			use(a)
		}
	}
	t.buf = append(t.buf, byte(b.Kind))
	use(b.Cond)
	use(b.Result)
	use(b.ResultHi)
	for _, e := range b.Succs {
		num(int64(e.To.ID))
		num(int64(len(e.Args)))
		for _, a := range e.Args {
			use(a)
		}
	}
	return t.buf
}
