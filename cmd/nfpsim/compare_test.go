package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/difftest"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/uml"
)

const (
	performanceDoc = "../../docs/performance.md"
	compareDoc     = "../../docs/compare.md"
	tableStart     = "<!-- printed by TestCompareTable -->\n"
	tableEnd       = "<!-- end -->\n"
)

// Both compilers' code of examples/ and of the corpus does the same, and its cost
// is in docs/compare.md, which -update rewrites. Programs and the driver's
// words must be those of the page; our code may have become better, not worse. The
// page is about the newest guest kernel. Under older ones the results must be the same.
func TestCompareTable(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the kernel's samples: not in short mode")
	}
	for _, release := range uml.Versions() {
		t.Run(release, func(t *testing.T) {
			// What is missing is found out here, so that the command's errors are errors.
			if _, _, err := difftest.BuildCorpus(t.Context()); errors.Is(err, difftest.ErrNoCorpus) {
				t.Skip(err)
			}
			var got comparison
			compareOn(t, release, &got, "--list", "../../examples/compare.list", "--corpus")
			t.Logf("suite: both compilers on %d programs: the same results", len(got.Programs))
			checkPage(t, release, &got)
		})
	}
}

// compareOn runs nfpsim compare with the driver of a release, and reads its JSON.
func compareOn(t *testing.T, release string, into any, args ...string) {
	t.Helper()
	if _, err := uml.Build(t.Context(), release, func(line string) { t.Log("suite:", line) }); errors.Is(err, uml.ErrUnavailable) {
		t.Skip(err)
	}
	var out, errs bytes.Buffer
	code := run(append([]string{"compare", "--kernel=" + release, "--json"}, args...), strings.NewReader(""), &out, &errs)
	if code != exitDone {
		t.Fatalf("exit %d: %s%s", code, &errs, &out)
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		t.Fatal(err)
	}
}

// checkPage compares a table with the one of docs/compare.md. Of a release that is not
// the page's, all examples on the page must be there.
func checkPage(t *testing.T, release string, got *comparison) {
	t.Helper()
	doc, err := os.ReadFile(compareDoc)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(doc), tableStart)
	old, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", compareDoc)
	}
	text := got.markdown()
	if release != uml.Newest {
		rows := rowsOf(text)
		for name := range rowsOf(old) {
			if mean := strings.HasPrefix(name, "geometric mean"); !mean && !strings.Contains(name, ":") && rows[name] == nil {
				t.Errorf("%s is not compared", name)
			}
		}
		return
	}
	if golden.Updating() {
		if err := os.WriteFile(compareDoc, []byte(before+tableStart+text+tableEnd+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	checkTable(t, rowsOf(old), rowsOf(text))
}

// Both compilers' code of a program that sends packets to the host sends the same
// packets. The array of perf events is in the guest's memory, and the driver's code has
// no table id of it.
func TestCompareEvents(t *testing.T) {
	if testing.Short() {
		t.Skip("boots a guest: not in short mode")
	}
	for _, release := range uml.Versions() {
		t.Run(release, func(t *testing.T) {
			var got compareResult
			compareOn(t, release, &got, "testdata/dumper.bpf", "--packet", strings.Repeat("5a", 64))
			for _, s := range got.Sides {
				if s.Verdict["XDP_PASS"] != 1 || len(got.Differ) > 0 {
					t.Errorf("%s: %+v, differences %v", s.Name, s, got.Differ)
				}
			}
		})
	}
}

// markdown is the table as documents have it.
func (c *comparison) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(comparedHead, " | "), strings.Repeat("---|", len(comparedHead)))
	for _, cells := range c.cells() {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	return b.String()
}

// rowsOf are the rows of a markdown table by their first cell.
func rowsOf(table string) map[string][]string {
	rows := map[string][]string{}
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if len(cells) == len(comparedHead) {
			rows[cells[0]] = cells
		}
	}
	return rows
}

// checkTable compares a new table with the one of the page. Objects of the corpus
// depend a little on clang and on the kernel's types, those of examples/ are committed.
func checkTable(t *testing.T, want, got map[string][]string) {
	t.Helper()
	const (
		linuxWords = 2
		ratio      = 10   // the first of four
		worse      = 1.01 // rounding, and what a model's number changes
	)
	corpus := func(name string) bool {
		return strings.Contains(name, ":") || strings.HasSuffix(name, ", corpus") || strings.HasSuffix(name, ", all")
	}
	same := true // the corpus
	differs := func(name, format string, args ...any) {
		if corpus(name) {
			same = false
			t.Logf(name+": "+format, args...)
			return
		}
		t.Errorf(name+": "+format+" (-update rewrites the page)", args...)
	}
	for name, w := range want {
		switch g := got[name]; {
		case g == nil:
			differs(name, "is no longer compared")
		case !strings.HasPrefix(name, "geometric mean") && g[linuxWords] != w[linuxWords]:
			differs(name, "%s words of the driver, the page says %s", g[linuxWords], w[linuxWords])
		}
	}
	for name, g := range got {
		w := want[name]
		if w == nil {
			differs(name, "is not on the page")
		}
		if w == nil || !strings.HasPrefix(name, "geometric mean") || corpus(name) && !same {
			continue
		}
		for i, what := range []string{"words", "own cycles", "issue cycles", "elapsed cycles"} {
			var now, then float64
			fmt.Sscan(g[ratio+i], &now)
			fmt.Sscan(w[ratio+i], &then)
			if now > then*worse {
				t.Errorf("%s: ratio of %s is %.2f, the page says %.2f (-update rewrites it)", name, what, now, then)
			}
		}
	}
}
