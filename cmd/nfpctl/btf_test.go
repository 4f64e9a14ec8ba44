package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/cilium/ebpf/btf"
)

var (
	u8    = &btf.Int{Name: "unsigned char", Size: 1}
	char  = &btf.Int{Name: "char", Size: 1, Encoding: btf.Char}
	s16   = &btf.Int{Name: "short", Size: 2, Encoding: btf.Signed}
	u32   = &btf.Int{Name: "unsigned int", Size: 4}
	u64   = &btf.Int{Name: "unsigned long", Size: 8}
	truth = &btf.Int{Name: "_Bool", Size: 1, Encoding: btf.Bool}
	color = &btf.Enum{Name: "color", Size: 4, Values: []btf.EnumValue{{Name: "RED", Value: 1}, {Name: "BLUE", Value: 2}}}
	name8 = &btf.Array{Index: u32, Type: char, Nelems: 8}
	addr  = &btf.Typedef{Name: "__be32", Type: u32}
)

// rule is a struct with one of everything.
var rule = &btf.Struct{Name: "rule", Size: 48, Members: []btf.Member{
	{Name: "packets", Type: &btf.Volatile{Type: u64}},
	{Name: "addr", Type: addr, Offset: 8 * 8},
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

// parse is a JSON text as the command line has it.
func parse(t testing.TB, text string) any {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestTypedValue(t *testing.T) {
	const text = `{"packets":18446744073709551615,"addr":16777226,"delta":-3,"on":true,"c":"x","color":"BLUE","low":5,"high":300,` +
		`"name":"edge","ports":[80,-1],"whole":67305985,"parts":[1,2,3,4],"next":"0x10"}`
	b := make([]byte, rule.Size)
	if err := encode(rule, parse(t, text), b); err != nil {
		t.Fatal(err)
	}
	v, err := decode(rule, b)
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(v)
	if err != nil || string(got) != text {
		t.Errorf("%v\n%s, want\n%s", err, got, text)
	}
	// Other ways to say the same.
	again := make([]byte, rule.Size)
	other := strings.NewReplacer("16777226", `"10.0.0.1"`, `"BLUE"`, "2", `"0x10"`, "16", "true", "1", `"x"`, "120", "67305985", `"0x4030201"`).Replace(text)
	if err := encode(rule, parse(t, other), again); err != nil || !bytes.Equal(b, again) {
		t.Errorf("%v: %x, want %x", err, again, b)
	}
}

func TestTypedErrors(t *testing.T) {
	for text, want := range map[string]string{
		`{"delta":40000}`:                  "",
		`{"delta":70000}`:                  "delta: 70000 does not fit into 2 byte(s)",
		`{"addr":-1}`:                      "addr: -1 does not fit into 4 byte(s)",
		`{"delta":-40000}`:                 "delta: -40000 does not fit into 2 byte(s)",
		`{"color":"GREEN"}`:                `color: "GREEN" is no number of 4 byte(s)`,
		`{"name":"far too long"}`:          "name: text of 12 bytes does not fit into 8",
		`{"ports":[1,2,3]}`:                "ports: [1,2,3] is no array of 2 or fewer",
		`{"ports":[1,{}]}`:                 "ports: element 1: {} is no number",
		`{"port":1}`:                       `no member "port", there are`,
		`7`:                                "7 is no object with members",
		`{"packets":18446744073709551616}`: "packets: ",
		`{"packets":1.5}`:                  `packets: "1.5" is no number of 8 byte(s)`,
		`{"on":null}`:                      "on: null is no number",
	} {
		err := encode(rule, parse(t, text), make([]byte, rule.Size))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// What decode shows of any bytes, encode makes these bytes of again, but for padding.
func TestTypedRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := make([]byte, rule.Size)
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		b[14] &= 1      // truth
		clear(b[24:32]) // text
		b[24] = 'a' + byte(rnd.UintN(26))
		b[21], b[22], b[23] = b[21]&0xf, 0, 0 // behind the bit fields
		v, err := decode(rule, b)
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, rule.Size)
		if err := encode(rule, parse(t, string(text)), got); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%v: %s: %x, want %x", err, text, got, b)
		}
	}
}

// Types that nobody vouches for end in an error.
func TestOddTypes(t *testing.T) {
	loop := &btf.Typedef{Name: "loop"}
	loop.Type = loop
	deep := btf.Type(u8)
	for range 100 {
		deep = &btf.Struct{Size: 1, Members: []btf.Member{{Name: "x", Type: deep}}}
	}
	for _, typ := range []btf.Type{
		nil, loop, deep, &btf.Void{}, &btf.Func{}, &btf.Int{Size: 3}, &btf.Fwd{},
		&btf.Struct{Size: 4, Members: []btf.Member{{Name: "far", Type: u64, Offset: 1 << 20}}},
		&btf.Struct{Size: 4, Members: []btf.Member{{Name: "bits", Type: u32, Offset: 30, BitfieldSize: 60}}},
		&btf.Array{Type: u64, Nelems: 1 << 31},
	} {
		if v, err := decode(typ, make([]byte, 4)); err == nil {
			t.Errorf("%v: %v, want an error", typ, v)
		}
		if err := encode(typ, map[string]any{"far": json.Number("1"), "bits": json.Number("1"), "x": map[string]any{}}, make([]byte, 4)); err == nil {
			t.Errorf("%v: no error", typ)
		}
		if fits(typ, 4) && typ != nil {
			if _, err := decode(typ, make([]byte, 4)); err == nil {
				t.Errorf("%v: fits", typ)
			}
		}
	}
}

func TestBytes(t *testing.T) {
	for _, c := range []struct {
		words string
		size  int
		typ   btf.Type
		want  string // hex, or an error in brackets
	}{
		{"10 0 0 1", 4, nil, "0a000001"},
		{"0x0a 0 0 0x01", 4, nil, "0a000001"},
		{"hex 0a 00 00 01", 4, nil, "0a000001"},
		{"hex 0a000001", 4, nil, "0a000001"},
		{"10.0.0.1", 4, nil, "0a000001"},
		{"::1", 16, nil, "00000000000000000000000000000001"},
		{"258", 4, nil, "02010000"},
		{"-1", 2, nil, "ffff"},
		{"7", 1, nil, "07"},
		{"RED", 4, color, "01000000"},
		{`"BLUE"`, 4, color, "02000000"},
		{"edge", 8, name8, "6564676500000000"},
		{"{}", 48, rule, strings.Repeat("00", 48)},
		{"256 0", 2, nil, "(is no byte)"},
		{"1 2 3", 4, nil, "(3 byte(s), the map has 4)"},
		{"70000", 2, nil, "(does not fit)"},
		{"::1", 4, nil, "(is no number)"},
		{"1", 12, nil, "(number of 12 bytes)"},
		{"-1", 12, nil, "(is no number of 12 byte(s))"},
		{"hex", 4, nil, "(0 byte(s)"},
		{"{", 48, rule, "(is no object)"},
	} {
		b, err := bytesOf(strings.Fields(c.words), c.size, c.typ)
		if text, ok := strings.CutPrefix(c.want, "("); ok {
			if err == nil || !strings.Contains(err.Error(), strings.TrimSuffix(text, ")")) {
				t.Errorf("%s of %d: %x, %v, want error %s", c.words, c.size, b, err, text)
			}
			continue
		}
		if got := strings.ReplaceAll(spaced(b), " ", ""); err != nil || got != c.want {
			t.Errorf("%s of %d: %s, %v, want %s", c.words, c.size, got, err, c.want)
		}
	}
}
