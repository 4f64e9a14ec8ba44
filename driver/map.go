package driver

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Map is a map on the card; its values are in external memory. The methods are those
// of the host: they swap the bytes of words that programs use as counters.
type Map struct {
	ID  uint32 // table id
	Use []nfp.WordUse

	maps.Map // as the table holds it: values padded to whole words
	spec     *ebpf.MapSpec
	region   sim.Region
	stride   int
	absent   []bool // array elements not yet written, if the firmware does not find such elements
	neutral  bool   // kept by the host: perf_event_array
	freed    bool   // freed: only the table id is left
}

// MapError reports a map that the firmware cannot hold. Reason is one of map-type,
// map-count, map-entries, map-key, map-value, map-entry, map-address, map-create,
// map-use.
type MapError struct {
	Map, Reason, Msg string
	Err              error
}

func (e *MapError) Error() string { return fmt.Sprintf("map %s: %s (%s)", e.Map, e.Msg, e.Reason) }
func (e *MapError) Unwrap() error { return e.Err }

// newMap creates a map and places it. If mem is nil, the map is not on the card.
func newMap(p *firmware.Profile, spec *ebpf.MapSpec, id uint32, mem *sim.Memory, neutral bool) (*Map, error) {
	m := &Map{ID: id, spec: spec, stride: (int(spec.ValueSize) + 7) &^ 7, neutral: neutral, Use: make([]nfp.WordUse, (spec.ValueSize+3)/4)}
	size, err := tableSize(p, spec)
	if err != nil {
		return nil, err
	}
	if p.DirectMap {
		m.stride = directStride(spec)
	}
	if m.region = mem.Alloc(spec.Name, int(size)); m.region.Base+uint64(size) > 1<<40 {
		mem.Free(m.region.Base)
		return nil, &MapError{Map: spec.Name, Reason: "map-address", Msg: "the address space for maps is full"}
	}
	if p.DirectMap {
		m.Map = &directArray{spec: spec, values: m.region.Data, stride: m.stride}
	} else if m.Map, err = maps.New(wholeWords(spec), m.region.Data, &maps.Options{First: maphash(id) >> 16}); err != nil {
		return nil, createError(spec, err)
	}
	if spec.Type == ebpf.Array && !p.ArrayZero {
		m.absent = make([]bool, spec.MaxEntries)
		for i := range m.absent {
			m.absent[i] = true
		}
	}
	return m, nil
}

// wholeWords returns spec with values rounded up to whole words, as the card stores
// them: a counter in the last, partial word needs all four bytes. Per-CPU values are
// already whole words.
func wholeWords(spec *ebpf.MapSpec) *ebpf.MapSpec {
	switch spec.Type {
	case ebpf.Array, ebpf.Hash, ebpf.LRUHash, ebpf.LPMTrie:
		if spec.ValueSize%4 != 0 {
			padded := *spec
			padded.ValueSize = (spec.ValueSize + 3) &^ 3
			return &padded
		}
	}
	return spec
}

// Spec returns the specification with which the map was created.
func (m *Map) Spec() *ebpf.MapSpec { return m.spec }

// Name returns the map's name in the object.
func (m *Map) Name() string { return m.spec.Name }

// host converts a table's value to the host's form: counters swapped, padding removed.
func (m *Map) host(v []byte) []byte {
	m.swap(v)
	if pad := int(m.Map.Spec().ValueSize - m.spec.ValueSize); pad > 0 && len(v) > pad {
		v = v[:len(v)-pad]
	}
	return v
}

// Base returns the address of the first value, a multiple of 256.
func (m *Map) Base() uint64 { return m.region.Base }

// Fill writes bytes to the map's memory at an offset from its first value, as programs
// see them.
func (m *Map) Fill(offset uint64, data []byte) error {
	size := uint64(len(m.region.Data))
	if offset > size || uint64(len(data)) > size-offset {
		return fmt.Errorf("map %s: bytes 0x%x to 0x%x are past its end: it has %d bytes", m.Name(), offset, offset+uint64(len(data))-1, size)
	}
	copy(m.region.Data[offset:], data)
	return nil
}

// find performs the firmware's lookup and returns the offset of the value in the
// table.
func (m *Map) find(key []byte) (int, bool) {
	if m.missing(key) {
		return 0, false
	}
	return m.Map.Lookup(key)
}

// missing reports whether the key is an array element that was never written, which
// this firmware does not find.
func (m *Map) missing(key []byte) bool {
	if m.absent == nil || len(key) != 4 {
		return false
	}
	i := binary.LittleEndian.Uint32(key)
	return int64(i) < int64(len(m.absent)) && m.absent[i]
}

// wrote records that an array element was written.
func (m *Map) wrote(key []byte) {
	if m.missing(key) {
		m.absent[binary.LittleEndian.Uint32(key)] = false
	}
}

// store performs a program's update. Bytes are stored as given.
func (m *Map) store(key, value []byte, flags uint64) error {
	err := m.Map.Update(key, value, flags)
	if err == nil {
		m.wrote(key)
	}
	return err
}

// LookupAll returns a copy of the value of key, in the host's form.
func (m *Map) LookupAll(key []byte) ([]byte, error) {
	if m.missing(key) {
		return nil, maps.ENOENT
	}
	v, err := m.Map.LookupAll(key)
	return m.host(v), err
}

// UpdateAll stores a value given in the host's form.
func (m *Map) UpdateAll(key, value []byte, flags uint64) error {
	if len(value) == int(m.spec.ValueSize) {
		value = append(bytes.Clone(value), make([]byte, m.Map.Spec().ValueSize-m.spec.ValueSize)...)
	} else {
		value = bytes.Clone(value)
	}
	m.swap(value)
	err := m.Map.UpdateAll(key, value, flags)
	if err == nil {
		m.wrote(key)
	}
	return err
}

// Value returns a copy of the value at an offset, in the host's form.
func (m *Map) Value(off int) []byte {
	return m.host(bytes.Clone(m.Map.Value(off)))
}

// Update calls UpdateAll.
func (m *Map) Update(key, value []byte, flags uint64) error { return m.UpdateAll(key, value, flags) }

// swap reverses the bytes of counter words in a value, or in consecutive values one
// stride apart.
func (m *Map) swap(v []byte) {
	if !slices.Contains(m.Use, nfp.UseCounter) {
		return
	}
	for at := 0; at < len(v); at += max(m.stride, 1) {
		for i, use := range m.Use {
			if w := at + 4*i; use == nfp.UseCounter && w+4 <= len(v) {
				v[w], v[w+1], v[w+2], v[w+3] = v[w+3], v[w+2], v[w+1], v[w]
			}
		}
	}
}

// LoadJSON fills the map as bpf/maps does. It writes all array elements that the
// firmware would not find before a first write.
func (m *Map) LoadJSON(r io.Reader) error {
	if m.Map.Spec() != m.spec {
		err := maps.LoadJSON(m, r)
		clear(m.absent)
		return err
	}
	m.swap(m.region.Data)
	defer m.swap(m.region.Data)
	if err := maps.LoadJSON(m.Map, r); err != nil {
		return err
	}
	clear(m.absent)
	return nil
}

// DumpJSON writes the map's contents as bpf/maps does.
func (m *Map) DumpJSON() ([]byte, error) {
	if _, direct := m.Map.(*directArray); direct || m.Map.Spec() != m.spec {
		plain, err := m.plain()
		if err != nil {
			return nil, err
		}
		return maps.DumpJSON(plain)
	}
	m.swap(m.region.Data)
	defer m.swap(m.region.Data)
	return maps.DumpJSON(m.Map)
}

// plain returns a copy of the map without padding, off the card.
func (m *Map) plain() (maps.Map, error) {
	c, err := maps.New(m.spec, nil, nil)
	if err != nil {
		return nil, err
	}
	for key, err := m.NextKey(nil); err == nil; key, err = m.NextKey(key) {
		value, err := m.LookupAll(key)
		if err != nil {
			continue // an array element that was never written
		}
		if err := c.UpdateAll(key, value, maps.Any); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// Absent reports whether the map is an array with elements that programs do not find:
// they were never written, and the firmware does not provide zeros.
func (m *Map) Absent() bool { return slices.Contains(m.absent, true) }

// Init writes zero to every array element that was never written, as a host should
// with firmware that does not find them otherwise.
func (m *Map) Init() { clear(m.absent) }

// setUse combines a program's use of the value's words with earlier uses. The bytes of
// words that become counters are swapped in the table's existing values.
func (m *Map) setUse(use []nfp.WordUse) error {
	if err := m.checkUse(use); err != nil {
		return err
	}
	fresh := make([]nfp.WordUse, len(m.Use))
	for i, u := range use {
		if m.Use[i] == nfp.UseNone {
			m.Use[i] = u
			fresh[i] = u
		}
	}
	all := m.Use
	m.Use = fresh
	m.swap(m.region.Data)
	m.Use = all
	return nil
}

func (m *Map) checkUse(use []nfp.WordUse) error {
	if len(use) > len(m.Use) {
		return &MapError{Map: m.Name(), Reason: "map-use", Msg: fmt.Sprintf("a program uses %d words of a value of %d", len(use), len(m.Use))}
	}
	for i, u := range use {
		if u != nfp.UseNone && m.Use[i] != nfp.UseNone && u != m.Use[i] {
			return &MapError{Map: m.Name(), Reason: "map-use",
				Msg: fmt.Sprintf("bytes %d to %d of the value are a counter to one program and plain data to another", 4*i, 4*i+3)}
		}
	}
	return nil
}

// directStride returns the distance between values if programs compute addresses
// themselves: the value's size rounded up to a power of two.
func directStride(spec *ebpf.MapSpec) int {
	if spec.ValueSize <= 1 {
		return 1
	}
	return 1 << bits.Len32(spec.ValueSize-1)
}
