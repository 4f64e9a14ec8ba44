package live

import (
	"context"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/offload"
)

// samples is the stream of a map in host memory. It holds at most ringSamples samples.
type samples struct {
	c    *Card
	t    *table
	ring chan offload.Sample
	only *int // the index to read; nil: every
	lost uint64
}

// ringSamples is the number of samples kept until the reader takes one.
const ringSamples = 1024

// newEvents creates an array of perf events.
func (c *Card) newEvents(k *Kernel, spec *ebpf.MapSpec) offload.Map {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastID++
	t := &table{id: c.lastID, spec: spec.Copy(), host: true}
	c.maps[t.id] = t
	return mapHandle{k.handle(t), t}
}

// onCard creates the card's entry for a map in host memory, if there is none yet.
func (t *table) onCard(c *Card) error {
	if !t.host || t.m != nil {
		return nil
	}
	m, err := c.nic.CreateMap(t.spec)
	t.m = m
	return err
}

// Samples opens the stream of an array of perf events.
func (k *Kernel) Samples(m offload.Map, opt *offload.SampleOptions) (offload.Samples, error) {
	h, ok := m.(mapHandle)
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if !ok || !h.t.host {
		return nil, &offload.Error{Op: "open the events of", Object: "map " + h.t.spec.Name, Reason: "map-type", Msg: "events come through maps of type perf_event_array"}
	}
	s := &samples{c: k.c, t: h.t, ring: make(chan offload.Sample, ringSamples)}
	if opt != nil && opt.Only {
		s.only = &opt.Index
	}
	h.t.reader = s
	return s, nil
}

// deliver passes a program's events to the readers of their maps. Like the kernel, it
// pads data so that the next sample is aligned.
func (c *Card) deliver(events []driver.Event) {
	for _, e := range events {
		for _, t := range c.maps {
			if t.host && t.m != nil && t.m.ID == e.ID && t.reader != nil {
				t.reader.add(&e)
			}
		}
	}
}

func (s *samples) add(e *driver.Event) {
	if s.only != nil && *s.only != int(e.CPU) {
		return
	}
	data := append(append([]byte(nil), e.Data...), e.Packet...)
	data = append(data, make([]byte, -(len(data)+4)&7)...)
	if s.lost > 0 && len(s.ring) < cap(s.ring)-1 {
		s.ring <- offload.Sample{Lost: s.lost}
		s.lost = 0
	}
	select {
	case s.ring <- offload.Sample{CPU: int(e.CPU), Data: data}:
	default:
		s.lost++
	}
}

// Read waits for the next sample.
func (s *samples) Read(ctx context.Context) (offload.Sample, error) {
	select {
	case sample := <-s.ring:
		return sample, nil
	default:
	}
	select {
	case sample := <-s.ring:
		return sample, nil
	case <-ctx.Done():
		return offload.Sample{}, ctx.Err()
	}
}

// Close ends the stream.
func (s *samples) Close() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.t.reader == s {
		s.t.reader = nil
	}
	return nil
}
