package mach

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestText reads back functions as they were, before and after all passes.
func TestText(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if f.Text() != string(text) {
			t.Errorf("%s: printed as\n%s", path, f.Text())
		}
		if err := f.Run(&Options{Model: chip(t), Signals: []int{1, 2, 3}}); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		g, err := Parse(f.Text())
		if err != nil {
			t.Fatalf("%s, after the passes: %v", path, err)
		}
		for _, b := range f.Blocks {
			for i := range b.Insts {
				b.Insts[i].Orig = nil
			}
		}
		if f.Text() != g.Text() || !reflect.DeepEqual(f.Blocks, g.Blocks) {
			t.Errorf("%s, after the passes: got\n%s\nwant\n%s", path, g.Text(), f.Text())
		}
	}
}

func TestParseErrors(t *testing.T) {
	const head = "func f frame=0 spill=0\nb0:\n"
	for _, c := range []struct{ text, want string }{
		{"", "line 1: no function with a block"},
		{"b0:\n", "line 1: want a line that begins with func"},
		{"func f frame=0\n", "line 1: no function with a block"},
		{"func f colour=2\nb0:\n", `line 1: unknown property "colour" of a function`},
		{"func f frame=x\nb0:\n", "line 1: frame=x: want a number"},
		{"func f params=C1\nb0:\n", `line 1: "C1" is no list of registers`},
		{head + "func g\n", "line 3: a second function"},
		{head + "b2:\n", "line 3: block b2, want b1"},
		{head + "    next b0\n    nop\n", "line 4: the block has ended"},
		{head + "    next b7\n", "b0 goes to b7, which does not exist"},
		{head + "    frobnicate[v1]\n", `unknown instruction "frobnicate"`},
		{head + "    immed[v1, 0x1] ; tomorrow\n", `line 3: unknown attribute "tomorrow"`},
		{head + "    immed[v1, 0x1] ; pc soon\n", "line 3: pc soon: want a number"},
		{head + "    immed[v1, 0x1] ; reloc sideways\n", `line 3: "sideways" is no kind of relocation`},
	} {
		if _, err := Parse(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: got %v, want %q", c.text, err, c.want)
		}
	}
}
