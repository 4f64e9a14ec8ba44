package jit

import (
	"cmp"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// helperArgs is which registers a helper call reads. The context is not among
// them: a helper knows its packet.
func (b *builder) helperArgs(ins *code.Insn) bpfRegs {
	proto, ok := helper.ByID(asm.BuiltinFunc(ins.Constant))
	if !ok {
		return 0
	}
	var use bpfRegs
	for i, a := range proto.Args {
		if a != helper.ArgNone && a != helper.ArgCtx {
			use |= 1 << (i + 1)
		}
	}
	return use
}

// call builds a call: of a function of the program, or of a helper.
func (b *funcBuilder) call(ins *code.Insn) error {
	var r0 *ir.Value
	switch {
	case ins.Callee != code.None:
		var args []*ir.Value
		for r := range b.regions[ins.Callee].params {
			args = append(args, b.reg(asm.Register(r+1)))
		}
		r0 = b.op(ir.OpCallFunc, ir.I64, args...)
		r0.Sym = b.code.Funcs[ins.Callee].Name
	case ins.Src != 0:
		b.refuse(b.i, "helper-missing", "no firmware offers kernel functions")
	default:
		id := int32(ins.Constant)
		proto, ok := helper.ByID(asm.BuiltinFunc(id))
		if !ok || !b.p.Offers(id) {
			b.refuse(b.i, "helper-missing", "firmware %s has no helper %d (%s)", b.p.Name, id, asmtext.HelperName(int64(id)))
			break
		}
		call := b.f.Calls[b.i]
		if call == nil {
			return fmt.Errorf("no facts about the call")
		}
		if proto.ID == asm.FnTailCall {
			b.tailCall(call)
			break
		}
		r0 = b.helper(proto, call)
	}
	b.clobber()
	b.regs[asm.R0] = r0
	return nil
}

// tailCall names the map if it is known, else passes its handle.
func (b *funcBuilder) tailCall(call *verify.Call) {
	index := b.reg(asm.R3)
	if len(call.Maps) == 1 {
		b.op(ir.OpTailCall, ir.Void, index).Sym = b.mapNames[call.Maps[0]]
		return
	}
	b.op(ir.OpTailCall, ir.Void, index, b.reg32(asm.R2))
}

// helper builds the call of a helper that the firmware offers.
func (b *funcBuilder) helper(proto helper.Proto, call *verify.Call) *ir.Value {
	var args []*ir.Value
	var kinds uint32
	var reach uint64
	s := b.stage(b.i)
	for i, a := range proto.Args {
		if a == helper.ArgNone {
			break
		}
		arg, kind := (*ir.Value)(nil), uint32(0)
		switch {
		case a == helper.ArgCtx:
			arg = b.constant(ir.I64, 0)
		case s.at[i] >= 0:
			arg, kind = b.copyIn(proto, call, i, s.at[i]), ir.KindStack
		default:
			arg = b.reg(asm.Register(i + 1))
			kind = pointerKind(a, &call.Mem[i])
		}
		args = append(args, arg)
		kinds |= kind << (4 * i)
		if n := call.Mem[i].Size; kind == ir.KindStack && n < 1<<10 {
			reach |= uint64(n) << (10 * i)
		}
	}
	v := b.op(ir.OpCallHelper, ir.I64, args...)
	v.Int, v.Kinds, v.Reach = int64(proto.ID), kinds, reach
	return v
}

// pointerKind returns the kind that the firmware receives of an argument that is not
// staged.
func pointerKind(a helper.Arg, mem *verify.Access) uint32 {
	if !isMem(a) {
		return 0
	}
	if mem.Size == 0 {
		return ir.KindScalar
	}
	switch space(mem.Kind) {
	case ir.Stack:
		return ir.KindStack
	case ir.Packet:
		return ir.KindPacket
	case ir.MapMem:
		return ir.KindMap
	}
	return ir.KindScalar
}

// isMem reports whether the argument is a pointer to memory.
func isMem(a helper.Arg) bool {
	switch a {
	case helper.ArgMapKey, helper.ArgMapValue, helper.ArgMem, helper.ArgMemOrNull, helper.ArgUninitMem:
		return true
	}
	return writesMem(a) || a == helper.ArgFixedMem
}

// writesMem reports whether the helper writes through the argument.
func writesMem(a helper.Arg) bool {
	return a == helper.ArgUninitMem || a == helper.ArgUninitFixedMem
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
				if direct && !b.p.DirectValue {
					b.refuse(at, "direct-value", "firmware %s gives no addresses of map values: %s is out of reach", b.p.Name, v.Sym)
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
	one := b.p.DirectMap && b.usesOneMap()
	for i, spec := range b.code.Maps {
		m := ir.Map{Name: b.mapNames[i]}
		switch {
		case spec.Type == ebpf.LRUHash || spec.Type == ebpf.LRUCPUHash:
			m.Marks = true
		case spec.Type != ebpf.Array:
		case one && directArray(spec):
			m.Entries, m.Stride = spec.MaxEntries, directStride(spec)
		case b.p.DirectValue && b.p.ArrayZero && !b.p.DirectMap:
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

// directArray reports whether firmware with a direct array can hold the map.
func directArray(m *ebpf.MapSpec) bool {
	return m.Type == ebpf.Array && m.MaxEntries > 0 && m.MaxEntries&(m.MaxEntries-1) == 0
}

// directStride is the distance of a direct array's values: their size rounded up
// to a power of two.
func directStride(m *ebpf.MapSpec) uint32 {
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
			b.refuse(at, "map-type", "firmware %s has no maps of type %s: %s", b.p.Name, cmp.Or(info.Name, spec.Type.String()), name)
			return
		}
		l, up := b.p.Maps, func(n uint32) int { return int(n+7) &^ 7 }
		for _, c := range []struct {
			what      string
			have, max int
		}{
			{"key", int(spec.KeySize), l.Key},
			{"value", int(spec.ValueSize), l.Value},
			{"key and value, each rounded up to 8,", up(spec.KeySize) + up(spec.ValueSize), l.Entry},
		} {
			if c.max > 0 && c.have > c.max {
				b.refuse(at, "map-limit", "map %s: %s of %d bytes, firmware %s takes %d", name, c.what, c.have, b.p.Name, c.max)
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
		return b.p.Offers(int32(asm.FnPerfEventOutput))
	}
	for _, n := range b.p.Maps.Types {
		if n == name {
			return true
		}
	}
	return false
}
