package ir

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Parse reads the text form of a module and returns what the text says; Check reports
// whether it is valid. Lines that are empty or hold only a comment are skipped. Errors
// carry the line number.
func Parse(text string) (*Module, error) {
	p := &parser{mod: &Module{}}
	for line := range strings.SplitSeq(text, "\n") {
		p.line++
		if err := p.parse(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
	if p.fn != nil {
		return nil, fmt.Errorf("line %d: func %s has no closing brace", p.line, p.fn.Name)
	}
	return p.mod, nil
}

type parser struct {
	mod    *Module
	line   int
	fn     *Func
	block  *Block
	values map[ID]*Value // mentioned so far
	blocks map[ID]*Block
	have   map[*Value]bool // defined so far
	laid   map[*Block]bool
	lex    lexer
	buffer []string // of lex
}

func (p *parser) parse(line string) error {
	l, err := newLexer(line, p.buffer)
	if err != nil {
		return err
	}
	p.lex, p.buffer = l, l.tokens
	if l.done() {
		return nil
	}
	word := p.lex.next()
	if p.fn == nil {
		switch word {
		case "module":
			p.mod.Name, err = p.lex.symbol()
		case "map":
			err = p.known()
		case "func":
			err = p.header()
		default:
			err = fmt.Errorf("%q outside a function", word)
		}
		return p.end(err)
	}
	switch {
	case word == "}":
		if err := p.end(nil); err != nil {
			return err
		}
		return p.finish()
	case p.lex.is(":") && isValueName(word) || strings.HasPrefix(word, "b") && numbered(word):
		if word[0] == 'b' {
			return p.end(p.label(word))
		}
		if p.block == nil || p.block.Kind != TermNone {
			return fmt.Errorf("value outside a block")
		}
		return p.assignment(word)
	case p.block == nil || p.block.Kind != TermNone:
		return fmt.Errorf("%q outside a block", word)
	}
	if done, err := p.terminator(word); done || err != nil {
		return p.end(err)
	}
	v := &Value{ID: -1}
	p.block.Values = append(p.block.Values, v)
	return p.operation(word, v)
}

// end requires the end of the line.
func (p *parser) end(err error) error {
	if err == nil && !p.lex.done() {
		return fmt.Errorf("unexpected %q", p.lex.next())
	}
	return err
}

func numbered(word string) bool {
	_, err := strconv.ParseInt(word[1:], 10, 32)
	return err == nil
}

// known reads "map name entries=n stride=n marks=bool".
func (p *parser) known() error {
	sym, err := p.lex.symbol()
	if err != nil {
		return err
	}
	m := Map{Name: sym}
	for _, field := range []struct {
		name string
		to   *uint32
	}{{"entries", &m.Entries}, {"stride", &m.Stride}} {
		n, err := p.attribute(field.name)
		if err != nil {
			return err
		}
		if n < 0 || n > math.MaxUint32 {
			return fmt.Errorf("%s of %d", field.name, n)
		}
		*field.to = uint32(n)
	}
	if err := p.lex.expect("marks"); err != nil {
		return err
	}
	if err := p.lex.expect("="); err != nil {
		return err
	}
	m.Marks, err = strconv.ParseBool(p.lex.next())
	p.mod.Maps = append(p.mod.Maps, m)
	return err
}

// header reads "func name(params) type frame=n {".
func (p *parser) header() error {
	sym, err := p.lex.symbol()
	if err != nil {
		return err
	}
	p.fn = &Func{Name: sym}
	p.block = nil
	p.values, p.blocks = map[ID]*Value{}, map[ID]*Block{}
	p.have, p.laid = map[*Value]bool{}, map[*Block]bool{}
	if p.fn.Params, err = p.params(); err != nil {
		return err
	}
	t, ok := typeNamed(p.lex.next())
	if !ok {
		return fmt.Errorf("a function's result type is missing")
	}
	p.fn.Result = t
	frame, err := p.attribute("frame")
	if err != nil {
		return err
	}
	p.fn.Frame = int(frame)
	p.mod.Funcs = append(p.mod.Funcs, p.fn)
	return p.lex.expect("{")
}

func (p *parser) attribute(want string) (int64, error) {
	if got := p.lex.next(); got != want {
		return 0, fmt.Errorf("want %s=, got %q", want, got)
	}
	if err := p.lex.expect("="); err != nil {
		return 0, err
	}
	return p.lex.integer()
}

// params reads "(v1:i64, v2:i32)"; none without a parenthesis.
func (p *parser) params() ([]*Value, error) {
	var out []*Value
	if !p.lex.take("(") {
		return nil, nil
	}
	for !p.lex.take(")") {
		if len(out) > 0 {
			if err := p.lex.expect(","); err != nil {
				return nil, err
			}
		}
		v, err := p.define(p.lex.next())
		if err != nil {
			return nil, err
		}
		v.Op, v.Int, v.PC = OpParam, int64(len(out)), -1
		out = append(out, v)
	}
	return out, nil
}

// define reads ":type" after a value's name and records its definition.
func (p *parser) define(word string) (*Value, error) {
	v, err := p.value(word)
	if err != nil {
		return nil, err
	}
	if p.have[v] {
		return nil, fmt.Errorf("%v is defined twice", v)
	}
	p.have[v] = true
	if err := p.lex.expect(":"); err != nil {
		return nil, err
	}
	t, ok := typeNamed(p.lex.next())
	if !ok || t == Void {
		return nil, fmt.Errorf("%v has no type", v)
	}
	v.Type = t
	return v, nil
}

// value returns the value called word, defined or not.
func (p *parser) value(word string) (*Value, error) {
	if !isValueName(word) {
		return nil, fmt.Errorf("want a value, got %q", word)
	}
	n, err := strconv.ParseInt(word[1:], 10, 32)
	if err != nil || n < 0 || n > maxID {
		return nil, fmt.Errorf("bad value number %q", word)
	}
	id := ID(n)
	if p.values[id] == nil {
		p.values[id] = &Value{ID: id, PC: -1}
	}
	p.fn.NextID = max(p.fn.NextID, id+1)
	return p.values[id], nil
}

// maxID bounds the numbers in text, so that tables by number stay small.
const maxID = 1 << 24

func (p *parser) blockNamed(word string) (*Block, error) {
	if !strings.HasPrefix(word, "b") || !numbered(word) {
		return nil, fmt.Errorf("want a block, got %q", word)
	}
	n, err := strconv.ParseInt(word[1:], 10, 32)
	if err != nil || n < 0 || n > maxID {
		return nil, fmt.Errorf("bad block number %q", word)
	}
	id := ID(n)
	if p.blocks[id] == nil {
		p.blocks[id] = &Block{ID: id, PC: -1}
	}
	p.fn.NextBlock = max(p.fn.NextBlock, id+1)
	return p.blocks[id], nil
}

func (p *parser) label(word string) error {
	b, err := p.blockNamed(word)
	if err != nil {
		return err
	}
	if p.laid[b] {
		return fmt.Errorf("%v is defined twice", b)
	}
	p.laid[b] = true
	p.block = b
	p.fn.Blocks = append(p.fn.Blocks, b)
	if b.Params, err = p.params(); err != nil {
		return err
	}
	return p.lex.expect(":")
}

// assignment reads ":type = operation" after a value's name.
func (p *parser) assignment(word string) error {
	v, err := p.define(word)
	if err != nil {
		return err
	}
	if err := p.lex.expect("="); err != nil {
		return err
	}
	p.block.Values = append(p.block.Values, v)
	return p.operation(p.lex.next(), v)
}

// operation reads "name.suffixes operands attributes ; pc n" into v.
func (p *parser) operation(word string, v *Value) error {
	base, suffix, _ := strings.Cut(word, ".")
	op, ok := opNamed(base)
	if !ok {
		return fmt.Errorf("unknown operation %q", base)
	}
	v.Op = op
	row := op.Row()
	if err := v.suffixes(row, suffix); err != nil {
		return fmt.Errorf("%s: %w", word, err)
	}
	if row.Sym {
		var err error
		if v.Sym, err = p.lex.symbol(); err != nil {
			return err
		}
		p.lex.take(",")
	}
	if row.Int == IntOperand {
		var err error
		if v.Int, err = p.lex.integer(); err != nil {
			return err
		}
		p.lex.take(",")
	}
	for isValueName(p.lex.peek()) {
		a, err := p.value(p.lex.next())
		if err != nil {
			return err
		}
		v.Args = append(v.Args, a)
		if !p.lex.take(",") {
			break
		}
	}
	v.PC = p.lex.pc
	return p.attributes(v)
}

// suffixes reads the suffixes of the operation's name.
func (v *Value) suffixes(row Row, s string) error {
	if row.Int == IntAtomic {
		a, rest, ok := atomicNamed(s)
		if !ok {
			return fmt.Errorf("unknown atomic operation")
		}
		v.Int, s = int64(a), rest
	}
	if row.Mem {
		space, rest, _ := strings.Cut(s, ".")
		var ok bool
		if v.Space, ok = spaceNamed(space); !ok {
			return fmt.Errorf("unknown space %q", space)
		}
		n, err := strconv.ParseUint(rest, 10, 8)
		if err != nil {
			return fmt.Errorf("bad size %q", rest)
		}
		if row.Int == IntWords {
			v.Int = int64(n)
		} else {
			v.Size = uint8(n)
		}
		return nil
	}
	if row.Int == IntSuffix {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return fmt.Errorf("bad number %q", s)
		}
		v.Int = n
		return nil
	}
	if s != "" {
		return fmt.Errorf("no suffix wanted")
	}
	return nil
}

func (p *parser) attributes(v *Value) error {
	for !p.lex.done() {
		word := p.lex.next()
		if word == "big" {
			v.Big = true
			continue
		}
		if !p.lex.take("=") {
			return fmt.Errorf("unexpected %q", word)
		}
		n, err := p.lex.integer()
		if err != nil {
			return err
		}
		switch word {
		case "align":
			v.Align = uint8(n)
		case "phase":
			v.Phase = uint8(n)
		case "kinds":
			v.Kinds = uint32(n)
		case "reach":
			v.Reach = uint64(n)
		default:
			return fmt.Errorf("unknown attribute %q", word)
		}
	}
	return nil
}

// terminator reads the end of a block, if word begins one.
func (p *parser) terminator(word string) (bool, error) {
	b := p.block
	var err error
	succs := 0
	switch word {
	case "jump":
		b.Kind, succs = TermJump, 1
	case "branch":
		b.Kind, succs = TermBranch, 2
		b.Cond, err = p.value(p.lex.next())
	case "return":
		b.Kind = TermReturn
		if b.Result, err = p.value(p.lex.next()); err == nil && p.lex.take(",") {
			b.ResultHi, err = p.value(p.lex.next())
		}
	case "abort":
		b.Kind = TermAbort
	default:
		return false, nil
	}
	b.PC = p.lex.pc
	for i := 0; i < succs && err == nil; i++ {
		var e Edge
		if e, err = p.edge(); err == nil {
			b.Succs = append(b.Succs, e)
		}
	}
	return true, err
}

func (p *parser) edge() (Edge, error) {
	to, err := p.blockNamed(p.lex.next())
	if err != nil {
		return Edge{}, err
	}
	e := Edge{To: to}
	if !p.lex.take("(") {
		return e, nil
	}
	for !p.lex.take(")") {
		if len(e.Args) > 0 {
			if err := p.lex.expect(","); err != nil {
				return e, err
			}
		}
		v, err := p.value(p.lex.next())
		if err != nil {
			return e, err
		}
		e.Args = append(e.Args, v)
	}
	return e, nil
}

// finish ends a function: all blocks and values that it names must exist, and
// void values, which have no name in text, get numbers.
func (p *parser) finish() error {
	for _, id := range slices.Sorted(maps.Keys(p.values)) {
		if v := p.values[id]; !p.have[v] {
			return fmt.Errorf("%v is used in func %s but not defined", v, p.fn.Name)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.blocks)) {
		if b := p.blocks[id]; !p.laid[b] {
			return fmt.Errorf("%v is used in func %s but not defined", b, p.fn.Name)
		}
	}
	for _, b := range p.fn.Blocks {
		for _, v := range b.Values {
			if v.ID < 0 {
				v.ID = p.fn.NextID
				p.fn.NextID++
			}
		}
	}
	p.fn, p.block = nil, nil
	return nil
}
