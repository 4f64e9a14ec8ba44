package main

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"strings"

	"github.com/nfpkit/nfpkit/internal/silicon"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// point describes a measurement.
type point struct {
	group    string // left out together
	name     string
	firmware string
	measured float64 // cycles a packet costs a worker
	sigma    float64 // standard deviation that it is weighted by
	fit      bool    // constants are fitted to it; else it only judges
	weight   float64 // how many independent points it counts as
	between  *pair   // not nil: the point is a difference of two others
	run      run
}

// pair holds the indices of two points, of which the second costs more.
type pair struct{ less, more int }

// splitSeed chooses the half of the switch paths that constants are fitted to.
const splitSeed = 9

// modelSigma is the part of a path's cycles that the model is taken to leave out. It is
// larger than the noise of the measurement, and is added to its variance.
const modelSigma = 0.005

// switchPoints is how many independent points the fitted half of the switch's paths counts
// as: the paths have 1 to 15 header reads, and paths with as many share most of their code.
const switchPoints = 15

// The points of a sweep count for more: they are few, and what differs between them is
// known exactly.
const sweepSigma = 0.0025

// What four more reads cost is a point of its own: the words that the programs have beside
// their reads are not published, and the difference does not depend on them.
const readsSigma = 0.005

// z98 is half the 98 % interval of a normal distribution, in standard deviations.
const z98 = 2.326

// The halves of the switch's paths: one that constants are fitted to, and one that only
// judges.
const fittedHalf, judgingHalf = "switch, fitted half", "switch, other half"

// points returns all measurements except those where the MAC binds.
func points() ([]point, error) {
	paths, err := silicon.Paths()
	if err != nil {
		return nil, err
	}
	var out []point
	var switches []int
	for i := range paths {
		p := &paths[i]
		x := point{group: "transcoders", name: p.ID, firmware: "corenic-direct", measured: p.Cycles, fit: true, weight: 1, run: run{p, 5, 4000}}
		x.sigma = math.Hypot(p.CI/z98, modelSigma*p.Cycles)
		if p.Of == "switch" {
			x.group = fittedHalf
			switches = append(switches, len(out))
		}
		out = append(out, x)
	}
	r := rand.New(rand.NewPCG(splitSeed, 0))
	r.Shuffle(len(switches), func(i, j int) { switches[i], switches[j] = switches[j], switches[i] })
	judging, fitting := switches[:len(switches)/2], switches[len(switches)/2:]
	for _, i := range judging {
		out[i].group, out[i].fit = judgingHalf, false
	}
	for _, i := range fitting {
		out[i].weight = switchPoints / float64(len(fitting))
	}
	for _, s := range silicon.Sweeps() {
		segments, err := silicon.ParseSegments(s.Segments)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.Name, err)
		}
		path := &silicon.Path{ID: s.Name, Of: s.Name, Bytes: 60, Segments: segments}
		for _, p := range s.Points {
			if p.MAC {
				continue
			}
			x := point{group: s.Name, name: fmt.Sprintf("%s, %d workers", s.Name, p.Workers), firmware: s.Firmware, fit: fitted(s.Name, p.Workers), weight: 1}
			x.measured = clockMHz * float64(p.Workers) / p.Mpps
			x.sigma = sweepSigma * x.measured
			x.run = run{path, p.Workers, uint64(max(600*p.Workers, 12_000))}
			out = append(out, x)
		}
	}
	alone := map[string]int{} // by sweep: its point on the fewest workers
	for i := len(out) - 1; i >= 0; i-- {
		alone[out[i].group] = i
	}
	for _, g := range [][2]string{{"read4", "read8"}, {"read8", "read12"}} {
		a, b := alone[g[0]], alone[g[1]]
		x := out[b]
		x.name, x.between = g[0]+" to "+g[1], &pair{a, b}
		x.measured -= out[a].measured
		x.sigma = readsSigma * x.measured
		out = append(out, x)
	}
	return out, nil
}

// fitted reports whether constants are fitted to a point of a sweep. Of points that say
// the same, slow's and those where a bank is the bottleneck, few are enough.
func fitted(name string, workers int) bool {
	switch name {
	case "slow":
		return workers == 5 || workers == 25
	case "read4", "read8", "read12":
		return workers <= 15 || workers == 25
	}
	return true
}

// clockMHz is that of the measured card.
const clockMHz = 800

func (p *point) has(k silicon.Kind) bool {
	for i := range p.run.path.Segments {
		if p.run.path.Segments[i].Kind == k {
			return true
		}
	}
	return false
}

func (p *point) fits() bool   { return p.fit }
func (p *point) writes() bool { return p.has(silicon.WritePacket) }
func (p *point) reads() bool  { return p.has(silicon.ReadEMEM) }
func (p *point) adds() bool   { return p.has(silicon.AddEMEM) }

// simulate returns the cycles of a point on a card.
func (p *point) simulate(c *card, share float64) (float64, error) {
	v, _, err := p.on(c, share)
	return v, err
}

// bottleneck returns what bounds a point on a card.
func (p *point) bottleneck(c *card) (string, error) {
	_, name, err := p.on(c, 1)
	return name, err
}

func (p *point) on(c *card, share float64) (cycles float64, bottleneck string, err error) {
	r, fw := p.run, c.firmwares[p.firmware]
	var out *sim.Result
	if p.adds() {
		if out, err = r.words(&c.model, fw); err == nil {
			cycles = out.CyclesPerPacket
		}
	} else {
		r.packets = uint64(share * float64(r.packets))
		out, cycles, err = r.inline(&c.model, fw)
	}
	if err != nil {
		return 0, "", err
	}
	return cycles, out.Bottleneck, nil
}

// key identifies what a point's simulation depends on.
func key(i int, list []constant, values []float64, p *point) uint64 {
	var b strings.Builder
	fmt.Fprint(&b, i)
	for j := range list {
		if list[j].acts(p) {
			fmt.Fprint(&b, " ", list[j].format(values[j]))
		}
	}
	h := fnv.New64a()
	h.Write([]byte(b.String()))
	return h.Sum64()
}
