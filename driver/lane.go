package driver

import (
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// lane is a context that runs programs, with its part of the card's memories: a packet
// buffer in CTM, a stack and a packet vector in local memory.
type lane struct {
	*NIC
	engine  *sim.Engine
	ctx     *sim.Context
	mem     *sim.Memory // of its island
	number  uint32      // packet number
	buffer  []byte      // the packet's buffer in CTM
	stack   uint32      // addresses in local memory of the stack and the packet vector
	vector  uint32
	run     run
	scratch []byte // copies of keys and values for helpers
	touched uint64 // external-memory address that a helper reads first, for its cost
	entry   uint64 // and address of its other reads
}

// newLane assigns memories to a context: packet number and buffer at base in CTM,
// stack and vector in local memory.
func (n *NIC) newLane(c *sim.Context, number uint32, base int, stack, vector uint32) (*lane, error) {
	e := c.Engine()
	l := &lane{NIC: n, engine: e, ctx: c, mem: e.Mem, number: number, stack: stack, vector: vector}
	c.LMParts = [2][2]uint32{{stack, stack + uint32(n.Profile.Stack)}, {vector, vector + firmware.VectorBytes}}
	c.Guard = l.guard
	if err := e.Mem.SetPacket(uint16(number), base, firmware.BufferBytes); err != nil {
		return nil, err
	}
	l.buffer = e.Mem.CTM[base : base+firmware.BufferBytes]
	return l, nil
}
