package maps

import (
	"encoding/binary"
)

// array is an array or per-CPU array: every element exists from the start, zero.
type array struct {
	base
	perCPU bool
}

// index returns the key as a number; ok is false if it is past the array's end.
func (a *array) index(key []byte) (i int, ok bool) {
	if len(key) != 4 {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(key)
	return int(n), n < a.spec.MaxEntries
}

func (a *array) Lookup(key []byte) (int, bool) {
	i, ok := a.index(key)
	if !ok {
		return 0, false
	}
	return a.mine(i), true
}

func (a *array) LookupCPU(key []byte, cpu int) (int, bool) {
	i, ok := a.index(key)
	if !ok || cpu < 0 || cpu >= a.cpus {
		return 0, false
	}
	return a.slot(i) + cpu*a.stride, true
}

func (a *array) Update(key, value []byte, flags uint64) error {
	if len(value) != int(a.spec.ValueSize) {
		return EINVAL
	}
	i, err := a.writable(key, flags)
	if err != nil {
		return err
	}
	copy(a.storage[a.mine(i):], value)
	return nil
}

// writable applies the kernel's checks of an update, in the kernel's order.
func (a *array) writable(key []byte, flags uint64) (int, error) {
	i, ok := a.index(key)
	switch {
	case len(key) != 4 || flags&^lock > Exist:
		return 0, EINVAL
	case !ok:
		return 0, E2BIG
	case flags&NoExist != 0:
		return 0, EEXIST
	case flags&lock != 0:
		return 0, EINVAL
	}
	return i, nil
}

func (a *array) Delete(key []byte) error { return EINVAL }

func (a *array) NextKey(key []byte) ([]byte, error) { return nextIndex(key, a.spec.MaxEntries) }

// nextIndex is NextKey of every map whose keys are the numbers below n.
func nextIndex(key []byte, n uint32) ([]byte, error) {
	next := uint32(0)
	if key != nil {
		if len(key) != 4 {
			return nil, EINVAL
		}
		if i := binary.LittleEndian.Uint32(key); i == n-1 {
			return nil, ENOENT
		} else if i < n {
			next = i + 1
		}
	}
	return binary.LittleEndian.AppendUint32(nil, next), nil
}

func (a *array) LookupAll(key []byte) ([]byte, error) {
	i, ok := a.index(key)
	if !ok {
		return nil, ENOENT
	}
	return a.all(i, a.perCPU), nil
}

func (a *array) UpdateAll(key, value []byte, flags uint64) error {
	if len(value) != a.hostSize(a.perCPU) || flags&lock != 0 {
		return EINVAL
	}
	i, err := a.writable(key, flags)
	if err != nil {
		return err
	}
	copy(a.storage[a.slot(i):], value)
	return nil
}
