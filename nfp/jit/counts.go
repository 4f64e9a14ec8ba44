package jit

// Counts is how often each instruction of a program ran, by pc; an absent one never
// ran. Layout places the hot path where control falls through; passes over ir order
// comparisons by it, and leave loops and calls alone that never ran.
type Counts map[int]uint64

// at returns how often the instruction at pc ran; false if nothing was counted.
func (c Counts) at(pc int32) (uint64, bool) {
	return c[int(pc)], c != nil && pc >= 0
}
