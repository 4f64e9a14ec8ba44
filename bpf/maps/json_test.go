package maps

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

func ExampleParseValue() {
	limit := &btf.Struct{Name: "limit", Size: 8, Members: []btf.Member{
		{Name: "rate", Type: &btf.Int{Size: 4}},
		{Name: "source", Type: &btf.Typedef{Name: "__be32", Type: &btf.Int{Size: 4}}, Offset: 32},
	}}
	b, err := ParseValue(`{"rate": 1000, "source": "10.0.0.1"}`, limit, 8)
	fmt.Printf("% x %v\n", b, err)
	_, err = ParseValue(`{"rate": -1}`, limit, 8)
	fmt.Println(err)
	// Output:
	// e8 03 00 00 0a 00 00 01 <nil>
	// rate: -1 does not fit into 4 bytes: the range is 0 to 4294967295
}

func ExampleCodec() {
	spec := &ebpf.MapSpec{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 2, MaxEntries: 16, Value: &btf.Int{Size: 2}}
	c := NewCodec(spec, 1)
	file := `[{"key": "10.0.0.0/8", "value": 7},
	         {"key": "10.0.0.0/33", "value": 8}]`
	for e, err := range c.Entries(strings.NewReader(file)) {
		if err != nil {
			fmt.Println(err)
			break
		}
		fmt.Printf("%s\n", c.Append(nil, e, Own))
		fmt.Printf("%s\n", c.Append(nil, e, JSON))
	}
	// Output:
	// {"key":"08 00 00 00 0a 00 00 00","value":7}
	// {"key":["0x08","0x00","0x00","0x00","0x0a","0x00","0x00","0x00"],"value":["0x07","0x00"],"formatted":{"key":["0x08","0x00","0x00","0x00","0x0a","0x00","0x00","0x00"],"value":7}}
	// 2:19: entry 1: key: "10.0.0.0/33" is no prefix, such as 10.0.0.0/8
}

// TestForms writes random maps of every kind in every form and reads them again.
func TestForms(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	for _, typ := range []ebpf.MapType{
		ebpf.Array, ebpf.PerCPUArray, ebpf.Hash, ebpf.LRUHash, ebpf.PerCPUHash, ebpf.LRUCPUHash, ebpf.LPMTrie, ebpf.Queue, ebpf.Stack,
		ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.DevMap, ebpf.DevMapHash, ebpf.CPUMap, ebpf.XSKMap,
	} {
		for _, value := range []btf.Type{nil, u32, be32, s32, color, rule, name8, u128} {
			spec := &ebpf.MapSpec{Name: "m", Type: typ, KeySize: 4, ValueSize: 4, MaxEntries: 8}
			switch {
			case typ == ebpf.LPMTrie:
				spec.KeySize, spec.Flags = 8, NoPrealloc
			case typ == ebpf.Queue || typ == ebpf.Stack:
				spec.KeySize = 0
			case rnd.UintN(2) == 0:
				spec.Key = []btf.Type{u32, be32, color}[rnd.UintN(3)]
			}
			if !isTarget(typ) && value != nil {
				n, _ := sizeOf(value)
				spec.Value, spec.ValueSize = value, uint32(n)
			}
			checkForms(t, rnd, spec)
		}
	}
}

func checkForms(t *testing.T, rnd *rand.Rand, spec *ebpf.MapSpec) {
	t.Helper()
	opt := &Options{CPUs: 3}
	m := open(t, spec, opt)
	for i := range 4 {
		key := le(int(spec.KeySize), uint64(i))
		value := make([]byte, HostValueSize(m))
		for i := range value {
			if value[i] = byte(rnd.Uint32()); isTarget(spec.Type) && i > 0 || isPerCPU(spec.Type) && i%stride(spec) >= int(spec.ValueSize) {
				value[i] = 0
			}
		}
		if spec.KeySize == 0 {
			key = nil
		}
		if err := m.UpdateAll(key, value, Any); err != nil {
			t.Fatalf("%v: %v", spec, err)
		}
	}
	want, err := DumpJSON(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []Form{Own, JSON, Plain} {
		var lines []string
		for e := range contents(m) {
			lines = append(lines, string(codecOf(m).Append(nil, e, form)))
		}
		_, typed := codecOf(m).Typed()
		text := strings.Join(lines, "")
		switch {
		case form == Plain && typed:
			continue // shows less: TestRoundTrip
		case form != Plain:
			text = "[" + strings.Join(lines, ",") + "]"
		}
		again := open(t, spec, opt)
		if err := LoadJSON(again, strings.NewReader(text)); err != nil {
			t.Errorf("%v, form %d: %v\n%s", spec, form, err, text)
			continue
		}
		if got, err := DumpJSON(again); err != nil || string(got) != string(want) {
			t.Errorf("%v, form %d: %v\n%s, want\n%s", spec, form, err, got, want)
		}
	}
}

// TestEntries reads texts as entries in hex, or an error in brackets.
func TestEntries(t *testing.T) {
	hash := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 2, MaxEntries: 9, Key: u32, Value: u16}
	bare := &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 2, MaxEntries: 9}
	percpu := &ebpf.MapSpec{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 2, MaxEntries: 9, Key: u32, Value: u16}
	dev := &ebpf.MapSpec{Type: ebpf.DevMap, KeySize: 4, ValueSize: 4, MaxEntries: 9}
	queue := &ebpf.MapSpec{Type: ebpf.Queue, ValueSize: 2, MaxEntries: 9}
	rules := &ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 48, MaxEntries: 3, Value: rule}
	ring := &ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: 4096}
	cpuValue := &ebpf.MapSpec{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 4, MaxEntries: 1,
		Value: &btf.Struct{Size: 4, Members: []btf.Member{{Name: "cpu", Type: u16}, {Name: "value", Type: u16, Offset: 16}}}}
	for _, c := range []struct {
		spec       *ebpf.MapSpec
		text, want string
	}{
		{hash, ` [ {"key":1,"value":2} , {"key":3,"value":0x4} ] `, "01000000 0200, 03000000 0400"},
		{hash, "{\"key\":1,\"value\":2}\n{\"key\":3,\"value\":4}\n", "01000000 0200, 03000000 0400"},
		{hash, "[]", ""},
		{hash, `[{"key":1,"value":2},]`, "(1:22: ']' where a value should follow)"},
		{hash, `[,]`, "(1:2: ',' where a value should follow)"},
		{hash, `[{"key":1,"value":2} {"key":1,"value":2}]`, "(1:22: '{' where a comma or ']' should follow)"},
		{hash, `[{"key":1,"value":2}`, "(1:21: the text ends where a comma or ']' should follow)"},
		{hash, "\n\n  nonsense", "(3:3: 'n' where a list of entries, [...], should follow)"},
		{hash, `[7]`, "(1:2: 7 is no entry, an object with members key, value, values, formatted)"},
		{hash, `[{"key":1,"value":2,"flags":0}]`, `(1:21: unknown field "flags", there are key, value, values, formatted)`},
		{hash, "[{\"key\":1,\n\"key\":2,\"value\":2}]", `(2:1: member "key" is given twice, first at 1:3)`},
		{hash, `[{"key":1,"value":2},{"key":"01 00","value":2}]`, `(1:29: entry 1: key: "01 00" has 2 bytes, 4 wanted)`},
		{hash, strings.Repeat("[", 200), "(nested deeper than 100)"},
		{hash, `[{"key":tru,"value":2}]`, `(1:9: "tru" is none of true, false, null, a number, or text in quotes)`},
		{hash, `[{"key":"1,"value":2}]`, `('v' where a comma or '}' should follow)`},
		{hash, `[{"key":01,"value":2}]`, `(1:9: "01" is no number)`},
		{hash, "[{\"key\":\"\x80\",\"value\":2}]", `(1:9: "\"\x80\"" is no text of JSON)`},
		{rules, `[{"key":1,"value":{"parts":[1,2,3,256]}}]`, "(1:35: entry 0: value.parts[3]: 256 does not fit into 1 byte: the range is 0 to 255)"},
		{rules, `[{"key":3,"value":{}}]`, "(1:9: entry 0: key: index 3 is past the end: the map has 3 entries, 0 to 2)"},
		// Bytes and the same by type.
		{hash, `[{"key":["0x01","0x00","0x00","0x00"],"value":["0x02","0x00"],"formatted":{"key":1,"value":2}}]`, "01000000 0200"},
		{hash, `[{"formatted":{"key":1,"value":2}}]`, "01000000 0200"},
		{hash, `[{"key":1,"formatted":{"value":2}}]`, "01000000 0200"},
		{hash, `[{"key":["0x01","0x00","0x00","0x00"],"value":["0x02","0x00"],"formatted":{"key":1,"value":3}}]`,
			"(1:75: entry 0: formatted: it is another value than that of the bytes: take one out)"},
		{hash, `[{"key":["0x01","0x00","0x00","0x00"],"value":["0x02","0x00"],"formatted":{"key":2,"value":2}}]`,
			"(1:82: entry 0: formatted.key: 2 is another key than that of the bytes: take one out)"},
		{hash, `[{"key":1,"value":2,"formatted":{"key":1,"value":2,"formatted":{}}}]`, `(formatted: unknown field "formatted", there are key, value, values)`},
		{bare, `[{"key":["0x01","0x00","0x00","0x00"],"value":["0x02","0x00"],"formatted":{"key":{"a":1},"value":{}}}]`, "01000000 0200"},
		// Per-CPU maps, of two CPUs here.
		{percpu, `[{"key":1,"value":2}]`, "01000000 02000000000000000200000000000000"},
		{percpu, `[{"key":1,"values":[2]}]`, "01000000 02000000000000000000000000000000"},
		{percpu, `[{"key":1,"values":[2,3]}]`, "01000000 02000000000000000300000000000000"},
		{percpu, `[{"key":1,"values":[{"cpu":1,"value":3}]}]`, "01000000 00000000000000000300000000000000"},
		{percpu, `[{"key":1,"values":[{"cpu":0,"value":["0x02","0x00"]},{"cpu":1,"value":3}],"formatted":{"key":1,"values":[{"cpu":0,"value":2},{"cpu":1,"value":3}]}}]`,
			"01000000 02000000000000000300000000000000"},
		{percpu, `[{"key":1,"values":[2,3,0,0]}]`, "01000000 02000000000000000300000000000000"},
		{percpu, `[{"key":1,"values":[2,3,4]}]`, "(1:25: entry 0: values[2]: a value of CPU 2, the map has 2 CPUs)"},
		{percpu, `[{"key":1,"values":[{"cpu":0,"value":1},{"cpu":0,"value":1}]}]`, "(values[1]: CPU 0 has two values)"},
		{percpu, `[{"key":1,"values":[{"cpu":-1,"value":1}]}]`, "(values[0].cpu: -1 does not fit into 2 bytes: the range is 0 to 65535)"},
		{percpu, `[{"key":1,"values":[{"cpu":0,"valu":1}]}]`, `(values[0]: {"cpu":0,"valu":1} is no number)`},
		{percpu, `[{"key":1,"values":3}]`, "(values: 3 is no list of values, one for each CPU)"},
		{percpu, `[{"key":1,"value":1,"values":[3]}]`, "(entry 0: both value and values)"},
		{percpu, "key:\n01 00 00 00\nvalue (CPU 00): 02 00\nvalue (CPU 01): 03 00\nFound 1 element\n", "01000000 02000000000000000300000000000000"},
		{percpu, "key:\n01 00 00 00\nvalue (CPU x): 02 00\n", `(3:7: "(CPU x):" where (CPU 00): should follow)`},
		{cpuValue, `[{"key":0,"values":[{"cpu":1,"value":{"cpu":2,"value":3}}]}]`, "00000000 00000000000000000200030000000000"},
		{hash, `[{"key":1,"values":[3]}]`, "(1:20: entry 0: values are for per-CPU maps; a Hash has value)"},
		// Lines of bytes.
		{bare, "key: 01 00 00 00  value: 02 00\nkey: 03 00 00 00  value: 04 00\nFound 2 elements\n", "01000000 0200, 03000000 0400"},
		{bare, "key: 01 00 00 00  value: 02 00\nFound 2 elements\n", "(2:7: 1 elements are here, not 2: lines are missing)"},
		{bare, "key: 01 00 00 00  value: 02 00\nFound 1 element more", "(text after the number of elements)"},
		{bare, "key: 01 00 00 00\nkey: 01 00 00 00  value: 02 00\n", "(1:1: entry 0: no value)"},
		{bare, "key: 01 00 00 00  value: 02\n", `(1:26: entry 0: value: "02" has 1 byte, 2 wanted)`},
		{bare, "key: 01 00 00 00  value: 02 00\nnonsense", "(1:26: entry 0: value: no value was read (02 00 nonsense): take the entry out)"},
		{rules, "key:\n01 00 00 00\nvalue:\n" + strings.Repeat("00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00\n", 3) + "Found 1 element\n", "01000000 " + strings.Repeat("00", 48)},
		{queue, "value: 01 02\n", " 0102"},
		{queue, `{"key":[],"value":["0x01","0x02"]}`, " 0102"},
		{queue, `[{"key":1,"value":"01 02"}]`, "(1:9: entry 0: a Queue has no keys)"},
		// Elements that are not there.
		{dev, `[{"key":0,"value":{"error":"No such file or directory"}},{"key":1,"value":5}]`, "01000000 05000000"},
		{dev, "key: 00 00 00 00  value: <no entry>\nkey: 01 00 00 00  value: 05 00 00 00\nFound 1 element", "01000000 05000000"},
		{dev, `[{"key":0,"value":{"error":"Operation not supported"}}]`, "(entry 0: value: no value was read (Operation not supported): take the entry out)"},
		{dev, "key:\n00 00 00 00\nvalue:\nOperation not supported\nFound 0 elements", "(entry 0: value: no value was read (Operation not supported): take the entry out)"},
		{ring, `[{"value":1}]`, "(a ring buffer has no entries)"},
	} {
		var got []string
		var failed error
		for e, err := range NewCodec(c.spec, 2).Entries(strings.NewReader(c.text)) {
			if failed = err; err == nil {
				got = append(got, fmt.Sprintf("%x %x", e.Key, e.Value))
			}
		}
		if text, ok := strings.CutPrefix(c.want, "("); ok {
			if failed == nil || !strings.Contains(failed.Error(), strings.TrimSuffix(text, ")")) {
				t.Errorf("%s\n%v, %v, want error %s", c.text, got, failed, text)
			}
		} else if failed != nil || strings.Join(got, ", ") != c.want {
			t.Errorf("%s\n%v, %v, want %s", c.text, got, failed, c.want)
		}
	}
}

// TestFull says why a map takes no more.
func TestFull(t *testing.T) {
	for _, spec := range []*ebpf.MapSpec{
		{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 1, MaxEntries: 2},
		{Name: "m", Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 1, MaxEntries: 2, Flags: NoPrealloc},
		{Name: "m", Type: ebpf.Queue, ValueSize: 1, MaxEntries: 2},
	} {
		text := `[{"key":1,"value":1},{"key":2,"value":1},{"key":3,"value":1}]`
		switch spec.Type {
		case ebpf.LPMTrie:
			text = `[{"key":"1.0.0.0/8","value":1},{"key":"2.0.0.0/8","value":1},{"key":"3.0.0.0/8","value":1}]`
		case ebpf.Queue:
			text = `[{"value":1},{"value":1},{"value":1}]`
		}
		if err := LoadJSON(open(t, spec, nil), strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), "the map is full: it has room for 2") {
			t.Errorf("%v: %v", spec, err)
		}
	}
}

// The types of the specs that objects give are not always those of their sizes.
func TestTyped(t *testing.T) {
	for _, c := range []struct {
		spec       *ebpf.MapSpec
		key, value bool
	}{
		{&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4}, false, false},
		{&ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 4, Key: u32, Value: u64}, true, false},
		{&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 48, Value: rule}, false, true},
	} {
		if key, value := NewCodec(c.spec, 1).Typed(); key != c.key || value != c.value {
			t.Errorf("%v: %v, %v", c.spec, key, value)
		}
	}
}

// FuzzLoadJSON reads any text into maps of several kinds; the dump of what was
// read is the same map.
func FuzzLoadJSON(f *testing.F) {
	f.Add([]byte(`[{"key":"10.0.0.0/8","value":[1,"0x2",3]},{"key":1,"values":[1,2]}]`), uint8(0))
	f.Add([]byte(`{"key":1,"values":[{"cpu":1,"value":2}],"formatted":{"key":1}}`), uint8(1))
	f.Add([]byte("key: 01 00 00 00  value: 02 00 00 00 00 00 00 00\nFound 1 element"), uint8(3))
	f.Add([]byte("value (CPU 01): 02 00"), uint8(1))
	f.Add([]byte(`[{"key":1,"value":{"":{"whole":5},"name":"x","low":"0x5"}}]`), uint8(4))
	f.Fuzz(func(t *testing.T, text []byte, kind uint8) {
		specs := []*ebpf.MapSpec{
			{Type: ebpf.LPMTrie, KeySize: 8, ValueSize: 3, MaxEntries: 4, Flags: NoPrealloc},
			{Type: ebpf.PerCPUHash, KeySize: 4, ValueSize: 8, MaxEntries: 4},
			{Type: ebpf.Queue, ValueSize: 8, MaxEntries: 4},
			{Type: ebpf.DevMapHash, KeySize: 4, ValueSize: 8, MaxEntries: 4},
			{Type: ebpf.Array, KeySize: 4, ValueSize: 48, MaxEntries: 4, Value: rule},
			{Type: ebpf.PerCPUArray, KeySize: 4, ValueSize: 48, MaxEntries: 4, Key: color, Value: rule},
		}
		m := open(t, specs[int(kind)%len(specs)], &Options{CPUs: 2})
		if err := LoadJSON(m, strings.NewReader(string(text))); err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Fatalf("%q", err)
			}
			return
		}
		dump, err := DumpJSON(m)
		if err != nil {
			t.Fatal(err)
		}
		again := open(t, m.Spec(), &Options{CPUs: 2})
		if err := LoadJSON(again, strings.NewReader(string(dump))); err != nil {
			t.Fatalf("%v\n%s", err, dump)
		}
		if second, _ := DumpJSON(again); !slices.Equal(dump, second) {
			t.Fatalf("%s, want\n%s", second, dump)
		}
	})
}
