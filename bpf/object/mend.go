package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// Mending rewrites an object so that cilium/ebpf, a reader of today's objects,
// accepts it. These parts change:
//
//   - functions: a symbol is added at the start of every code section and at
//     every target of a call; each has type FUNC and a size that reaches to the
//     next. LLVM before 8 wrote neither type nor size; stripping removes
//     symbols;
//   - maps: symbols in "maps" sections and .maps are global objects, their
//     sizes reach to the next. A legacy definition of four fields (16 bytes, the
//     kernel's samples before 4.6) gets a fifth, no flags;
//   - variables: symbols in data sections likewise;
//   - relocations get the one form that cilium/ebpf reads correctly
//     (relocate.go);
//   - map definitions by BTF lose fields that mean nothing here (btf.go);
//   - functions, maps and sections that cannot be read are hidden.
//
// These stay as they are: instructions (except for relocated constants), data,
// and the numbers of existing sections and symbols.
type mender struct {
	file     *file
	out      []byte
	names    map[string]bool // of all symbols
	notes    []string
	moved    map[int][]byte         // new contents of sections
	rels     map[int]map[uint64]rel // relocations by section and offset
	second   map[place]bool         // second halves of 64-bit loads
	objectAt map[place]int          // symbols in map sections
	targets  map[place]bool         // what calls and function pointers go to
	linked   map[place]link         // resolved references, by the instruction's place
	faults   []fault

	dead         map[place]fault // functions and maps that cannot be read, by their place
	deadSections map[int]string  // likewise, and why
	broken       []brokenProgram
	nodes        map[string]uint32 // numa_node of maps
	btf          *rawBTF           // nil if there is none that can be read
	gnu          bool              // relocations are GNU as's
	text         bool              // functions in .text that nothing calls are programs
}

// A brokenProgram is a program that cannot be read.
type brokenProgram struct {
	name, section string
	why           fault
}

// newMender mends an object. cilium/ebpf may still refuse parts of it, which
// are hidden when it does.
func newMender(f *file) (*mender, error) {
	m := &mender{
		file: f, out: bytes.Clone(f.data), moved: map[int][]byte{}, names: map[string]bool{}, objectAt: map[place]int{},
		targets: map[place]bool{}, linked: map[place]link{}, dead: map[place]fault{}, deadSections: map[int]string{}, nodes: map[string]uint32{},
	}
	for i, s := range f.symbols {
		m.names[s.name] = true
		if int(s.Shndx) >= len(f.sections) || s.name == "" || s.typ() != elf.STT_OBJECT && s.typ() != elf.STT_NOTYPE {
			continue
		}
		if in := &f.sections[s.Shndx]; isLegacyMaps(in) || isBTFMaps(in) {
			m.objectAt[place{int(s.Shndx), s.Value}] = i
		}
	}
	m.readRelocations()
	m.findWide()
	m.gnu = m.isGNU()
	m.eachSection(isCode, m.resolve)
	m.text = m.textHasPrograms()
	named := map[string]bool{}
	m.eachSection(isCode, func(i int) { m.functions(i, named) })
	var err error
	m.eachSection(isLegacyMaps, func(i int) {
		if err2 := m.legacyMaps(i); err2 != nil && err == nil {
			err = fmt.Errorf("section %s: %w", printable(f.sections[i].name), err2)
		}
	})
	m.eachSection(func(s *section) bool { return !isLegacyMaps(s) && (isBTFMaps(s) || isData(s)) }, func(i int) { m.objects(i) })
	m.readBTF()
	m.unlink()
	return m, err
}

func (m *mender) eachSection(keep func(*section) bool, do func(int)) {
	for i := range m.file.sections {
		if keep(&m.file.sections[i]) {
			do(i)
		}
	}
}

// textHasPrograms reports whether functions of .text that nothing calls are
// programs. Before libbpf 0.2 they were if no other section called them. Newer
// objects have their programs in sections of their own.
func (m *mender) textHasPrograms() bool {
	others, modern, called := false, false, false
	for i := range m.file.sections {
		s := &m.file.sections[i]
		others = others || isCode(s) && s.name != ".text"
		modern = modern || s.name == ".BTF"
	}
	for at, l := range m.linked {
		called = called || l.section && m.file.sections[l.to.section].name == ".text" && m.file.sections[at.section].name != ".text"
	}
	return !others || !modern && !called
}

func (m *mender) note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

// noteOnce adds a note unless it was added for an earlier output.
func (m *mender) noteOnce(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(m.notes, n) {
		m.notes = append(m.notes, n)
	}
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

// functions adds missing symbols, types and sizes to a code section's functions, and
// gives each a unique name.
func (m *mender) functions(section int, named map[string]bool) {
	s := &m.file.sections[section]
	starts := map[uint64]bool{0: true}
	for t := range m.targets {
		if t.section == section {
			starts[t.off] = true
		}
	}
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
	at := map[uint64]int{}
	var offsets []uint64
	for _, i := range found {
		sym := &m.file.symbols[i]
		if sym.Value >= s.Size {
			continue
		}
		other, known := at[sym.Value]
		if !known {
			offsets = append(offsets, sym.Value)
		}
		if !known || rank(*sym) >= rank(m.file.symbols[other]) {
			at[sym.Value] = i
		}
	}
	for off := range starts {
		if _, known := at[off]; !known {
			offsets = append(offsets, off)
		}
	}
	slices.Sort(offsets)
	for _, i := range found { // of several symbols of a function one is left
		if sym := &m.file.symbols[i]; at[sym.Value] != i {
			hideSymbol(sym)
		}
	}
	bare := false // some symbol lacks type or size
	for n, off := range offsets {
		end := s.Size
		if n+1 < len(offsets) {
			end = offsets[n+1]
		}
		i, known := at[off]
		if !known {
			i = m.add(section, off, end-off)
		}
		sym := &m.file.symbols[i]
		if sym.typ() != elf.STT_FUNC {
			sym.Info = elf.ST_INFO(sym.bind(), elf.STT_FUNC)
			bare = true
		}
		if sym.Size == 0 || off+sym.Size > end {
			sym.Size = end - off
			bare = true
		}
		m.unique(sym, named)
		m.decode(section, sym)
	}
	if bare {
		m.note("section %s: symbols without type or size, taken for functions that reach to the next", printable(s.name))
	}
}

// rank orders the symbols of one place: that of a function is better than a label.
func rank(s symbol) int {
	n := 0
	if s.typ() == elf.STT_FUNC {
		n += 2
	}
	if s.bind() != elf.STB_LOCAL {
		n++
	}
	return n
}

// hideSymbol changes a symbol so that cilium/ebpf ignores it.
func hideSymbol(s *symbol) { s.Info = elf.ST_INFO(elf.STB_LOCAL, elf.STT_FILE) }

// unique renames a function if its name is in use: names of static functions are unique
// only within one source file.
func (m *mender) unique(sym *symbol, named map[string]bool) {
	if name := sym.name; named[name] {
		for m.names[sym.name] {
			sym.name += "_"
		}
		m.names[sym.name] = true
		m.note("a second function %s is called %s", printable(name), printable(sym.name))
	}
	named[sym.name] = true
}

// decode hides a function whose bytes are no instructions.
func (m *mender) decode(section int, sym *symbol) {
	s := &m.file.sections[section]
	body := m.file.data[s.Off+sym.Value:][:sym.Size]
	_, err := asm.AppendInstructions(nil, bytes.NewReader(body), le, platform)
	if err == nil {
		return
	}
	hideSymbol(sym)
	why := fault{place{section, sym.Value}, "bad-opcode", fmt.Sprintf("section %s, function %s: %v", printable(s.name), printable(sym.name), oneLine(err))}
	m.dead[why.at] = why
	if s.name != ".text" || m.text && !m.targets[why.at] {
		m.broken = append(m.broken, brokenProgram{sym.name, s.name, why})
	}
}

// platform is the operating system that defines the helpers' numbers.
const platform = "linux"

// add appends a function symbol, named after the section and its pc, and returns its
// index.
func (m *mender) add(section int, off, size uint64) int {
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
	return m.addSymbol(symbol{name: name, Sym64: elf.Sym64{
		Info: elf.ST_INFO(elf.STB_GLOBAL, elf.STT_FUNC), Shndx: uint16(section), Value: off, Size: size,
	}})
}

// addSymbol returns the index of the new symbol. The first entry of a symbol
// table is empty.
func (m *mender) addSymbol(s symbol) int {
	if len(m.file.symbols) == 0 {
		m.file.symbols = append(m.file.symbols, symbol{})
	}
	m.file.symbols = append(m.file.symbols, s)
	return len(m.file.symbols) - 1
}

// objects adds missing types and sizes to the symbols of a map or data section, and
// returns their indices by offset.
func (m *mender) objects(section int) []int {
	s := &m.file.sections[section]
	found := m.symbolsOf(section, func(sym symbol) bool {
		return sym.typ() == elf.STT_OBJECT || sym.typ() == elf.STT_NOTYPE
	})
	bare := false
	end, at := s.Size, s.Size // end of the symbol, and start of the one after it
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

// Sizes of struct bpf_map_def in bytes. oldMapDef has type, key size, value size and
// entries; mapDef has flags too. Loaders appended more fields.
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
	short, used := false, false
	for _, i := range found {
		sym := &m.file.symbols[i]
		if sym.Size < oldMapDef {
			at := place{section, sym.Value}
			m.dead[at] = fault{at, "bad-object", fmt.Sprintf("map %s: definition of %d bytes, the shortest has %d", printable(sym.name), sym.Size, oldMapDef)}
			m.note("%s", m.dead[at].msg)
			hideSymbol(sym)
			continue
		}
		short, used = short || sym.Size < mapDef, true
	}
	if !used {
		m.deadSections[section] = "it has no map definition that can be read"
	}
	if !short {
		return nil
	}
	m.note("section %s: definitions of %d bytes, taken to have no flags", printable(s.name), oldMapDef)
	var contents []byte
	for _, i := range found {
		sym := &m.file.symbols[i]
		if sym.typ() == elf.STT_FILE {
			continue
		}
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

// hidden are parts that an output leaves out.
type hidden struct {
	code     bool            // all of it
	maps     map[string]bool // by name, of section .maps
	sections map[int]bool
	lines    bool // .BTF.ext
	btf      bool // and .BTF
}

// write returns the mended file: the old file, the changed tables after it, and last a
// section header table that refers to them.
func (m *mender) write(h *hidden) []byte {
	old := m.out
	defer func() { m.out = old }()
	m.out = bytes.Clone(old)
	headers := make([]elf.Section64, len(m.file.sections))
	for i, s := range m.file.sections {
		headers[i] = s.Section64
	}
	headers = m.relocationSections(headers, h) // which may add symbols
	for i, contents := range m.moved {
		headers[i].Off, headers[i].Size = m.append(contents), uint64(len(contents))
	}
	live := map[int]bool{} // code sections with a function
	for _, s := range m.file.symbols {
		if s.typ() == elf.STT_FUNC {
			live[int(s.Shndx)] = true
		}
	}
	for i := range m.file.sections {
		s := &m.file.sections[i]
		gone := h.sections[i] || m.deadSections[i] != "" || isCode(s) && (h.code || !live[i]) ||
			s.name == ".BTF.ext" && (h.lines || h.btf) || s.name == ".BTF" && h.btf
		switch {
		case gone:
			headers[i].Type, headers[i].Name = uint32(elf.SHT_NULL), 0
		case s.name == ".BTF" && m.btf != nil && (m.btf.changed || len(h.maps) > 0):
			b := m.btf.without(h.maps)
			headers[i].Off, headers[i].Size = m.append(b), uint64(len(b))
		case s.name == ".text" && m.text:
			headers[i].Name++ // cilium/ebpf hides what is in .text
		}
	}
	if len(m.file.symbols) > 0 {
		headers = m.writeSymbols(headers, h)
	}
	var b bytes.Buffer
	_ = binary.Write(&b, le, headers)
	at := m.append(b.Bytes()) // before m.out is sliced: append may move it
	le.PutUint64(m.out[40:], at)
	le.PutUint16(m.out[60:], uint16(len(headers)))
	return m.out
}

func (m *mender) writeSymbols(headers []elf.Section64, h *hidden) []elf.Section64 {
	names := []byte{0}
	var table bytes.Buffer
	for _, s := range m.file.symbols {
		s.Name = uint32(len(names))
		names = append(append(names, s.name...), 0)
		if int(s.Shndx) < len(m.file.sections) && isBTFMaps(&m.file.sections[s.Shndx]) && h.maps[s.name] {
			hideSymbol(&s)
		}
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
	return headers
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
