package main

import (
	"math"
	"testing"

	"github.com/nfpkit/nfpkit/internal/silicon"
)

// TestInline checks that the fit's simulation, with the path in the place of firmware
// steps, costs what the path's words cost, executed one by one. The two are
// equal. With reads of external memory they differ by up to half a per cent, as steps
// read a line for each context.
func TestInline(t *testing.T) {
	c, err := newCard()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := silicon.Paths()
	if err != nil {
		t.Fatal(err)
	}
	var runs []run
	for _, i := range []int{0, 75, 150, 299, 300, 303} {
		runs = append(runs, run{&paths[i], 5, 600})
	}
	for _, text := range []string{"23.0.0.0:er1 7x(7.0.0.0:er1) 7.1.0.1:end0", "30.2.3.1:er2 12.0.1.0:cw4 20.3.0.0:cr8 9.0.0.2:end0"} {
		list, err := silicon.ParseSegments(text)
		if err != nil {
			t.Fatal(err)
		}
		p := &silicon.Path{ID: text, Bytes: 60, Segments: list}
		runs = append(runs, run{p, 5, 2000}, run{p, 50, 6000})
	}
	fw := c.firmwares["corenic-direct"]
	for _, r := range runs {
		in, _, err := r.inline(&c.model, fw)
		if err != nil {
			t.Fatal(err)
		}
		by, err := r.words(&c.model, fw)
		if err != nil {
			t.Fatal(err)
		}
		a, b := in.CyclesPerPacket, by.CyclesPerPacket
		p := point{run: r}
		if !p.reads() && a != b || math.Abs(a/b-1) > 0.005 {
			t.Errorf("path %s on %d workers: %v cycles inline, %v by its words", r.path.ID, r.workers, a, b)
		}
	}
}
