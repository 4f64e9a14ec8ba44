package nfp

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Disassemble returns the image as text from which Assemble gets an equal image:
// directives for everything but code, labels, words with their numbers,
// relocations after an @. Words that are no instruction stand as .word.
//
//	.image "name"                 relocations are written out, none is inferred
//	.stack 64                     bytes of stack
//	.map "counts" ppcc            use of each word of a map value: - none, p plain, c counter
//	.line 3 "r0 = 2" "a.c" 7 "return XDP_PASS;"   pc, eBPF, file, line, C of the words that follow
//	exit:                         symbol
//	.0	br[.2], defer[1] @branch
func Disassemble(im *Image) string {
	b := fmt.Appendf(nil, ".image %q\n", im.Name)
	if im.Stack != 0 {
		b = fmt.Appendf(b, ".stack %d\n", im.Stack)
	}
	for _, m := range im.Maps {
		b = fmt.Appendf(b, ".map %q %s\n", m.Name, useText(m.Words))
	}
	return string(im.appendWords(b, func(b []byte, l Line) []byte {
		return fmt.Appendf(b, ".line %d %q %q %d %q\n", l.PC, l.Insn, l.File, l.Line, l.Text)
	}))
}

// Listing is Disassemble with C lines and eBPF instructions as comments between
// the words. Assemble reads the words of it, not the line table.
func Listing(im *Image) string {
	file, line := "", 0
	return string(im.appendWords(nil, func(b []byte, l Line) []byte {
		if l.Text != "" && (l.File != file || l.Line != line) {
			b = fmt.Appendf(b, "; %s:%d: %s\n", l.File, l.Line, strings.TrimSpace(l.Text))
		}
		file, line = l.File, l.Line
		if l.PC >= 0 && l.Insn != "" {
			b = fmt.Appendf(b, "; %d: %s\n", l.PC, l.Insn)
		}
		return b
	}))
}

// useLetters are the uses of map words in text.
const useLetters = "-pc"

func useText(ws []WordUse) string {
	b := make([]byte, len(ws))
	for i, w := range ws {
		b[i] = '?'
		if int(w) < len(useLetters) {
			b[i] = useLetters[w]
		}
	}
	return string(b)
}

// appendWords prints the code with its labels; line prints an entry of the line table.
func (im *Image) appendWords(b []byte, line func([]byte, Line) []byte) []byte {
	symbols := append([]Symbol(nil), im.Symbols...)
	sort.SliceStable(symbols, func(i, j int) bool { return symbols[i].Addr < symbols[j].Addr })
	names := map[int]string{}
	for _, s := range symbols {
		if names[s.Addr] == "" {
			names[s.Addr] = s.Name
		}
	}
	relocs := map[int][]Reloc{}
	for _, r := range im.Relocs {
		relocs[r.Addr] = append(relocs[r.Addr], r)
	}
	lines := im.Lines
	for a := 0; a <= len(im.Words); a++ {
		for ; len(symbols) > 0 && symbols[0].Addr <= a; symbols = symbols[1:] {
			b = appendLabel(b, symbols[0].Name)
		}
		for ; len(lines) > 0 && lines[0].Addr <= a; lines = lines[1:] {
			b = line(b, lines[0])
		}
		if a < len(im.Words) {
			b = appendWord(b, a, im.Words[a], relocs[a], names)
		}
	}
	return b
}

func appendLabel(b []byte, name string) []byte {
	if isLabel(name) {
		return append(append(b, name...), ":\n"...)
	}
	return fmt.Appendf(b, ".symbol %q\n", name)
}

// isLabel reports whether a name can stand before a colon.
func isLabel(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c == '$' || c|0x20 >= 'a' && c|0x20 <= 'z' || i > 0 && (c == '.' || c >= '0' && c <= '9')) {
			return false
		}
	}
	return s != "" && s != "nop"
}

// appendWord prints a word with its number, its relocations, and the name of its
// branch target.
func appendWord(b []byte, addr int, w Word, relocs []Reloc, names map[int]string) []byte {
	b = append(appendUint(append(b, '.'), uint32(addr)), '\t')
	in, err := Decode(w)
	if err != nil {
		b = strconv.AppendUint(append(b, ".word 0x"...), uint64(w), 16)
	} else {
		b = in.append(b)
	}
	for _, r := range relocs {
		b = append(append(b, " @"...), r.Kind.String()...)
		switch r.Kind {
		case RelocHelper:
			b = strconv.AppendInt(append(b, ' '), int64(r.Helper), 10)
		case RelocMap, RelocMapBase, RelocMapBase1:
			b = strconv.AppendQuote(append(b, ' '), r.Map)
		}
	}
	switch name := names[int(in.Target)]; {
	case in.Raw != 0:
		b = strconv.AppendUint(append(b, " // raw 0x"...), uint64(in.Raw), 16)
	case err == nil && in.HasTarget() && len(relocs) == 1 && relocs[0].Kind == RelocBranch && isLabel(name):
		b = append(append(b, " // "...), name...)
	}
	return append(b, '\n')
}
