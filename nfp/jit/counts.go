package jit

// Counts is the number of times that each instruction of a program ran, by pc; an
// absent one never ran. Layout makes the hot path fall through. Passes over ir
// order comparisons by it, and do not change loops and calls that never ran.
type Counts map[int]uint64

// at returns how often the instruction at pc ran; false if nothing was counted.
func (c Counts) at(pc int32) (uint64, bool) {
	return c[int(pc)], c != nil && pc >= 0
}
