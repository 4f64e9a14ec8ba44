// Command calibrate fits the constants of the simulated card and its firmware that are
// not known otherwise to what was measured on silicon, and says how well they are known.
//
//	go run ./internal/calibrate [-step PART] [-write]
//
// Constants belong to the card or to a firmware. There is none for a program, and no
// way to add one: a constant reaches a simulation through the card alone (constant).
//
// Half of the paths of the switch only judge. Each other group of measurements judges
// too: constants are fitted without it, and it is simulated with them. Results go to
// result.json, from which docs/accuracy.md is printed. The constants in use are in
// nfp.Model and nfp/firmware/profiles, where they are entered by hand.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
)

func main() {
	step := flag.Float64("step", 1.0/16, "first step of the search, in parts of what a constant was uncertain by before; 0.5 to search from far")
	write := flag.Bool("write", false, "write internal/calibrate/result.json")
	flag.Parse()
	if err := calibrate(os.Stdout, *step, *write); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(1)
	}
}

// searchShare is the part of its packets for which the search simulates a point.
const searchShare = 0.25

func calibrate(w io.Writer, step float64, write bool) error {
	c, err := newCard()
	if err != nil {
		return err
	}
	all, err := points()
	if err != nil {
		return err
	}
	f := &fitter{card: c, list: constants(), points: all, share: searchShare, known: map[uint64]float64{}}
	best, err := f.search(c.current(f.list), step, (*point).fits, func(cost float64, values []float64) {
		fmt.Fprintf(w, "%8.1f %v, %d runs\n", cost, values, f.runs)
	})
	if err != nil {
		return err
	}
	f.share, f.known = 1, map[uint64]float64{}
	r, err := f.judge(best)
	if err != nil {
		return err
	}
	r.print(w)
	if !write {
		return nil
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile("internal/calibrate/result.json", append(data, '\n'), 0o644)
}

// result holds the findings of a calibration.
type result struct {
	Constants    []fittedConstant `json:"constants"`
	Correlations [][]float64      `json:"correlations"`
	Groups       []judgedGroup    `json:"groups"`
	Points       []judgedPoint    `json:"points"`
	Scatter      float64          `json:"scatter"` // of the fitted points, in the standard deviations they were weighted by
}

// fittedConstant is a constant with its standard deviation. It is identified if the
// measurements have at least halved what it was uncertain by before.
type fittedConstant struct {
	Name       string  `json:"name"`
	Unit       string  `json:"unit"`
	Prior      float64 `json:"prior"`
	Width      float64 `json:"width"`
	Why        string  `json:"why"`
	Value      float64 `json:"value"`
	Deviation  float64 `json:"deviation"`
	Identified bool    `json:"identified"`
}

// judgedGroup is a group of points, simulated with constants that were fitted without
// it. Errors are in per cent.
type judgedGroup struct {
	Group     string    `json:"group"`
	Points    int       `json:"points"`
	Mean      float64   `json:"mean"` // of absolute errors
	Worst     float64   `json:"worst"`
	At        string    `json:"at"`
	Within    float64   `json:"within"` // worst error with the constants in use
	Constants []float64 `json:"constants"`
}

// judgedPoint is a point, simulated with the constants in use.
type judgedPoint struct {
	Group     string  `json:"group"`
	Name      string  `json:"name"`
	Measured  float64 `json:"measured"` // cycles
	Simulated float64 `json:"simulated"`
}

func rounded(v, step float64) float64 { return math.Round(v/step) * step }

func (r *result) print(w io.Writer) {
	for _, k := range r.Constants {
		known := "identified"
		if !k.Identified {
			known = "not identified by the measurements"
		}
		fmt.Fprintf(w, "%-16s %7.2f ± %.2f %s (before: %g ± %g), %s\n", k.Name, k.Value, k.Deviation, k.Unit, k.Prior, k.Width, known)
	}
	for i, row := range r.Correlations {
		for j, v := range row[:i] {
			if math.Abs(v) >= 0.5 {
				fmt.Fprintf(w, "%s and %s: correlation %+.2f\n", r.Constants[i].Name, r.Constants[j].Name, v)
			}
		}
	}
	for _, g := range r.Groups {
		fmt.Fprintf(w, "left out: %-20s %3d points, mean error %.2f %%, worst %+.2f %% (%s)\n", g.Group, g.Points, g.Mean, g.Worst, g.At)
	}
}
