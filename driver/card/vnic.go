package card

import (
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
)

// This file implements vNICs. A vNIC is a set of rings with a control BAR. There is
// one for each port, and the control vNIC, whose frames are messages to the firmware.
// The control BAR is plain memory. The host fills it, writes the kind of change to the
// update word, and rings the configuration queue.

// Queues of a vNIC: transmit ring r is queue 4r, its free list 4r+2.
const (
	queuesPerVNIC = 16
	queueStride   = 4
	configQueue   = 1
	freeListQueue = 2
	maxRings      = 4
)

// Control BAR.
const (
	barControl  = 0x0000
	barUpdate   = 0x0004
	barTXEnable = 0x0008
	barRXEnable = 0x0010
	barMTU      = 0x0018
	barBuffer   = 0x001c // bytes of a receive buffer, 24 bits
	barLinkIRQ  = 0x0020
	barMAC      = 0x0024
	barVersion  = 0x0030
	barStatus   = 0x0034
	barCaps     = 0x0038
	barMaxTX    = 0x003c
	barMaxRX    = 0x0040
	barMaxMTU   = 0x0044
	barStartTX  = 0x0048
	barStartRX  = 0x004c
	barBPFABI   = 0x0080
	barBPFCaps  = 0x0081
	barBPFMax   = 0x0082
	barBPFStart = 0x0084
	barBPFDone  = 0x0086
	barBPFStack = 0x0088
	barBPFInl   = 0x0089
	barBPFWords = 0x008e
	barBPFAddr  = 0x0090
	barTXAddr   = 0x0200
	barTXSize   = 0x0600
	barTXVector = 0x0640
	barRXAddr   = 0x0800
	barRXSize   = 0x0a00
	barRXVector = 0x0a40
	barCause    = 0x0c00
	barStats    = 0x0d00
	barTXStats  = 0x1000
	barRXStats  = 0x1400
)

// Control and capability bits.
const (
	ctlEnable    = 1 << 0
	ctlPromisc   = 1 << 1
	ctlBroadcast = 1 << 2
	ctlMulticast = 1 << 3
	ctlRXCsum    = 1 << 4
	ctlTXCsum    = 1 << 5
	ctlGather    = 1 << 9
	ctlBPF       = 1 << 27

	dataCaps    = ctlEnable | ctlPromisc | ctlBroadcast | ctlMulticast | ctlRXCsum | ctlTXCsum | ctlGather | ctlBPF
	controlCaps = ctlEnable | ctlGather
)

// Bits of the update word.
const (
	updateGeneral = 1 << 0
	updateRings   = 1 << 1
	updateBPF     = 1 << 10
	updateKnown   = 1<<15 - 1
	updateError   = 1 << 31
)

const (
	datapathVersion = 0x0500 // NFD3, 0.0.5.0
	maxMTU          = 9216
	maxFrame        = maxMTU + 22 // Ethernet header, two VLAN tags
)

// Ring sizes, log2.
const (
	minRing = 8
	maxRing = 18
)

// Counters at barStats, 8 bytes each: those of frames from the wire, then of frames to
// it, then frames and bytes of each application counter.
const (
	statDiscards = iota
	statErrors
	statOctets
	statUCOctets
	statMCOctets
	statBCOctets
	statFrames
	statMCFrames
	statBCFrames
	statsEach

	statApp = 2 * statsEach
)

// Causes of interrupts.
const (
	causeRing = 1
	causeLink = 2
)

type vnic struct {
	c     *Card
	index int
	port  int // -1 for the control vNIC
	base  uint64
	queue int // number of the first queue

	enabled bool
	control uint32
	mtu     uint32
	buffer  uint32
	tx, rx  [maxRings]ring
	due     [256]byte // causes of interrupts, by MSI-X entry, until the host acknowledges the previous one

	program *driver.Program
	words   []uint64 // as written by the host
}

// ring is a ring that the host enabled.
type ring struct {
	on     bool
	addr   uint64
	mask   uint32 // entries - 1
	vector int
}

func newVNIC(c *Card, index int) *vnic {
	v := &vnic{c: c, index: index, port: index, base: addrBARs + uint64(index)*barBytesVNIC, queue: index * queuesPerVNIC}
	if index == len(c.model.Ports) {
		v.port, v.base = -1, addrControl
	}
	return v
}

// caps returns the control bits that the vNIC offers.
func (v *vnic) caps() uint32 {
	if v.port < 0 {
		return controlCaps
	}
	return dataCaps
}

// start returns the address of the vNIC's program in the code store.
func (v *vnic) start() int { return v.c.profile.Start + v.index*v.c.profile.MaxLen }

// writeBAR writes the firmware's description of the vNIC.
func (v *vnic) writeBAR() {
	m, b, p := &v.c.mem, v.base, v.c.profile
	m.put32(b+barVersion, datapathVersion)
	m.put32(b+barCaps, v.caps())
	m.put32(b+barMaxTX, maxRings)
	m.put32(b+barMaxRX, maxRings)
	m.put32(b+barMaxMTU, maxMTU)
	m.put32(b+barStartTX, uint32(v.queue))
	m.put32(b+barStartRX, uint32(v.queue+freeListQueue))
	m.put8(b+barBPFABI, uint8(p.ABI))
	if v.port < 0 {
		return
	}
	mac := v.c.mac(v.port)
	m.put32(b+barMAC, uint32(mac[0])<<24|uint32(mac[1])<<16|uint32(mac[2])<<8|uint32(mac[3]))
	m.put16(b+barMAC+6, uint16(mac[4])<<8|uint16(mac[5]))
	m.put8(b+barBPFCaps, 1) // a program may be replaced while it runs
	m.put16(b+barBPFMax, uint16(p.MaxLen))
	m.put16(b+barBPFStart, uint16(v.start()))
	m.put16(b+barBPFDone, uint16(p.Done))
	m.put8(b+barBPFStack, uint8(p.Stack/64))
	m.put8(b+barBPFInl, uint8(p.InlMTU))
	v.writeLink()
}

// linkRates maps speeds in Gbps to their codes in the status word.
var linkRates = map[int]uint16{1: 2, 10: 3, 25: 4, 40: 5, 50: 6, 100: 7}

func (v *vnic) writeLink() {
	status := uint16(0)
	if v.c.wire.link[v.port] {
		status = 1 | linkRates[v.c.model.Ports[v.port].Gbps()]<<1
	}
	v.c.mem.put16(v.base+barStatus, status)
}

// wrote is called after a write to the control BAR: clearing a cause unmasks its
// interrupt.
func (v *vnic) wrote(off uint64, n int) {
	for at := max(off, barCause); at < min(off+uint64(n), barCause+msixVectors); at++ {
		e := int(at - barCause)
		if due := v.due[e]; due != 0 && v.c.mem.u8(v.base+at) == 0 {
			v.due[e] = 0
			v.interrupt(e, due)
		}
	}
}

// interrupt signals a cause to the host, at once or after the host has acknowledged
// the previous one.
func (v *vnic) interrupt(entry int, cause byte) {
	at := v.base + barCause + uint64(entry)
	if v.c.mem.u8(at) != 0 {
		v.due[entry] |= cause
		return
	}
	v.c.mem.put8(at, cause)
	v.c.msix.fire(v.c, entry)
}

// reconfigure performs the changes that the update word requests and writes the result
// to it.
func (v *vnic) reconfigure() {
	err := v.update(v.c.mem.u32(v.base + barUpdate))
	v.c.mem.put32(v.base+barUpdate, 0)
	if err != nil {
		v.c.logf("%v: %v", v, err)
		v.c.mem.put32(v.base+barUpdate, updateError)
	}
}

func (v *vnic) String() string {
	if v.port < 0 {
		return "control vnic"
	}
	return fmt.Sprintf("vnic %d", v.port)
}

func (v *vnic) update(what uint32) error {
	if what&^updateKnown != 0 {
		return fmt.Errorf("update 0x%08x: no such update", what)
	}
	if what&updateBPF != 0 {
		if err := v.loadProgram(); err != nil {
			return err
		}
	}
	if what&(updateGeneral|updateRings) == 0 {
		return nil
	}
	control := v.c.mem.u32(v.base + barControl)
	switch {
	case control&^v.caps() != 0:
		return fmt.Errorf("control 0x%08x: bits 0x%x are not offered", control, control&^v.caps())
	case control&ctlBPF != 0 && v.program == nil:
		return fmt.Errorf("control 0x%08x: no program was loaded", control)
	}
	if control&ctlEnable == 0 {
		v.disable()
	} else if err := v.enable(); err != nil {
		return err
	}
	v.control = control
	return nil
}

// enable reads the rings from the control BAR. If it fails, nothing changes.
func (v *vnic) enable() error {
	m, b := &v.c.mem, v.base
	mtu, buffer := m.u32(b+barMTU), m.u32(b+barBuffer)&0xffffff
	if mtu > maxMTU {
		return fmt.Errorf("mtu %d, the most is %d", mtu, maxMTU)
	}
	tx, err := v.rings("transmit", m.u64(b+barTXEnable), b+barTXAddr, b+barTXSize, b+barTXVector)
	if err != nil {
		return err
	}
	rx, err := v.rings("receive", m.u64(b+barRXEnable), b+barRXAddr, b+barRXSize, b+barRXVector)
	if err != nil {
		return err
	}
	v.enabled, v.mtu, v.buffer, v.tx, v.rx = true, mtu, buffer, tx, rx
	return nil
}

// rings reads the rings of one direction.
func (v *vnic) rings(what string, on, addr, size, vector uint64) (out [maxRings]ring, err error) {
	m := &v.c.mem
	if on>>maxRings != 0 {
		return out, fmt.Errorf("%s rings 0x%x: there are %d", what, on, maxRings)
	}
	for r := range out {
		if on>>r&1 == 0 {
			continue
		}
		log := m.u8(size + uint64(r))
		if log < minRing || log > maxRing {
			return out, fmt.Errorf("%s ring %d of 2^%d entries: 2^%d to 2^%d are possible", what, r, log, minRing, maxRing)
		}
		out[r] = ring{true, m.u64(addr + 8*uint64(r)), 1<<log - 1, int(m.u8(vector + uint64(r)))}
	}
	return out, nil
}

// disable switches the rings off. The host starts again with empty queues.
func (v *vnic) disable() {
	v.enabled = false
	v.tx, v.rx = [maxRings]ring{}, [maxRings]ring{}
	v.due = [256]byte{}
	clear(v.c.queues[v.queue : v.queue+queuesPerVNIC])
}

// count adds a frame to the counters of one direction: 0 from the wire, 1 to it.
func (v *vnic) count(direction int, frame []byte) {
	n := uint64(len(frame))
	add := func(stat int, by uint64) { v.stat(direction*statsEach+stat, by) }
	add(statFrames, 1)
	add(statOctets, n)
	switch castOf(frame) {
	case broadcast:
		add(statBCOctets, n)
		add(statBCFrames, 1)
	case multicast:
		add(statMCOctets, n)
		add(statMCFrames, 1)
	default:
		add(statUCOctets, n)
	}
}

func (v *vnic) stat(i int, by uint64) { v.c.mem.add64(v.base+barStats+8*uint64(i), by) }
