package mach

import (
	"errors"
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// CheckHazards checks an image's instructions against the engine's hazards. It works
// on the encoded words alone; the rules are those of docs/isa.md, docs/isa-notes.md
// and docs/firmware-contract.md:
//
//   - three instructions between the write of a local-memory pointer and its use, on
//     every path; LM0 unused in the first three instructions;
//   - the instruction after local_csr_rd is the immed that takes the value;
//   - a shift by an indirect amount follows an instruction with a port A operand, an
//     asr one with a result, and no branch enters between the two;
//   - the steps of a multiplication are contiguous and none is a branch target;
//   - defer slots contain neither branches nor swaps, and no branch enters them;
//   - condition codes are tested, and carries used, only after an operation that
//     defines them;
//   - a transfer register that a command fills is read, and one that it sends is
//     written, only after the wait for its signal; no command is outstanding where
//     control leaves the program;
//   - registers, signals and pointers of the firmware are left alone;
//   - control does not run past the program's end.
func CheckHazards(im *nfp.Image) error {
	h := &hazardChecker{im: im, insts: make([]nfp.Inst, len(im.Words))}
	for i, w := range im.Words {
		in, err := nfp.Decode(w)
		if err != nil {
			return fmt.Errorf("word %d: %w", i, err)
		}
		h.insts[i] = in
	}
	h.edges()
	for i := range h.insts {
		h.local(i)
	}
	h.flow()
	return errors.Join(h.errs...)
}

type hazardChecker struct {
	im      *nfp.Image
	insts   []nfp.Inst
	reloc   map[int]nfp.RelocKind
	slotOf  []int   // by word: the branch whose slot it is, -1 none
	into    []bool  // by word: a branch or a call's return arrives here
	Succs   [][]int // by word
	returns []int   // instructions after calls
	errs    []error
}

func (h *hazardChecker) fail(i int, format string, args ...any) {
	if len(h.errs) < 20 {
		h.errs = append(h.errs, fmt.Errorf("word %d: %s: %s", i, h.insts[i].Text(), fmt.Sprintf(format, args...)))
	}
}

// edges finds the successors of each instruction. A branch's target succeeds the last
// of its slots.
func (h *hazardChecker) edges() {
	n := len(h.insts)
	h.slotOf, h.into, h.Succs = make([]int, n), make([]bool, n), make([][]int, n)
	h.reloc = map[int]nfp.RelocKind{}
	for _, r := range h.im.Relocs {
		h.reloc[r.Addr] = r.Kind
	}
	for i := range h.slotOf {
		h.slotOf[i] = -1
	}
	falls := make([]bool, n)
	for i := range falls {
		falls[i] = true
	}
	for i := range h.insts {
		in := &h.insts[i]
		if in.Op == nfp.OpImmed && h.reloc[i] == nfp.RelocImmed {
			if int(in.Imm) >= n {
				h.fail(i, "returns outside of the program")
				continue
			}
			h.returns = append(h.returns, int(in.Imm))
			h.into[in.Imm] = true
		}
		if !in.Controls() {
			continue
		}
		last := i + int(in.Defer)
		if last >= n {
			h.fail(i, "slots behind the program's end")
			continue
		}
		for k := i + 1; k <= last; k++ {
			if h.insts[k].Branches() || h.insts[k].Swaps() {
				h.fail(k, "in a defer slot")
			}
			h.slotOf[k] = i
		}
		if in.AlwaysBranches() {
			falls[last] = false
		}
		if in.Op != nfp.OpRtn && h.reloc[i] == nfp.RelocBranch {
			if int(in.Target) >= n {
				h.fail(i, "branches outside of the program")
				continue
			}
			h.Succs[last] = append(h.Succs[last], int(in.Target))
			h.into[in.Target] = true
		} else if in.Op != nfp.OpRtn && in.Op != nfp.OpCtxArb && h.reloc[i] == nfp.RelocNone {
			h.fail(i, "branch without relocation")
		}
	}
	for i := range h.insts {
		if falls[i] && i+1 < n {
			h.Succs[i] = append(h.Succs[i], i+1)
		}
	}
}

// local checks a word and its neighbours.
func (h *hazardChecker) local(i int) {
	in := &h.insts[i]
	var before nfp.Inst
	if i > 0 {
		before = h.insts[i-1]
	}
	follows := func(ok bool, what string) {
		if !ok || h.into[i] || h.slotOf[i] != h.slotOf[i-1] {
			h.fail(i, "must directly follow %s", what)
		}
	}
	switch {
	case before.Op == nfp.OpCSRRead && (in.Op != nfp.OpImmed || in.Imm != 0 || h.into[i] || h.slotOf[i] != h.slotOf[i-1]):
		h.fail(i, "the word behind local_csr_rd must take the value")
	case in.Op == nfp.OpShf && in.ShiftsIndirectly() && i > 0:
		follows(before.Op == nfp.OpALU && before.A.Kind != nfp.None && !before.A.BankB(), "the word with its amount in port A")
	case in.Op == nfp.OpShf && nfp.ShfOp(in.Fn) == nfp.ShfAsr && i > 0:
		follows(before.Op == nfp.OpALU || before.Op == nfp.OpShf, "the word with its sign")
	case in.Op == nfp.OpMul && in.ReadsPrevious() && i > 0:
		follows(before.Op == nfp.OpMul, "the step before")
	}
	if h.into[i] && h.slotOf[i] >= 0 {
		h.fail(i, "branched to, in a defer slot")
	}
	h.territory(i, in)
}

// territory checks that the program writes only registers, signals and pointers
// that it may use.
func (h *hazardChecker) territory(i int, in *nfp.Inst) {
	switch d := in.Dst; {
	case d.Kind == nfp.GPRA && d.N >= 22, d.Kind == nfp.GPRB && d.N >= 23, d.Kind == nfp.Xfer && d.N >= 32:
		h.fail(i, "writes %v, which is the firmware's", d)
	case d.Kind == nfp.AbsA, d.Kind == nfp.AbsB, d.Kind == nfp.NN, d.Kind == nfp.NNIndex, d.Kind == nfp.XferIndex:
		h.fail(i, "writes %v", d)
	}
	if in.Op == nfp.OpCSRWrite && in.Imm != PointerCSR[0] && in.Imm != PointerCSR[2] && in.Imm != PointerCSR[3] {
		h.fail(i, "writes control register %#x", in.Imm)
	}
	posted := in.Op == nfp.OpCmd && in.Cmd.Ctx == 3 && in.Cmd.Code == nfp.CmdAddImm.Code && in.Cmd.Token == nfp.CmdAddImm.Token
	if in.Op == nfp.OpCmd && (in.Cmd.Sig == 0 && !posted || in.Cmd.Sig > 7) {
		h.fail(i, "signal %d", in.Cmd.Sig)
	}
}

// wordState holds the facts before an instruction, over all paths.
type wordState struct {
	wait  waits
	fly   flights
	nz    bool // N and Z are defined
	carry bool // C and V are defined
}

func (s *wordState) meet(o wordState) bool {
	changed := s.wait.merge(o.wait)
	changed = s.fly.meet(&o.fly) || changed
	if s.nz && !o.nz {
		s.nz, changed = false, true
	}
	if s.carry && !o.carry {
		s.carry, changed = false, true
	}
	return changed
}

// flow follows pointers and condition codes along all paths.
func (h *hazardChecker) flow() {
	n := len(h.insts)
	if n == 0 {
		return
	}
	state, seen := make([]wordState, n), make([]bool, n)
	work := []int{0}
	state[0].wait[0], seen[0] = PointerDelay, true
	for _, r := range h.returns {
		if !seen[r] {
			seen[r] = true
			work = append(work, r)
		}
	}
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		s := state[i]
		s.after(&h.insts[i])
		for _, t := range h.Succs[i] {
			if !seen[t] {
				seen[t], state[t] = true, s
				work = append(work, t)
			} else if state[t].meet(s) {
				work = append(work, t)
			}
		}
	}
	for i := range h.insts {
		if !seen[i] {
			continue
		}
		if i >= n-padding {
			h.fail(i, "control reaches the padding")
			return
		}
		h.state(i, state[i])
	}
}

func (h *hazardChecker) state(i int, s wordState) {
	in := &h.insts[i]
	h.signals(i, &s.fly)
	for _, o := range [...]nfp.Operand{in.Dst, in.A, in.B} {
		if o.Kind == nfp.LM && s.wait[o.Ptr] > 0 {
			h.fail(i, "pointer %d is used %d words too early", o.Ptr, s.wait[o.Ptr])
		}
	}
	if in.Op == nfp.OpALU && (nfp.ALUOp(in.Fn) == nfp.ALUAddC || nfp.ALUOp(in.Fn) == nfp.ALUSubC) && !s.carry {
		h.fail(i, "carry is not defined")
	}
	if in.Op != nfp.OpBr || nfp.Cond(in.Fn) > nfp.CondGT {
		return
	}
	switch c := nfp.Cond(in.Fn); {
	case c <= nfp.CondPL && !s.nz:
		h.fail(i, "N and Z are not defined")
	case c > nfp.CondPL && !(s.carry && s.nz):
		h.fail(i, "C and V are not defined")
	}
}

// after is the transfer function of an instruction.
func (s *wordState) after(in *nfp.Inst) {
	m := Inst{Inst: *in, To: 0}
	s.wait.after(&m)
	s.fly.after(in)
	switch in.Op {
	case nfp.OpALU, nfp.OpShf:
		if in.Flags&nfp.NoCC != 0 {
			return
		}
		s.nz = true
		s.carry = false
		if in.Op == nfp.OpALU {
			switch nfp.ALUOp(in.Fn) {
			case nfp.ALUAdd, nfp.ALUAdd16, nfp.ALUAdd8, nfp.ALUAddC, nfp.ALUSub, nfp.ALUSubC, nfp.ALUBSubA:
				s.carry = true
			}
		}
	case nfp.OpLdField:
		if in.Flags&nfp.LoadCC != 0 {
			s.nz, s.carry = true, false
		}
	case nfp.OpMul:
		if fn := nfp.MulStep(in.Fn); (fn == nfp.Mul32Last || fn == nfp.Mul32Last2) && in.Flags&nfp.NoCC == 0 {
			s.nz, s.carry = false, false
		}
	}
}
