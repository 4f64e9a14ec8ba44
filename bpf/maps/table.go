package maps

// keyTable holds keys in order of insertion.
type keyTable struct {
	index   map[string]int // key -> entry
	entries []entry
	free    []int // entries not in use
	order   order
}

type entry struct {
	key  string
	slot int
}

func (t *keyTable) init() {
	t.index = map[string]int{}
	t.order.init()
}

// find returns the entry of key, without allocating.
func (t *keyTable) find(key []byte) (int, bool) {
	e, ok := t.index[string(key)]
	return e, ok
}

func (t *keyTable) add(key []byte, slot int) int {
	e := len(t.entries)
	if n := len(t.free); n > 0 {
		e, t.free = t.free[n-1], t.free[:n-1]
	} else {
		t.entries = append(t.entries, entry{})
	}
	t.entries[e] = entry{key: string(key), slot: slot}
	t.index[t.entries[e].key] = e
	t.order.toBack(e)
	return e
}

func (t *keyTable) remove(e int) {
	delete(t.index, t.entries[e].key)
	t.entries[e] = entry{}
	t.free = append(t.free, e)
	t.order.drop(e)
}

// next is Map.NextKey.
func (t *keyTable) next(key []byte) ([]byte, error) {
	e := t.order.first()
	if key != nil {
		if at, ok := t.find(key); ok {
			e = t.order.after(at)
		}
	}
	if e == none {
		return nil, ENOENT
	}
	return []byte(t.entries[e].key), nil
}

const none = -1

// order is a doubly linked list of small numbers, each at most once.
type order struct {
	links []link // links[0] is the list's end; number e stands in links[e+1]
}

type link struct{ prev, next int } // 0 is the list's end; a number not in the list has both -1

func (o *order) init() { o.links = []link{{}} }

func (o *order) first() int      { return o.links[0].next - 1 }
func (o *order) after(e int) int { return o.links[e+1].next - 1 }

// toBack moves e to the end of the order, or appends it.
func (o *order) toBack(e int) {
	for len(o.links) <= e+1 {
		o.links = append(o.links, link{none, none})
	}
	o.drop(e)
	last := o.links[0].prev
	o.links[last].next, o.links[0].prev = e+1, e+1
	o.links[e+1] = link{prev: last, next: 0}
}

// drop takes e out, if it is in.
func (o *order) drop(e int) {
	l := o.links[e+1]
	if l.prev == none {
		return
	}
	o.links[l.prev].next, o.links[l.next].prev = l.next, l.prev
	o.links[e+1] = link{none, none}
}

// slots hands out the places for values: n of them and one spare, which
// exchange swaps for the place of the value it replaces. A place given back is
// the next one taken, as with the kernel's free list on one CPU.
type slots struct {
	n     int
	first int // place taken first
	used  int // places ever taken
	free  []int
	spare int
}

func newSlots(n int, first uint64) slots {
	return slots{n: n, first: int(first % uint64(max(n, 1))), spare: n}
}

func (s *slots) take() (int, bool) {
	if k := len(s.free); k > 0 {
		i := s.free[k-1]
		s.free = s.free[:k-1]
		return i, true
	}
	if s.used == s.n {
		return 0, false
	}
	s.used++
	return (s.first + s.used - 1) % s.n, true
}

func (s *slots) give(i int) { s.free = append(s.free, i) }

func (s *slots) exchange(i int) int {
	i, s.spare = s.spare, i
	return i
}
