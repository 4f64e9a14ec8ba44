//go:build unix

package driver_test

import (
	"math"
	"testing"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// TestChipDecidesAsOneEngine checks that the chip's verdict on each packet is that of
// a single engine.
func TestChipDecidesAsOneEngine(t *testing.T) {
	for _, e := range []struct{ program, capture string }{
		{"firewall", "mixed.pcap"}, {"l4lb", "web.pcap"}, {"counters", "mixed.pcap"},
	} {
		packets := capture(t, e.capture)
		share := func(functional bool) map[string]float64 {
			nic, prog := loaded(t, "../examples/"+e.program+".o")
			r, err := nic.Bench(prog, &driver.Bench{
				Functional: functional, Traffic: sim.Traffic{Packets: packets}, Measure: sim.Measure{Packets: uint64(400 * len(packets))},
			})
			if err != nil {
				t.Fatalf("%s: %v", e.program, err)
			}
			out := map[string]float64{}
			for v, n := range r.Verdicts {
				out[v] = float64(n) / float64(r.Packets)
			}
			return out
		}
		chip, alone := share(false), share(true)
		for v := range alone {
			if math.Abs(chip[v]-alone[v]) > 0.01 {
				t.Errorf("%s: %.1f %% of the packets %s, %.1f %% on one engine", e.program, 100*chip[v], v, 100*alone[v])
			}
		}
	}
}
