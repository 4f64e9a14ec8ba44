package asmtext

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Parse parses a whole text. The file name appears in errors and in the source
// lines of the instructions (btf.Line). The error is of type Errors.
func Parse(file, src string) (*File, error) {
	p := newParser(file)
	lines := strings.Split(src, "\n")
	if listed, errs, ok := relist(lines); ok {
		for _, e := range errs {
			p.failAt(e.Line, e.Col, "%s", e.Msg)
		}
		for _, l := range listed {
			p.number = l.number
			p.line(l.text)
			if l.begins {
				p.base = l.pc - p.here()
			}
		}
	} else {
		for i, text := range lines {
			p.number = i + 1
			p.line(text)
		}
	}
	p.endProgram()
	p.resolveInner()
	if len(p.file.Programs) == 0 && len(p.errs) == 0 {
		p.failAt(1, 1, "no program")
	}
	if len(p.errs) > 0 {
		slices.SortStableFunc(p.errs, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, a.Col-b.Col) })
		return nil, p.errs
	}
	return p.file, nil
}

// ParseInsns parses the instructions of one program. The only directive allowed is
// .func. The first instruction has no symbol, unless a call refers to it as "main".
func ParseInsns(src string) (asm.Instructions, error) {
	f, err := Parse("", src)
	if err != nil {
		return nil, err
	}
	if len(f.Programs) != 1 || f.Programs[0] != implicitName || len(f.Maps) > 0 {
		return nil, Errors{{Line: 1, Col: 1, Msg: "expected instructions only"}}
	}
	insns := f.Spec.Programs[implicitName].Instructions
	if len(insns.ReferenceOffsets()[implicitName]) == 0 {
		insns[0] = insns[0].WithSymbol("")
	}
	return insns, nil
}

const implicitName = "main"

type parser struct {
	name    string
	number  int // of the current line
	file    *File
	errs    Errors
	license string
	inner   []innerRef
	mapIDs  map[uint32]string // names of maps by the kernel's id
	prog    *program          // nil outside a program
	base    int               // pc of a listing less that of the program
}

// A program is one program being read.
type program struct {
	spec   *ebpf.ProgramSpec
	line   int
	insns  asm.Instructions
	pcs    []int
	pc     int
	labels map[string]label
	funcs  []string // .func names that await an instruction
	fixups []fixup
	maps   []int // indexes of loads of maps by id
	lines  []sourceLine
}

type label struct {
	insn int // index of the instruction after it
	fn   bool
	line int
}

// A fixup is a jump or call to a name.
type fixup struct {
	insn int
	to   target
	line int
}

type innerRef struct {
	outer, inner string
	line, col    int
}

func newParser(file string) *parser {
	return &parser{name: file, mapIDs: map[uint32]string{}, file: &File{Spec: &ebpf.CollectionSpec{
		Maps: map[string]*ebpf.MapSpec{}, Programs: map[string]*ebpf.ProgramSpec{},
		Variables: map[string]*ebpf.VariableSpec{}, ByteOrder: binary.LittleEndian,
	}}}
}

func (p *parser) fail(col int, format string, args ...any) { p.failAt(p.number, col, format, args...) }

func (p *parser) failAt(line, col int, format string, args ...any) {
	p.errs = append(p.errs, &Error{File: p.name, Line: line, Col: col, Msg: fmt.Sprintf(format, args...)})
}

var labelLine = pattern(`^\s*([A-Za-z_.$][\w.$]*|"(?:[^"\\]|\\.)*")\s*:`)

func (p *parser) line(text string) {
	full, skipped := text, 0
	listed, ok := cutPrefix(text)
	if ok {
		if listed.pc-p.base != p.here() {
			p.fail(1, "line says pc %d, the instruction is at pc %d", listed.pc, p.here()+p.base)
			return
		}
		skipped = listed.start
	}
	for {
		m := labelLine().FindStringSubmatchIndex(text[skipped:])
		if m == nil {
			break
		}
		p.label(text[skipped+m[2]:skipped+m[3]], skipped+m[2]+1)
		skipped += m[1]
	}
	text = strings.Repeat(" ", skipped) + text[skipped:]
	toks, err := lex(text)
	if err != nil {
		p.fail(err.Col, "%s", err.Msg)
		return
	}
	if len(toks) == 0 {
		return
	}
	l := &line{toks: toks}
	if ok {
		l.listed = &listed
	}
	if !p.directive(l) {
		p.insn(l, full)
	}
	l.finish()
	if l.err != nil {
		p.fail(l.err.Col, "%s", l.err.Msg)
	}
}

// here returns the pc of the next instruction.
func (p *parser) here() int {
	if p.prog == nil {
		return 0
	}
	return p.prog.pc
}

// program returns the program being read. Text without .program has one.
func (p *parser) program() *program {
	if p.prog == nil {
		p.begin(&ebpf.ProgramSpec{Name: implicitName, Type: ebpf.XDP, SectionName: "xdp"}, 1)
	}
	return p.prog
}

func (p *parser) begin(spec *ebpf.ProgramSpec, col int) {
	p.endProgram()
	p.base = 0
	if p.file.Spec.Programs[spec.Name] != nil {
		p.fail(col, "program %s exists already", spec.Name)
	} else {
		p.file.Programs = append(p.file.Programs, spec.Name)
	}
	spec.License, spec.ByteOrder = p.license, binary.LittleEndian
	p.file.Spec.Programs[spec.Name] = spec
	p.prog = &program{spec: spec, line: p.number, labels: map[string]label{}}
	p.prog.labels[spec.Name] = label{fn: true, line: p.number}
}

func (p *parser) label(name string, col int) {
	if name[0] == '"' {
		name, _ = strconv.Unquote(name)
	}
	if reserved(name) || name == "" {
		p.fail(col, "%q cannot be a label", name)
		return
	}
	p.define(name, col, false)
}

func (p *parser) define(name string, col int, fn bool) {
	prog := p.program()
	if old, ok := prog.labels[name]; ok {
		p.fail(col, "label %s exists already, on line %d", name, old.line)
		return
	}
	prog.labels[name] = label{insn: len(prog.insns), fn: fn, line: p.number}
	if fn {
		prog.funcs = append(prog.funcs, name)
	}
}

func (p *parser) insn(l *line, text string) {
	prog := p.program()
	col := l.peek().col
	ins := l.insn()
	if l.err == nil && l.listed != nil {
		var wrong string
		if ins, wrong = l.listed.check(ins, ins.Reference() != "" || l.target.name != ""); wrong != "" {
			p.fail(col, "%s", wrong)
		}
	}
	if l.err != nil {
		// It is counted nevertheless, so that later pcs stay correct.
		ins = asm.Return()
	}
	if l.mapID {
		prog.maps = append(prog.maps, len(prog.insns))
	}
	if l.target.name != "" {
		prog.fixups = append(prog.fixups, fixup{insn: len(prog.insns), to: l.target, line: p.number})
	}
	prog.lines = append(prog.lines, sourceLine{pc: prog.pc, text: strings.TrimSpace(text), line: p.number, col: col})
	prog.insns = append(prog.insns, ins)
	prog.pcs = append(prog.pcs, prog.pc)
	prog.pc += int(ins.Width())
}

// endProgram resolves the names of the program being read.
func (p *parser) endProgram() {
	prog := p.prog
	if p.prog = nil; prog == nil {
		return
	}
	if len(prog.insns) == 0 {
		p.failAt(prog.line, 1, "program %s has no instructions", prog.spec.Name)
		return
	}
	for name, l := range prog.labels {
		if l.fn && l.insn >= len(prog.insns) {
			p.failAt(l.line, 1, "function %s has no instructions", name)
			return
		}
	}
	prog.insns[0] = prog.insns[0].WithSymbol(prog.spec.Name)
	for _, name := range prog.funcs {
		p.symbol(prog, name)
	}
	for _, f := range prog.fixups {
		p.fixup(prog, f)
	}
	for _, i := range prog.maps {
		p.mapByID(&prog.insns[i])
	}
	addSource(prog.insns, p.name, prog.lines)
	prog.spec.Instructions = prog.insns
}

// symbol marks the instruction at a label as the first of a function and returns the
// function's name. If the instruction already has a symbol, that is the name.
func (p *parser) symbol(prog *program, name string) string {
	ins := &prog.insns[prog.labels[name].insn]
	if ins.Symbol() == "" {
		*ins = ins.WithSymbol(name)
	}
	return ins.Symbol()
}

// mapByID turns a load of a map by id into a load by the map's name. A map that the
// text does not declare is named id:N, and later stages refuse it.
func (p *parser) mapByID(ins *asm.Instruction) {
	id := uint32(ins.Constant)
	name := p.mapIDs[id]
	if name == "" {
		name = fmt.Sprintf("id:%d", id)
	}
	ins.Constant &^= 1<<32 - 1
	*ins = ins.WithReference(name)
}

func (p *parser) fixup(prog *program, f fixup) {
	l, ok := prog.labels[f.to.name]
	ins := &prog.insns[f.insn]
	if !ok {
		p.failAt(f.line, f.to.col, "no label %s in program %s", f.to.name, prog.spec.Name)
		return
	}
	if ins.IsFunctionCall() || ins.IsLoadOfFunctionPointer() {
		if l.insn >= len(prog.insns) {
			p.failAt(f.line, f.to.col, "function %s has no instructions", f.to.name)
			return
		}
		setDistance(ins, -1)
		*ins = ins.WithReference(p.symbol(prog, f.to.name))
		return
	}
	to := prog.pc
	if l.insn < len(prog.insns) {
		to = prog.pcs[l.insn]
	}
	d := to - prog.pcs[f.insn] - 1
	if !isLongJump(ins.OpCode) && (d < math.MinInt16 || d > math.MaxInt16) {
		p.failAt(f.line, f.to.col, "label %s is %d slots away, beyond a jump's 16 bits: use gotol", f.to.name, d)
		return
	}
	setDistance(ins, int64(d))
}
