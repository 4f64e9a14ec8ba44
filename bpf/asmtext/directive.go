package asmtext

import (
	"encoding/hex"
	"math"

	"github.com/cilium/ebpf"
)

// directive parses a directive, and reports whether the line was one.
func (p *parser) directive(l *line) bool {
	switch {
	case l.accept(".map"):
		p.mapDirective(l)
	case l.accept(".program"):
		p.programDirective(l)
	case l.accept(".func"):
		t := l.peek()
		if name := l.name("a function's name"); l.err == nil {
			p.define(name, t.col, true)
		}
	case l.accept(".license"):
		t := l.next()
		if t.kind != tokString {
			l.fail(t, "expected a quoted license, found %v", t)
		}
		p.license = t.text
	default:
		return false
	}
	return true
}

func (p *parser) programDirective(l *line) {
	t := l.next()
	typ, ok := ProgramType(t.text)
	if !ok {
		l.fail(t, "unknown program type %v", t)
	}
	at := l.peek()
	spec := &ebpf.ProgramSpec{Type: typ, SectionName: t.text, Name: l.name("a program's name")}
	for l.err == nil && l.peek().kind != tokEnd {
		switch t := l.next(); t.text {
		case "section":
			l.expect("=")
			spec.SectionName = l.name("a section's name")
		case "attach":
			l.expect("=")
			spec.AttachType = ebpf.AttachType(l.number(0, math.MaxUint32))
		case "flags":
			l.expect("=")
			spec.Flags = uint32(l.number(0, math.MaxUint32))
		default:
			l.fail(t, "expected section=, attach= or flags=, found %v", t)
		}
	}
	if spec.Name != "" {
		p.begin(spec, at.col)
	}
}

func (p *parser) mapDirective(l *line) {
	at := l.peek()
	m := &ebpf.MapSpec{Name: l.name("a map's name")}
	t := l.next()
	var ok bool
	if m.Type, ok = MapType(t.text); !ok {
		l.fail(t, "unknown map type %v", t)
	}
	for l.err == nil && l.peek().kind != tokEnd {
		p.mapField(l, m)
	}
	if l.err != nil {
		return
	}
	if p.file.Spec.Maps[m.Name] != nil {
		p.fail(at.col, "map %s exists already", m.Name)
		return
	}
	p.file.Spec.Maps[m.Name] = m
	p.file.Maps = append(p.file.Maps, m.Name)
}

func (p *parser) mapField(l *line, m *ebpf.MapSpec) {
	fields := map[string]*uint32{"key": &m.KeySize, "value": &m.ValueSize, "entries": &m.MaxEntries, "flags": &m.Flags}
	t := l.next()
	l.expect("=")
	at := l.peek()
	switch {
	case t.kind == tokName && fields[t.text] != nil:
		*fields[t.text] = uint32(l.number(0, math.MaxUint32))
	case t.text == "id":
		p.mapIDs[uint32(l.number(1, math.MaxUint32))] = m.Name
	case t.text == "inner":
		p.inner = append(p.inner, innerRef{outer: m.Name, inner: l.name("a map's name"), line: p.number, col: at.col})
	case t.text == "data":
		// Hexadecimal digits lex as a name or as a number.
		data, err := hex.DecodeString(l.next().text)
		if err != nil {
			l.fail(at, "expected the bytes in hexadecimal, two digits each")
			return
		}
		m.Contents = []ebpf.MapKV{{Key: uint32(0), Value: data}}
	default:
		l.fail(t, "expected key=, value=, entries=, flags=, inner=, data= or id=, found %v", t)
	}
}

// resolveInner sets the patterns of maps of maps, which may be declared later
// in the text.
func (p *parser) resolveInner() {
	for _, ref := range p.inner {
		outer, inner := p.file.Spec.Maps[ref.outer], p.file.Spec.Maps[ref.inner]
		switch {
		case outer == nil: // its own line has the error
		case inner == nil:
			p.failAt(ref.line, ref.col, "no map %s", ref.inner)
		case inner.Type == ebpf.ArrayOfMaps || inner.Type == ebpf.HashOfMaps:
			p.failAt(ref.line, ref.col, "the pattern of a map of maps cannot be one itself")
		default:
			outer.InnerMap = inner
		}
	}
}
