package maps

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// printer appends values as JSON. Bpftool's form has every integer as a number in host
// order. Our form has integers as hex text if their type's name begins with __be,
// since a number would show their bytes reversed.
type printer struct{ bpftool bool }

// value appends a value of a sound type, or bytes if t is nil.
func (p printer) value(dst []byte, t btf.Type, b []byte) []byte {
	if !p.bpftool && len(b) > 1 && isBigEndian(t) {
		return hexText(dst, b)
	}
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Var:
		return p.value(dst, t.Type, b)
	case *btf.Int:
		return p.int(dst, t, b)
	case *btf.Enum:
		v := leUint(b)
		for _, e := range t.Values {
			if e.Value<<(64-8*len(b)) == v<<(64-8*len(b)) {
				return appendQuoted(dst, e.Name)
			}
		}
		return appendNumber(dst, v, 8*len(b), t.Signed)
	case *btf.Pointer:
		return appendHexNumber(dst, b)
	case *btf.Float:
		return appendFloat(dst, b)
	case *btf.Array:
		return p.array(dst, t, b)
	case *btf.Struct:
		return append(p.members(append(dst, '{'), t.Members, b), '}')
	case *btf.Union:
		return append(p.members(append(dst, '{'), t.Members, b), '}')
	case *btf.Datasec:
		return p.vars(dst, t, b)
	}
	if p.bpftool {
		return hexList(dst, b)
	}
	return hexText(dst, b)
}

// whole appends a key or value. In our form it is hex text if its type does not cover
// all of its bytes, such as those between members.
func (p printer) whole(dst []byte, t btf.Type, b []byte) []byte {
	start := len(dst)
	dst = p.value(dst, t, b)
	if p.bpftool || t == nil {
		return dst
	}
	if again, err := parseWord(string(dst[start:]), t, len(b)); err != nil || !bytes.Equal(again, b) {
		return hexText(dst[:start], b)
	}
	return dst
}

func (p printer) int(dst []byte, t *btf.Int, b []byte) []byte {
	if len(b) == 16 {
		return appendHexNumber(dst, b)
	}
	v := leUint(b)
	switch {
	case t.Encoding == btf.Bool && v < 2:
		return strconv.AppendBool(dst, v == 1)
	case t.Encoding == btf.Char && len(b) == 1 && isPrintable(b[0]):
		return appendQuoted(dst, string(rune(v)))
	}
	return appendNumber(dst, v, 8*len(b), t.Encoding == btf.Signed)
}

func (p printer) array(dst []byte, t *btf.Array, b []byte) []byte {
	if isChars(t) {
		text, rest, _ := bytes.Cut(b, []byte{0})
		if len(bytes.Trim(rest, "\x00")) == 0 && !slices.ContainsFunc(text, func(c byte) bool { return !isPrintable(c) }) {
			return appendQuoted(dst, string(text))
		}
	}
	size, _ := sizeOf(t.Type)
	dst = append(dst, '[')
	for i := range int(t.Nelems) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = p.value(dst, t.Type, b[i*size:][:size])
	}
	return append(dst, ']')
}

// members appends the members of a struct or union, those of members without a
// name among them, without brackets.
func (p printer) members(dst []byte, members []btf.Member, b []byte) []byte {
	for _, m := range members {
		if c := dst[len(dst)-1]; c != '{' && c != ',' {
			dst = append(dst, ',')
		}
		off := int(m.Offset)
		if m.BitfieldSize > 0 {
			dst = append(appendQuoted(dst, m.Name), ':')
			i, ok := btf.UnderlyingType(m.Type).(*btf.Int)
			dst = appendNumber(dst, bitField(b, off, int(m.BitfieldSize)), int(m.BitfieldSize), ok && i.Encoding == btf.Signed)
			continue
		}
		size, _ := sizeOf(m.Type)
		value := b[off/8:][:size]
		if inner := membersOf(m.Type); m.Name == "" && inner != nil {
			dst = p.members(dst, inner, value)
			continue
		}
		dst = p.value(append(appendQuoted(dst, m.Name), ':'), m.Type, value)
	}
	return bytes.TrimSuffix(dst, []byte{','})
}

// vars appends the variables of a section as bpftool does.
func (p printer) vars(dst []byte, t *btf.Datasec, b []byte) []byte {
	dst = append(appendQuoted(append(dst, '{'), t.Name), ':', '[')
	for i, m := range varMembers(t) {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(p.members(append(dst, '{'), []btf.Member{m}, b), '}')
	}
	return append(dst, ']', '}')
}

// isBigEndian reports whether a type's name says that its bytes are in network
// order: __be16, __be32, __be64.
func isBigEndian(t btf.Type) bool {
	for range maxDepth {
		switch x := t.(type) {
		case *btf.Typedef:
			if strings.HasPrefix(x.Name, "__be") {
				return true
			}
			t = x.Type
		case *btf.Const:
			t = x.Type
		case *btf.Volatile:
			t = x.Type
		case *btf.Restrict:
			t = x.Type
		case *btf.TypeTag:
			t = x.Type
		default:
			return false
		}
	}
	return false
}

// leUint returns the number of up to 8 bytes.
func leUint(b []byte) uint64 {
	var v [8]byte
	copy(v[:], b)
	return binary.LittleEndian.Uint64(v[:])
}

// bitField returns a bit field of a little-endian machine.
func bitField(b []byte, off, size int) (v uint64) {
	for i := range size {
		v |= uint64(b[(off+i)/8]>>((off+i)%8)&1) << i
	}
	return v
}

func appendNumber(dst []byte, v uint64, bits int, signed bool) []byte {
	if signed {
		return strconv.AppendInt(dst, int64(v<<(64-bits))>>(64-bits), 10)
	}
	return strconv.AppendUint(dst, v, 10)
}

// appendHexNumber appends a pointer or __int128: text, for JSON's numbers end before.
func appendHexNumber(dst, b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	digits := strings.TrimLeft(hex.EncodeToString(b), "0")
	if digits == "" {
		digits = "0"
	}
	return append(append(append(dst, `"0x`...), digits...), '"')
}

func appendFloat(dst, b []byte) []byte {
	f, size := math.Float64frombits(leUint(b)), 64
	if len(b) == 4 {
		f, size = float64(math.Float32frombits(uint32(leUint(b)))), 32
	}
	switch {
	case math.IsNaN(f) && !bytes.Equal(b, floatBits(math.NaN(), len(b))):
		return appendHexNumber(dst, b) // one of many
	case math.IsNaN(f) || math.IsInf(f, 0):
		return appendQuoted(dst, strconv.FormatFloat(f, 'g', -1, size))
	}
	return strconv.AppendFloat(dst, f, 'g', -1, size)
}

func isPrintable(c byte) bool { return c >= ' ' && c <= '~' }

// appendQuoted appends printable text, or a name of a type, as JSON.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

const hexDigits = "0123456789abcdef"

// hexText appends "0a 00 00 01", with quotes.
func hexText(dst, b []byte) []byte {
	dst = append(dst, '"')
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return append(dst, '"')
}

// hexList appends ["0x0a","0x00"], as bpftool has bytes in JSON.
func hexList(dst, b []byte) []byte {
	dst = append(dst, '[')
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '"', '0', 'x', hexDigits[c>>4], hexDigits[c&15], '"')
	}
	return append(dst, ']')
}

// hexPlain appends 0a 00 00 01 with one more space after each 8 bytes, as bpftool
// has bytes outside of JSON.
func hexPlain(dst, b []byte) []byte {
	for i, c := range b {
		if i > 0 {
			dst = append(dst, ' ')
		}
		if i > 0 && i%8 == 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, hexDigits[c>>4], hexDigits[c&15])
	}
	return dst
}
