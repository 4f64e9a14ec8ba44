// Package card is the simulated NIC as a PCI function to which Linux's own nfp
// driver binds.
//
// The card is a driver.NIC (engines, maps, helpers) behind everything a host's
// driver asks of such a card before it sends a packet: configuration space,
// windows from the BARs onto the chip's internal bus (CPP), tables in the memory
// unit, the management processor (NSP), control BARs, queues, rings, interrupts.
// It is a plain Go surface: register accesses come in through Device, DMA and
// interrupts go out through Host. Nothing runs in the background: whatever the
// card does, it does within the access that causes it, so the same accesses
// give the same card. It is for one goroutine at a time.
//
// What the host writes may be nonsense. It is then dropped, or answered with the
// error the interface has for it, and one line is logged; host memory is reached
// through Host alone, which says what was granted.
//
// From the outside in:
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
// The facts behind it are the Linux 6.12 driver's, which names the structures:
// drivers/net/ethernet/netronome/nfp.
package card

import (
	"errors"
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Options for New; the zero value is the default.
type Options struct {
	Model    string            // one of Models; "" is DefaultModel
	Firmware *firmware.Profile // nil is profile stock
	Serial   [6]byte           // all zero is 00:15:4d:00:00:01; ports count up from it
	// SingleEntry makes firmware of ABI 3 answer with one map entry at a time. That
	// of ABI 2 always does.
	SingleEntry bool
	// App is the number of the firmware's application; 0 is the BPF NIC's, 2.
	App uint64
	// Cable connects the ports of a card with two: what one sends, the other gets.
	Cable bool
	// Transmit gets each frame that leaves a port, cabled or not. It must not keep
	// the frame.
	Transmit func(port int, frame []byte)
	// Log gets a line for whatever the host did wrong.
	Log func(line string)
}

// Card is the card. It implements Device.
type Card struct {
	opt     Options
	model   *Model
	profile *firmware.Profile // as advertised: every limit finite
	serial  [6]byte
	host    Host
	nic     *driver.NIC
	logged  map[string]int // lines by kind

	config  config
	msix    msix
	windows [24]uint32
	sram    [sramBytes]byte
	mem     memory
	hooks   []hook
	nsp     nsp
	queues  [256]queue
	vnics   []*vnic // the ports', then the control vNIC
	loaded  bool    // firmware runs
	wire    wire
}

// errNoHost is what a card without a bus gets.
var errNoHost = errors.New("the card is in no bus")

// noHost is the bus of a card that is in none.
type noHost struct{}

func (noHost) DMARead(uint64, []byte) error  { return errNoHost }
func (noHost) DMAWrite(uint64, []byte) error { return errNoHost }
func (noHost) MSI(uint64, uint32) error      { return errNoHost }

// New makes a card as it is when power comes on. Attach puts it into a bus.
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

// Attach puts the card into a bus, or into another one.
func (c *Card) Attach(h Host) { c.host = h }

// Model is the card's.
func (c *Card) Model() *Model { return c.model }

// NIC is the simulated chip with its maps and counters. Running programs on it
// is the card's business.
func (c *Card) NIC() *driver.NIC { return c.nic }

// powerOn makes everything as after power-up: no firmware is loaded.
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

// logKinds is how many lines of one kind are logged, so that a host in a loop
// does not fill a disk.
const logKinds = 64

// logf logs what the host did wrong.
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

// errMaster is the error of DMA that the host has not switched on.
var errMaster = errors.New("bus mastering is off")

// dmaRead and dmaWrite reach host memory, if the host lets the card.
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
