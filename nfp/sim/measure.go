package sim

import (
	"fmt"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Measuring: packets are counted in batches. The first batches, in which
// queues, caches and the contexts' order settle, are cut off by the marginal
// standard error rule (White, Cobb, Spratt: A comparison of five steady-state
// truncation heuristics, WSC 2000). The mean of the rest is the result; its
// interval comes from the batches' means, grouped so that neighbours are nearly
// independent.

// Measure has the limits of a measurement; the zero value is the default.
type Measure struct {
	Packets    uint64  // at most, after the warm-up; 0 is 2,000,000
	CIPercent  float64 // stop when the interval is narrower; 0 is 0.5
	MinBatches int     // 0 is 20
	WarmUp     uint64  // packets to leave out first; 0 is as many as the batches show
	// Progress is called from time to time with the packets so far and the interval.
	// If it returns false the run ends with the results so far.
	Progress func(packets uint64, ciPercent float64) bool
}

const (
	batchRounds  = 4   // packets of each context in a batch
	batchLeast   = 512 // packets in a batch, so that 20 of them have a 99.9 % quantile
	warmBatches  = 8   // batches before the first test
	warmMost     = 200 // batches after which warm-up is assumed complete
	groups       = 20  // of batches, for the interval
	studentsT    = 2.093
	maxLatencyNS = 10_000_000_000
)

// Run puts traffic through the chip. On a fault of the program the error is a
// *Fault.
func (ch *Chip) Run(p *Program, t *Traffic, done int, hostTakes bool, how *Measure) (*Result, error) {
	if err := t.Start(); err != nil {
		return nil, err
	}
	ch.program = p
	ch.packets = newPackets(&ch.spec.Model, t, done, hostTakes)
	ch.Stats = Stats{}
	ch.start()
	m := Measure{}
	if how != nil {
		m = *how
	}
	if m.Packets == 0 {
		m.Packets = 2_000_000
	}
	if m.CIPercent == 0 {
		m.CIPercent = 0.5
	}
	m.MinBatches = max(m.MinBatches, groups)
	partial, err := ch.warmUp(&m)
	if err != nil {
		return nil, err
	}
	warm := ch.Stats.done
	if !partial {
		ch.clear()
		if partial, err = ch.measure(&m); err != nil {
			return nil, err
		}
	}
	r := ch.result()
	r.WarmUp, r.Partial = warm, partial
	if partial && ch.begin == 0 {
		r.WarmUp = 0
	}
	return r, nil
}

func (ch *Chip) batch() uint64 { return uint64(max(ch.contexts*batchRounds, batchLeast)) }

// warmUp runs until the rule cuts off less than half of the batches.
func (ch *Chip) warmUp(m *Measure) (partial bool, err error) {
	var times []float64
	ch.begin = epoch
	if m.WarmUp > 0 {
		return false, ch.advance(m.WarmUp)
	}
	for len(times) < warmMost {
		start := ch.now
		if err := ch.advance(ch.Stats.done + ch.batch()); err != nil {
			return false, err
		}
		times = append(times, float64(ch.now-start))
		if m.Progress != nil && !m.Progress(0, 100) {
			return true, nil
		}
		if len(times) >= warmBatches && cut(times) < len(times)/2 {
			break
		}
	}
	return false, nil
}

// cut returns the number of first values to leave out. It is the number, at most
// half of them, that minimises the standard error of the mean of the rest (White's
// MSER).
func cut(x []float64) int {
	best, at := math.Inf(1), 0
	for d := 0; d <= len(x)/2; d++ {
		rest := x[d:]
		_, ss := moments(rest)
		n := float64(len(rest))
		if se := ss / (n * n); se < best*(1-1e-9) {
			best, at = se, d
		}
	}
	return at
}

// moments are the mean and the sum of squared deviations. The conversion makes
// machines that fuse products and sums round like others.
func moments(x []float64) (mean, ss float64) {
	for _, v := range x {
		mean += v
	}
	mean /= float64(len(x))
	for _, v := range x {
		ss += float64((v - mean) * (v - mean))
	}
	return mean, ss
}

func (ch *Chip) measure(m *Measure) (partial bool, err error) {
	ch.times = ch.times[:0]
	for {
		start := ch.now
		if err := ch.advance(ch.Stats.done + ch.batch()); err != nil {
			return false, err
		}
		ch.times = append(ch.times, float64(ch.now-start))
		ci := interval(ch.times)
		if m.Progress != nil && !m.Progress(ch.Stats.Packets, ci) {
			return true, nil
		}
		if len(ch.times) >= m.MinBatches && ci <= m.CIPercent || ch.Stats.Packets >= m.Packets {
			return false, nil
		}
	}
}

// interval is half the 95 % confidence interval of the mean of a series of
// batches, in per cent of it.
func interval(x []float64) float64 {
	if len(x) < groups {
		return 100
	}
	size := len(x) / groups
	var g [groups]float64
	for i := range g {
		for _, v := range x[len(x)-(i+1)*size : len(x)-i*size] {
			g[i] += v
		}
	}
	mean, ss := moments(g[:])
	return 100 * studentsT * math.Sqrt(ss/(groups-1)/groups) / mean
}

// clear resets the statistics.
func (ch *Chip) clear() {
	ch.Stats = Stats{done: ch.Stats.done}
	ch.mem.clear()
	ch.packets.clear()
	clear(ch.Words)
	ch.begin = ch.now
}

// result computes a Result from the counters.
func (ch *Chip) result() *Result {
	s, m := &ch.Stats, &ch.spec.Model
	elapsed := float64(ch.now - ch.begin)
	n := math.Max(float64(s.Packets), 1)
	seconds := elapsed / (float64(m.ClockMHz) * 1e6)
	r := &Result{Card: m.Name, Workers: m.Workers, Packets: s.Packets, Seed: ch.spec.Seed, CIPercent: interval(ch.times)}
	r.Bytes = float64(s.bytes) / n
	r.Mpps = float64(s.Packets) / seconds / 1e6
	r.Offered = float64(s.Arrived) / seconds / 1e6
	r.Gbps = float64(s.received) * 8 / seconds / 1e9
	r.GbpsSent = float64(s.sent) * 8 / seconds / 1e9
	r.CyclesPerPacket = elapsed * float64(m.Workers) / n
	r.WordsPerPacket = float64(s.Issue) / n
	r.Latency.Wire = quantiles(ch.packets.latency[ToWire])
	r.Latency.Host = quantiles(ch.packets.latency[ToHost])
	r.Verdicts = map[string]uint64{"drop": s.Fates[Dropped], "host": s.Fates[ToHost], "wire": s.Fates[ToWire]}
	r.Arrived, r.Lost = s.Arrived, map[string]uint64{}
	for i, v := range s.Lost {
		r.Lost[Loss(i).String()] = v
	}
	r.Spent = map[string]float64{
		"program": float64(s.Issue) / n, "slots": float64(s.Slots) / n, "held": float64(s.Held) / n,
		"helpers": float64(s.Helpers) / n, "firmware": float64(s.Firmware) / n,
	}
	r.Stalls = map[string]float64{}
	for i, v := range s.Stalls {
		r.Stalls[Stall(i).String()] = float64(v) / n
	}
	if c := &ch.mem.cache; c.hits+c.misses > 0 {
		r.CacheHits = float64(c.hits) / float64(c.hits+c.misses)
	}
	r.Utilization = ch.utilization(elapsed)
	ch.blame(r)
	return r
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	if h.TotalCount() == 0 {
		return Quantiles{}
	}
	return Quantiles{h.ValueAtQuantile(50), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

// utilization returns the part of the time for which each kind of unit was busy, of
// its busiest one if there are several. "contexts" is the part of the contexts' time
// in which they had a packet.
func (ch *Chip) utilization(elapsed float64) map[string]float64 {
	s := &ch.Stats
	part := func(used int64, n float64) float64 {
		return math.Min(1, float64(used)/(1<<tickBits)/math.Max(elapsed*n, 1))
	}
	busiest := func(list []server) float64 {
		most := int64(0)
		for i := range list {
			most = max(most, list[i].used)
		}
		return part(most, 1)
	}
	wires := int64(0)
	for i := range ch.packets.wire {
		wires = max(wires, ch.packets.wire[i].used)
	}
	island := func(units []unit) float64 {
		most := 0.0
		for i := range units {
			most = max(most, busiest(units[i].banks))
		}
		return most
	}
	workers := float64(len(ch.Engines))
	held := float64(s.Issue + s.Slots + s.Held + s.Helpers + s.Firmware)
	u := map[string]float64{
		"engines":  math.Min(1, held/math.Max(elapsed*workers, 1)),
		"contexts": math.Max(0, 1-float64(s.Stalls[StallPacket])/math.Max(elapsed*workers*Contexts, 1)),
		"cls":      island(ch.mem.cls), "ctm": island(ch.mem.ctm), "imem": busiest(ch.mem.imem.banks), "emem": busiest(ch.mem.emem.banks),
		"dram": part(ch.mem.dram.used, 1), "command-bus": busiest(ch.mem.bus), "data-bus": busiest(ch.mem.data),
		"mac": part(ch.packets.mac.used, 1), "wire-out": part(wires, 1), "pcie": part(ch.packets.host.used, 1),
	}
	return u
}

// units are the possible bottlenecks, by their names in a result. Of two equal
// ones the first counts.
var units = []string{"mac", "pcie", "wire-out", "emem", "dram", "imem", "ctm", "cls", "command-bus", "data-bus", "engines"}

// bound is the utilization from which a unit is a bottleneck.
const bound = 0.97

// blame names the bottleneck and the next one: the unit with the highest utilisation
// of the others. If all contexts have packets and yet no unit is saturated, they wait
// for memory latency: more contexts would help.
func (ch *Chip) blame(r *Result) {
	u := r.Utilization
	most := func(but string) string {
		best := ""
		for _, name := range units {
			if name != but && (best == "" || u[name] > u[best]) {
				best = name
			}
		}
		return best
	}
	first := most("")
	switch {
	case u[first] >= bound:
		r.Bottleneck, r.NextBottleneck = first, most(first)
	case u["contexts"] >= bound:
		r.Bottleneck, r.NextBottleneck = "latency", first
	default:
		switch r.Bottleneck, r.NextBottleneck = "offered", first; {
		case ch.Stats.Lost[NoBuffer] > ch.Stats.Arrived/100:
			r.Bottleneck = "buffers" // held by packets that wait for earlier ones
		case ch.packets.every == 0:
			r.Bottleneck = "line"
		}
		if u["contexts"] > u[first] {
			r.NextBottleneck = "latency"
		}
	}
}

// String is the result in a line.
func (r *Result) String() string {
	return fmt.Sprintf("%.3f Mpps, %.1f cycles a packet on %d workers, bound by %s", r.Mpps, r.CyclesPerPacket, r.Workers, r.Bottleneck)
}
