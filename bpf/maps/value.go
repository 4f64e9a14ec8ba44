package maps

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"
)

// ParseValue returns the size bytes that a text spells: a value of type t, or
// bytes if t is nil or no type that can be read at that size. The text is a
// value of docs/maps.md in JSON, or one word without quotes: a number, an
// address, a name of an enum, or the characters of a char array.
//
// Members that an object does not name are zero. The error names the member.
func ParseValue(s string, t btf.Type, size int) ([]byte, error) {
	return parseWord(s, sound(t, size), size)
}

func parseWord(s string, t btf.Type, size int) ([]byte, error) {
	m := newImage(size)
	scan := scanner{s: s}
	word := node{kind: text, text: s}
	c := scan.peek()
	if c != '{' && c != '[' && c != '"' && isChars(t) {
		return m.bytes, asError(readValue(&word, t, m, false))
	}
	n, err := scan.value(0)
	if err == nil && scan.peek() != 0 {
		err = scan.wants("the end")
	}
	switch {
	case err == nil:
		return m.bytes, asError(readValue(&n, t, m, true))
	case c == '{' || c == '[' || c == '"':
		err.msg = fmt.Sprintf("column %d: %s", err.at+1, err.msg)
		return nil, err
	}
	return m.bytes, asError(readValue(&word, t, m, false))
}

// asError keeps a nil *readError from becoming an error that is not nil.
func asError(err *readError) error {
	if err == nil {
		return nil
	}
	return err
}

// image is the bytes of a value as far as the text has given them.
type image struct{ bytes, given []byte }

func newImage(size int) image { return image{make([]byte, size), make([]byte, size)} }

func (m image) sub(off, n int) image { return image{m.bytes[off:][:n], m.given[off:][:n]} }

// put sets the first bytes. It reports whether each bit was unset or set to the same
// value before: members of a union overlap.
func (m image) put(b []byte) bool {
	for i, c := range b {
		if m.given[i]&(m.bytes[i]^c) != 0 {
			return false
		}
		m.bytes[i], m.given[i] = c, 0xff
	}
	return true
}

// putBits sets a bit field of a little-endian machine.
func (m image) putBits(off, size int, v uint64) bool {
	for i := range size {
		at, bit := (off+i)/8, byte(1)<<((off+i)%8)
		c := m.bytes[at] &^ bit
		if v>>i&1 != 0 {
			c |= bit
		}
		if m.given[at]&(m.bytes[at]^c) != 0 {
			return false
		}
		m.bytes[at] = c
		m.given[at] |= bit
	}
	return true
}

// store is put with its error.
func (m image) store(n *node, b []byte) *readError {
	if !m.put(b) {
		return overlap(n)
	}
	return nil
}

func overlap(n *node) *readError {
	return errorAt(n.at, "%v contradicts another member of the same bytes", n)
}

// readValue reads a value of a sound type, or bytes if t is nil. A whole key or value
// may be written as bytes, regardless of its type; inside of one, text is a number.
func readValue(n *node, t btf.Type, m image, whole bool) *readError {
	t = btf.UnderlyingType(t)
	if b, ok, err := readBytes(n, t, len(m.bytes), whole); err != nil {
		return err
	} else if ok {
		return m.store(n, b)
	}
	if whole && n.kind == number && isInteger(nil, len(m.bytes)) && !isInteger(t, len(m.bytes)) {
		t = nil // a struct or array of so many bytes
	}
	switch t := t.(type) {
	case *btf.Var:
		return readValue(n, t.Type, m, whole)
	case *btf.Array:
		return readArray(n, t, m)
	case *btf.Struct:
		return readMembers(n, t.Members, m)
	case *btf.Union:
		return readMembers(n, t.Members, m)
	case *btf.Datasec:
		return readVars(n, t, m)
	case *btf.Float:
		b, err := readFloat(n, len(m.bytes))
		if err != nil {
			return err
		}
		return m.store(n, b)
	case nil:
		if n.kind == object {
			return errorAt(n.at, "%v has members, and no type (BTF) says what they are: write its %s", n, counted(len(m.bytes), "byte"))
		}
		if n.kind == literal {
			return errorAt(n.at, "%v is no number of %s", n, counted(len(m.bytes), "byte"))
		}
	}
	v, err := readInt(n, t, 8*len(m.bytes), whole)
	if err != nil {
		return err
	}
	if n.kind == literal && v[0] == 1 && len(m.bytes) == 1 {
		return m.putTrue(n)
	}
	return m.store(n, v[:len(m.bytes)])
}

// putTrue stores true as a byte that is not zero: it sets the lowest bit that was not
// given. Any such number is true.
func (m image) putTrue(n *node) *readError {
	free := ^m.given[0]
	switch {
	case m.bytes[0] != 0:
	case free == 0:
		return overlap(n)
	default:
		m.bytes[0] = free & -free
	}
	return nil
}

// readBytes reads the forms that do not depend on the type: a list of bytes, hex
// text, an address. It reports false for text that has to be read by its type.
func readBytes(n *node, t btf.Type, size int, whole bool) ([]byte, bool, *readError) {
	switch n.kind {
	case list:
		if whole {
			return readByteList(n, t, size)
		}
	case text:
		switch {
		case named(t, n.text) || isChars(t) && (len(n.text) <= size || !whole):
			return nil, false, nil
		case strings.ContainsAny(n.text, ".:") && !isFloat(t):
			return readAddress(n, size)
		}
		return readHex(n, t, size, whole)
	}
	return nil, false, nil
}

// readByteList reads a list of size bytes. The elements of an array may be
// something else, and fewer.
func readByteList(n *node, t btf.Type, size int) ([]byte, bool, *readError) {
	var of btf.Type
	array, typed := t.(*btf.Array)
	if typed {
		of = btf.UnderlyingType(array.Type)
	}
	b := make([]byte, 0, len(n.items))
	for i := range n.items {
		c, ok := readByte(&n.items[i])
		if e := &n.items[i]; e.kind == text && (named(of, e.text) || isChars(of) || isChars(t) && len(e.text) == 1) {
			ok = false // a name or text, though its letters are hex
		}
		if !ok && typed {
			return nil, false, nil
		}
		if !ok {
			return nil, false, errorAt(n.items[i].at, "%v is no byte", &n.items[i]).in("[%d]", i)
		}
		b = append(b, c)
	}
	if len(b) != size && typed {
		return nil, false, nil
	}
	if len(b) != size {
		return nil, false, errorAt(n.at, "%s, %d wanted", counted(len(b), "byte"), size)
	}
	return b, true, nil
}

// readByte reads a number or hex text.
func readByte(n *node) (byte, bool) {
	base := 10
	digits := strings.TrimPrefix(strings.TrimPrefix(n.text, "0x"), "0X")
	if n.kind == text || digits != n.text {
		base = 16
	}
	c, err := strconv.ParseUint(digits, base, 8)
	return byte(c), err == nil && (n.kind == number || n.kind == text)
}

// readHex reads text of hex bytes in the order they lie in memory, if it is
// that. Digits that spell another number as well have no right answer.
func readHex(n *node, t btf.Type, size int, whole bool) ([]byte, bool, *readError) {
	groups := strings.Fields(n.text)
	b, err := parseHex(groups)
	if len(groups) == 1 && isInteger(t, size) {
		digits, prefixed := strings.CutPrefix(strings.ToLower(groups[0]), "0x")
		v, numberErr := integer(groups[0], 0, 8*size, either)
		switch {
		case whole && err == nil && len(b) != size && !prefixed && len(digits) > 1 && digits[0] == '0':
			return nil, false, errorAt(n.at, "%v has %s, %d wanted", n, counted(len(b), "byte"), size)
		case err != nil || len(b) != size || !whole || prefixed && printsHex(t):
			return nil, false, nil
		case len(digits) != 2*size && numberErr == nil:
			return nil, false, nil
		case prefixed && string(v[:size]) != string(b):
			return nil, false, errorAt(n.at, "%v is the number %d or the bytes \"% x\": write one of these", n, binary.LittleEndian.Uint64(v[:]), b)
		}
		return b, true, nil
	}
	switch {
	case err != nil && t != nil:
		return nil, false, nil // its type says better what is wrong
	case err != nil:
		return nil, false, errorAt(n.at, "%v is no hex, address or number of %s", n, counted(size, "byte"))
	case len(b) != size:
		return nil, false, errorAt(n.at, "%v has %s, %d wanted", n, counted(len(b), "byte"), size)
	}
	return b, true, nil
}

// parseHex joins groups of hex digits; each may begin with 0x.
func parseHex(groups []string) ([]byte, error) {
	var all []byte
	for _, g := range groups {
		digits := strings.TrimPrefix(strings.TrimPrefix(g, "0x"), "0X")
		if len(digits)%2 != 0 {
			digits = "0" + digits
		}
		b, err := hex.DecodeString(digits)
		if err != nil || digits == "" {
			return nil, fmt.Errorf("%q is not hex", g)
		}
		all = append(all, b...)
	}
	return all, nil
}

// readAddress reads an IP address of 4 or 16 bytes or a MAC address of 6, in
// network order.
func readAddress(n *node, size int) ([]byte, bool, *readError) {
	if a, err := netip.ParseAddr(n.text); err == nil && a.Zone() == "" {
		if a.BitLen() != 8*size {
			return nil, false, errorAt(n.at, "%v has %d bytes, %d wanted", n, a.BitLen()/8, size)
		}
		return a.AsSlice(), true, nil
	}
	if a, err := net.ParseMAC(n.text); err == nil && len(a) == size {
		return a, true, nil
	}
	return nil, false, errorAt(n.at, "%v is no address of %s", n, counted(size, "byte"))
}

// readArray reads text into a char array, or elements in order; those past the
// last that is given are zero.
func readArray(n *node, t *btf.Array, m image) *readError {
	if n.kind == text && isChars(t) {
		if len(n.text) > len(m.bytes) {
			return errorAt(n.at, "text of %d bytes does not fit into %d", len(n.text), len(m.bytes))
		}
		return m.store(n, append([]byte(n.text), 0)[:min(len(n.text)+1, len(m.bytes))])
	}
	if n.kind != list || len(n.items) > int(t.Nelems) {
		return errorAt(n.at, "%v is no array of %d or fewer", n, t.Nelems)
	}
	size, _ := btf.Sizeof(t.Type)
	for i := range n.items {
		if err := readValue(&n.items[i], t.Type, m.sub(i*size, size), false); err != nil {
			return err.in("[%d]", i)
		}
	}
	return nil
}

// readMembers reads an object into the members of a struct or union. Members of
// members without a name are named as C has them; bpftool puts them into an
// object without a name.
func readMembers(n *node, members []btf.Member, m image) *readError {
	if n.kind != object {
		return errorAt(n.at, "%v is no object with members %s", n, memberNames(members))
	}
	for i := range n.items {
		item, name := &n.items[i], n.names[i]
		if name.name == "" {
			if err := readMembers(item, members, m); err != nil {
				return err
			}
			continue
		}
		found, off := findMember(members, name.name)
		if found == nil {
			return errorAt(name.at, "no member %.40q, there are %s", name.name, memberNames(members))
		}
		if err := readMember(item, found, off, m); err != nil {
			return err.in(".%s", name.name)
		}
	}
	return nil
}

func readMember(n *node, found *btf.Member, off btf.Bits, m image) *readError {
	if found.BitfieldSize > 0 {
		v, err := readInt(n, btf.UnderlyingType(found.Type), int(found.BitfieldSize), false)
		if err == nil && !m.putBits(int(off), int(found.BitfieldSize), binary.LittleEndian.Uint64(v[:])) {
			return overlap(n)
		}
		return err
	}
	size, _ := sizeOf(found.Type)
	return readValue(n, found.Type, m.sub(int(off.Bytes()), size), false)
}

// readVars reads the variables of a section: an object of them, or bpftool's
// {".rodata": [{"x": 1}, {"y": 2}]}.
func readVars(n *node, t *btf.Datasec, m image) *readError {
	members := varMembers(t)
	if n.kind == object && len(n.names) == 1 && n.names[0].name == t.Name && n.items[0].kind == list {
		for i := range n.items[0].items {
			if err := readMembers(&n.items[0].items[i], members, m); err != nil {
				return err.in(".%s[%d]", t.Name, i)
			}
		}
		return nil
	}
	return readMembers(n, members, m)
}

func varMembers(t *btf.Datasec) []btf.Member {
	var members []btf.Member
	for _, v := range t.Vars {
		members = append(members, btf.Member{Name: v.Type.TypeName(), Type: v.Type, Offset: btf.Bits(v.Offset) * 8})
	}
	return members
}

// findMember finds a member by name, also in members without a name, and its
// offset.
func findMember(members []btf.Member, name string) (*btf.Member, btf.Bits) {
	for i := range members {
		m := &members[i]
		if m.Name == name {
			return m, m.Offset
		}
		if m.Name == "" && m.BitfieldSize == 0 {
			if found, off := findMember(membersOf(m.Type), name); found != nil {
				return found, m.Offset + off
			}
		}
	}
	return nil, 0
}

// membersOf returns the members of a struct or union.
func membersOf(t btf.Type) []btf.Member {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		return t.Members
	case *btf.Union:
		return t.Members
	}
	return nil
}

func memberNames(members []btf.Member) string {
	var names []string
	var collect func(members []btf.Member)
	collect = func(members []btf.Member) {
		for _, m := range members {
			if m.Name == "" {
				collect(membersOf(m.Type))
				continue
			}
			names = append(names, m.Name)
		}
	}
	collect(members)
	return shorten(names)
}

// shorten joins names, up to a number that a message can hold.
func shorten(names []string) string {
	const most = 20
	if len(names) > most {
		names = append(names[:most:most], fmt.Sprintf("and %d more", len(names)-most))
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// readFloat reads a float, or 0x and the digits of its bits.
func readFloat(n *node, size int) ([]byte, *readError) {
	if strings.HasPrefix(n.text, "0x") {
		v, err := readInt(n, nil, 8*size, false)
		return v[:size], err
	}
	if n.text == unprinted {
		_, err := readInt(n, nil, 8*size, false)
		return nil, err
	}
	f, err := strconv.ParseFloat(n.text, 8*size)
	if n.kind != number && n.kind != text || err != nil {
		return nil, errorAt(n.at, "%v is no number of %s", n, counted(size, "byte"))
	}
	return floatBits(f, size), nil
}

func floatBits(f float64, size int) []byte {
	if size == 4 {
		return binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(f)))
	}
	return binary.LittleEndian.AppendUint64(nil, math.Float64bits(f))
}

// sign is how numbers lie in bits.
type sign int

const (
	unsigned sign = iota
	signed
	either // negative, or as large as an unsigned number
)

// signOf returns the sign of an integer type. Chars are signed on some machines
// only, and an enum of BTF says so in new objects only.
func signOf(t btf.Type) sign {
	switch t := t.(type) {
	case *btf.Int:
		switch t.Encoding {
		case btf.Signed:
			return signed
		case btf.Char:
			return either
		}
	case *btf.Enum:
		return either
	}
	return unsigned
}

// readInt reads an integer, boolean, enum or pointer of a number of bits. The
// rest of the result is undefined.
func readInt(n *node, t btf.Type, bits int, whole bool) ([16]byte, *readError) {
	var v [16]byte
	switch {
	case n.kind == literal && n.text == "true" && t != nil:
		v[0] = 1
		return v, nil
	case n.kind == literal && n.text == "false" && t != nil:
		return v, nil
	case n.text == unprinted:
		return v, errorAt(n.at, "bpftool has no form for this type: dump with -j, which prints bytes too")
	case n.kind != number && n.kind != text:
		return v, errorAt(n.at, "%v is no number", n)
	case t == nil && !isInteger(nil, bits/8):
		return v, errorAt(n.at, "%v: number of %s; a number has 1, 2, 4 or 8 bytes", n, width(bits))
	}
	if n.kind == text {
		if c, ok := constant(t, n.text); ok {
			return c, nil
		}
	}
	base := 10
	if n.kind == text || strings.HasPrefix(n.text, "0x") {
		base = 0
	}
	as := signOf(t)
	if whole || t == nil {
		as = either
	}
	v, err := integer(n.text, base, bits, as)
	if err != nil {
		return v, numberError(n, t, bits, as, err)
	}
	return v, nil
}

// numberError returns an error that explains why a node is not a number of a type.
func numberError(n *node, t btf.Type, bits int, as sign, err error) *readError {
	if e, ok := t.(*btf.Enum); ok && n.kind == text {
		var names []string
		for _, v := range e.Values {
			names = append(names, v.Name)
		}
		return errorAt(n.at, "%v is no number of %s, nor one of %s", n, width(bits), shorten(names))
	}
	switch {
	case err == errRange:
		lo, hi := bounds(bits, as)
		return errorAt(n.at, "%.40s does not fit into %s: the range is %v to %v", n.text, width(bits), lo, hi)
	case t == nil && n.kind == text:
		return errorAt(n.at, "%v is no hex, address or number of %s", n, width(bits))
	case err == errOctal:
		return errorAt(n.at, "%v: is a leading zero octal? write it without one, or 0x or 0o before it", n)
	}
	return errorAt(n.at, "%v is no number of %s", n, width(bits))
}

func width(bits int) string {
	if bits%8 != 0 {
		return counted(bits, "bit")
	}
	return counted(bits/8, "byte")
}

// counted returns a number of things: "1 byte", "2 bytes".
func counted(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprint(n, " ", thing)
}

var (
	errNumber = strconv.ErrSyntax
	errRange  = strconv.ErrRange
	errOctal  = fmt.Errorf("leading zero")
)

// integer returns the little-endian bytes of the number that s spells, of at
// most 128 bits. Base 0 takes 0x, 0o and 0b; digits with such a prefix are bits
// of any sign.
func integer(s string, base, bits int, as sign) (v [16]byte, err error) {
	if len(s) < 19 && base == 10 && bits <= 64 { // the common case
		i, err := strconv.ParseInt(s, 10, 64)
		if err == nil && (i >= 0 && as != signed && i>>bits == 0 || i >= 0 && i>>(bits-1) == 0 || i < 0 && as != unsigned && i>>(bits-1) == -1) {
			binary.LittleEndian.PutUint64(v[:], uint64(i))
			return v, nil
		}
	}
	digits := strings.TrimPrefix(s, "-")
	if base == 0 && len(digits) > 1 && digits[0] == '0' && digits[1] != '_' && digits[1]|' ' < 'a' {
		dec, ok := new(big.Int).SetString(s, 10)
		if oct, same := new(big.Int).SetString(s, 0); !ok || !same || dec.Cmp(oct) != 0 {
			if !ok {
				return v, errNumber
			}
			return v, errOctal
		}
	}
	if len(s) > 140 { // more digits than 128 bits have in base 2
		return v, errNumber
	}
	x, ok := new(big.Int).SetString(s, base)
	if !ok || strings.HasPrefix(s, "+") {
		return v, errNumber
	}
	if base == 16 || base == 0 && len(digits) > 1 && digits[0] == '0' && digits == s {
		as = either
	}
	lo, hi := bounds(bits, as)
	if x.Cmp(lo) < 0 || x.Cmp(hi) > 0 {
		return v, errRange
	}
	if x.Sign() < 0 {
		x.Add(x, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	for i, c := range x.FillBytes(make([]byte, 16)) {
		v[15-i] = c
	}
	return v, nil
}

// bounds returns the smallest and the largest number of so many bits.
func bounds(bits int, as sign) (lo, hi *big.Int) {
	one := big.NewInt(1)
	lo, hi = new(big.Int), new(big.Int).Lsh(one, uint(bits))
	half := new(big.Int).Lsh(one, uint(bits-1))
	if as != unsigned {
		lo.Neg(half)
	}
	if as == signed {
		hi = half
	}
	return lo, hi.Sub(hi, one)
}

// constant returns the number of a name that a type has for it.
func constant(t btf.Type, s string) (v [16]byte, ok bool) {
	switch t := t.(type) {
	case *btf.Enum:
		for _, e := range t.Values {
			if e.Name == s {
				binary.LittleEndian.PutUint64(v[:], e.Value)
				return v, true
			}
		}
	case *btf.Pointer:
		return v, s == "(nil)" // as bpftool prints it
	case *btf.Int:
		if r := []rune(s); t.Encoding == btf.Char && len(r) == 1 && r[0] < 256 {
			v[0] = byte(r[0])
			return v, true
		}
	}
	return v, false
}

// named reports whether a type has s as the name of a number.
func named(t btf.Type, s string) bool {
	_, ok := constant(t, s)
	return ok
}

// isChars reports whether a type is an array of characters, which text fills.
func isChars(t btf.Type) bool {
	a, ok := btf.UnderlyingType(t).(*btf.Array)
	if !ok {
		return false
	}
	i, ok := btf.UnderlyingType(a.Type).(*btf.Int)
	return ok && i.Size == 1 && (i.Encoding == btf.Char || i.Name == "char")
}

// isInteger reports whether text of size bytes may be a number.
func isInteger(t btf.Type, size int) bool {
	switch t.(type) {
	case *btf.Int, *btf.Enum, *btf.Pointer, *btf.Float:
		return true
	case nil:
		return size == 1 || size == 2 || size == 4 || size == 8
	}
	return false
}

// printsHex reports whether the values of a type are printed with 0x.
func printsHex(t btf.Type) bool {
	i, ok := t.(*btf.Int)
	_, pointer := t.(*btf.Pointer)
	return pointer || isFloat(t) || ok && i.Size == 16
}

func isFloat(t btf.Type) bool {
	_, ok := t.(*btf.Float)
	return ok
}

// sound returns t if its values have size bytes and can be read and printed, else nil.
// The BTF of a file may be of any depth, be cyclic, or have members outside their struct.
func sound(t btf.Type, size int) btf.Type {
	if t == nil {
		return nil
	}
	if n, err := sizeOf(t); err != nil || n != size {
		return nil
	}
	if parts := 0; !soundAt(t, 0, &parts) {
		return nil
	}
	return t
}

// sizeOf returns the size of a type or variable.
func sizeOf(t btf.Type) (int, error) {
	if v, ok := t.(*btf.Var); ok {
		t = v.Type
	}
	return btf.Sizeof(t)
}

const maxDepth = 32 // of types within types

func soundAt(t btf.Type, depth int, parts *int) bool {
	*parts++
	if depth > maxDepth || *parts > maxMembers {
		return false
	}
	t = btf.UnderlyingType(t)
	switch t := t.(type) {
	case *btf.Var:
		return soundAt(t.Type, depth+1, parts)
	case *btf.Int:
		return t.Size == 16 || isInteger(nil, int(t.Size))
	case *btf.Enum:
		return isInteger(nil, int(t.Size))
	case *btf.Pointer:
		return true
	case *btf.Float:
		return t.Size == 4 || t.Size == 8
	case *btf.Array:
		n, err := btf.Sizeof(t.Type)
		return err == nil && (n > 0 || t.Nelems == 0) && soundAt(t.Type, depth+1, parts)
	case *btf.Struct:
		return soundMembers(t.Members, int(t.Size), depth, parts)
	case *btf.Union:
		return soundMembers(t.Members, int(t.Size), depth, parts)
	case *btf.Datasec:
		return soundMembers(varMembers(t), int(t.Size), depth, parts)
	}
	return false
}

func soundMembers(members []btf.Member, size, depth int, parts *int) bool {
	for _, m := range members {
		if m.BitfieldSize > 64 || uint64(m.Offset)+uint64(m.BitfieldSize) > 8*uint64(size) {
			return false
		}
		if m.BitfieldSize > 0 {
			switch btf.UnderlyingType(m.Type).(type) {
			case *btf.Int, *btf.Enum:
				continue
			}
			return false
		}
		n, err := sizeOf(m.Type)
		if err != nil || m.Offset%8 != 0 || uint64(m.Offset.Bytes())+uint64(n) > uint64(size) || !soundAt(m.Type, depth+1, parts) {
			return false
		}
	}
	return true
}
