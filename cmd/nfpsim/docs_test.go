package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// The commands that README.md and examples/README.md show on example files work
// as they stand. Refusals that the text announces exit with 1.
func TestReadmeCommands(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(filepath.Join(root, "examples"), filepath.Join(dir, "examples")); err != nil {
		t.Skipf("no symbolic links here: %v", err)
	}
	t.Chdir(dir)
	shown := regexp.MustCompile("`nfpsim (check|compile|run|explain|isa)( [^`]*)?`|go run ./cmd/nfpsim (run) ([^`\n]*)")
	n := 0
	for _, doc := range []string{"README.md", "examples/README.md"} {
		text, err := os.ReadFile(filepath.Join(root, doc))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range shown.FindAllStringSubmatch(string(text), -1) {
			args := strings.Fields(strings.Join(m[1:], " "))
			want := exitDone
			if args[0] == "check" && strings.Contains(args[1], "ratelimit") {
				want = exitNo // the stock firmware has no clock
			}
			var out, errs bytes.Buffer
			if got := run(args, strings.NewReader(""), &out, &errs); got != want || out.Len() == 0 {
				t.Errorf("%s: nfpsim %s: exit %d, want %d\n%s", doc, strings.Join(args, " "), got, want, errs.String())
			}
			n++
		}
	}
	if n < 6 {
		t.Errorf("only %d commands found", n)
	}
}
