package card

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// This file implements NFD3 rings. A transmit descriptor has 16 bytes. A packet
// consists of the buffers of consecutive descriptors, up to one marked as the end. The
// 8-byte entries of a receive ring hold free buffers and, after the card has filled
// them, the packets. Descriptors: nfd3/nfd3.h and nfp_net.h of the driver.

const (
	txDescBytes = 16
	rxDescBytes = 8

	txEnd    = 1 << 7 // of byte 3
	txOffset = 1<<7 - 1
	rxDone   = 1 << 7 // of byte 3

	gatherMax = 0x3fff // maximum length of a packet in the packet vector
)

var (
	errRingOff  = errors.New("the ring is off")
	errRingOver = errors.New("more entries than the ring has")
	errTooLong  = errors.New("the packet is too long")
)

// transmit sends all packets of a ring.
func (v *vnic) transmit(r int) {
	t, q := &v.tx[r], &v.c.queues[v.queue+queueStride*r]
	if !v.enabled || !t.on {
		v.c.logf("%v: transmit ring %d: %v", v, r, errRingOff)
		return
	}
	if q.filled() > t.mask+1 {
		v.fail("transmit", r, t, errRingOver)
		return
	}
	for q.read != q.write && v.tx[r].on {
		frame, flags, err := v.gather(t, q)
		if err != nil {
			// The descriptors that follow may be as wrong: the host has to restart the
			// ring.
			v.stat(statsEach+statErrors, 1)
			v.fail("transmit", r, t, err)
			return
		}
		if frame == nil {
			break // the end of the packet is not yet in the ring
		}
		v.ringStat(barTXStats, r, len(frame))
		v.sent(frame, flags)
		v.c.settle()
	}
	v.interrupt(t.vector, causeRing)
}

// fail switches a ring off.
func (v *vnic) fail(what string, r int, t *ring, err error) {
	v.c.logf("%v: %s ring %d: %v: the ring is switched off", v, what, r, err)
	t.on = false
}

// gather collects one packet and advances the read pointer past it. If the ring ends
// before the packet does, it returns nil and leaves the pointer unchanged.
func (v *vnic) gather(t *ring, q *queue) (frame []byte, flags byte, err error) {
	frame = []byte{}
	for at := q.read; at != q.write; {
		var d [txDescBytes]byte
		if err := v.c.dmaRead(t.addr+txDescBytes*uint64(at&t.mask), d[:]); err != nil {
			return nil, 0, fmt.Errorf("descriptor %d: %w", at&t.mask, err)
		}
		n := int(binary.LittleEndian.Uint16(d[1:]))
		addr := uint64(d[0])<<32 | uint64(binary.LittleEndian.Uint32(d[4:]))
		if skip := int(d[3] & txOffset); len(frame) == 0 && skip <= n {
			n, addr = n-skip, addr+uint64(skip) // metadata precedes the packet
			flags = d[11]
		}
		have := len(frame)
		if have+n > gatherMax {
			return nil, 0, fmt.Errorf("descriptor %d: %w", at&t.mask, errTooLong)
		}
		frame = append(frame, make([]byte, n)...)
		if err := v.c.dmaRead(addr, frame[have:]); err != nil {
			return nil, 0, fmt.Errorf("descriptor %d: %w", at&t.mask, err)
		}
		at = (at + 1) & pointerMask
		if d[3]&txEnd != 0 {
			q.read = at
			return frame, flags, nil
		}
	}
	return nil, 0, nil
}

// sent forwards a frame of the host: out of the port, or to the firmware.
func (v *vnic) sent(frame []byte, flags byte) {
	switch {
	case v.port < 0:
		v.c.message(v, frame)
	case len(frame) < ethHeader || len(frame) > maxFrame:
		v.c.logf("%v: frame of %d bytes to send", v, len(frame))
		v.stat(statsEach+statErrors, 1)
	default:
		if v.control&ctlTXCsum != 0 {
			fillChecksums(frame, flags)
		}
		v.count(1, frame)
		v.c.emit(v.port, frame, 0)
	}
}

// receive passes a frame to the host and reports whether there was a buffer for it.
func (v *vnic) receive(r int, frame []byte) bool {
	if r >= maxRings || !v.rx[r].on {
		r = 0
	}
	t, n := &v.rx[r], v.queue+freeListQueue+queueStride*r
	q := &v.c.queues[n]
	switch {
	case !v.enabled || !t.on || q.read == q.write || len(frame) > int(v.buffer):
		v.stat(statDiscards, 1)
		return false
	case q.filled() > t.mask+1:
		v.fail("receive", r, t, errRingOver)
		return false
	}
	at := t.addr + rxDescBytes*uint64(q.read&t.mask)
	var d [rxDescBytes]byte
	err := v.c.dmaRead(at, d[:])
	if err == nil {
		buf := uint64(binary.LittleEndian.Uint16(d[:]))<<32 | uint64(binary.LittleEndian.Uint32(d[4:]))
		err = v.c.dmaWrite(buf, frame)
	}
	if err == nil {
		d = [rxDescBytes]byte{3: rxDone}
		binary.LittleEndian.PutUint16(d[:], uint16(len(frame)))
		if v.control&ctlRXCsum != 0 {
			binary.LittleEndian.PutUint16(d[4:], checkChecksums(frame))
		}
		err = v.c.dmaWrite(at, d[:])
	}
	if err != nil {
		v.stat(statErrors, 1)
		v.fail("receive", r, t, fmt.Errorf("entry %d: %w", q.read&t.mask, err))
		return false
	}
	q.read = (q.read + 1) & pointerMask
	v.ringStat(barRXStats, r, len(frame))
	v.interrupt(t.vector, causeRing)
	return true
}

// ringStat counts a packet of a ring.
func (v *vnic) ringStat(base uint64, r, n int) {
	at := v.base + base + 16*uint64(r)
	v.c.mem.add64(at, 1)
	v.c.mem.add64(at+8, uint64(n))
}
