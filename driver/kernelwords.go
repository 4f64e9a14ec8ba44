package driver

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
)

// The words that BPF_OBJ_GET_INFO_BY_FD shows of an offloaded program are those
// the Linux driver's translator made, before they are placed: an instruction in
// bits 44:0 without check bits, the type of its relocation in bits 63:56
// (nfp-bpf-abi.md section 10). Branches to the program's own routines have the
// same target outside of it, so the routines are found by their shape: the abort
// stub is the first branch to the firmware, three words long, and the common exit
// follows it; the routines that push and pop R6 to R9 are nine words that return
// by their sixth.

// Fields of a word as the kernel shows it.
const (
	kernelRelocShift = 56
	kernelWordBits   = 45
	abortWords       = 3 // a branch and its two slots
	saveReturn       = 5 // word of push and pop that returns
)

// KernelImage reads words that the kernel showed. An error names the word.
func KernelImage(name string, words []uint64) (*nfp.Image, error) {
	im := &nfp.Image{Name: name, Words: make([]nfp.Word, len(words))}
	need := map[nfp.RelocKind]bool{}
	insts := make([]nfp.Inst, len(words))
	for i, raw := range words {
		kind := nfp.RelocKind(raw >> kernelRelocShift)
		w := raw & (1<<kernelRelocShift - 1)
		if kind > nfp.RelocImmed {
			return nil, fmt.Errorf("%s: word %d: 0x%016x: unknown relocation %d", name, i, raw, kind)
		}
		if w>>kernelWordBits != 0 {
			return nil, fmt.Errorf("%s: word %d: 0x%016x has bits above the instruction", name, i, raw)
		}
		im.Words[i] = nfp.Word(w)
		in, err := nfp.Decode(nfp.Word(w))
		if err != nil {
			return nil, fmt.Errorf("%s: word %d: %w", name, i, err)
		}
		insts[i] = in
		if kind == nfp.RelocNone {
			continue
		}
		need[kind] = true
		r := nfp.Reloc{Addr: i, Kind: kind}
		if kind == nfp.RelocHelper {
			r.Helper = int32(in.Target) - nfp.ExternalTarget
		}
		im.Relocs = append(im.Relocs, r)
	}
	for _, s := range kernelRoutines(im, insts) {
		if need[s.kind] {
			im.Symbols = append(im.Symbols, nfp.Symbol{Name: s.kind.String(), Addr: s.at})
		}
	}
	return im, nil
}

// kernelRoutine is where a relocation other than to the program itself goes.
type kernelRoutine struct {
	kind nfp.RelocKind
	at   int
}

// kernelRoutines finds the program's own routines.
func kernelRoutines(im *nfp.Image, insts []nfp.Inst) []kernelRoutine {
	var found []kernelRoutine
	for _, r := range im.Relocs {
		if r.Kind == nfp.RelocDone {
			found = append(found, kernelRoutine{nfp.RelocAbort, r.Addr}, kernelRoutine{nfp.RelocOut, r.Addr + abortWords})
			break
		}
	}
	for i := len(insts) - 1; i >= saveReturn; i-- {
		in := &insts[i]
		if in.Op != nfp.OpRtn || in.Defer != 3 {
			continue
		}
		switch in.A {
		case nfp.RegB(21):
			found = append(found, kernelRoutine{nfp.RelocPush, i - saveReturn})
		case nfp.RegA(21):
			found = append(found, kernelRoutine{nfp.RelocPop, i - saveReturn})
		}
	}
	return found
}

// LinkKernel places words that the kernel showed, as the driver does before it
// sends them to the card: all eight types of relocation applied. The card
// receives nfp.WithECC of each word.
func LinkKernel(words []uint64, p nfp.Placement) ([]nfp.Word, error) {
	im, err := KernelImage("kernel", words)
	if err != nil {
		return nil, err
	}
	return im.Link(p)
}

// LoadKernel links words that the kernel showed for the place behind the programs
// loaded before, and loads them. Table ids of maps are constants in the words: the
// maps must have them. Which words of values are counters the driver knows, not
// the code: see LinuxUse and Map.Agree.
func (n *NIC) LoadKernel(name string, words []uint64, typ ebpf.ProgramType) (*Program, error) {
	linked, err := LinkKernel(words, nfp.Placement{Start: n.next, Done: n.Profile.Done, Helpers: n.Profile.Helpers})
	if err != nil {
		return nil, &LoadError{name, "link", err.Error(), err}
	}
	return n.LoadWords(name, linked, typ)
}

// CreateKernelMaps makes the maps of a program with the table ids that its words
// have, in order of Code.Maps, and has them know which words of their values are
// counters (LinuxUse). Ids in between go to maps named otherN. The card must have no maps yet.
func (n *NIC) CreateKernelMaps(f *verify.Facts, tables []uint32) error {
	if len(tables) != len(f.Code.Maps) || len(n.maps) > 0 {
		return fmt.Errorf("%d table ids for %d maps, %d maps there", len(tables), len(f.Code.Maps), len(n.maps))
	}
	use := LinuxUse(f)
	for id, left := uint32(1), len(tables); left > 0; id++ {
		spec := &ebpf.MapSpec{Name: fmt.Sprintf("other%d", id), Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
		at := slices.Index(tables, id)
		if at >= 0 {
			spec = f.Code.Maps[at]
			left--
		}
		m, err := n.CreateMap(spec)
		if err != nil {
			return err
		}
		if at < 0 {
			continue
		}
		if err := m.Agree(use[at].Words); err != nil {
			return err
		}
	}
	return nil
}

// Agree joins a program's use of the words of the map's values with what is
// known, as loading its image does. A *MapError says which words do not agree.
func (m *Map) Agree(use []nfp.WordUse) error { return m.setUse(use) }

// LinuxUse is what the Linux driver's verifier remembers of the words of a
// program's maps, one entry a map in order of Code.Maps: words that are added to
// are counters, which the driver swaps in control messages.
func LinuxUse(f *verify.Facts) []nfp.MapUse {
	f, _ = asLinux(f, nil)
	c := newRuleCheck(f, nil, nil)
	all := make([]nfp.MapUse, len(f.Code.Maps))
	for i, spec := range f.Code.Maps {
		words := make([]nfp.WordUse, (spec.ValueSize+3)/4)
		for w, use := range c.use[i] {
			switch {
			case use&useAtomic != 0:
				words[w] = nfp.UseCounter
			case use&useRead != 0:
				words[w] = nfp.UsePlain
			}
		}
		all[i] = nfp.MapUse{Name: spec.Name, Words: words}
	}
	return all
}
