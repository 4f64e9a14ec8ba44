package mach

import "github.com/nfpkit/nfpkit/nfp"

// sendDirectly lets the instruction that makes a word write the register the
// word is sent from, where select copies it there: the copy goes. A transfer
// register cannot be read back, so the instruction must make the word whole, and
// nothing else may want it.
//
// The copy is at the instruction's place then, so between the two nothing may
// write or send the register, and no call may lose it. Where ways meet in front of
// the copy, all of them must make the word, and lead nowhere else. A copy that
// goes becomes a nop that takes no word; Orig is what it was.
func sendDirectly(f *Func) {
	s := &sender{f: f, uses: make([]int32, f.VRegs), defs: make([]int32, f.VRegs)}
	for _, b := range f.Blocks {
		for i := range b.Insts {
			s.count(&b.Insts[i])
		}
	}
	for n := len(f.Blocks) - 1; n >= 0; n-- { // from joins to the ways that lead there
		b := f.Blocks[n]
		for i := range b.Insts {
			if in := &b.Insts[i]; s.sends(b, i) && s.move(int32(n), i, in) {
				in.Inst, in.Drop = nfp.Inst{Op: nfp.OpNop}, true
			}
		}
	}
}

type sender struct {
	f          *Func
	uses, defs []int32 // by virtual register
	preds      [][]int32
}

func (s *sender) count(in *Inst) {
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if o.Kind == nfp.Virtual {
			s.uses[o.N]++
		}
	}
	if in.Dst.Kind == nfp.Virtual {
		s.defs[in.Dst.N]++
		if readsDst(&in.Inst) {
			s.uses[in.Dst.N]++
		}
	}
}

// sends reports whether instruction i is nothing but the copy of a word that is
// wanted nowhere else into a register to send from.
func (s *sender) sends(b *Block, i int) bool {
	in := &b.Insts[i]
	return in.Op == nfp.OpALU && in.Fn == uint8(nfp.ALUB) && in.Flags == nfp.NoCC && in.Reloc == nfp.RelocNone &&
		in.Dst.Kind == nfp.Xfer && in.B.Kind == nfp.Virtual && s.uses[in.B.N] == 1 &&
		!in.Glue && (i+1 == len(b.Insts) || !b.Insts[i+1].Glue)
}

// move makes the word of a copy, which stands at place i of block n, where it is
// sent from.
func (s *sender) move(n int32, i int, copied *Inst) bool {
	makers, ok := s.makers(n, i, copied)
	if !ok || int32(len(makers)) != s.defs[copied.B.N] {
		return false
	}
	for _, m := range makers {
		m.Dst = copied.Dst
	}
	return true
}

// makers are the instructions that make the word of a copy: one in its block, or
// one in each block that leads there.
func (s *sender) makers(n int32, i int, copied *Inst) ([]*Inst, bool) {
	m, clear := maker(s.f.Blocks[n].Insts[:i], copied)
	if m != nil || !clear {
		return []*Inst{m}, m != nil
	}
	if s.preds == nil {
		s.preds = s.f.predecessors()
	}
	var list []*Inst
	for _, p := range s.preds[n] {
		if p < 0 || p == n || s.f.Blocks[p].branch() != nil {
			return nil, false
		}
		if m, _ = maker(s.f.Blocks[p].Insts, copied); m == nil {
			return nil, false
		}
		list = append(list, m)
	}
	return list, true
}

// maker is the last of some instructions that makes the word of a copy, if that
// can write the copy's register instead; clear says that there is none and that
// the register is theirs all through.
func maker(insts []Inst, copied *Inst) (m *Inst, clear bool) {
	for i := len(insts) - 1; i >= 0; i-- {
		in := &insts[i]
		switch {
		case in.Dst == copied.B:
			if whole(in) {
				return in, false
			}
			return nil, false
		case in.Dst == copied.Dst, in.Out>>copied.Dst.N&1 != 0, in.Call != nil:
			return nil, false
		}
	}
	return nil, true
}

// whole reports whether an instruction makes a word from its operands alone, in
// whatever register.
func whole(in *Inst) bool {
	switch in.Op {
	case nfp.OpALU, nfp.OpShf:
	case nfp.OpLdField:
		if in.B.Kind != nfp.Virtual {
			return false // its destination counts as an operand of a kind
		}
	case nfp.OpImmed:
		if in.Frame || in.Return {
			return false
		}
	default:
		return false
	}
	return !readsDst(&in.Inst) && in.Reloc == nfp.RelocNone
}
