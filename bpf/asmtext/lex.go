package asmtext

import (
	"strconv"
	"strings"
)

type kind uint8

const (
	tokEnd kind = iota
	tokName
	tokNumber
	tokString
	tokOp
)

// A token is one word of a line. Columns count bytes from 1; end is the column past
// the token's last byte.
type token struct {
	kind     kind
	text     string // a string's text is unquoted
	col, end int
}

func (t token) String() string {
	if t.kind == tokEnd {
		return "end of line"
	}
	return strconv.Quote(t.text)
}

// operators, longest first, so that the first match is the right one.
var operators = [...]string{
	"s>>=",
	"<<=", ">>=", "s/=", "s%=", "s>=", "s<=",
	"+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "==", "!=", ">=", "<=", "s>", "s<",
	"=", "+", "-", "*", "/", "%", "&", "|", "^", ">", "<", "(", ")", "[", "]", ",", ":", "#",
}

func nameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == '.' || c == '$'
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// lex splits a line into tokens. A comment begins with ; or //, or with a #
// that does not follow a name or number directly (as it does in "call name#1").
func lex(line string) ([]token, *Error) {
	toks := make([]token, 0, 16) // as many as the longest instructions have
	for i := 0; i < len(line); {
		c, rest := line[i], line[i:]
		switch {
		case c == ' ' || c == '\t' || c == '\r':
			i++
			continue
		case c == ';' || strings.HasPrefix(rest, "//"):
			return toks, nil
		case c == '#' && (i == 0 || !nameStart(line[i-1]) && !digit(line[i-1])):
			return toks, nil
		}
		t := token{col: i + 1}
		n := 0
		switch op := matchOperator(rest); {
		case op != "":
			t.kind, t.text, n = tokOp, op, len(op)
		case nameStart(c):
			for n < len(rest) && (nameStart(rest[n]) || digit(rest[n])) {
				n++
			}
			t.kind, t.text = tokName, rest[:n]
		case digit(c):
			for n < len(rest) && (nameStart(rest[n]) || digit(rest[n])) {
				n++
			}
			t.kind, t.text = tokNumber, rest[:n]
		case c == '"':
			quoted, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return nil, &Error{Col: i + 1, Msg: "string without end"}
			}
			n = len(quoted)
			t.kind = tokString
			t.text, _ = strconv.Unquote(quoted)
		default:
			return nil, &Error{Col: i + 1, Msg: "unexpected character " + strconv.QuoteRune([]rune(rest)[0])}
		}
		i += n
		t.end = i + 1
		toks = append(toks, t)
	}
	return toks, nil
}

func matchOperator(s string) string {
	if s != "" && s[0] != 's' && (nameStart(s[0]) || digit(s[0])) {
		return "" // the operators that begin with a letter begin with s
	}
	for _, op := range operators {
		if strings.HasPrefix(s, op) {
			return op
		}
	}
	return ""
}

// isName reports whether s can be written as a name without quotes.
func isName(s string) bool {
	if s == "" || !nameStart(s[0]) || reserved(s) || matchOperator(s) != "" {
		return false
	}
	for i := 1; i < len(s); i++ {
		if !nameStart(s[i]) && !digit(s[i]) {
			return false
		}
	}
	return true
}

// reserved reports whether s has another meaning in the position of a name: a
// register, or the "pc" of "pc+5".
func reserved(s string) bool {
	_, _, isReg := register(s)
	return isReg || s == "pc" || s == "fd"
}

func quoteName(s string) string {
	if isName(s) {
		return s
	}
	return strconv.Quote(s)
}
