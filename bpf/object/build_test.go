package object

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// A build is an ELF object under construction, for tests of objects that no
// compiler writes, or only some.
type build struct {
	sections []section
	contents [][]byte
	symbols  []symbol
	names    map[string]int
}

func newBuild() *build {
	return &build{sections: make([]section, 1), contents: make([][]byte, 1), symbols: make([]symbol, 1), names: map[string]int{}}
}

// section adds a section and its section symbol, and returns its index.
func (b *build) section(name string, typ elf.SectionType, flags elf.SectionFlag, contents []byte) int {
	i := len(b.sections)
	b.sections = append(b.sections, section{name: name, Section64: elf.Section64{
		Type: uint32(typ), Flags: uint64(flags), Addralign: 8, Size: uint64(len(contents)),
	}})
	b.contents = append(b.contents, contents)
	b.names[name] = b.symbol("", i, elf.STB_LOCAL, elf.STT_SECTION, 0, 0)
	return i
}

// code adds a section of instructions.
func (b *build) code(name string, insns ...asm.Instruction) int {
	var buf bytes.Buffer
	if err := asm.Instructions(insns).Marshal(&buf, le); err != nil {
		panic(err)
	}
	return b.section(name, elf.SHT_PROGBITS, elf.SHF_ALLOC|elf.SHF_EXECINSTR, buf.Bytes())
}

// symbol adds a symbol and returns its index.
func (b *build) symbol(name string, section int, bind elf.SymBind, typ elf.SymType, value, size uint64) int {
	b.symbols = append(b.symbols, symbol{name: name, Sym64: elf.Sym64{
		Info: elf.ST_INFO(bind, typ), Shndx: uint16(section), Value: value, Size: size,
	}})
	return len(b.symbols) - 1
}

// A reloc is a relocation of a section's contents.
type reloc struct {
	off    uint64
	typ    uint32
	symbol int
	addend int64
}

// relocate adds the relocations of a section. With rela, an entry has its addend;
// otherwise the section's contents hold it.
func (b *build) relocate(section int, rela bool, rels ...reloc) {
	var buf bytes.Buffer
	for _, r := range rels {
		info := elf.R_INFO(uint32(r.symbol), r.typ)
		if rela {
			_ = binary.Write(&buf, le, elf.Rela64{Off: r.off, Info: info, Addend: r.addend})
		} else {
			_ = binary.Write(&buf, le, elf.Rel64{Off: r.off, Info: info})
		}
	}
	name, typ, size := ".rel", elf.SHT_REL, uint64(relSize)
	if rela {
		name, typ, size = ".rela", elf.SHT_RELA, relaSize
	}
	i := len(b.sections)
	b.section(name+b.sections[section].name, typ, 0, buf.Bytes())
	b.sections[i].Info, b.sections[i].Entsize = uint32(section), size
}

// bytes lays the file out: header, contents, section headers.
func (b *build) bytes() []byte {
	strs := []byte{0}
	str := func(s string) uint32 {
		at := uint32(len(strs))
		strs = append(append(strs, s...), 0)
		return at
	}
	var table bytes.Buffer
	for _, s := range b.symbols {
		if s.name != "" {
			s.Name = str(s.name)
		}
		_ = binary.Write(&table, le, s.Sym64)
	}
	sections := append(b.sections[:len(b.sections):len(b.sections)],
		section{name: ".symtab", Section64: elf.Section64{Type: uint32(elf.SHT_SYMTAB), Link: uint32(len(b.sections) + 1), Entsize: symbolSize, Addralign: 8}},
		section{name: ".strtab", Section64: elf.Section64{Type: uint32(elf.SHT_STRTAB), Addralign: 1}})
	contents := append(b.contents[:len(b.contents):len(b.contents)], table.Bytes(), nil)
	for i := range sections {
		if i > 0 {
			sections[i].Name = str(sections[i].name)
		}
		if t := elf.SectionType(sections[i].Type); t == elf.SHT_REL || t == elf.SHT_RELA {
			sections[i].Link = uint32(len(b.sections))
		}
	}
	contents[len(contents)-1] = strs
	out := make([]byte, headerSize)
	var headers bytes.Buffer
	for i, s := range sections {
		for len(out)%8 != 0 {
			out = append(out, 0)
		}
		if i > 0 {
			s.Off = uint64(len(out))
			s.Size = uint64(len(contents[i]))
			if elf.SectionType(s.Type) != elf.SHT_NOBITS {
				out = append(out, contents[i]...)
			}
		}
		_ = binary.Write(&headers, le, s.Section64)
	}
	for len(out)%8 != 0 {
		out = append(out, 0)
	}
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_BPF), Version: uint32(elf.EV_CURRENT), Shoff: uint64(len(out)),
		Ehsize: headerSize, Shentsize: sectionSize, Shnum: uint16(len(sections)), Shstrndx: uint16(len(sections) - 1),
	}
	var head bytes.Buffer
	_ = binary.Write(&head, le, &h)
	copy(out, head.Bytes())
	return append(out, headers.Bytes()...)
}

// read reads the object that was built.
func (b *build) read(t testing.TB, opt *Options) *Object {
	t.Helper()
	o, err := Read("built.o", b.bytes(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return o
}
