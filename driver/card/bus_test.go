package card

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// bus is the in-process host: RAM at ramBase, and a record of interrupts.
type bus struct {
	ram     []byte
	irqs    []uint32
	refused int // DMA outside RAM
	lines   []string
}

const (
	ramBase  = 0x10_0000
	ramBytes = 8 << 20
	msiAddr  = 0xfee0_0000
)

var errNotGranted = errors.New("not granted")

func (b *bus) at(addr uint64, n int) ([]byte, error) {
	if addr < ramBase || addr-ramBase > uint64(len(b.ram)) || uint64(n) > uint64(len(b.ram))-(addr-ramBase) {
		b.refused++
		return nil, errNotGranted
	}
	return b.ram[addr-ramBase:][:n], nil
}

func (b *bus) DMARead(addr uint64, p []byte) error {
	m, err := b.at(addr, len(p))
	copy(p, m)
	return err
}

func (b *bus) DMAWrite(addr uint64, p []byte) error {
	m, err := b.at(addr, len(p))
	copy(m, p)
	return err
}

func (b *bus) MSI(addr uint64, data uint32) error {
	if addr != msiAddr {
		return errNotGranted
	}
	b.irqs = append(b.irqs, data)
	return nil
}

// host is a small driver that does what the Linux driver does, step by step.
type host struct {
	*bus
	t    testing.TB
	card *Card
	next uint64 // start of the unallocated RAM
	syms map[string]symbol
}

// newHost creates a card in a bus and switches it on.
func newHost(t testing.TB, opt *Options) *host {
	t.Helper()
	h := &host{bus: &bus{ram: make([]byte, ramBytes)}, t: t, next: ramBase, syms: map[string]symbol{}}
	o := *opt
	if o.Log == nil {
		o.Log = func(line string) { h.lines = append(h.lines, line) }
	}
	c, err := New(&o)
	if err != nil {
		t.Fatal(err)
	}
	c.Attach(h)
	c.ConfigWrite(commandOffset, 2, commandMemory|commandMaster)
	h.card = c
	return h
}

func profile(t testing.TB, name string) *firmware.Profile {
	t.Helper()
	p, err := firmware.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// alloc allocates RAM.
func (h *host) alloc(n int) uint64 {
	addr := h.next
	h.next += uint64(n+63) &^ 63
	if h.next > ramBase+ramBytes {
		h.t.Fatal("out of memory")
	}
	return addr
}

// Windows the host uses: bulk in BAR 0, fixed in BAR 2.
const (
	bulkWindow  = 2
	fixedWindow = 9
)

// show maps a window and returns its BAR and offset.
func (h *host) show(window int, csr uint32) (bar int, off uint64) {
	at := uint64(windowCSR + 4*window)
	h.card.Write(0, at, binary.LittleEndian.AppendUint32(nil, csr))
	var b [4]byte
	if h.card.Read(0, at, b[:]); binary.LittleEndian.Uint32(b[:]) != csr {
		h.t.Fatalf("window %d: wrote 0x%x, reads 0x%x", window, csr, b)
	}
	bar = window / 8 * 2
	return bar, uint64(window%8) * (barBytes[bar] / 8)
}

func (h *host) bulk(target uint32, addr uint64) (bar int, off uint64) {
	bar, off = h.show(bulkWindow, windowBulk<<29|target<<23|uint32(addr>>19))
	return bar, off + addr&(1<<19-1)
}

func (h *host) read(addr uint64, n int) []byte {
	p := make([]byte, n)
	bar, off := h.bulk(targetMU, addr)
	h.card.Read(bar, off, p)
	return p
}

func (h *host) write(addr uint64, p []byte) {
	bar, off := h.bulk(targetMU, addr)
	h.card.Write(bar, off, p)
}

func (h *host) read32(addr uint64) uint32 { return binary.LittleEndian.Uint32(h.read(addr, 4)) }
func (h *host) read64(addr uint64) uint64 { return binary.LittleEndian.Uint64(h.read(addr, 8)) }
func (h *host) write32(addr uint64, v uint32) {
	h.write(addr, binary.LittleEndian.AppendUint32(nil, v))
}
func (h *host) write64(addr, v uint64) { h.write(addr, binary.LittleEndian.AppendUint64(nil, v)) }

// atomic reads a 32-bit word with an action of the memory unit.
func (h *host) atomic(addr uint64, action, token uint32) uint32 {
	bar, off := h.show(fixedWindow, windowFixed<<29|targetMU<<23|token<<21|action<<16|uint32(addr>>24))
	var b [4]byte
	h.card.Read(bar, off+addr&(1<<24-1), b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (h *host) xpb(addr uint32) uint32 {
	bar, off := h.bulk(targetXPB, uint64(addr))
	var b [4]byte
	h.card.Read(bar, off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// lock locks a resource as the driver does, and returns its address and size.
func (h *host) lock(name string) (entry, addr, size uint64) {
	h.t.Helper()
	var padded [8]byte
	copy(padded[:], name)
	for i := uint64(1); i < resourceEntries; i++ {
		e := addrResources + i*resourceBytes
		if h.atomic(e+4, muAtomicRead, 0) != cksum(padded[:]) {
			continue
		}
		if old := h.atomic(e, muTestSet, 3); old&0xffff != 0 {
			h.t.Fatalf("resource %s: lock word 0x%x", name, old)
		}
		if old := h.atomic(e, muTestSet, 3); old&0xffff != testSetBits {
			h.t.Fatalf("resource %s: lock word 0x%x after it was taken", name, old)
		}
		h.write32(e, interfaceID<<16|testSetBits)
		return e, uint64(h.read32(e+24)) << 8, uint64(h.read32(e+28)) << 8
	}
	h.t.Fatalf("no resource %s", name)
	return 0, 0, 0
}

func (h *host) unlock(entry uint64) { h.write32(entry, interfaceID<<16) }

// command runs a command of the management processor on the default buffer.
func (h *host) command(code uint16, option uint32, in []byte, out int) (ret uint32, result uint8, data []byte) {
	h.t.Helper()
	e, base, _ := h.lock("nfp.sp")
	defer h.unlock(e)
	buffer := h.read64(base + nspDefault)
	addr := buffer & muMask
	h.write(addr, append(in, make([]byte, max(0, out-len(in)))...))
	h.write64(base+nspBuffer, buffer)
	h.write64(base+nspCommand, uint64(option)<<32|uint64(code)<<16|1)
	if h.read64(base+nspCommand)&1 != 0 || h.read64(base)&1 != 0 {
		h.t.Fatalf("command %d does not end", code)
	}
	status := h.read64(base)
	if status>>48 != nspMagic || uint16(status>>16) != code {
		h.t.Fatalf("command %d: status 0x%x", code, status)
	}
	return uint32(h.read64(base+nspCommand) >> 32), uint8(status >> 8), h.read(addr, out)
}

// symbols reads the firmware's symbol table.
func (h *host) symbols() []string {
	h.t.Helper()
	e, base, _ := h.lock("nfp.nffw")
	defer h.unlock(e)
	info := base + 8 + 800
	if h.read32(base)&1 == 0 || h.read32(info)>>31 == 0 {
		return nil
	}
	m := uint64(h.read32(info)&0xff)<<32 | uint64(h.read32(info+8))
	if h.read32(m) != 0x0050494d {
		h.t.Fatalf("mip: signature 0x%x", h.read32(m))
	}
	table, strings := h.read(uint64(h.read32(m+32)), int(h.read32(m+36))), h.read(uint64(h.read32(m+40)), int(h.read32(m+44)))
	var names []string
	for ; len(table) > 0; table = table[16:] {
		name := strings[binary.LittleEndian.Uint16(table[8:]):]
		s := symbol{name: cstring(name), absolute: table[0] == 3,
			addr: uint64(table[3])<<32 | uint64(binary.LittleEndian.Uint32(table[4:])), size: uint64(binary.LittleEndian.Uint32(table[12:]))}
		h.syms[s.name] = s
		names = append(names, s.name)
	}
	return names
}

func cstring(b []byte) string {
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// boot loads the firmware from flash and reads its symbols.
func (h *host) boot() {
	h.t.Helper()
	if _, result, _ := h.command(16, 0, nil, 0); result != 0 {
		h.t.Fatalf("load stored firmware: result %d", result)
	}
	if len(h.symbols()) == 0 {
		h.t.Fatal("no symbols")
	}
}

// port is a vNIC as the host uses it, with its rings.
type port struct {
	*host
	base     uint64
	txQ, rxQ uint64
	tx, rx   uint64
	txN, rxN uint32
	bufs     uint64
	vector   byte
}

const (
	ringLog = 8
	bufSize = 2048
	ctrlBuf = 16384
)

// open enables a vNIC with one ring for each direction and fills its free list.
func (h *host) open(base uint64, vector byte, control uint32) *port {
	h.t.Helper()
	p := &port{host: h, base: base, vector: vector, txQ: uint64(h.read32(base + barStartTX)), rxQ: uint64(h.read32(base + barStartRX))}
	p.tx, p.rx = h.alloc(txDescBytes<<ringLog), h.alloc(rxDescBytes<<ringLog)
	p.bufs = h.alloc(bufSize * 32)
	h.write64(base+barTXAddr, p.tx)
	h.write64(base+barRXAddr, p.rx)
	h.write(base+barTXSize, []byte{ringLog})
	h.write(base+barRXSize, []byte{ringLog})
	h.write(base+barTXVector, []byte{vector})
	h.write(base+barRXVector, []byte{vector})
	h.write64(base+barTXEnable, 1)
	h.write64(base+barRXEnable, 1)
	h.write32(base+barMTU, 1500)
	h.write32(base+barBuffer, bufSize)
	h.vector(vector)
	h.write32(base+barControl, ctlEnable|control)
	if !p.reconfigure(updateGeneral | updateRings) {
		h.t.Fatalf("enabling: refused: %q", h.lines)
	}
	for i := range uint32(16) {
		p.refill(i)
	}
	p.bell(p.rxQ, queueAddWrite, 16)
	return p
}

// vector programs an MSI-X entry. Its data is its own number.
func (h *host) vector(n byte) {
	at := uint64(msixTable + msixEntry*int(n))
	h.card.ConfigWrite(capMSIX+2, 2, msixEnable)
	h.card.Write(0, at, binary.LittleEndian.AppendUint64(nil, msiAddr))
	h.card.Write(0, at+8, binary.LittleEndian.AppendUint64(nil, uint64(n)))
}

func (p *port) refill(i uint32) {
	var d [rxDescBytes]byte
	buf := p.bufs + bufSize*uint64(i%16)
	binary.LittleEndian.PutUint16(d[:], uint16(buf>>32))
	binary.LittleEndian.PutUint32(d[4:], uint32(buf))
	copy(p.ram[p.rx-ramBase+rxDescBytes*uint64(i&(1<<ringLog-1)):], d[:])
}

// bell writes a register of a queue.
func (h *host) bell(q uint64, reg int, v uint32) {
	bar, off := h.bulk(targetPCIe, queueOffset+q*queueBytes+uint64(reg))
	h.card.Write(bar, off, binary.LittleEndian.AppendUint32(nil, v))
}

func (h *host) queue(q uint64, reg int) uint32 {
	bar, off := h.bulk(targetPCIe, queueOffset+q*queueBytes+uint64(reg))
	var b [4]byte
	h.card.Read(bar, off, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

// reconfigure performs the handshake of the control BAR.
func (p *port) reconfigure(what uint32) bool {
	p.t.Helper()
	p.write32(p.base+barUpdate, what)
	p.bell(p.txQ+configQueue, queueAddWrite, 1)
	got := p.read32(p.base + barUpdate)
	if got != 0 && got != updateError {
		p.t.Fatalf("update 0x%x: reads 0x%x afterwards", what, got)
	}
	return got == 0
}

// send puts a frame, in pieces, into the transmit ring and rings the doorbell.
func (p *port) send(flags byte, pieces ...[]byte) {
	p.t.Helper()
	for i, piece := range pieces {
		buf := p.bufs + bufSize*uint64(16+i)
		copy(p.ram[buf-ramBase:], piece)
		var d [txDescBytes]byte
		d[0] = byte(buf >> 32)
		binary.LittleEndian.PutUint16(d[1:], uint16(len(piece)))
		if i == len(pieces)-1 {
			d[3] = txEnd
		}
		binary.LittleEndian.PutUint32(d[4:], uint32(buf))
		d[11] = flags
		copy(p.ram[p.tx-ramBase+txDescBytes*uint64(p.txN&(1<<ringLog-1)):], d[:])
		p.txN++
	}
	p.bell(p.txQ, queueAddWrite, uint32(len(pieces)))
}

// receive takes the next frame from the receive ring, or nil if there is none. It
// unmasks the interrupt and returns the buffer to the free list.
func (p *port) receive() (frame []byte, flags uint16) {
	p.t.Helper()
	d := p.ram[p.rx-ramBase+rxDescBytes*uint64(p.rxN&(1<<ringLog-1)):][:rxDescBytes]
	if d[3]&rxDone == 0 {
		return nil, 0
	}
	n, flags := binary.LittleEndian.Uint16(d), binary.LittleEndian.Uint16(d[4:])
	frame = append([]byte{}, p.ram[p.bufs+bufSize*uint64(p.rxN%16)-ramBase:][:n]...)
	p.refill(p.rxN + 16)
	clear(p.ram[p.rx-ramBase+rxDescBytes*uint64(p.rxN&(1<<ringLog-1)):][:rxDescBytes])
	p.refill(p.rxN + 16)
	p.rxN++
	p.bell(p.rxQ, queueAddWrite, 1)
	p.write(p.base+barCause+uint64(p.vector), []byte{0})
	return frame, flags
}
