package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// orderBlocks places blocks so that the hot path falls through. Chains of blocks grow
// from the entry: of two successors the hotter one follows, the other begins a chain
// later.
//
// A taken branch stalls, an untaken one costs its issue cycle, so the placement
// decides the cost. Without measured counts the successor with the longer path is
// assumed to be the hot one: packets that are dropped or passed early take short
// paths. Exits are copied to the branches that would jump to them, since a copy is
// hardly longer.
func orderBlocks(f *Func, count func(pc int32) (uint64, bool)) {
	p := &placer{f: f, weight: blockWeights(f), count: count, placed: make([]bool, len(f.Blocks))}
	p.string(0)
	for len(p.later) > 0 || len(p.last) > 0 {
		if n := len(p.later); n > 0 {
			b := p.later[n-1]
			p.later = p.later[:n-1]
			p.string(b)
			continue
		}
		b := p.last[0]
		p.last = p.last[1:]
		p.string(b)
	}
	f.reorder(p.order)
}

type placer struct {
	f      *Func
	weight []int
	count  func(pc int32) (uint64, bool)
	placed []bool
	order  []int32
	later  []int32 // to be laid out next, last first
	last   []int32 // ends of the program
}

// string places b and the hot path that begins there.
func (p *placer) string(b int32) {
	for b >= 0 && !p.placed[b] {
		p.placed[b] = true
		p.order = append(p.order, b)
		blk := p.f.Blocks[b]
		next, other := blk.Next, int32(-1)
		if in := blk.branch(); in != nil {
			other = in.To
			if next < 0 || p.taken(in, next) {
				next, other = other, next
			}
		}
		if other >= 0 && !p.placed[other] {
			if p.f.isEnd(p.f.Blocks[other]) {
				p.last = append(p.last, other)
			} else {
				p.later = append(p.later, other)
			}
		}
		b = next
	}
}

// taken reports whether a branch is expected to be taken more often than to
// continue in next.
func (p *placer) taken(in *Inst, next int32) bool {
	if in.Likely != 0 && !p.placed[in.To] && !p.placed[next] {
		return in.Likely > 0
	}
	return p.hotter(in.To, next)
}

// hotter reports whether more packets are expected at x than at y.
func (p *placer) hotter(x, y int32) bool {
	if p.placed[x] != p.placed[y] {
		return p.placed[y]
	}
	bx, by := p.f.Blocks[x], p.f.Blocks[y]
	if p.count != nil {
		cx, okx := p.count(firstPC(bx))
		cy, oky := p.count(firstPC(by))
		if okx && oky && cx != cy {
			return cx > cy
		}
	}
	if bx.Depth != by.Depth {
		return bx.Depth > by.Depth
	}
	return p.weightBeside(x, y) > p.weightBeside(y, x)
}

// weightBeside returns the weight of x as an alternative to y: if x is a second test
// of one comparison and leads to y too, its other successor counts.
func (p *placer) weightBeside(x, y int32) int {
	b := p.f.Blocks[x]
	in := b.branch()
	if in == nil || len(b.Insts) != 1 {
		return p.weight[x]
	}
	switch y {
	case in.To:
		return p.weight[b.Next]
	case b.Next:
		return p.weight[in.To]
	}
	return p.weight[x]
}

func firstPC(b *Block) int32 {
	for i := range b.Insts {
		if b.Insts[i].PC >= 0 {
			return b.Insts[i].PC
		}
	}
	return -1
}

// isEnd reports whether the block only ends the program, in no more words than a
// jump to it would take cycles, so that it is copied rather than jumped to.
func (f *Func) isEnd(b *Block) bool {
	n := len(b.Insts)
	return b.Next < 0 && n > 0 && n <= f.Jump && b.Insts[n-1].Reloc == nfp.RelocDone && !b.Insts[n-1].ReadsCC()
}

// blockWeights returns, by block, the instructions on the longest path to an exit,
// back edges excluded.
func blockWeights(f *Func) []int {
	weight := make([]int, len(f.Blocks))
	state := make([]uint8, len(f.Blocks)) // 1 open, 2 done
	stack := []int32{0}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		b := f.Blocks[n]
		if state[n] == 0 {
			state[n] = 1
			b.Succs(func(t int32) {
				if state[t] == 0 {
					stack = append(stack, t)
				}
			})
			continue
		}
		stack = stack[:len(stack)-1]
		if state[n] == 1 {
			state[n] = 2
			longest := 0
			b.Succs(func(t int32) { longest = max(longest, weight[t]) })
			weight[n] = longest + len(b.Insts)
		}
	}
	return weight
}

// link inverts branches so that control falls through to the next block if possible,
// and else appends a block with a jump, or a copy of an exit.
func link(f *Func) {
	var out []*Block
	moved := make([]int32, len(f.Blocks))
	for i, b := range f.Blocks {
		moved[i] = int32(len(out))
		out = append(out, b)
		behind := int32(i + 1)
		if b.Next < 0 || b.Next == behind {
			continue
		}
		if in := b.branch(); in != nil && in.To == behind {
			in.turn(b)
			continue
		} else if in != nil && f.isEnd(f.Blocks[in.To]) && !f.isEnd(f.Blocks[b.Next]) {
			in.turn(b) // so that no jump is needed
		}
		to := f.Blocks[b.Next]
		switch {
		case f.isEnd(to) && b.branch() == nil:
			b.Insts = append(b.Insts, cloneInsts(to.Insts)...)
			b.Next = -1
		case f.isEnd(to):
			out = append(out, &Block{Insts: cloneInsts(to.Insts), Next: -1, Depth: b.Depth})
			b.Next = fallsThrough
		case b.branch() == nil:
			b.Insts = append(b.Insts, jumpTo(b.Next, lastPC(b)))
			b.Next = -1
		default:
			out = append(out, &Block{Insts: []Inst{jumpTo(b.Next, lastPC(b))}, Next: -1, Depth: b.Depth})
			b.Next = fallsThrough
		}
	}
	for i, b := range out {
		switch {
		case b.Next == fallsThrough:
			b.Next = int32(i + 1)
		case b.Next >= 0:
			b.Next = moved[b.Next]
		}
		if in := b.branch(); in != nil {
			in.To = moved[in.To]
		}
	}
	f.Blocks = out
	f.keepReached() // exits that were copied to all their predecessors
}

// turn inverts the branch of b: conditions come in pairs of opposites.
func (in *Inst) turn(b *Block) {
	in.Fn ^= 1
	in.Likely = -in.Likely
	in.To, b.Next = b.Next, in.To
}

// fallsThrough is a value of Next while link runs: the block appended after this one.
const fallsThrough = -2

func cloneInsts(insts []Inst) []Inst { return slices.Clone(insts) }

func jumpTo(to, pc int32) Inst {
	return Inst{Inst: nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondAlways)}, PC: pc, To: to}
}

func lastPC(b *Block) int32 {
	if n := len(b.Insts); n > 0 {
		return b.Insts[n-1].PC
	}
	return -1
}
