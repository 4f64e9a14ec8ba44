package jit

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// verifyAllocation shows that allocate kept the meaning of the code, by other
// means than allocate used (after LLVM's and Cranelift's allocation checkers).
//
// The code before allocation names values: virtual registers, and physical ones
// where a convention does. The code after it names places: physical registers and
// spill slots. Going through the code along all paths, the checker knows for each
// place which names' current values it holds:
//
//   - an instruction that read name v before must read a place that holds v;
//   - one that wrote v makes its destination hold v and nothing else, and every
//     other place forget v;
//   - instructions that allocate added move what a place holds to another;
//   - calls make places forget; where paths meet, places hold what they hold on
//     every path.
//
// Spill slots are reached through pointers, so their state is followed too: LM0
// must stand at the frame and LM3 at a known offset.
func verifyAllocation(f *machFunc) error {
	v := &allocChecker{f: f, in: make([]*placeState, len(f.Blocks))}
	v.in[0] = &placeState{frame: f.Frame, lm0: f.Entry, lm3: -1, scratch: -1, slots: map[int][]name{}}
	for r := range 64 {
		if f.Params>>r&1 != 0 {
			v.in[0].regs[r] = []name{physName(r)}
		}
	}
	work := []int32{0}
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		s := v.in[n].clone()
		b := f.Blocks[n]
		for i := range b.Insts {
			s.step(f, &b.Insts[i]) // errors are reported below, once states are final
		}
		b.succs(func(t int32) {
			if v.in[t] == nil {
				v.in[t] = s.clone()
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
		s := v.in[n].clone()
		for i := range b.Insts {
			if err := s.step(f, &b.Insts[i]); err != nil {
				return fmt.Errorf("%s b%d inst %d: %s: %w", f.Name, n, i, b.Insts[i].text(), err)
			}
		}
	}
	return nil
}

// name is a virtual register, or -1-n for physical register n.
type name int32

func physName(n int) name { return name(-1 - n) }

func nameOf(o nfp.Operand) (name, bool) {
	if o.Kind == nfp.Virtual {
		return name(o.N), true
	}
	n, ok := physical(o)
	return physName(n), ok
}

// environmental reports whether a physical register is set up by others and not
// for allocate: the stack base, the array base of direct maps.
func environmental(n name) bool { return n == physName(22) || n <= physName(32+23) }

type allocChecker struct {
	f  *machFunc
	in []*placeState // by block
}

// placeState is what places hold. Name lists are shared between states and never
// changed in place.
type placeState struct {
	regs    [64][]name
	slots   map[int][]name // by frame offset
	frame   int            // bytes of the frame that are not spill slots
	lm0     bool           // LM0 is at the frame
	lm3     int            // frame offset of LM3, -1 unknown
	scratch int            // frame offset whose number or address B21 holds, -1 unknown
}

func (s *placeState) clone() *placeState {
	c := *s
	c.slots = make(map[int][]name, len(s.slots))
	for k, v := range s.slots {
		c.slots[k] = v
	}
	return &c
}

// meet keeps what both states have and reports a change.
func (s *placeState) meet(o *placeState) bool {
	changed := false
	both := func(x, y []name) []name {
		if slices.Equal(x, y) {
			return x
		}
		kept := slices.DeleteFunc(slices.Clone(x), func(n name) bool { return !slices.Contains(y, n) })
		changed = changed || len(kept) < len(x)
		return kept
	}
	for r := range s.regs {
		s.regs[r] = both(s.regs[r], o.regs[r])
	}
	for k := range s.slots {
		s.slots[k] = both(s.slots[k], o.slots[k])
	}
	if s.lm0 && !o.lm0 {
		s.lm0, changed = false, true
	}
	if s.lm3 >= 0 && s.lm3 != o.lm3 {
		s.lm3, changed = -1, true
	}
	if s.scratch >= 0 && s.scratch != o.scratch {
		s.scratch, changed = -1, true
	}
	return changed
}

// holds is what an operand's place holds.
func (s *placeState) holds(o nfp.Operand) ([]name, error) {
	if n, ok := physical(o); ok {
		return s.regs[n], nil
	}
	k, err := s.slot(o)
	return s.slots[k], err
}

// slot is the frame offset that a local-memory operand reaches.
func (s *placeState) slot(o nfp.Operand) (int, error) {
	switch {
	case o.Kind == nfp.LM && o.Mod == 0 && o.Ptr == 0 && s.lm0:
		return 4 * int(o.N), nil
	case o.Kind == nfp.LM && o.Mod == 0 && o.Ptr == 3 && s.lm3 >= 0:
		return s.lm3 + 4*int(o.N), nil
	}
	return 0, fmt.Errorf("%v is no register and no spill slot", o)
}

// set makes a place hold names, and forget all else.
func (s *placeState) set(o nfp.Operand, names []name) error {
	if n, ok := physical(o); ok {
		s.regs[n] = names
		return nil
	}
	k, err := s.slot(o)
	if err != nil {
		return err
	}
	if k < s.frame {
		return fmt.Errorf("%v lies in the program's own stack", o)
	}
	s.slots[k] = names
	return nil
}

// forget removes a name everywhere.
func (s *placeState) forget(n name) {
	without := func(x []name) []name {
		if !slices.Contains(x, n) {
			return x
		}
		return slices.DeleteFunc(slices.Clone(x), func(m name) bool { return m == n })
	}
	for r := range s.regs {
		s.regs[r] = without(s.regs[r])
	}
	for k := range s.slots {
		s.slots[k] = without(s.slots[k])
	}
}

// step follows one instruction; the state is right behind it even where it
// reports an error.
func (s *placeState) step(f *machFunc, in *machInst) error {
	var err error
	if in.Orig == nil {
		err = s.added(in)
	} else {
		err = s.original(f, in)
	}
	if in.Op == nfp.OpCSRWrite {
		s.pointer(in)
	}
	if c := in.Call; c != nil {
		for r := range 64 {
			if c.Uses>>r&1 != 0 && !slices.Contains(s.regs[r], physName(r)) && err == nil {
				err = fmt.Errorf("call takes %v, which was overwritten", register(r))
			}
			if c.Clobbers>>r&1 != 0 {
				s.regs[r] = nil
			}
			if c.Defs>>r&1 != 0 {
				s.forget(physName(r))
				s.regs[r] = []name{physName(r)}
			}
		}
		if c.LM3 {
			s.lm3 = -1
		}
		if c.Callee != "" && c.Moves0 {
			s.lm0 = false
		}
		s.scratch = -1
	}
	return err
}

// pointer follows writes of LM0 and LM3.
func (s *placeState) pointer(in *machInst) {
	switch in.Imm {
	case lmCSR[0]:
		s.lm0 = in.Base
	case lmCSR[3]:
		s.lm3 = -1
		if n, ok := physical(in.A); ok && in.Orig == nil && n == 32+spillScratch {
			s.lm3 = s.scratch
		}
	}
}

// added follows an instruction that allocate put in: a copy, or the making of a
// spill pointer in B21.
func (s *placeState) added(in *machInst) error {
	scratch := gprB(spillScratch)
	switch {
	case in.Op == nfp.OpNop || in.Op == nfp.OpCSRWrite:
		return nil
	case in.Op == nfp.OpImmed && in.Dst == scratch && in.Frame:
		s.scratch = int(in.Imm)
		return s.set(scratch, nil)
	case in.Op == nfp.OpALU && in.Fn == uint8(nfp.ALUAdd) && in.Dst == scratch && in.B == scratch && in.A == gprA(22):
		return nil
	case in.Op != nfp.OpALU || in.Fn != uint8(nfp.ALUB) || in.Flags != nfp.NoCC:
		return fmt.Errorf("no copy, yet not from select")
	}
	names, err := s.holds(in.B)
	if err != nil {
		return err
	}
	if in.Dst == scratch {
		s.scratch = -1
	}
	return s.set(in.Dst, names)
}

// original follows an instruction of select.
func (s *placeState) original(f *machFunc, in *machInst) error {
	was := in.Orig
	var bad error
	read := func(before, after nfp.Operand) {
		n, isName := nameOf(before)
		switch {
		case bad != nil:
		case !isName || before.Kind != nfp.Virtual:
			if before != after {
				bad = fmt.Errorf("operand %v became %v", before, after)
			} else if isName && !environmental(n) && !slices.Contains(s.regs[-1-n], n) {
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
	if was.Dst.Kind != nfp.None && readsDst(was) {
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
		return bad
	}
	var names []name
	if (&machInst{Inst: *was}).isCopy() {
		// The copy holds what its source held: also under the source's names.
		names, _ = s.holds(in.B)
		names = slices.DeleteFunc(slices.Clone(names), func(m name) bool { return m == n })
	}
	if was.Dst.Kind != nfp.Virtual && was.Dst != in.Dst && bad == nil {
		bad = fmt.Errorf("destination %v became %v", was.Dst, in.Dst)
	}
	s.forget(n)
	if in.Dst == gprB(spillScratch) {
		s.scratch = -1
	}
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
