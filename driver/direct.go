package driver

import (
	"bytes"
	"encoding/binary"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
)

// directArray is the only array of profile corenic-direct. Its values are a power of
// two apart, so that a program computes their addresses by shift and mask.
type directArray struct {
	spec   *ebpf.MapSpec
	values []byte
	stride int
}

func (a *directArray) Spec() *ebpf.MapSpec { return a.spec }

func (a *directArray) Lookup(key []byte) (int, bool) {
	if len(key) != 4 {
		return 0, false
	}
	i := binary.LittleEndian.Uint32(key)
	return int(i) * a.stride, i < a.spec.MaxEntries
}

func (a *directArray) Update(key, value []byte, flags uint64) error {
	off, ok := a.Lookup(key)
	switch {
	case len(key) != 4 || len(value) != int(a.spec.ValueSize) || flags > maps.Exist:
		return maps.EINVAL
	case !ok:
		return maps.E2BIG
	case flags == maps.NoExist:
		return maps.EEXIST
	}
	copy(a.values[off:], value)
	return nil
}

func (a *directArray) Delete([]byte) error { return maps.EINVAL }

func (a *directArray) NextKey(key []byte) ([]byte, error) {
	next := uint32(0)
	if len(key) == 4 {
		if i := binary.LittleEndian.Uint32(key); i < a.spec.MaxEntries {
			next = i + 1
		}
	}
	if next == a.spec.MaxEntries {
		return nil, maps.ENOENT
	}
	return binary.LittleEndian.AppendUint32(nil, next), nil
}

func (a *directArray) Value(off int) []byte {
	n := int(a.spec.ValueSize)
	if off < 0 || off > len(a.values)-n {
		return nil
	}
	return a.values[off : off+n : off+n]
}

func (a *directArray) LookupAll(key []byte) ([]byte, error) {
	off, ok := a.Lookup(key)
	if !ok {
		return nil, maps.ENOENT
	}
	return bytes.Clone(a.Value(off)), nil
}

func (a *directArray) UpdateAll(key, value []byte, flags uint64) error {
	return a.Update(key, value, flags)
}
