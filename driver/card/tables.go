package card

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file writes the tables from which a driver learns the layout of the card. The
// resource table has a fixed address. It leads to the management processor, to hwinfo
// and to the firmware information. The latter leads to the firmware's MIP, and the MIP
// to the symbols.

// Addresses in memory. The driver defines only the first one; the others are our
// choice.
const (
	addrResources = 0x81_0000_0000
	addrNSP       = 0x81_0002_0000
	addrHWInfo    = 0x81_0003_0000
	addrNFFW      = 0x81_0004_0000
	addrMIP       = 0x0010_0000
	addrSymbols   = 0x0011_0000
	addrStrings   = 0x0012_0000
	addrBARs      = 0x1000_0000
	addrControl   = 0x1040_0000
	addrMACStats  = 0x1060_0000
	addrCaps      = 0x1070_0000
	addrNSPBuffer = 0x2000_0000
)

// Sizes.
const (
	resourceEntries = 128
	resourceBytes   = 32
	regionBytes     = 0x1000
	nffwBytes       = 8 + 200*4 + 200*12
	barBytesVNIC    = 0x8000
	macStatsBytes   = 0x200
	nspBufferBytes  = 1 << 20
)

const (
	island   = 24                         // EMEM 0
	cppMU    = targetMU<<24 | actionRW<<8 // CPP id: target, action, no token
	cppEMEM0 = cppMU | island
)

// writeTables writes the tables that exist without firmware.
func (c *Card) writeTables() {
	for i := range resourceEntries {
		c.mem.put32(addrResources+uint64(i)*resourceBytes+4, 1<<32-1) // a key that matches no resource
	}
	c.resource(0, "nfp.res", addrResources, resourceEntries*resourceBytes)
	c.resource(1, "nfp.sp", addrNSP, regionBytes)
	c.resource(2, "nfp.info", addrHWInfo, regionBytes)
	c.resource(3, "nfp.nffw", addrNFFW, nffwBytes)
	c.mem.write(addrHWInfo, c.hwinfo())
	c.nsp.writeRegisters(c)
}

// resource writes an entry of the resource table. Entry 0 describes the table itself.
func (c *Card) resource(i int, name string, addr uint64, size int) {
	var e [resourceBytes]byte
	copy(e[8:16], name)
	if i > 0 {
		binary.LittleEndian.PutUint32(e[4:], cksum(e[8:16]))
	}
	e[21], e[22], e[23] = actionRW, 0, targetMU
	binary.LittleEndian.PutUint32(e[24:], uint32(addr>>8))
	binary.LittleEndian.PutUint32(e[28:], uint32(size+255)>>8)
	c.mem.write(addrResources+uint64(i)*resourceBytes, e[:])
}

// cksum returns the POSIX CRC of data: polynomial 0x04c11db7, most significant bit
// first, over data and then its length (low byte first), complemented.
func cksum(data []byte) uint32 {
	var crc uint32
	add := func(b byte) {
		crc ^= uint32(b) << 24
		for range 8 {
			if crc>>31 != 0 {
				crc = crc<<1 ^ 0x04c11db7
			} else {
				crc <<= 1
			}
		}
	}
	for _, b := range data {
		add(b)
	}
	for n := len(data); n > 0; n >>= 8 {
		add(byte(n))
	}
	return ^crc
}

// hwinfoKeys returns the manufacturer's keys and values, in order.
func (c *Card) hwinfoKeys() [][2]string {
	s := c.serial
	serial := fmt.Sprintf("%02x%02x%02x%02x%02x%02x", s[0], s[1], s[2], s[3], s[4], s[5])
	keys := [][2]string{
		{"assembly.vendor", "SMA"},
		{"assembly.partno", c.model.PartNo},
		{"assembly.serial", serial},
		{"assembly.revision", "01"},
		{"assembly.model", c.model.Product},
		{"cpld.version", "0x3030000"},
		{"board.state", "15"},
		{"nffw.partno", c.model.PartNo},
	}
	for i := range c.model.Ports {
		m := c.mac(i)
		keys = append(keys, [2]string{fmt.Sprintf("eth%d.mac", i), fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])})
	}
	return keys
}

// mac returns the address of a port: the serial number plus the port's number.
func (c *Card) mac(port int) [6]byte {
	m := c.serial
	v := binary.BigEndian.Uint32(m[2:]) + uint32(port)
	binary.BigEndian.PutUint32(m[2:], v)
	return m
}

// hwinfo returns the database as the driver reads it.
func (c *Card) hwinfo() []byte {
	b := make([]byte, 16)
	for _, kv := range c.hwinfoKeys() {
		b = append(b, kv[0]+"\x00"+kv[1]+"\x00"...)
	}
	b = append(b, make([]byte, 8-len(b)%8+4)...) // an empty key ends the database
	le := binary.LittleEndian
	le.PutUint32(b, 0x48490200) // "HI", version 2
	le.PutUint32(b[4:], uint32(len(b)+4))
	le.PutUint32(b[8:], regionBytes)
	return le.AppendUint32(b, cksum(b))
}

// symbol is a run-time symbol of the firmware: an object in memory, or an
// absolute value.
type symbol struct {
	name     string
	absolute bool
	addr     uint64 // or value
	size     uint64
}

// appBPF is the number of the BPF NIC application (nfp_app.h).
const appBPF = 2

// symbols returns the firmware's symbols.
func (c *Card) symbols(caps []byte) []symbol {
	n := len(c.model.Ports)
	return []symbol{
		{"nfd_cfg_pf0_num_ports", true, uint64(n), 0},
		{"nfd_vf_cfg_max_vfs", true, 0, 0},
		{"_pf0_net_app_id", true, cmp.Or(c.opt.App, appBPF), 0},
		{"_pf0_net_bar0", false, addrBARs, uint64(n) * barBytesVNIC},
		{"_pf0_net_ctrl_bar", false, addrControl, barBytesVNIC},
		{"_abi_bpf_capabilities", false, addrCaps, uint64(len(caps))},
		{"_mac_stats", false, addrMACStats, uint64(portSlot(n-1)+1) * macStatsBytes},
	}
}

// startFirmware loads the firmware: it writes the firmware's tables and creates its
// vNICs, which have no rings yet.
func (c *Card) startFirmware() {
	c.stopFirmware()
	caps := driver.EncodeCaps(c.profile)
	if c.entriesAtOnce() > 1 {
		caps = binary.LittleEndian.AppendUint64(caps, capMultiEntry)
	}
	c.mem.write(addrCaps, caps)
	var symbols, names []byte
	for _, s := range c.symbols(caps) {
		var e [16]byte
		e[0], e[1], e[2], e[10] = 1, targetMU, island, 0xff
		if s.absolute {
			e[0], e[1], e[2] = 3, 0, 0xff
		}
		e[3] = byte(s.addr >> 32)
		binary.LittleEndian.PutUint32(e[4:], uint32(s.addr))
		binary.LittleEndian.PutUint16(e[8:], uint16(len(names)))
		e[11] = byte(s.size >> 32)
		binary.LittleEndian.PutUint32(e[12:], uint32(s.size))
		symbols = append(symbols, e[:]...)
		names = append(names, s.name+"\x00"...)
	}
	c.mem.write(addrSymbols, symbols)
	c.mem.write(addrStrings, names)
	c.mem.write(addrMIP, mip(c.profile.Name, len(symbols), len(names)))

	info := uint64(addrNFFW + 8 + 200*4)
	c.mem.put32(info, 1<<31|addrMIP>>32)
	c.mem.put32(info+4, cppEMEM0)
	c.mem.put32(info+8, addrMIP)
	for _, v := range c.vnics {
		v.writeBAR()
	}
	c.loaded = true
}

// mip returns the structure that locates the firmware's symbol and string tables.
func mip(name string, symbols, strings int) []byte {
	b := make([]byte, 96)
	le := binary.LittleEndian
	for i, w := range []uint32{0x0050494d, 1, 96, 96, 0x0100_0000, 1, 0, 0, addrSymbols, uint32(symbols), addrStrings, uint32(strings)} {
		le.PutUint32(b[4*i:], w)
	}
	copy(b[48:63], "nfpkit-"+name)
	copy(b[64:95], "nfpkit")
	return b
}

// stopFirmware performs a soft reset: programs, maps, rings and counters are lost.
func (c *Card) stopFirmware() {
	c.loaded = false
	c.nic.Reset()
	c.queues = [256]queue{}
	c.wire.flights = nil
	c.vnics, c.hooks = nil, []hook{{addrNSP, nspRegisters, func(off uint64, n int) { c.nsp.wrote(c, off, n) }}}
	clearRegion := func(addr uint64, n int) { c.mem.write(addr, make([]byte, n)) }
	clearRegion(addrNFFW, nffwBytes)
	c.mem.put32(addrNFFW, 1|2<<16) // initialised, version 2
	clearRegion(addrMACStats, (portSlot(len(c.model.Ports)-1)+1)*macStatsBytes)
	for i := range len(c.model.Ports) + 1 {
		v := newVNIC(c, i)
		clearRegion(v.base, barBytesVNIC)
		c.vnics = append(c.vnics, v)
		c.hooks = append(c.hooks, hook{v.base, barBytesVNIC, v.wrote})
	}
}

// capMultiEntry is the type of the capability to return several entries in a reply.
const capMultiEntry = 8

// entriesAtOnce returns the maximum number of map entries in a reply.
func (c *Card) entriesAtOnce() int {
	if c.profile.ABI < 3 || c.opt.SingleEntry {
		return 1
	}
	return maxEntries
}

// Limits advertised if the profile has none: a reply of four entries fits a control
// message of 9,216 bytes.
const (
	finiteCount   = 1024
	finiteEntries = 16 << 20
	finiteKey     = 512
	finiteValue   = 1024
)

// advertised returns a copy of a profile in which every limit is finite. Keys and
// values fit the slots of messages, which hold at least a 32-bit word. The programs of
// all ports fit the code store. Each port has its own max_len control-store words, in
// consecutive regions as in the open firmware. max_len is reduced if the store is
// smaller than that.
func advertised(p *firmware.Profile, ports int) *firmware.Profile {
	q := *p
	finite := func(v *int, limit int) {
		if *v == 0 {
			*v = limit
		}
	}
	finite(&q.Maps.Count, finiteCount)
	finite(&q.Maps.Entries, finiteEntries)
	key, value := finiteKey, finiteValue
	if q.ABI < 3 {
		key, value = slotABI2, slotABI2
	}
	finite(&q.Maps.Key, key)
	finite(&q.Maps.Value, value)
	finite(&q.Maps.Entry, key+value)
	q.Maps.Key, q.Maps.Value = max(4, min(q.Maps.Key, key)), max(4, min(q.Maps.Value, value))
	q.MaxLen = min(q.MaxLen, (nfp.StoreWords-q.Start)/ports)
	return &q
}
