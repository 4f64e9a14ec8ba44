package mach

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
)

// ParseError describes why text is not a function. Line counts from 1.
type ParseError struct {
	Line int
	Msg  string
}

func (e *ParseError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Msg) }

// Parse reads a function as Text and String print it. An instruction without
// attributes comes from no eBPF instruction and branches nowhere. Errors are
// *ParseError.
func Parse(text string) (*Func, error) {
	var f *Func
	var block *Block
	for n, line := range strings.Split(text, "\n") {
		var err error
		switch line := strings.TrimSpace(line); {
		case line == "" || strings.HasPrefix(line, "//"):
		case strings.HasPrefix(line, "func "):
			if f != nil {
				err = errors.New("a second function")
				break
			}
			f, err = parseHeader(strings.Fields(line)[1:])
		case f == nil:
			err = errors.New("want a line that begins with func")
		case line[0] == 'b' && strings.Contains(line, ":") && !strings.Contains(line, "["):
			block, err = f.parseBlock(line)
		case block == nil:
			err = errors.New("want a block, such as b0:")
		case block.Next >= 0:
			err = errors.New("the block has ended")
		case strings.HasPrefix(line, "next "):
			block.Next, err = parseBlockName(line[len("next "):])
		default:
			var in Inst
			if in, err = parseInst(line); err == nil {
				block.Insts = append(block.Insts, in)
			}
		}
		if err != nil {
			return nil, &ParseError{n + 1, err.Error()}
		}
	}
	if f == nil || len(f.Blocks) == 0 {
		return nil, &ParseError{1, "no function with a block"}
	}
	return f, f.checkTargets()
}

// checkTargets reports a branch to a block that does not exist.
func (f *Func) checkTargets() error {
	var err error
	for i, b := range f.Blocks {
		b.Succs(func(t int32) {
			if int(t) >= len(f.Blocks) && err == nil {
				err = &ParseError{1, fmt.Sprintf("b%d goes to b%d, which does not exist", i, t)}
			}
		})
	}
	return err
}

func parseHeader(words []string) (*Func, error) {
	if len(words) == 0 {
		return nil, errors.New("func without a name")
	}
	f := &Func{Name: words[0]}
	numbers := map[string]*int{"frame": &f.Frame, "spill": &f.Spill, "vregs": &f.VRegs, "offset": &f.Offset, "jump": &f.Jump}
	for _, w := range words[1:] {
		name, value, _ := strings.Cut(w, "=")
		if n := numbers[name]; n != nil {
			v, err := strconv.ParseUint(value, 0, 20)
			if err != nil {
				return nil, fmt.Errorf("%s: want a number", w)
			}
			*n = int(v)
			continue
		}
		if name == "callees" {
			f.Callees = strings.Split(value, ",")
			continue
		}
		if name == "pinned" {
			for _, v := range strings.Split(value, ",") {
				n, err := strconv.ParseUint(strings.TrimPrefix(v, "v"), 10, 32)
				if err != nil {
					return nil, fmt.Errorf("%s: want virtual registers", w)
				}
				f.Pinned = append(f.Pinned, uint32(n))
			}
			continue
		}
		known, err := set(name, value, f.sets(), f.flags())
		if err != nil {
			return nil, err
		}
		if !known {
			return nil, fmt.Errorf("unknown property %q of a function", name)
		}
	}
	return f, nil
}

// set assigns a named register set or flag, and reports whether there is one.
func set(name, value string, sets []namedSet, flags []namedFlag) (bool, error) {
	for _, s := range sets {
		if s.name == name {
			regs, err := parseRegSet(value)
			*s.regs = regs
			return true, err
		}
	}
	for _, f := range flags {
		if f.name == name && value == "" {
			*f.on = true
			return true, nil
		}
	}
	return false, nil
}

func parseRegSet(text string) (RegSet, error) {
	var set RegSet
	if text == "none" {
		return 0, nil
	}
	for _, part := range strings.Split(text, "+") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseReg(first)
		to := from
		if err == nil && isRange {
			to, err = parseReg(last)
		}
		if err != nil || to < from || to/32 != from/32 {
			return 0, fmt.Errorf("%q is no list of registers, such as A0-A3+B12", text)
		}
		for n := from; n <= to; n++ {
			set |= 1 << n
		}
	}
	return set, nil
}

func parseReg(text string) (int, error) {
	if text == "" {
		return 0, errors.New("no register")
	}
	n, err := strconv.ParseUint(text[1:], 10, 5)
	switch {
	case err != nil:
		return 0, err
	case text[0] == 'A':
		return int(n), nil
	case text[0] == 'B':
		return 32 + int(n), nil
	}
	return 0, errors.New("no register")
}

func (f *Func) parseBlock(line string) (*Block, error) {
	name, rest, _ := strings.Cut(line, ":")
	n, err := parseBlockName(name)
	if err != nil {
		return nil, err
	}
	if int(n) != len(f.Blocks) {
		return nil, fmt.Errorf("block b%d, want b%d: blocks are numbered in order", n, len(f.Blocks))
	}
	b := &Block{Next: -1}
	if rest = strings.TrimSpace(rest); rest != "" {
		value, ok := strings.CutPrefix(rest, "depth=")
		depth, err := strconv.ParseUint(value, 10, 16)
		if !ok || err != nil {
			return nil, fmt.Errorf("unknown property %q of a block", rest)
		}
		b.Depth = int32(depth)
	}
	f.Blocks = append(f.Blocks, b)
	return b, nil
}

func parseBlockName(text string) (int32, error) {
	digits, ok := strings.CutPrefix(text, "b")
	n, err := strconv.ParseUint(digits, 10, 16)
	if !ok || err != nil {
		return 0, fmt.Errorf("%q is no block", text)
	}
	return int32(n), nil
}

func parseInst(line string) (Inst, error) {
	in := Inst{PC: -1, To: -1}
	switch line[0] {
	case '|':
		in.Glue = true
	case '#':
		in.Drop = true
	case '+':
		in.Glue, in.Drop = true, true
	}
	if in.Glue || in.Drop {
		line = line[1:]
	}
	code, attributes, _ := strings.Cut(line, ";")
	var err error
	if in.Inst, err = nfp.ParseVirtual(strings.TrimSpace(code)); err != nil {
		return in, err
	}
	for _, a := range strings.FieldsFunc(attributes, func(r rune) bool { return r == ',' || r == ';' }) {
		if err := in.parseAttribute(strings.Fields(a)); err != nil {
			return in, err
		}
	}
	return in, nil
}

// parseAttribute reads one attribute: a name, and perhaps a value.
func (in *Inst) parseAttribute(words []string) error {
	if len(words) == 0 {
		return nil
	}
	name, value := words[0], strings.Join(words[1:], " ")
	number := func(bits int) (n int64, err error) {
		if n, err = strconv.ParseInt(value, 0, bits); err != nil {
			err = fmt.Errorf("%s %s: want a number", name, value)
		}
		return n, err
	}
	var n int64
	var err error
	switch name {
	case "pc":
		n, err = number(32)
		in.PC = int32(n)
	case "to":
		in.To, err = parseBlockName(value)
	case "slots":
		n, err = number(8)
		in.Slots = uint8(n)
	case "likely":
		in.Likely = 1
	case "unlikely":
		in.Likely = -1
	case "done":
		in.Reloc, in.Call = nfp.RelocDone, &CallSite{Uses: BankA(0)}
	case "reloc":
		in.Reloc, err = parseReloc(value)
	case "helper":
		n, err = number(32)
		in.Helper = int32(n)
	case "sym":
		in.Sym = value
	case "in":
		n, err = number(64)
		in.In = uint32(n)
	case "out":
		n, err = number(64)
		in.Out = uint32(n)
	case "read", "write":
		in.Mem.Write = name == "write"
		if _, err = fmt.Sscanf(value, "%d:%d[%d:%d]", &in.Mem.Space, &in.Mem.Base, &in.Mem.From, &in.Mem.To); err != nil {
			err = fmt.Errorf("%s %s: want space:base[from:to]", name, value)
		}
	case "call":
		in.Call = &CallSite{Callee: value}
	default:
		return in.parseFlag(name, value)
	}
	return err
}

func (in *Inst) parseFlag(name, value string) error {
	var sets []namedSet
	flags := in.flags()
	if in.Call != nil {
		sets, flags = in.Call.sets(), append(flags, in.Call.flags()...)
	}
	known, err := set(name, value, sets, flags)
	if err == nil && !known {
		err = fmt.Errorf("unknown attribute %q", strings.TrimSpace(name+" "+value))
	}
	return err
}

func parseReloc(text string) (nfp.RelocKind, error) {
	for k := nfp.RelocNone; k < 64; k++ {
		if k.String() == text {
			return k, nil
		}
	}
	return 0, fmt.Errorf("%q is no kind of relocation", text)
}

// CheckText returns an error if Parse does not read the printed function back
// as an equal one.
func CheckText(f *Func) error {
	text := f.Text()
	g, err := Parse(text)
	if err != nil {
		return fmt.Errorf("text: %w", err)
	}
	if again := g.Text(); again != text {
		return fmt.Errorf("text: read back as\n%s\nwas\n%s", again, text)
	}
	return nil
}
