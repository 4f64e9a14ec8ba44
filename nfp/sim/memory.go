package sim

import (
	"fmt"
	"sort"
)

// ctmBytes is an island's packet memory.
const ctmBytes = 256 << 10

// Memory is the memory shared by the engines of an island: the island's CTM with its
// packet buffers, and external memory, which all islands share.
type Memory struct {
	CTM     []byte
	packets [maxPackets]Buffer
	*External
}

// maxPackets is how many packet numbers an island has: 10 bits.
const maxPackets = 1024

// Buffer is a packet's place in CTM; Size 0 is none.
type Buffer struct{ Base, Size int }

// External is the allocated part of external memory.
type External struct {
	regions []Region // by address
	last    int      // region of the last access
	next    uint64
}

// Region is one allocated range of external memory.
type Region struct {
	Base uint64 // a multiple of 256
	Data []byte
	Name string
}

// ememBase is the first allocated 40-bit address in external memory 0 (assumed;
// programs see only that it is not zero).
const ememBase = 0x20_0000_0000

// ememGap bytes stay unallocated after every region, so that overruns fault.
const ememGap = 4096

// NewMemory returns an island's empty memory with an external memory of its own.
func NewMemory() *Memory { return (&External{next: ememBase}).island() }

// island returns the memory of one more island that shares an external memory.
func (m *External) island() *Memory { return &Memory{CTM: make([]byte, ctmBytes), External: m} }

// SetPacket places packet number n (0..1023) in [base, base+size) of CTM.
func (m *Memory) SetPacket(n uint16, base, size int) error {
	if n >= maxPackets || base < 0 || size <= 0 || base+size > len(m.CTM) {
		return fmt.Errorf("packet %d at %d, %d bytes: outside ctm", n, base, size)
	}
	m.packets[n] = Buffer{base, size}
	return nil
}

// Alloc reserves size bytes of external memory, zero, at a multiple of 256.
func (m *External) Alloc(name string, size int) Region {
	r := Region{Base: m.next, Data: make([]byte, size), Name: name}
	m.next += (uint64(size)+ememGap+255)&^255 + 256
	m.regions = append(m.regions, r)
	return r
}

// Free releases a region. Its addresses are not used again.
func (m *External) Free(base uint64) {
	for i, r := range m.regions {
		if r.Base == base {
			m.regions = append(m.regions[:i], m.regions[i+1:]...)
			m.last = 0
			return
		}
	}
}

// overread is the number of bytes that a read may go past the end of a region:
// a word read may start at its last byte.
const overread = 3

// emem returns the n bytes at a 40-bit address, or nil. A read may go 3 bytes
// past a region's end; those are zero.
func (m *External) emem(addr uint64, n int, write bool) []byte {
	if m.last < len(m.regions) {
		if r := &m.regions[m.last]; addr >= r.Base && addr-r.Base+uint64(n) <= uint64(len(r.Data)) {
			o := addr - r.Base
			return r.Data[o : o+uint64(n)]
		}
	}
	i := sort.Search(len(m.regions), func(i int) bool { return m.regions[i].Base > addr }) - 1
	if i < 0 {
		return nil
	}
	r := &m.regions[i]
	o := addr - r.Base
	switch size := uint64(len(r.Data)); {
	case o+uint64(n) <= size:
		m.last = i
		return r.Data[o : o+uint64(n)]
	case !write && o < size && o+uint64(n) <= size+overread:
		b := make([]byte, n)
		copy(b, r.Data[o:])
		return b
	}
	return nil
}

// ctm returns the n bytes at a 32-bit address: packet addressing if bit 31 is set
// (25:16 packet number, 12:0 offset), else a byte address. Nil if there are none.
func (m *Memory) ctm(addr uint32, n int) []byte {
	if addr>>31 == 0 {
		if int(addr)+n > len(m.CTM) {
			return nil
		}
		return m.CTM[addr : int(addr)+n]
	}
	b, off := &m.packets[addr>>16&(maxPackets-1)], int(addr&0x1fff)
	if off+n > b.Size {
		return nil
	}
	return m.CTM[b.Base+off : b.Base+off+n]
}

// Bytes returns the n bytes of external memory at a 40-bit address, for traps; nil if
// they are not allocated.
func (m *External) Bytes(addr uint64, n int) []byte { return m.emem(addr, n, true) }
