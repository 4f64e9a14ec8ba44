package mach

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestManual keeps the machine passes of docs/compiler.md current.
func TestManual(t *testing.T) {
	var b strings.Builder
	b.WriteString("| | pass | what it does | --off |\n|---|---|---|---|\n")
	for i, p := range passes {
		off := "yes"
		if p.needed {
			off = "needed"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", i+1, p.name, p.doc, off)
	}
	b.WriteString("\n| pass | runs before | because |\n|---|---|---|\n")
	for _, o := range passOrder {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", o.First, o.Then, o.Because)
	}
	golden.Section(t, "../../../docs/compiler.md", "machine passes", b.String())
}
