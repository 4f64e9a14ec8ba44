package jit

import "github.com/nfpkit/nfpkit/ir"

// widen makes loads of one and two bytes what the card does for them: a read of a
// word, of which the low bytes are taken. The word then stays where it arrives,
// and whoever wants a bit or a byte of it looks there. It is no pass over ir, as
// what it reads beyond the access means nothing to ir.Eval. It reports a change.
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
