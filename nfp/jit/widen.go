package jit

import "github.com/nfpkit/nfpkit/ir"

// widen turns loads of one and two bytes into the card's form: a read of a word, whose
// low bytes are extracted. The word then stays in its transfer register, and its uses
// test bits or bytes of it there. It is no pass over ir, as the bytes beyond the
// access have no meaning for ir.Eval. It reports a change.
func widen(f *ir.Func) bool {
	changed := false
	for _, b := range f.Blocks {
		var out []*ir.Value
		for i, v := range b.Values {
			if v.Op != ir.OpLoad || v.Space == ir.Stack || v.Big || v.Size >= 4 {
				if out != nil {
					out = append(out, v)
				}
				continue
			}
			if out == nil {
				out = append(make([]*ir.Value, 0, len(b.Values)+8), b.Values[:i]...)
			}
			read := f.NewValue(ir.OpRead, ir.Tuple, v.PC, v.Args...)
			read.Int, read.Space, read.Align, read.Phase = 1, v.Space, v.Align, v.Phase
			word := f.NewValue(ir.OpPart, ir.I32, v.PC, read)
			mask := f.NewValue(ir.OpConst, ir.I32, v.PC)
			mask.Int = 1<<(8*v.Size) - 1
			*v = ir.Value{ID: v.ID, Op: ir.OpAnd, Type: ir.I32, Args: []*ir.Value{word, mask}, PC: v.PC}
			out = append(out, read, word, mask, v)
		}
		if out != nil {
			b.Values, changed = out, true
		}
	}
	return changed
}
