package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/silicon"
)

// TestDoc prints the calibration to docs/accuracy.md, and checks that the constants in use
// are those of the result.
func TestDoc(t *testing.T) {
	r, err := silicon.ReadCalibration()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newCard()
	if err != nil {
		t.Fatal(err)
	}
	list := constants()
	now := c.current(list)
	var b strings.Builder
	b.WriteString("\n| group left out | points | mean error | worst | worst if not left out | steps of the fit |\n|---|---|---|---|---|---|\n")
	for _, g := range r.Groups {
		fmt.Fprintf(&b, "| %s | %d | %.2f %% | %+.2f %% (%s) | %.2f %% | %d |\n", g.Group, g.Points, g.Mean, g.Worst, g.At, g.Within, g.Steps)
	}
	b.WriteString("\n| regime | points | measured rate, parts of the simulated |\n|---|---|---|\n")
	for _, x := range r.Regimes {
		fmt.Fprintf(&b, "| %s | %d | %.4f to %.4f |\n", x.Name, x.Points, x.Low, x.High)
	}
	b.WriteString("\n| constant | value | by other publications | |\n|---|---|---|---|\n")
	for i, k := range r.Constants {
		if math.Abs(now[i]-k.Value) > 1e-9 {
			t.Errorf("%s is %v, the result has %v: enter the result's", k.Name, now[i], k.Value)
		}
		note := ""
		if !k.Identified {
			note = "not identified by the points"
		}
		fmt.Fprintf(&b, "| %s | %s ± %.2g %s | %g ± %g (%s) | %s |\n", k.Name, list[i].format(k.Value), k.Deviation, k.Unit, k.Prior, k.Width, k.Why, note)
	}
	const file = "../../docs/accuracy.md"
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- printed: left out -->\n", "<!-- end -->"
	head, rest, ok1 := strings.Cut(string(doc), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s: no part left out", file)
	}
	golden.File(t, "../../docs/accuracy.svg", plot(r))
	golden.File(t, file, head+begin+b.String()+end+tail)
}
