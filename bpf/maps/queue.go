package maps

import "github.com/cilium/ebpf"

// Queue is a queue or a stack of values: a ring over the storage. Element
// operations with a key are EINVAL, as in the kernel.
type Queue struct {
	base
	first, n int // the oldest value's slot, and how many there are
}

func (q *Queue) at(i int) int { return q.slot((q.first + i) % int(q.spec.MaxEntries)) }

// Push appends a value. With flags Exist a full queue loses its oldest value;
// otherwise it is E2BIG.
func (q *Queue) Push(value []byte, flags uint64) error {
	if len(value) != int(q.spec.ValueSize) || flags&NoExist != 0 || flags > Exist {
		return EINVAL
	}
	if q.n == int(q.spec.MaxEntries) {
		if flags != Exist {
			return E2BIG
		}
		q.first, q.n = (q.first+1)%int(q.spec.MaxEntries), q.n-1
	}
	copy(q.storage[q.at(q.n):], value)
	q.n++
	return nil
}

// Peek copies the next value out: the oldest of a queue, the newest of a stack.
// An empty one clears value and is ENOENT.
func (q *Queue) Peek(value []byte) error {
	if len(value) != int(q.spec.ValueSize) {
		return EINVAL
	}
	if q.n == 0 {
		clear(value)
		return ENOENT
	}
	i := 0
	if q.spec.Type == ebpf.Stack {
		i = q.n - 1
	}
	copy(value, q.Value(q.at(i)))
	return nil
}

// Pop is Peek and removes the value.
func (q *Queue) Pop(value []byte) error {
	if err := q.Peek(value); err != nil {
		return err
	}
	if q.spec.Type == ebpf.Queue {
		q.first = (q.first + 1) % int(q.spec.MaxEntries)
	}
	q.n--
	return nil
}

// Values returns copies of all values, oldest first.
func (q *Queue) Values() [][]byte {
	var all [][]byte
	for i := range q.n {
		all = append(all, append([]byte(nil), q.Value(q.at(i))...))
	}
	return all
}

func (q *Queue) Lookup(key []byte) (int, bool)                { return 0, false }
func (q *Queue) Update(key, value []byte, flags uint64) error { return EINVAL }
func (q *Queue) Delete(key []byte) error                      { return EINVAL }
func (q *Queue) NextKey(key []byte) ([]byte, error)           { return nil, EINVAL }

// LookupAll peeks as the host does: the key is empty.
func (q *Queue) LookupAll(key []byte) ([]byte, error) {
	v := make([]byte, q.spec.ValueSize)
	if err := q.Peek(v); err != nil {
		return nil, err
	}
	return v, nil
}

// UpdateAll pushes as the host does: the key is empty.
func (q *Queue) UpdateAll(key, value []byte, flags uint64) error { return q.Push(value, flags) }

// RingBuf is a ring buffer as far as a program sees it: something to send
// records to, which the engine collects. It holds nothing.
type RingBuf struct{ base }

func (r *RingBuf) Lookup(key []byte) (int, bool)                   { return 0, false }
func (r *RingBuf) Update(key, value []byte, flags uint64) error    { return ENOTSUPP }
func (r *RingBuf) Delete(key []byte) error                         { return ENOTSUPP }
func (r *RingBuf) NextKey(key []byte) ([]byte, error)              { return nil, ENOTSUPP }
func (r *RingBuf) LookupAll(key []byte) ([]byte, error)            { return nil, ENOTSUPP }
func (r *RingBuf) UpdateAll(key, value []byte, flags uint64) error { return ENOTSUPP }
