package card

import "encoding/binary"

// This file maps BAR accesses to the CPP bus. Each 64-bit BAR has 8 slices, and each
// slice is a window. A 32-bit register per window selects its target and address. The
// registers lie in window 0, which always shows the PCIe block (target 0).

// Map types, bits 31:29 of a window's register.
const (
	windowFixed   = 0 // one action on 16 MiB of addresses
	windowBulk    = 1 // plain reads and writes
	windowGeneral = 3
)

// Read implements Device.
func (c *Card) Read(bar int, off uint64, p []byte) {
	if !c.decodes(bar, off, len(p)) {
		for i := range p {
			p[i] = 0xff
		}
		return
	}
	c.split(bar, off, p, c.cppRead)
}

// Write implements Device.
func (c *Card) Write(bar int, off uint64, p []byte) {
	if !c.decodes(bar, off, len(p)) {
		c.logf("write of %d bytes at offset 0x%x of bar %d: the card does not answer there", len(p), off, bar)
		return
	}
	c.split(bar, off, p, c.cppWrite)
}

func (c *Card) decodes(bar int, off uint64, n int) bool {
	return bar >= 0 && bar < len(barBytes) && c.config.command()&commandMemory != 0 &&
		off < barBytes[bar] && uint64(n) <= barBytes[bar]-off
}

// access is one access to the bus.
type access struct {
	target, action, token uint8
	addr                  uint64
}

// actionRW is the action number of both plain reads and plain writes.
const actionRW = 32

// split calls do for the part of an access that lies in each window.
func (c *Card) split(bar int, off uint64, p []byte, do func(access, []byte)) {
	slice := barBytes[bar] / 8
	for len(p) > 0 {
		o := off % slice
		n := int(min(uint64(len(p)), slice-o))
		window := 8*(bar/2) + int(off/slice)
		do(c.decode(window, o), p[:n])
		p, off = p[n:], off+uint64(n)
	}
}

// targetNone is the target of a window that is not mapped.
const targetNone = 0xff

// decode returns the bus access for offset o of a window.
func (c *Card) decode(window int, o uint64) access {
	csr := c.windows[window]
	a := access{target: uint8(csr >> 23 & 15), token: uint8(csr >> 21 & 3)}
	switch csr >> 29 {
	case windowFixed:
		if a.action = uint8(csr >> 16 & 31); a.action <= 1 {
			a.action = actionRW
		}
		a.addr = uint64(csr&0xffff)<<24 + o
	case windowBulk:
		a.action = actionRW
		a.addr = uint64(csr&0x1fffff)<<19 + o
	case windowGeneral:
		return access{target: targetPCIe, action: actionRW, addr: o}
	default:
		return access{target: targetNone, addr: o}
	}
	a.addr &= muMask
	return a
}

// Parts of the PCIe block, as seen in window 0.
const (
	sramBytes   = msixTable
	windowCSR   = 0x30000
	queueOffset = 0x80000
	queueBytes  = 0x800
)

// internalRead reads the PCIe block.
func (c *Card) internalRead(addr uint64, p []byte) {
	clear(p)
	switch {
	case addr < sramBytes:
		copy(p, c.sram[addr:])
	case addr < msixTable+0x1000:
		c.msix.read(addr-msixTable, p)
	case addr >= windowCSR && addr < windowCSR+4*uint64(len(c.windows)):
		var b [4 * len(c.windows)]byte
		for i, w := range c.windows {
			binary.LittleEndian.PutUint32(b[4*i:], w)
		}
		copy(p, b[addr-windowCSR:])
	case addr >= queueOffset && addr < queueOffset+uint64(len(c.queues))*queueBytes:
		c.eachWord(addr, p, func(at uint64, w []byte) {
			binary.LittleEndian.PutUint32(w, c.queueRead(at-queueOffset))
		})
	}
}

// internalWrite writes the PCIe block.
func (c *Card) internalWrite(addr uint64, p []byte) {
	switch {
	case addr < sramBytes:
		copy(c.sram[addr:], p)
	case addr < msixTable+0x1000:
		c.msix.write(c, addr-msixTable, p)
	case addr >= windowCSR && addr < windowCSR+4*uint64(len(c.windows)):
		c.eachWord(addr, p, func(at uint64, w []byte) {
			if i := int(at-windowCSR) / 4; i > 0 && i < len(c.windows) {
				c.windows[i] = binary.LittleEndian.Uint32(w)
			}
		})
	case addr >= queueOffset && addr < queueOffset+uint64(len(c.queues))*queueBytes:
		c.eachWord(addr, p, func(at uint64, w []byte) {
			c.queueWrite(at-queueOffset, binary.LittleEndian.Uint32(w))
		})
	}
}

// eachWord calls fn for each aligned 32-bit word of an access. Registers do not
// support partial words.
func (c *Card) eachWord(addr uint64, p []byte, fn func(at uint64, w []byte)) {
	if addr&3 != 0 || len(p)&3 != 0 {
		c.logf("access of %d bytes at register 0x%x: registers have 32 bits", len(p), addr)
		return
	}
	for i := 0; i < len(p); i += 4 {
		fn(addr+uint64(i), p[i:i+4])
	}
}
