package driver

import (
	"fmt"
	"time"

	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Bench configures a measurement of a program. The card is that of Options.Spec.
type Bench struct {
	Workers    int // number of engines; 0 selects the card's
	Traffic    sim.Traffic
	Seed       uint64 // 0 selects 1
	Measure    sim.Measure
	Profile    bool   // count cycles by control-store word: BenchResult.Words
	Functional bool   // run packets one after another, without timing
	Ifindex    uint32 // as in Input, for all packets
	RxQueue    uint32
}

// BenchResult is a sim.Result, with the cost of each control-store word if Profile is
// set.
type BenchResult struct {
	sim.Result
	Words []sim.WordCost `json:"-"` // by word of the program
	Store []sim.WordCost `json:"-"` // by address in the code store, other programs included
}

// Bench runs a program on all of the card's workers and measures it. Maps keep the
// contents that the packets left. A *RunError is a fault of the program.
func (n *NIC) Bench(prog *Program, opt *Bench) (*BenchResult, error) {
	if raw(prog.Type) {
		return nil, fmt.Errorf("%s: the program does not process packets", prog.Name)
	}
	for i, p := range opt.Traffic.Packets {
		if len(p) > firmware.LengthMask {
			return nil, fmt.Errorf("packet %d: %d bytes, the most is %d", i+1, len(p), firmware.LengthMask)
		}
	}
	if err := n.fits(); err != nil {
		return nil, err
	}
	begin := time.Now()
	alone, err := n.alone(prog, opt)
	if err != nil {
		return nil, err
	}
	var r *BenchResult
	words := 0.0
	if opt.Functional {
		r, words, err = n.benchFunctional(prog, opt)
	} else {
		r, err = n.benchChip(prog, opt)
	}
	if err != nil {
		return nil, err
	}
	r.Firmware = n.Profile.Name
	r.IssueCycles, r.ElapsedCycles = alone.IssueCycles, alone.ElapsedCycles
	r.SecondsWall = time.Since(begin).Seconds()
	if words == 0 {
		words = r.WordsPerPacket * float64(r.Packets+r.WarmUp)
	}
	r.WordsPerSecond = words / r.SecondsWall
	return r, nil
}

// fits checks that the card's external memory holds the maps.
func (n *NIC) fits() error {
	total := 0
	for _, m := range n.maps {
		total += len(m.region.Data)
	}
	if most := n.spec.EMEM.Bytes; total > most {
		return fmt.Errorf("card %s: maps take %d bytes, external memory has %d", n.spec.Name, total, most)
	}
	return nil
}

// alonePackets is the number of packets over which the program's own cycles are
// averaged.
const alonePackets = 256

// alone measures the program on one context, from entry to exit.
func (n *NIC) alone(prog *Program, opt *Bench) (*sim.Result, error) {
	r := &sim.Result{}
	count := float64(min(len(opt.Traffic.Packets), alonePackets))
	for i, p := range opt.Traffic.Packets[:int(count)] {
		one, err := n.Run(prog, &Input{Packet: p, Ifindex: opt.Ifindex, RxQueue: opt.RxQueue})
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i+1, err)
		}
		r.IssueCycles += float64(one.Issue) / count
		r.ElapsedCycles += float64(one.Elapsed) / count
	}
	return r, nil
}

// benchChip runs the program on a chip.
func (n *NIC) benchChip(prog *Program, opt *Bench) (*BenchResult, error) {
	model := n.spec.Model
	if opt.Workers != 0 {
		model.Workers = opt.Workers
	}
	ch, err := sim.NewChip(n.store, n.mem.External, n.Profile, &sim.Options{Model: &model, Seed: opt.Seed, MaxWords: n.opt.MaxWords, Profile: opt.Profile})
	if err != nil {
		return nil, err
	}
	lanes, err := n.chipLanes(ch)
	if err != nil {
		return nil, err
	}
	saved := n.lanes
	n.lanes = lanes
	defer func() { n.lanes = saved }()
	if opt.Profile {
		n.store.Count(true)
		defer n.store.Count(false)
	}
	packets := opt.Traffic.Packets
	in := Input{Ifindex: opt.Ifindex, RxQueue: opt.RxQueue}
	run := &sim.Program{
		Start: prog.Start, Name: prog.Name,
		Enter: func(c *sim.Context, i int) error { return lanes[c.ID].arrive(prog, packets[i], &in) },
		Exit:  func(c *sim.Context) (sim.Verdict, error) { return lanes[c.ID].leave() },
	}
	traffic := opt.Traffic
	traffic.Seed = opt.Seed
	r, err := ch.Run(run, &traffic, n.Profile.Done, n.Profile.HostTakes, &opt.Measure)
	if err != nil {
		return nil, n.blame(err)
	}
	out := &BenchResult{Result: *r}
	if opt.Profile {
		out.Words, out.Store = ch.Words[prog.Start:prog.Start+prog.Words], ch.Words
	}
	return out, nil
}

// chipLanes lays out the contexts of a chip: consecutive packet buffers in the CTM of
// each island, stacks and vectors in local memory.
func (n *NIC) chipLanes(ch *sim.Chip) ([]*lane, error) {
	stack := uint32(n.Profile.Stack+63) &^ 63
	if need := firmware.VectorBytes + sim.Contexts*(stack+firmware.VectorBytes); need > 4*sim.LMWords {
		return nil, fmt.Errorf("firmware %s: %d stacks of %d bytes do not fit local memory", n.Profile.Name, sim.Contexts, n.Profile.Stack)
	}
	var lanes []*lane
	next := map[*sim.Memory]int{}
	for _, e := range ch.Engines {
		for i := range e.Ctx {
			number := next[e.Mem]
			next[e.Mem]++
			// No address of a context's local memory is zero.
			at := firmware.VectorBytes + uint32(i)*(stack+firmware.VectorBytes)
			l, err := n.newLane(&e.Ctx[i], uint32(number), number*firmware.BufferBytes, at, at+stack)
			if err != nil {
				return nil, err
			}
			lanes = append(lanes, l)
		}
	}
	return lanes, nil
}

// arrive delivers a packet to the program, as firmware does. Registers that the
// contract leaves undefined keep their old values.
func (n *lane) arrive(prog *Program, data []byte, in *Input) error {
	k := min(len(data), n.Profile.CTMBytes())
	copy(n.buffer[firmware.PacketOffset:], data[:k])
	n.run.in, n.run.tail = k, data[k:]
	n.run.prog, n.run.redirect, n.run.events, n.run.tails = prog, nil, n.run.events[:0], 0
	n.describe(in, len(data))
	n.promise()
	return nil
}

// leave returns the program's verdict.
func (n *lane) leave() (sim.Verdict, error) {
	if _, _, err := n.done(n.ctx); err != nil {
		return sim.Verdict{}, fmt.Errorf("%s: %w", n.run.prog.Name, err)
	}
	v := sim.Verdict{Bytes: int(n.vec(firmware.VectorLength) & firmware.LengthMask)}
	switch word := n.ctx.A(0); {
	case word&firmware.ResultTX != 0:
		v.To = sim.ToWire
	case word&firmware.ResultPass != 0:
		v.To = sim.ToHost
	case word&firmware.ResultDrop == 0:
		return v, fmt.Errorf("%s: no return code gives result word 0x%08x", n.run.prog.Name, word)
	}
	return v, nil
}

// functionalWords is the maximum number of instructions of a functional run.
const functionalWords = 200_000_000

// benchFunctional runs packets one after another on one engine.
func (n *NIC) benchFunctional(prog *Program, opt *Bench) (*BenchResult, float64, error) {
	traffic := opt.Traffic
	traffic.Seed = opt.Seed
	if err := traffic.Start(); err != nil {
		return nil, 0, err
	}
	l, e := n.main, n.main.engine
	r := &BenchResult{Result: sim.Result{Card: n.spec.Name, Workers: 1, Seed: max(opt.Seed, 1), Verdicts: map[string]uint64{},
		Utilization: map[string]float64{}, Spent: map[string]float64{}, Stalls: map[string]float64{}}}
	fates := [3]uint64{}
	first := e.Words
	most := opt.Measure.Packets
	if most == 0 {
		most = 2_000_000
	}
	in := Input{Ifindex: opt.Ifindex, RxQueue: opt.RxQueue}
	for r.Packets < most && e.Words-first < functionalWords {
		data := traffic.Packets[traffic.Draw()]
		if err := l.arrive(prog, data, &in); err != nil {
			return nil, 0, err
		}
		l.ctx.Start(prog.Start)
		if err := e.Run(n.opt.MaxWords); err != nil {
			return nil, 0, n.blame(l.explain(err))
		}
		v, err := l.leave()
		if err != nil {
			return nil, 0, err
		}
		fates[v.To]++
		r.Packets++
		r.Bytes += float64(len(data))
		if opt.Measure.Progress != nil && r.Packets%4096 == 0 && !opt.Measure.Progress(r.Packets, 100) {
			r.Partial = true
			break
		}
	}
	words := float64(e.Words - first)
	r.Bytes /= float64(r.Packets)
	r.WordsPerPacket = words / float64(r.Packets)
	r.Verdicts["drop"], r.Verdicts["host"], r.Verdicts["wire"] = fates[sim.Dropped], fates[sim.ToHost], fates[sim.ToWire]
	return r, words, nil
}
