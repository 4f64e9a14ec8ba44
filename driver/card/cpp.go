package card

import "encoding/binary"

// This file answers accesses through windows for each target of the CPP bus.

// Targets.
const (
	targetPCIe = 0
	targetMU   = 7
	targetARM  = 10
	targetXPB  = 14
)

// Actions of the memory unit, with their tokens.
const (
	muAtomicRead  = 3
	muAtomicWrite = 4
	muTestSet     = 5 // token 3: returns the old word and ORs testSetBits into it

	testSetBits = 0xf
)

// XPB addresses as they appear on the bus.
const (
	xpbChipID   = 0x0150_0004
	xpbAddrMap  = 0x000a_0000 // + 4 x target
	chipID      = 0x4001_0010
	muAddrMap   = 1<<13 | 1<<12 | 24<<6 | 24 // mode 1, 40 bits, both islands 24
	xpbMapWords = 16
)

func ones(p []byte) {
	for i := range p {
		p[i] = 0xff
	}
}

func (c *Card) cppRead(a access, p []byte) {
	switch a.target {
	case targetPCIe:
		c.internalRead(a.addr, p)
	case targetMU:
		c.muRead(a, p)
	case targetARM:
		clear(p) // soft-model registers
	case targetXPB:
		clear(p)
		c.eachWord(a.addr, p, func(at uint64, w []byte) { binary.LittleEndian.PutUint32(w, xpbRead(uint32(at))) })
	default:
		c.logf("read of %d bytes at 0x%x of target %d: the card does not answer there", len(p), a.addr, a.target)
		ones(p)
	}
}

func xpbRead(addr uint32) uint32 {
	switch {
	case addr == xpbChipID:
		return chipID
	case addr == xpbAddrMap+4*targetMU:
		return muAddrMap
	}
	return 0
}

func (c *Card) cppWrite(a access, p []byte) {
	switch {
	case a.target == targetPCIe:
		c.internalWrite(a.addr, p)
	case a.target == targetMU && (a.action == actionRW || a.action == muAtomicWrite && a.token == 0):
		c.muWrite(a.addr, p)
	case a.target == targetXPB, a.target == targetARM:
		// No host may change any other register.
	default:
		c.logf("write of %d bytes at 0x%x of target %d, action %d.%d: the card does not answer there", len(p), a.addr, a.target, a.action, a.token)
	}
}

func (c *Card) muRead(a access, p []byte) {
	switch {
	case a.action == actionRW, a.action == muAtomicRead && a.token == 0:
		c.mem.read(a.addr, p)
	case a.action == muTestSet && a.token == 3:
		c.eachWord(a.addr, p, func(at uint64, w []byte) {
			c.mem.read(at, w)
			c.mem.put32(at, binary.LittleEndian.Uint32(w)|testSetBits)
		})
	case a.action == muAtomicWrite && a.token == 0:
		// The driver flushes a posted write by a read through the same window.
		c.mem.read(a.addr, p)
	default:
		c.logf("read of %d bytes at 0x%x: memory has no action %d.%d", len(p), a.addr, a.action, a.token)
		ones(p)
	}
}

// hook is a watched range of memory. wrote is called after a write of n bytes at
// offset off of the range.
type hook struct {
	base, size uint64
	wrote      func(off uint64, n int)
}

func (c *Card) muWrite(addr uint64, p []byte) {
	c.mem.write(addr, p)
	if c.mem.lost {
		c.mem.lost = false
		c.logf("write of %d bytes at 0x%x: memory is full", len(p), addr)
	}
	for _, h := range c.hooks {
		if addr < h.base+h.size && h.base < addr+uint64(len(p)) {
			low, high := max(addr, h.base), min(addr+uint64(len(p)), h.base+h.size)
			h.wrote(low-h.base, int(high-low))
			return
		}
	}
}
