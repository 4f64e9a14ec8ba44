package main

import (
	"errors"
	"math"
	"slices"
)

// What the fit is worth. Near its minimum the cost is taken for quadratic. Derivatives of
// the points by the constants, from finite differences, give the constants' covariance.
// One step of Gauss and Newton gives the constants of a fit without one group of points.
// The group is then simulated with those.

// derivativeStep is the distance of finite differences, in parts of a prior's width:
// long, since the response of contexts that run in turn is rough on the scale of a
// cycle.
const derivativeStep = 0.4

// judge computes the result of a fit that found values.
func (f *fitter) judge(values []float64) (*result, error) {
	every := func(*point) bool { return true }
	at, err := f.simulate(values, every)
	if err != nil {
		return nil, err
	}
	r := &result{}
	for i, p := range f.points {
		r.Points = append(r.Points, judgedPoint{p.group, p.name, p.measured, at[i]})
	}
	slopes, err := f.slopes(values)
	if err != nil {
		return nil, err
	}
	sum, n := 0.0, 0
	for i := range f.points {
		if p := &f.points[i]; p.fit {
			sum, n = sum+square((at[i]-p.measured)/p.sigma), n+1
		}
	}
	r.Scatter = math.Sqrt(sum / float64(n))
	cov, err := inverse(f.information(slopes, r.Scatter, (*point).fits))
	if err != nil {
		return nil, err
	}
	for j, k := range f.list {
		sd := math.Sqrt(cov[j][j])
		r.Constants = append(r.Constants, fittedConstant{k.name, k.unit, k.prior, k.width, k.why, values[j], rounded(sd, 0.001), sd < k.width/2})
		var row []float64
		for i := range f.list {
			row = append(row, rounded(cov[j][i]/math.Sqrt(cov[i][i]*cov[j][j]), 0.01))
		}
		r.Correlations = append(r.Correlations, row)
	}
	for _, g := range f.groups() {
		j, err := f.without(g, values, at, slopes, r.Scatter)
		if err != nil {
			return nil, err
		}
		r.Groups = append(r.Groups, *j)
	}
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
				out[j][k] += slopes[i][j] * slopes[i][k] / square(p.sigma*scatter)
			}
		}
	}
	return out
}

// without judges a group with constants fitted without it: one step of Gauss and Newton
// from values.
func (f *fitter) without(group string, values, at []float64, slopes [][]float64, scatter float64) (*judgedGroup, error) {
	left := func(p *point) bool { return p.group == group }
	rest := func(p *point) bool { return p.fit && !left(p) }
	cov, err := inverse(f.information(slopes, scatter, rest))
	if err != nil {
		return nil, err
	}
	fitted := slices.Clone(values)
	for j := range fitted {
		for k := range fitted {
			pull := (f.list[k].prior - values[k]) / square(f.list[k].width)
			for i := range f.points {
				if p := &f.points[i]; rest(p) {
					pull += slopes[i][k] * (p.measured - at[i]) / square(p.sigma*scatter)
				}
			}
			fitted[j] += cov[j][k] * pull
		}
		fitted[j] = math.Max(0, rounded(fitted[j], f.list[j].step))
	}
	got, err := f.simulate(fitted, left)
	if err != nil {
		return nil, err
	}
	g := &judgedGroup{Group: group, Constants: fitted}
	for i := range f.points {
		p := &f.points[i]
		if !left(p) {
			continue
		}
		e := 100 * (got[i]/p.measured - 1)
		g.Points++
		g.Mean += math.Abs(e)
		if math.Abs(e) > math.Abs(g.Worst) {
			g.Worst, g.At = e, p.name
		}
		g.Within = math.Max(g.Within, 100*math.Abs(at[i]/p.measured-1))
	}
	g.Mean /= float64(g.Points)
	return g, nil
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
