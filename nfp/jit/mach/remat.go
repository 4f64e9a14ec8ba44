package mach

import (
	"math"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// Rematerialisation (Briggs, Cooper and Torczon, "Rematerialization"): a register that
// would be spilled is recomputed at its uses instead if that takes no more words. It
// must have one definition of one or two instructions, over constants, frame addresses
// and values that are available at each use: words of the packet vector, transfer
// registers, other live registers. Recomputation leaves condition codes alone, as
// reloads do.

// recipe is the definition of a rematerialisable register.
type recipe struct {
	insts []Inst        // whose destination is the register
	needs []nfp.Operand // operands that are read and may change
	block int32         // the register's definition
	at    int32         // instruction of that
	cost  float64       // words of all uses, less those of the definition, by loop depth
}

// recipes returns recipes by virtual register, nil if it cannot be rematerialised.
func (a *allocator) recipes() []*recipe {
	out := make([]*recipe, a.f.VRegs)
	defs := make([]int32, a.f.VRegs)
	for n, b := range a.f.Blocks {
		for i := range b.Insts {
			if o := b.Insts[i].Dst; o.Kind == nfp.Virtual {
				if defs[o.N]++; defs[o.N] == 1 && !a.small[o.N] {
					out[o.N] = recipeOf(b, int32(n), int32(i))
				}
			}
		}
	}
	changes := map[nfp.Operand][]int32{}
	for r, c := range out {
		if c == nil || int(defs[r]) != len(c.insts) {
			out[r] = nil
			continue
		}
		for _, o := range c.needs {
			changes[o] = nil
		}
	}
	a.collectChanges(changes)
	for r, c := range out {
		for i := 0; out[r] != nil && i < len(c.needs); i++ {
			for _, at := range changes[c.needs[i]] {
				if liveAt(a.live.virtual[r], at) {
					out[r] = nil
				}
			}
		}
	}
	a.priceRecipes(out)
	return out
}

// recipeOf returns the recipe that begins with instruction i of block n, nil if there
// is none.
func recipeOf(b *Block, n, i int32) *recipe {
	c := &recipe{block: n, at: i}
	glued := func(k int32) bool { return int(k) < len(b.Insts) && b.Insts[k].Glue }
	in := &b.Insts[i]
	if in.Glue || glued(i+1) || in.PortA || in.Return || in.ReadsCC() || in.ReadsDst() {
		return nil
	}
	switch in.Op {
	case nfp.OpImmed:
		c.insts = append(c.insts, *in)
		if k := i + 1; int(k) < len(b.Insts) && b.Insts[k].Op == nfp.OpImmed && b.Insts[k].Dst == in.Dst && b.Insts[k].ReadsDst() && !glued(k+1) {
			c.insts = append(c.insts, b.Insts[k])
		}
		return c
	case nfp.OpALU, nfp.OpShf, nfp.OpLdField:
	default:
		return nil
	}
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		switch {
		case o.Kind == nfp.None, o.Kind == nfp.Const, o == GPRA(22), o == GPRB(23):
		case o.Kind == nfp.LM && o.Ptr == 1 && o.Mod == 0, o.Kind == nfp.Xfer, o.Kind == nfp.Virtual && o != in.Dst:
			c.needs = append(c.needs, o)
		default:
			return nil
		}
	}
	made := *in
	if made.WritesCC() {
		made.Flags |= nfp.NoCC
	}
	c.insts = append(c.insts, made)
	return c
}

// collectChanges finds the positions at which operands of recipes may change.
func (a *allocator) collectChanges(changes map[nfp.Operand][]int32) {
	for n, b := range a.f.Blocks {
		for i := range b.Insts {
			in := &b.Insts[i]
			at := 2*(a.live.start[n]+int32(i)) + 1
			if _, needed := changes[in.Dst]; needed && in.Dst.Kind == nfp.Virtual {
				changes[in.Dst] = append(changes[in.Dst], at)
			}
			vector := in.Dst.Kind == nfp.LM && in.Dst.Ptr == 1 || in.Call.movesVector()
			if !vector && in.In == 0 && in.Call == nil {
				continue
			}
			for o := range changes {
				if o.Kind == nfp.LM && vector || o.Kind == nfp.Xfer && (in.Call != nil || in.In>>o.N&1 != 0) {
					changes[o] = append(changes[o], at)
				}
			}
		}
	}
}

// movesVector reports whether a call may change the packet vector: one of a
// function of the program, or of a helper that moves the packet's ends.
func (c *CallSite) movesVector() bool { return c != nil && (c.Callee != "" || c.MovesPacket) }

// liveAt reports whether any of the spans has a position in it.
func liveAt(spans []span, at int32) bool {
	for _, s := range spans {
		if s.from <= at && at < s.to {
			return true
		}
	}
	return false
}

// priceRecipes computes costs, and drops recipes that need a register which is not
// live at some use.
func (a *allocator) priceRecipes(out []*recipe) {
	var seen []uint32 // in this bundle
	for n, b := range a.f.Blocks {
		cost := depthCost(b.Depth)
		b.bundles(func(i, j int) {
			seen = seen[:0]
			at := 2 * (a.live.start[n] + int32(i))
			for k := i; k < j; k++ {
				in := &b.Insts[k]
				for x, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
					if o.Kind != nfp.Virtual || out[o.N] == nil || slices.Contains(seen, o.N) {
						continue
					}
					c := out[o.N]
					if x == 0 { // the definition
						c.cost -= cost
						continue
					}
					seen = append(seen, o.N)
					c.cost += cost * float64(len(c.insts))
					for _, w := range c.needs {
						if w.Kind == nfp.Virtual && !liveAt(a.live.virtual[w.N], at) {
							out[o.N] = nil
						}
					}
				}
			}
		})
	}
}

// spillCost returns the words that spilling a register costs, by loop depth: a load
// for each bundle that reads it and a store for each that writes it, more if the slot
// is far.
func (a *allocator) spillCost(r uint32) float64 {
	words := 1.0
	if a.far {
		words += 2 * float64(len(pointLM3(0, 0)))
	}
	return words * a.mentions[r]
}

// discount lowers the spill weight of rematerialisable registers.
func (a *allocator) discount() {
	a.recipe = a.recipes()
	for r, c := range a.recipe {
		if c == nil {
			continue
		}
		if c.cost > a.spillCost(uint32(r)) {
			a.recipe[r] = nil
			continue
		}
		a.weight[r] = min(a.weight[r], c.cost*a.weight[r]/max(a.mentions[r], 1))
	}
}

// rematerialise selects the spilled registers to recompute, and removes their
// definitions.
func (a *allocator) rematerialise() []*recipe {
	out := make([]*recipe, len(a.bank))
	lost := make([]bool, len(a.bank))
	for _, r := range a.spilled {
		lost[r] = true
	}
	kept := a.spilled[:0:0]
	for _, r := range a.spilled {
		c := a.recipe[r]
		for i := 0; c != nil && i < len(c.needs); i++ {
			if w := c.needs[i]; w.Kind == nfp.Virtual && lost[w.N] {
				c = nil
				break
			}
		}
		if c == nil {
			kept = append(kept, r)
			continue
		}
		out[r] = c
		b := a.f.Blocks[c.block]
		live := codesLive(b)
		for k := range c.insts {
			at := int(c.at) + k
			in := &b.Insts[at]
			if in.WritesCC() && at+1 < len(live) && live[at+1] {
				in.Dst = nfp.Operand{}
				continue
			}
			in.Inst, in.Drop = nfp.Inst{Op: nfp.OpNop}, true
		}
	}
	a.spilled = kept
	return out
}

// make appends a recipe's instructions with another destination.
func (c *recipe) make(out []Inst, to nfp.Operand, pc int32) []Inst {
	for _, in := range c.insts {
		in.Dst, in.PC, in.Orig = to, pc, nil
		out = append(out, in)
	}
	return out
}

// depthCost returns the weight of an instruction in loops, relative to one outside.
func depthCost(depth int32) float64 { return math.Pow(8, float64(min(depth, 6))) }
