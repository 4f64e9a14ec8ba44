package jit

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Each archive is named for the pass that it runs on input.ir. On the chip as it is the
// pass must give chip.ir. On a chip that differs as NAME.json says, or with the
// frequencies of NAME.counts, it must give NAME.ir. That must differ from chip.ir,
// which shows that the pass chooses by cost. For passes over machine code the words are
// compared, in chip.s and NAME.s.
func TestCosts(t *testing.T) {
	golden.Run(t, "testdata/costs/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
		i := slices.IndexFunc(passes, func(p pass) bool { return p.name == name })
		ext := ".ir"
		if i < 0 && !slices.Contains(mach.Optional(), name) {
			t.Fatalf("%s is no pass", name)
		}
		if i < 0 {
			ext = ".s"
		}
		run := func(m *nfp.Model, ran Counts) string {
			t.Helper()
			mod, err := ir.Parse(files["input.ir"])
			if err != nil {
				t.Fatal(err)
			}
			if i < 0 {
				return words(t, mod, m, ran)
			}
			if mod, err = passes[i].run(mod, costsOf(m, ran)); err != nil {
				t.Fatal(err)
			}
			if err := ir.Check(mod); err != nil {
				t.Error(err)
			}
			return mod.String()
		}
		got := map[string]string{"chip" + ext: run(chip(), nil)}
		for file, text := range files {
			switch what, kind, _ := strings.Cut(file, "."); kind {
			case "json":
				got[what+ext] = run(changed(t, text), nil)
			case "counts":
				var ran Counts
				if err := json.Unmarshal([]byte(text), &ran); err != nil {
					t.Fatal(err)
				}
				got[what+ext] = run(chip(), ran)
			}
		}
		for file, text := range got {
			if file != "chip"+ext && text == got["chip"+ext] {
				t.Errorf("%s is what the chip as it is gives", file)
			}
		}
		return got
	})
}

// words are those of a module for any program type.
func words(t *testing.T, mod *ir.Module, m *nfp.Model, ran Counts) string {
	t.Helper()
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	im, err := CompileIR(mod, ebpf.UnspecifiedProgram, p, &Options{Check: true, Model: m, Counts: ran})
	if err != nil {
		t.Fatal(err)
	}
	return nfp.Disassemble(im)
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

// TestPointerDelay checks the compiler's distance between a pointer's write and its
// use against the cards' models.
func TestPointerDelay(t *testing.T) {
	for _, m := range nfp.Models() {
		if m.PointerDelay > mach.PointerDelay {
			t.Errorf("card %s wants %d words behind a pointer's write, the compiler keeps %d", m.Name, m.PointerDelay, mach.PointerDelay)
		}
	}
}
