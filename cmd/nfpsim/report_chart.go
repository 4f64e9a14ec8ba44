package main

import (
	"fmt"
	"html/template"
	"math"
	"strings"
)

// A chart is drawn in units that are pixels on a phone of 360 pixels; a browser scales
// it up if there is more room.
const (
	chartWidth, chartHeight  = 360.0, 230.0
	chartLeft, chartRight    = 44.0, 10.0
	chartTop, chartBottom    = 10.0, 36.0
	chartTicks               = 5
	chartInnerX, chartInnerY = chartWidth - chartLeft - chartRight, chartHeight - chartTop - chartBottom
)

// chartLine is one line of a chart; X and Y are as long as each other. NaN leaves a
// gap.
type chartLine struct {
	Name, Class string
	X, Y        []float64
	Dots        bool // points to press: they carry their number as data-point
}

// chart is a line chart with both axes from 0.
type chart struct {
	Label, XLabel, YLabel string
	Series                []chartLine
}

// SVG draws the chart.
func (c *chart) SVG() template.HTML {
	xMax, yMax := 0.0, 0.0
	for _, s := range c.Series {
		for i := range s.X {
			if !math.IsNaN(s.Y[i]) {
				xMax, yMax = max(xMax, s.X[i]), max(yMax, s.Y[i])
			}
		}
	}
	xStep, yStep := niceStep(xMax/chartTicks), niceStep(yMax/chartTicks)
	xMax, yMax = math.Ceil(xMax/xStep)*xStep, math.Ceil(yMax/yStep)*yStep
	x := func(v float64) float64 { return chartLeft + v/xMax*chartInnerX }
	y := func(v float64) float64 { return chartTop + chartInnerY - v/yMax*chartInnerY }

	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %g %g" role="img" aria-label="%s">`, chartWidth, chartHeight, template.HTMLEscapeString(c.Label))
	for i := 0; float64(i)*yStep <= yMax+yStep/2; i++ {
		v := float64(i) * yStep
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %.1fH%.1f"/><text x="%.1f" y="%.1f" text-anchor="end">%s</text>`,
			chartLeft, y(v), chartWidth-chartRight, chartLeft-4, y(v)+3.5, tick(v, yStep))
	}
	for i := 0; float64(i)*xStep <= xMax+xStep/2; i++ {
		v := float64(i) * xStep
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, x(v), chartHeight-chartBottom+13, tick(v, xStep))
	}
	fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle">%s</text>`, chartLeft+chartInnerX/2, chartHeight-5, template.HTMLEscapeString(c.XLabel))
	fmt.Fprintf(&b, `<text transform="translate(11 %.1f) rotate(-90)" text-anchor="middle">%s</text>`, chartTop+chartInnerY/2, template.HTMLEscapeString(c.YLabel))
	for _, s := range c.Series {
		s.draw(&b, x, y)
	}
	b.WriteString("</svg>")
	return template.HTML(b.String())
}

func (s *chartLine) draw(b *strings.Builder, x, y func(float64) float64) {
	var path strings.Builder
	pen := "M"
	for i := range s.X {
		if math.IsNaN(s.Y[i]) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", pen, x(s.X[i]), y(s.Y[i]))
		pen = "L"
	}
	fmt.Fprintf(b, `<path class="line %s" d="%s"/>`, s.Class, path.String())
	if !s.Dots {
		return
	}
	for i := range s.X {
		if !math.IsNaN(s.Y[i]) {
			fmt.Fprintf(b, `<circle class="dot %s" cx="%.1f" cy="%.1f" r="3.5" data-point="%d" tabindex="0"><title>%s %.4g at %.4g</title></circle>`,
				s.Class, x(s.X[i]), y(s.Y[i]), i, template.HTMLEscapeString(s.Name), s.Y[i], s.X[i])
		}
	}
}

// niceStep is the distance of an axis' ticks: 1, 2 or 5 times a power of ten, no
// less than least.
func niceStep(least float64) float64 {
	if !(least > 0) {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(least)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= least*(1-1e-9) {
			return m * p
		}
	}
	return 10 * p
}

// tick is a number at an axis, with as many digits as its step needs.
func tick(v, step float64) string {
	return fmt.Sprintf("%.*f", max(0, -int(math.Floor(math.Log10(step)))), v)
}
