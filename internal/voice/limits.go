package main

import "regexp"

// An idiom is a habit of speech that a reader from outside the project stumbles over.
type idiom struct {
	name    string
	pattern *regexp.Regexp
	limit   float64 // occurrences per 10,000 words of prose
	instead string
}

// idioms returns the idioms that are counted. The limits are about twice the
// frequencies in Go's own compiler (cmd/compile/internal/ssa).
func idioms() []idiom {
	list := []struct {
		name, pattern string
		limit         float64
		instead       string
	}{
		{"behind", `behind`, 2, "after, past the end of"},
		{"in front of", `in front of`, 2, "before"},
		{"way(s)", `ways?`, 8, "path, predecessor, successor"},
		{"look(s) at", `look(s|ed|ing)? (at|into|upon)`, 3, "read, use, check, consider"},
		{"is what / are what", `(is|are|be) what`, 2, "the thing's name: X is the set of ..."},
		{"nobody, whoever", `(nobody|somebody|whoever|whatever|nothing of)`, 6, "the subject's name, or the passive"},
		{"anew", `anew`, 1, "again, recomputed"},
		{"be there any", `(be there any|as there are|that there are)`, 1, "if any"},
		{"tells, told", `(tells?|told)`, 5, "reports, describes, states"},
		{"wants, wanted", `want(s|ed)?`, 6, "requires, uses, expected"},
		{"makes, made", `(makes?|made)`, 22, "computes, defines, produces, generates, builds"},
		{"where (for if, when)", `where`, 25, "if, when"},
	}
	out := make([]idiom, len(list))
	for i, l := range list {
		out[i] = idiom{l.name, regexp.MustCompile(`(?i)\b` + l.pattern + `\b`), l.limit, l.instead}
	}
	return out
}
