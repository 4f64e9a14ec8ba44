package sim

import "github.com/nfpkit/nfpkit/nfp"

// The arriving side: senders, ports, MAC.
//
// A port is a wire that carries one frame at a time. Senders hand frames over at the
// offered rate, each to the port that is free first. A frame that is due while its wire
// is busy waits for it, so that frames of mixed sizes come at the offered rate as far as
// the wires can carry it. A frame has arrived with its last bit. The MAC then takes one
// packet after the other, at most MACMpps of them, and holds MACQueue that wait. A packet
// that comes while these are all there is lost.
//
// Which packets are lost is left to chance (assumed): in the second half of the MAC's
// queue, and in the last buffers, the probability grows from 0 to 1. If only a full queue
// lost packets, the periods of the traffic and of the MAC would decide which packets of a
// capture are lost. The verdicts of the others would not be the capture's.

// wireTime converts between bytes and the time that they take on a port's wire.
type wireTime struct {
	clockMHz int64
	gbps     int64
}

// frame is how many ticks a packet takes on a port's wire.
func (w wireTime) frame(bytes int) int64 {
	return int64(onWire(bytes)) * 8 * (w.clockMHz << tickBits) / (1000 * w.gbps)
}

// onWire is how many bytes a packet's frame takes on the wire: padded to the least, with
// CRC, preamble and gap.
func onWire(bytes int) int { return max(bytes, 60) + 4 + 8 + 12 }

// arrivals is the state of ports and MAC. Times are ticks.
type arrivals struct {
	wireTime
	traffic *Traffic
	ports   []inbound
	every   int64 // between frames as offered; 0: as fast as the wires
	due     int64 // when the next frame is due
	mac     server
	gap     int64 // between packets that the MAC takes
	wait    int64 // how long a packet may wait for the MAC
	random  random
}

// inbound is the frame that a port's wire carries.
type inbound struct {
	packet int32 // of the traffic; -1 if it is drawn when a buffer takes it
	end    int64 // last bit
}

func newArrivals(m *nfp.Model, t *Traffic) arrivals {
	a := arrivals{
		wireTime: wireTime{int64(m.ClockMHz), int64(m.PortGbps)},
		traffic:  t, random: seeded(t.Seed, 0x6d6163), due: epoch << tickBits, gap: ticks(float64(m.ClockMHz) / m.MACMpps),
	}
	offered := a.lineMpps(m.Ports)
	if t.OfferedMpps > 0 {
		a.every = ticks(float64(m.ClockMHz) / t.OfferedMpps)
		offered = min(offered, t.OfferedMpps)
	}
	if m.FaultMpps > 0 && offered > m.FaultFrom {
		a.gap = ticks(float64(m.ClockMHz) / m.FaultMpps)
	}
	a.wait = a.gap * int64(m.MACQueue)
	for i := range m.Ports {
		f := a.load(0)
		if a.every == 0 { // as fast as the wires: the ports' frames interleave
			f.end = a.due + int64(i)*a.frame(len(t.Packets[max(f.packet, 0)]))/int64(m.Ports)
		}
		a.ports = append(a.ports, f)
	}
	return a
}

// lineMpps is the highest rate at which the traffic can arrive at ports, in M/s.
func (a *arrivals) lineMpps(ports int) float64 {
	mean, sum := 0.0, 0.0
	for i, p := range a.traffic.Packets {
		weight := 1.0
		if a.traffic.Weights != nil {
			weight = a.traffic.Weights[i]
		}
		mean += weight * float64(a.frame(len(p)))
		sum += weight
	}
	return float64(ports) * float64(a.clockMHz) * sum / (mean / (1 << tickBits))
}

// load puts the next frame on a wire that is free from a time on.
func (a *arrivals) load(free int64) inbound {
	f := inbound{packet: -1}
	bytes := a.traffic.same
	if bytes == 0 {
		f.packet = a.traffic.Draw()
		bytes = len(a.traffic.Packets[f.packet])
	}
	f.end = free + a.frame(bytes)
	if a.every > 0 {
		f.end = max(f.end, a.due)
		a.due += a.every
	}
	return f
}

// first returns the port whose frame arrives next.
func (a *arrivals) first() int {
	at := 0
	for i := range a.ports {
		if a.ports[i].end < a.ports[at].end {
			at = i
		}
	}
	return at
}

// next is when the next frame arrives.
func (a *arrivals) next() int64 { return a.ports[a.first()].end }

// take fills a job with the next frame and puts another on its wire. It reports whether
// the MAC takes the packet; if so, ready is when it has.
func (a *arrivals) take(j *job) bool {
	port := a.first()
	f := &a.ports[port]
	*j = job{packet: f.packet, port: int32(port), arrived: f.end}
	*f = a.load(f.end)
	if a.full(a.mac.free-j.arrived, a.wait/2, a.wait) {
		return false
	}
	j.ready = max(j.arrived, a.mac.free)
	a.mac.free = j.ready + a.gap
	return true
}

// full decides by chance whether a queue is full: never at some length or below it, always
// at most.
func (a *arrivals) full(length, some, most int64) bool {
	return length >= most || length > some && length-some > int64(a.random.next()>>1)%(most-some)
}
