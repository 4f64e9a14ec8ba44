package sim

// random is xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift
// generators, scrambled"): the same numbers on every machine. Its state is not zero.
type random uint64

// seeded returns a generator. Different seeds and streams give different numbers.
func seeded(seed, stream uint64) random { return random((seed+stream)*0x9e3779b97f4a7c15 | 1) }

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = random(x)
	return x * 0x2545f4914f6cdd1d
}
