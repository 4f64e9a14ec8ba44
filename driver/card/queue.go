package card

// The queue controller: 256 queues of a read and a write pointer. The host adds
// to one of them and reads both; adding to a write pointer is the doorbell.

const pointerMask = 1<<18 - 1

type queue struct{ read, write uint32 }

// Registers of a queue.
const (
	queueAddRead  = 0x00
	queueAddWrite = 0x04
	queueStsLow   = 0x08
	queueStsHigh  = 0x0c
)

// queueRead and queueWrite are accesses at an offset from the first queue. A block
// copy may run past the last one.
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

// doorbell does what a queue's new entries ask for.
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

// filled is the number of entries between the pointers.
func (q *queue) filled() uint32 { return (q.write - q.read) & pointerMask }
