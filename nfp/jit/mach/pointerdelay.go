package mach

import "github.com/nfpkit/nfpkit/nfp"

// PointerDelay is the number of words that must lie between the write of a
// local-memory pointer and its use. Until then an instruction may see the old
// value. The firmware writes LM0 last before it jumps to a program.
const PointerDelay = 3

// waits is, by pointer, how many words must still pass before it may be used.
type waits [4]uint8

func (w *waits) pass(n uint8) {
	for i := range w {
		w[i] -= min(w[i], n)
	}
}

func (w *waits) merge(x waits) bool {
	changed := false
	for i := range w {
		if x[i] > w[i] {
			w[i], changed = x[i], true
		}
	}
	return changed
}

// after is the transfer function of an instruction.
func (w *waits) after(in *Inst) {
	if in.Drop {
		return
	}
	w.pass(1)
	if in.Op == nfp.OpCSRWrite {
		for p, csr := range PointerCSR {
			if in.Imm == csr {
				w[p] = PointerDelay
			}
		}
	}
	if in.Call != nil && in.To < 0 && in.AlwaysBranches() {
		*w = waits{} // what is called takes more words than that
	}
}

// wants returns the number of cycles that an instruction must wait in state w.
func (w *waits) wants(in *Inst) uint8 {
	n := uint8(0)
	for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
		if o.Kind == nfp.LM {
			n = max(n, w[o.Ptr])
		}
	}
	return n
}

// delay inserts nops between the write of a local-memory pointer and its use if there
// are too few instructions between them on any path. Bundles stay together: their nops
// precede them.
func delay(f *Func) {
	in := make([]waits, len(f.Blocks))
	if f.Entry {
		in[0][0] = PointerDelay
	}
	for changed := true; changed; {
		changed = false
		for i, b := range f.Blocks {
			w := in[i]
			for j := range b.Insts {
				w.after(&b.Insts[j])
			}
			b.Succs(func(t int32) { changed = in[t].merge(w) || changed })
		}
	}
	for i, b := range f.Blocks {
		delayBlock(b, in[i])
	}
}

func delayBlock(b *Block, w waits) {
	var out []Inst // nil until a nop is needed
	b.bundles(func(i, j int) {
		need, at := uint8(0), w
		words := uint8(0)
		for k := i; k < j; k++ {
			need = max(need, at.wants(&b.Insts[k])) // longer than the bundle's distance to a write within it: select never emits that
			at.after(&b.Insts[k])
			words++
		}
		if need > 0 && out == nil {
			out = append(make([]Inst, 0, len(b.Insts)+8), b.Insts[:i]...)
		}
		for range need {
			out = append(out, Inst{Inst: nfp.Inst{Op: nfp.OpNop}, PC: b.Insts[i].PC, To: -1})
			w.pass(1)
		}
		for k := i; k < j; k++ {
			w.after(&b.Insts[k])
		}
		if out != nil {
			out = append(out, b.Insts[i:j]...)
		}
	})
	if out != nil {
		b.Insts = out
	}
}
