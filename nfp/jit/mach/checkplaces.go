package mach

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// Places other than registers that selected code writes: transfer registers to send
// from, words of the packet vector, words near LM2, and the frame. For checkAllocation
// each has a name of its own, which it holds initially and after every write of the
// code before. The code after may compute a value in a place early: the place then
// holds the name of the register that would have been copied, and is unsettled. A read
// of an unsettled place is an error; the dropped copy settles it if the register's
// value is still there.
const (
	outPlaces    = 64
	vectorPlaces = outPlaces + 32
	nearPlaces   = vectorPlaces + 16 // words from LM2's base
	slotPlaces   = nearPlaces + 16   // words of the frame, spill slots last
)

// home is the place of a destination. It is -1 for registers, for spill slots,
// and for words that are reached through a pointer that moves or has an unknown
// address.
func (s *placeState) home(o nfp.Operand) int {
	switch {
	case o.Kind == nfp.Xfer:
		return outPlaces + int(o.N)
	case o.Kind != nfp.LM || o.Mod != 0:
	case o.Ptr == 1:
		return vectorPlaces + int(o.N)
	case o.Ptr == 2:
		return nearPlaces + int(o.N)
	case o.Ptr == 0 && s.lm0 && 4*int(o.N) < s.frame:
		return slotPlaces + int(o.N)
	}
	return -1
}

// unsettled returns the name of an unsettled place of [from, to), "" if there is none.
func (s *placeState) unsettled(from, to int) string {
	for p := from; p < min(to, slotPlaces+s.frame/4); p++ {
		if !slices.Contains(s.places[p], physName(p)) {
			return fmt.Sprintf("place %d", p)
		}
	}
	return ""
}

// settle makes every place hold its own name alone.
func (s *placeState) settle() {
	for p := outPlaces; p < slotPlaces+s.frame/4; p++ {
		s.places[p] = []name{physName(p)}
	}
}

// untracked checks that a selected instruction reads no unsettled place, directly or
// through a pointer.
func (s *placeState) untracked(in *Inst) error {
	bad := func(from, to int) error {
		if p := s.unsettled(from, to); p != "" {
			return fmt.Errorf("%s is changed too early", p)
		}
		return nil
	}
	if in.Op == nfp.OpCmd {
		for r := range 32 {
			if in.Out>>r&1 != 0 {
				if err := bad(outPlaces+r, outPlaces+r+1); err != nil {
					return err
				}
			}
		}
	}
	if in.Op == nfp.OpCSRWrite { // words are counted from another place, or something else is moved
		if err := bad(nearPlaces, len(s.places)); err != nil {
			return err
		}
	}
	was := in.Orig
	for i, o := range [...]nfp.Operand{was.A, was.B, was.Dst} {
		if o.Kind != nfp.LM {
			continue
		}
		p := s.home(o)
		aliases := [2]int{nearPlaces, slotPlaces} // what else the word may be
		switch {
		case o.Ptr == 1:
			aliases = [2]int{}
		case o.Ptr == 2 && p >= 0:
			aliases = [2]int{slotPlaces, len(s.places)}
		case p < 0:
			aliases[1] = len(s.places)
		}
		if err := bad(aliases[0], aliases[1]); err != nil {
			return err
		}
		if p >= 0 && (i < 2 || was.ReadsDst()) {
			if err := bad(p, p+1); err != nil {
				return err
			}
		}
	}
	// A place that is written early is compared with the places that it may
	// overlap.
	if p := s.home(in.Dst); p >= nearPlaces && was.Dst.Kind == nfp.Virtual {
		from, to := nearPlaces, slotPlaces
		if p < slotPlaces {
			from, to = slotPlaces, len(s.places)
		}
		return bad(from, to)
	}
	return nil
}

// dropped applies a removed instruction: the destination of a copy must hold the
// source. A coalesced register is another name of the source's place; any other
// removed register is rematerialised at its uses.
func (s *placeState) dropped(in *Inst) error {
	was := in.Orig
	n, ok := nameOf(was.B)
	if was.Dst.Kind == nfp.Virtual {
		to := name(was.Dst.N)
		s.define(to, in)
		s.forget(to)
		if (&Inst{Inst: *was}).isCopy() && n != to {
			for p, names := range s.places {
				if slices.Contains(names, n) {
					s.places[p] = append(slices.Clip(names), to)
				}
			}
		}
		return nil
	}
	p := s.home(was.Dst)
	if !ok || p < 0 || !(&Inst{Inst: *was}).isPlaceCopy() {
		return fmt.Errorf("%v was dropped", was.Text())
	}
	var err error
	if !slices.Contains(s.places[p], n) {
		err = fmt.Errorf("%v was dropped, but the place does not hold the register", was.Text())
	}
	s.places[p] = []name{physName(p)}
	return err
}
