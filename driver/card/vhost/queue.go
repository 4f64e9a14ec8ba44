package vhost

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"
)

// A split virtqueue (virtio 1.2, section 2.7) is three pieces of guest memory. The
// table of descriptors locates buffers; descriptors may be chained. The guest puts
// heads of chains into the available ring, and the card returns them in the used ring.
// Both rings start with 16 bits of flags and a 16-bit running index.

const (
	maxQueueSize = 1 << 15

	descSize  = 16
	descNext  = 1 // another descriptor follows
	descWrite = 2 // the card writes to it
	descTable = 4 // indirect; never offered

	usedNoNotify     = 1 // the card needs no kicks
	availNoInterrupt = 1 // the guest needs no calls

	// maxTransfer bounds the bytes of one chain in each direction. The largest block
	// copy of the driver is the 4 KiB hardware information.
	maxTransfer = 1 << 20
)

// queue is the card's side of a virtqueue.
type queue struct {
	size  int
	desc  []byte // size x 16
	avail []byte // flags, index, size x 2
	used  []byte // flags, index, size x 8

	next     uint16 // next entry of the available ring
	returned uint16 // running index of the used ring
	flags    uint16 // of the used ring
	enabled  bool
}

func (q *queue) ready() bool { return q.enabled && q.size > 0 && q.used != nil }

// place sets the three pieces from the addresses in a message.
func (q *queue) place(m memory, desc, avail, used uint64) error {
	q.desc, q.avail, q.used = nil, nil, nil
	if q.size == 0 {
		return fmt.Errorf("queue addresses before its size")
	}
	// The flags and the index of a ring are accessed together, as one atomic 32-bit
	// word.
	if desc&15 != 0 || avail&3 != 0 || used&3 != 0 {
		return fmt.Errorf("queue addresses %#x, %#x, %#x: not aligned", desc, avail, used)
	}
	d, err := m.atUser(desc, descSize*q.size)
	if err != nil {
		return err
	}
	a, err := m.atUser(avail, 4+2*q.size)
	if err != nil {
		return err
	}
	u, err := m.atUser(used, 4+8*q.size)
	if err != nil {
		return err
	}
	q.desc, q.avail, q.used = d, a, u
	return nil
}

// head returns the 32-bit word of flags and index at the start of a ring. The guest
// writes the index after the entries, so an atomic load orders the two. place has
// checked the alignment of ring relative to a page-aligned mapping.
func head(ring []byte) *uint32 { return (*uint32)(unsafe.Pointer(unsafe.SliceData(ring))) }

// take returns the first descriptor of the next chain.
func (q *queue) take() (first uint16, ok bool) {
	if !q.ready() || uint16(atomic.LoadUint32(head(q.avail))>>16) == q.next {
		return 0, false
	}
	slot := int(q.next) & (q.size - 1)
	q.next++
	return binary.LittleEndian.Uint16(q.avail[4+2*slot:]), true
}

// put returns the chain that starts at first, in which the card wrote n bytes.
func (q *queue) put(first uint16, n int) {
	slot := int(q.returned) & (q.size - 1)
	binary.LittleEndian.PutUint32(q.used[4+8*slot:], uint32(first))
	binary.LittleEndian.PutUint32(q.used[8+8*slot:], uint32(n))
	q.returned++
	q.publish()
}

// publish stores flags and index, ordered after all earlier writes.
func (q *queue) publish() {
	atomic.StoreUint32(head(q.used), uint32(q.returned)<<16|uint32(q.flags))
}

// wantsKick sets whether the guest has to send a kick for new buffers.
func (q *queue) wantsKick(yes bool) {
	q.flags = usedNoNotify
	if yes {
		q.flags = 0
	}
	if q.ready() {
		q.publish()
	}
}

// wantsCall reports whether the guest asks for calls when buffers are returned.
func (q *queue) wantsCall() bool {
	return q.ready() && atomic.LoadUint32(head(q.avail))&availNoInterrupt == 0
}

// chain is the contents of a chain of descriptors: the bytes for the card, copied
// because the guest may change its memory at any time, and room for the answer.
type chain struct {
	out []byte
	in  [][]byte
}

// follow reads the chain that starts at first into c, whose storage it reuses.
func (q *queue) follow(m memory, first uint16, c *chain) error {
	c.out, c.in = c.out[:0], c.in[:0]
	room := 0
	for i, n := first, 0; ; n++ {
		if int(i) >= q.size {
			return fmt.Errorf("descriptor %d of %d", i, q.size)
		}
		if n == q.size {
			return fmt.Errorf("descriptor chain with a loop")
		}
		d := q.desc[descSize*int(i):]
		addr, length := binary.LittleEndian.Uint64(d), binary.LittleEndian.Uint32(d[8:])
		flags, next := binary.LittleEndian.Uint16(d[12:]), binary.LittleEndian.Uint16(d[14:])
		if flags&descTable != 0 {
			return fmt.Errorf("descriptor %d is a table", i)
		}
		if length > maxTransfer {
			return fmt.Errorf("descriptor %d has %d bytes", i, length)
		}
		b, err := m.at(addr, int(length))
		if err != nil {
			return err
		}
		switch {
		case flags&descWrite != 0:
			c.in = append(c.in, b)
			room += len(b)
		case len(c.in) > 0:
			return fmt.Errorf("descriptor %d is to be read, after one to be written", i)
		default:
			c.out = append(c.out, b...)
		}
		if len(c.out) > maxTransfer || room > maxTransfer {
			return fmt.Errorf("descriptor chain has over %d bytes", maxTransfer)
		}
		if flags&descNext == 0 {
			return nil
		}
		i = next
	}
}

// room returns the maximum number of bytes of the answer.
func (c *chain) room() int {
	n := 0
	for _, b := range c.in {
		n += len(b)
	}
	return n
}

// answer copies p into the guest's buffers.
func (c *chain) answer(p []byte) (n int) {
	for _, b := range c.in {
		k := copy(b, p)
		p, n = p[k:], n+k
	}
	return n
}
