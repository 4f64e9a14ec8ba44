package nfp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// ParseError describes text that is no instruction. Line counts from 1 (always
// 1 from Parse); Col is the byte of the line, from 1.
type ParseError struct {
	Line, Col int
	Msg       string
}

func (e *ParseError) Error() string { return fmt.Sprintf("%d:%d: %s", e.Line, e.Col, e.Msg) }

// scanner walks one line. The furthest failure of all forms tried is the one reported.
type scanner struct {
	s      string
	pos    int
	far    int // position of the furthest failure
	msg    string
	wants  []string      // words that forms have there
	col    [numProps]int // position at which each property was written
	labels func(name string) (addr int, ok bool)
	label  bool   // a target was a label
	cmd    string // name of the command
	// virtual accepts virtual registers, v and a number, and instructions that become
	// encodable only by register allocation.
	virtual bool
}

// mnemonics returns the forms by the word with which their text begins.
var mnemonics = sync.OnceValue(func() map[string][]textForm { return indexMnemonics(table().forms) })

// synonyms are the vendor assembler's names for conditions that objdump prints otherwise.
var synonyms = map[string]string{"blo": "bcc", "bhs": "bcs"}

type textForm struct {
	form *Form
	text []element
}

func indexMnemonics(fs []Form) map[string][]textForm {
	t := map[string][]textForm{}
	for i := range fs {
		f := &fs[i]
		if f.Reserved {
			continue
		}
		texts := syntaxes()[f]
		for j, s := range f.Syntax {
			if texts[j][0].name == "unit" {
				for _, u := range commandUnits() {
					t[u] = append(t[u], textForm{f, texts[j]})
				}
				continue
			}
			for _, m := range expandMnemonic(mnemonic(s.Text), texts[j]) {
				if m != "nop" || f.Op == OpNop {
					t[m] = append(t[m], textForm{f, texts[j]})
				}
			}
		}
	}
	return t
}

// expandMnemonic spells out the one mnemonic with an element in it.
func expandMnemonic(m string, text []element) []string {
	if len(text) > 1 && text[1].name == "crc" {
		return []string{"crc_be", "crc_le"}
	}
	return []string{m}
}

func commandUnits() []string {
	var t []string
	for _, r := range commandRows {
		if len(t) == 0 || t[len(t)-1] != r.target {
			t = append(t, r.target)
		}
	}
	return t
}

// Parse reads one instruction as String prints it; spaces are free, // and ;
// begin a comment, and "// raw 0x..." gives the word. Errors are *ParseError.
func Parse(text string) (Inst, error) {
	s := scanner{s: text}
	in, err := s.inst()
	if err != nil {
		return Inst{}, err
	}
	return in, nil
}

// ParseVirtual is Parse for machine code before register allocation: operands may
// be virtual registers, and whether the instruction has an encoding is not checked.
func ParseVirtual(text string) (Inst, error) {
	s := scanner{s: text, virtual: true}
	in, err := s.inst()
	if err != nil {
		return Inst{}, err
	}
	return in, nil
}

// cutComment splits a line at its comment; raw is the word a raw comment gives, else 0.
func cutComment(line string) (text string, raw string, comment string) {
	i := strings.Index(line, "//")
	if j := strings.IndexByte(line, ';'); j >= 0 && (i < 0 || j < i) {
		return line[:j], "", line[j+1:]
	}
	if i < 0 {
		return line, "", ""
	}
	text, comment = line[:i], line[i+2:]
	if r, ok := strings.CutPrefix(strings.TrimSpace(comment), "raw "); ok {
		raw, _, _ = strings.Cut(strings.TrimSpace(r), " ")
	}
	return text, raw, comment
}

func (s *scanner) inst() (Inst, error) {
	text, raw, _ := cutComment(s.s)
	full := s.s
	s.s = text
	if raw != "" {
		return s.raw(full, raw)
	}
	s.space()
	start := s.pos
	name := s.s[start:s.mnemonicEnd()]
	if c, ok := synonyms[name]; ok {
		s.s = s.s[:start] + c + s.s[start+len(name):]
		name = c
	}
	cands := mnemonics()[name]
	if len(cands) == 0 {
		if name == "" {
			return Inst{}, &ParseError{1, start + 1, "no instruction"}
		}
		return Inst{}, &ParseError{1, start + 1, fmt.Sprintf("unknown instruction %q", name)}
	}
	s.far = -1
	for _, c := range cands {
		s.pos, s.label = start, false
		if in, ok := s.form(c); ok {
			return in, s.encodable(&in)
		}
	}
	return Inst{}, &ParseError{1, s.far + 1, s.complaint()}
}

// raw reads the word and checks that it has the text.
func (s *scanner) raw(full, raw string) (Inst, error) {
	col := strings.Index(full, "//") + 1
	var w uint64
	if n, err := fmt.Sscanf(raw, "0x%x", &w); err != nil || n != 1 || w>>45 != 0 || w == 0 {
		return Inst{}, &ParseError{1, col, fmt.Sprintf("bad raw word %q", raw)}
	}
	in, err := Decode(Word(w))
	if err != nil {
		return Inst{}, &ParseError{1, col, err.Error()}
	}
	if want := in.Text(); squeeze(want) != squeeze(s.s) {
		return Inst{}, &ParseError{1, col, "the raw word is " + want}
	}
	return in, nil
}

// squeeze drops spaces.
func squeeze(s string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, s)
}

// encodable turns an encoding error into one with a column.
func (s *scanner) encodable(in *Inst) error {
	_, err := Encode(*in)
	if err == nil || s.virtual {
		return nil
	}
	col := 1
	var e *EncodeError
	if errors.As(err, &e) {
		col = s.col[e.Prop] + 1
		err = errors.New(e.Msg)
		if e.Prop != PropNone {
			err = errors.New(e.Prop.String() + ": " + e.Msg)
		}
	}
	return &ParseError{1, col, err.Error()}
}

// form tries one syntax.
func (s *scanner) form(c textForm) (Inst, bool) {
	in := Inst{Op: c.form.Op}
	for _, x := range c.form.Fixed {
		in.set(x.Prop, x.Value)
	}
	s.col = [numProps]int{}
	s.space()
	start := s.pos
	for i := range s.col {
		s.col[i] = start
	}
	for _, e := range c.text {
		if e.parse == nil {
			if !s.lit(e.lit) {
				return in, false
			}
			continue
		}
		s.space()
		s.col[e.prop] = s.pos
		if !e.parse(s, &in) {
			return in, false
		}
	}
	s.space()
	if s.pos != len(s.s) {
		return in, s.fail("unexpected %q", s.s[s.pos:])
	}
	if in.Op == OpCmd {
		if c := in.command(); c == nil || c.Name != s.cmd {
			s.pos = s.col[PropLen]
			return in, s.fail("%s has no such length", s.cmd)
		}
	}
	return in, true
}

// fail notes what was wrong at the present position, and is false.
func (s *scanner) fail(format string, args ...any) bool {
	if s.pos > s.far {
		s.far, s.msg, s.wants = s.pos, fmt.Sprintf(format, args...), nil
	}
	return false
}

func (s *scanner) space() {
	for s.pos < len(s.s) && (s.s[s.pos] == ' ' || s.s[s.pos] == '\t') {
		s.pos++
	}
}

func (s *scanner) mnemonicEnd() int {
	for i := s.pos; i < len(s.s); i++ {
		switch s.s[i] {
		case '[', ' ', '\t', ',':
			return i
		}
	}
	return len(s.s)
}

// lit reads the literal text of a syntax; spaces around punctuation are free.
func (s *scanner) lit(t string) bool {
	for i := 0; i < len(t); i++ {
		at := s.pos
		switch t[i] {
		case ' ':
			s.space()
			continue
		case '[', ']', ',':
			s.space()
		}
		if s.pos >= len(s.s) || s.s[s.pos] != t[i] {
			return s.wrongWord(t, i, at)
		}
		s.pos++
	}
	return true
}

const separators = " \t,[]"

// wrongWord fails if the text from at on is not t from byte i on. Inside a word it
// fails at the word's start: other forms may expect another word there, and all are
// named.
func (s *scanner) wrongWord(t string, i, at int) bool {
	start := strings.LastIndexAny(t[:i], separators) + 1
	want := t[start:]
	if n := strings.IndexAny(want, separators); n >= 0 {
		want = want[:n]
	}
	ended := at == len(s.s) || strings.IndexByte(separators, s.s[at]) >= 0
	switch {
	case want == "" || ended && i == start+len(want):
		return s.fail("expected %q", t[i:i+1])
	case start == 0:
		return s.fail("expected %q", strings.TrimSpace(t[i:]))
	}
	s.pos = at - (i - start)
	if s.pos == s.far && len(s.wants) > 0 {
		s.wants = append(s.wants, want)
		return false
	}
	if s.pos > s.far {
		s.fail("expected %q", want)
		s.wants = append(s.wants, want)
	}
	return false
}

// complaint describes the error at the farthest position that any form reached.
func (s *scanner) complaint() string {
	s.pos = s.far
	got := s.word()
	slices.Sort(s.wants)
	s.wants = slices.Compact(s.wants)
	if len(s.wants) < 2 {
		return s.msg
	}
	last := len(s.wants) - 1
	list := strings.Join(s.wants[:last], " ") + " or " + s.wants[last]
	if got == "" {
		return "expected an operation: " + list
	}
	return fmt.Sprintf("unknown operation %q: expected %s", got, list)
}

// try reads a literal if it is next.
func (s *scanner) try(t string) bool {
	if strings.HasPrefix(s.s[s.pos:], t) {
		s.pos += len(t)
		return true
	}
	return false
}

// option reads ", name" if it is next, as a whole word.
func (s *scanner) option(name string) bool {
	at := s.pos
	s.space()
	if s.try(",") {
		s.space()
		if s.word() == name {
			return true
		}
	}
	s.pos = at
	return false
}

// word reads everything up to a separator.
func (s *scanner) word() string {
	at := s.pos
	for s.pos < len(s.s) && !strings.ContainsRune(separators, rune(s.s[s.pos])) {
		s.pos++
	}
	return s.s[at:s.pos]
}

// number reads a decimal or 0x number of 32 bits.
func (s *scanner) number() (uint32, bool) {
	at, base, v := s.pos, uint64(10), uint64(0)
	if s.try("0x") {
		base = 16
	}
	first := s.pos
	for ; s.pos < len(s.s); s.pos++ {
		d, ok := digit(s.s[s.pos])
		if !ok || d >= base {
			break
		}
		if v = v*base + d; v > 0xffffffff {
			s.pos = at
			return 0, s.fail("number does not fit in 32 bits")
		}
	}
	if s.pos == first {
		s.pos = at
		return 0, s.fail("expected a number")
	}
	return uint32(v), true
}

func digit(c byte) (uint64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return uint64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return uint64(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return uint64(c-'A') + 10, true
	}
	return 0, false
}

// operandNames begin the operands that end in a number.
var operandNames = []struct {
	prefix string
	kind   Kind
}{{"gprA_", GPRA}, {"gprB_", GPRB}, {"@gprA_", AbsA}, {"@gprB_", AbsB}, {"$xfer_", Xfer}, {"n$reg_", NN}}

func (s *scanner) operand(o *Operand) bool {
	for _, x := range operandNames {
		if s.try(x.prefix) {
			n, ok := s.number()
			*o = Operand{Kind: x.kind, N: n}
			return ok
		}
	}
	switch {
	case s.virtual && s.try("v"):
		n, ok := s.number()
		*o = Operand{Kind: Virtual, N: n}
		return ok
	case s.try("--"):
		*o = Operand{}
		return true
	case s.try("*$index"):
		*o = Operand{Kind: XferIndex, Mod: s.mod()}
		return true
	case s.try("*n$index"):
		*o = Operand{Kind: NNIndex, Mod: s.mod()}
		return true
	case s.try("*l$index"):
		return s.localMemory(o)
	}
	if s.pos < len(s.s) && s.s[s.pos] >= '0' && s.s[s.pos] <= '9' {
		n, ok := s.number()
		*o = Operand{Kind: Const, N: n}
		return ok
	}
	return s.fail("expected an operand")
}

func (s *scanner) localMemory(o *Operand) bool {
	p, ok := s.number()
	if !ok || p > 3 {
		return s.fail("expected a pointer number 0 to 3")
	}
	*o = Operand{Kind: LM, Ptr: uint8(p), Mod: s.mod()}
	if o.Mod == 0 && s.try("[") {
		o.N, ok = s.number()
		return ok && s.lit("]")
	}
	return true
}

func (s *scanner) mod() int8 {
	switch {
	case s.try("++"):
		return 1
	case s.try("--"):
		return -1
	}
	return 0
}

func parseMulDst(s *scanner, in *Inst) bool {
	if s.try("0x0") || s.try("--") {
		return true
	}
	return s.operand(&in.Dst)
}

// shift reads ", >>n", ", <<n", ", >>rotn", indirect for n, or nothing.
func (s *scanner) shift(in *Inst) bool {
	at := s.pos
	if !s.try(",") {
		return true
	}
	s.space()
	kind := ShiftRight
	switch {
	case s.try("<<"):
		kind = ShiftLeft
	case s.try(">>rot"):
		kind = ShiftRotate
	case s.try(">>"):
	default:
		s.pos = at
		return true
	}
	if in.Shift == ShiftDouble || in.Op == OpShf && ShfOp(in.Fn) == ShfAsr {
		if kind != ShiftRight {
			return s.fail("only >> is possible here")
		}
		kind = in.Shift
	}
	if kind != ShiftRotate && s.try("indirect") {
		in.Shift = kind
		return true
	}
	n, ok := s.number()
	if !ok {
		return false
	}
	if n > 31 || n == 0 && kind != ShiftRotate {
		return s.fail("shift by %d", n)
	}
	if n != 0 {
		in.Shift, in.Amount = kind, uint8(n)
	}
	return true
}

func (s *scanner) mask(in *Inst) bool {
	for range 4 {
		if s.pos >= len(s.s) || s.s[s.pos]&^1 != '0' {
			return s.fail("expected a byte mask of four binary digits")
		}
		in.Mask = in.Mask<<1 | s.s[s.pos]&1
		s.pos++
	}
	return true
}

// immed reads the constant; one with all upper bits set is inverted.
func (s *scanner) immed(in *Inst) bool {
	neg := s.try("-")
	v, ok := s.number()
	if !ok {
		return false
	}
	if neg {
		v = -v
	}
	if in.Fn == ImmedAll && v>>16 == 0xffff {
		in.Imm = v ^ 0xffffffff
		in.Flags |= Invert
		return true
	}
	if v > 0xffff {
		return s.fail("constant %#x: neither it nor its complement has 16 bits", v)
	}
	in.Imm = v
	return true
}

func (s *scanner) immShift(in *Inst) bool {
	if !s.lit0(", <<") {
		return true
	}
	n, ok := s.number()
	in.Amount = uint8(n)
	return ok && (n <= 24 || s.fail("shift by %d", n))
}

// lit0 reads a literal if it is next, with free spaces. It records no failure.
func (s *scanner) lit0(t string) bool {
	at, far, msg := s.pos, s.far, s.msg
	if s.lit(t) {
		return true
	}
	s.pos, s.far, s.msg = at, far, msg
	return false
}

func (s *scanner) byteValue(in *Inst) bool {
	v, ok := s.number()
	in.Imm = v
	return ok
}

// target reads .N or a label.
func (s *scanner) target(in *Inst) bool {
	at := s.pos
	if s.try(".") && s.pos < len(s.s) && s.s[s.pos] >= '0' && s.s[s.pos] <= '9' {
		n, ok := s.number()
		in.Target = uint16(n)
		return ok && (n < 1<<14 || s.fail("branch target .%d does not fit in 14 bits", n))
	}
	s.pos = at
	name := s.word()
	if s.labels != nil && name != "" {
		n, ok := s.labels(name)
		if !ok {
			s.pos = at
			return s.fail("unknown label %q", name)
		}
		in.Target, s.label = uint16(n), true
		return true
	}
	s.pos = at
	return s.fail("expected a branch target .N")
}

func (s *scanner) offset(in *Inst) bool {
	if !s.try(".") {
		return s.fail("expected an offset .N")
	}
	n, ok := s.number()
	in.Imm = n
	return ok
}

func (s *scanner) deferSlots(in *Inst) bool {
	if !s.lit0(", defer[") {
		return true
	}
	n, ok := s.number()
	in.Defer = uint8(n)
	return ok && (n >= 1 && n <= 3 || s.fail("defer[%d]", n)) && s.lit("]")
}

func (s *scanner) events(in *Inst) bool {
	switch {
	case s.try("--"):
		in.Flags |= NoLoad
		return true
	case s.try("kill"):
		return true
	case s.try("voluntary"):
		in.Imm = 1
		return true
	}
	for {
		if !s.try("sig") {
			return s.fail("expected an event")
		}
		n, ok := s.number()
		if !ok || n < 1 || n > 15 {
			return s.fail("signals are 1 to 15")
		}
		in.Imm |= 1 << n
		if !s.lit0(",") {
			return true
		}
		s.space()
	}
}

func (s *scanner) csr(in *Inst) bool {
	at := s.pos
	if a, ok := csrAddrs()[s.word()]; ok {
		in.Imm = a
		return true
	}
	s.pos = at
	if !strings.HasPrefix(s.s[at:], "0x") {
		return s.fail("expected a control register")
	}
	n, ok := s.number()
	in.Imm = n
	return ok
}

func (s *scanner) crc(in *Inst) bool {
	switch {
	case s.try("le"):
		in.Flags |= LittleEndian
		return true
	case s.try("be"):
		return true
	}
	return s.fail("expected be or le")
}

func (s *scanner) subset(in *Inst) bool {
	for i, n := range subsetNames {
		if i > 0 && s.option(n) {
			in.Byte = uint8(i)
			break
		}
	}
	return true
}

func (s *scanner) lmLoad(in *Inst) bool {
	if !s.lit0(", lm_addr") {
		return true
	}
	p, ok := s.number()
	if !ok || p > 3 || !s.lit("[") {
		return s.fail("expected lm_addr0 to lm_addr3")
	}
	n, ok := s.number()
	in.Flags |= LoadLM
	in.Byte, in.Imm = uint8(p), n
	return ok && s.lit("]")
}

// unit reads the target of a command; command finds it again in the text.
func (s *scanner) unit(in *Inst) bool {
	at := s.pos
	s.col[PropMode] = at
	return s.word() != ""
}

func (s *scanner) command(in *Inst) bool {
	at := s.pos
	unit := s.s[s.col[PropMode]:]
	unit = unit[:strings.IndexAny(unit, " \t[")]
	name := s.word()
	cs := commands().names[unit+"["+name]
	if len(cs) == 0 {
		s.pos = at
		return s.fail("unknown command %q of %s", name, unit)
	}
	in.Cmd.Code, in.Cmd.Token, s.cmd = cs[0].Code, cs[0].Token, name
	if in.Cmd.Mode == 6 {
		in.Cmd.Token = 0 // its bits are data
	}
	return true
}

func (s *scanner) xfer(in *Inst) bool {
	if !s.try("$xfer_") {
		return s.fail("expected a transfer register")
	}
	n, ok := s.number()
	in.Cmd.Xfer = uint8(n)
	return ok && (n < 64 || s.fail("transfer register %d, there are 64", n))
}

func (s *scanner) length(in *Inst) bool {
	n, ok := s.number()
	in.Cmd.Len = uint8(n - 1)
	return ok && (n >= 1 && n <= 8 || s.fail("length %d, 1 to 8", n))
}

// sync reads ctx_swap[sigN], defer[n], or sig_done[sigN], or nothing.
func (s *scanner) sync(in *Inst) bool {
	c := &in.Cmd
	c.Ctx = 3
	switch {
	case s.lit0(", sig_done["):
		return s.signal(c) && s.lit("]")
	case s.lit0(", ctx_swap["):
		c.Ctx = 0
		if !s.try("--") && !s.signal(c) || !s.lit("]") {
			return false
		}
		if s.lit0(", defer[") {
			n, ok := s.number()
			c.Ctx = uint8(n)
			return ok && (n >= 1 && n <= 2 || s.fail("defer[%d], at most 2", n)) && s.lit("]")
		}
	}
	return true
}

func (s *scanner) signal(c *Command) bool {
	if !s.try("sig") {
		return s.fail("expected a signal")
	}
	n, ok := s.number()
	c.Sig = uint8(n)
	return ok && (n >= 1 && n <= 15 || s.fail("signals are 1 to 15"))
}
