package sim

import (
	"errors"
	"fmt"
	"math"
	"sort"
)

// Traffic describes the arriving packets: a set, their frequencies, and their
// rate.
type Traffic struct {
	Packets [][]byte
	// Weights say how often each packet comes, relative to the others. Nil plays
	// the packets in order, over and over.
	Weights     []float64
	OfferedMpps float64 // all ports together; 0: as fast as the ports' lines
	Seed        uint64

	same       int      // bytes, if all packets have the same length
	cumulative []uint32 // by packet, of 1<<32
	next       int
	random     random
}

// weightSteps is the number of steps to which weights are rounded, so that the
// drawn packets do not depend on a machine's rounding.
const weightSteps = 1 << 24

// Start checks the traffic and resets it to its first packet.
func (t *Traffic) Start() error {
	if len(t.Packets) == 0 {
		return errors.New("traffic: no packets")
	}
	if t.OfferedMpps < 0 || math.IsNaN(t.OfferedMpps) || math.IsInf(t.OfferedMpps, 0) {
		return fmt.Errorf("traffic: %g Mpps offered, must be above 0", t.OfferedMpps)
	}
	t.same = len(t.Packets[0])
	for _, p := range t.Packets {
		if len(p) != t.same {
			t.same = 0
			break
		}
	}
	t.random, t.next = seeded(t.Seed, 0x9e37), 0
	if t.Weights == nil {
		return nil
	}
	if len(t.Weights) != len(t.Packets) {
		return fmt.Errorf("traffic: %d weights for %d packets", len(t.Weights), len(t.Packets))
	}
	sum := 0.0
	for _, w := range t.Weights {
		if !(w >= 0) {
			return fmt.Errorf("traffic: weight %g", w)
		}
		sum += w
	}
	t.cumulative = make([]uint32, len(t.Weights))
	at, total := 0.0, uint32(0)
	for i, w := range t.Weights {
		at += w
		total = max(total, uint32(math.Round(at/sum*weightSteps)))
		t.cumulative[i] = total
	}
	t.cumulative[len(t.cumulative)-1] = weightSteps
	return nil
}

// Draw chooses the next packet.
func (t *Traffic) Draw() int32 {
	if t.cumulative == nil {
		i := t.next
		if t.next++; t.next == len(t.Packets) {
			t.next = 0
		}
		return int32(i)
	}
	v := uint32(t.random.next() >> 40)
	return int32(sort.Search(len(t.cumulative), func(i int) bool { return t.cumulative[i] > v }))
}
