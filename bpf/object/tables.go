package object

import (
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ELF's tables as mend needs them: mutable, with nothing trusted. The layouts
// are those of the System V gABI for 64-bit little-endian files.
const (
	headerSize  = 64
	sectionSize = 64
	symbolSize  = 24
	relSize     = 16
	relaSize    = 24
)

var le = binary.LittleEndian

func isELF(data []byte) bool { return len(data) >= 4 && string(data[:4]) == elf.ELFMAG }

// Bounds on what a file may hold, so that a hostile one costs no more than its
// size. Real objects stay far below.
const (
	maxZeros   = 16 << 20 // bytes of zeros, which take no room in the file
	maxSymbols = 1 << 17
	maxName    = 1 << 10
)

// A file is an ELF file's section and symbol tables, checked: the contents of
// every section lie inside the file, links and indices are valid.
type file struct {
	data     []byte
	sections []section
	symtab   int // index of the symbol table's section, 0 if none
	symbols  []symbol
}

type section struct {
	elf.Section64
	name string
}

type symbol struct {
	elf.Sym64
	name string
}

func (s symbol) typ() elf.SymType { return elf.ST_TYPE(s.Info) }
func (s symbol) bind() elf.SymBind {
	return elf.ST_BIND(s.Info)
}

// parse checks and reads the tables of an ELF file.
func parse(data []byte) (*file, error) {
	if len(data) < headerSize {
		return nil, fmt.Errorf("file of %d bytes, an ELF header has %d: %w", len(data), headerSize, errTruncated)
	}
	if class := elf.Class(data[elf.EI_CLASS]); class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("ELF header: class %v, an eBPF object is ELFCLASS64", class)
	}
	if order := elf.Data(data[elf.EI_DATA]); order != elf.ELFDATA2LSB {
		return nil, fmt.Errorf("ELF header: byte order %v, the card is little-endian: compile with -target bpfel", order)
	}
	// Old LLVM versions set the machine to none.
	if m := elf.Machine(le.Uint16(data[18:])); m != elf.EM_BPF && m != elf.EM_NONE {
		return nil, fmt.Errorf("ELF header: machine %v, expected EM_BPF: compile with -target bpf", m)
	}
	f := &file{data: data}
	if err := f.readSections(); err != nil {
		return nil, err
	}
	if err := f.readSymbols(); err != nil {
		return nil, err
	}
	return f, f.checkRelocations()
}

func (f *file) readSections() error {
	at, n := le.Uint64(f.data[40:]), int(le.Uint16(f.data[60:]))
	if at == 0 || n == 0 {
		return errors.New("ELF header: no sections")
	}
	if size := le.Uint16(f.data[58:]); size != sectionSize {
		return fmt.Errorf("ELF header: section headers of %d bytes, expected %d", size, sectionSize)
	}
	if !f.inside(at, uint64(n)*sectionSize) {
		return fmt.Errorf("section headers: %d of them at offset %d reach beyond the end of the file, %d bytes: %w", n, at, len(f.data), errTruncated)
	}
	for i := range n {
		var s section
		if _, err := binary.Decode(f.data[at+uint64(i)*sectionSize:], le, &s.Section64); err != nil {
			return fmt.Errorf("section header %d: %w", i, err)
		}
		f.sections = append(f.sections, s)
	}
	names := int(le.Uint16(f.data[62:]))
	if names == 0 || names >= n {
		return fmt.Errorf("ELF header: section names in section %d of %d", names, n)
	}
	var total, zeros uint64
	for i := range f.sections {
		s := &f.sections[i]
		name, err := f.str(names, s.Name)
		if err != nil {
			return fmt.Errorf("section %d: name: %w", i, err)
		}
		s.name = name
		if err := f.checkSection(s); err != nil {
			return fmt.Errorf("section %s: %w", printable(s.name), err)
		}
		switch elf.SectionType(s.Type) {
		case elf.SHT_NULL:
		case elf.SHT_NOBITS:
			zeros += s.Size
		default:
			total += s.Size
		}
		if total > uint64(len(f.data)) || zeros > maxZeros {
			return fmt.Errorf("section %s: contents overlap with another section's, or are too large", printable(s.name))
		}
	}
	return nil
}

func (f *file) checkSection(s *section) error {
	switch elf.SectionType(s.Type) {
	case elf.SHT_NULL:
		return nil
	case elf.SHT_NOBITS:
		if s.Size > maxZeros {
			return fmt.Errorf("%d bytes of zeros, at most %d are read", s.Size, maxZeros)
		}
		return nil
	}
	if !f.inside(s.Off, s.Size) {
		return fmt.Errorf("contents at offset %d, %d bytes, reach beyond the end of the file, %d bytes: %w", s.Off, s.Size, len(f.data), errTruncated)
	}
	if int(s.Link) >= len(f.sections) {
		return fmt.Errorf("links to section %d of %d", s.Link, len(f.sections))
	}
	if elf.SectionFlag(s.Flags)&elf.SHF_COMPRESSED != 0 {
		return errors.New("contents are compressed")
	}
	if isCode(s) && s.Size%8 != 0 {
		return fmt.Errorf("%d bytes of code, no multiple of 8", s.Size)
	}
	return nil
}

func (f *file) inside(off, size uint64) bool {
	return off <= uint64(len(f.data)) && size <= uint64(len(f.data))-off
}

// str returns the string at an offset of a string table.
func (f *file) str(table int, off uint32) (string, error) {
	s := f.sections[table]
	if elf.SectionType(s.Type) == elf.SHT_NOBITS || !f.inside(s.Off, s.Size) || uint64(off) >= max(s.Size, 1) {
		return "", fmt.Errorf("offset %d is outside string table %d", off, table)
	}
	for end := s.Off + uint64(off); end < min(s.Off+s.Size, s.Off+uint64(off)+maxName); end++ {
		if f.data[end] == 0 {
			return string(f.data[s.Off+uint64(off) : end]), nil
		}
	}
	if s.Size == 0 {
		return "", nil
	}
	return "", fmt.Errorf("string at offset %d of string table %d has no end within %d bytes", off, table, maxName)
}

func (f *file) readSymbols() error {
	for i := range f.sections {
		if elf.SectionType(f.sections[i].Type) == elf.SHT_SYMTAB {
			f.symtab = i
			break
		}
	}
	if f.symtab == 0 {
		return nil
	}
	s := &f.sections[f.symtab]
	if s.Size%symbolSize != 0 {
		return fmt.Errorf("section %s: %d bytes, no multiple of a symbol's %d", printable(s.name), s.Size, symbolSize)
	}
	if n := s.Size / symbolSize; n > maxSymbols {
		return fmt.Errorf("section %s: %d symbols, at most %d are read", printable(s.name), n, maxSymbols)
	}
	for off := s.Off; off < s.Off+s.Size; off += symbolSize {
		var sym symbol
		if _, err := binary.Decode(f.data[off:], le, &sym.Sym64); err != nil {
			return fmt.Errorf("section %s: %w", printable(s.name), err)
		}
		var err error
		if sym.name, err = f.str(int(s.Link), sym.Name); err != nil {
			return fmt.Errorf("section %s: symbol %d: name: %w", printable(s.name), len(f.symbols), err)
		}
		f.symbols = append(f.symbols, sym)
		if err := f.checkSymbol(sym); err != nil {
			return fmt.Errorf("section %s: symbol %s: %w", printable(s.name), printable(sym.name), err)
		}
	}
	return nil
}

func (f *file) checkSymbol(sym symbol) error {
	if sym.Shndx == 0 || sym.Shndx >= uint16(elf.SHN_LORESERVE) {
		return nil
	}
	if int(sym.Shndx) >= len(f.sections) {
		return fmt.Errorf("is in section %d of %d", sym.Shndx, len(f.sections))
	}
	in := f.sections[sym.Shndx]
	if sym.Value > in.Size || sym.Size > in.Size-sym.Value || sym.Value > math.MaxInt32 {
		return fmt.Errorf("at offset %d, %d bytes, reaches beyond section %s, %d bytes", sym.Value, sym.Size, printable(in.name), in.Size)
	}
	return nil
}

// A rel is an entry of a SHT_REL or SHT_RELA section.
type rel struct {
	section   int // that it is for
	off, info uint64
	addend    int64
	explicit  bool   // the addend is the entry's, not the contents'
	bad       string // what is wrong with it
}

func (r rel) symbol() int { return int(elf.R_SYM64(r.info)) }
func (r rel) typ() int    { return int(elf.R_TYPE64(r.info)) }

func isRelocation(s *section) bool {
	t := elf.SectionType(s.Type)
	return t == elf.SHT_REL || t == elf.SHT_RELA
}

func relocationSize(s *section) uint64 {
	if elf.SectionType(s.Type) == elf.SHT_RELA {
		return relaSize
	}
	return relSize
}

// relocations returns the entries of relocation section i.
func (f *file) relocations(i int) []rel {
	s := &f.sections[i]
	size := relocationSize(s)
	var rels []rel
	for off := s.Off; off+size <= s.Off+s.Size; off += size {
		r := rel{section: int(s.Info), off: le.Uint64(f.data[off:]), info: le.Uint64(f.data[off+8:])}
		if size == relaSize {
			r.addend, r.explicit = int64(le.Uint64(f.data[off+16:])), true
		}
		rels = append(rels, r)
	}
	return rels
}

func (f *file) checkRelocations() error {
	for i := range f.sections {
		s := &f.sections[i]
		if !isRelocation(s) || int(s.Info) >= len(f.sections) || !interesting(&f.sections[s.Info]) {
			continue
		}
		switch size := relocationSize(s); {
		case s.Entsize != size || s.Size%size != 0:
			return fmt.Errorf("section %s: entries of %d bytes in %d, expected %d each", printable(s.name), s.Entsize, s.Size, size)
		case f.symtab == 0:
			return fmt.Errorf("section %s: the symbol table it refers to is missing: the object was stripped too far", printable(s.name))
		}
	}
	return nil
}

// printable keeps a hostile name from breaking the line.
func printable(name string) string {
	for i := 0; i < len(name); i++ {
		if name[i] < ' ' || name[i] > '~' {
			return fmt.Sprintf("%q", name)
		}
	}
	if name == "" {
		return `""`
	}
	return name
}
