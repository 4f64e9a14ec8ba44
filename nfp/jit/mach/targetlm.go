package mach

import "github.com/nfpkit/nfpkit/nfp"

// coalesce computes values directly in local memory: if a virtual register is only
// copied into a word of local memory, its defining instructions write that word and
// the copy is removed. sendDirectly does the same for transfer registers, allocate for
// copies between general registers.
//
// Between definition and copy the word must not be read or written, its pointer must
// not move, and no call may occur, so both must be in one block. The register must
// have no other use. Several instructions may define it in turn (ld_field merges),
// since the word can be read back.
//
// A removed copy becomes a nop that takes no control-store word; Orig keeps it.
func coalesce(f *Func) {
	c := &coalescer{mentions: make([]int32, f.VRegs), last: make([]int32, f.VRegs)}
	for i, b := range f.Blocks {
		for j := range b.Insts {
			in := &b.Insts[j]
			for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
				if o.Kind == nfp.Virtual {
					c.mention(o.N, int32(i+1))
				}
			}
		}
	}
	for i, b := range f.Blocks {
		for j := range b.Insts {
			in := &b.Insts[j]
			if in.isPlaceCopy() && in.Dst.Kind == nfp.LM && in.B.Kind == nfp.Virtual && c.last[in.B.N] == int32(i+1) && (j+1 == len(b.Insts) || !b.Insts[j+1].Glue) {
				c.forward(b, j)
			}
		}
	}
}

type coalescer struct {
	mentions []int32 // by virtual register
	last     []int32 // by virtual register: block + 1 of all its mentions, -1 several
}

func (c *coalescer) mention(r uint32, block int32) {
	c.mentions[r]++
	switch c.last[r] {
	case 0:
		c.last[r] = block
	case block:
	default:
		c.last[r] = -1
	}
}

// isPlaceCopy reports whether an instruction copies a register to a place in which its
// value could be computed.
func (in *Inst) isPlaceCopy() bool {
	return in.IsMove() && !in.Glue && isReg(in.B) &&
		(in.Dst.Kind == nfp.Xfer || in.Dst.Kind == nfp.LM && in.Dst.Mod == 0)
}

// coalesceReach is the number of instructions before a copy among which its
// definition is searched.
const coalesceReach = 64

// forward computes the register of copy j in the copy's destination, if possible.
func (c *coalescer) forward(b *Block, j int) {
	to, r := b.Insts[j].Dst, b.Insts[j].B
	left := c.mentions[r.N] - 1
	var made []int
	for i := j - 1; left > 0; i-- {
		if i < 0 || i < j-coalesceReach {
			return
		}
		in := &b.Insts[i]
		if in.A == r || in.B == r || in.Call != nil {
			return
		}
		if in.Dst != r {
			if touches(in, to) {
				return
			}
			continue
		}
		left--
		if !writesTo(in, to, left == 0) {
			return
		}
		made = append(made, i)
	}
	for _, i := range made {
		b.Insts[i].Dst = to
	}
	b.Insts[j].Inst, b.Insts[j].Drop = nfp.Inst{Op: nfp.OpNop}, true
}

// writesTo reports whether an instruction that defines a register may write the place
// instead; first says that it is the first definition.
func writesTo(in *Inst, to nfp.Operand, first bool) bool {
	if in.Op != nfp.OpALU && to.N >= FieldWindow/4 {
		return false // out of the reach of restricted operands
	}
	switch in.Op {
	case nfp.OpALU, nfp.OpShf:
		if !first {
			return false
		}
	case nfp.OpLdField: // its destination counts as a source
		if first != (in.Flags&nfp.ClearOther != 0) || in.B.Kind == nfp.LM {
			return false
		}
	case nfp.OpImmed:
		if first != (in.Fn == nfp.ImmedAll) || in.Glue || in.Reloc != nfp.RelocNone || in.Frame || in.Return {
			return false
		}
	default:
		return false
	}
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if o.Kind == nfp.LM && o != to {
			return false
		}
	}
	return true
}

// touches reports whether an instruction reads, writes or moves the place.
// LM1 points to the packet vector; all other pointers may point to one word.
func touches(in *Inst, to nfp.Operand) bool {
	if in.Op == nfp.OpCSRWrite && in.Imm == PointerCSR[to.Ptr] {
		return true
	}
	for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
		if o.Kind != nfp.LM {
			continue
		}
		if o.Ptr == to.Ptr && (o.N == to.N || o.Mod != 0) || o.Ptr != to.Ptr && o.Ptr != 1 && to.Ptr != 1 {
			return true
		}
	}
	return false
}
