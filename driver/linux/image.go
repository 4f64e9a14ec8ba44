package linux

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file reads the words of an offloaded program that BPF_OBJ_GET_INFO_BY_FD
// returns. They are the output of the Linux driver's translator before it places them:
// an instruction in bits 44:0 without check bits, and the type of its relocation in
// bits 63:56 (nfp-bpf-abi.md section 10).
//
// Branches to the program's own routines all have the same target outside of the
// program, so the routines are identified by their shape. The abort stub is the first
// branch to the firmware, three words long, and the common exit follows it. The
// routines that push and pop R6 to R9 have nine words and return in their sixth.

// Fields of a word as the kernel returns it.
const (
	kernelRelocShift = 56
	kernelWordBits   = 45
	abortWords       = 3 // a branch and its two delay slots
	saveReturn       = 5 // index of the word of push and pop that returns
)

// Image converts words that the kernel returned to an image. An error names the
// word.
func Image(name string, words []uint64) (*nfp.Image, error) {
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
	for _, s := range routines(im, insts) {
		if need[s.kind] {
			im.Symbols = append(im.Symbols, nfp.Symbol{Name: s.kind.String(), Addr: s.at})
		}
	}
	return im, nil
}

// routine is the target of a relocation other than to the program itself.
type routine struct {
	kind nfp.RelocKind
	at   int
}

// routines locates the program's own routines.
func routines(im *nfp.Image, insts []nfp.Inst) []routine {
	var found []routine
	for _, r := range im.Relocs {
		if r.Kind == nfp.RelocDone {
			found = append(found, routine{nfp.RelocAbort, r.Addr}, routine{nfp.RelocOut, r.Addr + abortWords})
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
			found = append(found, routine{nfp.RelocPush, i - saveReturn})
		case nfp.RegA(21):
			found = append(found, routine{nfp.RelocPop, i - saveReturn})
		}
	}
	return found
}

// Link places words that the kernel returned, as the driver does before it sends
// them to the card: it applies all eight types of relocation. The card receives
// nfp.WithECC of each word.
func Link(words []uint64, p nfp.Placement) ([]nfp.Word, error) {
	im, err := Image("kernel", words)
	if err != nil {
		return nil, err
	}
	return im.Link(p)
}

// Load links words that the kernel returned for the address after the last program on
// nic, and loads them. Table ids of maps are constants in the words, so the maps must
// have those ids, as NewCard gives them. Errors are *driver.LoadError.
func Load(nic *driver.NIC, name string, words []uint64, typ ebpf.ProgramType) (*driver.Program, error) {
	p := nic.Profile
	linked, err := Link(words, nfp.Placement{Start: nic.NextStart(), Done: p.Done, Helpers: p.Helpers})
	if err != nil {
		return nil, &driver.LoadError{Program: name, Reason: "link", Msg: err.Error(), Err: err}
	}
	return nic.LoadWords(name, linked, typ)
}

// NewCard returns a card with the maps of a program, in order of Code.Maps, under the
// table ids in the words that the driver generated for it. Maps named otherN take the
// ids in between. The words do not show which words of values are counters, which only
// the driver knows: they are those of View.Use. If tables leaves out the arrays of
// perf events, the host keeps those, as it does under Linux. opt may be nil.
func NewCard(p *firmware.Profile, opt *driver.Options, f *verify.Facts, tables []uint32) (*driver.NIC, error) {
	var numbered []int // maps that have a table id
	for i, spec := range f.Code.Maps {
		if len(tables) == len(f.Code.Maps) || spec.Type != ebpf.PerfEventArray {
			numbered = append(numbered, i)
		}
	}
	if len(tables) != len(numbered) {
		return nil, fmt.Errorf("%d table ids for %d maps", len(tables), len(f.Code.Maps))
	}
	var own driver.Options
	if opt != nil {
		own = *opt
	}
	own.HostEvents = own.HostEvents || len(numbered) < len(f.Code.Maps)
	nic, err := driver.New(p, &own)
	if err != nil {
		return nil, err
	}
	use := NewView(f, nil).Use()
	for id, left := uint32(1), len(tables); left > 0; id++ {
		spec := &ebpf.MapSpec{Name: fmt.Sprintf("other%d", id), Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
		at := slices.Index(tables, id)
		if at >= 0 {
			spec = f.Code.Maps[numbered[at]]
			left--
		}
		m, err := nic.CreateMap(spec)
		if err != nil {
			return nil, err
		}
		if at < 0 {
			continue
		}
		if err := m.MarkUse(use[numbered[at]].Words); err != nil {
			return nil, err
		}
	}
	return nic, nil
}
