package verify

import (
	"github.com/cilium/ebpf/asm"
)

const (
	maxFrames = 8   // kernel: MAX_CALL_FRAMES
	maxStack  = 512 // kernel: MAX_BPF_STACK, bytes a frame
	trail     = 16  // branch decisions kept for messages
)

// A slot is 8 aligned bytes of stack. A byte is unwritten, misc (written, value
// unknown), zero, or part of a spill: the low n bytes of the slot holding the low
// n bytes of *v. A val that v points to is never changed in place.
type slot struct {
	v       *val
	n       uint8 // bytes of the spill, 0 none
	written uint8 // bit per byte
	zero    uint8 // bit per byte; within written, outside the spill
}

// A frame is one function's stack and what its caller keeps in registers.
// Frames are shared between states until written: see (*state).own.
type frame struct {
	slots  []slot // slots[k] covers offsets -8(k+1) to -8k-1 from r10
	saved  [4]val // R6 to R9 of the caller
	call   int32  // instruction that called, or -1 in the entry function
	shared bool
}

// A state holds all facts at one instruction of one path.
type state struct {
	regs   [11]val
	frames [maxFrames]*frame
	cur    int    // index of the running frame
	next   uint32 // ids below next are taken
	node   int32  // place in the explorer's graph of loop-head states
	linux  bool   // slots are kept as Linux's verifier keeps them: kernelslot.go
	early  bool   // the same of Linux before 6.8
	steps  uint16 // branch decisions made, modulo 2^16
	path   [trail]int32
}

func newFrame(call int32) *frame { return &frame{call: call} }

// clone returns a copy of s; from now on both share their frames.
func (x *explorer) clone(s *state) *state {
	var c *state
	if n := len(x.free); n > 0 {
		c, x.free = x.free[n-1], x.free[:n-1]
	} else {
		c = new(state)
	}
	*c = *s
	for i := 0; i <= s.cur; i++ {
		s.frames[i].shared = true
	}
	return c
}

// drop returns a state without references to the free list.
func (x *explorer) drop(s *state) { x.free = append(x.free, s) }

// own returns frame i for writing.
func (s *state) own(i int) *frame {
	f := s.frames[i]
	if f.shared {
		c := *f
		c.shared = false
		c.slots = append(make([]slot, 0, len(f.slots)+2), f.slots...)
		s.frames[i] = &c
		f = &c
	}
	return f
}

// decide records a branch decision for messages.
func (s *state) decide(i int, taken bool) {
	v := int32(i) << 1
	if taken {
		v |= 1
	}
	s.path[s.steps%trail] = v
	s.steps++
}

func (s *state) freshID() uint32 {
	s.next++
	return s.next
}

// slotAt returns the index of the slot that holds the byte at off, and the byte's
// place in it; off is negative.
func slotAt(off int) (int, int) { return (-off - 1) / 8, off & 7 }

// slot returns slot k for writing.
func (f *frame) slot(k int) *slot {
	for len(f.slots) <= k {
		f.slots = append(f.slots, slot{})
	}
	return &f.slots[k]
}

func (f *frame) at(k int) slot {
	if k < len(f.slots) {
		return f.slots[k]
	}
	return slot{}
}

// breakSpill turns the spill into plain bytes; zero bytes of a known number are
// recorded as zero.
func (l *slot) breakSpill() {
	if l.n == 0 {
		return
	}
	if l.v.kind == Scalar {
		for b := range int(l.n) {
			if (l.v.n.bits.Value|l.v.n.bits.Mask)>>(8*b)&0xff == 0 {
				l.zero |= 1 << b
			}
		}
	}
	l.v, l.n = nil, 0
}

// cover returns the bits of bytes first to first+n-1 of a slot.
func cover(first, n int) uint8 { return uint8((1<<n - 1) << first) }

// store writes size bytes at off of frame fi: v whole or in part. A store that
// starts a slot keeps v as a spill, others keep only whether bytes are zero.
func (s *state) store(fi, off, size int, v *val) {
	f := s.own(fi)
	if k, first := slotAt(off); s.linux && first+size <= 8 {
		if l := f.slot(k); s.early {
			l.storeEarly(first, size, v)
		} else {
			l.storeLinux(first, size, v)
		}
		return
	}
	zero := v.kind == Scalar && v.n.known() && v.n.zextIsZero(size)
	if k, first := slotAt(off); first == 0 && !zero {
		l := f.slot(k)
		if l.n > uint8(size) {
			l.breakSpill()
		}
		m := cover(0, size)
		l.written |= m
		l.zero &^= m
		c := new(val)
		*c = *v
		if size < 8 {
			c.n = v.n.zext(uint(8 * size))
			if c.kind != Scalar {
				*c = scalar(rangeNum(0, 1<<(8*size)-1))
			} else if v.n.w.uhi > 1<<(8*size)-1 {
				c.unlink()
			}
		}
		l.v, l.n = c, uint8(size)
		return
	}
	s.fill(fi, off, size, zero)
}

func (n *num) zextIsZero(size int) bool {
	return size >= 8 && n.bits.Value == 0 || size < 8 && n.bits.Value&(1<<(8*size)-1) == 0
}

// fill marks size bytes at off written: all zero, or unknown.
func (s *state) fill(fi, off, size int, zero bool) {
	f := s.own(fi)
	for size > 0 {
		k, first := slotAt(off)
		n := min(8-first, size)
		l := f.slot(k)
		m := cover(first, n)
		switch {
		case s.linux:
			l.scrub()
		case l.n > 0 && cover(0, int(l.n))&m != 0:
			l.breakSpill()
		}
		l.written |= m
		if zero {
			l.zero |= m
		} else {
			l.zero &^= m
		}
		off, size = off+n, size-n
	}
}

// smudge records that some of the size bytes at off may have been written: facts
// about them are lost, and unwritten bytes stay unwritten.
func (s *state) smudge(fi, off, size int, zero bool) {
	f := s.own(fi)
	for size > 0 {
		k, first := slotAt(off)
		n := min(8-first, size)
		l := f.slot(k)
		m := cover(first, n)
		switch {
		case s.linux && zero && l.holdsZero() && m&^cover(0, int(l.n)) == 0: // stays a spill of 0
		case s.linux:
			l.scrub()
		case l.n > 0 && cover(0, int(l.n))&m != 0:
			l.breakSpill()
		}
		if !zero {
			l.zero &^= m
		}
		off, size = off+n, size-n
	}
}

// load reads size bytes at off of frame fi. written reports whether all bytes had been
// written; whole is false if the load reads only a part of a pointer.
func (s *state) load(fi, off, size int) (v val, written, whole bool) {
	f := s.frames[fi]
	k, first := slotAt(off)
	n := min(8-first, size)
	l := f.at(k)
	m := cover(first, n)
	written = l.written&m == m
	if n < size { // crosses into the next slot up
		zero := written && l.zero&m == m
		for o, left := off+n, size-n; left > 0; o, left = o+8, left-8 {
			k--
			nm := cover(0, min(8, left))
			nl := f.at(k)
			written = written && nl.written&nm == nm
			zero = zero && nl.zero&nm == nm
			if nl.n > 0 && nl.v.kind != Scalar {
				return scalar(anyNum()), written, false
			}
		}
		if l.n > 0 && cover(0, int(l.n))&m != 0 && l.v.kind != Scalar {
			return scalar(anyNum()), written, false
		}
		if zero {
			return constant(0), written, true
		}
		return scalar(sized(size)), written, true
	}
	switch {
	case s.early && l.n > 0 && l.v.kind == Scalar:
		return l.fillEarly(first, n), written, true
	case s.linux && l.n > 0 && l.v.kind == Scalar:
		return l.fillLinux(first, n), written, true
	case l.n > 0 && cover(0, int(l.n))&m != 0:
		return l.fill(first, n, m, written)
	}
	if l.zero&m == m {
		return constant(0), written, true
	}
	return scalar(sized(size)), written, true
}

// fill reads n bytes from first of a slot that holds a spill.
func (l *slot) fill(first, n int, m uint8, written bool) (val, bool, bool) {
	if l.v.kind != Scalar {
		if n == 8 && l.n == 8 {
			return *l.v, true, true
		}
		return scalar(sized(n)), written, false
	}
	if first == 0 && n == int(l.n) {
		return *l.v, true, true
	}
	spill := cover(0, int(l.n))
	if m&^spill != 0 && l.zero&m&^spill != m&^spill {
		return scalar(sized(n)), written, true
	}
	// The spill zero-extended by known zero bytes, or a part of it.
	amount := constNum(uint64(8 * first))
	low := alu(asm.RSh, &l.v.n, &amount, true)
	r := scalar(low.zext(uint(8 * n)))
	if first == 0 && r.n == l.v.n {
		r.id, r.delta, r.low = l.v.id, l.v.delta, l.v.low
	}
	return r, written, true
}

// sized returns the num of any number of size bytes, zero-extended.
func sized(size int) num {
	if size >= 8 {
		return anyNum()
	}
	return rangeNum(0, 1<<(8*size)-1)
}

// each calls fn for every value in registers, saved registers and spills. It copies a
// frame only if want returns true for one of its values, which means that fn will
// write it.
func (s *state) each(want func(*val) bool, fn func(*val)) {
	for r := range s.regs[:10] {
		if want(&s.regs[r]) {
			fn(&s.regs[r])
		}
	}
	for i := 0; i <= s.cur; i++ {
		f := s.frames[i]
		for r := range f.saved {
			if i > 0 && want(&f.saved[r]) {
				f = s.own(i)
				fn(&f.saved[r])
			}
		}
		for k := range f.slots {
			if l := &f.slots[k]; l.n > 0 && want(l.v) {
				f = s.own(i)
				c := new(val)
				*c = *f.slots[k].v
				fn(c)
				f.slots[k].v = c
			}
		}
	}
}
