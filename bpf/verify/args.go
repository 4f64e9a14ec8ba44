package verify

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// arguments checks a helper call's arguments against its prototype.
type arguments struct {
	x    *explorer
	s    *state
	i    int
	p    helper.Proto
	call *Call
	set  int16 // maps of the map handle argument, or -1
}

func (a *arguments) fail(word, format string, args ...any) { a.x.fail(a.s, a.i, word, format, args...) }

// check checks argument n, counted from 0, which is in register n+1.
func (a *arguments) check(n int, kind helper.Arg) {
	v := *a.x.read(a.s, a.i, asm.R1+asm.Register(n))
	if v.silent() {
		return
	}
	switch kind {
	case helper.ArgConstMap:
		a.handle(n, &v)
	case helper.ArgMapKey, helper.ArgMapValue:
		if spec := a.spec(); spec != nil {
			size := spec.KeySize
			if kind == helper.ArgMapValue {
				size = spec.ValueSize
			}
			a.memory(n, &v, int64(size), int64(size), reads)
		}
	case helper.ArgUninitMapValue:
		if spec := a.spec(); spec != nil {
			a.memory(n, &v, int64(spec.ValueSize), int64(spec.ValueSize), writes)
		}
	case helper.ArgFixedMem:
		a.memory(n, &v, int64(a.p.Fixed), int64(a.p.Fixed), reads)
	case helper.ArgUninitFixedMem:
		a.aligned(n, &v)
		a.memory(n, &v, int64(a.p.Fixed), int64(a.p.Fixed), writes)
	case helper.ArgMem, helper.ArgMemOrNull, helper.ArgUninitMem:
		a.sized(n, &v, kind)
	case helper.ArgConstSize, helper.ArgConstSizeZero:
		a.size(n, &v, kind)
	case helper.ArgCtx:
		if v.kind != PtrCtx || !v.fixed() || v.min() != 0 {
			a.fail("helper-arg", "%s wants the context pointer in r%d, which holds %s", a.p.Name, n+1, a.x.reg(&v, a.s.cur).Phrase())
		}
	case helper.ArgConstScalar:
		if v.kind != Scalar || !v.n.known() {
			a.fail("helper-arg", "%s wants a constant in r%d, which holds %s", a.p.Name, n+1, a.x.reg(&v, a.s.cur).Phrase())
		}
	case helper.ArgAnything:
	default:
		a.fail("feature-unsupported", "%s takes an argument (r%d) that is not modelled: callback, lock, timer, socket, dynptr, ring buffer record or string", a.p.Name, n+1)
	}
}

func (a *arguments) handle(n int, v *val) {
	if v.kind != PtrMapHandle {
		a.fail("helper-arg", "%s wants a map in r%d, which holds %s", a.p.Name, n+1, a.x.reg(v, a.s.cur).Phrase())
		return
	}
	a.set = v.set
	a.call.Maps = unionSet(a.call.Maps, a.x.sets[v.set])
	for _, m := range a.x.sets[v.set] {
		spec := a.x.c.Maps[m]
		t, ok := helper.MapTypeInfo(spec.Type)
		switch {
		case !ok:
			a.fail("feature-unsupported", "map %s has a type (%v) that is not known", spec.Name, spec.Type)
		case !t.Allows(a.p.ID):
			a.fail("map-helper", "%s does not take map %s, a %s", a.p.Name, spec.Name, t.Name)
		case t.Unsupported != "":
			a.fail("feature-unsupported", "map %s is a %s: %s", spec.Name, t.Name, t.Unsupported)
		}
	}
}

// spec returns the map of the call. If there are several possible maps, it returns
// the first: handles are merged only if they are one map's, and sizes are checked for
// each.
func (a *arguments) spec() *ebpf.MapSpec {
	if a.set < 0 {
		return nil // reported with the handle
	}
	return a.x.c.Maps[a.x.sets[a.set][0]]
}

// sized checks a memory argument whose size is in the next register.
func (a *arguments) sized(n int, v *val, kind helper.Arg) {
	size := a.s.regs[asm.R1+asm.Register(n+1)]
	how := reads
	if kind == helper.ArgUninitMem {
		how = writes
	}
	if size.kind != Scalar {
		return // reported with the size
	}
	if kind == helper.ArgMemOrNull && v.kind == Scalar && v.n.known() && v.n.bits.Value == 0 {
		if !size.n.known() || size.n.bits.Value != 0 {
			a.fail("helper-arg", "%s takes NULL in r%d only with size 0, and the size in r%d may be %s", a.p.Name, n+1, n+2, size.n.phrase())
		}
		return
	}
	if size.n.w.slo < 0 || size.n.w.uhi >= maxPointerOffset {
		a.memory(n, v, 0, 1, how)
		return
	}
	a.memory(n, v, int64(size.n.w.ulo), int64(size.n.w.uhi), how)
}

func (a *arguments) size(n int, v *val, kind helper.Arg) {
	switch {
	case v.kind != Scalar:
		a.fail("helper-arg", "%s wants a size in r%d, which holds %s", a.p.Name, n+1, a.x.reg(v, a.s.cur).Phrase())
	case v.n.w.slo < 0 || v.n.w.uhi >= maxPointerOffset:
		a.fail("size-bounds", "the size in r%d may be %s", n+1, v.n.phrase())
	case kind == helper.ArgConstSize && v.n.w.ulo == 0:
		a.fail("zero-size", "the size in r%d may be 0 (it is %s), and %s wants at least 1", n+1, v.n.phrase(), a.p.Name)
	}
}

// aligned refuses the address of a number that the helper writes if it is not a multiple
// of the number's size.
func (a *arguments) aligned(n int, v *val) {
	if v.kind != PtrStack && v.kind != PtrMapValue {
		return
	}
	if at := v.bitsOfOffset(0); (at.Value|at.Mask)&uint64(a.p.Fixed-1) != 0 {
		a.fail("helper-arg", "%s writes %d bytes and wants an address that is a multiple of it in r%d, which holds %s", a.p.Name, a.p.Fixed, n+1, a.x.reg(v, a.s.cur).Phrase())
	}
}

// memory checks that the helper may access most bytes at v; it always accesses
// the first least of them.
func (a *arguments) memory(n int, v *val, least, most int64, how use) {
	x, s := a.x, a.s
	if most == 0 && v.pointer() {
		if lo, hi := v.min(), v.max(); x.opt.Linux && v.kind == PtrStack && (lo < -maxStack || hi > 0) {
			a.fail("stack-bounds", "%s touches no byte at r10%+d to r10%+d (r%d), but Linux requires that it lies in the stack", a.p.Name, lo, hi, n+1)
		}
		return
	}
	switch v.kind {
	case Scalar:
		word := "not-a-pointer"
		if v.n.known() && v.n.bits.Value == 0 {
			word = "helper-arg" // the constant NULL, and not a number that was a pointer
		}
		a.fail(word, "%s wants a pointer in r%d, which holds %s", a.p.Name, n+1, x.reg(v, s.cur).Phrase())
		return
	case PtrPacket, PtrPacketMeta:
		if !a.p.Packet {
			a.fail("helper-arg", "%s does not take a pointer into the packet (r%d)", a.p.Name, n+1)
		}
	}
	// The facts of a call keep a place for each argument: borrow the slot of the
	// instruction's memory operand, which a call does not have.
	x.facts.Mem[a.i] = nil
	ok := x.access(s, a.i, v, 0, int(most), how)
	if m := x.facts.Mem[a.i]; ok && m != nil {
		if old := &a.call.Mem[n]; old.Size == 0 {
			*old = *m
		} else {
			joinAccess(old, m)
		}
	}
	x.facts.Mem[a.i] = nil
	if !ok || v.kind != PtrStack {
		return
	}
	if how == reads && least > 0 {
		x.readRange(s, a.i, v, 0, int(least))
	}
	if x.opt.Linux && (how == writes || !x.opt.since(6, 14)) {
		x.scrub(s, v, most)
	}
	if how == writes || a.p.ID == asm.FnFibLookup { // fib_lookup returns its result there
		x.overwriteBytes(s, v, least)
		x.forget(s, v, most)
	}
}

// zeros joins into the facts of a bpf_map_update_elem which bytes of the value the
// kernel treats as zero.
func (a *arguments) zeros() {
	m, v := &a.s.regs[asm.R1], &a.s.regs[asm.R3]
	if m.kind != PtrMapHandle {
		return
	}
	size := int(a.x.c.Maps[a.x.sets[m.set][0]].ValueSize)
	if v.kind != PtrStack || !v.fixed() || int(v.frame) >= len(a.s.frames) || v.min() < -maxStack || v.min()+int64(size) > 0 {
		return
	}
	first := a.call.Zeros == nil
	if first {
		a.call.Zeros = make([]bool, size)
	}
	f := a.s.frames[v.frame]
	for n := range a.call.Zeros[:min(size, len(a.call.Zeros))] {
		k, b := slotAt(int(v.min()) + n)
		a.call.Zeros[n] = (first || a.call.Zeros[n]) && f.at(k).zero&(1<<b) != 0
	}
}

// overwriteBytes marks n bytes at a fixed place written.
func (x *explorer) overwriteBytes(s *state, v *val, n int64) {
	lo, hi := max(v.min(), -maxStack), min(v.min()+n, 0)
	if v.fixed() && lo < hi {
		s.fill(int(v.frame), int(lo), int(hi-lo), false)
	}
}

// forget discards the facts about the n bytes at v, including pointers stored there.
func (x *explorer) forget(s *state, v *val, n int64) {
	lo, hi := max(v.min(), -maxStack), min(v.max()+n, 0)
	if lo < hi {
		s.smudge(int(v.frame), int(lo), int(hi-lo), false)
	}
}
