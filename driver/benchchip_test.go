package driver

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// readDrop reads the packet twice, adds to a counter of its own and drops.
const readDrop = `
	mem[read32_swap, $xfer_0, *l$index1[2], 12, 2], ctx_swap[sig1]
	alu[gprA_4, $xfer_0, +, 1]
	mem[read32_swap, $xfer_0, *l$index1[2], 24, 2], ctx_swap[sig1]
	alu[gprA_4, gprA_4, XOR, $xfer_1]
	br[.15000], defer[2]
	immed[gprA_0, 0x22, <<16]
	alu[gprA_5, gprA_4, +, 3]
`

// benchCard puts text on a card for measuring.
func benchCard(t testing.TB, profile, text string, opt *Options) (*NIC, *Program) {
	t.Helper()
	p, err := firmware.Load(profile)
	if err != nil {
		t.Fatal(err)
	}
	nic, err := New(p, opt)
	if err != nil {
		t.Fatal(err)
	}
	im, err := nfp.Assemble(text)
	if err != nil {
		t.Fatal(err)
	}
	if p.DirectMap {
		if _, err := nic.CreateMap(&ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 4 << 20, MaxEntries: 1}); err != nil {
			t.Fatal(err)
		}
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		t.Fatal(err)
	}
	return nic, prog
}

func benchTraffic(size int) sim.Traffic { return sim.Traffic{Packets: [][]byte{make([]byte, size)}} }

// TestBenchAccountsForAllCycles checks that the cycles that contexts spend and wait
// add up to all of their time, whatever the bottleneck.
func TestBenchAccountsForAllCycles(t *testing.T) {
	for _, offered := range []float64{0, 1, 5} {
		nic, prog := benchCard(t, "stock", readDrop, nil)
		tr := benchTraffic(60)
		tr.OfferedMpps = offered
		r, err := nic.Bench(prog, &Bench{Workers: 7, Traffic: tr})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, part := range []map[string]float64{r.Spent, r.Stalls} {
			for _, v := range part {
				sum += v
			}
		}
		if want := sim.Contexts * r.CyclesPerPacket; math.Abs(sum-want) > 0.01*want {
			t.Errorf("offered %g: %.1f cycles accounted for, contexts have %.1f\n%v\n%v", offered, sum, want, r.Spent, r.Stalls)
		}
		if offered > 0 && math.Abs(r.Mpps-offered) > 0.01*offered {
			t.Errorf("offered %g Mpps, %g done", offered, r.Mpps)
		}
	}
}

// TestBenchRepeats checks that the same seed gives the same bytes, except for wall
// time, and another seed other traffic.
func TestBenchRepeats(t *testing.T) {
	one := func(seed uint64) string {
		nic, prog := benchCard(t, "corenic", readDrop, nil)
		tr := sim.Traffic{Weights: []float64{3, 2, 1}}
		for _, size := range []int{60, 300, 1514} {
			tr.Packets = append(tr.Packets, make([]byte, size))
		}
		r, err := nic.Bench(prog, &Bench{Traffic: tr, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		r.SecondsWall, r.WordsPerSecond = 0, 0
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := one(1), one(1); a != b {
		t.Errorf("seed 1 gave\n%s\nand\n%s", a, b)
	}
	if a, b := one(1), one(2); a == b {
		t.Error("seeds 1 and 2 gave the same")
	}
}

// TestBenchAllocatesNothing checks that no packet costs an allocation.
func TestBenchAllocatesNothing(t *testing.T) {
	nic, prog := benchCard(t, "stock", readDrop, nil)
	count := func(packets uint64) float64 {
		return testing.AllocsPerRun(1, func() {
			_, err := nic.Bench(prog, &Bench{Traffic: benchTraffic(60), Measure: sim.Measure{Packets: packets, CIPercent: 1e-9}})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := count(20_000), count(200_000)
	if many-few > 50 {
		t.Errorf("180,000 more packets made %.0f more allocations", many-few)
	}
}

// slowOnes drops packets, some of them only after a long loop.
const slowOnes = `
	mem[read32_swap, $xfer_0, *l$index1[2], 12, 1], ctx_swap[sig1]
	alu[gprA_4, --, B, $xfer_0]
	beq[.6]
	immed[gprA_5, 9000]
	alu[gprA_5, gprA_5, -, 1]
	bne[.4]
	br[.15000], defer[2]
	immed[gprA_0, 0x22, <<16]
	nop
`

// TestBenchSlowPackets: packets leave in order, so a slow one fills the buffers with
// packets that wait for it, and contexts wait for a buffer until it has left.
func TestBenchSlowPackets(t *testing.T) {
	nic, prog := benchCard(t, "stock", slowOnes, nil)
	tr := sim.Traffic{Weights: []float64{99, 1}, Packets: [][]byte{make([]byte, 60), append(make([]byte, 12), make([]byte, 48)...)}}
	tr.Packets[1][12] = 1
	r, err := nic.Bench(prog, &Bench{Traffic: tr, Measure: sim.Measure{Packets: 30_000}})
	if err != nil {
		t.Fatal(err)
	}
	// A slow packet takes some 45,000 cycles, in which at most 320 others are let in.
	if r.Mpps < 2 || r.Mpps > 12 {
		t.Errorf("%.2f Mpps, expected about 800 / 45,000 x 320 = 5.7", r.Mpps)
	}
}

// TestBenchProfile checks that the cycles of the profiled words add up to the
// program's, and that profiling changes no result.
func TestBenchProfile(t *testing.T) {
	for _, text := range []string{readDrop, slowOnes} {
		nic, prog := benchCard(t, "stock", text, nil)
		b := &Bench{Traffic: benchTraffic(60), Workers: 5, Profile: true}
		r, err := nic.Bench(prog, b)
		if err != nil {
			t.Fatal(err)
		}
		cycles, count := uint64(0), uint64(0)
		for _, w := range r.Words {
			cycles, count = cycles+w.Cycles, count+w.Count
		}
		n := float64(r.Packets)
		want := r.Spent["program"] + r.Spent["slots"] + r.Spent["held"]
		if got := float64(cycles) / n; math.Abs(got/want-1) > 0.01 {
			t.Errorf("%.2f cycles a packet at words, %.2f in all", got, want)
		}
		if got := float64(count) / n; math.Abs(got/r.WordsPerPacket-1) > 0.01 {
			t.Errorf("%.2f words a packet at words, %.2f in all", got, r.WordsPerPacket)
		}
		b.Profile = false
		plain, err := nic.Bench(prog, b)
		if err != nil {
			t.Fatal(err)
		}
		if plain.Mpps != r.Mpps || plain.Packets != r.Packets {
			t.Errorf("%v profiled, %v not", r.Result.String(), plain.Result.String())
		}
	}
}
