package object

import (
	"bytes"
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// The kinds of section that hold parts of programs.

func isCode(s *section) bool {
	return elf.SectionType(s.Type) == elf.SHT_PROGBITS && elf.SectionFlag(s.Flags)&elf.SHF_EXECINSTR != 0 && s.Size > 0
}

// isLegacyMaps is for the map definitions of before BTF: a table of structs in
// a section "maps".
func isLegacyMaps(s *section) bool { return strings.HasPrefix(s.name, "maps") && s.Size > 0 }

func isBTFMaps(s *section) bool { return s.name == ".maps" }

func isData(s *section) bool {
	return s.name == ".bss" || strings.HasPrefix(s.name, ".data") || strings.HasPrefix(s.name, ".rodata")
}

func interesting(s *section) bool {
	return isCode(s) || isLegacyMaps(s) || isBTFMaps(s) || isData(s)
}

// readELF reads an object: with cilium/ebpf as it is, else mended, else mended
// and without its debugging information, where no map is defined by that.
func (o *Object) readELF(data []byte) error {
	f, err := parse(data)
	if err != nil {
		return err
	}
	spec, err := loadSpec(data)
	if err != nil {
		m := &mender{file: f}
		mended, notes, merr := m.mend()
		if merr != nil {
			return merr
		}
		data = mended
		o.Notes = append(o.Notes, notes...)
		var again error
		if spec, again = loadSpec(data); again != nil && m.hideBTF(data) {
			var last error
			if spec, last = loadSpec(data); last == nil {
				o.note("debugging information ignored: %v", oneLine(again))
			}
			again = last
		}
		if again != nil {
			return explain(f, again)
		}
		if f, err = parse(data); err != nil {
			return err
		}
	}
	o.Spec = spec
	o.dropEmptyTails()
	o.order(f)
	if len(o.Programs) == 0 {
		return fmt.Errorf("%w: a program is a function with SEC(\"xdp\") or another section name", errNoProgram)
	}
	return nil
}

// explain puts a reason that a reader can act on in front of the library's.
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

// loadSpec is cilium/ebpf's reader. A panic in it, which would be its fault,
// becomes an error.
func loadSpec(data []byte) (spec *ebpf.CollectionSpec, err error) {
	defer func() {
		if r := recover(); r != nil {
			spec, err = nil, fmt.Errorf("object is malformed: reading it failed: %v", r)
		}
	}()
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
}

// dropEmptyTails forgets what loaders of old appended to a map definition
// (inner map, NUMA node, pinning) where it says nothing.
func (o *Object) dropEmptyTails() {
	for name, m := range o.Spec.Maps {
		if m.Extra == nil {
			continue
		}
		tail := make([]byte, m.Extra.Len())
		if _, err := m.Extra.ReadAt(tail, 0); err == nil && len(bytes.Trim(tail, "\x00")) > 0 {
			o.note("map %s: fields behind map_flags are ignored", name)
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
