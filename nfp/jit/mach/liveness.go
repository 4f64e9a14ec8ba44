package mach

import (
	"math/bits"

	"github.com/nfpkit/nfpkit/nfp"
)

// Liveness of virtual registers, as ranges of positions. Instruction i of the
// layout order reads at position 2i and writes at 2i+1, so that a register that
// is last read by an instruction and one that it writes do not overlap.

// span is the positions [from, to).
type span struct{ from, to int32 }

// liveness holds the live ranges of each register: spans in ascending order that do
// not touch.
type liveness struct {
	virtual  [][]span // by virtual register
	physical [][]span // by physical register 0..63: by convention, and clobbered
	start    []int32  // by block: number of its first instruction
	count    int32    // instructions
}

func computeLiveness(f *Func) *liveness {
	l := &liveness{virtual: make([][]span, f.VRegs), physical: make([][]span, 64), start: make([]int32, len(f.Blocks))}
	for i, b := range f.Blocks {
		l.start[i] = l.count
		l.count += int32(len(b.Insts))
	}
	out := liveOut(f)
	first := make([]span, f.VRegs) // most registers have one span
	for r := range l.virtual {
		l.virtual[r] = first[r : r : r+1]
	}
	w := &spanWalk{l: l, end: make([]int32, f.VRegs), gen: make([]int32, f.VRegs), global: out.number, names: out.names}
	for i := len(f.Blocks) - 1; i >= 0; i-- {
		w.block(f, i, out.set(i))
	}
	for r := range l.virtual {
		l.virtual[r] = ascending(l.virtual[r])
	}
	for r := range l.physical {
		l.physical[r] = ascending(l.physical[r])
	}
	return l
}

// ascending reverses spans that were found back to front, and joins adjacent
// ones.
func ascending(s []span) []span {
	for i, j := 0, len(s)-1; i < j; i, j = i+1, j-1 {
		s[i], s[j] = s[j], s[i]
	}
	out := s[:0]
	for _, x := range s {
		if n := len(out); n > 0 && x.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return out
}

// liveSets is the registers live at the end of each block; only those mentioned
// in more than one block have a number in the sets.
type liveSets struct {
	number []int32  // by virtual register, -1 if it is local to a block
	names  []uint32 // by number
	words  int
	bits   []uint64
}

func (s *liveSets) set(block int) []uint64 { return s.bits[block*s.words : (block+1)*s.words] }

func liveOut(f *Func) *liveSets {
	s := &liveSets{number: make([]int32, f.VRegs)}
	home := make([]int32, f.VRegs) // block + 1
	for i := range s.number {
		s.number[i] = -1
	}
	mention := func(o nfp.Operand, b int) {
		switch {
		case o.Kind != nfp.Virtual:
		case home[o.N] == 0:
			home[o.N] = int32(b + 1)
		case home[o.N] != int32(b+1) && s.number[o.N] < 0:
			s.number[o.N] = int32(len(s.names))
			s.names = append(s.names, o.N)
		}
	}
	for i, b := range f.Blocks {
		for j := range b.Insts {
			in := &b.Insts[j]
			mention(in.Dst, i)
			mention(in.A, i)
			mention(in.B, i)
		}
	}
	s.words = (len(s.names) + 63) / 64
	n := s.words * len(f.Blocks)
	s.bits = make([]uint64, n)
	use, def := make([]uint64, n), make([]uint64, n)
	for i, b := range f.Blocks {
		u, d := use[i*s.words:(i+1)*s.words], def[i*s.words:(i+1)*s.words]
		read := func(o nfp.Operand) {
			if o.Kind == nfp.Virtual && s.number[o.N] >= 0 {
				if k := s.number[o.N]; d[k/64]>>(k%64)&1 == 0 {
					u[k/64] |= 1 << (k % 64)
				}
			}
		}
		for j := range b.Insts {
			in := &b.Insts[j]
			read(in.A)
			read(in.B)
			if in.Dst.Kind == nfp.Virtual {
				if in.ReadsDst() {
					read(in.Dst)
				}
				if k := s.number[in.Dst.N]; k >= 0 {
					d[k/64] |= 1 << (k % 64)
				}
			}
		}
	}
	s.solve(f, use, def)
	return s
}

// solve iterates out(b) = union over successors of use | out &^ def.
func (s *liveSets) solve(f *Func, use, def []uint64) {
	for changed := true; changed; {
		changed = false
		for i := len(f.Blocks) - 1; i >= 0; i-- {
			out := s.set(i)
			f.Blocks[i].Succs(func(t int32) {
				base := int(t) * s.words
				for k := range out {
					x := out[k] | use[base+k] | s.bits[base+k]&^def[base+k]
					changed = changed || x != out[k]
					out[k] = x
				}
			})
		}
	}
}

// spanWalk goes through a block backwards.
type spanWalk struct {
	l      *liveness
	end    []int32 // by virtual register: end of the span that is open
	gen    []int32 // by virtual register: block + 1 in which end counts
	global []int32
	names  []uint32
	open   []uint32 // registers with an open span
}

func (w *spanWalk) block(f *Func, i int, out []uint64) {
	b := f.Blocks[i]
	from, stamp := w.l.start[i], int32(i+1)
	to := from + int32(len(b.Insts))
	w.open = w.open[:0]
	for k, word := range out {
		for ; word != 0; word &= word - 1 {
			w.use(w.names[k*64+bits.TrailingZeros64(word)], 2*to, stamp)
		}
	}
	var phys [64]int32 // end of the open span, 0 none
	for j := len(b.Insts) - 1; j >= 0; j-- {
		in := &b.Insts[j]
		at := 2 * (from + int32(j))
		w.define(in, at, stamp, &phys)
		w.read(in.A, at+1, stamp, &phys)
		w.read(in.B, at+1, stamp, &phys)
		if in.ReadsDst() {
			w.read(in.Dst, at+1, stamp, &phys)
		}
		if in.Call != nil {
			for r := in.Call.Uses; r != 0; r &= r - 1 {
				n := bits.TrailingZeros64(uint64(r))
				if phys[n] == 0 {
					phys[n] = at + 1
				}
			}
		}
	}
	for _, r := range w.open {
		if w.gen[r] == stamp {
			w.l.virtual[r] = append(w.l.virtual[r], span{2 * from, w.end[r]})
			w.gen[r] = 0
		}
	}
	for n, end := range phys { // arguments at entry
		if end > 0 {
			w.l.physical[n] = append(w.l.physical[n], span{2 * from, end})
		}
	}
}

// use begins a span that ends at end, unless one is open.
func (w *spanWalk) use(r uint32, end, stamp int32) {
	if w.gen[r] != stamp {
		w.gen[r], w.end[r] = stamp, end
		w.open = append(w.open, r)
	}
}

func (w *spanWalk) read(o nfp.Operand, end, stamp int32, phys *[64]int32) {
	if o.Kind == nfp.Virtual {
		w.use(o.N, end, stamp)
	} else if n, ok := Physical(o); ok && phys[n] == 0 {
		phys[n] = end
	}
}

// define ends the spans of the registers that the instruction writes.
func (w *spanWalk) define(in *Inst, at, stamp int32, phys *[64]int32) {
	if in.Call != nil {
		for r := in.Call.Clobbers; r != 0; r &= r - 1 {
			n := bits.TrailingZeros64(uint64(r))
			end := max(phys[n], at+2)
			phys[n] = 0
			w.l.physical[n] = append(w.l.physical[n], span{at + 1, end})
		}
	}
	if n, ok := Physical(in.Dst); ok {
		end := max(phys[n], at+2)
		phys[n] = 0
		w.l.physical[n] = append(w.l.physical[n], span{at + 1, end})
	}
	if in.Dst.Kind != nfp.Virtual {
		return
	}
	r := in.Dst.N
	end := at + 2
	if w.gen[r] == stamp {
		end = max(end, w.end[r])
		w.gen[r] = 0
	}
	w.l.virtual[r] = append(w.l.virtual[r], span{at + 1, end})
}
