package main

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// maxWords is the length past which a sentence must be split.
const maxWords = 35

// A sentence has a position, its text and its number of words.
type sentence struct {
	line
	words int
}

var (
	counted = regexp.MustCompile(`\S*[\pL\pN]\S*`)
	code    = regexp.MustCompile("`[^`]*`")
	formula = regexp.MustCompile(` ([-+*/%=<>&|^≤≥≠×·−→]|[=!<>]=|<<|>>|&&|\|\|) `)
	// A sentence ends at a full stop, question mark or exclamation mark before a space,
	// whatever comes next: identifiers that begin sentences are often lower-case. At a
	// colon or semicolon it ends only before a capital letter, code, a list mark, a
	// link or an opening bracket or quote; otherwise it goes on.
	ending       = regexp.MustCompile("[.!?][])\"'*_]* +|[:;] +([A-Z`*\\[(\"-])")
	abbreviation = regexp.MustCompile(`(^|[ (])(e\.g|i\.e|cf|vs|al|p|pp|no)\.$`)
)

// maskCode replaces the content of code spans by letters, at the same offsets.
func maskCode(text string) string {
	return code.ReplaceAllStringFunc(text, func(s string) string {
		return "`" + strings.Repeat("x", len(s)-2) + "`"
	})
}

// sentences divides a block. A code span is one word, and a binary operator between
// spaces joins the words at its sides to one, so that a formula is one.
func sentences(b block) []sentence {
	var joined strings.Builder
	starts := make([]int, len(b))
	for i, l := range b {
		starts[i] = joined.Len()
		joined.WriteString(l.text)
		joined.WriteByte(' ')
	}
	text := joined.String()
	masked := maskCode(text)
	masked = formula.ReplaceAllStringFunc(masked, func(s string) string { return "_" + s[1:len(s)-1] + "_" })

	var out []sentence
	from, i := 0, 0
	add := func(to int) {
		for i+1 < len(b) && starts[i+1] <= from {
			i++
		}
		if n := len(counted.FindAllString(masked[from:to], -1)); n > 0 {
			out = append(out, sentence{line{b[i].file, b[i].n, strings.TrimSpace(text[from:to])}, n})
		}
		from = to
	}
	for _, m := range ending.FindAllStringSubmatchIndex(masked, -1) {
		to := m[1]
		if m[2] >= 0 {
			to = m[2]
		}
		if !abbreviation.MatchString(strings.TrimSpace(masked[from:to])) {
			add(to)
		}
	}
	add(len(text))
	return out
}

// reportLong prints the sentences of over maxWords words, and reports whether there is none.
func reportLong(w io.Writer, blocks []block) bool {
	good := true
	for _, b := range blocks {
		for _, s := range sentences(b) {
			if s.words <= maxWords {
				continue
			}
			good = false
			first := strings.Fields(s.text)
			fmt.Fprintf(w, "%s:%d: a sentence of %d words, limit %d, split it: %s ...\n",
				s.file, s.n, s.words, maxWords, strings.Join(first[:min(8, len(first))], " "))
		}
	}
	return good
}
