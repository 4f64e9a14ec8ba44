package sim

// order finds the next engine: a tournament of 64 on the times of their next events,
// the lower engine first if two are equal. One replay of a path of six is cheaper than
// a heap's moves, and its cost does not depend on the distribution of the times.
type order struct {
	key [2 * orderSize]uint64 // winners at 1..63, leaves from 64 on: time << 6 | engine
}

const (
	orderBits = 6
	orderSize = 1 << orderBits
	never     = ^uint64(0) >> orderBits
)

func newOrder() *order {
	o := new(order)
	for i := range o.key {
		o.key[i] = ^uint64(0)
	}
	return o
}

// set gives engine i's next time.
func (o *order) set(i int, at uint64) {
	n := orderSize + i
	o.key[n] = at<<orderBits | uint64(i)
	for n > 1 {
		n >>= 1
		o.key[n] = min(o.key[2*n], o.key[2*n+1])
	}
}

// first is the engine whose time is the lowest, and the time.
func (o *order) first() (engine int, at uint64) {
	k := o.key[1]
	return int(k & (orderSize - 1)), k >> orderBits
}
