package jit

// Counts is how often each instruction of a program ran, by pc; one that is not
// there never ran. Layout puts what ran more where control falls through; passes over
// ir weigh chains of comparisons by it, and leave loops and calls alone that never ran.
type Counts map[int]uint64

// at is how often the instruction at pc ran; false where nothing was counted.
func (c Counts) at(pc int32) (uint64, bool) {
	return c[int(pc)], c != nil && pc >= 0
}
