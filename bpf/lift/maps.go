package lift

import (
	"cmp"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/ir"
)

// MapNames returns the name of each map of the program, in the order of Code.Maps, as
// ir and MapUse have it.
func MapNames(c *code.Code) []string {
	names := make([]string, len(c.Maps))
	for i, m := range c.Maps {
		names[i] = m.Name
	}
	for i := range c.Insns {
		if m := c.Insns[i].Map; m != code.None && names[m] == "" {
			names[m] = c.Insns[i].Reference()
		}
	}
	return names
}

// mapLimits refuses the maps that are still referenced and that the firmware cannot
// hold, and addresses of values if the firmware does not place maps before programs.
// Constants are already folded into their uses.
func (b *builder) mapLimits() {
	said := map[string]bool{}
	for _, fn := range b.mod.Funcs {
		for _, blk := range fn.Blocks {
			for _, v := range blk.Values {
				direct := v.Op == ir.OpMapValueAddr
				if !direct && v.Op != ir.OpMapHandle && v.Op != ir.OpTailCall || v.Sym == "" {
					continue
				}
				at := max(b.code.Index(int(v.PC)), 0)
				if direct && !b.t.DirectValue {
					b.refuse(at, "direct-value", "firmware %s gives no addresses of map values: %s is out of reach", b.t.Name, v.Sym)
				}
				if !said[v.Sym] {
					said[v.Sym] = true
					b.mapLimit(at, v.Sym)
				}
			}
		}
	}
}

// knownMaps returns the facts about the program's maps that passes use. Values may be
// addressed if the firmware places maps before programs and creates every element of
// an array at the start, and in its one array if it keeps that at B23.
func (b *builder) knownMaps() []ir.Map {
	var out []ir.Map
	one := b.t.DirectMap && b.usesOneMap()
	for i, spec := range b.code.Maps {
		m := ir.Map{Name: b.mapNames[i]}
		switch {
		case spec.Type == ebpf.LRUHash || spec.Type == ebpf.LRUCPUHash:
			m.Marks = true
		case spec.Type != ebpf.Array:
		case one && DirectArray(spec):
			m.Entries, m.Stride = spec.MaxEntries, DirectStride(spec)
		case b.t.DirectValue && b.t.ArrayZero && !b.t.DirectMap:
			m.Entries, m.Stride = spec.MaxEntries, (spec.ValueSize+7)&^7
		}
		if m != (ir.Map{Name: m.Name}) {
			out = append(out, m)
		}
	}
	return out
}

// usesOneMap reports whether the program still refers to one map alone.
func (b *builder) usesOneMap() bool {
	name := ""
	for _, fn := range b.mod.Funcs {
		for _, blk := range fn.Blocks {
			for _, v := range blk.Values {
				if v.Op != ir.OpMapHandle && v.Op != ir.OpMapValueAddr && v.Op != ir.OpTailCall {
					continue
				}
				if name != "" && v.Sym != name {
					return false
				}
				name = v.Sym
			}
		}
	}
	return name != ""
}

// DirectArray reports whether firmware with a direct array can hold the map.
func DirectArray(m *ebpf.MapSpec) bool {
	return m.Type == ebpf.Array && m.MaxEntries > 0 && m.MaxEntries&(m.MaxEntries-1) == 0
}

// DirectStride returns the distance of a direct array's values: their size rounded up
// to a power of two.
func DirectStride(m *ebpf.MapSpec) uint32 {
	stride := uint32(1)
	for stride < m.ValueSize {
		stride *= 2
	}
	return stride
}

func (b *builder) mapLimit(at int, name string) {
	for m, spec := range b.code.Maps {
		if b.mapNames[m] != name {
			continue
		}
		info, _ := helper.MapTypeInfo(spec.Type)
		if !b.holds(spec.Type, info.Name) {
			b.refuse(at, "map-type", "firmware %s has no maps of type %s: %s", b.t.Name, cmp.Or(info.Name, spec.Type.String()), name)
			return
		}
		l, up := b.t.Maps, func(n uint32) int { return int(n+7) &^ 7 }
		for _, c := range []struct {
			what      string
			have, max int
		}{
			{"key", int(spec.KeySize), l.Key},
			{"value", int(spec.ValueSize), l.Value},
			{"key and value, each rounded up to 8,", up(spec.KeySize) + up(spec.ValueSize), l.Entry},
		} {
			if c.max > 0 && c.have > c.max {
				b.refuse(at, "map-limit", "map %s: %s of %d bytes, firmware %s takes %d", name, c.what, c.have, b.t.Name, c.max)
				return
			}
		}
		return
	}
}

// holds reports whether the firmware has maps of a type. An array of perf events
// is the host's: only the helper that sends to it is needed.
func (b *builder) holds(t ebpf.MapType, name string) bool {
	if t == ebpf.PerfEventArray {
		return b.t.offers(int32(asm.FnPerfEventOutput))
	}
	return slices.Contains(b.t.Maps.Types, name)
}
