package jit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/ir"
)

// Each archive is named for the pass it runs on input.ir: on the chip as it is, which
// gives chip.ir, on one that NAME.json says the difference of, which gives NAME.ir,
// and with the frequencies of NAME.counts. A choice by cost is one that comes out
// differently.
func TestCosts(t *testing.T) {
	golden.Run(t, "testdata/costs/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
		i := slices.IndexFunc(passes, func(p pass) bool { return p.name == name })
		if i < 0 {
			t.Fatalf("no pass %s", name)
		}
		run := func(m *nfp.Model, ran Counts) string {
			t.Helper()
			mod, err := ir.Parse(files["input.ir"])
			if err != nil {
				t.Fatal(err)
			}
			if mod, err = passes[i].run(mod, costsOf(m, ran)); err != nil {
				t.Fatal(err)
			}
			if err := ir.Check(mod); err != nil {
				t.Error(err)
			}
			return mod.String()
		}
		got := map[string]string{"chip.ir": run(chip(), nil)}
		for file, text := range files {
			switch what, kind, _ := strings.Cut(file, "."); kind {
			case "json":
				got[what+".ir"] = run(changed(t, text), nil)
			case "counts":
				var ran Counts
				if err := json.Unmarshal([]byte(text), &ran); err != nil {
					t.Fatal(err)
				}
				got[what+".ir"] = run(chip(), ran)
			}
		}
		for file, text := range got {
			if file != "chip.ir" && text == got["chip.ir"] {
				t.Errorf("%s is what the chip as it is gives", file)
			}
		}
		return got
	})
}

// changed is the default card with other numbers, as a user would write them.
func changed(t *testing.T, text string) *nfp.Model {
	t.Helper()
	file := filepath.Join(t.TempDir(), "card.json")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := nfp.ModelByName(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// What the compiler keeps between a pointer's write and its use is what the cards want.
func TestPointerDelay(t *testing.T) {
	for _, m := range nfp.Models() {
		if m.PointerDelay > pointerDelay {
			t.Errorf("card %s wants %d words behind a pointer's write, the compiler keeps %d", m.Name, m.PointerDelay, pointerDelay)
		}
	}
}
