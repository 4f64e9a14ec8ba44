package driver

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp/sim"
)

// accesses is how many commands a packet of the contention programs issues: so many that
// four banks, and not the MAC, are the bottleneck.
const accesses = 24

// places is the number of addresses over which they go.
const places = 8

// ringBank is the bank that the firmware's steps write to for each packet.
const ringBank = 1

// spread reads or adds to words that are stride bytes apart.
func spread(command string, stride int) string {
	l := &listing{}
	for i := range accesses {
		at := i % places * stride
		l.words(fmt.Sprintf("immed[gprA_4, 0x%x]\n%s", at, command))
	}
	l.words("br[.15000], defer[2]\nimmed[gprA_0, 0x22, <<16]\nnop")
	return l.String()
}

// TestContention checks the rule of external memory's banks at all numbers of workers. One
// location saturates where it was measured to, and 16 bytes in a row as one location. Eight
// words 64 bytes apart reach four banks. Words that are 256 bytes or 4 KiB apart share one.
func TestContention(t *testing.T) {
	model := sim.NFP4000().Model
	// rule returns how many banks a stride reaches, and the rate at which the busiest of
	// them is the bottleneck: the firmware's own ring write shares it.
	rule := func(stride int, busy float64) (banks int, capacity float64) {
		held := map[int]float64{} // cycles a packet, by bank
		for i := range accesses {
			held[i%places*stride/model.EMEM.Interleave%model.EMEM.Banks] += busy
		}
		if _, shared := held[ringBank]; shared {
			held[ringBank] += model.EMEM.WriteBusy
		}
		most := 0.0
		for _, v := range held {
			most = max(most, v)
		}
		return len(held), accesses * float64(model.ClockMHz) / most
	}
	var doc strings.Builder
	doc.WriteString("\n| million a second | banks | 5 workers | 10 | 15 | 20 | 25 | 30 | 35 | 40 | 45 | 50 |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range []struct {
		name, command string
		busy          float64
		low, high     float64 // measured on one location
	}{
		{"reads", "mem[read32_swap, $xfer_0, gprB_23, <<8, gprA_4, 1], ctx_swap[sig1]", model.EMEM.ReadBusy, 197.4, 199.7},
		{"adds", "mem[add_imm, $xfer_0, gprB_23, <<8, gprA_4, 1]", model.EMEM.AtomicBusy, 248.5, 250.5},
	} {
		one := map[int]float64{}
		for _, stride := range []int{0, 4, 16, 32, 64, 128, 256, 4096} {
			text := spread(c.command, stride)
			banks, capacity := rule(stride, c.busy)
			fmt.Fprintf(&doc, "| %s, %d bytes apart | %d |", c.name, stride, banks)
			before := 0.0
			for workers := 5; workers <= 50; workers += 5 {
				run := calibration{t: t}
				rate := accesses * run.run(text, "corenic-direct", workers, &ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 65536, MaxEntries: 1})
				fmt.Fprintf(&doc, " %.0f |", rate)
				switch {
				case rate > 1.005*capacity:
					t.Errorf("%s %d bytes apart, %d workers: %.1f M/s, %d banks serve %.1f", c.name, stride, workers, rate, banks, capacity)
				case rate < 0.99*before:
					t.Errorf("%s %d bytes apart: %.1f M/s on %d workers, %.1f on fewer", c.name, stride, rate, workers, before)
				}
				before = max(before, rate)
				if stride == 0 {
					one[workers] = rate
				} else if banks == 1 && math.Abs(rate/one[workers]-1) > 0.01 {
					t.Errorf("%s %d bytes apart, %d workers: %.1f M/s, %.1f at one location", c.name, stride, workers, rate, one[workers])
				}
			}
			doc.WriteString("\n")
			if banks == 1 && (before < 0.985*c.low || before > 1.015*c.high) {
				t.Errorf("%s %d bytes apart: saturate at %.1f M/s, measured are %.1f to %.1f", c.name, stride, before, c.low, c.high)
			}
			if before < 0.98*capacity {
				t.Errorf("%s %d bytes apart: %.1f M/s on 50 workers, %d banks serve %.1f", c.name, stride, before, banks, capacity)
			}
		}
	}
	printed(t, "contention", doc.String())
}
