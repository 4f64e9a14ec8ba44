package verify

import (
	"fmt"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// A journal collects findings, one for each instruction and reason.
type journal struct {
	c        *code.Code
	found    map[finding]bool
	reasons  []Reason
	warnings []Reason
}

type finding struct {
	i    int
	word string
}

func newJournal(c *code.Code) *journal { return &journal{c: c, found: map[finding]bool{}} }

// first reports whether this is the first report of word at instruction i, and records it.
func (j *journal) first(i int, word string) bool {
	f := finding{i, word}
	if j.found[f] {
		return false
	}
	j.found[f] = true
	return true
}

// reason fills in everything but the state.
func (j *journal) reason(i int, word, msg string) Reason {
	return Place(j.c, i, Reason{Reason: word, Message: msg})
}

// Place returns r with the pc, text and source line of instruction i of c, and with the
// hint that explains its word unless r has one. If i is no instruction, such as
// code.None, only the hint is added.
func Place(c *code.Code, i int, r Reason) Reason {
	if i >= 0 && i < len(c.Insns) {
		ins := &c.Insns[i]
		r.PC, r.Insn = ins.PC, asmtext.Format(ins.Instruction)
		if l := c.Line(i); l != nil {
			r.File, r.Line = l.FileName(), int(l.LineNumber())
		}
	}
	if r.Hint == "" {
		r.Hint = hintOf(r.Reason)
	}
	return r
}

// fail records why the program is refused.
func (x *explorer) fail(s *state, i int, word, format string, args ...any) {
	if !x.log.first(i, word) {
		return
	}
	r := x.log.reason(i, word, fmt.Sprintf(format, args...))
	if s != nil {
		r.State = x.dump(s)
	}
	x.log.reasons = append(x.log.reasons, r)
}

// warn records a warning about an instruction that is accepted.
func (x *explorer) warn(s *state, i int, word, format string, args ...any) {
	if !x.log.first(i, word) {
		return
	}
	r := x.log.reason(i, word, fmt.Sprintf(format, args...))
	if s != nil {
		r.State = x.dump(s)
	}
	x.log.warnings = append(x.log.warnings, r)
}

func (x *explorer) outOfBudget(s *state, i int) {
	if !x.stop {
		x.fail(s, i, "too-complex", "exploration ends after %d instructions", x.limit())
		x.stop = true
	}
}

// dump prints registers, stack and the last branches of s, for %+v.
func (x *explorer) dump(s *state) string {
	var b strings.Builder
	for r := range s.regs[:10] {
		if v := &s.regs[r]; v.kind != NotInit {
			fmt.Fprintf(&b, " r%d=%v", r, x.reg(v, s.cur))
		}
	}
	f := s.frames[s.cur]
	for k := range f.slots {
		l := &f.slots[k]
		if l.n > 0 {
			fmt.Fprintf(&b, " fp-%d=%v", 8*(k+1), x.reg(l.v, s.cur))
		} else if l.written != 0 {
			fmt.Fprintf(&b, " fp-%d=%s", 8*(k+1), bytesText(l))
		}
	}
	if s.cur > 0 {
		fmt.Fprintf(&b, " frame=%d", s.cur)
	}
	n := min(int(s.steps), trail)
	for k := range n {
		v := s.path[(int(s.steps)-n+k)%trail]
		if k == 0 {
			b.WriteString("\npath:")
		}
		word := "falls"
		if v&1 != 0 {
			word = "jumps"
		}
		fmt.Fprintf(&b, " %d %s", x.c.Insns[v>>1].PC, word)
	}
	return strings.TrimSpace(b.String())
}

// bytesText returns a slot's bytes from high address to low: ? unwritten, m any, 0 zero.
func bytesText(l *slot) string {
	var b [8]byte
	for k := range b {
		switch m := uint8(1) << k; {
		case l.written&m == 0:
			b[7-k] = '?'
		case l.zero&m != 0:
			b[7-k] = '0'
		default:
			b[7-k] = 'm'
		}
	}
	return string(b[:])
}

// Error returns the first reason as one line: place: pc: insn: message (reason).
func (r *Rejection) Error() string {
	if len(r.Reasons) == 0 {
		return r.Program + ": rejected"
	}
	return r.Reasons[0].At(r.Program)
}

// At returns the reason as one line: place: pc: insn: message (reason). The place is
// the source line, or the program if the line is unknown.
func (q *Reason) At(program string) string {
	place := program
	if q.File != "" {
		place = fmt.Sprintf("%s:%d", q.File, q.Line)
	}
	if q.Insn == "" {
		return fmt.Sprintf("%s: pc %d: %s (%s)", place, q.PC, q.Message, q.Reason)
	}
	return fmt.Sprintf("%s: pc %d: %s: %s (%s)", place, q.PC, q.Insn, q.Message, q.Reason)
}

// Format prints Error for %v and %s; %+v prints all reasons, each with its hint,
// state and path.
func (r *Rejection) Format(f fmt.State, verb rune) {
	if verb != 'v' || !f.Flag('+') {
		fmt.Fprint(f, r.Error())
		return
	}
	for k := range r.Reasons {
		q := &r.Reasons[k]
		if k > 0 {
			fmt.Fprintln(f)
		}
		fmt.Fprint(f, q.At(r.Program))
		if q.Hint != "" {
			fmt.Fprintf(f, "\n  hint: %s", q.Hint)
		}
		if q.State != "" {
			fmt.Fprintf(f, "\n  state: %s", strings.ReplaceAll(q.State, "\n", "\n  "))
		}
	}
}

// NewRejection returns a Rejection of structural faults, which package code finds
// before there is a program to explore.
func NewRejection(program string, faults []code.Fault) *Rejection {
	r := &Rejection{Program: program}
	for _, f := range faults {
		r.Reasons = append(r.Reasons, Reason{Reason: f.Reason, PC: f.PC, Message: f.Msg, Hint: hintOf(f.Reason)})
	}
	return r
}
