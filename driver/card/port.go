package card

import "fmt"

// This file implements the wire. Frames that leave a port are passed to
// Options.Transmit and, if the ports are cabled, to the other port. Each frame is
// queued until the previous one is complete, so that delivery does not recurse.

// maxHops limits how often two programs may send the same frame back and forth.
const maxHops = 64

// maxFlights is the maximum number of frames on the cable at once.
const maxFlights = 1024

// wire is the state of everything outside of the card.
type wire struct {
	link    []bool
	flights []flight
	busy    bool
}

// flight is a frame on its way to a port.
type flight struct {
	port, hops int
	frame      []byte
}

func (w *wire) reset(ports int) {
	*w = wire{link: make([]bool, ports)}
	for i := range w.link {
		w.link[i] = true
	}
}

// Receive delivers a frame to a port. The card keeps the frame.
func (c *Card) Receive(port int, frame []byte) error {
	switch {
	case port < 0 || port >= len(c.model.Ports):
		return fmt.Errorf("port %d: the card has %d", port, len(c.model.Ports))
	case len(frame) < ethHeader || len(frame) > maxFrame:
		return fmt.Errorf("port %d: frame of %d bytes: %d to %d are possible", port, len(frame), ethHeader, maxFrame)
	}
	c.fly(flight{port, 0, frame})
	c.settle()
	return nil
}

// Room returns the number of frames for which the host of a port has buffers on its
// first ring. It is 0 while the port is down.
func (c *Card) Room(port int) int {
	if port < 0 || port >= len(c.model.Ports) || !c.loaded {
		return 0
	}
	v := c.vnics[port]
	if !v.enabled || !v.rx[0].on {
		return 0
	}
	return int(min(c.queues[v.queue+freeListQueue].filled(), v.rx[0].mask+1))
}

// SetLink connects or disconnects the cable of a port.
func (c *Card) SetLink(port int, up bool) error {
	if port < 0 || port >= len(c.model.Ports) {
		return fmt.Errorf("port %d: the card has %d", port, len(c.model.Ports))
	}
	if c.wire.link[port] == up {
		return nil
	}
	c.wire.link[port] = up
	if v := c.vnics[port]; c.loaded {
		v.writeLink()
		if v.enabled {
			v.interrupt(int(c.mem.u8(v.base+barLinkIRQ)), causeLink)
		}
	}
	return nil
}

// emit sends a frame out of a port.
func (c *Card) emit(port int, frame []byte, hops int) {
	if !c.wire.link[port] {
		return
	}
	c.countMAC(port, macTX, frame)
	if c.opt.Transmit != nil {
		c.opt.Transmit(port, frame)
	}
	if !c.opt.Cable || len(c.model.Ports) != 2 {
		return
	}
	if hops >= maxHops {
		c.logf("port %d: a frame went back and forth %d times: it is dropped", port, hops)
		return
	}
	c.fly(flight{1 - port, hops + 1, frame})
}

func (c *Card) fly(f flight) {
	if len(c.wire.flights) == maxFlights {
		c.logf("port %d: %d frames wait: one more is dropped", f.port, maxFlights)
		return
	}
	c.wire.flights = append(c.wire.flights, f)
}

// settle delivers every frame on the wire.
func (c *Card) settle() {
	if c.wire.busy {
		return
	}
	c.wire.busy = true
	for len(c.wire.flights) > 0 {
		f := c.wire.flights[0]
		c.wire.flights = c.wire.flights[1:]
		if !c.wire.link[f.port] {
			continue
		}
		c.countMAC(f.port, macRX, f.frame)
		c.vnics[f.port].arrive(f.frame, f.hops)
	}
	c.wire.flights, c.wire.busy = nil, false
}

// Kinds of destination.
const (
	unicast = iota
	multicast
	broadcast
)

func castOf(frame []byte) int {
	switch {
	case len(frame) < 6 || frame[0]&1 == 0:
		return unicast
	case [6]byte(frame) == [6]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		return broadcast
	}
	return multicast
}

// macCounters holds offsets in a port's MAC statistics, nfp_port.h.
type macCounters struct {
	octets, frames, all, unicast, multicast, broadcast uint64
	sizes                                              [7]uint64 // up to 64, 127, 255, 511, 1023, 1518, above
}

var (
	macRX = macCounters{0x000, 0x050, 0x070, 0x060, 0x068, 0x030, [7]uint64{0x080, 0x088, 0x0c0, 0x0c8, 0x090, 0x098, 0x0d0}}
	macTX = macCounters{0x140, 0x188, 0, 0x190, 0x198, 0x160, [7]uint64{0x168, 0x1a0, 0x1a8, 0x170, 0x178, 0x1b0, 0x1b8}}
)

// countMAC counts a frame on the wire, including its four bytes of checksum.
func (c *Card) countMAC(port int, m macCounters, frame []byte) {
	n := uint64(len(frame)) + 4
	add := func(off, by uint64) { c.mem.add64(addrMACStats+uint64(portSlot(port))*macStatsBytes+off, by) }
	add(m.octets, n)
	add(m.frames, 1)
	if m.all != 0 {
		add(m.all, 1)
	}
	add([]uint64{m.unicast, m.multicast, m.broadcast}[castOf(frame)], 1)
	class := 0
	for class < 6 && n > []uint64{64, 127, 255, 511, 1023, 1518}[class] {
		class++
	}
	add(m.sizes[class], 1)
}
