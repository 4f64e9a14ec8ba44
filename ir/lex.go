package ir

import (
	"fmt"
	"strconv"
	"strings"
)

// lexer cuts one line into words, marks and quoted strings. The comment at its
// end is read for "pc n".
type lexer struct {
	tokens []string
	pc     int32
}

// newLexer cuts a line; buffer's memory is used again.
func newLexer(line string, buffer []string) (lexer, error) {
	l := lexer{tokens: buffer[:0], pc: -1}
	for i := 0; i < len(line); {
		c := line[i]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == ';':
			l.comment(line[i+1:])
			return l, nil
		case c == '"':
			q, err := strconv.QuotedPrefix(line[i:])
			if err != nil {
				return l, fmt.Errorf("bad quoted string")
			}
			l.tokens = append(l.tokens, q)
			i += len(q)
		case symbolByte(c) || c == '-':
			j := i + 1
			for j < len(line) && symbolByte(line[j]) {
				j++
			}
			l.tokens = append(l.tokens, line[i:j])
			i = j
		default:
			l.tokens = append(l.tokens, line[i:i+1])
			i++
		}
	}
	return l, nil
}

func (l *lexer) comment(text string) {
	if n, ok := strings.CutPrefix(strings.TrimSpace(text), "pc "); ok {
		if pc, err := strconv.ParseInt(n, 10, 32); err == nil && pc >= 0 {
			l.pc = int32(pc)
		}
	}
}

func (l *lexer) done() bool { return len(l.tokens) == 0 }

func (l *lexer) peek() string {
	if l.done() {
		return ""
	}
	return l.tokens[0]
}

// next returns the next token; it is empty at the end of the line.
func (l *lexer) next() string {
	t := l.peek()
	if !l.done() {
		l.tokens = l.tokens[1:]
	}
	return t
}

func (l *lexer) is(mark string) bool { return l.peek() == mark }

func (l *lexer) take(mark string) bool {
	if l.is(mark) {
		l.next()
		return true
	}
	return false
}

func (l *lexer) expect(mark string) error {
	if !l.take(mark) {
		return fmt.Errorf("want %q, got %q", mark, l.peek())
	}
	return nil
}

func (l *lexer) integer() (int64, error) {
	word := l.next()
	n, err := strconv.ParseInt(word, 0, 64)
	if err != nil {
		return 0, fmt.Errorf("want a number, got %q", word)
	}
	return n, nil
}

func (l *lexer) symbol() (string, error) {
	word := l.next()
	if strings.HasPrefix(word, `"`) {
		return strconv.Unquote(word)
	}
	if word == "" || !symbolByte(word[0]) {
		return "", fmt.Errorf("want a name, got %q", word)
	}
	return word, nil
}
