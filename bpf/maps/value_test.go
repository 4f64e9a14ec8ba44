package maps

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8    = &btf.Int{Name: "unsigned char", Size: 1}
	char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}
	s16   = &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	u16   = &btf.Int{Name: "unsigned short", Size: 2}
	u32   = &btf.Int{Name: "unsigned int", Size: 4}
	s32   = &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	u64   = &btf.Int{Name: "unsigned long", Size: 8}
	u128  = &btf.Int{Name: "unsigned __int128", Size: 16}
	truth = &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	color = &btf.Enum{Name: "color", Size: 4, Values: []btf.EnumValue{{Name: "RED", Value: 1}, {Name: "BLUE", Value: 2}}}
	float = &btf.Float{Name: "float", Size: 4}
	name8 = &btf.Array{Index: u32, Type: char, Nelems: 8}
	be32  = &btf.Typedef{Name: "__be32", Type: u32}
	mac   = &btf.Array{Index: u32, Type: u8, Nelems: 6}
)

// rule is a struct with one of everything.
var rule = &btf.Struct{Name: "rule", Size: 48, Members: []btf.Member{
	{Name: "packets", Type: &btf.Volatile{Type: u64}},
	{Name: "addr", Type: be32, Offset: 8 * 8},
	{Name: "delta", Type: s16, Offset: 12 * 8},
	{Name: "on", Type: truth, Offset: 14 * 8},
	{Name: "c", Type: char, Offset: 15 * 8},
	{Name: "color", Type: color, Offset: 16 * 8},
	{Name: "low", Type: u32, Offset: 20 * 8, BitfieldSize: 3},
	{Name: "high", Type: u32, Offset: 20*8 + 3, BitfieldSize: 9},
	{Name: "name", Type: name8, Offset: 24 * 8},
	{Name: "ports", Type: &btf.Array{Index: u32, Type: s16, Nelems: 2}, Offset: 32 * 8},
	{Type: &btf.Union{Size: 4, Members: []btf.Member{{Name: "whole", Type: u32}, {Name: "parts", Type: &btf.Array{Index: u32, Type: u8, Nelems: 4}}}}, Offset: 36 * 8},
	{Name: "next", Type: &btf.Pointer{Target: u32}, Offset: 40 * 8},
}}

func TestTypedValue(t *testing.T) {
	const text = `{"packets":18446744073709551615,"addr":16777226,"delta":-3,"on":true,"c":"x","color":"BLUE","low":5,"high":300,` +
		`"name":"edge","ports":[80,-1],"whole":67305985,"parts":[1,2,3,4],"next":"0x10"}`
	b, err := ParseValue(text, rule, int(rule.Size))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(printer{bpftool: true}.whole(nil, rule, b)); got != text {
		t.Errorf("%s, want\n%s", got, text)
	}
	own := strings.Replace(text, "16777226", `"0a 00 00 01"`, 1)
	if got := string(printer{}.whole(nil, rule, b)); got != own {
		t.Errorf("%s, want\n%s", got, own)
	}
	// Other spellings of the same value, some by bpftool.
	for _, other := range []string{
		own,
		strings.NewReplacer("16777226", `"10.0.0.1"`, `"BLUE"`, "2", `"0x10"`, "16", "true", "1", `"x"`, "120", "67305985", `"0x4030201"`).Replace(text),
		strings.NewReplacer(`"low":5,"high":300`, `"low":"0x5","high":"0x12c"`, `"edge"`, `["e","d","g","e",0,0,0,0]`).Replace(text),
		strings.NewReplacer(`"low":5,"high":300`, `"low":0x5,"high":0x12c`, `"edge"`, `[101,100,103,101]`).Replace(text),
		strings.Replace(text, `"whole":67305985,"parts":[1,2,3,4]`, `"":{"whole":67305985,"parts":[1,2,3,4]}`, 1),
		strings.Replace(text, `"whole":67305985,`, ``, 1),
		fmt.Sprintf(`"% x"`, b), fmt.Sprintf(`"%x"`, b), string(hexList(nil, b)), strings.ReplaceAll(string(hexList(nil, b)), `"`, ""),
	} {
		if again, err := ParseValue(other, rule, int(rule.Size)); err != nil || !bytes.Equal(b, again) {
			t.Errorf("%s\n%v: %x, want %x", other, err, again, b)
		}
	}
}

// TestParseValue has texts with their bytes in hex, or an error in brackets.
func TestParseValue(t *testing.T) {
	rodata := &btf.Datasec{Name: ".rodata", Size: 8, Vars: []btf.VarSecinfo{
		{Type: &btf.Var{Name: "limit", Type: u32}, Size: 4}, {Type: &btf.Var{Name: "port", Type: u16}, Offset: 4, Size: 2}}}
	signedBits := &btf.Struct{Size: 4, Members: []btf.Member{{Name: "n", Type: &btf.Int{Size: 4, Encoding: btf.Signed}, BitfieldSize: 5}}}
	twice := &btf.Union{Size: 4, Members: []btf.Member{{Name: "a", Type: u32}, {Name: "b", Type: u16}}}
	for _, c := range []struct {
		typ  btf.Type
		size int
		text string
		want string
	}{
		// Numbers.
		{nil, 4, "258", "02010000"},
		{nil, 4, "-1", "ffffffff"},
		{nil, 4, "0x0a000001", "0100000a"},
		{nil, 8, "18446744073709551615", "ffffffffffffffff"},
		{nil, 2, "70000", "(70000 does not fit into 2 bytes: the range is -32768 to 65535)"},
		{nil, 4, "1.5", "(1.5 is no number of 4 bytes)"},
		{nil, 4, "1e3", "(1e3 is no number of 4 bytes)"},
		{nil, 4, "true", "(true is no number)"},
		{nil, 12, "1", "(1: number of 12 bytes; a number has 1, 2, 4 or 8 bytes)"},
		{nil, 4, "010", "(is no hex, address or number)"},
		{u32, 4, "010", "(leading zero)"},
		{u32, 4, "0b101", "05000000"},
		{u32, 4, "", `("" has 0 bytes, 4 wanted)`},
		{s16, 2, "-32768", "0080"},
		{u128, 16, "340282366920938463463374607431768211455", "ffffffffffffffffffffffffffffffff"},
		{u128, 16, `"0x100000000000000000"`, "00000000000000001000000000000000"},
		{float, 4, "1.5", "0000c03f"},
		{float, 4, `"NaN"`, "0000c07f"},
		{float, 4, "1e99", "(is no number)"},
		// Hex text.
		{nil, 4, `"0a 00 00 01"`, "0a000001"},
		{nil, 4, `"0a000001"`, "0a000001"},
		{nil, 4, `"0x0a 0x00 0x00 0x01"`, "0a000001"},
		{nil, 3, `"0x0a0001"`, "0a0001"},
		{nil, 1, `"10"`, "10"},
		{nil, 4, `"12345678"`, "12345678"},
		{u32, 4, `"12345678"`, "12345678"},
		{nil, 4, `"258"`, "02010000"},
		{nil, 4, `"0x0a000001"`, `("0x0a000001" is the number 167772161 or the bytes "0a 00 00 01": write one of these)`},
		{nil, 4, `"0x0a00000a"`, "0a00000a"}, // the same in both byte orders
		{nil, 4, `"0a 00"`, `("0a 00" has 2 bytes, 4 wanted)`},
		{nil, 4, `"0102"`, `("0102" has 2 bytes, 4 wanted)`},
		{nil, 4, "0a000001", "(is no hex, address or number)"}, // a word: hex would hang on its digits
		{name8, 8, "deadbeef", "6465616462656566"},
		{name8, 8, `"deadbeefdeadbeef"`, "deadbeefdeadbeef"},
		{rule, 48, `"zz"`, "(is no object with members packets, addr,"},
		// Lists.
		{nil, 4, "[10,0,0,1]", "0a000001"},
		{nil, 4, `["0x0a",0,"0","01"]`, "0a000001"},
		{nil, 4, "[10,0,0]", "(3 bytes, 4 wanted)"},
		{nil, 4, "[10,0,0,256]", "([3]: 256 is no byte)"},
		{u32, 4, "[10,0,0,-1]", "([3]: -1 is no byte)"},
		{&btf.Array{Type: u16, Nelems: 2}, 4, "[1,2]", "01000200"},
		{&btf.Array{Type: u16, Nelems: 2}, 4, "[1,2,3,4]", "01020304"},
		{&btf.Array{Type: u16, Nelems: 2}, 4, "[1,2,3]", "([1,2,3] is no array of 2 or fewer)"},
		{&btf.Array{Type: u16, Nelems: 2}, 4, "[7]", "07000000"},
		{&btf.Array{Type: char, Nelems: 2}, 2, `["1","2"]`, "3132"},
		{&btf.Array{Type: truth, Nelems: 2}, 2, `[true,false]`, "0100"},
		// Addresses.
		{nil, 4, "10.0.0.1", "0a000001"},
		{be32, 4, `"10.0.0.1"`, "0a000001"},
		{nil, 16, "2001:db8::1", "20010db8000000000000000000000001"},
		{mac, 6, "02:00:5e:00:00:01", "02005e000001"},
		{nil, 4, "::1", `("::1" has 16 bytes, 4 wanted)`},
		{nil, 4, "10.0.0", `("10.0.0" is no address of 4 bytes)`},
		{&btf.Array{Type: char, Nelems: 16}, 16, "::1", "3a3a3100000000000000000000000000"},
		// Names.
		{color, 4, "RED", "01000000"},
		{color, 4, `"BLUE"`, "02000000"},
		{color, 4, "7", "07000000"},
		{color, 4, "GREEN", `("GREEN" is no number of 4 bytes, nor one of RED, BLUE)`},
		{truth, 1, "true", "01"},
		{char, 1, `"x"`, "78"},
		{char, 1, `"\u00e9"`, "e9"},
		{name8, 8, "edge", "6564676500000000"},
		{name8, 8, "1234", "3132333400000000"},
		{name8, 8, `"far too long"`, "(text of 12 bytes does not fit into 8)"},
		// Members.
		{rule, 48, "{}", strings.Repeat("00", 48)},
		{rule, 48, `{"delta":40000}`, "(delta: 40000 does not fit into 2 bytes: the range is -32768 to 32767)"},
		{rule, 48, `{"addr":-1}`, "(addr: -1 does not fit into 4 bytes: the range is 0 to 4294967295)"},
		{rule, 48, `{"low":8}`, "(low: 8 does not fit into 3 bits: the range is 0 to 7)"},
		{rule, 48, `{"color":"GREEN"}`, `(color: "GREEN" is no number of 4 bytes, nor one of RED, BLUE)`},
		{rule, 48, `{"name":"far too long"}`, "(name: text of 12 bytes does not fit into 8)"},
		{rule, 48, `{"ports":[1,2,3]}`, "(ports: [1,2,3] is no array of 2 or fewer)"},
		{rule, 48, `{"ports":[1,{}]}`, "(ports[1]: {} is no number)"},
		{rule, 48, `{"port":1}`, `(no member "port", there are packets, addr, delta, on, c, color, low, high, name, ports, whole, parts, next)`},
		{rule, 48, `{"on":null}`, "(on: null is no number)"},
		{rule, 48, `{"on":1,"on":1}`, `(column 9: member "on" is given twice, first at 1:2)`},
		{rule, 48, "7", "(7 is no object with members packets,"},
		{rule, 48, `{"on":1`, "(column 8: the text ends where a comma or '}' should follow)"},
		{rule, 48, `{"whole":1,"parts":[2]}`, "(parts[0]: 2 contradicts another member of the same bytes)"},
		{rule, 48, `{"":{"whole":1},"":{"on":1}}`, strings.Repeat("00", 14) + "01" + strings.Repeat("00", 21) + "01" + strings.Repeat("00", 11)},
		{twice, 4, `{"a":65536,"b":0}`, "00000100"},
		{twice, 4, `{"a":1,"b":0}`, "(b: 0 contradicts another member of the same bytes)"},
		{signedBits, 4, `{"n":-16}`, "10000000"},
		{signedBits, 4, `{"n":"0x1f"}`, "1f000000"},
		{signedBits, 4, `{"n":16}`, "(n: 16 does not fit into 5 bits: the range is -16 to 15)"},
		{nil, 4, `{"a":1}`, "(has members, and no type (BTF) says what they are: write its 4 bytes)"},
		// Variables of a section.
		{rodata, 8, `{"limit":5,"port":80}`, "0500000050000000"},
		{rodata, 8, `{".rodata":[{"limit":5},{"port":80}]}`, "0500000050000000"},
		{rodata, 8, `{".rodata":[{"limit":5},{"ports":80}]}`, `(.rodata[1]: no member "ports", there are limit, port)`},
		{rodata.Vars[1].Type, 2, "80", "5000"},
	} {
		b, err := ParseValue(c.text, c.typ, c.size)
		if text, ok := strings.CutPrefix(c.want, "("); ok {
			if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(text, ")")) {
				t.Errorf("%s of %v: %x, %v, want error %s", c.text, c.typ, b, err, text)
			}
		} else if got := fmt.Sprintf("%x", b); err != nil || got != c.want {
			t.Errorf("%s of %v: %s, %v, want %s", c.text, c.typ, got, err, c.want)
		}
	}
}

// Types that nothing vouches for are read and printed as bytes.
func TestOddTypes(t *testing.T) {
	loop := &btf.Typedef{Name: "loop"}
	loop.Type = loop
	deep := btf.Type(u8)
	wide := btf.Type(u32)
	for range 100 {
		deep = &btf.Struct{Size: 1, Members: []btf.Member{{Name: "x", Type: deep}}}
		wide = &btf.Union{Size: 4, Members: []btf.Member{{Type: wide}, {Name: "x", Type: wide}}}
	}
	for _, typ := range []btf.Type{
		nil, loop, deep, wide, &btf.Void{}, &btf.Func{}, &btf.Int{Size: 3}, &btf.Fwd{},
		&btf.Struct{Size: 4, Members: []btf.Member{{Name: "far", Type: u64, Offset: 1 << 20}}},
		&btf.Struct{Size: 4, Members: []btf.Member{{Name: "bits", Type: u32, Offset: 30, BitfieldSize: 60}}},
		&btf.Struct{Size: 4, Members: []btf.Member{{Name: "odd", Type: u16, Offset: 3}}},
		&btf.Array{Type: u64, Nelems: 1 << 31}, &btf.Array{Type: &btf.Struct{}, Nelems: 1 << 31},
	} {
		for _, text := range []string{`"01 02 03 04"`, `[1,2,3,4]`, `67305985`} {
			b, err := ParseValue(text, typ, 4)
			if err != nil || string(b) != "\x01\x02\x03\x04" {
				t.Errorf("%v: %s: %x, %v", typ, text, b, err)
			}
		}
		if b, err := ParseValue(`{"far":1,"bits":1,"x":{}}`, typ, 4); err == nil {
			t.Errorf("%v: %x, want an error", typ, b)
		}
		if got := string(printer{}.whole(nil, sound(typ, 4), []byte{1, 2, 3, 4})); got != `"01 02 03 04"` {
			t.Errorf("%v: %s", typ, got)
		}
	}
}

// A source of choices for a generator: bytes, zero past their end.
type choices struct {
	data    []byte
	noFloat bool // bpftool prints none
}

func (c *choices) byte() byte {
	if len(c.data) == 0 {
		return 0
	}
	b := c.data[0]
	c.data = c.data[1:]
	return b
}

func (c *choices) below(n int) int { return int(c.byte()) % n }

// typ returns a random type of any form that C has, of at most the given depth.
func (c *choices) typ(depth int) btf.Type {
	ints := []btf.Type{u8, char, s16, u16, u32, u64, u128, truth, be32,
		&btf.Int{Name: "char", Size: 1, Encoding: btf.Signed}, &btf.Int{Size: 8, Encoding: btf.Signed},
		&btf.Int{Size: 16, Encoding: btf.Signed}, &btf.Typedef{Name: "__be16", Type: u16}}
	kinds := 7
	if depth == 0 {
		kinds = 4
	}
	switch c.below(kinds) {
	case 0:
		return ints[c.below(len(ints))]
	case 1:
		e := &btf.Enum{Size: 1 << c.below(4), Signed: c.below(2) == 0}
		for i := range c.below(4) {
			e.Values = append(e.Values, btf.EnumValue{Name: fmt.Sprintf("E%d", i), Value: uint64(int8(c.byte()))})
		}
		return e
	case 2:
		if c.noFloat {
			return u64
		}
		return &btf.Float{Size: 4 << c.below(2)}
	case 3:
		return []btf.Type{&btf.Pointer{Target: u8}, name8, mac, &btf.Const{Type: &btf.Typedef{Name: "t", Type: u32}}}[c.below(4)]
	case 4:
		a := &btf.Array{Index: u32, Type: c.typ(depth - 1), Nelems: uint32(c.below(4))}
		if n, _ := sizeOf(a.Type); n == 0 {
			a.Nelems = 0
		}
		return a
	case 5:
		return c.compound(depth, true)
	}
	s := c.compound(depth, false)
	return &btf.Struct{Name: "s", Size: s.(*btf.Union).Size, Members: s.(*btf.Union).Members}
}

// compound returns a union, or a struct whose members follow each other with gaps
// between them.
func (c *choices) compound(depth int, union bool) btf.Type {
	u := &btf.Union{Name: "u"}
	for i := range c.below(5) {
		m := btf.Member{Name: fmt.Sprintf("m%d_%d", depth, i)}
		at := btf.Bits(u.Size) * 8
		if union {
			at = 0
		}
		if m.Offset = at; c.below(4) == 0 {
			m.Type, m.BitfieldSize = u64, btf.Bits(1+c.below(64))
			if c.below(2) == 0 {
				m.Type = &btf.Int{Size: 8, Encoding: btf.Signed}
			}
			m.Offset += btf.Bits(c.below(8))
		} else {
			m.Type = c.typ(depth - 1)
			if membersOf(m.Type) != nil && c.below(2) == 0 && !slices.ContainsFunc(u.Members, func(o btf.Member) bool { return o.Name == "" }) {
				m.Name = "" // one only: names within must not be there twice
			}
			if !union {
				m.Offset += btf.Bits(8 * c.below(3))
			}
		}
		size := uint32(m.BitfieldSize)
		if size == 0 {
			n, _ := sizeOf(m.Type)
			size = 8 * uint32(n)
		}
		u.Size = max(u.Size, (uint32(m.Offset)+size+7)/8)
		u.Members = append(u.Members, m)
	}
	return u
}

// checkRoundTrip prints the bytes of a value in each form and reads them again.
func checkRoundTrip(t *testing.T, typ btf.Type, b []byte) {
	t.Helper()
	typ = sound(typ, len(b))
	own := string(printer{}.whole(nil, typ, b))
	if again, err := parseWord(own, typ, len(b)); err != nil || !bytes.Equal(again, b) {
		t.Fatalf("%v: % x: %s: % x, %v", typ, b, own, again, err)
	}
	// Bpftool's form does not show every byte, but it contradicts none.
	m := newImage(len(b))
	s := scanner{s: string(printer{bpftool: true}.whole(nil, typ, b))}
	n, err := s.value(0)
	if err == nil {
		err = readValue(&n, typ, m, true)
	}
	if err != nil {
		t.Fatalf("%v: % x: %s: %v", typ, b, s.s, err)
	}
	for i, g := range m.given {
		if g&(m.bytes[i]^b[i]) != 0 {
			t.Fatalf("%v: % x: %s: % x", typ, b, s.s, m.bytes)
		}
	}
}

// TestRoundTrip prints and reads random values of random types.
func TestRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		data := make([]byte, 200)
		for i := range data {
			data[i] = byte(rnd.Uint32())
		}
		c := &choices{data: data}
		typ := c.typ(3)
		size, err := sizeOf(typ)
		if err != nil || sound(typ, size) == nil {
			t.Fatalf("%v is not sound: %v", typ, err)
		}
		value := make([]byte, size)
		switch rnd.UintN(4) { // zero, small numbers, and any bytes
		case 0:
		case 1:
			for i := 0; i+8 <= size; i += 8 {
				binary.LittleEndian.PutUint64(value[i:], rnd.Uint64N(100))
			}
		default:
			for i := range value {
				value[i] = byte(rnd.Uint32())
			}
		}
		checkRoundTrip(t, typ, value)
	}
}

// FuzzValue reads any text by a type of any shape.
func FuzzValue(f *testing.F) {
	f.Add(`{"m0_0":1,"":{"m1_1":[1,2,"x"]}}`, []byte{6, 4, 1, 2, 3})
	f.Add(`"0x0a 00"`, []byte{0, 4})
	f.Add(`10.0.0.1`, []byte{0, 8})
	f.Fuzz(func(t *testing.T, text string, data []byte) {
		c := &choices{data: data}
		typ := c.typ(3)
		size, err := sizeOf(typ)
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range []btf.Type{typ, nil} {
			b, err := ParseValue(text, of, size)
			if err == nil && len(b) != size {
				t.Fatalf("%d bytes, want %d", len(b), size)
			}
			if err == nil {
				checkRoundTrip(t, of, b)
			} else if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
		}
	})
}
