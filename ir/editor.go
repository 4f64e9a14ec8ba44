package ir

import "slices"

// editor replaces values by others inserted before them, block by block.
type editor struct {
	f     *Func
	by    []*Value // by number: what replaces it
	out   []*Value // the block's values, as they become
	pc    int32    // pc of new values
	costs *Costs   // of passes that weigh
	known []Known  // by number, of the values that were there before
}

func newEditor(f *Func) *editor { return &editor{f: f, by: make([]*Value, f.NextID)} }

func (e *editor) begin(b *Block) { e.out = make([]*Value, 0, len(b.Values)+4) }

// put keeps v or, if by is another value, records that by replaces it.
func (e *editor) put(v, by *Value) {
	if by == nil {
		e.out = append(e.out, v)
		return
	}
	e.by[v.ID] = by
}

func (e *editor) end(b *Block) { b.Values = e.out }

// finish replaces the uses of all replaced values.
func (e *editor) finish() {
	for len(e.by) < int(e.f.NextID) {
		e.by = append(e.by, nil)
	}
	e.f.Replace(e.by)
}

func (e *editor) add(op Op, t Type, args ...*Value) *Value {
	v := e.f.NewValue(op, t, e.pc, args...)
	e.out = append(e.out, v)
	return v
}

// number is a constant.
func (e *editor) number(t Type, n uint64) *Value {
	v := e.add(OpConst, t)
	v.Int = int64(n)
	if t == I32 {
		v.Int = int64(int32(n))
	}
	return v
}

// shift shifts by a constant below the width; by 0 it is x itself.
func (e *editor) shift(op Op, x *Value, n int) *Value {
	if n == 0 {
		return x
	}
	return e.add(op, x.Type, x, e.number(I32, uint64(n)))
}

// max returns an upper bound of a number.
func (e *editor) max(v *Value) uint64 {
	if int(v.ID) < len(e.known) {
		return e.known[v.ID].Max()
	}
	return unknown(v.Type).Max()
}

// field extracts size bytes of a word, starting at byte at.
func (e *editor) field(x *Value, at, size int64) *Value {
	x = e.shift(OpShr, x, int(8*at))
	if at+size < 4 {
		x = e.add(OpAnd, I32, x, e.number(I32, 1<<(8*size)-1))
	}
	return x
}

// insert is word old with the low size bytes of x at byte at.
func (e *editor) insert(old, x *Value, at, size int64) *Value {
	if size == 4 {
		return x
	}
	mask := uint64(1<<(8*size)-1) << (8 * at)
	rest := e.add(OpAnd, I32, old, e.number(I32, ^mask))
	x = e.shift(OpShl, x, int(8*at))
	if at+size < 4 {
		x = e.add(OpAnd, I32, x, e.number(I32, mask))
	}
	return e.add(OpOr, I32, rest, x)
}

// hasOp reports whether any value has one of the operations.
func (f *Func) hasOp(ops ...Op) bool {
	for _, b := range f.Blocks {
		for _, v := range b.Values {
			if slices.Contains(ops, v.Op) {
				return true
			}
		}
	}
	return false
}

// address returns the address arguments of an access to base + off. hi is the
// high word of a map address, nil for other memories.
func (e *editor) address(base, hi *Value, off int64) []*Value {
	if off != 0 {
		base = e.add(OpAdd, I32, base, e.number(I32, uint64(off)))
	}
	if hi == nil {
		return []*Value{base}
	}
	return []*Value{base, hi}
}
