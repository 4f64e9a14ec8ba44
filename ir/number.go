package ir

func width(t Type) int {
	if t == I64 {
		return 64
	}
	return 32
}

// cutTo keeps the low width bits, 32 or 64.
func cutTo(n uint64, width int) uint64 {
	if width == 32 {
		return uint64(uint32(n))
	}
	return n
}

// numberOf is a constant's value at its type's width.
func numberOf(v *Value) (uint64, bool) {
	if v.Op != OpConst {
		return 0, false
	}
	if v.Type == I32 {
		return uint64(uint32(v.Int)), true
	}
	return uint64(v.Int), true
}
