package card

import "encoding/binary"

// This file implements MSI-X: a table of {address, data, control}, and a pending bit
// for each vector that fired while it was masked. Both lie in BAR 0, as the capability
// states.

const (
	msixVectors = 32
	msixTable   = 0x2000
	msixPending = 0x2800

	msixEnable = 1 << 15 // of the capability's control word
	msixMask   = 1 << 14

	msixEntry = 16
)

type msix struct {
	table   [msixVectors * msixEntry]byte
	pending [msixVectors / 8]byte
}

func (m *msix) reset() {
	*m = msix{}
	for i := range msixVectors {
		m.table[msixEntry*i+12] = 1 // masked
	}
}

// fire sends the interrupt of a vector, or sets its pending bit if it is masked.
func (m *msix) fire(c *Card, vector int) {
	if vector >= msixVectors {
		c.logf("interrupt of vector %d, there are %d", vector, msixVectors)
		return
	}
	control := binary.LittleEndian.Uint16(c.config.data[capMSIX+2:])
	e := m.table[msixEntry*vector:][:msixEntry]
	bit := byte(1) << (vector & 7)
	switch {
	case control&msixEnable == 0:
		return // MSI-X is disabled
	case control&msixMask != 0 || e[12]&1 != 0:
		m.pending[vector/8] |= bit
		return
	}
	m.pending[vector/8] &^= bit
	if c.config.command()&commandMaster == 0 {
		c.logf("interrupt of vector %d: bus mastering is off", vector)
		return
	}
	if err := c.host.MSI(binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint32(e[8:])); err != nil {
		c.logf("interrupt of vector %d: %v", vector, err)
	}
}

// deliver sends pending interrupts that are no longer masked.
func (m *msix) deliver(c *Card) {
	if m.pending == [len(m.pending)]byte{} {
		return
	}
	for v := range msixVectors {
		if m.pending[v/8]>>(v&7)&1 != 0 {
			m.fire(c, v)
		}
	}
}

// read and write perform the host's accesses at an offset from the table's start.
func (m *msix) read(off uint64, p []byte) {
	for i := range p {
		switch at := off + uint64(i); {
		case at < uint64(len(m.table)):
			p[i] = m.table[at]
		case at >= msixPending-msixTable && at < msixPending-msixTable+uint64(len(m.pending)):
			p[i] = m.pending[at-(msixPending-msixTable)]
		}
	}
}

func (m *msix) write(c *Card, off uint64, p []byte) {
	if off >= uint64(len(m.table)) {
		return
	}
	copy(m.table[off:], p)
	m.deliver(c)
}
