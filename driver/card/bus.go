package card

// This file defines the bus between a card and its host. A Device is the card as seen
// by the host: configuration space and BARs. A Host is the host as seen by the card:
// memory for DMA, and the address at which a write raises an interrupt. There are two
// implementations of Host: package vhost's guest kernel, and the in-process bus of the
// unit tests.

// Device is a PCI function. Its methods must be called by one goroutine at a time.
// They return at once and accept any offset and value. An address that is not decoded
// reads as all ones, and a write to it is dropped, as on a real bus.
type Device interface {
	// ConfigRead returns size (1, 2, 4 or 8) bytes of configuration space at off, in
	// little-endian order.
	ConfigRead(off, size int) uint64
	// ConfigWrite writes the low size bytes of v at off.
	ConfigWrite(off, size int, v uint64)
	// Read fills p from offset off of BAR bar. The number of a 64-bit BAR is that of
	// its lower half (0, 2 or 4). An access of 1, 2, 4 or 8 bytes is one bus cycle; a
	// longer one is a block copy in ascending order.
	Read(bar int, off uint64, p []byte)
	// Write stores p at offset off of BAR bar. It is posted: the host does not wait
	// for its effect. The device does not keep p.
	Write(bar int, off uint64, p []byte)
}

// Host is the host's memory and interrupt controller. Its methods are called from
// within a method of the Device or, for a packet that arrives from the wire, by the
// goroutine that called Card.Receive. Addresses are bus addresses: guest physical
// addresses if the guest has no IOMMU.
type Host interface {
	// DMARead fills p from host memory at addr. It reads nothing unless the host has
	// granted the card the whole range.
	DMARead(addr uint64, p []byte) error
	// DMAWrite writes p to host memory at addr. It writes all of p or nothing.
	DMAWrite(addr uint64, p []byte) error
	// MSI performs the memory write of a message-signalled interrupt: data to addr,
	// both as programmed in an entry of the MSI-X table. The card has already applied
	// the masks.
	MSI(addr uint64, data uint32) error
}
