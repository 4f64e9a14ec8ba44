package nfp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Assembly takes text line by line. A line is blank, a comment, a directive (see
// Disassemble), a label, or a word. A word may begin with an address and a colon,
// its value in hex, and its number as .N. Then follow the instruction and, after
// an @, its relocations. So source text, Disassemble's output, and whole listings
// of objdump and bpftool are one language; file headers of listings are skipped.
//
// Pass one splits the lines and places the labels; pass two parses. Then, unless
// the text says it has its relocations written out (.image, or relocation types in
// bits 63:56 of the hex words), relocs.go infers them.

// maxErrors is how many errors Assemble reports.
const maxErrors = 10

// ErrorList holds the errors of Assemble in line order, each a *ParseError.
type ErrorList []*ParseError

func (l ErrorList) Error() string {
	s := make([]string, len(l))
	for i, e := range l {
		s[i] = e.Error()
	}
	return strings.Join(s, "\n")
}

// Unwrap returns the errors, for errors.As.
func (l ErrorList) Unwrap() []error {
	t := make([]error, len(l))
	for i, e := range l {
		t[i] = e
	}
	return t
}

// item is one word of the text.
type item struct {
	line   int // from 1
	col    int // column of text, from 0
	text   string
	hex    uint64 // the word as listed, with the bits above bit 44
	hasHex bool
	word   Word
	inst   Inst
	ok     bool // inst is set
	relocs []Reloc
	label  bool // the target was a label
}

type assembler struct {
	im       *Image
	items    []item
	labels   map[string]int
	errs     ErrorList
	explicit bool // relocations are written out
	numbered bool // words have numbers
	base     int  // number of the first word
	line     int
}

// Assemble translates text to an image. Errors are an ErrorList of at most 10.
func Assemble(src string) (*Image, error) {
	a := assembler{im: &Image{}, labels: map[string]int{}}
	for i, line := range strings.Split(src, "\n") {
		a.line = i + 1
		a.split(strings.TrimSuffix(line, "\r"))
		if len(a.errs) >= maxErrors {
			return nil, a.errs
		}
		if len(a.items) > StoreWords {
			a.fail(0, "more than %d words", StoreWords)
			return nil, a.errs
		}
	}
	for i := range a.items {
		a.assemble(i)
		if len(a.errs) >= maxErrors {
			break
		}
	}
	if len(a.errs) > 0 {
		slices.SortStableFunc(a.errs, func(x, y *ParseError) int { return x.Line - y.Line })
		return nil, a.errs
	}
	a.finish()
	return a.im, nil
}

func (a *assembler) fail(col int, format string, args ...any) {
	a.errs = append(a.errs, &ParseError{a.line, col + 1, fmt.Sprintf(format, args...)})
}

// cursor is a place in a line.
type cursor struct {
	s   string
	pos int
}

func (c *cursor) space() {
	for c.pos < len(c.s) && (c.s[c.pos] == ' ' || c.s[c.pos] == '\t') {
		c.pos++
	}
}

func (c *cursor) rest() string { return c.s[c.pos:] }

// field is the text up to the next space.
func (c *cursor) field() string {
	if i := strings.IndexAny(c.rest(), " \t"); i >= 0 {
		return c.s[c.pos : c.pos+i]
	}
	return c.rest()
}

// split parses the columns of a line.
func (a *assembler) split(s string) {
	c := cursor{s: s}
	c.space()
	r := c.rest()
	switch {
	case r == "", r[0] == ';', r[0] == '#', strings.HasPrefix(r, "//"), header(r):
		return
	case a.bytes(r):
		return
	case r[0] == '.' && len(r) > 1 && (r[1] < '0' || r[1] > '9') && !strings.HasPrefix(r, ".word"):
		if strings.Trim(r, ".") == "" {
			a.fail(c.pos, "the listing leaves words out (objdump -z shows them)")
			return
		}
		a.directive(&c)
		return
	}
	if !a.place(&c) {
		return
	}
	if c.rest() != "" && !strings.HasPrefix(c.rest(), "//") && c.rest()[0] != ';' {
		a.word(&c)
	}
}

// header reports whether a line of a listing has no instruction: the file's
// format, a section's name, its start.
func header(s string) bool {
	return strings.Contains(s, ":     file format ") || strings.HasPrefix(s, "Disassembly of section ") ||
		len(s) > 18 && isHex(s[:16]) && strings.HasPrefix(s[16:], " <") && strings.HasSuffix(s, ">:") ||
		strings.HasPrefix(s, "0x") && strings.HasSuffix(s, ":") && len(s) > 3 && isHex(s[2:len(s)-1]) && len(s) > 12
}

func isHex(s string) bool {
	for i := range len(s) {
		if _, ok := digit(s[i]); !ok {
			return false
		}
	}
	return s != ""
}

// bytes parses bpftool's line of opcode bytes after an instruction: eight of
// them, least significant first.
func (a *assembler) bytes(s string) bool {
	f := strings.Fields(s)
	if len(f) != 8 || len(a.items) == 0 {
		return false
	}
	var u uint64
	for i, x := range f {
		v, err := strconv.ParseUint(x, 16, 8)
		if err != nil || len(x) != 2 {
			return false
		}
		u |= v << (8 * i)
	}
	it := &a.items[len(a.items)-1]
	it.hex, it.hasHex = u, true
	return true
}

// place parses labels, an address and a word number at the start of a line.
func (a *assembler) place(c *cursor) bool {
	for {
		c.space()
		f := c.field()
		name, ok := strings.CutSuffix(f, ":")
		switch {
		case ok && isHex(strings.TrimPrefix(name, "0x")) && !a.isDefinition(c, f):
			c.pos += len(f)
			c.space()
			a.hex(c)
			c.space()
			return a.number(c)
		case ok && isLabel(name):
			a.define(c.pos, name)
			c.pos += len(f)
		default:
			return a.number(c)
		}
	}
}

// isDefinition distinguishes a label like "add:" or "f:" from an address: the rest of
// a line that begins with an address is not empty.
func (a *assembler) isDefinition(c *cursor, f string) bool {
	name := strings.TrimSuffix(f, ":")
	return isLabel(name) && strings.TrimSpace(c.s[c.pos+len(f):]) == ""
}

func (a *assembler) define(col int, name string) {
	if _, ok := a.labels[name]; ok {
		a.fail(col, "label %q is there already", name)
		return
	}
	a.labels[name] = len(a.items)
	a.im.Symbols = append(a.im.Symbols, Symbol{name, len(a.items)})
}

// hex takes a column with the word in hex, of 11 to 16 digits.
func (a *assembler) hex(c *cursor) {
	f := c.field()
	digits := strings.TrimPrefix(f, "0x")
	if len(digits) < 11 || len(digits) > 16 || !isHex(digits) {
		return
	}
	u, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return
	}
	a.items = append(a.items, item{line: a.line, hex: u, hasHex: true})
	c.pos += len(f)
}

// number parses .N and checks that it is the next word's number.
func (a *assembler) number(c *cursor) bool {
	f := c.field()
	if len(f) < 2 || f[0] != '.' || f[1] < '0' || f[1] > '9' {
		return true
	}
	n, err := strconv.ParseUint(f[1:], 10, 15)
	if err != nil || n >= StoreWords {
		a.fail(c.pos, "bad word number %q", f)
		return false
	}
	i := len(a.items)
	if i > 0 && a.items[i-1].hasHex && a.items[i-1].line == a.line {
		i--
	}
	if !a.numbered && i == 0 {
		a.numbered, a.base = true, int(n)
	}
	if a.numbered && int(n) != a.base+i {
		a.fail(c.pos, "word number .%d, this is word .%d", n, a.base+i)
		return false
	}
	c.pos += len(f)
	c.space()
	return true
}

// word keeps the instruction's text for pass two.
func (a *assembler) word(c *cursor) {
	if n := len(a.items); n > 0 && a.items[n-1].hasHex && a.items[n-1].line == a.line {
		a.items[n-1].col, a.items[n-1].text = c.pos, c.rest()
		return
	}
	a.items = append(a.items, item{line: a.line, col: c.pos, text: c.rest()})
}

// assemble is pass two for one word.
func (a *assembler) assemble(i int) {
	it := &a.items[i]
	a.line = it.line
	text := a.relocations(it)
	switch {
	case it.hasHex:
		a.listed(it, text)
	case strings.HasPrefix(text, ".word"):
		f := strings.TrimSpace(text[5:])
		w, err := strconv.ParseUint(f, 0, 64)
		if err != nil || w>>45 != 0 {
			a.fail(it.col, "bad word %q", f)
			return
		}
		a.take(it, Word(w))
	default:
		s := scanner{s: text, labels: a.lookup}
		in, err := s.inst()
		if err != nil {
			e := err.(*ParseError)
			a.fail(it.col+e.Col-1, "%s", e.Msg)
			return
		}
		w, err := Encode(in)
		if err != nil {
			a.fail(it.col, "%v", err)
			return
		}
		it.word, it.inst, it.ok, it.label = w, in, true, s.label
	}
}

func (a *assembler) lookup(name string) (int, bool) {
	n, ok := a.labels[strings.TrimPrefix(name, ".")]
	if !ok {
		n, ok = a.labels[name]
	}
	return n + a.base, ok
}

func (a *assembler) take(it *item, w Word) {
	in, err := Decode(w)
	it.word, it.inst, it.ok = w, in, err == nil
}

// listed uses the word of a hex column, which must agree with the text.
func (a *assembler) listed(it *item, text string) {
	u := it.hex
	w := Word(u & (1<<45 - 1))
	if c := uint8(u >> 45 & 127); c != 0 {
		var err error
		if w, err = CheckECC(u & (1<<52 - 1)); err != nil {
			a.fail(0, "%v", err)
			return
		}
	}
	if k := RelocKind(u >> 56); k > RelocImmed || u>>52&15 != 0 {
		a.fail(0, "word %#x: bits above 51 are no relocation type", u)
		return
	}
	a.take(it, w)
	plain, raw, _ := cutComment(text)
	if i := strings.Index(plain, "# ERROR"); i >= 0 || strings.TrimSpace(plain) == "" || raw != "" {
		return
	}
	if !it.ok {
		a.fail(it.col, "word %#x is no instruction", uint64(w))
	} else if want := it.inst.Text(); squeeze(plain) != squeeze(want) {
		a.fail(it.col, "the text is not the word's, which is %s", want)
	}
}

// relocations removes the @ part from an instruction's text and parses it.
func (a *assembler) relocations(it *item) string {
	text, raw, _ := cutComment(it.text)
	end := strings.LastIndexByte(text, ']') + 1
	at := strings.IndexByte(text[end:], '@')
	if at < 0 {
		return it.text
	}
	at += end
	for pos := at; pos < len(text); {
		next := a.relocation(it, text, pos)
		if next < 0 {
			break
		}
		pos = next
	}
	if raw != "" {
		return text[:at] + "// raw " + raw
	}
	return text[:at]
}

// relocation parses one "@kind argument" and returns the position of the next, or
// -1.
func (a *assembler) relocation(it *item, text string, pos int) int {
	c := cursor{s: text, pos: pos}
	if text[pos] != '@' {
		a.fail(it.col+pos, "expected @ and a relocation")
		return -1
	}
	name := c.field()[1:]
	c.pos += len(name) + 1
	c.space()
	r := Reloc{Kind: 0xff}
	for k, n := range relocNames {
		if n == name {
			r.Kind = RelocKind(k)
		}
	}
	switch r.Kind {
	case 0xff:
		a.fail(it.col+pos, "unknown relocation %q", name)
		return -1
	case RelocHelper:
		f := c.field()
		n, err := strconv.ParseInt(f, 10, 32)
		if err != nil {
			a.fail(it.col+c.pos, "expected a helper id")
			return -1
		}
		r.Helper = int32(n)
		c.pos += len(f)
	case RelocMap, RelocMapBase, RelocMapBase1:
		q, err := strconv.QuotedPrefix(c.rest())
		if err != nil {
			a.fail(it.col+c.pos, "expected a map name in quotes")
			return -1
		}
		r.Map, _ = strconv.Unquote(q)
		c.pos += len(q)
	}
	c.space()
	it.relocs = append(it.relocs, r)
	return c.pos
}

// directive parses a line that begins with a dot and a name.
func (a *assembler) directive(c *cursor) {
	col := c.pos
	name := c.field()
	c.pos += len(name)
	args := arguments{c: c}
	im := a.im
	switch name {
	case ".image":
		im.Name = args.quoted()
		a.explicit = true
	case ".stack":
		im.Stack = args.int()
		if im.Stack < 0 && args.err == nil {
			args.err = fmt.Errorf("stack of %d bytes", im.Stack)
		}
	case ".map":
		m := MapUse{Name: args.quoted()}
		for _, u := range args.field() {
			i := strings.IndexRune(useLetters, u)
			if i < 0 {
				args.err = fmt.Errorf("unknown use %q of a map word", u)
				break
			}
			m.Words = append(m.Words, WordUse(i))
		}
		im.Maps = append(im.Maps, m)
	case ".line":
		im.Lines = append(im.Lines, Line{Addr: len(a.items), PC: args.int(), Insn: args.quoted(), File: args.quoted(), Line: args.int(), Text: args.quoted()})
	case ".symbol":
		if n := args.quoted(); args.err == nil {
			im.Symbols = append(im.Symbols, Symbol{n, len(a.items)})
		}
	default:
		a.fail(col, "unknown directive %q", name)
		return
	}
	if args.err == nil && strings.TrimSpace(c.rest()) != "" {
		args.err = fmt.Errorf("unexpected %q", strings.TrimSpace(c.rest()))
	}
	if args.err != nil {
		a.fail(c.pos, "%v", args.err)
	}
}

// arguments parses a directive's arguments; it keeps the first error.
type arguments struct {
	c   *cursor
	err error
}

func (g *arguments) field() string {
	g.c.space()
	f := g.c.field()
	if g.err == nil {
		g.c.pos += len(f)
	}
	return f
}

func (g *arguments) int() int {
	n, err := strconv.ParseInt(g.field(), 10, 32)
	if err != nil && g.err == nil {
		g.err = fmt.Errorf("expected a number")
	}
	return int(n)
}

func (g *arguments) quoted() string {
	g.c.space()
	q, err := strconv.QuotedPrefix(g.c.rest())
	if err != nil {
		if g.err == nil {
			g.err = fmt.Errorf("expected text in quotes")
		}
		return ""
	}
	if g.err == nil {
		g.c.pos += len(q)
	}
	s, _ := strconv.Unquote(q)
	return s
}
