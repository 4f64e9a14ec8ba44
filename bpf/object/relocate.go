package object

import (
	"bytes"
	"cmp"
	"debug/elf"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// Relocations are resolved here, and rewritten to the one form of each kind
// that cilium/ebpf reads correctly:
//
//   - data: the section's symbol, the offset in the instruction. cilium/ebpf
//     v0.22 drops the addend of a reference to a variable's own symbol
//     (elf_reader.go, relocateInstruction: case STT_OBJECT takes the symbol's
//     value only), so `r1 = first+4 ll` reads first;
//   - functions: the section's symbol, the offset in the instruction;
//   - maps: the map's symbol, no offset.
//
// A relocation refers to S + A: the symbol's value plus the addend. SHT_RELA
// entries hold the addend; for SHT_REL the instruction holds it (Linux,
// Documentation/bpf/llvm_reloc.rst). cilium/ebpf drops SHT_RELA sections
// without an error.
//
// Pointers in data sections stay as they are in the file, as with libbpf: maps
// hold no addresses.
//
// A relocation that cannot be resolved is a fault of the function that contains
// it, and of the programs that call that function. Other programs can still be
// used.

// The types of relocations, Documentation/bpf/llvm_reloc.rst.
const (
	relocWide = 1  // R_BPF_64_64: a 64-bit load
	relocAbs  = 2  // R_BPF_64_ABS64: a pointer in data
	relocCall = 10 // R_BPF_64_32: a call
)

// A place is an offset in a section.
type place struct {
	section int
	off     uint64
}

// A fault is an instruction that cannot be linked.
type fault struct {
	at     place
	reason string
	msg    string
}

// fail records a fault, and leaves the instruction without a reference.
func (m *mender) fail(at place, reason, format string, args ...any) {
	m.faults = append(m.faults, fault{at, reason, fmt.Sprintf(format, args...)})
	insn := m.instruction(at)
	if op := asm.OpCode(insn[0]); op.IsDWordLoad() {
		insn[1] &= 0x0f
		setWide(m.out[m.file.sections[at.section].Off+at.off:][:min(16, m.file.sections[at.section].Size-at.off)], 0)
	} else if op.JumpOp() == asm.Call {
		le.PutUint32(insn[4:], 0xffffffff) // what cilium/ebpf takes for linked
	}
}

// instruction returns the bytes of an instruction of the output.
func (m *mender) instruction(at place) []byte {
	return m.out[m.file.sections[at.section].Off+at.off:][:8]
}

// readRelocations records the relocations of code and maps by their places, REL
// and RELA alike.
func (m *mender) readRelocations() {
	m.rels = map[int]map[uint64]rel{}
	for i := range m.file.sections {
		s := &m.file.sections[i]
		to := int(s.Info)
		if !isRelocation(s) || to >= len(m.file.sections) || !interesting(&m.file.sections[to]) {
			continue
		}
		if m.rels[to] == nil {
			m.rels[to] = map[uint64]rel{}
		}
		for _, r := range m.file.relocations(i) {
			if _, twice := m.rels[to][r.off]; twice {
				r.bad = "two relocations are for one place"
			}
			m.rels[to][r.off] = r
		}
	}
}

// findWide finds the second halves of 64-bit loads, and the calls and function
// pointers without a relocation, whose targets lie in their own section.
func (m *mender) findWide() {
	m.second = map[place]bool{}
	for i := range m.file.sections {
		s := &m.file.sections[i]
		if !isCode(s) {
			continue
		}
		for off := uint64(0); off < s.Size; off += 8 {
			if asm.OpCode(m.file.data[s.Off+off]).IsDWordLoad() {
				off += 8
				m.second[place{i, off}] = true
			}
		}
	}
}

// addend returns what is added to the symbol's value, in bytes.
func addend(r rel, insn []byte, wide bool) int64 {
	imm := int64(int32(le.Uint32(insn[4:])))
	switch {
	case r.explicit:
		return r.addend
	case !wide:
		return 8 * (imm + 1)
	case len(insn) < 16:
		return imm
	}
	if high := int64(int32(le.Uint32(insn[12:]))); high != 0 && !(high == -1 && imm < 0) {
		return high<<32 | imm&0xffffffff
	}
	return imm // LLVM writes the lower half only, also of negative numbers
}

// isGNU reports whether GNU as wrote the object. GNU as 2.40, which gcc 12 uses, also
// adds the symbol's value to the instruction: a load has value plus addend, a call the
// value in bytes less one. Such an object has GCC's comment, and the constant of each
// load is at least its symbol's value.
func (m *mender) isGNU() bool {
	comment := false
	for i := range m.file.sections {
		if s := &m.file.sections[i]; s.name == ".comment" && elf.SectionType(s.Type) == elf.SHT_PROGBITS {
			comment = comment || bytes.Contains(m.file.data[s.Off:s.Off+s.Size], []byte("GCC: ("))
		}
	}
	if !comment {
		return false
	}
	for section, rels := range m.rels {
		s := &m.file.sections[section]
		for off, r := range rels {
			if !isCode(s) || r.explicit || !m.isInstruction(section, int64(off)) || r.symbol() >= len(m.file.symbols) {
				continue
			}
			insn, sym := m.file.data[s.Off+off:min(s.Off+off+16, s.Off+s.Size)], m.file.symbols[r.symbol()]
			if asm.OpCode(insn[0]).IsDWordLoad() && sym.Shndx != 0 && sym.typ() != elf.STT_SECTION && addend(r, insn, true) < int64(sym.Value) {
				return false
			}
		}
	}
	return true
}

// gnuTarget returns what an instruction of GNU as refers to, given the symbol's
// value and what LLVM would mean.
func gnuTarget(value, to int64, wide bool) int64 {
	if wide {
		return to - value
	}
	if imm := (to-value)/8 - 1; imm+1 == value {
		return value
	}
	return to
}

// resolve finds the places that a code section's instructions refer to.
func (m *mender) resolve(section int) {
	s := &m.file.sections[section]
	for _, off := range slices.Sorted(maps.Keys(m.rels[section])) {
		m.resolveOne(place{section, off}, m.rels[section][off])
	}
	for off := uint64(0); off < s.Size; off += 8 {
		at := place{section, off}
		insn := m.instruction(at)
		op, src := asm.OpCode(insn[0]), asm.Register(insn[1]>>4)
		call := op.JumpOp() == asm.Call && src == asm.PseudoCall
		if _, relocated := m.rels[section][off]; relocated || m.second[at] || !call && !(op.IsDWordLoad() && src == asm.PseudoFunc) {
			continue
		}
		to := int64(off) + 8 + 8*int64(int32(le.Uint32(insn[4:])))
		if !m.isInstruction(section, to) {
			m.fail(at, "bad-call-target", "calls offset %d of section %s, where no instruction starts", to, printable(s.name))
			continue
		}
		m.targets[place{section, uint64(to)}] = true
	}
}

// isInstruction reports whether an instruction starts at an offset.
func (m *mender) isInstruction(section int, off int64) bool {
	s := &m.file.sections[section]
	return off >= 0 && off%8 == 0 && uint64(off) < s.Size && !m.second[place{section, uint64(off)}]
}

func (m *mender) resolveOne(at place, r rel) {
	s := &m.file.sections[at.section]
	if !m.isInstruction(at.section, int64(r.off)) {
		// It has no instruction of its own, so it belongs to the instruction
		// before it.
		at.off = min(at.off&^7, s.Size-8)
		m.faults = append(m.faults, fault{at, "bad-relocation", fmt.Sprintf("a relocation is for offset %d of section %s, where no instruction starts", int64(r.off), printable(s.name))})
		return
	}
	bad := func(format string, args ...any) { m.fail(at, "bad-relocation", format, args...) }
	insn := m.out[s.Off+at.off : min(s.Off+at.off+16, s.Off+s.Size)]
	op, src := asm.OpCode(insn[0]), asm.Register(insn[1]>>4)
	wide, call := op.IsDWordLoad(), op.JumpOp() == asm.Call
	switch {
	case r.bad != "":
		bad("%s", r.bad)
		return
	case r.symbol() == 0 || r.symbol() >= len(m.file.symbols):
		bad("a relocation refers to symbol %d of %d", r.symbol(), len(m.file.symbols))
		return
	case r.typ() != relocWide && r.typ() != relocCall:
		bad("a relocation of type %d, known are %d (64-bit load) and %d (call)", r.typ(), relocWide, relocCall)
		return
	case !wide && !call || call && src == asm.PseudoKfuncCall:
		bad("a relocation of an instruction that takes none")
		return
	case call && src != asm.PseudoCall:
		bad("a relocation of a call of a helper")
		return
	}
	sym := m.file.symbols[r.symbol()]
	name := m.nameOf(r.symbol())
	to := int64(sym.Value) + addend(r, insn, wide)
	if m.gnu && !r.explicit && sym.typ() != elf.STT_SECTION {
		to = gnuTarget(int64(sym.Value), to, wide)
	}
	switch shndx := elf.SectionIndex(sym.Shndx); {
	case shndx == elf.SHN_UNDEF:
		if sym.typ() != elf.STT_NOTYPE || sym.bind() == elf.STB_LOCAL {
			bad("a relocation refers to %s, which the object does not define", name)
			return
		}
		m.linked[at] = link{symbol: r.symbol()} // an extern, which cilium/ebpf knows by BTF
		if wide {
			setWide(insn, 0)
		} else {
			le.PutUint32(insn[4:], 0xffffffff)
		}
	case shndx >= elf.SHN_LORESERVE:
		bad("a relocation refers to %s, which is in no section", name)
	default:
		m.refer(at, int(sym.Shndx), to, name, insn, wide)
	}
}

// refer changes the instruction to refer to an offset of a section.
func (m *mender) refer(at place, section int, to int64, name string, insn []byte, wide bool) {
	t := &m.file.sections[section]
	where := place{section, uint64(to)}
	switch {
	case isCode(t):
		if !m.isInstruction(section, to) {
			m.fail(at, "bad-call-target", "refers to offset %d of section %s, %d bytes, where no instruction starts", to, printable(t.name), t.Size)
			return
		}
		m.targets[where] = true
		m.linked[at] = link{to: where, section: true}
		if wide {
			setWide(insn, uint32(to))
		} else {
			le.PutUint32(insn[4:], uint32(to/8-1))
		}
	case !wide:
		m.fail(at, "bad-call-target", "calls %s, which is no function", name)
	case isLegacyMaps(t) || isBTFMaps(t):
		i, known := m.objectAt[where]
		if !known {
			m.fail(at, "unknown-map", "refers to offset %d of section %s, where no map's definition starts", to, printable(t.name))
			return
		}
		m.linked[at] = link{to: where, symbol: i}
		setWide(insn, 0)
	case isData(t):
		if to < 0 || uint64(to) >= t.Size {
			m.fail(at, "bad-relocation", "refers to offset %d of section %s (%s), which has %d bytes", to, printable(t.name), name, t.Size)
			return
		}
		m.linked[at] = link{to: where, section: true}
		setWide(insn, uint32(to))
	default:
		m.fail(at, "bad-relocation", "refers to %s in section %s, which holds neither data nor maps nor code", name, printable(t.name))
	}
}

// setWide sets the constant of a 64-bit load.
func setWide(insn []byte, n uint32) {
	le.PutUint32(insn[4:], n)
	if len(insn) >= 16 {
		le.PutUint32(insn[12:], 0)
	}
}

// nameOf returns what a message calls a symbol.
func (m *mender) nameOf(i int) string {
	s := m.file.symbols[i]
	if s.name == "" && s.Shndx > 0 && int(s.Shndx) < len(m.file.sections) {
		return printable(m.file.sections[s.Shndx].name)
	}
	return printable(s.name)
}

// A link is the symbol and offset that a relocation resolves to.
type link struct {
	to      place
	section bool // by the section's symbol; else symbol
	symbol  int
}

// unlink turns references to maps and functions that cannot be read into
// faults.
func (m *mender) unlink() {
	for _, at := range m.linkedInOrder() {
		l := m.linked[at]
		if why, dead := m.dead[l.to]; dead && (l.section || l.symbol > 0) {
			delete(m.linked, at)
			m.fail(at, why.reason, "%s", why.msg)
			continue
		}
		if why := m.deadSections[l.to.section]; why != "" && l.to.section > 0 {
			delete(m.linked, at)
			m.fail(at, "bad-object", "section %s cannot be read: %s", printable(m.file.sections[l.to.section].name), why)
		}
	}
}

func (m *mender) linkedInOrder() []place {
	return slices.SortedFunc(maps.Keys(m.linked), func(a, b place) int {
		return cmp.Or(a.section-b.section, cmp.Compare(a.off, b.off))
	})
}

// relocationSections replaces the relocations of the file by the resolved ones.
func (m *mender) relocationSections(headers []elf.Section64, h *hidden) []elf.Section64 {
	for i := range m.file.sections {
		if s := &m.file.sections[i]; isRelocation(s) {
			headers[i].Type, headers[i].Name = uint32(elf.SHT_NULL), 0
		}
	}
	if h.code {
		return headers
	}
	contents := map[int][]byte{}
	add := func(section int, off uint64, symbol, typ int) {
		b := le.AppendUint64(contents[section], off)
		contents[section] = le.AppendUint64(b, elf.R_INFO(uint32(symbol), uint32(typ)))
	}
	for _, at := range m.linkedInOrder() {
		l := m.linked[at]
		if l.section {
			l.symbol = m.sectionSymbol(l.to.section)
		}
		add(at.section, at.off, l.symbol, relocWide)
	}
	for section, rels := range m.rels {
		if !isBTFMaps(&m.file.sections[section]) {
			continue
		}
		for _, off := range slices.Sorted(maps.Keys(rels)) {
			if i, ok := m.valueSymbol(rels[off]); ok {
				add(section, off, i, relocAbs)
			} else {
				m.noteOnce("section %s: the value at offset %d refers to what cannot be read, left out", printable(m.file.sections[section].name), off)
			}
		}
	}
	for _, section := range slices.Sorted(maps.Keys(contents)) {
		b := contents[section]
		headers = append(headers, elf.Section64{Type: uint32(elf.SHT_REL), Info: uint32(section), Link: uint32(m.file.symtab),
			Entsize: relSize, Addralign: 8, Off: m.append(b), Size: uint64(len(b))})
	}
	return headers
}

// valueSymbol returns the symbol of a map or function that a map starts with.
func (m *mender) valueSymbol(r rel) (int, bool) {
	i := r.symbol()
	if i == 0 || i >= len(m.file.symbols) {
		return 0, false
	}
	sym, from := m.file.symbols[i], &m.file.sections[r.section]
	if sym.Shndx == 0 || int(sym.Shndx) >= len(m.file.sections) {
		return 0, false
	}
	to := sym.Value + uint64(r.addend)
	if !r.explicit && sym.typ() == elf.STT_SECTION && r.off < from.Size && from.Size-r.off >= 8 {
		to = sym.Value + le.Uint64(m.file.data[from.Off+r.off:])
	}
	want := elf.STT_OBJECT
	if s := &m.file.sections[sym.Shndx]; isCode(s) {
		want = elf.STT_FUNC
	} else if !isBTFMaps(s) {
		return 0, false
	}
	if _, dead := m.dead[place{int(sym.Shndx), to}]; dead {
		return 0, false
	}
	for i, t := range m.file.symbols {
		if t.Shndx == sym.Shndx && t.Value == to && t.name != "" && t.typ() == want {
			return i, true
		}
	}
	return 0, false
}

// sectionSymbol returns the symbol of a section, one that is added if there is
// none.
func (m *mender) sectionSymbol(section int) int {
	for i, s := range m.file.symbols {
		if s.typ() == elf.STT_SECTION && s.bind() == elf.STB_LOCAL && int(s.Shndx) == section && s.Value == 0 {
			return i
		}
	}
	return m.addSymbol(symbol{Sym64: elf.Sym64{Info: elf.ST_INFO(elf.STB_LOCAL, elf.STT_SECTION), Shndx: uint16(section)}})
}

// functionFaults returns the faults by the function that has them, pc counted
// from its start.
func (m *mender) functionFaults() map[string][]code.Fault {
	all := map[string][]code.Fault{}
	for _, f := range m.faults {
		name, start := "", uint64(0)
		for _, s := range m.file.symbols {
			if int(s.Shndx) == f.at.section && s.typ() == elf.STT_FUNC && s.name != "" && s.Value <= f.at.off && f.at.off < s.Value+s.Size && s.Value >= start {
				name, start = s.name, s.Value
			}
		}
		if name != "" {
			all[name] = append(all[name], code.Fault{PC: int(f.at.off-start) / 8, Reason: f.reason, Msg: f.msg})
		}
	}
	return all
}
