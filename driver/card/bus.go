package card

// The bus between a card and its host. A Device is the card as the host sees
// it: configuration space and BARs. A Host is what the card sees of the host:
// memory it may read and write by DMA, and the address that turns a write into
// an interrupt. Two hosts exist: package vhost's guest kernel, and the
// in-process bus of the unit tests.

// Device is a PCI function. Its methods are called by one goroutine at a time,
// answer at once, and accept any offset and value: what does not decode reads as
// all ones and is dropped when written, as on a real bus.
type Device interface {
	// ConfigRead returns size (1, 2, 4 or 8) bytes of configuration space at off,
	// the first byte lowest.
	ConfigRead(off, size int) uint64
	// ConfigWrite writes the low size bytes of v at off.
	ConfigWrite(off, size int, v uint64)
	// Read fills p from offset off of BAR bar (0 to 5; a 64-bit BAR has the number
	// of its lower half). An access of 1, 2, 4 or 8 bytes is one bus cycle; a longer
	// one is a block copy in rising order.
	Read(bar int, off uint64, p []byte)
	// Write is Read's counterpart. It is posted: the host does not wait for its effect.
	// The device does not keep p.
	Write(bar int, off uint64, p []byte)
}

// Host is the memory and the interrupt controller behind the bus. Its methods
// are called from within the Device's, or, for a packet that comes in from
// outside, by the goroutine that calls them. Addresses are bus addresses: for a
// guest without IOMMU, guest physical ones.
type Host interface {
	// DMARead fills p from host memory at addr; nothing is read unless the whole
	// range is memory the host gave the card.
	DMARead(addr uint64, p []byte) error
	// DMAWrite writes p to host memory at addr, all of it or nothing.
	DMAWrite(addr uint64, p []byte) error
	// MSI does the memory write of a message-signalled interrupt: data to addr, both
	// as programmed into an entry of the MSI-X table. Masking is the card's business.
	MSI(addr uint64, data uint32) error
}
