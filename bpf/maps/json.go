package maps

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// The JSON form of a map's contents is an array of entries; docs/maps.md says
// it for users:
//
//	[{"key": KEY, "value": DATA}, ...]                  most maps
//	[{"key": KEY, "values": [DATA, DATA, ...]}, ...]    per-CPU maps: one for each CPU
//	[{"value": DATA}, ...]                              queues and stacks, oldest first
//
// KEY and DATA are a number (1, 2, 4 or 8 bytes, host order), text of hex bytes
// in the order they lie in memory, an array of bytes, or for keys an IP address
// or prefix.

type jsonEntry struct {
	Key    json.RawMessage   `json:"key,omitempty"`
	Value  json.RawMessage   `json:"value,omitempty"`
	Values []json.RawMessage `json:"values,omitempty"`
}

// LoadJSON puts the entries that r holds into the map, as the host does, over
// what is there. Errors name the entry, counted from 0; entries before it stay.
func LoadJSON(m Map, r io.Reader) error {
	name := m.Spec().Name
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	d.UseNumber()
	var all []jsonEntry
	if err := d.Decode(&all); err != nil {
		return fmt.Errorf("map %s: %w", name, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("map %s: text behind the array at byte %d", name, d.InputOffset())
	}
	for i, e := range all {
		if err := loadEntry(m, e); err != nil {
			return fmt.Errorf("map %s: entry %d: %w", name, i, err)
		}
	}
	return nil
}

func loadEntry(m Map, e jsonEntry) error {
	spec := m.Spec()
	var key []byte
	if spec.KeySize > 0 {
		if len(e.Key) == 0 {
			return fmt.Errorf("no key")
		}
		var err error
		if key, err = parseKey(e.Key, spec); err != nil {
			return fmt.Errorf("key: %w", err)
		}
	} else if len(e.Key) != 0 {
		return fmt.Errorf("a %s has no keys", spec.Type)
	}
	value, err := parseValue(m, e)
	if err != nil {
		return err
	}
	return m.UpdateAll(key, value, Any)
}

// parseValue returns the entry's value in LookupAll's form.
func parseValue(m Map, e jsonEntry) ([]byte, error) {
	n := int(valueSize(m.Spec()))
	cpus := 1
	if pc, ok := m.(PerCPU); ok && isPerCPU(m) {
		cpus = HostValueSize(pc) / stride(m.Spec())
	}
	switch {
	case len(e.Value) > 0 && len(e.Values) > 0:
		return nil, fmt.Errorf("both value and values")
	case len(e.Value) > 0 && cpus == 1 && !isPerCPU(m):
		b, err := parseData(e.Value, n)
		if err != nil {
			return nil, fmt.Errorf("value: %w", err)
		}
		return b, nil
	case len(e.Value) > 0: // the same for every CPU
		e.Values = slices.Repeat([]json.RawMessage{e.Value}, cpus)
	case len(e.Values) == 0:
		return nil, fmt.Errorf("no value")
	case !isPerCPU(m):
		return nil, fmt.Errorf("values are for per-CPU maps")
	}
	if len(e.Values) > cpus {
		return nil, fmt.Errorf("%d values for %d CPUs", len(e.Values), cpus)
	}
	all := make([]byte, HostValueSize(m))
	for i, v := range e.Values {
		b, err := parseData(v, n)
		if err != nil {
			return nil, fmt.Errorf("values[%d]: %w", i, err)
		}
		copy(all[i*stride(m.Spec()):], b)
	}
	return all, nil
}

func isPerCPU(m Map) bool {
	switch m.Spec().Type {
	case ebpf.PerCPUArray, ebpf.PerCPUHash, ebpf.LRUCPUHash:
		return true
	}
	return false
}

// parseKey is parseData, and addresses: "10.0.0.1" or "2001:db8::1" for keys of
// their size, "10.0.0.0/8" for an LPM trie's.
func parseKey(raw json.RawMessage, spec *ebpf.MapSpec) ([]byte, error) {
	var s string
	if json.Unmarshal(raw, &s) != nil || !strings.ContainsAny(s, ".:") {
		return parseData(raw, int(spec.KeySize))
	}
	var b []byte
	if spec.Type == ebpf.LPMTrie {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no prefix", s)
		}
		b = append(binary.LittleEndian.AppendUint32(nil, uint32(p.Bits())), p.Addr().AsSlice()...)
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, fmt.Errorf("%q is no address", s)
		}
		b = a.AsSlice()
	}
	if len(b) != int(spec.KeySize) {
		return nil, fmt.Errorf("%q has %d bytes, the key has %d", s, len(b), spec.KeySize)
	}
	return b, nil
}

// parseData reads n bytes.
func parseData(raw json.RawMessage, n int) ([]byte, error) {
	var list []json.RawMessage
	var s string
	switch raw[0] {
	case '[':
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		var b []byte
		for _, x := range list {
			one, err := parseData(x, 1)
			if err != nil {
				return nil, err
			}
			b = append(b, one...)
		}
		return sized(b, n)
	case '"':
		if err := json.Unmarshal(raw, &s); err != nil {
			return nil, err
		}
		b, err := parseHex(s)
		if err != nil {
			return nil, err
		}
		return sized(b, n)
	}
	return parseNumber(string(raw), n)
}

func sized(b []byte, n int) ([]byte, error) {
	if len(b) != n {
		return nil, fmt.Errorf("%d bytes, %d wanted", len(b), n)
	}
	return b, nil
}

// parseHex reads hex bytes in memory order; each group may begin with 0x.
func parseHex(s string) ([]byte, error) {
	var all []byte
	for _, f := range strings.Fields(s) {
		digits := strings.TrimPrefix(strings.TrimPrefix(f, "0x"), "0X")
		if len(digits)%2 != 0 {
			digits = "0" + digits
		}
		b, err := hex.DecodeString(digits)
		if err != nil {
			return nil, fmt.Errorf("%q is not hex", f)
		}
		all = append(all, b...)
	}
	return all, nil
}

func parseNumber(s string, n int) ([]byte, error) {
	if n != 1 && n != 2 && n != 4 && n != 8 {
		return nil, fmt.Errorf("a number has 1, 2, 4 or 8 bytes, not %d", n)
	}
	u, err := strconv.ParseUint(s, 10, n*8)
	if err != nil {
		i, err := strconv.ParseInt(s, 10, n*8)
		if err != nil {
			return nil, fmt.Errorf("%s is no number of %d bits", s, n*8)
		}
		u = uint64(i)
	}
	return binary.LittleEndian.AppendUint64(nil, u)[:n], nil
}

// DumpJSON returns the map's contents in the form that LoadJSON reads. Entries
// come by ascending index, or by the bytes of the key; elements of an array
// that are zero (on every CPU) are left out. Keys and values are numbers where
// the map's BTF says an integer of host order or the key is an index, and hex
// text else. A ring buffer has no contents.
func DumpJSON(m Map) ([]byte, error) {
	var out bytes.Buffer
	spec := m.Spec()
	line := func(e jsonEntry) error {
		b, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("map %s: %w", spec.Name, err)
		}
		if out.Len() > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n ")
		out.Write(b)
		return nil
	}
	if q, ok := m.(*Queue); ok {
		for _, v := range q.Values() {
			if err := line(jsonEntry{Value: format(v, number(spec.Value))}); err != nil {
				return nil, err
			}
		}
	}
	for _, key := range contents(m) {
		if err := line(dumpEntry(m, key)); err != nil {
			return nil, err
		}
	}
	if out.Len() == 0 {
		return []byte("[]\n"), nil
	}
	return append(append([]byte{'['}, out.Bytes()...), "\n]\n"...), nil
}

// contents returns the keys that DumpJSON shows, in its order.
func contents(m Map) [][]byte {
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

func dumpEntry(m Map, key []byte) jsonEntry {
	spec := m.Spec()
	_, isArray := m.(*array)
	t, targets := m.(*Targets)
	e := jsonEntry{Key: format(key, isArray || targets || number(spec.Key))}
	var value []byte
	if targets {
		value, _ = t.Target(binary.LittleEndian.Uint32(key))
	} else {
		value, _ = m.LookupAll(key)
	}
	asNumber := targets || number(spec.Value)
	if !isPerCPU(m) {
		e.Value = format(value, asNumber)
		return e
	}
	for off := 0; off < len(value); off += stride(spec) {
		e.Values = append(e.Values, format(value[off:off+int(spec.ValueSize)], asNumber))
	}
	return e
}

// number reports whether a type is an integer of host byte order: big-endian
// ones are told by their names (__be16, __be32, __be64).
func number(t btf.Type) bool {
	for {
		switch x := t.(type) {
		case *btf.Typedef:
			if strings.HasPrefix(x.Name, "__be") {
				return false
			}
			t = x.Type
		case *btf.Const:
			t = x.Type
		case *btf.Volatile:
			t = x.Type
		case *btf.TypeTag:
			t = x.Type
		case *btf.Int, *btf.Enum:
			return true
		default:
			return false
		}
	}
}

func format(b []byte, number bool) json.RawMessage {
	if number {
		switch len(b) {
		case 1, 2, 4, 8:
			return json.RawMessage(strconv.FormatUint(binary.LittleEndian.Uint64(append(slices.Clone(b), make([]byte, 8)...)), 10))
		}
	}
	return json.RawMessage(fmt.Sprintf("%q", fmt.Sprintf("% x", b)))
}
