package object

import (
	"fmt"
	"slices"
)

// This file changes BTF as bytes, before cilium/ebpf reads it, since the reader
// of cilium/ebpf gives no access to BTF that it refuses. The layout is that of
// Linux, Documentation/bpf/btf.rst.

// A rawBTF is the contents of section .BTF.
type rawBTF struct {
	header  []byte
	types   [][]byte // type i+1's record, with all that follows its head
	strings []byte
	changed bool
}

const (
	btfMagic     = 0xeb9f
	btfHead      = 12 // bytes of a record before what its kind adds
	btfMember    = 12
	kindPtr      = 2
	kindArray    = 3
	kindStruct   = 4
	kindTypedef  = 8
	kindVolatile = 9
	kindConst    = 10
	kindRestrict = 11
	kindVar      = 14
	kindDatasec  = 15
)

// extra returns the bytes that follow the head of a record, -1 if its kind is
// unknown.
func extra(kind, n int) int {
	switch kind {
	case 1, kindVar, 17: // int, var, declaration tag
		return 4
	case kindArray:
		return 12
	case kindStruct, 5, kindDatasec, 19: // union, 64-bit enum
		return 12 * n
	case 6, 13: // enum, function prototype
		return 8 * n
	case kindPtr, 7, kindTypedef, kindVolatile, kindConst, kindRestrict, 12, 16, 18: // forward, function, float, type tag
		return 0
	}
	return -1
}

func record(b []byte) (kind, n int) {
	info := le.Uint32(b[4:])
	return int(info >> 24 & 0x1f), int(info & 0xffff)
}

// readBTF reads section .BTF. It removes those fields of map definitions that describe
// only how a host keeps the map.
func (m *mender) readBTF() {
	for i := range m.file.sections {
		if s := &m.file.sections[i]; s.name == ".BTF" && s.Size > 0 {
			m.btf = parseBTF(m.file.data[s.Off : s.Off+s.Size])
		}
	}
	if m.btf == nil {
		return
	}
	for _, v := range m.btf.maps() {
		m.dropNodes(v.name, v.def, 0)
	}
}

func parseBTF(b []byte) *rawBTF {
	if len(b) < 24 || le.Uint16(b) != btfMagic {
		return nil
	}
	head := uint64(le.Uint32(b[4:]))
	part := func(at int) []byte {
		off, size := head+uint64(le.Uint32(b[at:])), uint64(le.Uint32(b[at+4:]))
		if head < 24 || off > uint64(len(b)) || size > uint64(len(b))-off {
			return nil
		}
		return b[off : off+size]
	}
	types, strs := part(8), part(16)
	if types == nil || strs == nil {
		return nil
	}
	r := &rawBTF{header: slices.Clone(b[:head]), strings: strs}
	for len(types) > 0 {
		if len(types) < btfHead {
			return nil
		}
		size := btfHead
		if n := extra(record(types)); n >= 0 {
			size += n
		} else {
			return nil
		}
		if size > len(types) {
			return nil
		}
		r.types = append(r.types, slices.Clone(types[:size]))
		types = types[size:]
	}
	return r
}

// typ returns the record of a type after following qualifiers and typedefs, nil
// if there is none.
func (r *rawBTF) typ(id uint32) []byte {
	for range 16 {
		if id == 0 || uint64(id) > uint64(len(r.types)) {
			return nil
		}
		t := r.types[id-1]
		switch kind, _ := record(t); kind {
		case kindTypedef, kindVolatile, kindConst, kindRestrict:
			id = le.Uint32(t[8:])
		default:
			return t
		}
	}
	return nil
}

func (r *rawBTF) str(off uint32) string {
	if uint64(off) >= uint64(len(r.strings)) {
		return ""
	}
	s := r.strings[off:]
	if i := slices.Index(s, 0); i >= 0 {
		return string(s[:i])
	}
	return ""
}

// A btfMapDef is a variable of section .maps: its name and the id of its type.
type btfMapDef struct {
	name string
	def  uint32
}

func (r *rawBTF) maps() []btfMapDef {
	var all []btfMapDef
	for _, t := range r.types {
		kind, n := record(t)
		if kind != kindDatasec || r.str(le.Uint32(t)) != ".maps" {
			continue
		}
		for i := range n {
			id := le.Uint32(t[btfHead+12*i:])
			if id == 0 || uint64(id) > uint64(len(r.types)) {
				continue
			}
			if v := r.types[id-1]; len(v) == btfHead+4 {
				all = append(all, btfMapDef{r.str(le.Uint32(v)), le.Uint32(v[8:])})
			}
		}
	}
	return all
}

// dropNodes removes numa_node, the host node that holds the map, from a definition and
// from those of its inner maps.
func (m *mender) dropNodes(name string, def uint32, depth int) {
	r := m.btf
	t := r.typ(def)
	if t == nil || depth > 2 {
		return
	}
	if kind, _ := record(t); kind != kindStruct {
		return
	}
	id := slices.IndexFunc(r.types, func(b []byte) bool { return &b[0] == &t[0] })
	for at := btfHead; at+btfMember <= len(t); {
		switch r.str(le.Uint32(t[at:])) {
		case "numa_node":
			if p := r.typ(le.Uint32(t[at+4:])); len(p) == btfHead && depth == 0 {
				if a := r.typ(le.Uint32(p[8:])); len(a) == btfHead+12 {
					m.nodes[name] = le.Uint32(a[btfHead+8:])
				}
			}
			t = slices.Delete(slices.Clone(t), at, at+btfMember)
			le.PutUint32(t[4:], le.Uint32(t[4:])-1)
			r.types[id], r.changed = t, true
			m.note("map %s: numa_node is ignored: a card has no NUMA nodes", printable(name))
			continue
		case "values": // an array of pointers to definitions
			if a := r.typ(le.Uint32(t[at+4:])); len(a) == btfHead+12 {
				if p := r.typ(le.Uint32(a[btfHead:])); len(p) == btfHead {
					m.dropNodes(fmt.Sprintf("%s (inner)", name), le.Uint32(p[8:]), depth+1)
				}
			}
		}
		at += btfMember
	}
}

// without returns the contents of the section without the definitions of some
// maps.
func (r *rawBTF) without(maps map[string]bool) []byte {
	var types []byte
	for _, t := range r.types {
		kind, n := record(t)
		if kind != kindDatasec || len(maps) == 0 || r.str(le.Uint32(t)) != ".maps" {
			types = append(types, t...)
			continue
		}
		kept := slices.Clone(t[:btfHead])
		for i := range n {
			info := t[btfHead+12*i:][:12]
			if id := le.Uint32(info); id > 0 && uint64(id) <= uint64(len(r.types)) && maps[r.str(le.Uint32(r.types[id-1]))] {
				le.PutUint32(kept[4:], le.Uint32(kept[4:])-1)
				continue
			}
			kept = append(kept, info...)
		}
		types = append(types, kept...)
	}
	b := slices.Clone(r.header)
	le.PutUint32(b[8:], 0)
	le.PutUint32(b[12:], uint32(len(types)))
	le.PutUint32(b[16:], uint32(len(types)))
	le.PutUint32(b[20:], uint32(len(r.strings)))
	return append(append(b, types...), r.strings...)
}
