package vhost

import (
	"fmt"
)

// region is one piece of guest memory that the guest gave the card.
type region struct {
	guest uint64 // its guest physical address
	user  uint64 // the address by which messages name it
	bytes []byte
	unmap func() error // nil where there is nothing to undo
}

// memory is all that the card may touch of the guest. No access is ever made that
// does not lie inside one region.
type memory []region

// at is the memory at guest physical address addr, n bytes, or why there is none.
func (m memory) at(addr uint64, n int) ([]byte, error) {
	for i := range m {
		r := &m[i]
		if b := within(r.bytes, addr-r.guest, n); addr >= r.guest && b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("guest address %#x, %d bytes: not in the memory the guest shares", addr, n)
}

// atUser is at for the addresses of messages.
func (m memory) atUser(addr uint64, n int) ([]byte, error) {
	for i := range m {
		r := &m[i]
		if b := within(r.bytes, addr-r.user, n); addr >= r.user && b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("ring address %#x, %d bytes: not in the memory the guest shares", addr, n)
}

// within is b[off:off+n], or nil where that is not all inside b.
func within(b []byte, off uint64, n int) []byte {
	if n < 0 || off > uint64(len(b)) || uint64(n) > uint64(len(b))-off {
		return nil
	}
	return b[off : off+uint64(n) : off+uint64(n)]
}

// release unmaps all of m.
func (m memory) release() error {
	var first error
	for _, r := range m {
		if r.unmap == nil {
			continue
		}
		if err := r.unmap(); err != nil && first == nil {
			first = err
		}
	}
	return first
}
