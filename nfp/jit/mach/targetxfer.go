package mach

import "github.com/nfpkit/nfpkit/nfp"

// sendDirectly computes values directly in the transfer registers from which commands
// send them, and removes the copies that select emitted. A transfer register cannot be
// read back, so one instruction must define the whole value, and it must have no other
// use.
//
// Between definition and copy no instruction may write or send the register, and no
// call may clobber it. At a join before the copy, every predecessor must define the
// value and have no other successor. A removed copy becomes a nop that takes no
// control-store word; Orig keeps it.
func sendDirectly(f *Func) {
	s := &sender{f: f, uses: make([]int32, f.VRegs), defs: make([]int32, f.VRegs)}
	for _, b := range f.Blocks {
		for i := range b.Insts {
			s.count(&b.Insts[i])
		}
	}
	for n := len(f.Blocks) - 1; n >= 0; n-- { // from joins to their predecessors
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
		if in.ReadsDst() {
			s.uses[in.Dst.N]++
		}
	}
}

// sends reports whether instruction i only copies a value without other uses into a
// transfer register.
func (s *sender) sends(b *Block, i int) bool {
	in := &b.Insts[i]
	return in.IsMove() && in.Reloc == nfp.RelocNone &&
		in.Dst.Kind == nfp.Xfer && in.B.Kind == nfp.Virtual && s.uses[in.B.N] == 1 &&
		!in.Glue && (i+1 == len(b.Insts) || !b.Insts[i+1].Glue)
}

// move computes the value of a copy, at instruction i of block n, in its destination.
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

// makers returns the instructions that define the value of a copy: one in its block,
// or one in each predecessor.
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

// maker returns the last of insts that defines the value of a copy, if that may write
// the copy's register instead; clear says that none does and that the register is
// unused in insts.
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

// whole reports whether an instruction computes its whole destination from its
// operands alone, in any register.
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
	return !in.ReadsDst() && in.Reloc == nfp.RelocNone
}
