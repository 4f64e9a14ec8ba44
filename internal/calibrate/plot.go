package main

import (
	"fmt"
	"math"
	"strings"

	"github.com/nfpkit/nfpkit/internal/silicon"
)

// The plot of docs/accuracy.md: how far the predicted cycles of each point that was left
// out of the fit are from the measured ones, against the measured ones (logarithmic).

const (
	plotWidth, plotHeight = 720.0, 360.0
	plotLeft, plotRight   = 48.0, 150.0
	plotTop, plotBottom   = 12.0, 40.0
	plotMost              = 4.0 // per cent, both ways
	plotLow, plotHigh     = 300.0, 30000.0
)

// plot draws the points, a colour for each group.
func plot(c *silicon.Calibration) string {
	colours := []string{"#0a62c9", "#c2560c", "#2a8a3e", "#7a3fb5", "#b3123f", "#0f8b8d", "#8a6d00", "#555555", "#d04a9c"}
	x := func(cycles float64) float64 {
		return plotLeft + math.Log(cycles/plotLow)/math.Log(plotHigh/plotLow)*(plotWidth-plotLeft-plotRight)
	}
	y := func(percent float64) float64 {
		return plotTop + (plotMost-percent)/(2*plotMost)*(plotHeight-plotTop-plotBottom)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" role="img" aria-label="deviation of predicted from measured cycles, by measured cycles" font-family="sans-serif" font-size="11">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="#fff"/>`+"\n", plotWidth, plotHeight)
	for v := -plotMost; v <= plotMost; v++ {
		width := 0.5
		if v == 0 {
			width = 1.5
		}
		fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="#bbb" stroke-width="%g"/><text x="%g" y="%.1f" text-anchor="end">%+.0f %%</text>`+"\n", plotLeft, y(v), plotWidth-plotRight, width, plotLeft-4, y(v)+4, v)
	}
	for _, v := range []float64{300, 1000, 3000, 10000, 30000} {
		fmt.Fprintf(&b, `<path d="M%.1f %gV%g" stroke="#bbb" stroke-width="0.5"/><text x="%.1f" y="%g" text-anchor="middle">%.0f</text>`+"\n", x(v), plotTop, plotHeight-plotBottom, x(v), plotHeight-plotBottom+15, v)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">measured cycles a packet</text>`+"\n", (plotLeft+plotWidth-plotRight)/2, plotHeight-8)
	for i, g := range c.Groups {
		colour := colours[i%len(colours)]
		for _, p := range c.Points {
			if p.Group == g.Group && p.LeftOut > 0 {
				off := 100 * (p.LeftOut/p.Measured - 1)
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="2.5" fill="%s" fill-opacity="0.7"><title>%s: measured %.1f, predicted %.1f</title></circle>`+"\n",
					x(p.Measured), y(max(-plotMost, min(plotMost, off))), colour, p.Name, p.Measured, p.LeftOut)
			}
		}
		at := plotTop + 16*float64(i) + 8
		fmt.Fprintf(&b, `<circle cx="%g" cy="%g" r="4" fill="%s"/><text x="%g" y="%g">%s</text>`+"\n", plotWidth-plotRight+14, at, colour, plotWidth-plotRight+24, at+4, g.Group)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
