package mach

import (
	"fmt"
	"maps"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// checkAllocation shows that target selection and allocation kept the meaning,
// independently of how they work (after LLVM's and Cranelift's allocation checkers).
//
// The operands of the code before allocation name values: virtual registers, or a
// place if the code uses it directly. The operands of the code after it name places:
// physical registers, spill slots, and the places of checkplaces.go. The lattice maps
// each place to the set of names whose current values it holds; the meet over paths
// is intersection. Transfer functions:
//
//   - an instruction that read name v before must read a place that holds v, which
//     may be a copy of a conventional register if the banks require one;
//   - one that wrote v makes its destination hold v alone, and every other place
//     forget v;
//   - instructions that allocate added move the names of one place to another, or
//     recompute a value (checkremat.go);
//   - calls make places forget.
//
// Spill slots are reached through pointers, so the pointers' state is tracked too: LM0
// must point to the frame and LM3 to a known offset.
func checkAllocation(f *Func) error {
	v := &allocChecker{f: f, in: make([]*placeState, len(f.Blocks))}
	v.in[0] = &placeState{frame: f.Frame, lm0: f.Entry, lm3: -1, number: -1, address: -1,
		places: make([][]name, slotPlaces+(f.Frame+f.Spill)/4)}
	if remade(f) {
		v.in[0].terms = map[name]string{}
	}
	for p := outPlaces; p < slotPlaces+f.Frame/4; p++ {
		v.in[0].places[p] = []name{physName(p)}
	}
	for r := range outPlaces {
		if f.Params>>r&1 != 0 {
			v.in[0].places[r] = []name{physName(r)}
		}
	}
	work := []int32{0}
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		s := v.in[n].Clone()
		b := f.Blocks[n]
		for i := range b.Insts {
			s.step(f, &b.Insts[i]) // errors are reported below, once states are final
		}
		b.Succs(func(t int32) {
			if v.in[t] == nil {
				v.in[t] = s.Clone()
				work = append(work, t)
			} else if v.in[t].meet(s) {
				work = append(work, t)
			}
		})
	}
	for n, b := range f.Blocks {
		if v.in[n] == nil {
			continue
		}
		s := v.in[n].Clone()
		for i := range b.Insts {
			if err := s.step(f, &b.Insts[i]); err != nil {
				return fmt.Errorf("%s b%d inst %d: %s: %w", f.Name, n, i, b.Insts[i].text(), err)
			}
		}
	}
	return nil
}

// name is a virtual register, or -1-n for physical register or other place n.
type name int32

func physName(n int) name { return name(-1 - n) }

func nameOf(o nfp.Operand) (name, bool) {
	if o.Kind == nfp.Virtual {
		return name(o.N), true
	}
	n, ok := Physical(o)
	return physName(n), ok
}

// environmental reports whether the firmware sets up a physical register, which
// allocate must not assign: the stack base, the array base of direct maps.
func environmental(n name) bool {
	return n == physName(22) || n <= physName(32+23) && n > physName(outPlaces)
}

type allocChecker struct {
	f  *Func
	in []*placeState // by block
}

// placeState maps places to the names they hold. Name lists are shared between states
// and never changed in place.
type placeState struct {
	places  [][]name
	frame   int  // bytes of the frame that are not spill slots
	lm0     bool // LM0 is at the frame
	lm3     int  // frame offset of LM3, -1 unknown
	number  int  // frame offset that B21 holds as a number, -1 none
	address int  // frame offset that B21 holds as an address, -1 none

	terms map[name]string // each name's defining expression while it is valid; nil if not needed
	made  map[int]string  // by place: term that allocate computed there in this block
}

func (s *placeState) Clone() *placeState {
	c := *s
	c.places = slices.Clone(s.places)
	c.terms, c.made = maps.Clone(s.terms), map[int]string{}
	return &c
}

// meet keeps what both states have and reports a change.
func (s *placeState) meet(o *placeState) bool {
	changed := false
	for i, x := range s.places {
		y := o.places[i]
		if len(x) == 0 || slices.Equal(x, y) {
			continue
		}
		kept := slices.DeleteFunc(slices.Clone(x), func(n name) bool { return !slices.Contains(y, n) })
		changed = changed || len(kept) < len(x)
		s.places[i] = kept
	}
	for n, t := range s.terms {
		if o.terms[n] != t {
			delete(s.terms, n)
			changed = true
		}
	}
	if s.lm0 && !o.lm0 {
		s.lm0, changed = false, true
	}
	for _, p := range [...][2]*int{{&s.lm3, &o.lm3}, {&s.number, &o.number}, {&s.address, &o.address}} {
		if *p[0] >= 0 && *p[0] != *p[1] {
			*p[0], changed = -1, true
		}
	}
	return changed
}

// holds returns the names that an operand's place holds. Conventional registers hold
// themselves.
func (s *placeState) holds(o nfp.Operand) ([]name, error) {
	i, err := s.place(o)
	if err != nil {
		return nil, err
	}
	if n := physName(i); environmental(n) {
		return []name{n}, nil
	}
	return s.places[i], nil
}

// place is the index of an operand's place.
func (s *placeState) place(o nfp.Operand) (int, error) {
	if n, ok := Physical(o); ok {
		return n, nil
	}
	if p := s.home(o); p >= 0 {
		return p, nil
	}
	off := 0
	switch {
	case o.Kind == nfp.LM && o.Mod == 0 && o.Ptr == 0 && s.lm0:
		off = 4 * int(o.N)
	case o.Kind == nfp.LM && o.Mod == 0 && o.Ptr == 3 && s.lm3 >= 0:
		off = s.lm3 + 4*int(o.N)
	default:
		return 0, fmt.Errorf("%v is no register and no spill slot", o)
	}
	if off < s.frame || slotPlaces+off/4 >= len(s.places) {
		return 0, fmt.Errorf("%v is byte %d of the frame, where no spill slots are", o, off)
	}
	return slotPlaces + off/4, nil
}

// set makes a place hold exactly names.
func (s *placeState) set(o nfp.Operand, names []name) error {
	i, err := s.place(o)
	if err == nil {
		s.places[i] = names
		delete(s.made, i)
	}
	if o == GPRB(spillScratch) {
		s.number, s.address = -1, -1
	}
	return err
}

// forget removes a name everywhere.
func (s *placeState) forget(n name) {
	for i, x := range s.places {
		if slices.Contains(x, n) {
			s.places[i] = slices.DeleteFunc(slices.Clone(x), func(m name) bool { return m == n })
		}
	}
}

// step applies one instruction; the state is the one after it even if an error is
// reported.
func (s *placeState) step(f *Func, in *Inst) error {
	var err error
	if in.Orig == nil {
		err = s.added(in)
	} else {
		err = s.original(f, in)
	}
	if in.Op == nfp.OpCSRWrite {
		s.pointer(in)
	}
	s.outside(in)
	if c := in.Call; c != nil {
		clear(s.made)
		if unsettled := s.unsettled(outPlaces, len(s.places)); unsettled != "" && err == nil {
			err = fmt.Errorf("call finds %s changed too early", unsettled)
		}
		s.settle()
		for r := range outPlaces {
			if c.Uses>>r&1 != 0 && !slices.Contains(s.places[r], physName(r)) && err == nil {
				err = fmt.Errorf("call takes %v, which was overwritten", register(r))
			}
			if c.Clobbers>>r&1 != 0 {
				s.places[r] = nil
			}
			if c.Defs>>r&1 != 0 {
				s.forget(physName(r))
				s.places[r] = []name{physName(r)}
			}
		}
		if c.LM3 {
			s.lm3 = -1
		}
		if c.Callee != "" && c.Moves0 {
			s.lm0 = false
		}
		s.number, s.address = -1, -1
	}
	return err
}

// pointer applies writes of LM0 and LM3.
func (s *placeState) pointer(in *Inst) {
	switch in.Imm {
	case PointerCSR[0]:
		s.lm0 = in.Base
	case PointerCSR[3]:
		s.lm3 = -1
		if n, ok := Physical(in.A); ok && in.Orig == nil && n == 32+spillScratch {
			s.lm3 = s.address
		}
	}
}

// added applies an instruction that allocate inserted: a copy, or the
// computation of a spill pointer in B21.
func (s *placeState) added(in *Inst) error {
	scratch := GPRB(spillScratch)
	switch {
	case in.Op == nfp.OpNop || in.Op == nfp.OpCSRWrite:
		return nil
	case in.Op == nfp.OpImmed && in.Dst == scratch && in.Frame:
		err := s.pointOrRemake(in)
		s.number = int(in.Imm)
		return err
	case in.Op == nfp.OpALU && in.Fn == uint8(nfp.ALUAdd) && in.Dst == scratch && in.B == scratch && in.A == GPRA(22):
		off := s.number
		err := s.pointOrRemake(in)
		s.address = off
		return err
	case !in.IsMove():
		_, err := s.remake(in)
		return err
	}
	names, err := s.holds(in.B)
	if err != nil {
		return err
	}
	if s.terms != nil && isReg(in.Dst) { // some may hold by copying
		if made, err := s.remake(in); err == nil {
			names = append(slices.Clip(names), made...)
		}
	}
	return s.set(in.Dst, names)
}

// pointOrRemake applies an instruction that computes an address in B21: a spill
// slot's, or a rematerialised register's.
func (s *placeState) pointOrRemake(in *Inst) error {
	if _, err := s.remake(in); err == nil {
		return nil
	}
	return s.set(in.Dst, nil)
}

// original applies an instruction that select generated.
func (s *placeState) original(f *Func, in *Inst) error {
	was := in.Orig
	if in.Drop && in.Op == nfp.OpNop {
		return s.dropped(in)
	}
	bad := s.untracked(in)
	read := func(before, after nfp.Operand) {
		n, isName := nameOf(before)
		switch {
		case bad != nil:
		case !isName || before.Kind != nfp.Virtual:
			if before != after {
				if names, err := s.holds(after); err != nil || !isName || !slices.Contains(names, n) {
					bad = fmt.Errorf("operand %v became %v", before, after)
				}
			} else if isName && !environmental(n) && !slices.Contains(s.places[-1-n], n) {
				bad = fmt.Errorf("%v was overwritten", after)
			}
		default:
			names, err := s.holds(after)
			if err != nil {
				bad = err
			} else if !slices.Contains(names, n) {
				bad = fmt.Errorf("%v does not hold %v", after, before)
			}
		}
	}
	read(was.A, in.A)
	read(was.B, in.B)
	if was.Dst.Kind != nfp.None && was.ReadsDst() {
		read(was.Dst, in.Dst)
	}
	if bad == nil && !sameInst(*was, in.Inst) {
		bad = fmt.Errorf("operation changed from %v", was.Text())
	}
	n, ok := nameOf(was.Dst)
	if !ok {
		if was.Dst != in.Dst {
			bad = fmt.Errorf("destination %v became %v", was.Dst, in.Dst)
		}
		if p := s.home(in.Dst); p >= 0 {
			s.places[p] = []name{physName(p)}
		}
		return bad
	}
	s.define(n, in)
	if in.Dst.Kind == nfp.None { // rematerialised at its uses
		s.forget(n)
		return bad
	}
	if p := s.home(in.Dst); p >= 0 { // computed in the copy's destination
		s.forget(n)
		s.places[p] = []name{n}
		return bad
	}
	var names []name
	if (&Inst{Inst: *was}).isCopy() {
		// The destination of the copy holds the source's names too.
		names, _ = s.holds(in.B)
		names = slices.DeleteFunc(slices.Clone(names), func(m name) bool { return m == n })
	}
	if was.Dst.Kind != nfp.Virtual && was.Dst != in.Dst && bad == nil {
		bad = fmt.Errorf("destination %v became %v", was.Dst, in.Dst)
	}
	s.forget(n)
	if err := s.set(in.Dst, append(slices.Clip(names), n)); err != nil && bad == nil {
		bad = err
	}
	return bad
}

// sameInst compares all but operands.
func sameInst(x, y nfp.Inst) bool {
	x.Dst, x.A, x.B = y.Dst, y.A, y.B
	return x == y
}
