package main

import (
	"errors"
	"math"
	"slices"

	"github.com/nfpkit/nfpkit/internal/silicon"
)

// What the fit is worth. Near its minimum the cost is taken for quadratic. Derivatives of
// the points by the constants, from finite differences, give the constants' covariance.
// The constants are fitted again without each group of points, from the minimum on, until
// no step lowers the cost of the other points. The group is then simulated with those.

// derivativeStep is the distance of finite differences, in parts of a prior's width:
// long, since the response of contexts that run in turn is rough on the scale of a
// cycle.
const derivativeStep = 0.4

// judge computes the result of a fit that found values.
func (f *fitter) judge(values []float64, slopes [][]float64, groups []silicon.Group) (*silicon.Calibration, error) {
	every := func(*point) bool { return true }
	at, err := f.simulate(values, every)
	if err != nil {
		return nil, err
	}
	r := &silicon.Calibration{}
	for i := range f.points {
		p := &f.points[i]
		if p.between != nil {
			continue
		}
		bottleneck, err := p.bottleneck(f.card.with(f.list, values))
		if err != nil {
			return nil, err
		}
		r.Points = append(r.Points, silicon.Judged{Group: p.group, Name: p.name, Measured: p.measured, Simulated: at[i], Regime: silicon.RegimeOf(bottleneck)})
	}
	sum, n := 0.0, 0.0
	for i := range f.points {
		if p := &f.points[i]; p.fit {
			sum, n = sum+p.weight*square((at[i]-p.measured)/p.sigma), n+p.weight
		}
	}
	r.Scatter = math.Sqrt(sum / n)
	cov, err := inverse(f.information(slopes, r.Scatter, (*point).fits))
	if err != nil {
		return nil, err
	}
	for j, k := range f.list {
		sd := math.Sqrt(cov[j][j])
		r.Constants = append(r.Constants, silicon.Constant{Name: k.name, Unit: k.unit, Prior: k.prior, Width: k.width, Why: k.why, Value: values[j], Deviation: rounded(sd, 0.001), Identified: sd < k.width/2})
		var row []float64
		for i := range f.list {
			row = append(row, rounded(cov[j][i]/math.Sqrt(cov[i][i]*cov[j][j]), 0.01))
		}
		r.Correlations = append(r.Correlations, row)
	}
	for _, g := range groups {
		if err := f.leftOut(&g, r.Points); err != nil {
			return nil, err
		}
		r.Groups = append(r.Groups, g)
	}
	r.Regimes = silicon.NewRegimes(r.Points, f.card.model.MACMpps)
	return r, nil
}

func (f *fitter) groups() []string {
	var out []string
	for _, p := range f.points {
		if p.group != fittedHalf && !slices.Contains(out, p.group) {
			out = append(out, p.group)
		}
	}
	return out
}

// slopes returns the derivative of each fitted point by each constant.
func (f *fitter) slopes(values []float64) ([][]float64, error) {
	out := make([][]float64, len(f.points))
	for i := range out {
		out[i] = make([]float64, len(f.list))
	}
	for j, k := range f.list {
		h := math.Max(k.step, rounded(derivativeStep*k.width, k.step))
		up, down := slices.Clone(values), slices.Clone(values)
		up[j], down[j] = up[j]+h, math.Max(0, down[j]-h)
		acts := func(p *point) bool { return p.fit && k.acts(p) }
		a, err := f.simulate(up, acts)
		if err != nil {
			return nil, err
		}
		b, err := f.simulate(down, acts)
		if err != nil {
			return nil, err
		}
		for i := range f.points {
			if acts(&f.points[i]) {
				out[i][j] = (a[i] - b[i]) / (up[j] - down[j])
			}
		}
	}
	return out, nil
}

// information returns the matrix whose inverse is the constants' covariance: what the
// chosen points say, each with the scatter that was found, and what was known before.
func (f *fitter) information(slopes [][]float64, scatter float64, use func(*point) bool) [][]float64 {
	out := make([][]float64, len(f.list))
	for j := range out {
		out[j] = make([]float64, len(f.list))
		out[j][j] = 1 / square(f.list[j].width)
	}
	for i := range f.points {
		p := &f.points[i]
		if !use(p) {
			continue
		}
		for j := range out {
			for k := range out[j] {
				out[j][k] += p.weight * slopes[i][j] * slopes[i][k] / square(p.sigma*scatter)
			}
		}
	}
	return out
}

// without fits the constants again without a group, from values on, with the slopes
// there.
func (f *fitter) without(group string, values []float64, slopes [][]float64, log func(int, float64, []float64)) (*silicon.Group, error) {
	rest := func(p *point) bool {
		return p.fit && p.group != group && (p.between == nil || f.points[p.between.less].group != group)
	}
	g := &silicon.Group{Group: group, Constants: values}
	if !slices.ContainsFunc(f.points, func(p point) bool { return p.fit && p.group == group }) {
		return g, nil // no fit uses it
	}
	var err error
	g.Constants, err = f.descend(values, rest, func([]float64) ([][]float64, error) { return slopes, nil }, func(step int, cost float64, values []float64) {
		g.Steps = step
		log(step, cost, values)
	})
	return g, err
}

// leftOut judges a group with constants fitted without it.
func (f *fitter) leftOut(g *silicon.Group, points []silicon.Judged) error {
	left := func(p *point) bool { return p.group == g.Group && p.between == nil }
	got, err := f.simulate(g.Constants, left)
	if err != nil {
		return err
	}
	for i := range f.points {
		if !left(&f.points[i]) {
			continue
		}
		p := &points[i]
		p.LeftOut = got[i]
		e := 100 * (p.LeftOut/p.Measured - 1)
		g.Points++
		g.Mean += math.Abs(e)
		if math.Abs(e) > math.Abs(g.Worst) {
			g.Worst, g.At = e, p.Name
		}
		g.Within = math.Max(g.Within, 100*math.Abs(p.Simulated/p.Measured-1))
	}
	g.Mean /= float64(g.Points)
	return nil
}

// inverse inverts a symmetric positive definite matrix, by Cholesky's decomposition.
func inverse(a [][]float64) ([][]float64, error) {
	n := len(a)
	l := make([][]float64, n)
	for i := range l {
		l[i] = make([]float64, n)
		for j := 0; j <= i; j++ {
			s := a[i][j]
			for k := range j {
				s -= l[i][k] * l[j][k]
			}
			switch {
			case i != j:
				l[i][j] = s / l[j][j]
			case !(s > 0):
				return nil, errors.New("the information matrix is not positive definite")
			default:
				l[i][i] = math.Sqrt(s)
			}
		}
	}
	out := make([][]float64, n)
	for c := range n {
		x := make([]float64, n)
		for i := range n { // L y = e_c
			if i == c {
				x[i] = 1
			}
			for k := range i {
				x[i] -= l[i][k] * x[k]
			}
			x[i] /= l[i][i]
		}
		for i := n - 1; i >= 0; i-- { // transposed L x = y
			for k := i + 1; k < n; k++ {
				x[i] -= l[k][i] * x[k]
			}
			x[i] /= l[i][i]
		}
		out[c] = x
	}
	return out, nil
}
