package sim

import (
	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/nfpkit/nfpkit/nfp"
)

// The path of packets: ports and MAC, buffers, contexts, order, host and wire.
//
// Arrival times follow from the traffic alone, so arrivals are processed when a
// context asks for a packet. Those up to now are admitted or, if the MAC or the
// buffers are full, lost. If none is left, the asking context gets the next one to
// come, with its time. Contexts get packets in the order in which they ask.

// job is a packet in the chip.
type job struct {
	packet  int32  // of the traffic
	port    int32  //
	seq     uint64 // in order of arrival
	arrived int64  // ticks: last bit
	verdict Verdict
	held    bool
}

// packets is the state of the chip's packet engine.
type packets struct {
	traffic *Traffic
	done    int // address of the exit

	clockMHz      int64
	bit           int64 // ticks a thousand bits take at one port, times the port's Gbit/s
	gbps          int64
	interval      int64 // ticks between packets as offered; 0: as fast as the line
	gap           int64 // ticks between packets at the MAC
	buffers       int
	ingress       uint64
	egress        uint64
	takes         bool // a host takes packets
	hostMin       int64
	hostBase      int64
	hostPerByte   int64
	hostLatency   int64
	hostPerByteL  int64
	nextArrival   int64
	mac           server
	host          server
	wire          []server // by port
	queue         []job    // ring
	head, waiting int
	inside        int     // admitted and not gone: what holds a buffer
	leaving       []int64 // ring: when those that the host takes will be gone, ticks
	gone, going   int
	seq           uint64
	finished      []job // ring by sequence number, done and waiting for those before
	released      uint64
	latency       [numFates]*hdrhistogram.Histogram
}

// Bytes of a frame on the wire beside those of the packet: CRC, preamble, gap.
const wireOverhead = 4 + 8 + 12

func newPackets(m *nfp.Model, t *Traffic, done int, hostTakes bool) packets {
	nanos := func(ns float64) int64 { return ticks(ns * float64(m.ClockMHz) / 1000) }
	p := packets{
		traffic: t, done: done, takes: hostTakes, clockMHz: int64(m.ClockMHz),
		bit: int64(m.ClockMHz) << tickBits, gbps: int64(m.PortGbps),
		gap:     ticks(float64(m.ClockMHz) / m.MACMpps),
		buffers: max(m.Buffers, m.Workers*Contexts+1), ingress: uint64(m.Ingress), egress: uint64(m.Egress),
		hostMin: nanos(m.DMAMin), hostBase: nanos(m.DMABase), hostPerByte: nanos(m.DMARate),
		hostLatency: nanos(m.DMALatency), hostPerByteL: nanos(m.DMAPerByte),
		wire: make([]server, m.Ports), nextArrival: epoch << tickBits,
	}
	if t.OfferedMpps > 0 {
		p.interval = ticks(float64(m.ClockMHz) / t.OfferedMpps)
	}
	if offered := p.interval; m.FaultMpps > 0 && (offered == 0 || offered < ticks(float64(m.ClockMHz)/m.FaultFrom)) {
		p.gap = ticks(float64(m.ClockMHz) / m.FaultMpps)
	}
	p.queue, p.leaving = make([]job, p.buffers), make([]int64, p.buffers)
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

// frame is how many ticks a packet takes on a port's wire.
func (p *packets) frame(bytes int) int64 {
	return int64(bytes+wireOverhead) * 8 * p.bit / (1000 * p.gbps)
}

// arrive computes the next arrival: the time of its last bit, the packet, and whether
// the MAC takes it.
func (p *packets) arrive(j *job) bool {
	*j = job{packet: -1, arrived: p.nextArrival, port: int32(p.seq) % int32(len(p.wire))}
	bytes := p.traffic.same
	if bytes == 0 {
		j.packet = p.traffic.Draw()
		bytes = len(p.traffic.Packets[j.packet])
	}
	p.nextArrival += max(p.interval, p.frame(bytes)/int64(len(p.wire)))
	if p.mac.free > j.arrived+p.gap {
		return false
	}
	j.arrived = max(j.arrived, p.mac.free)
	p.mac.free = j.arrived + p.gap
	return true
}

// room reports whether there is a buffer for a packet that arrives at a time.
func (p *packets) room(at int64) bool {
	for p.going > 0 && p.leaving[p.gone] <= at {
		p.gone = (p.gone + 1) % len(p.leaving)
		p.going--
		p.inside--
	}
	return p.inside < p.buffers
}

// admit gives a packet a buffer and its sequence number.
func (p *packets) admit(j *job) {
	if j.packet < 0 {
		j.packet = p.traffic.Draw()
	}
	j.seq, j.held = p.seq, true
	p.seq++
	p.inside++
	p.mac.used += p.gap // what buffers had no room for could have come in
}

// take gives the next packet to a context that asks at a time. It returns the packet's
// time; false if all buffers are held by packets that wait for an earlier one, so that
// the time is not known yet.
func (p *packets) take(j *job, now uint64, s *Stats) (uint64, bool) {
	limit := int64(now) << tickBits
	for p.nextArrival <= limit {
		var a job
		switch {
		case !p.arrive(&a) || !p.room(a.arrived):
			s.Lost++
		default:
			p.admit(&a)
			p.queue[(p.head+p.waiting)%len(p.queue)] = a
			p.waiting++
		}
	}
	if p.waiting > 0 {
		*j = p.queue[p.head]
		p.head = (p.head + 1) % len(p.queue)
		p.waiting--
	} else {
		for !p.room(p.nextArrival) || !p.arrive(j) {
			if p.going == 0 && p.inside >= p.buffers {
				return never, false
			}
			var lost job
			if p.inside >= p.buffers {
				p.arrive(&lost)
			}
			s.Lost++
		}
		p.admit(j)
	}
	return max(now, uint64(j.arrived>>tickBits)+p.ingress), true
}

// release ends the work on a packet. It leaves the card after all packets that
// arrived before it.
func (p *packets) release(j *job, now uint64, s *Stats) {
	mask := uint64(len(p.finished) - 1)
	j.held = false
	p.finished[j.seq&mask] = *j
	p.finished[j.seq&mask].held = true
	s.done++
	s.Packets++
	s.Fates[j.verdict.To]++
	s.bytes += uint64(len(p.traffic.Packets[j.packet]) + wireOverhead)
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
		w := &p.wire[int(j.port)%len(p.wire)]
		now = w.take(now+int64(p.egress)<<tickBits, p.frame(j.verdict.Bytes))
	case j.verdict.To == ToHost && p.takes:
		start := p.host.take(now, max(p.hostMin, p.hostBase+p.hostPerByte*bytes))
		p.leaving[(p.gone+p.going)%len(p.leaving)] = p.host.free
		p.going++
		p.inside++
		now = start + p.hostLatency + p.hostPerByteL*bytes
	}
	p.inside--
	if j.verdict.To == Dropped || j.verdict.To == ToHost && !p.takes {
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
