package sim

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/nfpkit/nfpkit/nfp"
)

// The path of packets through the chip: buffers, contexts, order, host and wire.
//
// Arrival times follow from the traffic alone (arrivals.go), so arrivals are processed
// when a context asks for a packet. Those up to now are admitted, or lost if the MAC or
// the buffers are full. If none is left, the asking context gets the next one to come
// with its time. Contexts get packets in the order in which they ask.
//
// A packet holds its buffer until its last bit has left for the wire or the host.

// job is a packet in the chip.
type job struct {
	packet  int32  // of the traffic
	port    int32  //
	seq     uint64 // in order of admission
	arrived int64  // ticks: last bit
	ready   int64  // ticks: the MAC has taken it
	verdict Verdict
	held    bool
}

// packets is the state of the chip's packet engine.
type packets struct {
	arrivals
	done          int // address of the exit
	buffers       int
	some          int // number of held buffers above which packets may be lost
	ingress       uint64
	egress        uint64
	takes         bool // a host takes packets
	hostMin       int64
	hostBase      int64
	hostPerByte   int64
	hostLatency   int64
	hostPerByteL  int64
	host          exit
	wire          []exit // by port
	queue         []job  // ring
	head, waiting int
	inside        int // admitted and not gone: what holds a buffer
	working       int // of these, with contexts
	seq           uint64
	finished      []job // ring by sequence number, done and waiting for those before
	released      uint64
	latency       [numFates]*hdrhistogram.Histogram
}

// lossy is the number of free buffers below which packets may be lost. It spreads the
// losses over the packets of a capture (arrivals.go), and leaves the engines the rest.
const lossy = 16

// exit is a port or the host, to which packets leave: a server, and a ring of the times
// at which the packets that it was given are gone, in ticks.
type exit struct {
	server
	gone        []int64
	head, count int
}

// send gives the exit a packet that occupies it for busy ticks from at or later on, and
// holds its buffer until then. It returns when the exit began with it.
func (x *exit) send(at, busy int64) int64 {
	start := x.take(at, busy)
	x.gone[(x.head+x.count)%len(x.gone)] = x.free
	x.count++
	return start
}

// left removes the packets that are gone at a time and returns their number.
func (x *exit) left(at int64) int {
	n := 0
	for x.count > 0 && x.gone[x.head] <= at {
		x.head = (x.head + 1) % len(x.gone)
		x.count--
		n++
	}
	return n
}

func newPackets(m *nfp.Model, t *Traffic, done int, hostTakes bool) packets {
	nanos := func(ns float64) int64 { return ticks(ns * float64(m.ClockMHz) / 1000) }
	p := packets{
		arrivals: newArrivals(m, t), done: done, takes: hostTakes,
		buffers: max(m.Buffers, m.Workers*Contexts+1), ingress: uint64(m.Ingress), egress: uint64(m.Egress),
		hostMin: nanos(m.DMAMin), hostBase: nanos(m.DMABase), hostPerByte: nanos(m.DMARate),
		hostLatency: nanos(m.DMALatency), hostPerByteL: nanos(m.DMAPerByte),
	}
	p.some = p.buffers - min(lossy, p.buffers-m.Workers*Contexts)
	p.queue = make([]job, p.buffers)
	p.host.gone = make([]int64, p.buffers)
	for range m.Ports {
		p.wire = append(p.wire, exit{gone: make([]int64, p.buffers)})
	}
	size := 1
	for size < 2*(p.buffers+m.Workers*Contexts) {
		size *= 2
	}
	p.finished = make([]job, size)
	for i := range p.latency {
		p.latency[i] = hdrhistogram.New(1, maxLatencyNS, 3)
	}
	return p
}

// room reports whether there is a buffer for a packet that is ready at a time.
func (p *packets) room(at int64) bool {
	p.leave(at)
	return !p.full(int64(p.inside), int64(p.some), int64(p.buffers))
}

// leave frees the buffers of packets that are gone at a time.
func (p *packets) leave(at int64) {
	p.inside -= p.host.left(at)
	for i := range p.wire {
		p.inside -= p.wire[i].left(at)
	}
}

// accept gives the next packet to arrive a buffer and its number. It returns false if the
// packet is lost.
func (p *packets) accept(j *job, s *Stats) bool {
	s.Arrived++
	switch {
	case !p.arrivals.take(j):
		s.Lost[AtMAC]++
		return false
	case !p.room(j.ready):
		s.Lost[NoBuffer]++
		return false
	}
	if j.packet < 0 {
		j.packet = p.traffic.Draw()
	}
	j.seq, j.held = p.seq, true
	p.seq++
	p.inside++
	p.mac.used += p.gap // the time of packets without a buffer was free
	return true
}

// take gives the next packet to a context that asks at a time. It returns the packet's
// time. It returns false if the packet is yet to come, few buffers are free, and contexts
// have packets: what they release until then decides whether there is a buffer.
func (p *packets) take(j *job, now uint64, s *Stats) (uint64, bool) {
	limit := int64(now) << tickBits
	for p.next() <= limit {
		var a job
		if p.accept(&a, s) {
			p.queue[(p.head+p.waiting)%len(p.queue)] = a
			p.waiting++
		}
	}
	if p.waiting > 0 {
		*j = p.queue[p.head]
		p.head = (p.head + 1) % len(p.queue)
		p.waiting--
	} else {
		for accepted := false; !accepted; accepted = p.accept(j, s) {
			if p.leave(p.next()); p.inside > p.some && p.working > 0 {
				return never, false
			}
		}
	}
	p.working++
	return max(now, uint64(j.ready>>tickBits)+p.ingress), true
}

// release ends the work on a packet. It leaves the card after all packets that
// arrived before it.
func (p *packets) release(j *job, now uint64, s *Stats) {
	mask := uint64(len(p.finished) - 1)
	j.held = false
	p.working--
	p.finished[j.seq&mask] = *j
	p.finished[j.seq&mask].held = true
	s.done++
	s.Packets++
	s.Fates[j.verdict.To]++
	s.bytes += uint64(len(p.traffic.Packets[j.packet]))
	s.received += uint64(onWire(len(p.traffic.Packets[j.packet])))
	if j.verdict.To == ToWire {
		s.sent += uint64(onWire(j.verdict.Bytes))
	}
	for p.finished[p.released&mask].held {
		f := &p.finished[p.released&mask]
		f.held = false
		p.released++
		p.depart(f, int64(now)<<tickBits)
	}
}

// depart sends a packet out, and records its latency.
func (p *packets) depart(j *job, now int64) {
	bytes := int64(j.verdict.Bytes)
	switch {
	case j.verdict.To == ToWire:
		w := &p.wire[j.port]
		w.send(now+int64(p.egress)<<tickBits, p.frame(j.verdict.Bytes))
		now = w.free
	case j.verdict.To == ToHost && p.takes:
		now = p.host.send(now, max(p.hostMin, p.hostBase+p.hostPerByte*bytes))
		now += p.hostLatency + p.hostPerByteL*bytes
	default:
		p.inside--
		return
	}
	ns := (now - j.arrived) * 1000 / p.clockMHz >> tickBits
	_ = p.latency[j.verdict.To].RecordValue(min(ns, maxLatencyNS)) // in range
}

// clear resets the statistics.
func (p *packets) clear() {
	p.mac.used, p.host.used = 0, 0
	for i := range p.wire {
		p.wire[i].used = 0
	}
	for _, h := range p.latency {
		h.Reset()
	}
}
