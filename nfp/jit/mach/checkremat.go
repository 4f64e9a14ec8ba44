package mach

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
)

// Rematerialised registers, for checkAllocation. While a name holds the result of an
// instruction over names that have not changed since, that instruction is its term. An
// instruction that allocate added computes every name whose term it is, over the names
// that its operands hold.
//
// Terms are text. Names are written in angle brackets, so that the terms that a change
// invalidates are easily found.

// remade reports whether definitions were removed, so that terms are needed.
func remade(f *Func) bool {
	for _, b := range f.Blocks {
		for i := range b.Insts {
			if in := &b.Insts[i]; in.Orig != nil && in.Orig.Dst.Kind == nfp.Virtual && in.Dst.Kind == nfp.None {
				return true
			}
		}
	}
	return false
}

// termText returns the term of an instruction over operands and the destination's
// old value.
func termText(in *Inst, was *nfp.Inst, a, b, old string) string {
	op := *was
	op.Dst, op.A, op.B = nfp.Operand{}, nfp.Operand{}, nfp.Operand{}
	op.Flags &^= nfp.NoCC
	return fmt.Sprintf("%v %v %q %v(%s, %s, %s)", op, in.Reloc, in.Sym, in.Frame, a, b, old)
}

// fixedTerm is the term of an operand that is no register of the allocator's.
func fixedTerm(o nfp.Operand) (string, bool) {
	switch {
	case o.Kind == nfp.None:
		return "", true
	case o.Kind == nfp.Const, o == GPRA(22), o == GPRB(23):
		return fmt.Sprint(o), true
	case o.Kind == nfp.LM && o.Ptr == 1 && o.Mod == 0:
		return fmt.Sprintf("<lm1>[%d]", o.N), true
	case o.Kind == nfp.Xfer:
		return fmt.Sprintf("<xfer %d>", o.N), true
	}
	return "", false
}

func (n name) token() string { return fmt.Sprintf("<%d>", n) }

// define records the term of name n.
func (s *placeState) define(n name, in *Inst) {
	if s.terms == nil {
		return
	}
	was := in.Orig
	made, ok := "", !was.ReadsCC() && !in.Glue && was.Computes()
	var of [2]string
	for i, o := range [...]nfp.Operand{was.A, was.B} {
		t, known := fixedTerm(o)
		if o.Kind == nfp.Virtual {
			t, known = name(o.N).token(), true
		}
		of[i], ok = t, ok && known
	}
	old := ""
	if was.ReadsDst() {
		old = s.terms[n]
		ok = ok && old != ""
	}
	made = termText(in, was, of[0], of[1], old)
	s.untrue(n.token())
	delete(s.terms, n)
	if ok && !strings.Contains(made, n.token()) {
		s.terms[n] = made
	}
}

// untrue forgets the terms that contain a name which changes.
func (s *placeState) untrue(token string) {
	maps.DeleteFunc(s.terms, func(_ name, t string) bool { return strings.Contains(t, token) })
}

// outside forgets the terms that commands, calls and writes of the packet vector
// invalidate.
func (s *placeState) outside(in *Inst) {
	if s.terms == nil {
		return
	}
	for r := range 32 {
		if in.In>>r&1 != 0 {
			s.untrue(fmt.Sprintf("<xfer %d>", r))
		}
	}
	c := in.Call
	if c != nil {
		s.untrue("<xfer ")
	}
	if in.Dst.Kind == nfp.LM && in.Dst.Ptr == 1 || c.movesVector() {
		s.untrue("<lm1>")
	}
}

// remake applies an instruction that rematerialises, and returns the names whose term
// it is.
func (s *placeState) remake(in *Inst) ([]name, error) {
	if s.terms == nil || in.WritesCC() || in.ReadsCC() || in.Glue || !in.Computes() {
		return nil, fmt.Errorf("no copy, yet not from select")
	}
	var of [2][]string // what each operand may be called
	for i, o := range [...]nfp.Operand{in.A, in.B} {
		var err error
		if of[i], err = s.tokens(o); err != nil {
			return nil, err
		}
	}
	to, err := s.place(in.Dst)
	if err != nil {
		return nil, err
	}
	old := ""
	if in.ReadsDst() {
		if old = s.made[to]; old == "" {
			return nil, fmt.Errorf("%v holds nothing to merge into", in.Dst)
		}
	}
	var names []name
	made := ""
	for _, a := range of[0] {
		for _, b := range of[1] {
			made = termText(in, &in.Inst, a, b, old)
			for n, t := range s.terms {
				if t == made {
					names = append(names, n)
				}
			}
		}
	}
	slices.Sort(names)
	if err := s.set(in.Dst, names); err != nil {
		return nil, err
	}
	if len(of[0])*len(of[1]) == 1 {
		s.made[to] = made
	}
	return names, nil
}

// tokens returns the forms in which an operand occurs in terms.
func (s *placeState) tokens(o nfp.Operand) ([]string, error) {
	if t, ok := fixedTerm(o); ok {
		if p := s.home(o); o.Kind == nfp.LM && p >= 0 && s.unsettled(p, p+1) != "" {
			return nil, fmt.Errorf("%v is changed too early", o)
		}
		return []string{t}, nil
	}
	names, err := s.holds(o)
	var out []string
	for _, n := range names {
		out = append(out, n.token())
	}
	return out, err
}
