package mach

import (
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

var none nfp.Operand

// chip is the default card's model.
func chip(t *testing.T) *nfp.Model {
	t.Helper()
	m, err := nfp.ModelByName("")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Words for the blocks of these tests.
func wordOf(dst, a nfp.Operand, op nfp.ALUOp, b nfp.Operand) Inst {
	in := Inst{Inst: nfp.ALU(dst, a, op, b), PC: -1, To: -1, DeadCC: dst != none}
	return in
}

func loadOf(dst nfp.Operand, n uint32) Inst {
	return Inst{Inst: nfp.Inst{Op: nfp.OpImmed, Dst: dst, Imm: n}, PC: -1, To: -1}
}

func branchOf(c nfp.Cond, to int32) Inst {
	return Inst{Inst: nfp.Inst{Op: nfp.OpBr, Fn: uint8(c)}, PC: -1, To: to}
}

func doneOf() Inst {
	in := branchOf(nfp.CondAlways, -1)
	in.Reloc, in.Call = nfp.RelocDone, &CallSite{Uses: BankA(0)}
	return in
}

func readOf(x int) Inst {
	return Inst{Inst: nfp.Inst{Op: nfp.OpCmd, A: GPRA(1), B: Const(0), Cmd: nfp.Command{Code: 0x5c, Token: 2, Sig: 1, Mode: 4, Xfer: uint8(x)}},
		In: 1 << x, PC: -1, To: -1}
}

func trimmed(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\t", "")) }

// compareWays runs a pass on f, compares its text with want, and runs the checker.
func compareWays(t *testing.T, f *Func, run func(*Func), want string) {
	t.Helper()
	before := f.Clone()
	run(f)
	if got := f.String(); trimmed(got) != trimmed(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := CheckMotion(before, f); err != nil {
		t.Error(err)
	}
}

// TestAdvance checks that a constant of the fall-through path moves to the slots of
// the read before the branch, and one of the other path too; one that the other path
// reads stays.
func TestAdvance(t *testing.T) {
	f := &Func{Name: "f", Entry: true, Blocks: []*Block{
		{Insts: []Inst{readOf(0), wordOf(none, Xfer(0), nfp.ALUSub, Const(8)), branchOf(nfp.CondNE, 2)}, Next: 1},
		{Insts: []Inst{loadOf(GPRB(3), 1), loadOf(GPRA(2), 7), wordOf(GPRA(0), GPRA(2), nfp.ALUAdd, Xfer(0)), doneOf()}, Next: -1},
		{Insts: []Inst{loadOf(GPRA(4), 9), wordOf(GPRA(0), GPRA(4), nfp.ALUAdd, GPRB(3)), doneOf()}, Next: -1},
	}}
	compareWays(t, f, advance, `
func f frame=0 spill=0
b0:
    mem[read32_swap, $xfer_0, gprA_1, 0x0, 1], ctx_swap[sig1], defer[2]
  | immed[gprA_2, 0x7]
  | immed[gprA_4, 0x9]
    alu[--, $xfer_0, -, 0x8]
    bne[.0] ; to b2
    next b1
b1:
    immed[gprB_3, 0x1]
    alu[gprA_0, gprA_2, +, $xfer_0]
    br[.0] ; done
b2:
    alu[gprA_0, gprA_4, +, gprB_3]
    br[.0] ; done
`)
}

// TestAdvanceKeepsFrame checks that a write through an unknown pointer stays if
// another path may read the place.
func TestAdvanceKeepsFrame(t *testing.T) {
	f := &Func{Name: "f", Entry: true, Blocks: []*Block{
		{Insts: []Inst{readOf(0), wordOf(none, Xfer(0), nfp.ALUSub, Const(8)), branchOf(nfp.CondNE, 2)}, Next: 1},
		{Insts: []Inst{loadOf(LM(0, 1), 7)}, Next: 2},
		{Insts: []Inst{loadOf(LM(2, 0), 1), wordOf(GPRA(0), none, nfp.ALUB, LM(2, 1)), doneOf()}, Next: -1},
	}}
	compareWays(t, f, advance, f.String())
}

// TestFill checks that a jump takes the first instructions of its target along in a
// loop, to the firmware, or if it is the only predecessor.
func TestFill(t *testing.T) {
	f := &Func{Name: "f", Entry: true, Jump: 4, Blocks: []*Block{
		{Insts: []Inst{loadOf(GPRA(1), 5)}, Next: 1},
		{Insts: []Inst{wordOf(GPRA(0), GPRA(0), nfp.ALUAdd, GPRB(1)), wordOf(none, GPRA(0), nfp.ALUSub, GPRA(1)), branchOf(nfp.CondCC, 3)}, Next: 2, Depth: 1},
		{Insts: []Inst{loadOf(GPRB(1), 2), branchOf(nfp.CondAlways, 1)}, Next: -1, Depth: 1},
		{Insts: []Inst{loadOf(GPRA(0), 3), doneOf()}, Next: -1},
	}}
	f.Blocks[2].Insts[1].Slots, f.Blocks[2].Insts[1].Defer, f.Blocks[2].Insts[1].Glue = 1, 1, true
	never := func(int32) (uint64, bool) { return 0, false }
	compareWays(t, f, func(f *Func) { fill(f, never, false) }, `
func f frame=0 spill=0
b0:
    immed[gprA_1, 0x5]
    next b1
b1:
    alu[gprA_0, gprA_0, +, gprB_1]
    next b2
b2:
    alu[--, gprA_0, -, gprA_1]
    bcc[.0] ; to b4
    next b3
b3:
    immed[gprB_1, 0x2]
  | alu[gprA_0, gprA_0, +, gprB_1]
  | br[.0], defer[2] ; to b2 ; slots 2
b4:
    immed[gprA_0, 0x3]
    br[.0] ; done
`)
}

// TestFillMeasured checks that a branch exits the program itself if most packets were
// measured to exit there.
func TestFillMeasured(t *testing.T) {
	at := func(in Inst, pc int32) Inst { in.PC = pc; return in }
	f := &Func{Name: "f", Entry: true, Jump: 4, Blocks: []*Block{
		{Insts: []Inst{at(wordOf(none, GPRA(1), nfp.ALUSub, Const(8)), 0), at(branchOf(nfp.CondNE, 2), 0)}, Next: 1},
		{Insts: []Inst{at(loadOf(GPRA(0), 1), 1), doneOf()}, Next: -1},
		{Insts: []Inst{at(loadOf(GPRA(0), 2), 2), doneOf()}, Next: -1},
	}}
	count := func(pc int32) (uint64, bool) { return []uint64{100, 40, 60}[max(pc, 0)], pc >= 0 }
	compareWays(t, f, func(f *Func) { fill(f, count, false) }, `
func f frame=0 spill=0
b0:
    alu[--, gprA_1, -, 0x8]
    immed[gprA_0, 0x2]
  | bne[.0], defer[1] ; done ; slots 1
    next b1
b1:
    immed[gprA_0, 0x1]
    br[.0] ; done
`)
}

// TestLinkTurns checks that a branch over a jump to an exit is inverted.
func TestLinkTurns(t *testing.T) {
	f := &Func{Name: "f", Entry: true, Jump: 4, Blocks: []*Block{
		{Insts: []Inst{branchOf(nfp.CondEQ, 3)}, Next: 2},
		{Insts: []Inst{loadOf(GPRA(2), 1)}, Next: 2},
		{Insts: []Inst{loadOf(GPRA(1), 1), loadOf(GPRA(3), 1), loadOf(GPRA(4), 1), loadOf(GPRA(0), 1), doneOf()}, Next: -1},
		{Insts: []Inst{loadOf(GPRA(0), 3), doneOf()}, Next: -1},
	}}
	link(f)
	want := `
func f frame=0 spill=0
b0:
    bne[.0] ; to b2
    next b1
b1:
    immed[gprA_0, 0x3]
    br[.0] ; done
b2:
    immed[gprA_1, 0x1]
    immed[gprA_3, 0x1]
    immed[gprA_4, 0x1]
    immed[gprA_0, 0x1]
    br[.0] ; done
`
	if got := f.String(); trimmed(got) != trimmed(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestVerifyWays checks that the checker rejects instructions moved where another path
// needs the overwritten value, moved past an operand's definition, left out or
// executed twice, and branches into slots.
func TestVerifyWays(t *testing.T) {
	a, b, c := loadOf(GPRA(2), 7), wordOf(GPRA(0), GPRA(2), nfp.ALUAdd, Xfer(0)), wordOf(GPRA(0), GPRA(3), nfp.ALUAdd, GPRB(3))
	test := wordOf(none, Xfer(0), nfp.ALUSub, Const(8))
	glued := func(in Inst) Inst { in.Glue = true; return in }
	swap := func(n uint8) Inst { in := readOf(0); in.Cmd.Ctx = n; return in }
	slots := func(in Inst, n uint8) Inst { in.Slots, in.Defer, in.Glue = n, n, n > 0; return in }
	add := wordOf(GPRB(5), GPRB(5), nfp.ALUAdd, Const(1))
	fn := func(blocks ...[]Inst) *Func {
		f := &Func{Name: "f", Entry: true}
		for i, insts := range blocks {
			m := &Block{Insts: insts, Next: int32(i + 1)}
			if n := len(insts); insts[n-1].always() && isControl(&insts[n-1]) {
				m.Next = -1
			}
			f.Blocks = append(f.Blocks, m)
		}
		return f
	}
	before := fn(
		[]Inst{swap(0), test, branchOf(nfp.CondNE, 2)},
		[]Inst{a, b, add, doneOf()},
		[]Inst{c, add, doneOf()})
	for _, k := range []struct {
		name string
		f    *Func
		ok   bool
	}{
		{"as it was", before, true},
		{"to the slots of the swap", fn([]Inst{swap(1), glued(a), test, branchOf(nfp.CondNE, 2)}, []Inst{b, add, doneOf()}, []Inst{c, add, doneOf()}), true},
		{"to the slots of the branch", fn([]Inst{swap(0), test, a, slots(branchOf(nfp.CondNE, 2), 1)}, []Inst{b, add, doneOf()}, []Inst{c, add, doneOf()}), true},
		{"common to both", fn([]Inst{swap(0), test, early(add), slots(branchOf(nfp.CondNE, 2), 1)}, []Inst{a, b, doneOf()}, []Inst{c, doneOf()}), true},
		{"between test and branch", fn([]Inst{swap(0), test, wordOf(none, GPRA(2), nfp.ALUAdd, Xfer(0)), branchOf(nfp.CondNE, 2)}, []Inst{a, b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"needed on the other way", fn([]Inst{swap(0), test, loadOf(GPRA(3), 1), slots(branchOf(nfp.CondNE, 2), 1)}, []Inst{a, b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"before what it needs", fn([]Inst{swap(1), glued(b), test, branchOf(nfp.CondNE, 2)}, []Inst{a, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"left out", fn([]Inst{swap(0), test, branchOf(nfp.CondNE, 2)}, []Inst{b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"executed twice", fn([]Inst{swap(0), test, branchOf(nfp.CondNE, 2)}, []Inst{a, b, add, add, doneOf()}, []Inst{c, add, doneOf()}), true}, // B5 is dead
		{"another constant", fn([]Inst{swap(0), test, branchOf(nfp.CondNE, 2)}, []Inst{loadOf(GPRA(2), 8), b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"another condition", fn([]Inst{swap(0), test, branchOf(nfp.CondEQ, 2)}, []Inst{a, b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"into the slots", fn([]Inst{swap(0), test, branchOf(nfp.CondNE, 4)}, []Inst{a}, []Inst{b}, []Inst{add, slots(branchOf(nfp.CondAlways, 5), 2)}, []Inst{c, add, doneOf()}, []Inst{doneOf()}), false},
		{"a command early", fn([]Inst{swap(0), test, swap(3), slots(branchOf(nfp.CondNE, 2), 1)}, []Inst{a, b, add, doneOf()}, []Inst{c, add, doneOf()}), false},
		{"what is sent", fn([]Inst{swap(1), glued(wordOf(Xfer(0), none, nfp.ALUB, GPRA(1))), test, branchOf(nfp.CondNE, 2)}, []Inst{a, b, add, doneOf()}, []Inst{c, add, doneOf()}), true},
	} {
		if err := CheckMotion(before, k.f); (err == nil) != k.ok {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

// TestVerifyWaysSlots: what a swap sends is not written in slots it did not have.
func TestVerifyWaysSlots(t *testing.T) {
	send := Inst{Inst: nfp.Inst{Op: nfp.OpCmd, A: GPRA(1), B: Const(0), Cmd: nfp.Command{Code: 0x5f, Token: 2, Sig: 1, Mode: 4}}, Out: 1, PC: -1, To: -1}
	in := wordOf(Xfer(0), none, nfp.ALUB, GPRA(2))
	before := &Func{Name: "f", Blocks: []*Block{{Insts: []Inst{send, in, doneOf()}, Next: -1}}}
	send.Cmd.Ctx, in.Glue = 1, true
	after := &Func{Name: "f", Blocks: []*Block{{Insts: []Inst{send, in, doneOf()}, Next: -1}}}
	if CheckMotion(before, after) == nil {
		t.Error("not noticed")
	}
}

// TestMerge checks that a tail that only branches lead to merges into another block
// with the same tail. Compiled for size, a block also jumps into a common tail.
func TestMerge(t *testing.T) {
	build := func() *Func {
		return &Func{Name: "f", Entry: true, Blocks: []*Block{
			{Insts: []Inst{branchOf(nfp.CondEQ, 3)}, Next: 1},
			{Insts: []Inst{branchOf(nfp.CondCC, 4)}, Next: 2},
			{Insts: []Inst{loadOf(GPRA(1), 1), loadOf(GPRA(3), 3), loadOf(GPRB(2), 2), loadOf(GPRA(0), 1), doneOf()}, Next: -1},
			{Insts: []Inst{loadOf(GPRA(0), 1), doneOf()}, Next: -1},
			{Insts: []Inst{loadOf(GPRA(1), 4), loadOf(GPRA(3), 3), loadOf(GPRB(2), 2), loadOf(GPRA(0), 1), doneOf()}, Next: -1},
		}}
	}
	for small, want := range map[bool]int{false: 12, true: 9} {
		f := build()
		before := f.Clone()
		merge(f, small)
		if err := CheckMotion(before, f); err != nil {
			t.Error(err)
		}
		words := 0
		for _, b := range f.Blocks {
			words += len(b.Insts)
		}
		if words != want {
			t.Errorf("small %t: %d words, want %d\n%s", small, words, want, f)
		}
	}
}

// A block of which advance took all words leads on, and is no end.
func TestMergeEmpty(t *testing.T) {
	f := &Func{Name: "f", Entry: true, Blocks: []*Block{
		{Insts: []Inst{branchOf(nfp.CondEQ, 2)}, Next: 1},
		{Insts: []Inst{loadOf(GPRA(1), 1), loadOf(GPRA(0), 1), doneOf()}, Next: -1},
		{Next: 4},
		{Insts: []Inst{loadOf(GPRA(0), 1), doneOf()}, Next: -1},
		{Insts: []Inst{branchOf(nfp.CondCC, 3)}, Next: 5},
		{Insts: []Inst{loadOf(GPRA(0), 2), doneOf()}, Next: -1},
	}}
	before := f.Clone()
	merge(f, false)
	if err := CheckMotion(before, f); err != nil {
		t.Error(err)
	}
}
