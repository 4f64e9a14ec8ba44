package maps

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// The text of a file of entries is JSON, or what bpftool prints without -j: JSON
// with hexadecimal numbers (0x64), which encoding/json does not read. Nodes keep
// their place, so that errors can name a line and a column.

// kind is the kind of a node.
type kind byte

const (
	object  kind = '{'
	list    kind = '['
	text    kind = '"'
	number  kind = '0'
	literal kind = 't' // true, false or null
)

// node is one JSON value.
type node struct {
	kind  kind
	at    int      // offset of its first byte
	text  string   // of a text what it stands for; of a number or literal its letters
	items []node   // elements of a list, values of an object's members
	names []member // of an object's members
}

type member struct {
	name string
	at   int
}

// find returns the value of an object's member, or nil.
func (n *node) find(name string) *node {
	for i, m := range n.names {
		if m.name == name {
			return &n.items[i]
		}
	}
	return nil
}

// unprinted stands in bpftool's output for values that it has no form for, such
// as floats; the rest of their struct is missing.
const unprinted = "(unsupported-kind"

// complete reports whether all of the node was printed.
func (n *node) complete() bool {
	return n == nil || n.text != unprinted && !slices.ContainsFunc(n.items, func(e node) bool { return !e.complete() })
}

// String returns the node as JSON for a message, cut to a short length.
func (n *node) String() string {
	var b strings.Builder
	n.print(&b)
	s := b.String()
	if len(s) > maxShown {
		return s[:maxShown] + "..."
	}
	return s
}

const maxShown = 60 // bytes of input in a message

func (n *node) print(b *strings.Builder) {
	if b.Len() > maxShown {
		return
	}
	switch n.kind {
	case object, list:
		b.WriteByte(byte(n.kind))
		for i := range n.items {
			if i > 0 {
				b.WriteByte(',')
			}
			if n.kind == object {
				fmt.Fprintf(b, "%.40q:", n.names[i].name)
			}
			n.items[i].print(b)
		}
		b.WriteByte(byte(n.kind) + 2) // the closing bracket
	case text:
		fmt.Fprintf(b, "%.60q", n.text)
	default:
		fmt.Fprintf(b, "%.60s", n.text)
	}
}

// readError says what is wrong with a part of the text. Path names the part
// within an entry, such as "value.mac[2]".
type readError struct {
	at        int
	path, msg string
}

func (e *readError) Error() string {
	if e.path == "" {
		return e.msg
	}
	return strings.TrimPrefix(e.path, ".") + ": " + e.msg
}

// errorAt returns the error of a part that begins at an offset.
func errorAt(at int, format string, args ...any) *readError {
	return &readError{at: at, msg: fmt.Sprintf(format, args...)}
}

// in puts a step before the error's path.
func (e *readError) in(format string, args ...any) *readError {
	if e != nil {
		e.path = fmt.Sprintf(format, args...) + e.path
	}
	return e
}

// A PlaceError is an error at a place of a text of entries. Line and Column are counted
// from 1, the column in bytes. A caller that knows the file writes its name before.
type PlaceError struct {
	Line, Column int
	Err          error
}

func (e *PlaceError) Error() string { return fmt.Sprintf("%d:%d: %v", e.Line, e.Column, e.Err) }
func (e *PlaceError) Unwrap() error { return e.Err }

// position returns the line and column of an offset, counted from 1, in bytes.
func position(s string, at int) (line, col int) {
	before := s[:min(at, len(s))]
	return strings.Count(before, "\n") + 1, len(before) - strings.LastIndexByte(before, '\n')
}

// scanner reads nodes from a text.
type scanner struct {
	s string
	i int
}

const maxNesting = 100 // of lists and objects

func (s *scanner) space() {
	for s.i < len(s.s) && strings.IndexByte(" \t\r\n", s.s[s.i]) >= 0 {
		s.i++
	}
}

// peek returns the next byte after white space, 0 at the end.
func (s *scanner) peek() byte {
	s.space()
	if s.i == len(s.s) {
		return 0
	}
	return s.s[s.i]
}

// wants returns an error that names the expected text.
func (s *scanner) wants(what string) *readError {
	if s.peek() == 0 {
		return errorAt(s.i, "the text ends where %s should follow", what)
	}
	r, _ := utf8.DecodeRuneInString(s.s[s.i:])
	return errorAt(s.i, "%q where %s should follow", r, what)
}

func (s *scanner) value(depth int) (node, *readError) {
	c := s.peek()
	n := node{kind: kind(c), at: s.i}
	switch {
	case depth > maxNesting:
		return n, errorAt(s.i, "nested deeper than %d", maxNesting)
	case c == '{' || c == '[':
		return n, s.items(&n, depth)
	case c == '"':
		var err *readError
		n.text, err = s.string()
		return n, err
	case c == '-' || c >= '0' && c <= '9':
		n.kind, n.text = number, s.word()
		if !isNumber(n.text) {
			return n, errorAt(n.at, "%.40q is no number", n.text)
		}
		return n, nil
	case strings.HasPrefix(s.s[s.i:], "(nil)"): // a pointer, as bpftool prints it
		s.i += len("(nil)")
		n.kind, n.text = number, "0x0"
		return n, nil
	case strings.HasPrefix(s.s[s.i:], unprinted):
		s.i += len(unprinted)
		n.kind, n.text = literal, unprinted
		return n, nil
	case c >= 'a' && c <= 'z':
		n.kind, n.text = literal, s.word()
		if n.text != "true" && n.text != "false" && n.text != "null" {
			return n, errorAt(n.at, "%.40q is none of true, false, null, a number, or text in quotes", n.text)
		}
		return n, nil
	}
	return n, s.wants("a value")
}

// word takes letters, digits and the signs of numbers.
func (s *scanner) word() string {
	start := s.i
	for s.i < len(s.s) {
		c := s.s[s.i]
		if c >= '0' && c <= '9' || c|' ' >= 'a' && c|' ' <= 'z' || c == '+' || c == '-' || c == '.' || c == '_' {
			s.i++
			continue
		}
		break
	}
	return s.s[start:s.i]
}

// isNumber reports whether a word is one of JSON's numbers, or 0x and digits.
func isNumber(w string) bool {
	if hex, ok := strings.CutPrefix(w, "0x"); ok {
		return hex != "" && strings.Trim(hex, "0123456789abcdefABCDEF") == ""
	}
	return json.Valid([]byte(w))
}

// items reads what a bracket opens.
func (s *scanner) items(n *node, depth int) *readError {
	s.i++
	end := byte(n.kind) + 2 // of '{' and '[': in ASCII, the closing one is two later
	if s.peek() == end {
		s.i++
		return nil
	}
	for {
		if n.kind == object {
			if err := s.name(n); err != nil {
				return err
			}
		}
		item, err := s.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			return nil
		default:
			return s.wants(fmt.Sprintf("a comma or %q", end))
		}
	}
}

// name reads the name of a member and its colon. A name is there once, but for
// the empty one, which bpftool prints for each member without a name.
func (s *scanner) name(n *node) *readError {
	if s.peek() != '"' {
		return s.wants("the name of a member in quotes")
	}
	m := member{at: s.i}
	var err *readError
	if m.name, err = s.string(); err != nil {
		return err
	}
	if m.name != "" && n.find(m.name) != nil {
		first := n.names[slices.IndexFunc(n.names, func(o member) bool { return o.name == m.name })]
		line, col := position(s.s, first.at)
		return errorAt(m.at, "member %.40q is given twice, first at %d:%d", m.name, line, col)
	}
	if s.peek() != ':' {
		return s.wants("a colon")
	}
	s.i++
	n.names = append(n.names, m)
	if len(n.names) > maxMembers {
		return errorAt(m.at, "an object of more than %d members", maxMembers)
	}
	return nil
}

// maxMembers bounds the members of an object and of a type, so that neither a
// file nor an object's BTF costs more time than it has bytes.
const maxMembers = 4096

func (s *scanner) string() (string, *readError) {
	start := s.i
	for i := start + 1; i < len(s.s); i++ {
		switch s.s[i] {
		case '\\':
			i++
		case '\n':
			return "", errorAt(start, "text without a closing quote")
		case '"':
			s.i = i + 1
			raw := s.s[start:s.i]
			if strings.IndexByte(raw, '\\') < 0 && utf8.ValidString(raw) && !strings.ContainsFunc(raw, func(r rune) bool { return r < ' ' }) {
				return raw[1 : len(raw)-1], nil
			}
			var out string
			if err := json.Unmarshal([]byte(raw), &out); err != nil || !utf8.ValidString(raw) {
				return "", errorAt(start, "%.40q is no text of JSON", raw)
			}
			return out, nil
		}
	}
	return "", errorAt(start, "text without a closing quote")
}
