package jit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Each archive is named for the pass it runs.
func TestPasses(t *testing.T) {
	golden.Run(t, "testdata/passes/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		name := t.Name()[strings.LastIndexByte(t.Name(), '/')+1:]
		m, err := ir.Parse(files["input.ir"])
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(passes, func(p pass) bool { return p.name == name })
		if i < 0 {
			t.Fatalf("no pass %s", name)
		}
		check := ir.Check
		if passes[i].legal || ir.CheckLegal(m) == nil {
			check = ir.CheckLegal
		}
		if m, err = passes[i].run(m, costsOf(chip(), nil)); err != nil {
			t.Fatal(err)
		}
		if err := check(m); err != nil {
			t.Error(err)
		}
		return map[string]string{"output.ir": m.String()}
	})
}

func TestPassOrder(t *testing.T) {
	var names []string
	for _, p := range passes {
		names = append(names, p.name)
	}
	if err := mach.CheckPassOrder(names, passOrder); err != nil {
		t.Error(err)
	}
	if slices.Reverse(names); mach.CheckPassOrder(names, passOrder) == nil {
		t.Error("the reverse order breaks no constraint")
	}
}

// TestFormerNames checks that an old name stands for a pass and for no pass of
// today.
func TestFormerNames(t *testing.T) {
	for old, now := range formerNames {
		if !slices.Contains(Optional(), now) || slices.Contains(Optional(), old) {
			t.Errorf("%s stands for %s", old, now)
		}
	}
}

// Off leaves passes out, but not those the rest cannot do without; Dump sees the
// others in order.
func TestPassOptions(t *testing.T) {
	m, err := ir.Parse("func main() i32 frame=0 {\nb0:\n  v1:i32 = const 1\n  v2:i32 = const 2\n  return v1\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	var seen []string
	opt := &Options{Off: append(Optional(), "legalize"), Check: true,
		Dump: func(pass, text string) { seen = append(seen, pass) }}
	if _, err := runPasses(m, opt); err != nil {
		t.Fatal(err)
	}
	if want := []string{"lift", "legalize"}; !slices.Equal(seen, want) {
		t.Errorf("passes %v, want %v", seen, want)
	}
	m.Funcs[0].Frame = 3
	var bug *Bug
	if _, err := runPasses(m, opt); !errors.As(err, &bug) || bug.Pass != "lift" || !strings.Contains(bug.Code, "func main") {
		t.Errorf("got %v, want a bug in build", err)
	}
}
