package main

import (
	"context"
	"math"
	"runtime"
	"slices"
	"sync"
)

// The fit minimises the squared errors of the points, each divided by its variance and
// times its weight, plus the squared distances of the constants from what is known without the
// measurements, divided likewise. The second sum decides what the first leaves open.
//
// Steps of Gauss and Newton come first, shortened as Levenberg does until the cost falls.
// A pattern search follows: one constant after the other is moved up or down by its
// smallest step as long as a move helps. The response of four contexts that run in turn is
// not smooth on the scale of a cycle, so derivatives are taken over a longer distance.

// fitter simulates points and remembers the results.
type fitter struct {
	card   *card
	list   []constant
	points []point
	share  float64 // of each point's packets
	known  map[uint64]float64
	runs   int
}

// simulate returns the cycles of the chosen points, in parallel.
func (f *fitter) simulate(values []float64, use func(*point) bool) ([]float64, error) {
	c := f.card.with(f.list, values)
	out := make([]float64, len(f.points))
	keys := make([]uint64, len(f.points))
	var todo []int
	for i := range f.points {
		p := &f.points[i]
		out[i] = math.NaN()
		if !use(p) || p.between != nil {
			continue
		}
		keys[i] = key(i, f.list, values, p)
		if v, ok := f.known[keys[i]]; ok {
			out[i] = v
			continue
		}
		todo = append(todo, i)
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				v, err := f.points[i].simulate(c, f.share)
				if err != nil {
					stop(err)
				}
				out[i] = v
			}
		})
	}
	for _, i := range todo {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	for _, i := range todo {
		f.known[keys[i]] = out[i]
	}
	f.runs += len(todo)
	for i := range f.points {
		if p := &f.points[i]; use(p) && p.between != nil {
			out[i] = out[p.between.more] - out[p.between.less]
		}
	}
	return out, context.Cause(ctx)
}

// cost returns the sum that the fit minimises.
func (f *fitter) cost(values []float64, use func(*point) bool) (float64, error) {
	got, err := f.simulate(values, use)
	if err != nil {
		return 0, err
	}
	sum := 0.0
	for i, v := range got {
		if p := &f.points[i]; use(p) {
			sum += p.weight * square((v-p.measured)/p.sigma)
		}
	}
	for j := range f.list {
		sum += square((values[j] - f.list[j].prior) / f.list[j].width)
	}
	return sum, nil
}

func square(x float64) float64 { return x * x }

// damping lists the shares of the curvature that Levenberg's steps add to it, in order of
// trial.
var damping = []float64{0, 0.1, 0.5, 2, 10, 50}

// descend improves values by steps of Gauss and Newton with slopes that slopesAt gives,
// until no step lowers the cost.
func (f *fitter) descend(values []float64, use func(*point) bool, slopesAt func([]float64) ([][]float64, error), log func(step int, cost float64, values []float64)) ([]float64, error) {
	best := slices.Clone(values)
	least, err := f.cost(best, use)
	if err != nil {
		return nil, err
	}
	for step := 0; ; step++ {
		log(step, least, best)
		at, err := f.simulate(best, use)
		if err != nil {
			return nil, err
		}
		slopes, err := slopesAt(best)
		if err != nil {
			return nil, err
		}
		moved := false
		for _, d := range damping {
			trial, err := f.newton(best, at, slopes, d, use)
			if err != nil {
				return nil, err
			}
			v, err := f.cost(trial, use)
			if err != nil {
				return nil, err
			}
			if v < least-0.01 {
				best, least, moved = trial, v, true
				break
			}
		}
		if !moved {
			return best, nil
		}
	}
}

// newton returns values moved by one damped step of Gauss and Newton.
func (f *fitter) newton(values, at []float64, slopes [][]float64, damp float64, use func(*point) bool) ([]float64, error) {
	info := f.information(slopes, 1, use)
	for j := range info {
		info[j][j] *= 1 + damp
	}
	cov, err := inverse(info)
	if err != nil {
		return nil, err
	}
	pull := make([]float64, len(values))
	for k := range pull {
		pull[k] = (f.list[k].prior - values[k]) / square(f.list[k].width)
		for i := range f.points {
			if p := &f.points[i]; use(p) {
				pull[k] += p.weight * slopes[i][k] * (p.measured - at[i]) / square(p.sigma)
			}
		}
	}
	out := slices.Clone(values)
	for j := range out {
		for k := range out {
			out[j] += cov[j][k] * pull[k]
		}
		out[j] = math.Max(0, rounded(out[j], f.list[j].step))
	}
	return out, nil
}

// polish moves one constant after the other by its smallest step until none helps.
func (f *fitter) polish(values []float64, use func(*point) bool, log func(step int, cost float64, values []float64)) ([]float64, error) {
	best := slices.Clone(values)
	least, err := f.cost(best, use)
	if err != nil {
		return nil, err
	}
	for round, moved := 0, true; moved; round++ {
		log(round, least, best)
		moved = false
		for j := range f.list {
			for _, d := range []float64{f.list[j].step, -f.list[j].step} {
				for best[j]+d >= 0 {
					trial := slices.Clone(best)
					trial[j] = rounded(trial[j]+d, f.list[j].step)
					v, err := f.cost(trial, use)
					if err != nil {
						return nil, err
					}
					if v >= least-0.01 {
						break
					}
					best, least, moved = trial, v, true
				}
			}
		}
	}
	return best, nil
}
