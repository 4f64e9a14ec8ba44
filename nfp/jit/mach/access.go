package mach

// Access is the byte range of an access: [From, To) past a base address. Two
// accesses from one base that do not overlap may be reordered.
type Access struct {
	Space    uint8 // memories with different numbers do not overlap
	Base     int32 // identity of the base address, basePacket or baseUnknown
	From, To int32
	Write    bool
}

const (
	BasePacket  = -1
	BaseUnknown = -2
)

// conflicts reports whether the order of two accesses may matter.
func (m *Access) conflicts(o *Access) bool {
	if m.Space != o.Space || !m.Write && !o.Write {
		return false
	}
	return m.Base != o.Base || m.Base == BaseUnknown || m.From < o.To && o.From < m.To
}
