package main

import (
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/silicon"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"

	"github.com/cilium/ebpf"
)

// run describes a measurement to be simulated.
type run struct {
	path    *silicon.Path
	workers int
	packets uint64 // measured after the warm-up
}

// inline simulates a run with the path in the place of steps of the firmware. It
// returns the result, and the cycles that a packet costs a worker by turns. The model is the chip's own; only
// the program's instructions are not executed one by one. TestInline compares it with
// words.
func (r *run) inline(m *nfp.Model, fw *firmware.Profile) (*sim.Result, float64, error) {
	p, err := r.path.Inline(fw, &m.Timing)
	if err != nil {
		return nil, 0, err
	}
	model := *m
	model.Workers = r.workers
	store := sim.NewStore()
	store.Trap(fw.Done, func(*sim.Context) (int, sim.Cost, error) { return sim.Halt, sim.Cost{}, nil })
	ch, err := sim.NewChip(store, sim.NewMemory().External, p, &sim.Options{Model: &model})
	if err != nil {
		return nil, 0, err
	}
	program := &sim.Program{
		Start: fw.Done,
		Enter: func(*sim.Context, int) error { return nil },
	}
	var t turns
	program.Exit = func(c *sim.Context) (sim.Verdict, error) {
		t.count(c.ID, c.Engine().Clock(), r.packets/4)
		return sim.Verdict{Bytes: r.path.Bytes}, nil
	}
	out, err := ch.Run(program, r.traffic(), fw.Done, fw.HostTakes, r.measure())
	if err != nil {
		return nil, 0, fmt.Errorf("path %s: %w", r.path.ID, err)
	}
	return out, float64(r.workers) / t.rate(), nil
}

// turns measures a rate from the times at which each context ends its packets. Packets
// by time would be off by those under way at both ends: contexts in step end together,
// and one of 1,000 packets is 0.1 %.
type turns struct {
	seen uint64
	by   []turn // by context
}

type turn struct {
	first, last, packets uint64
}

// count records that a context ends a packet, after so many packets of warm-up.
func (t *turns) count(context int, now, warm uint64) {
	for len(t.by) <= context {
		t.by = append(t.by, turn{})
	}
	if t.seen++; t.seen <= warm {
		return
	}
	x := &t.by[context]
	if x.first == 0 {
		x.first = now
	} else {
		x.packets++
	}
	x.last = now
}

// rate returns packets a cycle.
func (t *turns) rate() float64 {
	sum := 0.0
	for i := range t.by {
		if x := &t.by[i]; x.packets > 0 {
			sum += float64(x.packets) / float64(x.last-x.first)
		}
	}
	return sum
}

// words simulates a run with the path's words.
func (r *run) words(m *nfp.Model, fw *firmware.Profile) (*sim.Result, error) {
	nic, err := driver.New(fw, &driver.Options{Spec: sim.NewSpec(m)})
	if err != nil {
		return nil, err
	}
	if fw.DirectMap {
		if _, err := nic.CreateMap(&ebpf.MapSpec{Name: "array", Type: ebpf.Array, KeySize: 4, ValueSize: 4096, MaxEntries: 32}); err != nil {
			return nil, err
		}
	}
	im, err := r.path.Image()
	if err != nil {
		return nil, fmt.Errorf("path %s: %w", r.path.ID, err)
	}
	prog, err := nic.Load(im, ebpf.XDP)
	if err != nil {
		return nil, fmt.Errorf("path %s: %w", r.path.ID, err)
	}
	out, err := nic.Bench(prog, &driver.Bench{Workers: r.workers, Traffic: *r.traffic(), Measure: *r.measure()})
	if err != nil {
		return nil, fmt.Errorf("path %s: %w", r.path.ID, err)
	}
	return &out.Result, nil
}

func (r *run) traffic() *sim.Traffic {
	return &sim.Traffic{Packets: [][]byte{make([]byte, r.path.Bytes)}}
}

// measure measures so many packets, however wide the interval.
func (r *run) measure() *sim.Measure {
	return &sim.Measure{Packets: r.packets, CIPercent: 1e-9, WarmUp: r.packets / 4}
}
