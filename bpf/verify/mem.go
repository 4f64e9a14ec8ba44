package verify

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

const (
	maxPointerOffset = 1 << 29 // kernel: BPF_MAX_VAR_OFF
	maxPacketOffset  = 0xffff  // kernel: MAX_PACKET_OFF

	// Map flags of uapi/linux/bpf.h.
	flagReadOnlyProg  = 1 << 7
	flagWriteOnlyProg = 1 << 8
)

// use is how memory is accessed.
type use uint8

const (
	reads use = iota
	writes
	updates // atomics: both
)

// access checks that size bytes at v+off may be accessed, and records the access in
// the facts. If a bound is not proved, it reports the failure, continues as if the
// bound held, and returns true. It returns false if v has no useful bounds on the
// address.
func (x *explorer) access(s *state, i int, v *val, off int64, size int, how use) bool {
	switch v.kind {
	case PtrStack, PtrPacket, PtrPacketMeta, PtrMapValue, PtrMem, PtrCtx:
	case PtrMapValueOrNull:
		x.fail(s, i, "null-check", "%s may be NULL here", x.nullable(v))
		x.learnNull(s, v.id, true)
		w := *v
		w.kind = PtrMapValue
		return x.access(s, i, &w, off, size, how)
	case PtrUnsure:
		if v.silent() {
			return false
		}
		x.fail(s, i, "mixed-pointer", "the pointer is of another kind on another path")
		return false
	case Scalar:
		x.fail(s, i, "not-a-pointer", "memory is accessed through %s", x.reg(v, s.cur).Phrase())
		return false
	case NotInit:
		return false // reported when the register was read
	default:
		x.fail(s, i, "bad-pointer", "memory is accessed through %s", v.kind.Phrase())
		return false
	}
	lo, hi := v.min()+off, v.max()+off
	if v.n.w.slo < -maxPointerOffset || v.n.w.shi > maxPointerOffset {
		lo, hi = -maxPointerOffset, maxPointerOffset
	}
	in := true
	if (lo <= -maxPointerOffset || hi >= maxPointerOffset) && !v.fixed() {
		x.withoutBounds(s, i, v, off, size)
		lo, hi = x.clamp(s, v, lo, hi, size)
		x.note(s, i, v, lo, hi, off, size)
		return true
	}
	switch v.kind {
	case PtrStack:
		in = x.inStack(s, i, v, lo, hi, size)
		if in {
			x.deepen(s, int(v.frame), int(-lo))
		}
	case PtrPacket, PtrPacketMeta:
		in = x.inPacket(s, i, v, lo, off, size)
	case PtrMapValue:
		in = x.inMapValue(s, i, v, lo, hi, size, how)
	case PtrMem:
		in = lo >= 0 && hi+int64(size) <= int64(x.opt.MemSize)
		if !in {
			x.fail(s, i, "mem-bounds", "access to bytes %d to %d of a region of %d", lo, hi+int64(size)-1, x.opt.MemSize)
		}
	case PtrCtx: // helpers only: loads and stores of fields are in ctx.go
		x.fail(s, i, "bad-pointer", "a helper cannot take the context for memory")
		return false
	}
	if !in {
		lo, hi = x.clamp(s, v, lo, hi, size)
	}
	x.note(s, i, v, lo, hi, off, size)
	return true
}

// withoutBounds reports an access through a pointer whose offset has no useful bounds.
func (x *explorer) withoutBounds(s *state, i int, v *val, off int64, size int) {
	word := map[Kind]string{PtrStack: "stack-bounds", PtrPacket: "packet-bounds", PtrPacketMeta: "packet-bounds", PtrMapValue: "map-value-bounds", PtrMem: "mem-bounds"}[v.kind]
	x.fail(s, i, word, "the offset of %s may be %s", v.kind.Phrase(), v.n.phrase())
	if v.kind == PtrPacket || v.kind == PtrPacketMeta {
		x.learnRange(s, v.kind, v.id, int32(min(max(int64(v.off)+off+int64(size), 0), maxPacketOffset)))
	}
}

func (x *explorer) inStack(s *state, i int, v *val, lo, hi int64, size int) bool {
	if lo >= -maxStack && hi+int64(size) <= 0 {
		x.alignedStack(s, i, v, lo-v.min(), size)
		return true
	}
	if v.fixed() {
		x.fail(s, i, "stack-bounds", "access to %d bytes at r10%+d; the stack is r10-%d to r10-1", size, lo, maxStack)
	} else {
		x.fail(s, i, "stack-bounds", "access to %d bytes at r10%+d to r10%+d; the stack is r10-%d to r10-1", size, lo, hi, maxStack)
	}
	return false
}

// alignedStack refuses stack loads and stores that are not aligned to their size, as
// the kernel does on every machine. Raw programs are exempt, since no kernel loads
// them.
func (x *explorer) alignedStack(s *state, i int, v *val, off int64, size int) {
	if x.c.Type == ebpf.UnspecifiedProgram || x.c.Insns[i].OpCode.Class().IsJump() || x.c.Insns[i].OpCode.Mode() == asm.AtomicMode {
		return
	}
	if at := v.bitsOfOffset(off); (at.Value|at.Mask)&uint64(size-1) != 0 {
		if at.Known() {
			x.fail(s, i, "misaligned-stack", "access to %d bytes of stack at r10%+d", size, int64(at.Value))
			return
		}
		x.fail(s, i, "misaligned-stack", "access to %d bytes of stack at r10 plus %v", size, at)
	}
}

func (x *explorer) inPacket(s *state, i int, v *val, lo, off int64, size int) bool {
	end := int64(v.off) + off + int64(size)
	switch {
	case lo < 0:
		x.fail(s, i, "packet-bounds", "packet access may begin %d bytes before the packet", -lo)
		return false
	case end > int64(v.rng) || end <= 0 && v.rng == 0:
		if v.fixed() {
			x.fail(s, i, "packet-bounds", "packet access needs %d bytes, %d known%s", end, v.rng, s.wrongSide(v))
		} else {
			x.fail(s, i, "packet-bounds", "packet access needs %d bytes past a variable offset of %s, %d known", end, v.n.phrase(), v.rng)
		}
		x.learnRange(s, v.kind, v.id, int32(min(end, maxPacketOffset)))
		return false
	}
	return true
}

// wrongSide returns a hint if a comparison has proved that the bytes after v are
// missing: the access is then on the wrong edge of it.
func (s *state) wrongSide(v *val) string {
	for r := range s.regs[:10] {
		if o := &s.regs[r]; o.kind == PtrPacket && o.id == v.id && o.past != 0 {
			return "; on this path the comparison found the packet too short"
		}
	}
	return ""
}

func (x *explorer) inMapValue(s *state, i int, v *val, lo, hi int64, size int, how use) bool {
	for _, m := range x.sets[v.set] {
		spec := x.c.Maps[m]
		switch {
		case how != reads && (spec.Flags&flagReadOnlyProg != 0 || lookupRead(spec.Type)):
			x.fail(s, i, "read-only-map", "store to values of map %s, which programs may only read", spec.Name)
		case how != writes && spec.Flags&flagWriteOnlyProg != 0:
			x.fail(s, i, "write-only-map", "load from values of map %s, which programs may only write", spec.Name)
		}
	}
	if limit := x.valueSize(v); lo < 0 || hi+int64(size) > limit {
		x.fail(s, i, "map-value-bounds", "access to bytes %d to %d of a map value of %d bytes", lo, hi+int64(size)-1, limit)
		return false
	}
	return true
}

// lookupRead reports whether looked-up values of the map type are read-only.
func lookupRead(t ebpf.MapType) bool {
	info, ok := helper.MapTypeInfo(t)
	return ok && info.LookupRead
}

// valueSize returns the smallest value that v may point into.
func (x *explorer) valueSize(v *val) int64 {
	n := int64(1) << 32
	for _, m := range x.sets[v.set] {
		n = min(n, int64(x.c.Maps[m].ValueSize))
	}
	return n
}

// clamp moves an address that was out of bounds inside, so that exploration
// continues as if the program were correct.
func (x *explorer) clamp(s *state, v *val, lo, hi int64, size int) (int64, int64) {
	first, last := int64(0), int64(maxPacketOffset)
	switch v.kind {
	case PtrStack:
		first, last = -maxStack, -int64(size)
	case PtrMapValue:
		last = x.valueSize(v) - int64(size)
	case PtrMem:
		last = int64(x.opt.MemSize - size)
	}
	last = max(last, first)
	return min(max(lo, first), last), max(min(hi, last), first)
}

// note joins a place into the facts of instruction i.
func (x *explorer) note(s *state, i int, v *val, lo, hi, off int64, size int) {
	a := Access{Kind: v.kind, Min: lo, Max: hi, Bits: v.bitsOfOffset(off), Size: size, Variable: !v.fixed()}
	if lo == hi {
		a.Bits = KnownBits(uint64(lo))
	}
	switch v.kind {
	case PtrStack:
		a.Up = int8(s.cur) - v.frame
		x.share(s, i, v, &a)
	case PtrMapValue:
		a.Maps = x.mapsOf(v)
	}
	if m := x.facts.Mem[i]; m != nil {
		if m.Kind != a.Kind && (m.Kind == PtrCtx || a.Kind == PtrCtx) { // kernel: reg_type_mismatch
			x.fail(s, i, "mixed-pointer", "the access is through the context pointer on one path and through %s on another", other(PtrCtx, m.Kind, a.Kind).Phrase())
		}
		joinAccess(m, &a)
		return
	}
	first := a
	x.facts.Mem[i] = &first
}

// other returns the kind of two that is not k.
func other(k, a, b Kind) Kind {
	if a == k {
		return b
	}
	return a
}

// mostPlaces bounds the number of offsets that an Access lists.
const mostPlaces = 16

// joinPlaces joins the facts about the place of the access on each path.
func joinPlaces(m, a *Access) {
	switch m.Variable = m.Variable || a.Variable; {
	case m.Variable:
		m.Places = nil
		return
	case m.Places == nil && m.Min == a.Min:
		return
	case m.Places == nil:
		m.Places = []int64{m.Min}
	}
	at := a.Places
	if at == nil {
		at = []int64{a.Min}
	}
	for _, p := range at {
		if !slices.Contains(m.Places, p) {
			m.Places = append(m.Places, p)
		}
	}
	if len(m.Places) > mostPlaces {
		m.Variable, m.Places = true, nil
	}
}

func joinAccess(m, a *Access) {
	joinPlaces(m, a)
	if m.Kind != a.Kind {
		m.Kind = PtrUnsure
	}
	if m.Up != a.Up {
		m.Up = -1
	}
	m.Maps = unionSet(m.Maps, a.Maps)
	m.Min, m.Max = min(m.Min, a.Min), max(m.Max, a.Max)
	m.Bits = m.Bits.Union(a.Bits)
	m.Size = max(m.Size, a.Size)
	m.Spill = m.Spill || a.Spill
}

// deepen records that frame fi is used down to depth bytes below its r10.
func (x *explorer) deepen(s *state, fi, depth int) {
	f := x.funcOf(s, fi)
	x.facts.Depth[f] = max(x.facts.Depth[f], (depth+7)&^7)
	if k := (depth - 1) / 8; x.walker != nil && k >= len(s.frames[fi].slots) {
		s.own(fi).slot(k) // Linux compares no slots past those that were accessed
	}
}

// funcOf returns the function that runs in frame fi of s.
func (x *explorer) funcOf(s *state, fi int) int {
	if call := s.frames[fi].call; call >= 0 {
		return x.c.Insns[call].Callee
	}
	return 0
}

// A sharing is a range of a function's frame with accesses other than at constant
// offsets by the function's own code: at a variable offset, by a helper, or from
// another function.
type sharing struct {
	f      int
	lo, hi int64
}

func (x *explorer) share(s *state, i int, v *val, a *Access) {
	if v.fixed() && int(v.frame) == s.cur && x.c.Insns[i].Callee == code.None && !x.c.Insns[i].OpCode.Class().IsJump() {
		return
	}
	n := sharing{x.funcOf(s, int(v.frame)), a.Min, a.Max + int64(a.Size)}
	for k := range x.shared {
		if o := &x.shared[k]; o.f == n.f && o.lo <= n.hi && n.lo <= o.hi {
			o.lo, o.hi = min(o.lo, n.lo), max(o.hi, n.hi)
			return
		}
	}
	x.shared = append(x.shared, n)
}

// markShared sets Access.Shared for accesses that overlap a range of sharing.
func (x *explorer) markShared() {
	for i, m := range x.facts.Mem {
		if m == nil || m.Kind != PtrStack {
			continue
		}
		if m.Up != 0 || m.Min != m.Max {
			m.Shared = true
			continue
		}
		for _, o := range x.shared {
			if o.f == x.c.Insns[i].Func && m.Min < o.hi && o.lo < m.Max+int64(m.Size) {
				m.Shared = true
			}
		}
	}
	for _, k := range x.facts.Calls {
		for n := 0; k != nil && n < len(k.Mem); n++ {
			k.Mem[n].Shared = k.Mem[n].Kind == PtrStack && k.Mem[n].Size > 0
		}
	}
}

// readStack returns the value of a load of size bytes at v+off.
func (x *explorer) readStack(s *state, i int, v *val, off, size int) val {
	if !v.fixed() {
		x.readRange(s, i, v, int64(off), size)
		return scalar(sized(size))
	}
	at := int(v.min()) + off
	if at < -maxStack || at+size > 0 {
		return scalar(sized(size))
	}
	r, written, whole := s.load(int(v.frame), at, size)
	if !written {
		x.warn(s, i, "uninit-stack", "bytes of r10%+d to r10%+d may not have been written", at, at+size-1)
	}
	if !whole {
		x.fail(s, i, "spill-partial", "part of a pointer is read from r10%+d", at)
	}
	if r.pointer() {
		x.facts.Mem[i].Spill = true
	}
	return r
}

// readRange checks the bytes that a load at a variable offset, or a helper, may
// read.
func (x *explorer) readRange(s *state, i int, v *val, off int64, size int) {
	lo, hi := max(v.min()+off, -maxStack), min(v.max()+off+int64(size), 0)
	if x.walker != nil {
		x.walker.readsBytes(int(v.frame), lo, hi)
	}
	f := s.frames[v.frame]
	for at := lo; at < hi; at++ {
		if k, b := slotAt(int(at)); f.at(k).written&(1<<b) == 0 {
			x.warn(s, i, "uninit-stack", "bytes of r10%+d to r10%+d may not have been written", lo, hi-1)
			return
		}
	}
}

// writeStack stores w, size bytes, at v+off.
func (x *explorer) writeStack(s *state, i int, v *val, off, size int, w *val) {
	if w.kind == PtrStack && int(v.frame) != s.cur && int(w.frame) == s.cur {
		x.fail(s, i, "stack-pointer-escape", "pointer to this function's stack is stored in its caller's")
	}
	if w.pointer() {
		x.facts.Mem[i].Spill = true
		if size < 8 {
			x.fail(s, i, "spill-partial", "%d bytes of %s are stored", size, w.kind.Phrase())
		}
	}
	x.overwrite(s, v, int64(off), size, w)
}

// overwrite stores w at a constant offset. If the offset varies, it forgets the
// bytes that the store may overwrite.
func (x *explorer) overwrite(s *state, v *val, off int64, size int, w *val) {
	lo, hi := max(v.min()+off, -maxStack), min(v.max()+off+int64(size), 0)
	switch {
	case lo >= hi:
	case v.fixed() && hi-lo == int64(size) && size <= 8:
		s.store(int(v.frame), int(lo), size, w)
	case v.fixed():
		s.fill(int(v.frame), int(lo), int(hi-lo), false)
	default:
		s.smudge(int(v.frame), int(lo), int(hi-lo), w.kind == Scalar && w.n.known() && w.n.bits.Value == 0)
	}
}

// constantData returns the value of size bytes at off of a read-only map's only entry,
// when it came with the program.
func constantData(spec *ebpf.MapSpec, off int64, size int) (uint64, bool) {
	if spec.Flags&flagReadOnlyProg == 0 || spec.Type != ebpf.Array || spec.MaxEntries != 1 || len(spec.Contents) != 1 {
		return 0, false
	}
	b, ok := spec.Contents[0].Value.([]byte)
	if !ok || off < 0 || off+int64(size) > int64(len(b)) {
		return 0, false
	}
	var v uint64
	for k := size - 1; k >= 0; k-- {
		v = v<<8 | uint64(b[off+int64(k)])
	}
	return v, true
}
