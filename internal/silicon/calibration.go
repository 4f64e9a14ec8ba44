package silicon

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Calibration holds the findings of internal/calibrate.
type Calibration struct {
	Constants    []Constant  `json:"constants"`
	Correlations [][]float64 `json:"correlations"`
	Groups       []Group     `json:"groups"`
	Regimes      []Regime    `json:"regimes"`
	Points       []Judged    `json:"points"`
	Scatter      float64     `json:"scatter"` // of the fitted points, in the standard deviations they were weighted by
}

// Constant is a fitted constant with its standard deviation. It is identified if the
// measurements have at least halved what it was uncertain by before.
type Constant struct {
	Name       string  `json:"name"`
	Unit       string  `json:"unit"`
	Prior      float64 `json:"prior"`
	Width      float64 `json:"width"`
	Why        string  `json:"why"`
	Value      float64 `json:"value"`
	Deviation  float64 `json:"deviation"`
	Identified bool    `json:"identified"`
}

// Group is a group of points, simulated with constants that were fitted without it.
// Errors are in per cent of the measured cycles.
type Group struct {
	Group     string    `json:"group"`
	Points    int       `json:"points"`
	Mean      float64   `json:"mean"` // of absolute errors
	Worst     float64   `json:"worst"`
	At        string    `json:"at"`
	Within    float64   `json:"within"` // worst error with the constants in use
	Steps     int       `json:"steps"`  // that the fit without the group took
	Constants []float64 `json:"constants"`
}

// Judged is a point, simulated with the constants in use. LeftOut is what it costs with
// constants that were fitted without its group; 0 for the half of the switch's paths that
// every fit uses.
type Judged struct {
	Group     string  `json:"group"`
	Name      string  `json:"name"`
	Measured  float64 `json:"measured"` // cycles
	Simulated float64 `json:"simulated"`
	LeftOut   float64 `json:"left_out,omitempty"`
	Regime    string  `json:"regime"`
}

// Regime tells how measured rates lie to simulated ones where one kind of unit is the
// bottleneck. Low and High enclose 95 % of the ratios of measured to simulated rate, over
// points that were left out of the fit; all of them if they are fewer than 40.
type Regime struct {
	Name   string  `json:"name"`
	Points int     `json:"points"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

//go:embed calibration.json
var calibrationJSON []byte

// ReadCalibration returns the findings that come with nfpkit.
func ReadCalibration() (*Calibration, error) {
	c := new(Calibration)
	if err := json.Unmarshal(calibrationJSON, c); err != nil {
		return nil, fmt.Errorf("calibration.json: %w", err)
	}
	return c, nil
}

// regimes names the regime of each bottleneck at which something was measured.
var regimes = map[string]string{"engines": "engine-bound", "latency": "latency-bound", "emem": "memory-bound", "mac": "MAC-bound"}

// RegimeOf returns the regime of a result's bottleneck; "" if nothing was measured there.
func RegimeOf(bottleneck string) string { return regimes[bottleneck] }

// NewRegimes sorts the points by regime. Those at which the MAC is the bottleneck are the
// sweeps' plateaus, against what the MAC takes.
func NewRegimes(points []Judged, macMpps float64) []Regime {
	ratios := map[string][]float64{}
	for _, p := range points {
		if p.LeftOut > 0 && p.Regime != "" {
			ratios[p.Regime] = append(ratios[p.Regime], p.LeftOut/p.Measured) // of rates
		}
	}
	for _, s := range Sweeps() {
		for _, p := range s.Points {
			if p.MAC {
				ratios[regimes["mac"]] = append(ratios[regimes["mac"]], p.Mpps/macMpps)
			}
		}
	}
	var out []Regime
	for _, bottleneck := range []string{"engines", "latency", "emem", "mac"} {
		x := ratios[regimes[bottleneck]]
		if len(x) == 0 {
			continue
		}
		slices.Sort(x)
		cut := 0
		if len(x) >= 40 {
			cut = len(x) / 40
		}
		out = append(out, Regime{regimes[bottleneck], len(x), x[cut], x[len(x)-1-cut]})
	}
	return out
}

// Expectation is where the rate of a card lies, as far as the calibration can say.
type Expectation struct {
	Low          float64  `json:"low"` // Mpps
	High         float64  `json:"high"`
	Regime       string   `json:"regime"`
	Points       int      `json:"points"`                 // measured, that the regime's deviations come from
	Extrapolated []string `json:"extrapolated,omitempty"` // what no measurement covers
}

// Expect returns where the rate of a card lies if the simulator finds r.
//
// The regime's deviations apply. If something of the run was never measured, the
// deviations of all regimes together apply, and the expectation says what it is. What
// helpers cost is assumed: their share of a packet's time may be nothing or twice as much.
// If the bottleneck is the traffic, the rate is the offered one, unless the
// next unit is so busy that its deviation reaches it.
func (c *Calibration) Expect(r *sim.Result) *Expectation {
	if r.Mpps <= 0 {
		return nil
	}
	e := &Expectation{Regime: RegimeOf(r.Bottleneck), Extrapolated: unmeasured(r)}
	low, high := math.Inf(1), 0.0
	offered := r.Bottleneck == "line" || r.Bottleneck == "offered"
	bound := e.Regime
	if offered {
		e.Regime, bound = "bound by the traffic", RegimeOf(r.NextBottleneck)
	}
	for _, x := range c.Regimes {
		if len(e.Extrapolated) > 0 || x.Name == bound || bound == "" {
			low, high, e.Points = min(low, x.Low), max(high, x.High), e.Points+x.Points
		}
	}
	if e.Regime == "" {
		e.Regime = "bound by " + r.Bottleneck
	}
	if part := helpers(r); part > 0 && bound != "" && bound != RegimeOf("mac") {
		low, high = low/(1+part), high/(1-min(part, 0.9))
	}
	if offered {
		e.Low, e.High = r.Mpps*min(1, low/max(busy(r), 1e-9)), r.Mpps
		return e
	}
	e.Low, e.High = r.Mpps*min(low, 1), min(r.Mpps*max(high, 1), ceiling(r))
	return e
}

// ceiling returns the rate at which traffic, MAC, ports or host would be the bottleneck.
func ceiling(r *sim.Result) float64 {
	most := r.Offered
	for _, unit := range []string{"mac", "wire-out", "pcie"} {
		if u := r.Utilization[unit]; u > 0 {
			most = min(most, r.Mpps/u)
		}
	}
	return max(most, r.Mpps)
}

// measuredFirmwares are the profiles of the measured firmware.
var measuredFirmwares = []string{"corenic", "corenic-direct"}

// unmeasured lists what no measurement covers.
func unmeasured(r *sim.Result) []string {
	var out []string
	if r.Card != nfp.DefaultModel {
		out = append(out, "other card")
	}
	if !slices.Contains(measuredFirmwares, r.Firmware) {
		out = append(out, "other firmware")
	}
	if helpers(r) > 0 {
		out = append(out, "assumed helper costs")
	}
	if r.Firmware != "corenic-direct" && r.Verdicts["host"]+r.Verdicts["wire"] > 0 { // that one drops all
		out = append(out, "packets passed or sent")
	}
	if RegimeOf(r.Bottleneck) == "" && r.Bottleneck != "line" && r.Bottleneck != "offered" {
		out = append(out, "bottleneck "+r.Bottleneck)
	}
	return out
}

// helpers returns the part of a packet's time that helpers take: of the engine's, or of
// the context's if waits are the bottleneck.
func helpers(r *sim.Result) float64 {
	part := func(m map[string]float64, name string, more float64) float64 {
		sum := 0.0
		for _, v := range m {
			sum += v
		}
		if sum+more == 0 {
			return 0
		}
		return (m[name] + more) / (sum + more)
	}
	issue := part(r.Spent, "helpers", 0)
	if waits := r.Stalls["helper"]; waits > 0 {
		all := waits + r.Stalls["emem"] + r.Stalls["ctm"] + r.Stalls["firmware"] + r.Stalls["queue"]
		return max(issue, waits/all)
	}
	return issue
}

// busy returns how busy the busiest unit is, contexts included.
func busy(r *sim.Result) float64 {
	most := r.Utilization["contexts"]
	for name, v := range r.Utilization {
		if name != "wire-out" {
			most = max(most, v)
		}
	}
	return most
}

// Range returns the two rates, in Mpps; "-" for none.
func (e *Expectation) Range() string {
	if e == nil {
		return "-"
	}
	return fmt.Sprintf("%.2f-%.2f", e.Low, e.High)
}

// Basis says what the expectation rests on.
func (e *Expectation) Basis() string {
	text := fmt.Sprintf("%s, as %d measured points deviate", e.Regime, e.Points)
	if len(e.Extrapolated) > 0 {
		text += "; extrapolated: " + strings.Join(e.Extrapolated, ", ")
	}
	return text
}

// String describes the expectation in a phrase.
func (e *Expectation) String() string {
	return fmt.Sprintf("%.2f to %.2f Mpps on a card: %s", e.Low, e.High, e.Basis())
}
