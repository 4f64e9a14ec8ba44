// Command calibrate fits the constants of the simulated card and its firmware that are
// not known otherwise to what was measured on silicon, and says how well they are known.
//
//	go run ./internal/calibrate [-current] [-write]
//
// Constants belong to the card or to a firmware. There is none for a program, and no
// way to add one: a constant reaches a simulation through the card alone (constant).
//
// Half of the paths of the switch only judge. Each other group of measurements judges
// too: constants are fitted without it, and it is simulated with them. Results go to
// internal/silicon/calibration.json, from which docs/accuracy.md is printed and bench takes its
// error bars. The constants in use are in
// nfp.Model and nfp/firmware/profiles, where they are entered by hand.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/nfpkit/nfpkit/internal/silicon"
)

func main() {
	current := flag.Bool("current", false, "start from the constants in use, not from what is known without the measurements")
	write := flag.Bool("write", false, "write internal/silicon/calibration.json")
	flag.Parse()
	if err := calibrate(os.Stdout, *current, *write); err != nil {
		fmt.Fprintln(os.Stderr, "calibrate:", err)
		os.Exit(1)
	}
}

// searchShare is the part of its packets for which the search simulates a point.
const searchShare = 0.25

func calibrate(w io.Writer, current, write bool) error {
	c, err := newCard()
	if err != nil {
		return err
	}
	all, err := points()
	if err != nil {
		return err
	}
	f := &fitter{card: c, list: constants(), points: all, share: searchShare, known: map[uint64]float64{}}
	log := func(what string) func(int, float64, []float64) {
		return func(step int, cost float64, values []float64) {
			fmt.Fprintf(w, "%s %d: cost %.1f at %v, %d runs\n", what, step, cost, values, f.runs)
		}
	}
	start := f.start()
	if current {
		start = c.current(f.list)
	}
	best, err := f.descend(start, (*point).fits, f.slopes, log("step"))
	if err != nil {
		return err
	}
	if best, err = f.polish(best, (*point).fits, log("round")); err != nil {
		return err
	}
	slopes, err := f.slopes(best)
	if err != nil {
		return err
	}
	var groups []silicon.Group
	for _, name := range f.groups() {
		g, err := f.without(name, best, slopes, log("without "+name))
		if err != nil {
			return err
		}
		groups = append(groups, *g)
	}
	f.share, f.known = 1, map[uint64]float64{}
	r, err := f.judge(best, slopes, groups)
	if err != nil {
		return err
	}
	show(w, r)
	if !write {
		return nil
	}
	data, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile("internal/silicon/calibration.json", append(data, '\n'), 0o644)
}

func rounded(v, step float64) float64 { return math.Round(v/step) / math.Round(1/step) }

func show(w io.Writer, r *silicon.Calibration) {
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
		fmt.Fprintf(w, "left out: %-20s %3d points, mean error %.2f %%, worst %+.2f %% (%s), %d steps\n", g.Group, g.Points, g.Mean, g.Worst, g.At, g.Steps)
	}
	for _, x := range r.Regimes {
		fmt.Fprintf(w, "%s: %d points, measured are %.4f to %.4f of simulated rates\n", x.Name, x.Points, x.Low, x.High)
	}
}
