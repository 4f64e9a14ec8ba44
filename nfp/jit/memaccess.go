package jit

// memBytes is the bytes an access touches: [From, To) past a base address. Two
// accesses from one base that do not overlap may change places.
type memBytes struct {
	Space    uint8 // memories with different numbers do not overlap
	Base     int32 // identity of the base address, basePacket or baseUnknown
	From, To int32
	Write    bool
}

const (
	basePacket  = -1
	baseUnknown = -2
)

// conflicts reports whether the order of two accesses may matter.
func (m *memBytes) conflicts(o *memBytes) bool {
	if m.Space != o.Space || !m.Write && !o.Write {
		return false
	}
	return m.Base != o.Base || m.Base == baseUnknown || m.From < o.To && o.From < m.To
}
