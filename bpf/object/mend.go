package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// Mending rewrites an object so that a reader of today's objects understands
// it. What changes:
//
//   - functions: a symbol at the start of every code section and at every place
//     that is called; each has type FUNC and a size that reaches to the next.
//     LLVM before 8 wrote neither type nor size; stripping takes away symbols;
//   - maps: symbols in "maps" sections and .maps are global objects, their
//     sizes reach to the next. A legacy definition of four fields (16 bytes, the
//     kernel's samples before 4.6) gets a fifth, no flags;
//   - variables: symbols in data sections likewise;
//   - references to a map by its section and offset, which is how static maps
//     are referred to, name the map's symbol.
//
// What does not change: instructions (but for a relocated constant), data,
// debugging information, the numbers of sections and of symbols that were there.
type mender struct {
	file    *file
	out     []byte
	added   []symbol
	names   map[string]bool // of all symbols
	notes   []string
	moved   map[int][]byte          // new contents of sections
	rels    map[int]map[uint64]rel  // relocations by section and offset
	targets map[int]map[uint64]bool // what calls and function pointers go to, by section and offset
}

// mend returns the mended file and one line for each kind of change.
func (m *mender) mend() ([]byte, []string, error) {
	m.out, m.moved = bytes.Clone(m.file.data), map[int][]byte{}
	m.names = map[string]bool{}
	for _, s := range m.file.symbols {
		m.names[s.name] = true
	}
	m.readRelocations()
	m.findTargets()
	for i := range m.file.sections {
		s := &m.file.sections[i]
		switch {
		case isCode(s):
			m.functions(i)
		case isLegacyMaps(s):
			if err := m.legacyMaps(i); err != nil {
				return nil, nil, fmt.Errorf("section %s: %w", printable(s.name), err)
			}
		case isBTFMaps(s), isData(s):
			m.objects(i)
		}
	}
	m.mapReferences()
	m.write()
	return m.out, m.notes, nil
}

func (m *mender) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// symbolsOf returns the indices of a section's named symbols that keep accepts,
// by offset.
func (m *mender) symbolsOf(section int, keep func(symbol) bool) []int {
	var found []int
	for i, s := range m.file.symbols {
		if int(s.Shndx) == section && s.name != "" && keep(s) {
			found = append(found, i)
		}
	}
	slices.SortStableFunc(found, func(a, b int) int {
		return int(m.file.symbols[a].Value) - int(m.file.symbols[b].Value)
	})
	return found
}

// functions gives a code section's functions symbols, types and sizes.
func (m *mender) functions(section int) {
	s := &m.file.sections[section]
	starts := map[uint64]bool{0: true}
	maps.Copy(starts, m.targets[section])
	found := m.symbolsOf(section, func(sym symbol) bool {
		switch sym.typ() {
		case elf.STT_FUNC:
			return true
		case elf.STT_NOTYPE:
			// A local symbol without type is most often a jump's label.
			return sym.bind() != elf.STB_LOCAL || starts[sym.Value]
		}
		return false
	})
	bare := false // some symbol lacks type or size
	at := map[uint64]int{}
	var offsets []uint64
	for _, i := range found {
		sym := &m.file.symbols[i]
		if sym.typ() != elf.STT_FUNC {
			sym.Info = elf.ST_INFO(sym.bind(), elf.STT_FUNC)
			bare = true
		}
		if _, known := at[sym.Value]; !known && sym.Value < s.Size {
			offsets = append(offsets, sym.Value)
			at[sym.Value] = i
		}
	}
	for off := range starts {
		if _, known := at[off]; !known {
			offsets = append(offsets, off)
		}
	}
	slices.Sort(offsets)
	for n, off := range offsets {
		end := s.Size
		if n+1 < len(offsets) {
			end = offsets[n+1]
		}
		i, known := at[off]
		if !known {
			m.add(section, off, end-off)
			continue
		}
		if sym := &m.file.symbols[i]; sym.Size == 0 || off+sym.Size > end {
			sym.Size = end - off
			bare = true
		}
	}
	if bare {
		m.note("section %s: symbols without type or size, taken for functions that reach to the next", printable(s.name))
	}
}

// add makes a function symbol, named after the section and the pc in it.
func (m *mender) add(section int, off, size uint64) {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '_'
	}, m.file.sections[section].name)
	if off > 0 {
		name = fmt.Sprintf("%s_%d", name, off/8)
	}
	for m.names[name] {
		name += "_"
	}
	m.names[name] = true
	m.note("section %s: code at offset %d has no symbol, called %s", printable(m.file.sections[section].name), off, name)
	m.added = append(m.added, symbol{name: name, Sym64: elf.Sym64{
		Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: uint16(section), Value: off, Size: size,
	}})
}

// readRelocations files the relocations of code by section and offset.
func (m *mender) readRelocations() {
	m.rels = map[int]map[uint64]rel{}
	for i := range m.file.sections {
		s := &m.file.sections[i]
		if elf.SectionType(s.Type) != elf.SHT_REL || int(s.Info) >= len(m.file.sections) || !isCode(&m.file.sections[s.Info]) {
			continue
		}
		rels := map[uint64]rel{}
		for _, r := range m.file.relocations(i) {
			rels[r.Off] = r
		}
		m.rels[int(s.Info)] = rels
	}
}

// findTargets finds the places that calls and function pointers go to.
func (m *mender) findTargets() {
	m.targets = map[int]map[uint64]bool{}
	record := func(section int, off int64) {
		s := &m.file.sections[section]
		if !isCode(s) || off < 0 || uint64(off) >= s.Size || off%8 != 0 {
			return
		}
		if m.targets[section] == nil {
			m.targets[section] = map[uint64]bool{}
		}
		m.targets[section][uint64(off)] = true
	}
	for i := range m.file.sections {
		s := &m.file.sections[i]
		if !isCode(s) {
			continue
		}
		for off := uint64(0); off < s.Size; off += 8 {
			insn := m.file.data[s.Off+off:][:8]
			op, src, imm := asm.OpCode(insn[0]), insn[1]>>4, int64(int32(le.Uint32(insn[4:])))
			call := op.JumpOp() == asm.Call && src == uint8(asm.PseudoCall)
			r, relocated := m.rels[i][off]
			if !relocated {
				if call {
					record(i, int64(off)+8+8*imm)
				}
				continue
			}
			to := m.file.symbols[r.symbol()]
			switch {
			case int(to.Shndx) >= len(m.file.sections):
			case to.typ() != elf.STT_SECTION:
				record(int(to.Shndx), int64(to.Value))
			case call:
				record(int(to.Shndx), 8*(imm+1))
			case op.IsDWordLoad():
				record(int(to.Shndx), imm)
			}
		}
	}
}

// objects gives the symbols of a map or data section types and sizes, and
// returns their indices by offset.
func (m *mender) objects(section int) []int {
	s := &m.file.sections[section]
	found := m.symbolsOf(section, func(sym symbol) bool {
		return sym.typ() == elf.STT_OBJECT || sym.typ() == elf.STT_NOTYPE
	})
	bare := false
	end, at := s.Size, s.Size // of the symbol, and where the one behind it starts
	for _, i := range slices.Backward(found) {
		sym := &m.file.symbols[i]
		if sym.Value < at {
			end, at = at, sym.Value
		}
		if sym.typ() == elf.STT_NOTYPE {
			sym.Info = elf.ST_INFO(sym.bind(), elf.STT_OBJECT)
		}
		if !isData(s) && sym.bind() == elf.STB_LOCAL {
			sym.Info = elf.ST_INFO(elf.STB_GLOBAL, elf.STT_OBJECT)
			m.note("section %s: map %s is static, taken for global", printable(s.name), printable(sym.name))
		}
		if sym.Size == 0 && end > sym.Value {
			sym.Size = end - sym.Value
			bare = true
		}
	}
	if bare {
		m.note("section %s: symbols without size, taken to reach to the next", printable(s.name))
	}
	return found
}

// Sizes of struct bpf_map_def: type, key size, value size, entries; then
// flags; loaders added more behind them.
const (
	oldMapDef = 16
	mapDef    = 20
)

// legacyMaps mends the symbols of a "maps" section. Definitions too short for
// flags are copied to a section of longer ones.
func (m *mender) legacyMaps(section int) error {
	s := m.file.sections[section]
	if elf.SectionType(s.Type) != elf.SHT_PROGBITS {
		return fmt.Errorf("map definitions in a section of type %v", elf.SectionType(s.Type))
	}
	found := m.objects(section)
	if len(found) == 0 {
		return fmt.Errorf("%d bytes of map definitions have no symbols: the maps' names are lost", s.Size)
	}
	short := false
	for _, i := range found {
		sym := m.file.symbols[i]
		if sym.Size < oldMapDef {
			return fmt.Errorf("map %s: definition of %d bytes, the shortest has %d", printable(sym.name), sym.Size, oldMapDef)
		}
		short = short || sym.Size < mapDef
	}
	if !short {
		return nil
	}
	m.note("section %s: definitions of %d bytes, taken to have no flags", printable(s.name), oldMapDef)
	var contents []byte
	for _, i := range found {
		sym := &m.file.symbols[i]
		def := m.file.data[s.Off+sym.Value:][:sym.Size]
		sym.Value = uint64(len(contents))
		contents = append(contents, def...)
		if len(def) < mapDef {
			contents = append(contents, make([]byte, mapDef-len(def))...)
			sym.Size = mapDef
		}
	}
	m.moved[section] = contents
	return nil
}

// mapReferences makes relocations against a map section refer to the map's
// symbol.
func (m *mender) mapReferences() {
	type place struct {
		section uint16
		value   uint64
	}
	symbols := map[place]int{}
	for i, s := range m.file.symbols {
		if s.typ() == elf.STT_OBJECT {
			symbols[place{s.Shndx, s.Value}] = i
		}
	}
	for i, rels := range m.rels {
		for _, r := range rels {
			sym := m.file.symbols[r.symbol()]
			if sym.typ() != elf.STT_SECTION || int(sym.Shndx) >= len(m.file.sections) || m.moved[int(sym.Shndx)] != nil {
				continue
			}
			if in := &m.file.sections[sym.Shndx]; !isLegacyMaps(in) && !isBTFMaps(in) {
				continue
			}
			imm := m.out[m.file.sections[i].Off+r.Off+4:][:4]
			if to, ok := symbols[place{sym.Shndx, uint64(le.Uint32(imm))}]; ok {
				le.PutUint64(m.out[r.at+8:], elf.R_INFO(uint32(to), elf.R_TYPE64(r.Info)))
				clear(imm)
			}
		}
	}
}

// write puts the changed tables behind the file's end, and a section header
// table that points at them.
func (m *mender) write() {
	symbols := append(slices.Clone(m.file.symbols), m.added...)
	if len(symbols) > 0 && len(m.file.symbols) == 0 {
		symbols = slices.Insert(symbols, 0, symbol{}) // the first symbol is void
	}
	if len(symbols) == 0 {
		return
	}
	headers := make([]elf.Section64, len(m.file.sections))
	for i, s := range m.file.sections {
		headers[i] = s.Section64
	}
	for i, contents := range m.moved {
		headers[i].Off, headers[i].Size = m.append(contents), uint64(len(contents))
	}
	names := []byte{0}
	var table bytes.Buffer
	for _, s := range symbols {
		s.Name = uint32(len(names))
		names = append(append(names, s.name...), 0)
		_ = binary.Write(&table, le, s.Sym64)
	}
	symtab := m.file.symtab
	if symtab == 0 {
		symtab = len(headers)
		headers = append(headers, elf.Section64{Type: uint32(elf.SHT_SYMTAB), Entsize: symbolSize, Addralign: 8})
	}
	headers[symtab].Link = uint32(len(headers))
	headers = append(headers, elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1, Off: m.append(names), Size: uint64(len(names))})
	headers[symtab].Off, headers[symtab].Size = m.append(table.Bytes()), uint64(table.Len())

	var b bytes.Buffer
	_ = binary.Write(&b, le, headers)
	at := m.append(b.Bytes()) // before m.out is sliced: append may move it
	le.PutUint64(m.out[40:], at)
	le.PutUint16(m.out[60:], uint16(len(headers)))
}

// append adds bytes at the file's end, aligned, and returns their offset.
func (m *mender) append(b []byte) uint64 {
	for len(m.out)%8 != 0 {
		m.out = append(m.out, 0)
	}
	off := uint64(len(m.out))
	m.out = append(m.out, b...)
	return off
}

// hideBTF takes away the names of the sections with debugging information, and
// reports whether there were any. It does nothing where maps are defined by it.
func (m *mender) hideBTF(data []byte) bool {
	at, found := le.Uint64(data[40:]), false
	for i := range m.file.sections {
		if isBTFMaps(&m.file.sections[i]) {
			return false
		}
	}
	for i, s := range m.file.sections {
		if s.name == ".BTF" || s.name == ".BTF.ext" {
			h := data[at+uint64(i)*sectionSize:]
			le.PutUint32(h, 0)
			le.PutUint32(h[4:], uint32(elf.SHT_NULL))
			found = true
		}
	}
	return found
}
