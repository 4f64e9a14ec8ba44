package driver

import "github.com/nfpkit/nfpkit/nfp/sim"

// lane is a context that runs programs, and what of the card's memories is its
// own: a packet's buffer in CTM, a stack and a packet vector in local memory.
type lane struct {
	*NIC
	engine  *sim.Engine
	ctx     *sim.Context
	mem     *sim.Memory // of its island
	number  uint32      // of its packets
	buffer  []byte      // the packet's buffer in CTM
	stack   uint32      // local memory: stack, and packet vector
	vector  uint32
	run     run
	scratch []byte // helpers' copies of keys and values
	touched uint64 // address in external memory that a helper's reads go to
}

// newLane gives a context its memories: packet number and its buffer at base in
// CTM, stack and vector in local memory.
func (n *NIC) newLane(c *sim.Context, number uint32, base int, stack, vector uint32) (*lane, error) {
	e := c.Engine()
	l := &lane{NIC: n, engine: e, ctx: c, mem: e.Mem, number: number, stack: stack, vector: vector}
	c.LMParts = [2][2]uint32{{stack, stack + uint32(n.Profile.Stack)}, {vector, vector + vectorBytes}}
	c.Guard = l.guard
	if err := e.Mem.SetPacket(uint16(number), base, bufferBytes); err != nil {
		return nil, err
	}
	l.buffer = e.Mem.CTM[base : base+bufferBytes]
	return l, nil
}
