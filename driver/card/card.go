// Package card simulates the NIC as a PCI function to which Linux's own nfp driver
// binds.
//
// A Card is a driver.NIC (engines, maps, helpers) and everything else that the host's
// driver uses before it sends a packet. That is configuration space, windows from the
// BARs onto the chip's internal bus (CPP), tables in the memory unit, the management
// processor (NSP), control BARs, queues, rings and interrupts. Register accesses come
// in through Device; DMA and interrupts go out through Host. New returns a powered-on
// card, Attach connects it to a Host, and the host's driver then loads the firmware by
// register accesses.
//
// Invariants:
//
//   - No goroutine runs in the background. The card acts only within the access
//     that causes the action, so the same accesses always give the same state.
//   - A Card must be used by one goroutine at a time.
//   - The host's writes are not trusted. An invalid one is dropped, or answered
//     with the error that the interface defines for it, and one line is logged.
//   - The card reaches host memory only through Host, which checks the range.
//
// The files, from the outside in:
//
//	config.go msix.go    configuration space, interrupts
//	window.go cpp.go     BARs to bus accesses, bus targets
//	memory.go            the memory unit, sparse
//	tables.go            resource table, hwinfo, firmware information, symbols
//	nsp.go media.go      commands of the management processor, its port table
//	queue.go vnic.go     doorbells, control BARs and their handshake
//	ring.go checksum.go  descriptors and packets to and from the host
//	program.go           BPF programs: load, start, run, verdicts
//	control.go           control messages: maps and events
//	port.go              the wire
//
// The source of registers, structures and their names is the Linux 6.12 driver,
// drivers/net/ethernet/netronome/nfp.
package card

import (
	"errors"
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Options configures New. The zero value selects the defaults.
type Options struct {
	Model    string            // one of Models; "" is DefaultModel
	Firmware *firmware.Profile // nil selects profile stock
	Serial   [6]byte           // all zero selects 00:15:4d:00:00:01; ports count up from it
	// SingleEntry limits replies of ABI 3 firmware to one map entry. ABI 2 firmware
	// always has that limit.
	SingleEntry bool
	// App is the number of the firmware's application. 0 selects 2, the BPF NIC.
	App uint64
	// Cable connects the two ports of a card: each receives the frames of the other.
	Cable bool
	// Transmit, if not nil, is called with each frame that leaves a port, cabled or
	// not. It must not keep the frame.
	Transmit func(port int, frame []byte)
	// Log, if not nil, is called with one line for each error of the host.
	Log func(line string)
}

// Card is the simulated card. It implements Device.
type Card struct {
	opt     Options
	model   *Model
	profile *firmware.Profile // as advertised to the host: every limit is finite
	serial  [6]byte
	host    Host
	nic     *driver.NIC
	logged  map[string]int // number of lines logged, by format

	config  config
	msix    msix
	windows [24]uint32
	sram    [sramBytes]byte
	mem     memory
	hooks   []hook
	nsp     nsp
	queues  [256]queue
	vnics   []*vnic // those of the ports, then the control vNIC
	loaded  bool    // the firmware is running
	wire    wire
}

// errNoHost is the error of DMA and interrupts of a card that is not attached.
var errNoHost = errors.New("the card is not attached to a host")

// noHost is the Host of a card that is not attached.
type noHost struct{}

func (noHost) DMARead(uint64, []byte) error  { return errNoHost }
func (noHost) DMAWrite(uint64, []byte) error { return errNoHost }
func (noHost) MSI(uint64, uint32) error      { return errNoHost }

// New returns a card in its state after power-up. Attach connects it to a host.
func New(opt *Options) (*Card, error) {
	c := &Card{host: noHost{}, logged: map[string]int{}}
	if opt != nil {
		c.opt = *opt
	}
	var err error
	if c.model, err = ModelByName(c.opt.Model); err != nil {
		return nil, err
	}
	p := c.opt.Firmware
	if p == nil {
		if p, err = firmware.Load("stock"); err != nil {
			return nil, err
		}
	}
	c.profile = advertised(p, len(c.model.Ports))
	if c.nic, err = driver.New(c.profile, &driver.Options{HostEvents: true}); err != nil {
		return nil, err
	}
	if c.serial = c.opt.Serial; c.serial == [6]byte{} {
		c.serial = [6]byte{0x00, 0x15, 0x4d, 0x00, 0x00, 0x01}
	}
	c.wire.reset(len(c.model.Ports))
	c.powerOn()
	return c, nil
}

// Attach connects the card to a host, and disconnects it from the previous one.
func (c *Card) Attach(h Host) { c.host = h }

// Model returns the card's model.
func (c *Card) Model() *Model { return c.model }

// NIC returns the simulated chip with its maps and counters. Only the card may run
// programs on it.
func (c *Card) NIC() *driver.NIC { return c.nic }

// powerOn resets everything to its state after power-up: no firmware is loaded.
func (c *Card) powerOn() {
	c.config.reset(c.serial, msixVectors)
	c.msix.reset()
	c.windows = [24]uint32{0: windowGeneral << 29}
	c.sram = [sramBytes]byte{}
	c.mem = newMemory()
	c.nsp = newNSP(c)
	c.writeTables()
	c.stopFirmware()
}

// logKinds is the maximum number of logged lines with the same format, so that a host
// in a loop does not fill a disk.
const logKinds = 64

// logf logs an error of the host.
func (c *Card) logf(format string, args ...any) {
	n := c.logged[format]
	c.logged[format] = n + 1
	if c.opt.Log == nil || n > logKinds {
		return
	}
	if n == logKinds {
		c.opt.Log(fmt.Sprintf("more of these are not logged: "+format, args...))
		return
	}
	c.opt.Log(fmt.Sprintf(format, args...))
}

// errMaster is the error of DMA while the host has not enabled bus mastering.
var errMaster = errors.New("bus mastering is off")

// dmaRead and dmaWrite access host memory if bus mastering is enabled.
func (c *Card) dmaRead(addr uint64, p []byte) error {
	if c.config.command()&commandMaster == 0 {
		return errMaster
	}
	return c.host.DMARead(addr, p)
}

func (c *Card) dmaWrite(addr uint64, p []byte) error {
	if c.config.command()&commandMaster == 0 {
		return errMaster
	}
	return c.host.DMAWrite(addr, p)
}
