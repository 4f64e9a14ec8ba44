package jit

import (
	"sort"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
)

// Memory delivers into transfer registers, which instructions read like general ones.
// A loaded word therefore stays in its transfer register, and no instruction copies
// it, unless the register is needed while the word is live: calls clobber transfer
// registers, and later reads fill them.
//
// A word's live range is found in the ir, before selection: from the read to the last
// instruction that will use it. Instructions are numbered in reverse postorder; a live
// range is a list of ranges of numbers, both ends included. A word that is live across
// a call is copied to a general register at once. A read is assigned the next run of
// registers below scratchXfer in which each register is free for the live range of its
// word. If there is none, the read arrives in the scratch registers, and all its words
// are copied.
//
// The packet's start likewise stays in the packet vector unless an adjust_head lies in
// its live range.

// scratchXfer and up are for words that do not stay.
const (
	scratchXfer  = 24
	scratchXfers = 8
)

// xferPlan holds the transfer registers of reads.
type xferPlan struct {
	base []int8   // by value number: first register that a read arrives in
	stay []uint32 // by value number: words of a read that stay there, as bits; of the packet's start 1
}

// stays reports whether word i of a read stays in its transfer register.
func (p *xferPlan) stays(v *ir.Value, i int) bool { return p.stay[v.ID]>>i&1 != 0 }

// useSite is a use of a value.
type useSite struct {
	block ir.ID
	at    int32
}

type xferPlanner struct {
	s          *selector
	plan       *xferPlan
	start, end []int32 // by block number: numbers of its first value and terminator
	at         []int32 // by value number
	home       []ir.ID // by value number: block
	preds      [][]ir.Pred
	sites      [][]useSite // by value number, of values computed at their uses
	words      [][]useSite // of words of reads
	first      []int32     // by value number: place in words of a read's first
	calls      []int32     // what loses transfer registers
	moves      []int32     // what may move the packet's start
	busy       [scratchXfer][]lifetime
	next       int     // register to try first: round robin, so that reads overlap
	seen       []int32 // by block number: stamp
	stamp      int32
}

// planXfers assigns the transfer registers of all reads of the function;
// prepare must have run.
func planXfers(s *selector, order []*ir.Block) *xferPlan {
	p := &xferPlanner{s: s, plan: &xferPlan{base: make([]int8, s.f.NextID), stay: make([]uint32, s.f.NextID)},
		start: make([]int32, s.f.NextBlock), end: make([]int32, s.f.NextBlock),
		at: make([]int32, s.f.NextID), home: make([]ir.ID, s.f.NextID), sites: make([][]useSite, s.f.NextID),
		preds: s.f.Preds(), seen: make([]int32, s.f.NextBlock), first: make([]int32, s.f.NextID)}
	var reads, starts []*ir.Value
	n := int32(0)
	watch := func(v *ir.Value, words int) {
		p.first[v.ID] = int32(len(p.words))
		p.words = append(p.words, make([][]useSite, words)...)
	}
	for _, b := range order {
		p.start[b.ID] = n
		n++
		for _, v := range b.Values {
			p.at[v.ID], p.home[v.ID] = n, b.ID
			n++
			switch {
			case v.Op == ir.OpCallFunc, v.Op == ir.OpTailCall,
				v.Op == ir.OpCallHelper && !s.env.profile.Inlines(int32(v.Int)) && !(v.Int == helperLookup && s.env.profile.DirectMap):
				p.calls = append(p.calls, p.at[v.ID])
			case wordsRead(v) > 0 && s.uses[v.ID] > 0:
				reads = append(reads, v)
				watch(v, wordsRead(v))
			case isPacketStart(v):
				starts = append(starts, v)
				watch(v, 1)
			}
			if v.Op == ir.OpCallFunc || v.Op == ir.OpCallHelper && v.Int == helperAdjustHead {
				p.moves = append(p.moves, p.at[v.ID])
			}
		}
		p.end[b.ID] = n
		n++
	}
	for i := range p.plan.base {
		p.plan.base[i] = scratchXfer
	}
	if len(reads)+len(starts) == 0 {
		return p.plan
	}
	p.collect(order)
	for _, v := range reads {
		p.place(v)
	}
	for _, v := range starts {
		if _, stays := p.life(v, p.words[p.first[v.ID]], p.moves); stays {
			p.plan.stay[v.ID] = 1
		}
	}
	return p.plan
}

// wordsRead is the number of whole words that a plain read delivers, 0 for any
// other value.
func wordsRead(v *ir.Value) int {
	switch {
	case v.Space == ir.Stack:
		return 0
	case v.Op == ir.OpRead && !(v.Big && !wholeWords(v)):
		return int(v.Int)
	case v.Op == ir.OpLoad && !v.Big, v.Op == ir.OpLoad && v.Size >= 4 && wholeWords(v):
		return (int(v.Size) + 3) / 4
	}
	return 0
}

// wholeWords reports whether a big-endian access moves whole words.
func wholeWords(v *ir.Value) bool { return v.Align >= 4 && v.Phase%4 == 0 }

// collect finds the uses of values. A value that is computed at its uses (fused
// comparisons, folded addresses and shifts) passes their positions on to its operands.
func (p *xferPlanner) collect(order []*ir.Block) {
	mention := func(v *ir.Value, s ...useSite) {
		word := int32(0)
		if v.Op == ir.OpPart {
			word, v = int32(v.Int), v.Args[0]
		}
		switch {
		case (wordsRead(v) > 0 || isPacketStart(v)) && p.s.uses[v.ID] > 0:
			word += p.first[v.ID]
			p.words[word] = append(p.words[word], s...)
		case p.s.atUsers(v):
			p.sites[v.ID] = append(p.sites[v.ID], s...)
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		b := order[i]
		end := useSite{b.ID, p.end[b.ID]}
		for _, v := range [...]*ir.Value{b.Cond, b.Result, b.ResultHi} {
			if v != nil {
				mention(v, end)
			}
		}
		for _, e := range b.Succs {
			for _, a := range e.Args {
				mention(a, end)
			}
		}
	}
	for i := len(order) - 1; i >= 0; i-- {
		b := order[i]
		for j := len(b.Values) - 1; j >= 0; j-- {
			v := b.Values[j]
			if v.Op == ir.OpPart || p.s.uses[v.ID] == 0 && !v.Op.Is(ir.Effect) {
				continue
			}
			site := []useSite{{b.ID, p.at[v.ID]}}
			if p.s.atUsers(v) {
				site = p.sites[v.ID]
			}
			for _, a := range v.Args {
				mention(a, site...)
			}
		}
	}
}

// life returns the live range in which a word of v, used at sites, must stay in its
// transfer register, and whether it does, because no call lies in it.
func (p *xferPlanner) life(v *ir.Value, sites []useSite, calls []int32) (life []lifetime, stays bool) {
	home, def := p.home[v.ID], p.at[v.ID]
	p.stamp++
	var walk []ir.ID
	enter := func(b ir.ID) { // the word is live at the start of b
		for _, q := range p.preds[b] {
			if p.seen[q.Block.ID] != p.stamp {
				p.seen[q.Block.ID] = p.stamp
				walk = append(walk, q.Block.ID)
			}
		}
	}
	last := map[ir.ID]int32{}
	for _, s := range sites {
		last[s.block] = max(last[s.block], s.at)
		if s.block != home {
			enter(s.block)
		}
	}
	for len(walk) > 0 {
		b := walk[len(walk)-1]
		walk = walk[:len(walk)-1]
		last[b] = p.end[b]
		if b != home {
			enter(b)
		}
	}
	for b, at := range last {
		from := p.start[b]
		if b == home {
			from = def
		}
		if i := sort.Search(len(calls), func(i int) bool { return calls[i] > from }); i < len(calls) && calls[i] < at {
			return []lifetime{{def, def}}, false
		}
		life = append(life, lifetime{from, at})
	}
	if len(life) == 0 {
		return []lifetime{{def, def}}, false
	}
	sort.Slice(life, func(i, j int) bool { return life[i].from < life[j].from })
	return life, true
}

// place assigns registers to a read.
func (p *xferPlanner) place(v *ir.Value) {
	n := wordsRead(v)
	if n > scratchXfer {
		return
	}
	lives, stay := make([][]lifetime, n), uint32(0)
	for i := range lives {
		life, stays := p.life(v, p.words[int(p.first[v.ID])+i], p.calls)
		lives[i] = life
		if stays {
			stay |= 1 << i
		}
	}
	base := p.run(p.next, lives)
	if base < 0 {
		base = p.run(0, lives)
	}
	if base < 0 {
		return
	}
	p.plan.base[v.ID], p.plan.stay[v.ID], p.next = int8(base), stay, base+n
	for i, life := range lives {
		k := base + i
		p.busy[k] = append(p.busy[k], life...)
		sort.Slice(p.busy[k], func(i, j int) bool { return p.busy[k][i].from < p.busy[k][j].from })
	}
}

// run returns the first register from on of a run of len(lives) registers, each free
// for its own live range, -1 if there is none.
func (p *xferPlanner) run(from int, lives [][]lifetime) int {
	for base := from; base+len(lives) <= scratchXfer; base++ {
		fits := true
		for i := 0; fits && i < len(lives); i++ {
			fits = p.free(base+i, lives[i])
		}
		if fits {
			return base
		}
	}
	return -1
}

func (p *xferPlanner) free(r int, life []lifetime) bool {
	busy := p.busy[r]
	for _, s := range life {
		// Spans of one register do not overlap, so their ends ascend too.
		i := sort.Search(len(busy), func(i int) bool { return busy[i].to >= s.from })
		if i < len(busy) && busy[i].from <= s.to {
			return false
		}
	}
	return true
}

// outXfers chooses n registers to send from. It chooses them in rotation, so
// that a command's data need not be waited for until all have been used.
func (s *selector) outXfers(n int) int {
	if s.nextOut+n > 32 {
		s.nextOut = 0
	}
	base := s.nextOut
	s.nextOut += n
	return base
}

// apart returns a, or a copy of it if a and b are both transfer registers or both words of local
// memory, of which an instruction can read only one.
func (s *selector) apart(a, b nfp.Operand) nfp.Operand {
	if a.Kind == b.Kind && (a.Kind == nfp.Xfer || a.Kind == nfp.LM) {
		t := s.newReg()
		s.move(t, a)
		return t
	}
	return a
}

// lifetime is a range of positions, both ends included.
type lifetime struct{ from, to int32 }
