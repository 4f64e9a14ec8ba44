package card

import "encoding/binary"

// This file holds configuration space: the type 0 header, the PCIe, MSI-X and power
// management capabilities, and the Device Serial Number, from which the driver reads
// the number of its CPP interface.

// Identity. The driver refuses a card whose subsystem vendor differs from its vendor.
const (
	vendorID = 0x19ee
	deviceID = 0x4000

	configBytes = 0x600 // the size to which a PCI quirk of the kernel limits these IDs

	capPM   = 0x40
	capPCIe = 0x50
	capMSIX = 0xb0
	extDSN  = 0x100
)

// interfaceID is type 1 (PCI), unit 0, channel 0xff.
const interfaceID = 0x10ff

// barBytes holds the lengths of the 64-bit BARs 0, 2 and 4. With these the driver has
// room for its bulk windows (slices of at least 512 KiB) and fixed windows (at least
// 16 MiB).
var barBytes = [6]uint64{0: 16 << 20, 2: 128 << 20, 4: 64 << 20}

// config is configuration space, with a mask of the bits that the host may write.
type config struct {
	data, mask [configBytes]byte
}

// Bits of the command register.
const (
	commandOffset = 0x04
	commandMemory = 1 << 1
	commandMaster = 1 << 2
	commandBits   = 1<<10 | 1<<8 | 1<<6 | commandMaster | commandMemory
)

func (c *config) put16(off int, v, mask uint16) {
	binary.LittleEndian.PutUint16(c.data[off:], v)
	binary.LittleEndian.PutUint16(c.mask[off:], mask)
}

func (c *config) put32(off int, v, mask uint32) {
	binary.LittleEndian.PutUint32(c.data[off:], v)
	binary.LittleEndian.PutUint32(c.mask[off:], mask)
}

// reset sets configuration space to its state after power-up.
func (c *config) reset(serial [6]byte, vectors int) {
	*c = config{}
	c.put16(0x00, vendorID, 0)
	c.put16(0x02, deviceID, 0)
	c.put16(commandOffset, 0, commandBits)
	c.put16(0x06, 1<<4, 0)            // status: has capabilities
	c.put32(0x08, 0x020000<<8, 0)     // network controller, Ethernet
	c.put16(0x0c, 0, 0xff)            // cache line size
	for bar := 0; bar < 6; bar += 2 { // 64-bit, prefetchable
		m := ^(barBytes[bar] - 1)
		c.put32(0x10+4*bar, 0xc, uint32(m))
		c.put32(0x14+4*bar, 0, uint32(m>>32))
	}
	c.put16(0x2c, vendorID, 0)
	c.put16(0x2e, deviceID, 0)
	c.data[0x34] = capPM
	c.mask[0x3c] = 0xff // interrupt line

	c.put16(capPM, capPCIe<<8|0x01, 0)
	c.put16(capPM+2, 3, 0)   // version 3: only states D0 and D3
	c.put16(capPM+4, 8, 0x3) // no soft reset
	c.put16(capPCIe, capMSIX<<8|0x10, 0)
	c.put16(capPCIe+2, 2, 0)           // version 2, endpoint
	c.put32(capPCIe+4, 2, 0)           // payloads of 512 bytes
	c.put16(capPCIe+8, 0x2010, 0x7fff) // device control
	c.put32(capPCIe+0xc, 0x83, 0)      // 8 lanes, 8 GT/s
	c.put16(capPCIe+0x10, 0, 0x0fff)   // link control
	c.put16(capPCIe+0x12, 0x1083, 0)   // link status
	c.put16(capPCIe+0x28, 0, 0x7fff)   // device control 2
	c.put32(capPCIe+0x2c, 0xe, 0)      // link speeds
	c.put16(capPCIe+0x30, 3, 0x3ff)    // link control 2
	c.put16(capMSIX, 0x11, 0)          // end of the list
	c.put16(capMSIX+2, uint16(vectors-1), msixEnable|msixMask)
	c.put32(capMSIX+4, msixTable, 0) // in BAR 0
	c.put32(capMSIX+8, msixPending, 0)

	c.put32(extDSN, 1<<16|0x0003, 0)
	c.put32(extDSN+4, uint32(serial[4])<<24|uint32(serial[5])<<16|interfaceID, 0)
	c.put32(extDSN+8, binary.BigEndian.Uint32(serial[:4]), 0)
}

func (c *config) command() uint16 { return binary.LittleEndian.Uint16(c.data[commandOffset:]) }

// ConfigRead implements Device.
func (c *Card) ConfigRead(off, size int) uint64 {
	var b [8]byte
	if size < 1 || size > len(b) || off < 0 || off+size > 4096 {
		return 1<<64 - 1
	}
	if off < configBytes {
		copy(b[:size], c.config.data[off:])
	}
	return binary.LittleEndian.Uint64(b[:])
}

// ConfigWrite implements Device.
func (c *Card) ConfigWrite(off, size int, v uint64) {
	if size < 1 || size > 8 || off < 0 {
		return
	}
	for i := 0; i < size && off+i < configBytes; i++ {
		d, m := &c.config.data[off+i], c.config.mask[off+i]
		*d = *d&^m | byte(v>>(8*i))&m
	}
	c.msix.deliver(c)
}
