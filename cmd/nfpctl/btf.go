package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// Typed keys and values: BTF, the type information of an object, says what bytes mean.
// Values are printed as bpftool prints them, and what is printed can be read again.

// maxDepth bounds types within types: BTF of a file that nobody vouches for may be of any
// depth, or go in a circle.
const maxDepth = 32

// strip takes names and qualifiers off a type.
func strip(t btf.Type) btf.Type {
	for range maxDepth {
		switch q := t.(type) {
		case *btf.Typedef:
			t = q.Type
		case *btf.Volatile:
			t = q.Type
		case *btf.Const:
			t = q.Type
		case *btf.Restrict:
			t = q.Type
		case *btf.TypeTag:
			t = q.Type
		default:
			return t
		}
	}
	return nil
}

var errType = errors.New("its type is nothing that can be printed")

// sizeOf is a type's size in bytes.
func sizeOf(t btf.Type) (int, error) {
	n, err := btf.Sizeof(t)
	if err != nil {
		return 0, errType
	}
	return n, nil
}

// fits reports whether a type is known and has a size.
func fits(t btf.Type, size uint32) bool {
	if t == nil {
		return false
	}
	n, err := sizeOf(t)
	return err == nil && n == int(size)
}

// A field of an object in JSON, whose order is that of the type.
type field struct {
	name  string
	value any
}

// fields print as one JSON object.
type fields []field

func (f fields) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range f {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// decode makes what JSON shows of the bytes of a type.
func decode(t btf.Type, b []byte) (any, error) { return decodeAt(t, b, 0) }

func decodeAt(t btf.Type, b []byte, depth int) (any, error) {
	t = strip(t)
	size, err := sizeOf(t)
	if err != nil || size > len(b) || depth > maxDepth {
		return nil, errType
	}
	b = b[:size]
	switch t := t.(type) {
	case *btf.Int:
		return decodeInt(t, b)
	case *btf.Enum:
		v, err := readUint(b)
		if err != nil {
			return nil, err
		}
		for _, e := range t.Values {
			if e.Value&mask(size) == v {
				return e.Name, nil
			}
		}
		return number(v, size*8, t.Signed), nil
	case *btf.Pointer:
		v, err := readUint(b)
		return fmt.Sprintf("%#x", v), err
	case *btf.Float:
		return decodeFloat(b)
	case *btf.Array:
		return decodeArray(t, b, depth)
	case *btf.Struct:
		return decodeMembers(t.Members, b, depth)
	case *btf.Union:
		return decodeMembers(t.Members, b, depth)
	}
	return nil, errType
}

// readUint reads a number of 1 to 8 bytes in host order.
func readUint(b []byte) (uint64, error) {
	switch len(b) {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.NativeEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.NativeEndian.Uint32(b)), nil
	case 8:
		return binary.NativeEndian.Uint64(b), nil
	}
	return 0, fmt.Errorf("number of %d bytes", len(b))
}

func writeUint(b []byte, v uint64) error {
	switch len(b) {
	case 1:
		b[0] = byte(v)
	case 2:
		binary.NativeEndian.PutUint16(b, uint16(v))
	case 4:
		binary.NativeEndian.PutUint32(b, uint32(v))
	case 8:
		binary.NativeEndian.PutUint64(b, v)
	default:
		return fmt.Errorf("number of %d bytes", len(b))
	}
	return nil
}

// mask has the low size bytes set.
func mask(size int) uint64 {
	if size >= 8 {
		return math.MaxUint64
	}
	return 1<<(8*size) - 1
}

// number is v of some bits as JSON has it.
func number(v uint64, bits int, signed bool) any {
	if signed && bits > 0 && bits <= 64 {
		return int64(v<<(64-bits)) >> (64 - bits)
	}
	return v
}

func decodeInt(t *btf.Int, b []byte) (any, error) {
	if len(b) == 16 { // __int128: as text, for JSON's numbers end before
		return "0x" + fmt.Sprintf("%x", reversed(b)), nil
	}
	v, err := readUint(b)
	if err != nil {
		return nil, err
	}
	switch t.Encoding {
	case btf.Bool:
		return v != 0, nil
	case btf.Char:
		if v >= ' ' && v < 0x7f {
			return string(rune(v)), nil
		}
	}
	return number(v, len(b)*8, t.Encoding == btf.Signed), nil
}

func reversed(b []byte) []byte {
	c := slices.Clone(b)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		slices.Reverse(c)
	}
	return c
}

func decodeFloat(b []byte) (any, error) {
	v, err := readUint(b)
	if err != nil {
		return nil, err
	}
	f := math.Float64frombits(v)
	if len(b) == 4 {
		f = float64(math.Float32frombits(uint32(v)))
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return strconv.FormatFloat(f, 'g', -1, 64), nil
	}
	return f, nil
}

// isText reports whether an array is of characters.
func isText(t *btf.Array) bool {
	i, ok := strip(t.Type).(*btf.Int)
	return ok && i.Size == 1 && (i.Encoding == btf.Char || i.Name == "char")
}

func decodeArray(t *btf.Array, b []byte, depth int) (any, error) {
	if isText(t) {
		text, rest, _ := bytes.Cut(b, []byte{0})
		if len(bytes.Trim(rest, "\x00")) == 0 && !slices.ContainsFunc(text, func(c byte) bool { return c < ' ' || c > '~' }) {
			return string(text), nil
		}
	}
	size, err := sizeOf(t.Type)
	if err != nil {
		return nil, err
	}
	if size == 0 || int64(size)*int64(t.Nelems) > int64(len(b)) {
		return []any{}, nil
	}
	all := make([]any, t.Nelems)
	for i := range all {
		if all[i], err = decodeAt(t.Type, b[i*size:][:size], depth+1); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func decodeMembers(members []btf.Member, b []byte, depth int) (any, error) {
	all := fields{}
	for _, m := range members {
		if m.BitfieldSize > 0 {
			v, err := bits(b, uint32(m.Offset), uint32(m.BitfieldSize))
			if err != nil {
				return nil, err
			}
			i, ok := strip(m.Type).(*btf.Int)
			all = append(all, field{m.Name, number(v, int(m.BitfieldSize), ok && i.Encoding == btf.Signed)})
			continue
		}
		at := int(m.Offset.Bytes())
		if at > len(b) {
			return nil, errType
		}
		v, err := decodeAt(m.Type, b[at:], depth+1)
		if err != nil {
			return nil, err
		}
		if inner, ok := v.(fields); ok && m.Name == "" {
			all = append(all, inner...)
			continue
		}
		all = append(all, field{m.Name, v})
	}
	return all, nil
}

// bits reads a bit field of a little-endian host.
func bits(b []byte, offset, size uint32) (uint64, error) {
	if size > 64 || int(offset+size+7)/8 > len(b) {
		return 0, errType
	}
	var v uint64
	for i := range size {
		at := offset + i
		v |= uint64(b[at/8]>>(at%8)&1) << i
	}
	return v, nil
}

func setBits(b []byte, offset, size uint32, v uint64) error {
	if size > 64 || int(offset+size+7)/8 > len(b) {
		return errType
	}
	for i := range size {
		at := offset + i
		b[at/8] = b[at/8]&^(1<<(at%8)) | byte(v>>i&1)<<(at%8)
	}
	return nil
}

// encode writes what JSON says into the bytes of a type; members that are not named stay
// as they are.
func encode(t btf.Type, v any, b []byte) error { return encodeAt(t, v, b, 0) }

func encodeAt(t btf.Type, v any, b []byte, depth int) error {
	t = strip(t)
	size, err := sizeOf(t)
	if err != nil || size > len(b) || depth > maxDepth {
		return errType
	}
	b = b[:size]
	if text, ok := v.(string); ok {
		if address, ok := parseAddress(text, size); ok {
			copy(b, address)
			return nil
		}
	}
	switch t := t.(type) {
	case *btf.Int:
		if text, ok := v.(string); ok && t.Encoding == btf.Char && len(text) == 1 && len(b) == 1 {
			b[0] = text[0] // as it is printed
			return nil
		}
		return encodeNumber(v, b, t.Encoding == btf.Signed || t.Encoding == btf.Char)
	case *btf.Enum:
		if name, ok := v.(string); ok {
			for _, e := range t.Values {
				if e.Name == name {
					return writeUint(b, e.Value)
				}
			}
		}
		return encodeNumber(v, b, true)
	case *btf.Pointer:
		return encodeNumber(v, b, false)
	case *btf.Array:
		return encodeArray(t, v, b, depth)
	case *btf.Struct:
		return encodeMembers(t.Members, v, b, depth)
	case *btf.Union:
		return encodeMembers(t.Members, v, b, depth)
	}
	return errType
}

func encodeNumber(v any, b []byte, signed bool) error {
	switch v := v.(type) {
	case bool:
		n := uint64(0)
		if v {
			n = 1
		}
		return writeUint(b, n)
	case json.Number:
		return encodeText(v.String(), b, signed)
	case string:
		return encodeText(v, b, signed)
	}
	return fmt.Errorf("%s is no number", show(v))
}

// encodeText writes a number of decimal, 0x or 0b digits, or, in 4 or 16 bytes, an IP
// address in network order.
func encodeText(s string, b []byte, signed bool) error {
	if address, ok := parseAddress(s, len(b)); ok {
		copy(b, address)
		return nil
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err == nil {
		if v&^mask(len(b)) != 0 {
			return fmt.Errorf("%s does not fit into %d byte(s)", s, len(b))
		}
		return writeUint(b, v)
	}
	n, err := strconv.ParseInt(s, 0, 64)
	bits := 8 * len(b)
	if err != nil || bits > 64 {
		return fmt.Errorf("%.40q is no number of %d byte(s)", s, len(b))
	}
	if !signed || n < -1<<(bits-1) {
		return fmt.Errorf("%s does not fit into %d byte(s)", s, len(b))
	}
	return writeUint(b, uint64(n))
}

// show is a JSON value for a message.
func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprintf("%T", v)
	}
	return fmt.Sprintf("%.60s", b)
}

func encodeArray(t *btf.Array, v any, b []byte, depth int) error {
	if text, ok := v.(string); ok && isText(t) {
		if len(text) > len(b) {
			return fmt.Errorf("text of %d bytes does not fit into %d", len(text), len(b))
		}
		clear(b)
		copy(b, text)
		return nil
	}
	list, ok := v.([]any)
	size, err := sizeOf(t.Type)
	if err != nil {
		return err
	}
	if !ok || len(list) > int(t.Nelems) || len(list)*size > len(b) {
		return fmt.Errorf("%s is no array of %d or fewer", show(v), t.Nelems)
	}
	for i, e := range list {
		if err := encodeAt(t.Type, e, b[i*size:][:size], depth+1); err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
	}
	return nil
}

func encodeMembers(members []btf.Member, v any, b []byte, depth int) error {
	object, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%s is no object with members %s", show(v), memberNames(members))
	}
	done, err := setMembers(members, object, b, depth)
	if err != nil {
		return err
	}
	if done < len(object) {
		for name := range object {
			if !hasMember(members, name, 0) {
				return fmt.Errorf("no member %.40q, there are %s", name, memberNames(members))
			}
		}
	}
	return nil
}

// setMembers writes those members that an object has, and says how many there were.
func setMembers(members []btf.Member, object map[string]any, b []byte, depth int) (int, error) {
	done := 0
	for _, m := range members {
		at := int(m.Offset.Bytes())
		if at > len(b) || depth > maxDepth {
			return done, errType
		}
		if m.Name == "" && m.BitfieldSize == 0 {
			n, err := setMembers(membersOf(m.Type), object, b[at:], depth+1)
			if err != nil {
				return done, err
			}
			done += n
			continue
		}
		v, ok := object[m.Name]
		if !ok {
			continue
		}
		done++
		var err error
		if m.BitfieldSize > 0 {
			whole := make([]byte, 8)
			if err = encodeNumber(v, whole, true); err == nil {
				n, _ := readUint(whole)
				err = setBits(b, uint32(m.Offset), uint32(m.BitfieldSize), n)
			}
		} else {
			err = encodeAt(m.Type, v, b[at:], depth+1)
		}
		if err != nil {
			return done, fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	return done, nil
}

// membersOf are those of a struct or union without a name.
func membersOf(t btf.Type) []btf.Member {
	switch t := strip(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	}
	return nil
}

func hasMember(members []btf.Member, name string, depth int) bool {
	return depth <= maxDepth && slices.ContainsFunc(members, func(m btf.Member) bool {
		return m.Name == name || m.Name == "" && hasMember(membersOf(m.Type), name, depth+1)
	})
}

func memberNames(members []btf.Member) string {
	var names []string
	for _, m := range members {
		if m.Name != "" {
			names = append(names, m.Name)
		}
	}
	return strings.Join(names, ", ")
}
