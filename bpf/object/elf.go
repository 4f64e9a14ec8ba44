package object

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// The kinds of section that hold parts of programs.

func isCode(s *section) bool {
	return elf.SectionType(s.Type) == elf.SHT_PROGBITS && elf.SectionFlag(s.Flags)&elf.SHF_EXECINSTR != 0 && s.Size > 0
}

// isLegacyMaps reports whether a section has map definitions from before BTF: a table of
// structs in a section "maps".
func isLegacyMaps(s *section) bool { return strings.HasPrefix(s.name, "maps") && s.Size > 0 }

func isBTFMaps(s *section) bool { return s.name == ".maps" }

func isData(s *section) bool {
	return s.name == ".bss" || strings.HasPrefix(s.name, ".data") || strings.HasPrefix(s.name, ".rodata")
}

func interesting(s *section) bool {
	return isCode(s) || isLegacyMaps(s) || isBTFMaps(s) || isData(s)
}

// readELF reads an object: mended, and without the parts that cannot be read.
func (o *Object) readELF(data []byte) error {
	f, err := parse(data)
	if err != nil {
		return err
	}
	m, err := newMender(f)
	if err != nil {
		return err
	}
	h := &hidden{}
	spec, err := loadSpec(m.write(h))
	if err != nil {
		spec, err = m.isolate(h, err)
	}
	o.Notes = append(o.Notes, m.notes...)
	if err != nil {
		return explain(f, err)
	}
	o.Spec, o.faults = spec, m.functionFaults()
	o.dropEmptyTails()
	for name, n := range m.nodes {
		if spec := o.Spec.Maps[name]; spec != nil {
			spec.NumaNode = n
		}
	}
	o.nameText(m)
	o.addBroken(m)
	o.order(f)
	if len(o.Programs) == 0 {
		return fmt.Errorf("%w: a program is a function with SEC(\"xdp\") or another section name", errNoProgram)
	}
	return nil
}

// mostTrials bounds how many parts of an object are tried by themselves.
const mostTrials = 256

// isolate finds the parts that cilium/ebpf refuses, by giving it each alone, and
// reads the object without them. The error is why the whole was refused.
func (m *mender) isolate(h *hidden, why error) (*ebpf.CollectionSpec, error) {
	try := func() (*ebpf.CollectionSpec, bool) {
		spec, err := loadSpec(m.write(h))
		return spec, err == nil
	}
	h.lines = true
	if spec, ok := try(); ok {
		m.note("section .BTF.ext ignored, so there are no source lines: %v", oneLine(why))
		return spec, nil
	}
	h.lines = false
	if m.isolateParts(h) {
		if spec, ok := try(); ok {
			return spec, nil
		}
	}
	if !slices.ContainsFunc(m.file.sections, func(s section) bool { return isBTFMaps(&s) }) {
		h.btf = true
		if spec, ok := try(); ok {
			m.note("debugging information ignored: %v", oneLine(why))
			return spec, nil
		}
	}
	return nil, why
}

// isolateParts hides the maps and data sections that are refused even alone, and
// reports whether there are any.
func (m *mender) isolateParts(h *hidden) bool {
	all := map[string]place{}
	var data []int
	for i := range m.file.sections {
		s := &m.file.sections[i]
		if isData(s) {
			data = append(data, i)
		}
	}
	for at, i := range m.objectAt {
		if isBTFMaps(&m.file.sections[at.section]) {
			all[m.file.symbols[i].name] = at
		}
	}
	if len(all)+len(data) > mostTrials {
		return false
	}
	// alone loads the object with one part.
	alone := func(name string, section int) error {
		only := &hidden{code: true, maps: map[string]bool{}, sections: map[int]bool{}}
		for n := range all {
			only.maps[n] = n != name
		}
		for _, i := range data {
			only.sections[i] = i != section
		}
		_, err := loadSpec(m.write(only))
		return err
	}
	if alone("", 0) != nil {
		return false // it is no part's fault
	}
	h.maps = map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := alone(name, 0); err != nil {
			at := all[name]
			m.dead[at] = fault{at, "bad-object", fmt.Sprintf("map %s cannot be read: %v", printable(name), oneLine(err))}
			m.note("%s", m.dead[at].msg)
			h.maps[name] = true
		}
	}
	for _, i := range data {
		if err := alone("", i); err != nil {
			m.deadSections[i] = oneLine(err).Error()
			m.note("section %s cannot be read: %v", printable(m.file.sections[i].name), oneLine(err))
		}
	}
	m.unlink()
	return true
}

// nameText restores the section name of programs in .text, and removes functions that
// others call.
func (o *Object) nameText(m *mender) {
	if !m.text {
		return
	}
	called := map[string]bool{}
	for _, s := range m.file.symbols {
		if s.typ() == elf.STT_FUNC && m.targets[place{int(s.Shndx), s.Value}] {
			called[s.name] = true
		}
	}
	for name, p := range o.Spec.Programs {
		if p.SectionName != "text" {
			continue
		}
		p.SectionName = ".text"
		if called[name] {
			delete(o.Spec.Programs, name)
		}
	}
}

// addBroken adds the programs that cannot be read, without instructions.
func (o *Object) addBroken(m *mender) {
	for _, b := range m.broken {
		if o.Spec.Programs[b.name] != nil {
			continue
		}
		o.Spec.Programs[b.name] = &ebpf.ProgramSpec{Name: b.name, SectionName: b.section, ByteOrder: le}
		o.faults[b.name] = []code.Fault{{Reason: b.why.reason, Msg: b.why.msg}}
	}
}

// explain replaces an error of the library's by one with a cure if it knows the cause.
func explain(f *file, err error) error {
	hasMaps, hasBTF := false, false
	for i := range f.sections {
		hasMaps = hasMaps || isBTFMaps(&f.sections[i])
		hasBTF = hasBTF || f.sections[i].name == ".BTF"
	}
	if hasMaps && !hasBTF {
		return errors.New("section .maps: map definitions need section .BTF, which is missing: compile with -g, and do not strip .BTF")
	}
	return err
}

// loadSpec calls cilium/ebpf's reader and turns a panic in it into an error.
func loadSpec(data []byte) (spec *ebpf.CollectionSpec, err error) {
	defer func() {
		if r := recover(); r != nil {
			spec, err = nil, fmt.Errorf("object is malformed: reading it failed: %v", r)
		}
	}()
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
}

// dropEmptyTails removes the fields that old loaders appended to a map definition
// (inner map, NUMA node, pinning). It notes the loss if a field is not zero.
func (o *Object) dropEmptyTails() {
	for _, name := range slices.Sorted(maps.Keys(o.Spec.Maps)) {
		m := o.Spec.Maps[name]
		if m.Extra == nil {
			continue
		}
		tail := make([]byte, m.Extra.Len())
		if _, err := m.Extra.ReadAt(tail, 0); err == nil && len(bytes.Trim(tail, "\x00")) > 0 {
			o.note("map %s: fields after map_flags are ignored", name)
		}
		m.Extra = nil
	}
}

// order lists the programs as they stand in the file.
func (o *Object) order(f *file) {
	type place struct {
		name    string
		section uint16
		value   uint64
	}
	var places []place
	for name, p := range o.Spec.Programs {
		at := place{name: name, section: uint16(elf.SHN_LORESERVE)}
		for _, s := range f.symbols {
			if s.name == name && int(s.Shndx) < len(f.sections) && f.sections[s.Shndx].name == p.SectionName {
				at.section, at.value = s.Shndx, s.Value
			}
		}
		places = append(places, at)
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.section, b.section), cmp.Compare(a.value, b.value), cmp.Compare(a.name, b.name))
	})
	for _, p := range places {
		o.Programs = append(o.Programs, p.name)
	}
}
