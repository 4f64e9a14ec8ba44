package verify

import (
	"fmt"
	"strings"
)

// A val is the value of a register or a spilled slot on one path. It is Reg without
// the slice, so that states copy by assignment. For pointers, n is the variable part
// of the offset and off the fixed part. The region starts where both are 0, except
// that a stack pointer counts from its frame's r10.
type val struct {
	kind  Kind
	mixed bool   // Scalar: paths that met here brought different numbers (Facts.Differs)
	past  uint8  // PtrPacket: pastAt or pastBeyond the packet's end, if that was found
	stale uint8  // PtrPacket: past before a constant moved the pointer, away from where delta says
	frame int8   // PtrStack: index of the frame pointed into
	low   bool   // Scalar with an id: only its low 32 bits move along
	set   int16  // PtrMap*: index into explorer.sets; PtrFunc: function
	off   int32  // fixed part of a pointer's offset, bytes
	rng   int32  // PtrPacket, PtrPacketMeta: bytes known to exist after region start + n
	id    uint32 // who else holds the same: see the list below
	delta int32  // Scalar with an id: what it is more than the number that the id stands for; PtrPacket: fixed offset at which stale was found
	n     num
}

// These are the results of a comparison that proved a pointer to be at or past the
// packet's end. They decide a repeated comparison (kernel: AT_PKT_END,
// BEYOND_PKT_END). A move of the pointer turns past into val.stale, which no longer
// holds; Linux 6.12 relies on it if the pointer moved back (Facts.StaleEnds).
const (
	pastAt     = 1 // at the end or beyond
	pastBeyond = 2
)

// An id says that two values change together:
//   - Scalar: numbers that differ by their deltas, modulo 2^64, or modulo 2^32 if one
//     of them is low; 0 if the number is linked to no other (link.go)
//   - PtrPacket, PtrPacketMeta: equal variable parts; 0 if there is none
//   - PtrMapValueOrNull: results of one lookup

func scalar(n num) val      { return val{kind: Scalar, n: n} }
func constant(v uint64) val { return scalar(constNum(v)) }
func pointer(k Kind) val    { return val{kind: k, n: constNum(0)} }

// unmodelled returns a pointer of a feature that was reported as unsupported. Nothing
// more is said of what is done with it.
func unmodelled() val { return val{kind: PtrUnsure, set: -1, n: anyNum()} }

func (v *val) pointer() bool { return v.kind > Scalar }
func (v *val) silent() bool  { return v.kind == NotInit || v.kind == PtrUnsure && v.set < 0 }

// min and max are the least and greatest offset from the region's start.
func (v *val) min() int64 { return int64(v.off) + v.n.w.slo }
func (v *val) max() int64 { return int64(v.off) + v.n.w.shi }

// equals returns v's id as the facts report it: for numbers, equality only.
func (v *val) equals() uint32 {
	if v.kind == Scalar && v.delta != 0 || v.low {
		return 0
	}
	return v.id
}

// fixed reports whether the pointer has one offset.
func (v *val) fixed() bool { return v.n.known() }

// bitsOfOffset returns the Tnum of the whole offset plus d.
func (v *val) bitsOfOffset(d int64) Tnum { return v.n.bits.Add(KnownBits(uint64(int64(v.off) + d))) }

// reg returns v as the facts report it, for frame cur.
func (x *explorer) reg(v *val, cur int) (r Reg) {
	x.put(&r, v, cur)
	return r
}

// put sets r, which is zero, to v as the facts report it. It assigns field by field:
// facts are large, and have a pointer that most leave nil.
func (x *explorer) put(r *Reg, v *val, cur int) {
	if v.kind == NotInit {
		return
	}
	r.Kind, r.Off, r.ID = v.kind, v.off, v.equals()
	r.setNum(&v.n)
	switch v.kind {
	case PtrStack:
		r.Up = int8(cur) - v.frame
	case PtrPacket, PtrPacketMeta:
		r.Range = v.rng
	case PtrMapHandle, PtrMapValue, PtrMapValueOrNull:
		r.Maps = x.mapsOf(v)
	}
}

func (r *Reg) num() num {
	return num{r.Bits, span[uint64, int64]{r.UMin, r.UMax, r.SMin, r.SMax}, span[uint32, int32]{r.U32Min, r.U32Max, r.S32Min, r.S32Max}}
}

func (r *Reg) setNum(n *num) {
	r.Bits, r.UMin, r.UMax, r.SMin, r.SMax = n.bits, n.w.ulo, n.w.uhi, n.w.slo, n.w.shi
	r.U32Min, r.U32Max, r.S32Min, r.S32Max = n.h.ulo, n.h.uhi, n.h.slo, n.h.shi
}

// unsure returns the Reg of which no number is known.
func unsure(k Kind) Reg {
	r, n := Reg{Kind: k}, anyNum()
	r.setNum(&n)
	return r
}

// join widens r to cover v as well. It reports whether v is anything but what r
// was.
func (x *explorer) join(r *Reg, v *val, cur int) bool {
	if r.Kind == Scalar && v.kind == Scalar {
		n := r.num()
		if r.ID != v.equals() {
			r.ID = 0
		}
		if n == v.n {
			return false
		}
		if !n.covers(&v.n) {
			n = n.hull(&v.n)
			r.setNum(&n)
		}
		return true
	}
	if r.Kind == v.kind && r.Off == v.off && r.Bits == v.n.bits && r.num() == v.n && (r.ID == v.id || r.ID == 0) {
		switch v.kind {
		case PtrCtx, PtrPacketEnd, PtrMem:
			return false
		case PtrStack:
			if r.Up == int8(cur)-v.frame {
				return false
			}
		case PtrPacket, PtrPacketMeta:
			if r.Range == v.rng {
				return false
			}
		}
	}
	o := x.reg(v, cur)
	joinReg(r, &o)
	return true
}

func joinReg(r, o *Reg) {
	switch {
	case r.Kind == NotInit || o.Kind == NotInit:
		*r = Reg{}
		return
	case r.Kind == o.Kind:
	case nullable(r) && nullable(o):
		// A map value here and NULL there: a pointer that may be null.
		maps := unionSet(r.Maps, o.Maps)
		if r.Kind == Scalar {
			r.Off, r.Kind = o.Off, o.Kind
			n := o.num()
			r.setNum(&n)
		}
		if o.Kind != Scalar && (o.Off != r.Off || o.num() != r.num()) {
			*r = unsure(PtrUnsure)
			return
		}
		r.Kind, r.Maps, r.ID = PtrMapValueOrNull, maps, 0
		return
	default:
		*r = unsure(PtrUnsure)
		return
	}
	a, b := r.num(), o.num()
	if r.Off != o.Off {
		low := min(r.Off, o.Off)
		a, b = plus(&a, int64(r.Off-low)), plus(&b, int64(o.Off-low))
		r.Range, o.Range = r.Range-(r.Off-low), o.Range-(o.Off-low)
		r.Off = low
	}
	n := a.hull(&b)
	r.setNum(&n)
	if r.Up != o.Up {
		r.Up = -1
	}
	if r.ID != o.ID {
		r.ID = 0
	}
	r.Range = min(r.Range, o.Range)
	r.Maps = unionSet(r.Maps, o.Maps)
}

func nullable(r *Reg) bool {
	return r.Kind == PtrMapValue || r.Kind == PtrMapValueOrNull || r.Kind == Scalar && r.Bits == KnownBits(0)
}

func plus(n *num, d int64) num {
	if d == 0 {
		return *n
	}
	c := constNum(uint64(d))
	r := num{n.bits.Add(c.bits), n.w.add(&c.w), n.h.add(&c.h)}
	r.sync()
	return r
}

func sameSet(a, b []int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// unionSet merges two ascending sets; the result may be one of them.
func unionSet(a, b []int) []int {
	if sameSet(a, b) {
		return a
	}
	var r []int
	for len(a) > 0 || len(b) > 0 {
		switch {
		case len(b) == 0 || len(a) > 0 && a[0] < b[0]:
			r, a = append(r, a[0]), a[1:]
		case len(a) == 0 || b[0] < a[0]:
			r, b = append(r, b[0]), b[1:]
		default:
			r, a, b = append(r, a[0]), a[1:], b[1:]
		}
	}
	return r
}

// kindNames are the words for kinds in messages and dumps; short as the kernel's.
var kindNames = [...]string{
	NotInit: "uninitialised", Scalar: "number", PtrCtx: "ctx", PtrStack: "fp", PtrPacket: "pkt", PtrPacketMeta: "pkt_meta",
	PtrPacketEnd: "pkt_end", PtrMapHandle: "map", PtrMapValue: "map_value", PtrMapValueOrNull: "map_value_or_null",
	PtrMem: "mem", PtrFunc: "func", PtrUnsure: "mixed",
}

// String returns the kind's word in messages and dumps, such as pkt_end.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// String prints r as state dumps and tests do: kind, fixed offset, then what is
// known of the variable part: "pkt+14,r=34", "fp-8", "5", "[0,255]", "number".
func (r Reg) String() string {
	if r.Kind == NotInit {
		return "?"
	}
	n := r.num()
	if r.Kind == Scalar {
		return n.String()
	}
	var b strings.Builder
	b.WriteString(r.Kind.String())
	if r.Off != 0 || r.Kind == PtrPacket || r.Kind == PtrStack {
		fmt.Fprintf(&b, "%+d", r.Off)
	}
	if !n.known() || n.bits.Value != 0 {
		b.WriteString("+" + n.String())
	}
	if r.Range != 0 {
		fmt.Fprintf(&b, ",r=%d", r.Range)
	}
	if r.Up != 0 {
		fmt.Fprintf(&b, ",up=%d", r.Up)
	}
	if len(r.Maps) > 0 {
		fmt.Fprintf(&b, ",maps=%d", r.Maps)
	}
	return b.String()
}

// String prints the tightest of the views: a constant, an interval, known bits.
func (n num) String() string {
	if n.known() {
		return fmt.Sprint(int64(n.bits.Value))
	}
	full, implied := anyNum(), bitsNum(n.bits)
	var parts []string
	switch {
	case n.w.slo == int64(n.w.ulo) && n.w.shi == int64(n.w.uhi) && n.w.slo >= 0:
		parts = append(parts, fmt.Sprintf("[%d,%d]", n.w.ulo, n.w.uhi))
	case n.w.shi < 0:
		parts = append(parts, fmt.Sprintf("s[%d,%d]", n.w.slo, n.w.shi))
	default:
		if n.w.ulo != implied.w.ulo || n.w.uhi != implied.w.uhi {
			parts = append(parts, fmt.Sprintf("u[%d,%d]", n.w.ulo, n.w.uhi))
		}
		if n.w.slo != implied.w.slo || n.w.shi != implied.w.shi {
			parts = append(parts, fmt.Sprintf("s[%d,%d]", n.w.slo, n.w.shi))
		}
		if len(parts) == 0 && (n.h.ulo != implied.h.ulo || n.h.uhi != implied.h.uhi) {
			parts = append(parts, fmt.Sprintf("u32[%d,%d]", n.h.ulo, n.h.uhi))
		}
		if len(parts) == 0 && n.h != implied.h {
			parts = append(parts, fmt.Sprintf("s32[%d,%d]", n.h.slo, n.h.shi))
		}
	}
	if n.bits != rangeBits(n.w.ulo, n.w.uhi) && n.bits != full.bits {
		parts = append(parts, "bits "+n.bits.String())
	}
	if len(parts) == 0 {
		return "number"
	}
	return strings.Join(parts, " ")
}
