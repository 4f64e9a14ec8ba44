package main

import (
	"context"
	"math"
	"runtime"
	"sync"
)

// The fit minimises the squared errors of the points, each divided by its variance,
// plus the squared distances of the constants from what is known without the
// measurements, divided likewise. The second sum decides what the first leaves open.
//
// The minimum is found by a pattern search: one constant after the other is moved by a
// step up or down, and the step is halved when no move helps. The response of four
// contexts that run in turn is not smooth, so derivatives are used for uncertainties
// only.

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
		if !use(p) {
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
			sum += square((v - p.measured) / p.sigma)
		}
	}
	for j := range f.list {
		sum += square((values[j] - f.list[j].prior) / f.list[j].width)
	}
	return sum, nil
}

func square(x float64) float64 { return x * x }

// search improves values from a first step, a part of each prior's width, on.
func (f *fitter) search(values []float64, first float64, use func(*point) bool, log func(float64, []float64)) ([]float64, error) {
	best := append([]float64{}, values...)
	least, err := f.cost(best, use)
	if err != nil {
		return nil, err
	}
	for scale := first; scale > 1.0/64; {
		log(least, best)
		moved, fine := false, true
		for j := range f.list {
			k := &f.list[j]
			step := math.Max(k.step, math.Round(scale*k.width/k.step)*k.step)
			fine = fine && step == k.step
			for _, d := range []float64{step, -step} {
				if best[j]+d < 0 {
					continue
				}
				trial := append([]float64{}, best...)
				trial[j] += d
				v, err := f.cost(trial, use)
				if err != nil {
					return nil, err
				}
				if v < least-0.01 {
					best, least, moved = trial, v, true
					break
				}
			}
		}
		switch {
		case moved:
		case fine:
			return best, nil
		default:
			scale /= 2
		}
	}
	return best, nil
}
