// Package docs tests that the pages printed from data are current, and that what pages
// say about the tree is so.
package docs

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
)

// load decodes a data file; a member that the page does not know is an error.
func load(t *testing.T, path string, to any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dec := json.NewDecoder(f)
	dec.DisallowUnknownFields()
	if err := dec.Decode(to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

const soakHead = `# Soak

Results of the comparisons with larger counts than ` + "`make test`" + ` uses. ` + "`make soak`" + ` repeats them; its counts and
the variables that change them are in the Makefile.

This page is printed from soak.json, which holds every run with its conditions, seeds and findings, newest last.
Add a run there, and let ` + "`go test ./docs -run TestSoak -update`" + ` rewrite the page.

| comparison | test | runs | last run | count | result |
|---|---|---|---|---|---|
`

// TestSoak keeps soak.md current.
func TestSoak(t *testing.T) {
	var comparisons []struct {
		Comparison, Test, Package string
		Runs                      []struct{ Date, What, Count, Seeds, Result string }
	}
	load(t, "soak.json", &comparisons)
	var b strings.Builder
	b.WriteString(soakHead)
	for _, c := range comparisons {
		if len(c.Runs) == 0 {
			t.Errorf("%s has no runs", c.Comparison)
			continue
		}
		for _, r := range c.Runs {
			if r.Date == "" || r.Count == "" || r.Result == "" {
				t.Errorf("%s: a run without date, count or result: %+v", c.Comparison, r)
			}
		}
		last := c.Runs[len(c.Runs)-1]
		fmt.Fprintf(&b, "| %s | `%s`, %s | %d | %s | %s | %s |\n", c.Comparison, c.Test, c.Package, len(c.Runs), last.Date,
			cell(last.Count), cell(last.Result))
	}
	golden.File(t, "soak.md", b.String())
}

// cell returns text as it stands in a table.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }
