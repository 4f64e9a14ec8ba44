package silicon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Image returns microcode that executes a path: as many instructions, branches and
// commands, in the same order, and the Linux driver's exit. What the instructions
// compute is of no use.
func (p *Path) Image() (*nfp.Image, error) {
	w := &writer{}
	for i := 0; i < len(p.Segments); {
		if n, times := repeats(p.Segments[i:]); times > 1 {
			w.loop(p.Segments[i:i+n], times)
			i += n * times
			continue
		}
		w.segment(&p.Segments[i])
		i++
	}
	w.WriteString(exitStub)
	return nfp.Assemble(w.String())
}

// exitStub is the end of the programs of the Linux driver: the words that report an
// error, and those that return R0. It has ExitWords instructions on the path of a
// program that ends, and ExitIdle idle cycles.
const exitStub = `
	stub:
	br[.15000], defer[2]
	alu[gprA_0, --, B, 0x0]
	ld_field[gprA_0, 1100, 0x82, <<16]
	alu[--, 0x3, -, gprB_0]
	bcc[stub]
	immed[gprB_2, 0x2282]
	immed_w1[gprB_2, 0x4411]
	alu_shf[gprA_1, --, B, gprB_0, <<3]
	alu[--, gprA_1, OR, 0x0]
	alu_shf[gprB_2, 0xff, AND, gprB_2, >>indirect]
	br[.15000], defer[2]
	alu[gprA_0, --, B, 0x0]
	ld_field[gprA_0, 1100, gprB_2, <<16]
	nop
	nop
	nop
	nop
	nop
	nop
	nop
	nop
`

// The exit stub's cost.
const ExitWords, ExitIdle = 10, 1

// writer writes microcode.
type writer struct {
	strings.Builder
	labels int
	began  bool // R0 is set
	owed   int  // instructions of the next segment that a loop before it executes
}

// fill writes n instructions that leave the condition codes alone. The first of a
// program sets R0 to the code that drops the packet.
func (w *writer) fill(n int) {
	for range n {
		if !w.began {
			w.WriteString("immed[gprA_0, 0x1], gpr_wrboth\n")
			w.began = true
			continue
		}
		w.WriteString("immed[gprA_4, 0x1], gpr_wrboth\n")
	}
}

const setCodes = "alu[--, --, B, 0x0]\n"

// branch writes a branch to the next instruction.
func (w *writer) branch(op string) {
	fmt.Fprintf(w, "%s[l%d]\nl%d:\n", op, w.labels, w.labels)
	w.labels++
}

func (w *writer) segment(s *Segment) {
	w.fill(s.Words - s.least() - w.owed)
	w.owed = 0
	for range s.Late {
		w.WriteString(setCodes)
		w.branch("beq")
	}
	if s.Settled > 0 && s.Late == 0 {
		w.WriteString(setCodes)
	}
	for range s.Settled {
		w.fill(1)
		w.branch("beq")
	}
	always := s.Always
	if s.Kind == End {
		always--
	}
	for range always {
		w.branch("br")
	}
	switch s.Kind {
	case ReadPacket:
		fmt.Fprintf(w, "mem[read32_swap, $xfer_0, *l$index1[2], 0x0, %d], ctx_swap[sig1]\n", s.Length)
	case WritePacket:
		fmt.Fprintf(w, "mem[write8_swap, $xfer_0, *l$index1[2], 0x0, %d], ctx_swap[sig1]\n", s.Length)
	case ReadEMEM:
		fmt.Fprintf(w, "mem[read32_swap, $xfer_0, gprB_23, <<8, 0x0, %d], ctx_swap[sig1]\n", s.Length)
	case AddEMEM:
		fmt.Fprintf(w, "mem[add_imm, $xfer_0, gprB_23, <<8, 0x0, %d]\n", s.Length)
	case End:
		w.WriteString("br[.15000]\n")
	}
}

// A group of segments that repeats is a loop, since the measured programs' paths can be
// longer than a code store. The count takes the place of three instructions at the
// start of the group's first segment, one of them a taken branch. In the first round they
// set the counter, set the condition codes and branch. In the others they do nothing,
// decrement and branch back. After the last, the decrement and the branch not taken are three instructions
// of the segment that follows.
const countWords = 3

// longestGroup is the longest group of segments that repeats looks for.
const longestGroup = 8

// repeats returns the length of the group that the segments begin with and that can be
// a loop, and how often it repeats.
func repeats(list []Segment) (n, times int) {
	first := &list[0]
	if first.Late == 0 || first.Words-first.least() < countWords-1 {
		return 1, 1
	}
	for n := 1; n <= longestGroup && n < len(list); n++ {
		times := 1
		for at := n; at+n < len(list) && slices.Equal(list[:n], list[at:at+n]); at += n {
			times++
		}
		if next := &list[n*times]; times > 3 && next.Words-next.least() >= countWords {
			return n, times
		}
	}
	return 1, 1
}

// loop writes a group of segments that is executed so many times.
func (w *writer) loop(group []Segment, times int) {
	head := fmt.Sprintf("l%d", w.labels)
	fmt.Fprintf(w, "immed[gprA_5, 0x%x]\n%s", times, setCodes)
	w.branch("beq")
	first := group[0]
	first.Words, first.Late = first.Words-countWords, first.Late-1
	w.segment(&first)
	for i := range group[1:] {
		w.segment(&group[1+i])
	}
	w.fill(1)
	fmt.Fprintf(w, "alu[gprA_5, gprA_5, -, 0x1]\nbne[%s]\n", head)
	w.owed = countWords
}

// Idle returns the engine cycles that a segment's branches and command cost beyond its
// instructions, on a card with such timing.
func (s *Segment) Idle(t *nfp.Timing) int {
	n := s.Late*t.Branch + s.Settled*t.Settled + s.Always*t.Branch
	if s.Kind != End && s.Kind != AddEMEM {
		n += t.Swap
	}
	return n
}

// Inline returns a profile whose firmware executes the path between its own steps, the
// exit stub included. Its simulation is the same as that of the path's program, event
// for event, and faster; only reads of external memory go to a line for each context. It
// fails for paths with posted commands, which no step has.
func (p *Path) Inline(fw *firmware.Profile, t *nfp.Timing) (*firmware.Profile, error) {
	out := *fw
	out.Before = append([]firmware.Step{}, fw.Before...)
	out.After = append([]firmware.Step{}, fw.After...)
	zero := 0
	for i := range p.Segments {
		s := &p.Segments[i]
		step := firmware.Step{Issue: s.Words + s.Idle(t)}
		switch s.Kind {
		case ReadPacket:
			step.Wait, step.Bytes = "ctm", 4*s.Length
		case WritePacket:
			step.Wait, step.Op, step.Bytes = "ctm", "write", s.Length
		case ReadEMEM:
			step.Wait, step.Bytes, step.Bank = "emem", 4*s.Length, &zero
		case AddEMEM:
			return nil, fmt.Errorf("path %s: posted commands are no step of a firmware", p.ID)
		case End:
			step.Issue += ExitWords + ExitIdle
		}
		out.Before = append(out.Before, step)
	}
	return &out, nil
}
