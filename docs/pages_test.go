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

// TestPerformance keeps the measurements of performance.md current.
func TestPerformance(t *testing.T) {
	var data struct {
		Machine  string
		Sections []struct {
			Title, Date, Load, About string
			Commands, Notes          []string
			Tables                   []struct {
				Columns []string
				Rows    [][]string
			}
		}
	}
	load(t, "performance.json", &data)
	var b strings.Builder
	fmt.Fprintf(&b, "Machine: %s. It was shared with other work, unless a section says otherwise.\n", data.Machine)
	for _, s := range data.Sections {
		fmt.Fprintf(&b, "\n## %s\n\n%s\nMeasured %s; %s.\n\n", s.Title, s.About, s.Date, s.Load)
		for _, c := range s.Commands {
			fmt.Fprintf(&b, "    %s\n", c)
		}
		for _, table := range s.Tables {
			fmt.Fprintf(&b, "\n| %s |\n|%s\n", strings.Join(table.Columns, " | "), strings.Repeat("---|", len(table.Columns)))
			for _, row := range table.Rows {
				if len(row) != len(table.Columns) {
					t.Errorf("%s: a row of %d cells, want %d: %q", s.Title, len(row), len(table.Columns), row)
				}
				fmt.Fprintf(&b, "| %s |\n", strings.Join(row, " | "))
			}
		}
	}
	golden.Section(t, "performance.md", "measurements", b.String())
}
