package silicon

import (
	"math"
	"slices"
	"testing"

	"github.com/nfpkit/nfpkit/nfp/sim"
)

// TestCalibrationOfPoints checks that the regimes are those of the points that the
// calibration holds, and that every group has been left out.
func TestCalibrationOfPoints(t *testing.T) {
	c, err := ReadCalibration()
	if err != nil {
		t.Fatal(err)
	}
	if got := NewRegimes(c.Points, 54.4); !slices.Equal(got, c.Regimes) {
		t.Errorf("regimes %v, the points give %v", c.Regimes, got)
	}
	left := map[string]int{}
	for _, p := range c.Points {
		if p.LeftOut > 0 {
			left[p.Group]++
		}
	}
	for _, g := range c.Groups {
		if left[g.Group] != g.Points {
			t.Errorf("%s: %d points left out, %d in the table", g.Group, left[g.Group], g.Points)
		}
	}
}

// TestExpect checks where expectations lie, and what they say is not covered.
func TestExpect(t *testing.T) {
	c := &Calibration{Regimes: []Regime{
		{"engine-bound", 100, 0.99, 1.01}, {"latency-bound", 50, 0.97, 1.02}, {"memory-bound", 20, 0.995, 1.005}, {"MAC-bound", 6, 0.96, 0.997},
	}}
	run := func(bottleneck string, change func(*sim.Result)) *sim.Result {
		r := &sim.Result{Card: "cx-2x40", Firmware: "corenic", Mpps: 10, Offered: 119, Bottleneck: bottleneck, NextBottleneck: "engines",
			Spent: map[string]float64{"program": 100}, Stalls: map[string]float64{}, Utilization: map[string]float64{"engines": 0.5},
			Verdicts: map[string]uint64{"drop": 1000}}
		change(r)
		return r
	}
	same := func(*sim.Result) {}
	for _, x := range []struct {
		name      string
		r         *sim.Result
		low, high float64
		beyond    []string
	}{
		{"engines", run("engines", same), 9.9, 10.1, nil},
		{"latency", run("latency", same), 9.7, 10.2, nil},
		{"mac", run("mac", same), 9.6, 10, nil},
		{"line", run("line", same), 10, 10, nil},
		{"line, nearly busy", run("line", func(r *sim.Result) { r.Utilization["engines"] = 0.995 }), 10 * 0.99 / 0.995, 10, nil},
		{"never measured", run("dram", same), 9.6, 10.2, []string{"bottleneck dram"}},
		{"other firmware", run("engines", func(r *sim.Result) { r.Firmware = "stock" }), 9.6, 10.2, []string{"other firmware"}},
		{"other card", run("engines", func(r *sim.Result) { r.Card = "lx" }), 9.6, 10.2, []string{"other card"}},
		{"passed", run("engines", func(r *sim.Result) { r.Verdicts["host"] = 1 }), 9.6, 10.2, []string{"packets passed or sent"}},
		{"helpers", run("engines", func(r *sim.Result) { r.Spent["helpers"] = 25 }), 9.6 / 1.2, 10.2 / 0.8, []string{"assumed helper costs"}},
		{"helpers, host", run("pcie", func(r *sim.Result) { r.Spent["helpers"] = 25 }), 9.6, 10.2, []string{"assumed helper costs", "bottleneck pcie"}},
		{"helpers, cheap", run("engines", func(r *sim.Result) { r.Spent["helpers"], r.Offered = 25, 11 }), 9.6 / 1.2, 11, []string{"assumed helper costs"}},
	} {
		e := c.Expect(x.r)
		if math.Abs(e.Low-x.low) > 1e-9 || math.Abs(e.High-x.high) > 1e-9 || !slices.Equal(e.Extrapolated, x.beyond) {
			t.Errorf("%s: %v, want %.3f to %.3f, %v", x.name, e, x.low, x.high, x.beyond)
		}
	}
	if e := c.Expect(run("engines", func(r *sim.Result) { r.Mpps = 0 })); e != nil {
		t.Errorf("no rate, and %v is expected", e)
	}
}
