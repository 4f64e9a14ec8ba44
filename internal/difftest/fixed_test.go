package difftest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Programs that once made engines differ.
func TestFixed(t *testing.T) {
	files, err := filepath.Glob("testdata/fixed/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no programs in testdata/fixed", err)
	}
	w, err := newWorker(&Config{Kernel: Permitted() == nil}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, want, err := Unarchive(name, data)
		if err != nil {
			t.Error(err)
			continue
		}
		c, err := resolve(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := runInterp(p, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(resultText(got))); diff != "" {
			t.Errorf("%s: interp (-want +got):\n%s", name, diff)
		}
		for _, d := range w.compare(p) {
			t.Errorf("%s: %s", name, d)
		}
	}
	if len(w.sum.Refused) > 0 {
		t.Errorf("refused: %v", w.sum.Refused)
	}
}

// A program survives being written and read.
func TestArchiveRoundTrip(t *testing.T) {
	for seed := range uint64(40) {
		p := Generate(seed, AllFeatures)
		c, err := resolve(p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := runInterp(p, c)
		if err != nil {
			t.Fatal(err)
		}
		data, err := Archive("", p, want)
		if err != nil {
			t.Fatal(err)
		}
		q, text, err := Unarchive("x", data)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if c, err = resolve(q); err != nil {
			t.Fatal(err)
		}
		got, err := runInterp(q, c)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if text != resultText(got) {
			t.Errorf("seed %d: other results than before", seed)
		}
	}
}

// Shrink keeps what makes a program fail and drops the rest.
func TestShrink(t *testing.T) {
	p := Generate(7, AllFeatures)
	before := len(p.Spec.Instructions)
	calls := func(q *Program) bool {
		for _, ins := range q.Spec.Instructions {
			if ins.IsFunctionCall() || ins.IsBuiltinCall() {
				if _, err := resolve(q); err == nil {
					return true
				}
			}
		}
		return false
	}
	if !calls(p) {
		t.Fatal("seed 7 calls nothing")
	}
	q := Shrink(p, calls)
	if n := len(q.Spec.Instructions); n > 3 || !calls(q) || len(q.Packets) != 1 {
		t.Errorf("%d of %d instructions left, %d packets", n, before, len(q.Packets))
	}
}
