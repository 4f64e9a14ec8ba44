package asmtext

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/asm"
)

// A dumped function is a symbol's instructions in an llvm-objdump listing.
type dumped struct {
	section string
	name    string
	number  int // of the symbol's line
	pc      int // of its first instruction, in the section
	lines   []numbered
	calls   []string // functions that it calls by name
}

// objdump reads an llvm-objdump listing.
type objdump struct {
	section string
	all     []*dumped
	own     []numbered // the reader's directives
	relocs  bool       // the listing shows relocations
	errs    []*Error
	next    int // pc of the next instruction, for lines that do not state it
}

// textSection is the section into which compilers put functions that programs call.
const textSection = ".text"

func relistObjdump(plain []string) ([]numbered, []*Error) {
	o := &objdump{}
	for _, text := range plain {
		o.relocs = o.relocs || relocation().MatchString(text)
	}
	for i, text := range plain {
		o.line(i+1, text)
	}
	for _, f := range o.all {
		o.calls(f)
	}
	return o.link(), o.errs
}

func (o *objdump) fail(number int, format string, args ...any) {
	o.errs = append(o.errs, &Error{Line: number, Col: 1, Msg: fmt.Sprintf(format, args...)})
}

// function is the one being read.
func (o *objdump) function(number int) *dumped {
	if len(o.all) == 0 || o.all[len(o.all)-1].section != o.section {
		o.all = append(o.all, &dumped{section: o.section, name: implicitName, number: number, pc: o.next})
	}
	return o.all[len(o.all)-1]
}

func (o *objdump) line(number int, text string) {
	if section, ok := strings.CutPrefix(text, "Disassembly of section "); ok {
		o.section, o.next = strings.TrimSuffix(section, ":"), 0
		return
	}
	if m := symbolLine().FindStringSubmatch(text); m != nil {
		if m[1] != "" {
			if address, err := strconv.ParseUint(m[1], 16, 31); err == nil {
				o.next = int(address / 8)
			}
		}
		if !localLabel().MatchString(m[2]) {
			o.all = append(o.all, &dumped{section: o.section, name: m[2], number: number, pc: o.next})
		}
		return
	}
	if m := relocation().FindStringSubmatch(text); m != nil {
		o.relocate(number, m)
		return
	}
	switch {
	case directiveLine(text):
		o.own = append(o.own, numbered{number: number, text: text})
		return
	case objdumpMark().MatchString(text), strings.TrimSpace(text) == "", strings.HasPrefix(strings.TrimSpace(text), ";"):
		return
	}
	f := o.function(number)
	pc := o.next
	if l, ok := cutPrefix(text); ok {
		pc = l.pc
		text = o.known(number, text, &l)
	}
	f.lines = append(f.lines, numbered{number: number, text: text, pc: pc})
	o.next = pc + 1
	if strings.HasSuffix(text, " ll") {
		o.next++
	}
}

// known returns a line of the listing. If the tool printed that it does not know the
// instruction, known replaces that by the instruction that the bytes encode.
func (o *objdump) known(number int, text string, l *insnLine) string {
	var ins asm.Instruction
	switch {
	case !strings.HasSuffix(text, "<unknown>"):
		return text
	case l.bytes == nil || ins.Unmarshal(bytes.NewReader(l.bytes), binary.LittleEndian, "linux") != nil:
		o.fail(number, "llvm-objdump does not know this instruction: use a newer one, or leave out --no-show-raw-insn")
		return "exit" // for the pcs that follow
	}
	return text[:l.start] + Format(ins)
}

// relocate writes what a relocation refers to into the instruction above it.
func (o *objdump) relocate(number int, m []string) {
	f := o.function(number)
	address, err := strconv.ParseUint(m[1], 16, 31)
	if err != nil || len(f.lines) == 0 || f.lines[len(f.lines)-1].pc != int(address/8) {
		o.fail(number, "relocation at %s, which is not that of the instruction before it", m[1])
		return
	}
	l := &f.lines[len(f.lines)-1]
	symbol := m[3]
	if at := wideLoad().FindStringSubmatchIndex(l.text); at != nil {
		addend, err := strconv.ParseInt(l.text[at[4]:at[5]], 0, 64)
		reference := "map[" + strconv.Quote(symbol) + "]"
		switch {
		case symbol == textSection:
			o.fail(number, "the address of a function of %s: which one is not read here", textSection)
			return
		case err == nil && (addend != 0 || strings.HasPrefix(symbol, ".")):
			reference += fmt.Sprintf("[0]+%d", addend)
		}
		l.text = relocated(l.text[:at[4]] + reference)
		return
	}
	if at := callText().FindStringSubmatchIndex(l.text); at != nil {
		name := symbol
		if symbol == textSection {
			distance, err := strconv.ParseInt(l.text[at[2]:at[3]], 0, 32)
			if name = o.at(textSection, int(distance)+1); err != nil || name == "" {
				o.fail(number, "call of pc %d of %s, which the listing does not show", distance+1, textSection)
				return
			}
		}
		l.text = relocated(l.text[:at[2]] + strconv.Quote(name))
		f.calls = append(f.calls, name)
		return
	}
	o.fail(number, "relocation %s of an instruction that is neither a load of 64 bits nor a call", m[2])
}

// relocated blanks the bytes of an instruction to which a relocation applies: the bytes
// do not contain the reference, so they need not match the text.
func relocated(text string) string {
	l, ok := cutPrefix(text)
	if !ok || l.bytes == nil {
		return text
	}
	colon := strings.IndexByte(text, ':') + 1
	return text[:colon] + strings.Repeat(" ", l.start-colon) + text[l.start:]
}

// at returns the name of the function that begins at a pc of a section, or "" if there is none.
func (o *objdump) at(section string, pc int) string {
	for _, f := range o.all {
		if f.section == section && f.pc == pc {
			return f.name
		}
	}
	return ""
}

// calls replaces the distances of calls within a section by the functions' names. It
// refuses calls whose target the listing does not show.
func (o *objdump) calls(f *dumped) {
	for i := range f.lines {
		l := &f.lines[i]
		if m := wideLoad().FindStringSubmatch(l.text); m != nil && !o.relocs && (m[2] == "0" || m[2] == "0x0") {
			o.fail(l.number, "the listing does not show which map or variable this is: use llvm-objdump -dr")
			continue
		}
		at := callText().FindStringSubmatchIndex(l.text)
		if at == nil {
			continue
		}
		n, err := strconv.ParseInt(l.text[at[2]:at[3]], 0, 32)
		insn, _ := cutPrefix(l.text)
		name := o.at(f.section, l.pc+1+int(n))
		switch {
		case err != nil:
		case n == -1, n < 0 && name == "": // -1 is the placeholder for a symbol
			o.fail(l.number, "the listing does not show which function this calls: use llvm-objdump -dr")
		case insn.bytes == nil && name != "" && n > 0:
			o.fail(l.number, "call %d is helper %s or function %s: use llvm-objdump without --no-show-raw-insn", n, HelperName(n), name)
		case insn.bytes != nil && insn.bytes[1]>>4 == 1 && name == "":
			o.fail(l.number, "call of pc %d of section %s, where no function begins: use llvm-objdump -dr", l.pc+1+int(n), f.section)
		case insn.bytes != nil && insn.bytes[1]>>4 == 1 || n < 0:
			l.text = relocated(l.text[:at[2]] + strconv.Quote(name))
			f.calls = append(f.calls, name)
		}
	}
}

// link writes each program with the functions that it calls, in the listing's order.
// Functions of .text, and functions that others call, are programs only if the listing
// has no other function.
func (o *objdump) link() []numbered {
	called := map[string]bool{}
	onlyText := true
	for _, f := range o.all {
		onlyText = onlyText && f.section == textSection
		for _, name := range f.calls {
			called[name] = true
		}
	}
	out := o.own
	text := func(f *dumped, directive, rest string) {
		out = append(out, numbered{number: f.number, text: directive + " " + strconv.Quote(f.name) + rest, begins: true, pc: f.pc})
		out = append(out, f.lines...)
	}
	for i, f := range o.all {
		if len(f.lines) == 0 || f.section == textSection && !onlyText || (called[f.name] || f.section == textSection) && i > 0 {
			continue
		}
		rest := ""
		if f.section != "" {
			rest = " section=" + strconv.Quote(f.section)
		}
		text(f, ".program "+sectionType(f.section), rest)
		needs := o.reached(f)
		for _, g := range o.all {
			if g != f && needs[g.name] && len(g.lines) > 0 {
				text(g, ".func", "")
			}
		}
	}
	return out
}

// reached returns the names of the functions that f calls, and those that these call.
func (o *objdump) reached(f *dumped) map[string]bool {
	found, work := map[string]bool{}, []*dumped{f}
	for len(work) > 0 {
		g := work[len(work)-1]
		work = work[:len(work)-1]
		for _, name := range g.calls {
			if found[name] {
				continue
			}
			found[name] = true
			for _, h := range o.all {
				if h.name == name {
					work = append(work, h)
				}
			}
		}
	}
	return found
}

// sectionType returns the program type that a section's first word names; programs of other
// sections are assumed to be XDP, as text without .program is.
func sectionType(section string) string {
	word := section
	if i := strings.IndexAny(section, "/."); i > 0 {
		word = section[:i]
	}
	if word == "tcx" {
		word = "tc"
	}
	if t, ok := ProgramType(word); ok {
		return ProgramTypeName(t)
	}
	return "xdp"
}
