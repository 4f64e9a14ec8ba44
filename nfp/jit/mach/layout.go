package mach

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// padding is the number of nops after a program: the engine prefetches.
const padding = 8

// PlaceFrames gives each function's frame its offset from A22 and returns the
// stack the program needs, in bytes. Functions do not recurse, so a frame can lie
// at one place: above those of all its callers. funcs has callees first.
func PlaceFrames(funcs []*Func) int {
	byName := map[string]*Func{}
	for _, f := range funcs {
		byName[f.Name] = f
	}
	total := 0
	for i := len(funcs) - 1; i >= 0; i-- {
		f := funcs[i]
		for _, c := range f.Callees {
			callee := byName[c]
			callee.Offset = max(callee.Offset, f.Offset+f.size())
		}
		if used := f.Frame + f.Spill; used > 0 {
			total = max(total, f.Offset+used)
		}
	}
	return total
}

// Layout concatenates blocks and functions into an image: the entry first, functions
// in the order given, padding last. It moves the instructions that fill the slots of
// branches after them and resolves branches. Targets count from the image's start;
// every word that depends on the load address has a relocation. pcs is the eBPF pc of
// each word, -1 if it has none.
//
// If there are more words than room, the image comes without words; len(pcs) is their
// number.
func Layout(name string, funcs []*Func, room int) (im *nfp.Image, pcs []int32, err error) {
	l := &linker{im: &nfp.Image{Name: name}, at: map[string]int{}}
	n := 0
	for _, f := range funcs {
		for _, b := range f.Blocks {
			n += len(b.Insts) + 1
		}
	}
	l.insts, l.pcs = make([]nfp.Inst, 0, n+padding), make([]int32, 0, n+padding)
	for _, f := range funcs {
		l.fn(f)
	}
	for range padding {
		l.word(Inst{Inst: nfp.Inst{Op: nfp.OpNop}, PC: -1, To: -1})
	}
	if len(l.insts) > room {
		return l.im, l.pcs, nil
	}
	for _, c := range l.calls {
		l.insts[c.at].Target = uint16(l.at[c.to])
	}
	l.im.Words = make([]nfp.Word, 0, len(l.insts))
	for i := range l.insts {
		w, err := nfp.Encode(l.insts[i])
		if err != nil {
			return nil, nil, fmt.Errorf("word %d: %v: %w", i, l.insts[i], err)
		}
		l.im.Words = append(l.im.Words, w)
	}
	return l.im, l.pcs, nil
}

// linker is a program being laid out.
type linker struct {
	im    *nfp.Image
	insts []nfp.Inst
	pcs   []int32
	at    map[string]int // of functions
	calls []pendingCall
	start []int // of the function's blocks
	local []pendingBranch
}

type pendingCall struct {
	at int
	to string
}

type pendingBranch struct {
	at int
	to int32
}

// word appends an instruction with its relocation.
func (l *linker) word(in Inst) {
	at := len(l.insts)
	switch {
	case in.To >= 0:
		l.local = append(l.local, pendingBranch{at, in.To})
		in.Reloc = nfp.RelocBranch
	case in.Call != nil && in.Call.Callee != "":
		l.calls = append(l.calls, pendingCall{at, in.Call.Callee})
	case in.Reloc == nfp.RelocHelper:
		in.Target = nfp.ExternalTarget + uint16(in.Helper)
	case in.Reloc == nfp.RelocDone:
		in.Target = nfp.ExternalTarget
	}
	if in.Reloc != nfp.RelocNone {
		r := nfp.Reloc{Addr: at, Kind: in.Reloc, Helper: in.Helper}
		if in.Reloc >= nfp.RelocMap {
			r.Map = in.Sym
		}
		l.im.Relocs = append(l.im.Relocs, r)
	}
	l.insts = append(l.insts, in.Inst)
	l.pcs = append(l.pcs, in.PC)
}

func (l *linker) fn(f *Func) {
	l.at[f.Name] = len(l.insts)
	l.im.Symbols = append(l.im.Symbols, nfp.Symbol{Name: f.Name, Addr: len(l.insts)})
	l.local = l.local[:0]
	l.start = l.start[:0]
	for _, b := range f.Blocks {
		l.start = append(l.start, len(l.insts))
		l.block(f, b)
	}
	for _, p := range l.local {
		l.insts[p.at].Target = uint16(l.start[p.to])
	}
}

// block lays out one block.
func (l *linker) block(f *Func, b *Block) {
	for j := range b.Insts {
		in := b.Insts[j]
		if in.Frame {
			in.Imm += uint32(f.Offset)
		}
		if in.Slots > 0 {
			l.withSlots(b, j, in)
			continue
		}
		l.word(in)
	}
}

// withSlots lays out a branch whose slots are the words just emitted for the
// instructions before it.
func (l *linker) withSlots(b *Block, j int, br Inst) {
	n := int(br.Slots)
	first := len(l.insts) - n
	slots := slices.Clone(l.insts[first:])
	pcs := slices.Clone(l.pcs[first:])
	l.insts, l.pcs = l.insts[:first], l.pcs[:first]
	var moved []nfp.Reloc
	for len(l.im.Relocs) > 0 && l.im.Relocs[len(l.im.Relocs)-1].Addr >= first {
		moved = append(moved, l.im.Relocs[len(l.im.Relocs)-1])
		l.im.Relocs = l.im.Relocs[:len(l.im.Relocs)-1]
	}
	br.Defer = uint8(n)
	l.word(br)
	for k, in := range slots {
		for m := len(moved) - 1; m >= 0; m-- {
			if moved[m].Addr == first+k {
				r := moved[m]
				r.Addr++
				l.im.Relocs = append(l.im.Relocs, r)
			}
		}
		if r := b.returnSlot(j); r >= 0 && in.Op == nfp.OpImmed && in.Dst == b.Insts[r].Dst {
			in.Imm = uint32(first + 1 + n)
		}
		l.insts = append(l.insts, in)
		l.pcs = append(l.pcs, pcs[k])
	}
}

// returnSlot returns the instruction before branch j that loads its return address, -1
// if there is none.
func (b *Block) returnSlot(j int) int {
	for k := j - 1; k >= 0 && k >= j-int(b.Insts[j].Slots); k-- {
		if b.Insts[k].Return {
			return k
		}
	}
	return -1
}
