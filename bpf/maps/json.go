package maps

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// A Codec reads and writes the contents of one map as text; docs/maps.md has the
// forms. It reads all of them, whichever program wrote them.
type Codec struct {
	spec             *ebpf.MapSpec
	key, value       btf.Type // sound, or nil
	ownKey, ownValue btf.Type // as key and value, but integers for map types that fix their meaning
	cpus             int
}

// NewCodec returns the codec of a map. Types of the spec that do not have the
// sizes of key and value are ignored. Cpus is the number of values that an entry
// of a per-CPU map has.
func NewCodec(spec *ebpf.MapSpec, cpus int) *Codec {
	c := &Codec{spec: spec, key: sound(spec.Key, int(spec.KeySize)), value: sound(spec.Value, int(valueSize(spec))), cpus: max(cpus, 1)}
	c.ownKey, c.ownValue = c.key, c.value
	if c.key == nil && (isIndexed(spec.Type) || isTarget(spec.Type)) {
		c.ownKey = sound(&btf.Int{Size: spec.KeySize}, int(spec.KeySize))
	}
	if c.value == nil && isTarget(spec.Type) {
		c.ownValue = sound(&btf.Int{Size: valueSize(spec)}, int(valueSize(spec)))
	}
	return c
}

// Typed reports whether the types of keys and of values are known.
func (c *Codec) Typed() (key, value bool) { return c.key != nil, c.value != nil }

// Entry is the bytes of an entry. Key is nil in maps without keys. Value is as
// the kernel hands it to user space: in a per-CPU map the values of all CPUs,
// each padded to 8 bytes.
type Entry struct{ Key, Value []byte }

// Form is a form of entries that Append writes.
type Form int

const (
	// Own is {"key":1,"value":{"packets":5}}: by type, or else hex text.
	Own Form = iota
	// JSON is an entry of bpftool map dump -j: hex bytes, and beside them, if the
	// type of values is known, the same by type.
	JSON
	// Plain is a line of bpftool map dump: bytes, or JSON by type.
	Plain
)

// Append appends an entry to dst: without a line break in Own and JSON, with one
// in Plain.
func (c *Codec) Append(dst []byte, e Entry, f Form) []byte {
	switch {
	case f == Own:
		return c.appendMembers(dst, e, c.ownKey, c.ownValue, printer{}.whole)
	case f == JSON:
		dst = c.appendMembers(dst, e, nil, nil, printer{bpftool: true}.whole)
		if c.value != nil {
			dst = append(dst[:len(dst)-1], `,"formatted":`...)
			dst = append(c.appendMembers(dst, e, c.key, c.value, printer{bpftool: true}.whole), '}')
		}
		return dst
	case c.value != nil:
		return append(c.appendMembers(dst, e, c.key, c.value, printer{bpftool: true}.whole), '\n')
	case !c.perCPU():
		if len(e.Key) > 0 {
			dst = append(hexPlain(append(dst, "key: "...), e.Key), "  "...)
		}
		return append(hexPlain(append(dst, "value: "...), e.Value), '\n')
	}
	dst = append(hexPlain(append(dst, "key: "...), e.Key), '\n')
	for i, v := range c.split(e.Value) {
		dst = append(hexPlain(fmt.Appendf(dst, "value (CPU %02d): ", i), v), '\n')
	}
	return dst
}

// appendMembers appends an entry by types, with the function that writes its parts.
func (c *Codec) appendMembers(dst []byte, e Entry, key, value btf.Type, part func(dst []byte, t btf.Type, b []byte) []byte) []byte {
	dst = append(dst, '{')
	if len(e.Key) > 0 {
		dst = append(part(append(dst, `"key":`...), key, e.Key), ',')
	}
	if !c.perCPU() {
		return append(part(append(dst, `"value":`...), value, e.Value), '}')
	}
	dst = append(dst, `"values":[`...)
	for i, v := range c.split(e.Value) {
		if i > 0 {
			dst = append(dst, ',')
		}
		start := len(dst)
		if dst = part(dst, value, v); dst[start] == '{' || dst[start] == '[' {
			dst = append(slices.Insert(dst, start, fmt.Appendf(nil, `{"cpu":%d,"value":`, i)...), '}')
		}
	}
	return append(dst, ']', '}')
}

// isTarget reports whether the values of a kind of map name something outside.
func isTarget(t ebpf.MapType) bool {
	switch t {
	case ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap, ebpf.ArrayOfMaps, ebpf.HashOfMaps:
		return true
	}
	return false
}

// split returns the values of all CPUs.
func (c *Codec) split(value []byte) [][]byte {
	var all [][]byte
	for step, size := stride(c.spec), int(valueSize(c.spec)); step > 0 && len(value) >= step; value = value[step:] {
		all = append(all, value[:size])
	}
	return all
}

func (c *Codec) perCPU() bool { return isPerCPU(c.spec.Type) }

func isPerCPU(t ebpf.MapType) bool {
	return t == ebpf.PerCPUArray || t == ebpf.PerCPUHash || t == ebpf.LRUCPUHash
}

// ParseKey returns the key that a word or JSON spells.
func (c *Codec) ParseKey(s string) ([]byte, error) {
	key, err := c.prefix(&node{kind: text, text: s})
	if key == nil && err == nil {
		var other error
		if key, other = parseWord(s, c.key, int(c.spec.KeySize)); other != nil {
			return nil, other
		}
	}
	if err == nil {
		err = c.checkKey(0, key)
	}
	return key, asError(err)
}

// ParseValue returns the value that a word or JSON spells, in a per-CPU map that
// of one CPU: see Spread.
func (c *Codec) ParseValue(s string) ([]byte, error) {
	return parseWord(s, c.value, int(valueSize(c.spec)))
}

// Spread returns a value as an entry has it: for every CPU.
func (c *Codec) Spread(value []byte) []byte {
	if !c.perCPU() {
		return value
	}
	padded := make([]byte, stride(c.spec))
	copy(padded, value)
	return bytes.Repeat(padded, c.cpus)
}

// Entries reads a text of entries. It ends with the first error, which names the
// line and column, the entry counted from 0, and the part of it.
func (c *Codec) Entries(r io.Reader) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		data, err := io.ReadAll(r)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		s, i := string(data), 0
		for raw, failed := range rawEntries(s) {
			where := ""
			var e Entry
			var ok bool
			if failed == nil {
				where = fmt.Sprintf("entry %d: ", i)
				e, ok, failed = c.entry(raw)
				i++
			}
			if failed != nil {
				line, col := position(s, failed.at)
				yield(Entry{}, &PlaceError{line, col, fmt.Errorf("%s%w", where, failed)})
				return
			}
			if ok && !yield(e, nil) {
				return
			}
		}
	}
}

// entry returns the bytes of an entry; ok is false for a key that bpftool prints
// though nothing is there.
func (c *Codec) entry(raw *rawEntry) (e Entry, ok bool, err *readError) {
	if c.spec.Type == ebpf.RingBuf {
		return e, false, errorAt(raw.at, "a ring buffer has no entries that could be written")
	}
	if raw.key == nil && raw.formatted != nil {
		raw.key = raw.formatted.key
	}
	if raw.value == nil && raw.values == nil && raw.formatted != nil {
		raw.value, raw.values = raw.formatted.value, raw.formatted.values
	}
	if raw.value != nil && raw.value.kind == object && len(raw.value.names) == 1 {
		if said := raw.value.find("error"); said != nil && said.kind == text && !hasMember(c.value, "error") {
			if said.text == noEntry {
				return e, false, nil
			}
			return e, false, errorAt(said.at, "no value was read (%.60s): take the entry out", said.text).in(".value")
		}
	}
	if c.spec.KeySize == 0 {
		if raw.key != nil && (raw.key.kind != list || len(raw.key.items) > 0) { // bpftool map peek prints []
			return e, false, errorAt(raw.key.at, "a %s has no keys", c.spec.Type)
		}
	} else if raw.key == nil {
		return e, false, errorAt(raw.at, "no key")
	} else if e.Key, err = c.readKey(raw); err != nil {
		return e, false, err.in(".key")
	}
	m, err := c.readValue(raw)
	if err == nil && raw.formatted != nil {
		err = c.agree(raw, e.Key, m.bytes)
	}
	e.Value = m.bytes
	return e, err == nil, err
}

// noEntry is the error that bpftool prints for an element that is not there.
const noEntry = "No such file or directory"

func hasMember(t btf.Type, name string) bool {
	found, _ := findMember(membersOf(t), name)
	return found != nil
}

func (c *Codec) readKey(raw *rawEntry) ([]byte, *readError) {
	key, err := c.prefix(raw.key)
	if key == nil && err == nil {
		m := newImage(int(c.spec.KeySize))
		err = readValue(raw.key, c.key, m, true)
		key = m.bytes
	}
	if err != nil {
		return nil, err
	}
	return key, c.checkKey(raw.key.at, key)
}

// prefix returns the key of an LPM trie that is spelled as a prefix, nil for
// another spelling.
func (c *Codec) prefix(n *node) ([]byte, *readError) {
	if c.spec.Type != ebpf.LPMTrie || n.kind != text || !strings.ContainsAny(n.text, ".:") {
		return nil, nil
	}
	p, err := netip.ParsePrefix(n.text)
	if err != nil {
		return nil, errorAt(n.at, "%v is no prefix, such as 10.0.0.0/8", n)
	}
	key := append(binary.LittleEndian.AppendUint32(nil, uint32(p.Bits())), p.Addr().AsSlice()...)
	if len(key) != int(c.spec.KeySize) {
		return nil, errorAt(n.at, "%v has %d bytes, the key has %d", n, len(key), c.spec.KeySize)
	}
	return key, nil
}

// checkKey refuses the keys that no map of this size takes.
func (c *Codec) checkKey(at int, key []byte) *readError {
	switch {
	case c.spec.Type == ebpf.LPMTrie:
		if n, most := binary.LittleEndian.Uint32(key), uint32(8*(len(key)-4)); n > most {
			return errorAt(at, "prefix length %d is past %d, the bits of an address", n, most)
		}
	case isIndexed(c.spec.Type) && len(key) == 4 && c.spec.MaxEntries > 0:
		if i := binary.LittleEndian.Uint32(key); i >= c.spec.MaxEntries {
			return errorAt(at, "index %d is past the end: the map has %d entries, 0 to %d", i, c.spec.MaxEntries, c.spec.MaxEntries-1)
		}
	}
	return nil
}

// isIndexed reports whether the keys of a kind of map are indices.
func isIndexed(t ebpf.MapType) bool {
	switch t {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.DevMap, ebpf.CPUMap, ebpf.XSKMap,
		ebpf.ArrayOfMaps, ebpf.CGroupArray, ebpf.SockMap, ebpf.ReusePortSockArray:
		return true
	}
	return false
}

// readValue reads an entry's value, or its values of all CPUs.
func (c *Codec) readValue(raw *rawEntry) (image, *readError) {
	size := int(valueSize(c.spec))
	switch {
	case raw.value != nil && raw.values != nil:
		return image{}, errorAt(raw.at, "both value and values")
	case raw.value != nil:
		m := newImage(size)
		if err := readValue(raw.value, c.value, m, true); err != nil {
			return m, err.in(".value")
		}
		return image{c.Spread(m.bytes), c.Spread(m.given)}, nil
	case raw.values == nil:
		return image{}, errorAt(raw.at, "no value")
	case !c.perCPU():
		return image{}, errorAt(raw.values.at, "values are for per-CPU maps; a %s has value", c.spec.Type)
	case raw.values.kind != list:
		return image{}, errorAt(raw.values.at, "%v is no list of values, one for each CPU", raw.values).in(".values")
	}
	all := newImage(c.cpus * stride(c.spec))
	seen := map[int]bool{}
	for i := range raw.values.items {
		n := &raw.values.items[i]
		cpu, err := i, (*readError)(nil)
		if id, value := n.find("cpu"), n.find("value"); id != nil && value != nil && len(n.names) == 2 {
			var v [16]byte
			if v, err = readInt(id, &btf.Int{Size: 2}, 16, false); err != nil {
				return all, err.in(".values[%d].cpu", i)
			}
			cpu, n = int(leUint(v[:2])), value
		}
		if seen[cpu] {
			return all, errorAt(n.at, "CPU %d has two values", cpu).in(".values[%d]", i)
		}
		seen[cpu] = true
		m := newImage(size)
		if err := readValue(n, c.value, m, true); err != nil {
			return all, err.in(".values[%d]", i)
		}
		if cpu < c.cpus {
			copy(all.bytes[cpu*stride(c.spec):], m.bytes)
			copy(all.given[cpu*stride(c.spec):], m.given)
		} else if slices.Max(append(m.bytes, 0)) > 0 { // zero is the value of an absent CPU
			return all, errorAt(n.at, "a value of CPU %d, the map has %s", cpu, counted(c.cpus, "CPU")).in(".values[%d]", i)
		}
	}
	return all, nil
}

// agree checks that the bytes of an entry and its formatted members describe the same
// entry. If a user edited only one of them, the reader cannot know which to use.
func (c *Codec) agree(raw *rawEntry, key, value []byte) *readError {
	f := raw.formatted
	if f.key != nil && f.key != raw.key && c.key != nil && f.key.complete() {
		m := newImage(len(key))
		if err := readValue(f.key, c.key, m, true); err != nil {
			return err.in(".formatted.key")
		}
		if m.differs(key) {
			return errorAt(f.key.at, "%v is another key than that of the bytes: take one out", f.key).in(".formatted.key")
		}
	}
	if (f.value != nil && f.value != raw.value || f.values != nil && f.values != raw.values) && c.value != nil && f.value.complete() && f.values.complete() {
		m, err := c.readValue(f)
		if err != nil {
			return err.in(".formatted")
		}
		if m.differs(value) {
			return errorAt(f.at, "it is another value than that of the bytes: take one out").in(".formatted")
		}
	}
	return nil
}

// differs reports whether a bit that was given is another one in b.
func (m image) differs(b []byte) bool {
	for i, g := range m.given {
		if g&(m.bytes[i]^b[i]) != 0 {
			return true
		}
	}
	return false
}

// LoadJSON updates the map with the entries in r, as the host does. Other entries stay. It stops at the first error; entries before it stay.
func LoadJSON(m Map, r io.Reader) error {
	spec := m.Spec()
	for e, err := range codecOf(m).Entries(r) {
		if err == nil {
			err = updateError(spec, e, m.UpdateAll(e.Key, e.Value, Any))
		}
		var at *PlaceError
		switch {
		case errors.As(err, &at):
			return &PlaceError{at.Line, at.Column, fmt.Errorf("map %s: %w", spec.Name, at.Err)}
		case err != nil:
			return fmt.Errorf("map %s: %w", spec.Name, err)
		}
	}
	return nil
}

// updateError returns an error that explains the error number of an update.
func updateError(spec *ebpf.MapSpec, e Entry, err error) error {
	if err == nil {
		return nil
	}
	why := err.Error()
	if errors.Is(err, E2BIG) && !isIndexed(spec.Type) || errors.Is(err, ENOSPC) {
		why = fmt.Sprintf("the map is full: it has room for %d", spec.MaxEntries)
	}
	if e.Key == nil {
		return fmt.Errorf("value % x: %s: %w", e.Value, why, err)
	}
	return fmt.Errorf("key % x: %s: %w", e.Key, why, err)
}

func codecOf(m Map) *Codec {
	cpus := 1
	if isPerCPU(m.Spec().Type) {
		cpus = HostValueSize(m) / stride(m.Spec())
	}
	return NewCodec(m.Spec(), cpus)
}

// DumpJSON returns the map's contents in the form Own, as an array. Entries come by
// ascending index, or by the bytes of the key; elements of an array that are
// zero (on every CPU) are left out. A ring buffer has no contents.
func DumpJSON(m Map) ([]byte, error) {
	c := codecOf(m)
	out := []byte{'['}
	for e := range contents(m) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = c.Append(append(out, "\n "...), e, Own)
	}
	if len(out) == 1 {
		return []byte("[]\n"), nil
	}
	return append(out, "\n]\n"...), nil
}

// contents yields the entries that DumpJSON shows, in its order.
func contents(m Map) iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		if q, ok := m.(*Queue); ok {
			for _, v := range q.Values() {
				if !yield(Entry{Value: v}) {
					return
				}
			}
			return
		}
		t, targets := m.(*Targets)
		for _, key := range keysOf(m) {
			value, err := []byte(nil), error(nil)
			if targets {
				value, _ = t.Target(binary.LittleEndian.Uint32(key))
			} else if value, err = m.LookupAll(key); err != nil {
				continue // an element that was never written
			}
			if !yield(Entry{key, value}) {
				return
			}
		}
	}
}

// keysOf returns the keys that DumpJSON shows, in its order.
func keysOf(m Map) [][]byte {
	if a, ok := m.(*array); ok {
		return a.nonZero()
	}
	var keys [][]byte
	if t, ok := m.(*Targets); ok {
		for _, i := range slices.Sorted(maps.Keys(t.present)) {
			keys = append(keys, binary.LittleEndian.AppendUint32(nil, i))
		}
		return keys
	}
	for key, err := m.NextKey(nil); err == nil; key, err = m.NextKey(key) {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

// nonZero returns the keys of elements that are not zero.
func (a *array) nonZero() [][]byte {
	var keys [][]byte
	n := a.stride * a.cpus
	for i := range int(a.spec.MaxEntries) {
		if slices.ContainsFunc(a.storage[i*n:(i+1)*n], func(b byte) bool { return b != 0 }) {
			keys = append(keys, binary.LittleEndian.AppendUint32(nil, uint32(i)))
		}
	}
	return keys
}
