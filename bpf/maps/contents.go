package maps

import (
	"encoding"
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"
)

// LoadContents stores the spec's initial contents in the map, as the host does:
// global data, or the static initialiser of a prog_array. program returns the
// number of a program that an entry names; if it is nil, such entries are
// refused.
func LoadContents(m Map, program func(name string) (uint32, bool)) error {
	spec := m.Spec()
	for i, kv := range spec.Contents {
		if err := loadKV(m, kv, program); err != nil {
			return fmt.Errorf("map %s: initial entry %d: %w", spec.Name, i, err)
		}
	}
	return nil
}

func loadKV(m Map, kv ebpf.MapKV, program func(name string) (uint32, bool)) error {
	spec := m.Spec()
	key, err := marshal(kv.Key, int(spec.KeySize))
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	if name, ok := kv.Value.(string); ok && spec.Type == ebpf.ProgramArray {
		id, ok := uint32(0), false
		if program != nil {
			id, ok = program(name)
		}
		if !ok {
			return fmt.Errorf("no program %q", name)
		}
		kv.Value = id
	}
	value, err := marshal(kv.Value, int(valueSize(spec)))
	if err != nil {
		return fmt.Errorf("value: %w", err)
	}
	if isPerCPU(spec.Type) { // a static initialiser holds for every CPU
		all := make([]byte, HostValueSize(m))
		for off := 0; off < len(all); off += stride(spec) {
			copy(all[off:], value)
		}
		value = all
	}
	return m.UpdateAll(key, value, Any)
}

// marshal returns x as the n bytes it has in memory.
func marshal(x any, n int) ([]byte, error) {
	var b []byte
	var err error
	switch x := x.(type) {
	case []byte:
		b = x
	case string:
		b = []byte(x)
	case encoding.BinaryMarshaler:
		b, err = x.MarshalBinary()
	default:
		b, err = binary.Append(nil, binary.LittleEndian, x)
	}
	if err != nil {
		return nil, err
	}
	return sized(b, n)
}

func sized(b []byte, n int) ([]byte, error) {
	if len(b) != n {
		return nil, fmt.Errorf("%d bytes, %d wanted", len(b), n)
	}
	return b, nil
}
