package card

// This file implements the queue controller: 256 queues, each a read and a write
// pointer. The host adds to one pointer and reads both. Adding to a write pointer
// rings the doorbell.

const pointerMask = 1<<18 - 1

type queue struct{ read, write uint32 }

// Registers of a queue.
const (
	queueAddRead  = 0x00
	queueAddWrite = 0x04
	queueStsLow   = 0x08
	queueStsHigh  = 0x0c
)

// queueRead and queueWrite access an offset from the first queue. A block copy may
// extend past the last queue.
func (c *Card) queueRead(off uint64) uint32 {
	n := off / queueBytes
	if n >= uint64(len(c.queues)) {
		return 0
	}
	q := &c.queues[n]
	switch off % queueBytes {
	case queueStsLow:
		return q.read
	case queueStsHigh:
		return q.write
	}
	return 0
}

func (c *Card) queueWrite(off uint64, v uint32) {
	n := int(off / queueBytes)
	if n >= len(c.queues) {
		return
	}
	q := &c.queues[n]
	switch off % queueBytes {
	case queueAddRead:
		q.read = (q.read + v) & pointerMask
	case queueAddWrite:
		q.write = (q.write + v) & pointerMask
		c.doorbell(n)
	}
}

// doorbell processes the new entries of a queue.
func (c *Card) doorbell(n int) {
	if !c.loaded || n/queuesPerVNIC >= len(c.vnics) {
		return
	}
	v := c.vnics[n/queuesPerVNIC]
	switch n % queuesPerVNIC {
	case configQueue:
		v.reconfigure()
	case 0, queueStride, 2 * queueStride, 3 * queueStride:
		v.transmit(n % queuesPerVNIC / queueStride)
		c.settle()
	}
}

// filled returns the number of entries between the pointers.
func (q *queue) filled() uint32 { return (q.write - q.read) & pointerMask }
