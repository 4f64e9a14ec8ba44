package mach

import "github.com/nfpkit/nfpkit/nfp"

// fill copies the first instructions of a branch's target into the slots that schedule
// left empty, and moves the target past them (McFarling and Hennessy, "from the
// target"). They are copies because other branches lead there too. If the copied
// instructions reach a jump or the program's exit, the branch goes there directly.
//
// Instructions in the slots of a jump cost nothing. Those of a conditional branch
// execute on the fall-through path too: there they may only write dead general
// registers and condition codes, and cost a cycle each, so the branch's expected
// direction decides. Filling from the fall-through path would gain nothing: an untaken
// branch has no stall cycles, and a taken one stalls as long as the instructions take.
//
// It runs after schedule: instructions keep their order, bundles stay together.
func fill(f *Func, count func(pc int32) (uint64, bool), small bool) {
	p := &filler{f: f, count: count, small: small, cuts: newCuts(f)}
	p.live, p.preds = liveAtStart(f), f.predecessors()
	for i := range f.Blocks {
		p.branch(int32(i))
	}
	if p.filled {
		p.cuts.make()
	}
}

type filler struct {
	f      *Func
	count  func(pc int32) (uint64, bool)
	live   []resSet // by block: live resources at its start
	preds  [][]int32
	cuts   *cuts
	small  bool
	filled bool
}

// taken holds instructions copied into a branch's slots, and its new target.
type taken struct {
	insts []Inst
	saved float64 // cycles on the taken path
	to    spot    // the new target
	exit  *Inst   // the branch to the firmware, if that is the new target
}

// branch fills the slots of the branch at the end of block i.
func (p *filler) branch(i int32) {
	b := p.f.Blocks[i]
	br := b.branch()
	if br == nil || br.Call != nil {
		return
	}
	share, room := 1.0, 2
	if !br.AlwaysBranches() {
		share, room = p.share(b, br), 3
	}
	best, value := taken{}, 0.0
	p.along(b, br, room-int(br.Slots), func(t taken) {
		v := share*t.saved - (1-share)*float64(len(t.insts))
		if v > value && p.grows(b, br, len(t.insts)) {
			t.insts = append([]Inst(nil), t.insts...)
			best, value = t, v
		}
	})
	if value == 0 {
		return
	}
	p.filled = true
	end := *br
	out := b.Insts[: len(b.Insts)-1 : len(b.Insts)-1]
	for k, in := range best.insts {
		in.Glue = in.Glue || end.Slots > 0 || k > 0
		out = append(out, in)
	}
	end.Slots += uint8(len(best.insts))
	end.Defer, end.Glue = end.Slots, end.Slots > 0
	if best.exit != nil {
		end.To, end.Reloc, end.Call = -1, best.exit.Reloc, best.exit.Call
	} else {
		end.To = p.cuts.at(best.to)
	}
	b.Insts = append(out, end)
}

// minSaved is the number of cycles a packet that a copied word must save.
const minSaved = 0.05

// grows reports whether the slots of the branch of b may take n copied instructions.
// They may if the branch is its target's only predecessor, since they are then moved
// and not copied. Otherwise they may if b is in a loop or, if there are measured
// counts, if enough packets pass through b.
func (p *filler) grows(b *Block, br *Inst, n int) bool {
	switch {
	case n == 0, len(p.preds[br.To]) == 1:
		return true
	case p.small:
		return false
	}
	if p.count != nil {
		all, ok := p.count(firstPC(p.f.Blocks[0]))
		here, okHere := p.count(firstPC(b))
		if ok && okHere {
			return float64(here) >= minSaved*float64(all)
		}
	}
	return b.Depth > 0
}

// along walks from the target of the branch of b as long as instructions may move into
// its slots, and calls found at each point at which it may stop.
func (p *filler) along(b *Block, br *Inst, room int, found func(taken)) {
	harmless := br.AlwaysBranches()
	var other resSet // live on the fall-through path
	if !harmless {
		other = p.live[b.Next]
	}
	t := taken{to: spot{block: br.To}}
	for range 16 {
		to := p.f.Blocks[t.to.block]
		if t.to.at == len(to.Insts) {
			return
		}
		j := t.to.at + 1
		for j < len(to.Insts) && to.Insts[j].Glue {
			j++
		}
		bundle := to.Insts[t.to.at:j]
		last := &bundle[len(bundle)-1]
		words := bundle
		leaves := last.AlwaysBranches() && (last.To >= 0 && last.Call == nil || last.Reloc == nfp.RelocDone) && int(last.Slots) == len(bundle)-1
		if leaves {
			words = bundle[:len(bundle)-1]
		}
		if len(t.insts)+len(words) > room {
			return
		}
		for k := range words {
			if !mayGoAlong(&words[k], b) {
				return
			}
			if e := effectOf(&words[k]); !harmless && (e.writes.meets(&other) || !onlyRegisters(&words[k])) {
				return
			}
		}
		t.insts = append(t.insts, words...)
		t.saved += float64(len(words))
		t.to.at = j
		if leaves {
			t.saved += float64(p.f.Jump - int(last.Slots))
			if last.Reloc == nfp.RelocDone {
				t.exit = last
				found(t)
				return
			}
			t.to = p.cuts.spotOf(last.To)
		} else if j == len(to.Insts) && to.Next >= 0 {
			t.to = spot{block: to.Next}
		}
		found(t)
	}
}

// mayGoAlong reports whether an instruction may fill the slots of the branch of b: see
// mayDefer. A command may if its wait stays after it. An instruction that uses a
// pointer that b writes would have to wait for it.
func mayGoAlong(in *Inst, b *Block) bool {
	if in.Swaps() || in.Return || !in.Computes() && in.Op != nfp.OpCmd {
		return false
	}
	for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
		if o.Kind != nfp.LM {
			continue
		}
		for k := range b.Insts {
			if b.Insts[k].Op == nfp.OpCSRWrite {
				return false
			}
		}
	}
	return true
}

// onlyRegisters reports whether a word changes nothing but a general register and
// codes.
func onlyRegisters(in *Inst) bool {
	if in.Op == nfp.OpCmd || in.A.Mod != 0 || in.B.Mod != 0 {
		return false
	}
	_, ok := Physical(in.Dst)
	return ok || in.Dst.Kind == nfp.None
}

// Probabilities that a branch is taken if nothing was measured: those of loops are
// Ball and Larus' (1993), rounded; that exits of the program are rare is assumed, as
// most are failed checks.
const (
	shareLoop   = 0.9
	shareRare   = 0.1
	shareEither = 0.1
)

// share is the expected fraction of executions in which the branch of b is taken.
func (p *filler) share(b *Block, br *Inst) float64 {
	to, next := p.f.Blocks[br.To], p.f.Blocks[b.Next]
	if p.count != nil {
		here, ok := p.count(br.PC)
		if t, okTo := p.count(firstPC(to)); ok && okTo && len(p.preds[br.To]) == 1 && t <= here && here > 0 {
			return float64(t) / float64(here)
		}
		if n, okNext := p.count(firstPC(next)); ok && okNext && len(p.preds[b.Next]) == 1 && n <= here && here > 0 {
			return 1 - float64(n)/float64(here)
		}
	}
	if to.Depth > next.Depth {
		return shareLoop
	}
	return 0
}
