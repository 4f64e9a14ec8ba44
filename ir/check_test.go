package ir

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// modules reads the archives of test modules: name of archive and file, text.
func modules(t *testing.T, pattern string, do func(t *testing.T, text string)) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) == 0 {
		t.Fatalf("no archives match %s (%v)", pattern, err)
	}
	for _, path := range paths {
		ar, err := txtar.ParseFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			t.Run(f.Name, func(t *testing.T) { do(t, string(f.Data)) })
		}
	}
}

// Every invariant is broken once, and the error names the line.
func TestCheck(t *testing.T) {
	modules(t, "testdata/check.txtar", func(t *testing.T, text string) { expectErrors(t, text, Check) })
	modules(t, "testdata/legal.txtar", func(t *testing.T, text string) { expectErrors(t, text, CheckLegal) })
}

func expectErrors(t *testing.T, text string, check func(*Module) error) {
	m, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := check(m); err != nil {
		got = strings.Split(err.Error(), "\n")
	}
	for i, line := range strings.Split(text, "\n") {
		_, comment, _ := strings.Cut(line, "; ERROR ")
		for want := range strings.SplitSeq(comment, " ; ERROR ") {
			if want == "" {
				continue
			}
			found := false
			for j, g := range got {
				if strings.Contains(g, want) {
					got = append(got[:j], got[j+1:]...)
					found = true
					break
				}
			}
			if !found {
				t.Errorf("line %d: no error %q", i+1, want)
			}
		}
	}
	for _, g := range got {
		t.Errorf("unexpected: %s", g)
	}
}

// What text cannot say wrong, a pass can.
func TestCheckGraph(t *testing.T) {
	const text = `func main() i64 frame=0 {
b0:
  v1:i64 = const 1
  v2:i64 = add v1, v1
  jump b1(v2)
b1(v3:i64):
  return v3
}`
	for _, c := range []struct {
		want  string
		spoil func(f *Func)
	}{
		{"v1: defined twice", func(f *Func) { f.Blocks[0].Values = append(f.Blocks[0].Values, f.Blocks[0].Values[0]) }},
		{"v9: value number not below NextID", func(f *Func) { f.Blocks[0].Values[0].ID = 9 }},
		{"nil value", func(f *Func) { f.Blocks[0].Values[0] = nil }},
		{"v? is used but not defined", func(f *Func) { f.Blocks[0].Values[1].Args[0] = nil }},
		{"v1 is used but not defined", func(f *Func) { f.Blocks[0].Values = f.Blocks[0].Values[1:] }},
		{"block number used twice", func(f *Func) { f.Blocks[1].ID = 0 }},
		{"edge to a block outside the function", func(f *Func) { f.Blocks = f.Blocks[:1] }},
		{"2 successors, want 1", func(f *Func) { b := f.Blocks[0]; b.Succs = append(b.Succs, b.Succs[0]) }},
		{"terminator with a wrong operand", func(f *Func) { f.Blocks[1].Result = nil }},
		{"parameter 0 is param 1", func(f *Func) { f.Blocks[1].Params[0].Int = 1 }},
		{"add has no integer", func(f *Func) { f.Blocks[0].Values[1].Int = 1 }},
		{"add has no symbol", func(f *Func) { f.Blocks[0].Values[1].Sym = "x" }},
		{"add is no memory access", func(f *Func) { f.Blocks[0].Values[1].Size = 4 }},
		{"operation invalid in a block", func(f *Func) { f.Blocks[0].Values[0].Op = OpInvalid }},
		{"high half of no result", func(f *Func) { f.Blocks[0].ResultHi = f.Blocks[0].Values[0] }},
	} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		c.spoil(m.Funcs[0])
		if err := Check(m); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("want %q, got %v", c.want, err)
		}
	}
	if err := Check(&Module{}); err == nil {
		t.Error("empty module passes")
	}
}
