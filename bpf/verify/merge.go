package verify

// Covering and merging states. Both compare two states at the same instruction in
// the same calling context, where dead registers are NotInit.

// idPairs maps ids of one state to ids of another.
type idPairs struct{ pairs []idPair }

type idPair struct {
	a, b  uint32
	delta int64 // how much more b's number is than a's
	id    uint32
}

// match reports whether id a may correspond to id b, whose number is delta more:
// the mapping from a's to b's and deltas must be a function.
func (p *idPairs) match(a, b uint32, delta int64) bool {
	for i := range p.pairs {
		if p.pairs[i].a == a {
			return p.pairs[i].b == b && p.pairs[i].delta == delta
		}
	}
	p.pairs = append(p.pairs, idPair{a: a, b: b, delta: delta})
	return true
}

// covers reports whether every concrete state in s is in t as well.
func (x *explorer) covers(t, s *state) bool {
	if apart(&t.regs[x.differed], &s.regs[x.differed]) {
		return false
	}
	x.ids.pairs = x.ids.pairs[:0]
	for r := range t.regs[:10] {
		if t.regs[r].kind != NotInit && !x.coversVal(t, &t.regs[r], &s.regs[r]) {
			x.differed = r
			return false
		}
	}
	for i := t.cur; i >= 0; i-- {
		f, g := t.frames[i], s.frames[i]
		if f == g {
			if !x.sameIDs(f) {
				return false
			}
			continue
		}
		for r := range f.saved {
			if !x.coversVal(t, &f.saved[r], &g.saved[r]) {
				return false
			}
		}
		for k := range f.slots {
			if !x.coversSlot(t, &f.slots[k], g.at(k)) {
				return false
			}
		}
	}
	return true
}

// mix records the registers in which s, which covers o from now on, differs from
// o.
func (s *state) mix(o *state) {
	for r := range s.regs[:10] {
		a, b := &s.regs[r], &o.regs[r]
		if a.kind == Scalar && (b.mixed || a.n != b.n) {
			a.mixed = true
		}
	}
}

// apart reports whether t and s are two different constants. This is the quickest test
// that states differ, most often by the register that distinguished the last two.
func apart(t, s *val) bool {
	return t.kind == Scalar && s.kind == Scalar && t.n.bits.Mask|s.n.bits.Mask == 0 && t.n.bits.Value != s.n.bits.Value
}

// sameIDs relates every id in a frame that both states share to itself.
func (x *explorer) sameIDs(f *frame) bool {
	for r := range f.saved {
		if id := f.saved[r].id; id != 0 && !x.ids.match(id, id, 0) {
			return false
		}
	}
	for k := range f.slots {
		if l := &f.slots[k]; l.n > 0 && l.v.id != 0 && !x.ids.match(l.v.id, l.v.id, 0) {
			return false
		}
	}
	return true
}

func (x *explorer) coversVal(st *state, t, s *val) bool {
	if t.kind != s.kind {
		return t.kind == NotInit || t.kind == PtrUnsure && s.kind != NotInit
	}
	switch t.kind {
	case NotInit, PtrUnsure:
		return true
	case Scalar:
		if t.n.bits.Mask == 0 {
			return s.n.bits == t.n.bits
		}
		if !t.n.covers(&s.n) {
			return false
		}
		return t.id == 0 || x.matchScalar(t, s) || st.alone(t.id)
	}
	if t.off != s.off || t.frame != s.frame || t.set != s.set || !t.n.covers(&s.n) {
		return false
	}
	switch t.kind {
	case PtrPacket, PtrPacketMeta:
		return t.rng <= s.rng && t.past <= s.past && t.stale == s.stale && t.delta == s.delta && (t.id == s.id && t.id == 0 || x.ids.match(t.id, s.id, 0))
	case PtrMapValueOrNull:
		return x.ids.match(t.id, s.id, 0)
	}
	return true
}

// matchScalar reports whether t's id covers the links of s: an id, or none since s is
// known.
func (x *explorer) matchScalar(t, s *val) bool {
	switch {
	case s.id != 0:
		return (t.low || !s.low) && x.ids.match(t.id, s.id, int64(s.delta)-int64(t.delta))
	case s.n.known():
		return x.ids.match(t.id, 0, int64(s.n.bits.Value)-int64(t.delta))
	}
	return false
}

// alone reports whether at most one value of s has the scalar id.
func (s *state) alone(id uint32) bool {
	n := 0
	for r := range s.regs[:10] {
		if s.regs[r].id == id && s.regs[r].kind == Scalar {
			n++
		}
	}
	for i := 0; i <= s.cur; i++ {
		f := s.frames[i]
		for r := range f.saved {
			if f.saved[r].id == id && f.saved[r].kind == Scalar {
				n++
			}
		}
		for k := range f.slots {
			if l := &f.slots[k]; l.n > 0 && l.v.id == id && l.v.kind == Scalar {
				n++
			}
		}
	}
	return n < 2
}

// coversSlot reports whether slot s implies all facts of slot t. Bytes that are
// unknown in t may hold any value; whether they were written affects warnings only.
func (x *explorer) coversSlot(st *state, t *slot, s slot) bool {
	if t.zero&^s.zero != 0 {
		return false
	}
	if t.n == 0 {
		return true
	}
	if s.n == t.n {
		return x.coversVal(st, t.v, s.v)
	}
	return t.v.kind == Scalar && t.v.n.covers(&widest[t.n]) && (t.v.id == 0 || st.alone(t.v.id))
}

// widest[n] is any number of n bytes.
var widest = func() (w [9]num) {
	for n := range w {
		w[n] = sized(n)
	}
	return w
}()

// distance counts the registers and slots in which two states differ, and reports
// whether they have the same shape: merging them keeps every pointer a pointer.
func distance(t, s *state) (d int, ok bool) {
	for r := range t.regs[:10] {
		if !near(&t.regs[r], &s.regs[r], &d) {
			return 0, false
		}
	}
	for i := 0; i <= t.cur; i++ {
		f, g := t.frames[i], s.frames[i]
		if f == g {
			continue
		}
		for r := range f.saved {
			if !near(&f.saved[r], &g.saved[r], &d) {
				return 0, false
			}
		}
		for k := range max(len(f.slots), len(g.slots)) {
			a, b := f.at(k), g.at(k)
			switch {
			case a.n > 0 && b.n > 0:
				if !near(a.v, b.v, &d) {
					return 0, false
				}
			case a.n > 0 && a.v.kind != Scalar, b.n > 0 && b.v.kind != Scalar:
				return 0, false
			case a != b:
				d++
			}
		}
	}
	return d, true
}

// near adds to d if a and b differ, and reports whether they have one kind.
func near(a, b *val, d *int) bool {
	if *a == *b {
		return true
	}
	*d++
	if a.kind != b.kind {
		return mayBeNull(a) && mayBeNull(b)
	}
	switch a.kind {
	case PtrStack, PtrCtx: // of little use at a variable offset
		return a.frame == b.frame && a.off == b.off && a.n == b.n
	case PtrFunc, PtrMapHandle:
		return a.set == b.set
	}
	return true
}

func mayBeNull(v *val) bool {
	return v.kind == PtrMapValue || v.kind == PtrMapValueOrNull || v.kind == Scalar && v.n.known() && v.n.bits.Value == 0
}

// merge widens t to cover s too: the hull of both or, in widening mode, a larger
// state that makes chains finite.
func (x *explorer) merge(t, s *state, widen bool) {
	x.ids.pairs = x.ids.pairs[:0]
	t.next = max(t.next, s.next)
	t.node = x.join2(t.node, s.node)
	for r := range t.regs[:10] {
		x.mergeVal(t, &t.regs[r], &s.regs[r], widen)
	}
	for i := 0; i <= t.cur; i++ {
		f, g := t.own(i), s.frames[i]
		for r := range f.saved {
			x.mergeVal(t, &f.saved[r], &g.saved[r], widen)
		}
		if len(f.slots) > len(g.slots) {
			f.slots = f.slots[:len(g.slots)] // unwritten in s: unknown
		}
		for k := range f.slots {
			x.mergeSlot(t, &f.slots[k], &g.slots[k], widen)
		}
	}
}

func (x *explorer) mergeSlot(t *state, a, b *slot, widen bool) {
	if a.n > 0 && a.n == b.n {
		v := *a.v
		x.mergeVal(t, &v, b.v, widen)
		a.meet(b)
		a.v = &v
		if v.kind == NotInit {
			a.v, a.n = nil, 0
		}
		return
	}
	c := *b
	a.breakSpill()
	c.breakSpill()
	a.meet(&c)
}

// meet keeps the facts about bytes that both slots have.
func (l *slot) meet(o *slot) {
	l.written, l.zero = l.written&o.written, l.zero&o.zero
}

func (x *explorer) mergeVal(t *state, a, b *val, widen bool) {
	if *a == *b && (a.id == 0 || a.kind == Scalar && a.n.known()) {
		return
	}
	switch {
	case a.kind == NotInit || b.kind == NotInit:
		*a = val{}
		return
	case a.kind != b.kind && mayBeNull(a) && mayBeNull(b):
		if !x.mergeNull(t, a, b) {
			*a = val{kind: PtrUnsure, n: anyNum()}
		}
		return
	case a.kind != b.kind || a.frame != b.frame || a.kind == PtrUnsure || (a.kind == PtrFunc || a.kind == PtrMapHandle) && a.set != b.set:
		*a = val{kind: PtrUnsure, n: anyNum()}
		return
	}
	a.mixed = a.kind == Scalar && (a.mixed || b.mixed || a.n != b.n)
	if a.set != b.set {
		a.set = x.unionOf(a.set, b.set)
	}
	an, bn := a.n, b.n
	delta := a.off - b.off
	if delta != 0 {
		low := min(a.off, b.off)
		an, bn = plus(&an, int64(a.off-low)), plus(&bn, int64(b.off-low))
		a.rng, b = a.rng-(a.off-low), &val{kind: b.kind, id: b.id, rng: b.rng - (b.off - low), stale: b.stale, delta: b.delta}
		a.off, a.past = low, 0
	}
	if widen && !an.covers(&bn) {
		a.n = an.widen(&bn)
		a.n.sync()
	} else {
		a.n = an.hull(&bn)
	}
	a.past = min(a.past, b.past)
	if a.stale < b.stale {
		a.stale, a.delta = b.stale, b.delta
	}
	if b.rng < a.rng {
		a.rng = b.rng
		if widen {
			a.rng = 0
		}
	}
	switch {
	case a.kind == Scalar:
		x.mergeLink(t, a, &an, b)
	case a.kind == PtrMapValueOrNull:
		a.id = x.pairID(t, a.id, b.id, 0)
	case (a.kind == PtrPacket || a.kind == PtrPacketMeta) && (a.id|b.id != 0 || delta != 0):
		a.id = x.pairID(t, a.id, b.id, int64(delta))
	}
}

// mergeLink links a, whose number was an, to all whose distance from it is the same
// in b's state. A known number is as far from others as their values say.
func (x *explorer) mergeLink(t *state, a *val, an *num, b *val) {
	a.low = a.low || b.low
	switch {
	case a.n.known():
		a.unlink()
	case a.id != 0 && b.id != 0:
		a.id = x.pairID(t, a.id, b.id, int64(b.delta)-int64(a.delta))
	case a.id != 0 && b.n.known():
		a.id = x.pairID(t, a.id, 0, int64(b.n.bits.Value)-int64(a.delta))
	case b.id != 0 && an.known():
		a.id, a.delta = x.pairID(t, 0, b.id, int64(b.delta)-int64(an.bits.Value)), b.delta
	default:
		a.unlink()
	}
}

// mergeNull merges a pointer to a map value and NULL into a pointer that may be null.
func (x *explorer) mergeNull(t *state, a, b *val) bool {
	const null, apart = 1<<32 - 1, 1 << 30 // no id, and no distance, that occurs
	r, ids := *a, [2]uint32{a.id, b.id}
	switch {
	case a.kind == Scalar:
		r, ids[0] = *b, null
	case b.kind == Scalar:
		ids[1] = null
	default: // a value and a value or NULL
		if a.off != b.off || a.n != b.n {
			return false
		}
		r.set = x.unionOf(a.set, b.set)
	}
	r.kind = PtrMapValueOrNull
	r.id = x.pairID(t, ids[0], ids[1], apart)
	*a = r
	return true
}

// pairID returns one id for all values whose ids were a in one state and b in the other.
func (x *explorer) pairID(t *state, a, b uint32, delta int64) uint32 {
	for _, p := range x.ids.pairs {
		if p.a == a && p.b == b && p.delta == delta {
			return p.id
		}
	}
	p := idPair{a, b, delta, t.freshID()}
	x.ids.pairs = append(x.ids.pairs, p)
	return p.id
}

// unionOf returns the index of the union of two sets of maps.
func (x *explorer) unionOf(a, b int16) int16 {
	u := unionSet(x.sets[a], x.sets[b])
	for i, s := range x.sets {
		if sameSet(s, u) {
			return int16(i)
		}
	}
	x.sets = append(x.sets, u)
	return int16(len(x.sets) - 1)
}
