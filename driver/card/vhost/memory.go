package vhost

import (
	"fmt"
)

// region is one piece of guest memory that the guest shares with the card.
type region struct {
	guest uint64 // its guest physical address
	user  uint64 // the address used by messages
	bytes []byte
	unmap func() error // nil if there is nothing to unmap
}

// memory is all of the guest's memory that the card may access. Every access lies
// inside one region.
type memory []region

// at returns the n bytes at guest physical address addr, or an error if they are not
// inside one region.
func (m memory) at(addr uint64, n int) ([]byte, error) {
	for i := range m {
		r := &m[i]
		if b := within(r.bytes, addr-r.guest, n); addr >= r.guest && b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("guest address %#x, %d bytes: not in the memory the guest shares", addr, n)
}

// atUser is like at, for an address used by messages.
func (m memory) atUser(addr uint64, n int) ([]byte, error) {
	for i := range m {
		r := &m[i]
		if b := within(r.bytes, addr-r.user, n); addr >= r.user && b != nil {
			return b, nil
		}
	}
	return nil, fmt.Errorf("ring address %#x, %d bytes: not in the memory the guest shares", addr, n)
}

// within returns b[off:off+n], or nil if that is not inside b.
func within(b []byte, off uint64, n int) []byte {
	if n < 0 || off > uint64(len(b)) || uint64(n) > uint64(len(b))-off {
		return nil
	}
	return b[off : off+uint64(n) : off+uint64(n)]
}

// release unmaps all regions.
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
