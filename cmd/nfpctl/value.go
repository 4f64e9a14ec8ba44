package main

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/offload"
)

// A key or value on the command line is bytes, as bpftool has them:
//
//	key 10 0 0 1            decimal, or 0x0a
//	key hex 0a 00 00 01
//
// or one word that stands for all of them: a number in host order, an IP address in
// network order, or JSON, where an object's BTF says what the members are.

// mapTypes are what an object says of a map's keys and values; each may be nil.
type mapTypes struct{ key, value btf.Type }

// typesOf finds a map's types: in the file of --types, or the object that loaded it.
func (e *env) typesOf(o *opened) (*mapTypes, error) {
	var data []byte
	name := o.owner.name
	switch {
	case e.types != "":
		s, err := readSource(nil, e.types)
		if err != nil {
			return nil, err
		}
		data = s.data
		if s.program != "" {
			name = s.program
		}
		if name == "" {
			name = o.info.Name
		}
	case o.owner.generation != nil:
		data = o.owner.generation.Deployment.Object
	default:
		return &mapTypes{}, nil
	}
	coll, err := safely(data)
	if err != nil {
		return nil, &offload.Error{Op: "read types", Object: e.types, Reason: "bad-object", Msg: oneLine(err), Err: err}
	}
	spec := coll.Maps[name]
	if spec == nil && e.types != "" {
		for n, s := range coll.Maps { // the kernel's name is cut off
			if kernelName(n) == kernelName(name) {
				spec = s
			}
		}
	}
	if spec == nil {
		if e.types != "" {
			return nil, &offload.Error{Op: "read types", Object: e.types, Reason: "bad-object", Msg: fmt.Sprintf("it has no map %.80q; FILE:MAP names another", name)}
		}
		return &mapTypes{}, nil
	}
	t := &mapTypes{}
	if fits(spec.Key, o.info.Shape.Key) {
		t.key = spec.Key
	}
	if fits(spec.Value, o.info.Shape.Value) {
		t.value = spec.Value
	}
	return t, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// parseAddress reads an IP address of size bytes.
func parseAddress(s string, size int) ([]byte, bool) {
	if size != 4 && size != 16 || !strings.ContainsAny(s, ".:") {
		return nil, false
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.BitLen() != 8*size {
		return nil, false
	}
	return a.AsSlice(), true
}

// isKeyword ends the bytes of a key or value.
func isKeyword(s string) bool {
	switch s {
	case "key", "value", "any", "exist", "noexist", "dev":
		return true
	}
	return false
}

// parseBytes reads a key or value of size bytes from words up to the next keyword.
func parseBytes(w *words, what string, size int, t btf.Type) ([]byte, error) {
	var list []string
	for len(*w) > 0 && !isKeyword((*w)[0]) {
		list = append(list, w.next())
	}
	if len(list) == 0 {
		return nil, usagef("%s has no bytes", what)
	}
	b, err := bytesOf(list, size, t)
	if err != nil {
		return nil, usagef("%s: %w", what, err)
	}
	return b, nil
}

func bytesOf(list []string, size int, t btf.Type) ([]byte, error) {
	base := 0
	if list[0] == "hex" {
		base, list = 16, list[1:]
	}
	if base == 16 && len(list) == 1 && len(list[0]) == 2*size {
		return hex.DecodeString(list[0])
	}
	if len(list) == 1 && base == 0 && (size != 1 || t != nil) {
		return oneWord(list[0], size, t)
	}
	if len(list) != size {
		return nil, fmt.Errorf("%d byte(s), the map has %d", len(list), size)
	}
	b := make([]byte, size)
	for i, word := range list {
		text := word
		if base == 16 {
			text = strings.TrimPrefix(word, "0x")
		}
		n, err := strconv.ParseUint(text, base, 8)
		if err != nil {
			return nil, fmt.Errorf("%.40q is no byte", word)
		}
		b[i] = byte(n)
	}
	return b, nil
}

// oneWord reads one word that stands for size bytes.
func oneWord(word string, size int, t btf.Type) ([]byte, error) {
	b := make([]byte, size)
	if t == nil {
		return b, encodeText(word, b, true)
	}
	var v any = word
	if strings.ContainsAny(word[:min(1, len(word))], `{["-0123456789tf`) {
		d := json.NewDecoder(strings.NewReader(word))
		d.UseNumber()
		if err := d.Decode(&v); err != nil || d.More() {
			v = word
		}
	}
	return b, encode(t, v, b)
}

// hexBytes print as bpftool's JSON has bytes: ["0x0a","0x00"].
type hexBytes []byte

func (h hexBytes) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+7*len(h))
	b = append(b, '[')
	for i, c := range h {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"', '0', 'x', hexDigits[c>>4], hexDigits[c&15], '"')
	}
	return append(b, ']'), nil
}

// spaced is "0a 00 00 01", with one more space behind each 8 bytes, as bpftool has it.
func spaced(b []byte) string {
	text := make([]byte, 0, 3*len(b)+len(b)/8)
	for i, c := range b {
		if i > 0 {
			text = append(text, ' ')
		}
		if i > 0 && i%8 == 0 {
			text = append(text, ' ')
		}
		text = append(text, hexDigits[c>>4], hexDigits[c&15])
	}
	return string(text)
}

const hexDigits = "0123456789abcdef"

// entry is one of a map as JSON has it.
type entry struct {
	Key       hexBytes   `json:"key"`
	Value     hexBytes   `json:"value,omitempty"`
	Values    []cpuValue `json:"values,omitempty"` // per-CPU maps
	Formatted *formatted `json:"formatted,omitempty"`
}

type cpuValue struct {
	CPU   int      `json:"cpu"`
	Value hexBytes `json:"value"`
}

// formatted is an entry with types.
type formatted struct {
	Key    any   `json:"key"`
	Value  any   `json:"value,omitempty"`
	Values []any `json:"values,omitempty"`
}

// perCPU cuts a value into one for each CPU; nil for maps that have one for all.
func (o *opened) perCPU(value []byte) [][]byte {
	switch o.info.Shape.Type {
	case "percpu_hash", "percpu_array", "lru_percpu_hash":
	default:
		return nil
	}
	size := int(o.info.Shape.Value)
	step := (size + 7) &^ 7
	var all [][]byte
	for step > 0 && len(value) >= step {
		all = append(all, value[:size])
		value = value[step:]
	}
	return all
}

// typed is an entry by its types; nil where they are not known.
func (o *opened) typed(key, value []byte) *formatted {
	if o.types.value == nil {
		return nil
	}
	f := &formatted{}
	var err error
	switch {
	case o.types.key != nil:
		f.Key, err = decode(o.types.key, key)
	default:
		f.Key = hexBytes(key)
	}
	cpus := o.perCPU(value)
	if err == nil && cpus == nil {
		f.Value, err = decode(o.types.value, value)
	}
	for i, v := range cpus {
		var one any
		if one, err = decode(o.types.value, v); err != nil {
			break
		}
		f.Values = append(f.Values, fields{{"cpu", i}, {"value", one}})
	}
	if err != nil {
		return nil
	}
	return f
}

// entry is a key and value for JSON.
func (o *opened) entry(key, value []byte) entry {
	e := entry{Key: hexBytes(key), Formatted: o.typed(key, value)}
	cpus := o.perCPU(value)
	if cpus == nil {
		e.Value = hexBytes(value)
	}
	for i, v := range cpus {
		e.Values = append(e.Values, cpuValue{i, hexBytes(v)})
	}
	return e
}

// appendText is a key and value for people: bytes, or JSON where the types are known.
func (o *opened) appendText(b *bytes.Buffer, key, value []byte) {
	if f := o.typed(key, value); f != nil {
		enc := json.NewEncoder(b)
		enc.SetEscapeHTML(false)
		if enc.Encode(f) == nil { // ends with a line break
			return
		}
	}
	cpus := o.perCPU(value)
	if cpus == nil {
		for _, part := range []string{"key: ", spaced(key), "  value: ", spaced(value), "\n"} {
			b.WriteString(part)
		}
		return
	}
	fmt.Fprintf(b, "key: %s\n", spaced(key))
	for i, v := range cpus {
		fmt.Fprintf(b, "value (CPU %02d): %s\n", i, spaced(v))
	}
}

// fileEntry is one entry of a file: bytes as dump prints them, or formatted, or plain
// numbers and texts.
type fileEntry struct {
	Key       json.RawMessage `json:"key"`
	Value     json.RawMessage `json:"value"`
	Formatted *struct {
		Key   json.RawMessage `json:"key"`
		Value json.RawMessage `json:"value"`
	} `json:"formatted"`
}

// parseEntry reads the bytes of a file's key or value.
func parseEntry(raw json.RawMessage, size int, t btf.Type) ([]byte, error) {
	if len(raw) == 0 {
		return nil, fmt.Errorf("it is missing")
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if list, ok := v.([]any); ok && len(list) == size { // bytes, in any type
		b := make([]byte, 0, size)
		for _, e := range list {
			n, err := strconv.ParseUint(fmt.Sprint(e), 0, 8)
			if err != nil {
				break
			}
			b = append(b, byte(n))
		}
		if len(b) == size {
			return b, nil
		}
	}
	b := make([]byte, size)
	if t != nil {
		return b, encode(t, v, b)
	}
	switch v := v.(type) {
	case json.Number:
		return b, encodeText(v.String(), b, true)
	case string:
		if h, err := hex.DecodeString(strings.ReplaceAll(v, " ", "")); err == nil && len(h) == size {
			return h, nil
		}
		return b, encodeText(v, b, true)
	}
	return nil, fmt.Errorf("%s is not %d byte(s)", show(v), size)
}
