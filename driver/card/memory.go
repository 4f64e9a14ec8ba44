package card

import "encoding/binary"

// memory is the sparse 40-bit address space of the memory unit, as seen by the host. A
// page is allocated when it is first written. At most maxPages exist; a write that
// needs another one is lost.
type memory struct {
	pages map[uint64]*[pageBytes]byte
	lost  bool // a write needed a page past maxPages
}

const (
	pageBytes = 4096
	maxPages  = 64 << 20 / pageBytes // an assumption: the memory that a host may fill
	muMask    = 1<<40 - 1
)

func newMemory() memory { return memory{pages: map[uint64]*[pageBytes]byte{}} }

// read fills p from addr.
func (m *memory) read(addr uint64, p []byte) {
	for len(p) > 0 {
		addr &= muMask
		n := min(len(p), pageBytes-int(addr%pageBytes))
		if page := m.pages[addr/pageBytes]; page != nil {
			copy(p[:n], page[addr%pageBytes:])
		} else {
			clear(p[:n])
		}
		p, addr = p[n:], addr+uint64(n)
	}
}

// write stores p at addr.
func (m *memory) write(addr uint64, p []byte) {
	for len(p) > 0 {
		addr &= muMask
		n := min(len(p), pageBytes-int(addr%pageBytes))
		page := m.pages[addr/pageBytes]
		if page == nil && len(m.pages) < maxPages {
			page = new([pageBytes]byte)
			m.pages[addr/pageBytes] = page
		}
		if page != nil {
			copy(page[addr%pageBytes:], p[:n])
		} else {
			m.lost = true
		}
		p, addr = p[n:], addr+uint64(n)
	}
}

func (m *memory) u8(addr uint64) byte {
	var b [1]byte
	m.read(addr, b[:])
	return b[0]
}

func (m *memory) u16(addr uint64) uint16 {
	var b [2]byte
	m.read(addr, b[:])
	return binary.LittleEndian.Uint16(b[:])
}

func (m *memory) u32(addr uint64) uint32 {
	var b [4]byte
	m.read(addr, b[:])
	return binary.LittleEndian.Uint32(b[:])
}

func (m *memory) u64(addr uint64) uint64 {
	var b [8]byte
	m.read(addr, b[:])
	return binary.LittleEndian.Uint64(b[:])
}

func (m *memory) put8(addr uint64, v byte) { m.write(addr, []byte{v}) }
func (m *memory) put16(addr uint64, v uint16) {
	m.write(addr, binary.LittleEndian.AppendUint16(nil, v))
}
func (m *memory) put32(addr uint64, v uint32) {
	m.write(addr, binary.LittleEndian.AppendUint32(nil, v))
}
func (m *memory) put64(addr uint64, v uint64) {
	m.write(addr, binary.LittleEndian.AppendUint64(nil, v))
}

// add64 adds v to the 64-bit counter at addr.
func (m *memory) add64(addr, v uint64) { m.put64(addr, m.u64(addr)+v) }
