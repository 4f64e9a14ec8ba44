package card

import (
	"bytes"
	"encoding/binary"
	"strings"
)

// This file implements the management processor (NSP): six 64-bit registers, a buffer,
// and commands. A command completes within the write that starts it.

const (
	nspRegisters = 0x30
	nspStatus    = 0x00
	nspCommand   = 0x08
	nspBuffer    = 0x10
	nspDefault   = 0x18
	nspConfig    = 0x20
	nspScatter   = 0x28

	nspMagic = 0xab10
	nspMinor = 31 // versions, sensors and stored firmware; no media modes

	nspChunkOrder = 12 // log2 of the piece size in scattered DMA
	nspImageMax   = 32 << 20
)

// Errors in a command's result, as Linux numbers them.
const (
	errNoEntry     = 2
	errIO          = 5
	errBusy        = 16
	errInvalid     = 22
	errUnsupported = 95
)

// nsp is the state of the management processor.
type nsp struct {
	media     []media
	overrides [][2]string // hwinfo keys that the host set
	// The images written last: firmware by the driver, and the flash.
	firmware, flash Image
}

// Image identifies an image that the host wrote by its length and its POSIX CRC, as
// the cksum tool prints them. The zero value means no image.
type Image struct {
	Bytes int
	CRC   uint32
}

// ImageOf returns the Image of p.
func ImageOf(p []byte) Image { return Image{len(p), cksum(p)} }

// Images returns the image of the firmware that the driver last loaded since power-up,
// and that of the flash.
func (c *Card) Images() (firmware, flash Image) { return c.nsp.firmware, c.nsp.flash }

func newNSP(c *Card) nsp {
	n := nsp{media: make([]media, len(c.model.Ports))}
	for i := range n.media {
		n.media[i] = media{configured: true, enabled: true}
	}
	return n
}

func (n *nsp) writeRegisters(c *Card) {
	n.status(c, 0, 0)
	c.mem.put64(addrNSP+nspDefault, cppMU>>8<<40|addrNSPBuffer)
	c.mem.put64(addrNSP+nspConfig, nspChunkOrder<<58|nspBufferBytes>>20)
	c.mem.put64(addrNSP+nspScatter, 1<<(cmdLoad-1)|1<<(cmdFlash-1))
}

func (n *nsp) status(c *Card, code uint16, result uint8) {
	c.mem.put64(addrNSP+nspStatus, nspMagic<<48|nspMinor<<32|uint64(code)<<16|uint64(result)<<8)
}

// wrote is called after a write to the registers. It starts a command if the write set
// the start bit.
func (n *nsp) wrote(c *Card, off uint64, size int) {
	const start = 1
	if off > nspCommand || off+uint64(size) <= nspCommand {
		return
	}
	reg := c.mem.u64(addrNSP + nspCommand)
	if reg&start == 0 {
		return
	}
	code, option := uint16(reg>>16), uint32(reg>>32)
	b := &nspData{c: c, addr: c.mem.u64(addrNSP + nspBuffer), dma: reg&2 != 0}
	ret, result := uint32(0), uint8(errUnsupported)
	if cmd := nspFunction(code); cmd != nil {
		ret, result = cmd(c, option, b)
	}
	if b.err != nil {
		c.logf("nsp command %d: %v", code, b.err)
		ret, result = 0, errIO
	}
	n.writeRegisters(c)
	n.status(c, code, result)
	c.mem.put64(addrNSP+nspCommand, uint64(ret)<<32|reg&0xffff0000)
}

// nspData is a command's buffer, in the card's memory or in pieces of the host's.
type nspData struct {
	c    *Card
	addr uint64
	dma  bool
	err  error
}

// read returns the first n bytes, or nil if the buffer is shorter.
func (b *nspData) read(n uint32) []byte {
	switch {
	case !b.dma && n > nspBufferBytes, n > nspImageMax:
		return nil
	case !b.dma:
		p := make([]byte, n)
		b.c.mem.read(b.addr&muMask, p)
		return p
	}
	var head [16]byte
	if b.err = b.c.dmaRead(b.addr, head[:]); b.err != nil {
		return nil
	}
	var out []byte
	for i := range min(binary.LittleEndian.Uint32(head[:]), nspImageMax>>nspChunkOrder) {
		var d [16]byte // size, reserved, address
		if b.err = b.c.dmaRead(b.addr+16+16*uint64(i), d[:]); b.err != nil {
			return nil
		}
		size := min(binary.LittleEndian.Uint32(d[:]), 1<<nspChunkOrder)
		p := make([]byte, min(size, n-uint32(len(out))))
		if b.err = b.c.dmaRead(binary.LittleEndian.Uint64(d[8:]), p); b.err != nil {
			return nil
		}
		if out = append(out, p...); uint32(len(out)) == n {
			return out
		}
	}
	return nil
}

// write stores a reply of at most n bytes. It does not support scattered buffers: only
// images use them, and they have no reply.
func (b *nspData) write(p []byte, n uint32) {
	if !b.dma {
		b.c.mem.write(b.addr&muMask, p[:min(len(p), int(n), nspBufferBytes)])
	}
}

// Commands.
const (
	cmdLoad  = 6
	cmdFlash = 11
)

// nspFunc performs a command and returns its value and result.
type nspFunc func(c *Card, option uint32, b *nspData) (ret uint32, result uint8)

// nspFunction returns the implementation of a command, or nil if there is none.
func nspFunction(code uint16) nspFunc {
	switch code {
	case 0, 4: // no-op, MAC init
		return func(*Card, uint32, *nspData) (uint32, uint8) { return 0, 0 }
	case 1:
		return cmdReset
	case cmdLoad:
		return cmdLoadFirmware
	case 7:
		return cmdPortTable
	case 8:
		return cmdPortControl
	case cmdFlash:
		return cmdWriteFlash
	case 12:
		return cmdSensors
	case 13:
		return cmdIdentify
	case 16:
		return cmdLoadStored
	case 17:
		return cmdHWInfo
	case 18:
		return cmdSetHWInfo
	case 19:
		return cmdIsLoaded
	case 21:
		return cmdVersions
	case 22:
		return cmdEEPROM
	case 23:
		return cmdMedia
	}
	return nil
}

func cmdReset(c *Card, _ uint32, _ *nspData) (uint32, uint8) {
	c.stopFirmware()
	return 0, 0
}

// cmdLoadFirmware accepts an image from the driver. The card always runs its own
// profile, whatever the image contains: no simulator of the vendor's firmware exists.
func cmdLoadFirmware(c *Card, size uint32, b *nspData) (uint32, uint8) {
	const failed, unparsable = 2 << 8, 5 << 16
	if c.loaded {
		return 0, errBusy
	}
	p := b.read(size)
	if len(p) == 0 {
		return failed | unparsable, errInvalid
	}
	c.nsp.firmware = ImageOf(p)
	c.startFirmware()
	return 0, 0
}

func cmdLoadStored(c *Card, _ uint32, _ *nspData) (uint32, uint8) {
	if !c.loaded {
		c.startFirmware()
	}
	return 1 << 8, 0 // from flash
}

func cmdIsLoaded(c *Card, _ uint32, _ *nspData) (uint32, uint8) {
	if c.loaded {
		return 1, 0
	}
	return 0, 0
}

func cmdWriteFlash(c *Card, size uint32, b *nspData) (uint32, uint8) {
	p := b.read(size)
	if len(p) == 0 {
		return 0, errInvalid
	}
	c.nsp.flash = ImageOf(p)
	return 0, 0
}

func cmdPortTable(c *Card, size uint32, b *nspData) (uint32, uint8) {
	b.write(c.portTable(), size)
	return uint32(len(c.model.Ports)), 0
}

func cmdPortControl(c *Card, size uint32, b *nspData) (uint32, uint8) {
	if size < mediaEntries*mediaBytes {
		return 0, errInvalid
	}
	if t := b.read(mediaEntries * mediaBytes); t != nil {
		return c.setMedia(t)
	}
	return 0, errInvalid
}

// cmdSensors reports an idle card: 45 degrees, 12 watts in total (assumptions).
func cmdSensors(_ *Card, _ uint32, b *nspData) (uint32, uint8) {
	var out []byte
	for _, v := range []uint32{45_000, 12_000, 9_000, 3_000} {
		out = binary.LittleEndian.AppendUint32(out, v)
	}
	b.write(out, uint32(len(out)))
	return 0, 0
}

func cmdIdentify(_ *Card, size uint32, b *nspData) (uint32, uint8) {
	out := make([]byte, 64)
	copy(out[:39], "nfpkit")
	for i, v := range []uint16{1, 1, nspMinor} {
		binary.LittleEndian.PutUint16(out[44+2*i:], v)
	}
	binary.LittleEndian.PutUint64(out[56:], 0xf) // all four sensors
	b.write(out, size)
	return 0, 0
}

func cmdHWInfo(c *Card, size uint32, b *nspData) (uint32, uint8) {
	p := b.read(min(size, regionBytes))
	key, _, ok := bytes.Cut(p, []byte{0})
	if !ok {
		return 0, errInvalid
	}
	keys := append(c.hwinfoKeys(), c.nsp.overrides...)
	for i := len(keys) - 1; i >= 0; i-- {
		if keys[i][0] == string(key) {
			b.write([]byte(keys[i][1]+"\x00"), size)
			return 0, 0
		}
	}
	return 0, errNoEntry
}

// maxOverrides bounds the number of hwinfo keys that a host may set.
const maxOverrides = 64

func cmdSetHWInfo(c *Card, size uint32, b *nspData) (uint32, uint8) {
	p := b.read(min(size, regionBytes))
	text, _, _ := bytes.Cut(p, []byte{0})
	key, value, ok := strings.Cut(string(text), "=")
	if !ok || key == "" {
		return 0, errInvalid
	}
	for i := range c.nsp.overrides {
		if o := &c.nsp.overrides[i]; o[0] == key {
			o[1] = value
			return 0, 0
		}
	}
	if len(c.nsp.overrides) == maxOverrides {
		return 0, errInvalid
	}
	c.nsp.overrides = append(c.nsp.overrides, [2]string{key, value})
	return 0, 0
}

// cmdVersions lists versions: a count, then for each of seven components the offsets
// of the running version and of the version in flash, then the text.
func cmdVersions(c *Card, size uint32, b *nspData) (uint32, uint8) {
	const fields, text = 14, 32
	out := make([]byte, text)
	binary.LittleEndian.PutUint16(out, fields)
	for i, v := range []string{"nfpkit-bsp", "0x3030000", "nfpkit-" + c.profile.Name} {
		for flash := range 2 {
			binary.LittleEndian.PutUint16(out[2+4*i+2*flash:], uint16(len(out)))
		}
		out = append(out, v+"\x00"...)
	}
	b.write(out, size)
	return 0, 0
}

// cmdEEPROM reads a module. The buffer is {32-bit words before the data, length,
// offset, bytes read, port}, then the data.
func cmdEEPROM(c *Card, size uint32, b *nspData) (uint32, uint8) {
	const header = 8
	p := b.read(min(size, regionBytes))
	if len(p) < header {
		return 0, errInvalid
	}
	length, offset, port := binary.LittleEndian.Uint16(p[1:]), binary.LittleEndian.Uint16(p[3:]), int(p[7])
	if port >= len(c.model.Ports) {
		return 0, errInvalid
	}
	data := c.model.Ports[port].eeprom()
	n := min(int(length), len(p)-header, max(0, len(data)-int(offset)))
	if n > 0 {
		copy(p[header:], data[offset:int(offset)+n])
	}
	binary.LittleEndian.PutUint16(p[5:], uint16(max(n, 0)))
	b.write(p, size)
	return 0, 0
}

// cmdMedia reports the link modes of a port: none beyond those in the port table.
func cmdMedia(c *Card, size uint32, b *nspData) (uint32, uint8) {
	p := b.read(40)
	if size < 40 || p == nil || int(p[0]) >= len(c.model.Ports) {
		return 0, errInvalid
	}
	clear(p[8:])
	b.write(p, size)
	return 0, 0
}
