package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// docs/reasons.md is the table that nfpsim explain prints.
func TestReasonsDoc(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Reasons\n\nEvery refusal and warning carries one of these words; `nfpsim explain WORD` prints its row. Words are stable.\n")
	family := map[string][]explanation{}
	var order []string
	for _, e := range explanations() {
		if family[e.Family] == nil {
			order = append(order, e.Family)
		}
		family[e.Family] = append(family[e.Family], e)
	}
	for _, f := range order {
		fmt.Fprintf(&b, "\n## %s\n\n| reason | means | cure |\n|---|---|---|\n", f)
		for _, e := range family[f] {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Reason, cell(e.Explanation), cell(e.Hint))
		}
	}
	golden.File(t, "../../docs/reasons.md", b.String())
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// Each word means one thing.
func TestReasonsUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range explanations() {
		if seen[e.Reason] || e.Explanation == "" {
			t.Errorf("%s: twice, or without explanation", e.Reason)
		}
		seen[e.Reason] = true
	}
}
