package nfp

import "fmt"

// StoreWords is the largest code store: branch addresses have 14 bits.
const StoreWords = 1 << 14

// ExternalTarget is the target of branches out of an image that is not placed, plus
// the helper id for RelocHelper, so that dumps can distinguish them
// (docs/firmware-contract.md).
const ExternalTarget = 15000

// Names of the symbols that RelocOut, RelocAbort, RelocPush and RelocPop refer to if
// the word's target is ExternalTarget.
var externalSymbol = [...]string{RelocOut: "out", RelocAbort: "abort", RelocPush: "push", RelocPop: "pop"}

// Link returns the words of the image as placed at p: every relocation applied, no
// check bits. Errors name the word: a missing helper, map or symbol, an address
// that does not fit, a relocation of a word that has no such field.
func (im *Image) Link(p Placement) ([]Word, error) {
	if err := im.Check(); err != nil {
		return nil, err
	}
	if p.Start < 0 || p.Start+len(im.Words) > StoreWords {
		return nil, fmt.Errorf("%d words at %d: the code store has %d", len(im.Words), p.Start, StoreWords)
	}
	words := append([]Word(nil), im.Words...)
	for _, r := range im.Relocs {
		w, err := im.relocate(words[r.Addr], r, p)
		if err != nil {
			return nil, fmt.Errorf("word %d: %w", r.Addr, err)
		}
		words[r.Addr] = w
	}
	return words, nil
}

// relocate applies one relocation.
func (im *Image) relocate(w Word, r Reloc, p Placement) (Word, error) {
	switch r.Kind {
	case RelocNone:
		return w, nil
	case RelocBranch, RelocOut, RelocAbort, RelocPush, RelocPop:
		t, err := im.inside(w, r.Kind)
		if err != nil {
			return 0, err
		}
		return retarget(w, p.Start+t)
	case RelocDone:
		return retarget(w, p.Done)
	case RelocHelper:
		a, ok := p.Helpers[r.Helper]
		if !ok {
			return 0, fmt.Errorf("helper %d has no address", r.Helper)
		}
		return retarget(w, a)
	case RelocImmed:
		v, err := immediateOf(w)
		if err != nil {
			return 0, err
		}
		return reimmediate(w, uint64(v)+uint64(p.Start))
	case RelocMap:
		id, ok := p.MapID[r.Map]
		if !ok {
			return 0, fmt.Errorf("map %q has no table id", r.Map)
		}
		return reimmediate(w, uint64(id))
	case RelocMapBase, RelocMapBase1:
		base, ok := p.MapBase[r.Map]
		if !ok {
			return 0, fmt.Errorf("map %q has no address", r.Map)
		}
		if base&0xff != 0 || base>>40 != 0 {
			return 0, fmt.Errorf("map %q at %#x: not a multiple of 256 below 1<<40", r.Map, base)
		}
		if r.Kind == RelocMapBase1 {
			return reimmediate(w, base>>24)
		}
		return reimmediate(w, base>>8&0xffff)
	}
	return 0, fmt.Errorf("unknown relocation %d", r.Kind)
}

// inside returns the word of the image to which a branch goes.
func (im *Image) inside(w Word, k RelocKind) (int, error) {
	f := formOfWord(w)
	if f == nil || f.field(PropTarget) == nil {
		return 0, fmt.Errorf("no branch, relocation %v", k)
	}
	t := int(f.field(PropTarget).get(w))
	if t == ExternalTarget && k != RelocBranch {
		name := externalSymbol[k]
		for _, s := range im.Symbols {
			if s.Name == name {
				return s.Addr, nil
			}
		}
		return 0, fmt.Errorf("no symbol %q", name)
	}
	if t > len(im.Words) {
		return 0, fmt.Errorf("branch to .%d, the image has %d words", t, len(im.Words))
	}
	return t, nil
}

// field returns the field of a property, nil if the form has none.
func (f *Form) field(p Prop) *Field {
	for i := range f.Fields {
		if f.Fields[i].Prop == p {
			return &f.Fields[i]
		}
	}
	return nil
}

// with returns a word with another number in a field.
func (f *Field) with(w Word, v uint32) (Word, bool) {
	ones, _ := f.put(^uint32(0))
	b, over := f.put(v)
	return w&^ones | b, over == 0
}

// retarget returns a branch with another target, all else kept.
func retarget(w Word, t int) (Word, error) {
	f := formOfWord(w)
	if f == nil || f.field(PropTarget) == nil {
		return 0, fmt.Errorf("no branch")
	}
	if t < 0 || t >= StoreWords {
		return 0, fmt.Errorf("branch target .%d does not fit in 14 bits", t)
	}
	w, _ = f.field(PropTarget).with(w, uint32(t))
	return w, nil
}

// immediateOf is the constant of a plain immed.
func immediateOf(w Word) (uint32, error) {
	in, err := Decode(w)
	if err != nil {
		return 0, err
	}
	if in.Op == OpNop {
		in.Op = OpImmed // immed[--, 0]
	}
	if in.Op != OpImmed || in.Flags&Invert != 0 || in.Fn == ImmedByte {
		return 0, fmt.Errorf("%v is no immed of 16 plain bits", in)
	}
	return in.Imm, nil
}

// reimmediate returns an immed with another 16-bit constant, all else kept.
func reimmediate(w Word, v uint64) (Word, error) {
	if _, err := immediateOf(w); err != nil {
		return 0, err
	}
	if v > 0xffff {
		return 0, fmt.Errorf("constant %#x does not fit in 16 bits", v)
	}
	in, err := Decode(w)
	if err != nil {
		return 0, err
	}
	in.Op, in.Imm, in.Raw = OpImmed, uint32(v), 0
	return Encode(in)
}

var relocNames = [...]string{
	RelocNone: "none", RelocBranch: "branch", RelocOut: "out", RelocAbort: "abort", RelocPush: "push", RelocPop: "pop", RelocDone: "done",
	RelocHelper: "helper", RelocImmed: "immed", RelocMap: "map", RelocMapBase: "map_base", RelocMapBase1: "map_base1",
}

// String is the word the text form has for the kind, after an @.
func (k RelocKind) String() string {
	if int(k) < len(relocNames) {
		return relocNames[k]
	}
	return fmt.Sprintf("reloc(%d)", uint8(k))
}

// Check reports the first thing wrong with an image: a word with bits above 44, a
// symbol, relocation or line outside the words, an unknown kind or use.
func (im *Image) Check() error {
	n := len(im.Words)
	if n > StoreWords {
		return fmt.Errorf("%d words, a code store has %d", n, StoreWords)
	}
	for i, w := range im.Words {
		if w>>45 != 0 {
			return fmt.Errorf("word %d: %#x has bits above 44", i, uint64(w))
		}
	}
	for _, s := range im.Symbols {
		if s.Addr < 0 || s.Addr > n {
			return fmt.Errorf("symbol %q at word %d of %d", s.Name, s.Addr, n)
		}
	}
	for _, r := range im.Relocs {
		if r.Addr < 0 || r.Addr >= n {
			return fmt.Errorf("relocation of word %d of %d", r.Addr, n)
		}
		if int(r.Kind) >= len(relocNames) {
			return fmt.Errorf("word %d: unknown relocation %d", r.Addr, r.Kind)
		}
	}
	last := 0
	for _, l := range im.Lines {
		if l.Addr < last || l.Addr > n {
			return fmt.Errorf("line table: word %d of %d after word %d", l.Addr, n, last)
		}
		last = l.Addr
	}
	for _, m := range im.Maps {
		for i, u := range m.Words {
			if u > UseCounter {
				return fmt.Errorf("map %q: word %d: unknown use %d", m.Name, i, u)
			}
		}
	}
	if im.Stack < 0 {
		return fmt.Errorf("stack of %d bytes", im.Stack)
	}
	return nil
}
