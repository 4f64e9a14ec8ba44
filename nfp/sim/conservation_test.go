package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// loadCase is a card, a program and traffic, chosen by a seed. Verdicts and lengths at
// the end are chosen too, by packet of the traffic.
type loadCase struct {
	model   *nfp.Model
	fw      *firmware.Profile
	code    string
	traffic Traffic
	verdict []Verdict
	host    bool
}

const programEnd = 15000

func newLoadCase(t testing.TB, seed uint64) *loadCase {
	r := rand.New(rand.NewPCG(seed, 9))
	pick := func(list ...int) int { return list[r.IntN(len(list))] }
	c := &loadCase{model: model(t), host: r.IntN(2) == 0}
	c.model.Ports, c.model.PortGbps = pick(1, 2, 4), pick(10, 25, 40, 100)
	c.model.Workers = 1 + r.IntN(50)
	c.model.MACMpps = []float64{10, 30, 54.4, 150}[r.IntN(4)]
	c.model.MACQueue, c.model.Buffers = pick(1, 8, 128), pick(16, 256, 320, 1000)
	var err error
	if c.fw, err = firmware.Load([]string{"stock", "corenic", "corenic-direct"}[r.IntN(3)]); err != nil {
		t.Fatal(err)
	}
	words := 1 + r.IntN(pick(4, 40, 600))
	c.code = strings.Repeat("alu[gprA_4, gprA_4, +, 1]\n", words) + fmt.Sprintf("br[.%d]\n", programEnd)
	grow := pick(0, 0, 64, 500)
	fates := []Fate{Fate(r.IntN(3)), Fate(r.IntN(3))}
	for range 1 + r.IntN(6) {
		n := pick(14, 60, 61, 124, 128, 590, 1514, 9000)
		c.traffic.Packets = append(c.traffic.Packets, make([]byte, n))
		c.verdict = append(c.verdict, Verdict{fates[r.IntN(2)], n + grow})
	}
	if r.IntN(2) == 0 {
		for range c.traffic.Packets {
			c.traffic.Weights = append(c.traffic.Weights, 0.1+r.Float64())
		}
	}
	c.traffic.Seed = seed
	return c
}

// start returns the case's chip with its first events, nothing measured yet.
func (c *loadCase) start(t testing.TB) *Chip {
	t.Helper()
	store := NewStore()
	if err := store.LoadInsts(0, parse(t, c.code), NewSpec(c.model)); err != nil {
		t.Fatal(err)
	}
	store.Trap(programEnd, func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
	ch, err := NewChip(store, NewMemory().External, c.fw, &Options{Model: c.model})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.traffic.Start(); err != nil {
		t.Fatal(err)
	}
	ch.program = &Program{
		Enter: func(*Context, int) error { return nil },
		Exit:  func(x *Context) (Verdict, error) { return c.verdict[x.errand.job.packet], nil },
	}
	ch.packets = newPackets(c.model, &c.traffic, programEnd, c.host)
	ch.start()
	ch.begin = epoch
	return ch
}

// line is the highest rate at which the traffic can arrive, in M/s.
func (c *loadCase) line(t testing.TB) float64 {
	if err := c.traffic.Start(); err != nil {
		t.Fatal(err)
	}
	a := newArrivals(c.model, &c.traffic)
	return a.lineMpps(c.model.Ports)
}

// conserved checks the laws that hold at any time.
func conserved(ch *Chip, s *Stats) error {
	p := &ch.packets
	inContexts, queued, leaving := 0, 0, p.host.count
	for _, e := range ch.Engines {
		for i := range e.Ctx {
			if e.Ctx[i].errand.job.held {
				inContexts++
			}
		}
	}
	for i := range p.finished {
		if p.finished[i].held {
			queued++
		}
	}
	for i := range p.wire {
		leaving += p.wire[i].count
	}
	lost := s.Lost[AtMAC] + s.Lost[NoBuffer]
	fates := s.Fates[Dropped] + s.Fates[ToHost] + s.Fates[ToWire]
	switch {
	case s.Arrived != p.seq+lost:
		return fmt.Errorf("%d packets arrived, %d were admitted and %d lost", s.Arrived, p.seq, lost)
	case p.seq != fates+uint64(p.waiting+inContexts):
		return fmt.Errorf("%d packets admitted, %d done, %d waiting, %d in contexts", p.seq, fates, p.waiting, inContexts)
	case p.inside != p.waiting+inContexts+queued+leaving:
		return fmt.Errorf("%d buffers held, by %d packets waiting, %d in contexts, %d finished, %d leaving", p.inside, p.waiting, inContexts, queued, leaving)
	case p.inside < 0 || p.inside > p.buffers:
		return fmt.Errorf("%d of %d buffers held", p.inside, p.buffers)
	}
	// A frame that is on the wire is counted already; before it, others wait in buffers.
	gbit := float64(ch.now-epoch+uint64(p.egress)) / float64(p.clockMHz) * float64(p.gbps) * 1e3
	slack := 8 * float64(onWire(firmware.LengthMask)) * float64(p.buffers) * float64(len(p.wire))
	if sent := 8 * float64(s.sent); sent > gbit*float64(len(p.wire))+slack {
		return fmt.Errorf("%.0f bits sent, the wires carry %.0f", sent, gbit*float64(len(p.wire)))
	}
	for i := range p.wire {
		if used := p.wire[i].used; used > max(0, p.wire[i].free-epoch<<tickBits) {
			return fmt.Errorf("port %d sent for %d ticks of %d", i, used, p.wire[i].free-epoch<<tickBits)
		}
	}
	return nil
}

// TestConservation checks four laws over random cards, programs and traffic. Packets that
// arrive are admitted or lost. Those admitted are done or inside. Buffers are neither
// leaked nor overdrawn. Wires carry no more than their rate.
func TestConservation(t *testing.T) {
	for seed := range uint64(300) {
		c := newLoadCase(t, seed)
		if r := rand.New(rand.NewPCG(seed, 1)); r.IntN(2) == 0 {
			c.traffic.OfferedMpps = 0.1 + 60*r.Float64()
		}
		ch := c.start(t)
		for n := uint64(1); n < 4000; n += 1 + n/3 {
			err := ch.advance(n)
			if err == nil {
				err = conserved(ch, &ch.Stats)
			}
			if err != nil {
				t.Fatalf("seed %d, after %d packets: %v", seed, n, err)
			}
		}
	}
}

// ample gives the case queues as cards have them: a burst from all ports fits.
func (c *loadCase) ample() *loadCase {
	c.model.MACQueue, c.model.Buffers = max(c.model.MACQueue, 64), max(c.model.Buffers, 256)
	return c
}

// mpps runs a case for so many packets after a third of them.
func (c *loadCase) mpps(t testing.TB, packets uint64) *Result {
	ch := c.start(t)
	if err := ch.advance(packets / 3); err != nil {
		t.Fatal(err)
	}
	ch.clear()
	if err := ch.advance(packets/3 + packets); err != nil {
		t.Fatal(err)
	}
	return ch.result()
}

// TestOfferedIsReached checks that below capacity what is offered comes and goes, within
// 0.1 %, whatever the sizes, and that latency does not depend on how long the run is.
func TestOfferedIsReached(t *testing.T) {
	for seed := range uint64(40) {
		c := newLoadCase(t, seed).ample()
		most := c.mpps(t, 4000)
		c.traffic.OfferedMpps = 0.7 * min(most.Mpps, c.line(t))
		short, long := c.mpps(t, 10_000), c.mpps(t, 40_000)
		for _, got := range []float64{long.Offered, long.Mpps} {
			if math.Abs(got/c.traffic.OfferedMpps-1) > 0.001 {
				t.Errorf("seed %d: %.4f Mpps offered, %.4f arrive and %.4f are done; capacity %.2f, bound by %s",
					seed, c.traffic.OfferedMpps, long.Offered, long.Mpps, most.Mpps, most.Bottleneck)
				break
			}
		}
		for _, q := range [][2]Quantiles{{short.Latency.Wire, long.Latency.Wire}, {short.Latency.Host, long.Latency.Host}} {
			if a, b := float64(q[0].P50), float64(q[1].P50); math.Abs(a-b) > 0.25*a+5 {
				t.Errorf("seed %d: median latency %.0f ns over 10,000 packets, %.0f over 40,000", seed, a, b)
			}
		}
	}
}

// TestMonotone checks that more workers or faster ports lose no throughput beyond noise.
// Which packets are lost is chance, and with them the mean size and verdict of the others.
// Faster ports may cost up to a tenth if buffers bind: seed 16 falls from 37.0 to 34.1 Mpps
// between 40 and 100 Gbit/s. There a packet holds its buffer for 7.5 us, in which a context
// works on it for 3.7 us.
func TestMonotone(t *testing.T) {
	for seed := range uint64(20) {
		c := newLoadCase(t, seed).ample()
		c.model.Workers = 5
		workers := c.model.Workers
		before := 0.0
		for workers < 60 {
			c.model.Workers = workers
			r := c.mpps(t, 6000)
			if r.Mpps < before*0.97 {
				t.Errorf("seed %d: %.3f Mpps on %d workers, %.3f on fewer", seed, r.Mpps, workers, before)
			}
			before = max(before, r.Mpps)
			workers += 11
		}
		c.model.Workers = 40
		before = 0
		for _, gbps := range []int{1, 5, 10, 25, 40, 100} {
			c.model.PortGbps = gbps
			r := c.mpps(t, 12_000)
			if r.Mpps < before*0.9 {
				t.Errorf("seed %d: %.3f Mpps at %d Gbit/s, %.3f at less", seed, r.Mpps, gbps, before)
			}
			before = max(before, r.Mpps)
		}
	}
}
