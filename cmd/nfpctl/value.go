package main

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/offload"
)

// This file parses keys and values on the command line, which are bytes in bpftool's
// syntax:
//
// 	key 10 0 0 1            decimal, or 0x0a
// 	key hex 0a 00 00 01
//
// or one word for all of them, which bpf/maps parses.

// codecOf returns the codec of a map, by the types of the file of --types or of the
// object that loaded it.
func (e *env) codecOf(o *opened) (*maps.Codec, error) {
	key, value, err := e.typesOf(o)
	if err != nil {
		return nil, err
	}
	shape := o.info.Shape
	spec := &ebpf.MapSpec{KeySize: shape.Key, ValueSize: shape.Value, MaxEntries: shape.Entries, Key: key, Value: value}
	if spec.Type, err = offload.ParseMapType(shape.Type); err != nil {
		spec.Type = ebpf.UnspecifiedMap // of a kernel newer than this program
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil && strings.Contains(shape.Type, "percpu") {
		return nil, &offload.Error{Op: "read", Object: "map " + o.info.Name, Reason: "unexpected", Msg: err.Error(), Err: err}
	}
	return maps.NewCodec(spec, cpus), nil
}

// typesOf returns a map's types, or nil if they are unknown.
func (e *env) typesOf(o *opened) (key, value btf.Type, err error) {
	var data []byte
	var settings offload.Settings
	name := o.owner.name
	switch {
	case e.types != "":
		s, err := readSource(nil, e.types)
		if err != nil {
			return nil, nil, err
		}
		data = s.data
		if s.program != "" {
			name = s.program
		}
		if name == "" {
			name = o.info.Name
		}
	case o.owner.generation != nil && len(o.owner.generation.Deployment.Object) > 0: // a rebuilt journal may lack it
		data, settings = o.owner.generation.Deployment.Object, o.owner.generation.Deployment.Settings
	default:
		return nil, nil, nil
	}
	coll, err := safely(data, settings)
	if err != nil {
		return nil, nil, &offload.Error{Op: "read types", Object: e.types, Reason: "bad-object", Msg: oneLine(err), Err: err}
	}
	spec := coll.Maps[name]
	if spec == nil && e.types != "" {
		for n, s := range coll.Maps { // the kernel's name is truncated
			if kernelName(n) == kernelName(name) {
				spec = s
			}
		}
	}
	if spec == nil {
		if e.types != "" {
			return nil, nil, &offload.Error{Op: "read types", Object: e.types, Reason: "bad-object", Msg: fmt.Sprintf("it has no map %.80q; FILE:MAP names another", name)}
		}
		return nil, nil, nil
	}
	return spec.Key, spec.Value, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// isKeyword reports whether s ends the bytes of a key or value.
func isKeyword(s string) bool {
	switch s {
	case "key", "value", "any", "exist", "noexist", "dev":
		return true
	}
	return false
}

// takeBytes parses a key or value of size bytes, up to the next keyword; word parses
// one that stands for all bytes.
func takeBytes(w *words, what string, size uint32, word func(string) ([]byte, error)) ([]byte, error) {
	var list []string
	for len(*w) > 0 && !isKeyword((*w)[0]) {
		list = append(list, w.next())
	}
	if len(list) == 0 {
		return nil, usagef("%s has no bytes", what)
	}
	b, err := bytesOf(list, int(size), word)
	if err != nil {
		return nil, usagef("%s: %w", what, err)
	}
	return b, nil
}

func bytesOf(list []string, size int, word func(string) ([]byte, error)) ([]byte, error) {
	base := 0
	if list[0] == "hex" {
		base, list = 16, list[1:]
	}
	if base == 16 && len(list) == 1 && len(list[0]) == 2*size {
		return hex.DecodeString(list[0])
	}
	if len(list) == 1 && base == 0 {
		return word(list[0])
	}
	if len(list) != size {
		return nil, fmt.Errorf("%s, the map has %d", counted(len(list), "byte"), size)
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
