// Package golden runs tests whose cases are text files. A txtar archive holds a test's
// input files and its expected outputs. With -update a test rewrites the outputs, and
// the diff is reviewed like code.
//
// Run runs a function on each archive of a pattern. File and Section compare a
// document, or a marked part of one, with text printed from tables of the code, so
// that it stays current.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite expected outputs")

// Updating reports whether the run rewrites expected outputs.
func Updating() bool { return *update }

// Run runs fn once for each archive that matches the pattern. fn gets the archive's
// files by name and returns the outputs by name. Each output is compared with the file
// of that name. A file that is neither read nor returned is kept.
func Run(t *testing.T, pattern string, fn func(t *testing.T, files map[string]string) map[string]string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives match %s (%v)", pattern, err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			runOne(t, path, fn)
		})
	}
}

func runOne(t *testing.T, path string, fn func(*testing.T, map[string]string) map[string]string) {
	ar, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range ar.Files {
		files[f.Name] = string(f.Data)
	}
	got := fn(t, files)
	for i, f := range ar.Files {
		out, ok := got[f.Name]
		if !ok {
			continue
		}
		out = withNewline(out)
		delete(got, f.Name)
		if *update {
			ar.Files[i].Data = []byte(out)
		} else if diff := cmp.Diff(string(f.Data), out); diff != "" {
			t.Errorf("%s: %s differs (-want +got):\n%s", path, f.Name, diff)
		}
	}
	if *update {
		if err := os.WriteFile(path, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name := range got {
		t.Errorf("%s: output %s has no file to compare with; add an empty one", path, name)
	}
}

// File compares got with the file at path, or rewrites the file with -update. It keeps
// documents current that are printed from tables.
func File(t *testing.T, path, got string) {
	t.Helper()
	got = withNewline(got)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make golden writes it", err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not current (-file +table); make golden rewrites it:\n%s", path, diff)
	}
}

// Section is like File, for the lines between <!-- begin name --> and <!-- end name
// --> of a page that is otherwise written by hand.
func Section(t *testing.T, path, name, got string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, end := "<!-- begin "+name+" -->\n", "<!-- end "+name+" -->"
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("%s has no lines %s and %s", path, strings.TrimSpace(begin), end)
	}
	File(t, path, before+begin+withNewline(got)+end+after)
}

func withNewline(s string) string {
	if s != "" && !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return s
}
