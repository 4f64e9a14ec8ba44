package card

import "encoding/binary"

// This file holds the port table of the management processor: 48 entries of 32 bytes,
// 24 for each network block interface. An entry is present if it has lanes.

const (
	mediaEntries = 48
	mediaBytes   = 32
	mediaFibre   = 2
)

// portSlot returns the index of a port's entry: each port occupies four.
func portSlot(port int) int { return 4 * port }

// media is the host's configuration of a port.
type media struct {
	configured, enabled bool
	aneg, fec           uint8
}

// Bits of a control word.
const (
	mediaConfigured = 1 << 0
	mediaEnabled    = 1 << 1
	mediaSetRate    = 1 << 4
	mediaSetLanes   = 1 << 5
	mediaSetAneg    = 1 << 6
	mediaSetFEC     = 1 << 7
)

// laneRates maps lane speeds in Gbps to their codes.
var laneRates = map[int]uint64{1: 3, 10: 4, 25: 5}

// portTable returns the table as the host reads it.
func (c *Card) portTable() []byte {
	t := make([]byte, mediaEntries*mediaBytes)
	for i, p := range c.model.Ports {
		e := t[portSlot(i)*mediaBytes:]
		m := &c.nsp.media[i]
		port := uint64(p.Lanes) | uint64(i)<<8 | uint64(i)<<54
		if p.LaneGbps == 25 {
			port |= 3 << 60 // both FEC modes
		}
		state := laneRates[p.LaneGbps]<<8 | uint64(p.Interface)<<12 | mediaFibre<<20 | uint64(m.aneg)<<23 | uint64(m.fec)<<26
		control := uint64(0)
		if m.configured {
			control |= mediaConfigured
		}
		if m.enabled {
			control |= mediaEnabled | 3<<2 // both directions
		}
		state |= control
		binary.LittleEndian.PutUint64(e, port)
		binary.LittleEndian.PutUint64(e[8:], state)
		binary.LittleEndian.PutUint64(e[24:], control)
		mac := c.mac(i)
		for j, b := range mac {
			e[16+5-j] = b
		}
	}
	return t
}

// mediaRefused is the code that the driver reports for a refused setting.
const mediaRefused = 6011 // not an allowed rate or number of lanes

// setMedia applies the control words of a table.
func (c *Card) setMedia(t []byte) (ret uint32, code uint8) {
	for i, p := range c.model.Ports {
		e := t[portSlot(i)*mediaBytes:]
		lanes, state := binary.LittleEndian.Uint64(e)&15, binary.LittleEndian.Uint64(e[8:])
		control := binary.LittleEndian.Uint64(e[24:])
		if control&mediaSetLanes != 0 && lanes != uint64(p.Lanes) ||
			control&mediaSetRate != 0 && state>>8&15 != laneRates[p.LaneGbps] {
			return mediaRefused, errInvalid
		}
		m := &c.nsp.media[i]
		m.configured, m.enabled = control&mediaConfigured != 0, control&mediaEnabled != 0
		if control&mediaSetAneg != 0 {
			m.aneg = uint8(state >> 23 & 7)
		}
		if control&mediaSetFEC != 0 {
			m.fec = uint8(state >> 26 & 3)
		}
	}
	return 0, 0
}

// eeprom returns the contents of the plugged module: identifier and vendor name, in
// the layout of SFF-8636 for QSFP and SFF-8472 for SFP.
func (p PortSpec) eeprom() [256]byte {
	var b [256]byte
	b[0] = 0x03
	vendor := b[20:36]
	if p.Interface == cageQSFP || p.Interface == cageCXP {
		b[0], b[128] = 0x0d, 0x0d
		vendor = b[148:164]
	}
	copy(vendor, "NFPKIT          ")
	return b
}
