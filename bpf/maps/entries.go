package maps

import (
	"iter"
	"strconv"
	"strings"
)

// rawEntry is an entry as the text has it; parts that are not there are nil.
type rawEntry struct {
	at                 int
	key, value, values *node
	formatted          *rawEntry
}

// rawEntries reads the entries of a text: a list of objects, objects one after
// the other, or bpftool's lines of bytes. An error is the last.
func rawEntries(s string) iter.Seq2[*rawEntry, *readError] {
	return func(yield func(*rawEntry, *readError) bool) {
		sc := scanner{s: s}
		var err *readError
		switch c := sc.peek(); {
		case c == '[':
			sc.i++
			err = jsonEntries(&sc, true, yield)
		case c == '{':
			err = jsonEntries(&sc, false, yield)
		case strings.HasPrefix(s[sc.i:], "key:"), strings.HasPrefix(s[sc.i:], "value"), strings.HasPrefix(s[sc.i:], "Found "):
			err = plainEntries(s, yield)
		default:
			err = sc.wants("a list of entries, [...],")
		}
		if err != nil && err != errStopped {
			yield(nil, err)
		}
	}
}

// errStopped is returned when the consumer needs no more entries.
var errStopped = &readError{}

// jsonEntries reads objects, in a list with commas between and a bracket at the
// end, or else up to the end of the text.
func jsonEntries(s *scanner, inList bool, yield func(*rawEntry, *readError) bool) *readError {
	for first := true; ; first = false {
		c := s.peek()
		switch {
		case inList && c == ']' && first, inList && c == ']' && s.s[s.i-1] != ',':
			s.i++
			if s.peek() != 0 {
				return s.wants("the end")
			}
			return nil
		case !inList && c == 0:
			return nil
		}
		n, err := s.value(0)
		if err != nil {
			return err
		}
		e, err := toEntry(&n, true)
		if err != nil {
			return err
		}
		if !yield(e, nil) {
			return errStopped
		}
		if inList && s.peek() == ',' {
			s.i++
		} else if inList && s.peek() != ']' {
			return s.wants(`a comma or ']'`)
		}
	}
}

// toEntry returns an object as an entry; formatted is allowed in the outer one.
func toEntry(n *node, outer bool) (*rawEntry, *readError) {
	there := "key, value, values"
	if outer {
		there += ", formatted"
	}
	if n.kind != object {
		return nil, errorAt(n.at, "%v is no entry, an object with members %s", n, there)
	}
	e := &rawEntry{at: n.at}
	for i := range n.items {
		item := &n.items[i]
		switch name := n.names[i].name; {
		case name == "key":
			e.key = item
		case name == "value":
			e.value = item
		case name == "values":
			e.values = item
		case name == "formatted" && outer:
			var err *readError
			if e.formatted, err = toEntry(item, false); err != nil {
				return nil, err.in(".formatted")
			}
		default:
			return nil, errorAt(n.names[i].at, "unknown field %.40q, there are %s", name, there)
		}
	}
	return e, nil
}

// plainEntries reads what bpftool prints of bytes:
//
//	key: 01 00 00 00  value: 02 00 00 00
//	key:
//	01 00 00 00
//	value (CPU 00): 02 00 00 00
//	value (CPU 01): 03 00 00 00
//	Found 2 elements
func plainEntries(s string, yield func(*rawEntry, *readError) bool) *readError {
	p := plain{scanner: scanner{s: s}}
	for found := 0; ; {
		switch word := p.word(); word.text {
		case "":
			return nil
		case "Found":
			count := p.word()
			if n, err := strconv.Atoi(count.text); err != nil || n != found {
				return errorAt(count.at, "%d elements are here, not %.40s: lines are missing", found, count.text)
			}
			if end := p.word(); end.text != "element" && end.text != "elements" || p.peek() != 0 {
				return errorAt(end.at, "text after the number of elements")
			}
			return nil
		case "key:", "value:", "value":
			p.i = word.at
			e, err := p.entry()
			if err != nil {
				return err
			}
			if !yield(e, nil) {
				return errStopped
			}
			if e.value == nil || e.value.kind == text {
				found++
			}
		default:
			return errorAt(word.at, "%.40q where key: should follow", word.text)
		}
	}
}

// plain reads words.
type plain struct{ scanner }

func (p *plain) word() node {
	p.space()
	start := p.i
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) < 0 {
		p.i++
	}
	return node{kind: text, at: start, text: p.s[start:p.i]}
}

// entry reads a key, if there is one, and its value or values.
func (p *plain) entry() (*rawEntry, *readError) {
	p.space()
	e := &rawEntry{at: p.i}
	for {
		start := p.i
		switch word := p.word(); {
		case word.text == "key:" && e.key == nil && e.value == nil && e.values == nil:
			e.key = p.data()
		case word.text == "value:" && e.value == nil && e.values == nil:
			e.value = p.data()
			if e.value.text == "<no entry>" {
				e.value = failure(e.value, noEntry)
			} else if strings.Trim(e.value.text, "0123456789abcdef ") != "" {
				e.value = failure(e.value, e.value.text)
			}
		case word.text == "value" && e.value == nil:
			id, cpu := p.word(), p.word()
			n, err := strconv.Atoi(strings.TrimSuffix(cpu.text, "):"))
			if id.text != "(CPU" || err != nil {
				return nil, errorAt(id.at, "\"%s %s\" where (CPU 00): should follow", id.text, cpu.text)
			}
			if e.values == nil {
				e.values = &node{kind: list, at: word.at}
			}
			e.values.items = append(e.values.items, node{
				kind: object, at: word.at, names: []member{{"cpu", cpu.at}, {"value", p.i}},
				items: []node{{kind: number, at: cpu.at, text: strconv.Itoa(n)}, *p.data()},
			})
		default:
			p.i = start
			return e, nil
		}
	}
}

// data takes the words before the next that begins a part.
func (p *plain) data() *node {
	p.space()
	n := &node{kind: text, at: p.i}
	var words []string
	for {
		start := p.i
		word := p.word()
		switch word.text {
		case "", "key:", "value:", "value", "Found":
			p.i = start
			n.text = strings.Join(words, " ")
			return n
		}
		words = append(words, word.text)
	}
}

// failure returns a value that could not be read, as bpftool has it in JSON.
func failure(n *node, said string) *node {
	return &node{kind: object, at: n.at, names: []member{{"error", n.at}}, items: []node{{kind: text, at: n.at, text: said}}}
}
