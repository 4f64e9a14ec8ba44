package jit

import (
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// Words for the blocks of these tests.
func wordOf(dst, a nfp.Operand, op nfp.ALUOp, b nfp.Operand) machInst {
	in := machInst{Inst: nfp.ALU(dst, a, op, b), PC: -1, To: -1, DeadCC: dst != none}
	return in
}

func loadOf(dst nfp.Operand, n uint32) machInst {
	return machInst{Inst: nfp.Inst{Op: nfp.OpImmed, Dst: dst, Imm: n}, PC: -1, To: -1}
}

func branchOf(c nfp.Cond, to int32) machInst {
	return machInst{Inst: nfp.Inst{Op: nfp.OpBr, Fn: uint8(c)}, PC: -1, To: to}
}

func doneOf() machInst {
	in := branchOf(nfp.CondAlways, -1)
	in.Reloc, in.Call = nfp.RelocDone, &callSite{Uses: bankA(0)}
	return in
}

func readOf(x int) machInst {
	return machInst{Inst: nfp.Inst{Op: nfp.OpCmd, A: gprA(1), B: constant(0), Cmd: nfp.Command{Code: 0x5c, Token: 2, Sig: 1, Mode: 4, Xfer: uint8(x)}},
		In: 1 << x, PC: -1, To: -1}
}

func trimmed(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\t", "")) }

// compareWays runs a pass on f, whose text must become want, and has the checker look.
func compareWays(t *testing.T, f *machFunc, run func(*machFunc), want string) {
	t.Helper()
	before := f.clone()
	run(f)
	if got := f.String(); trimmed(got) != trimmed(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := verifyWays(before, f); err != nil {
		t.Error(err)
	}
}

// A constant of the way that falls through goes to the slots of the read before the
// branch, one of the other way too; what the other way looks at stays.
func TestAdvance(t *testing.T) {
	f := &machFunc{Name: "f", Entry: true, Blocks: []*machBlock{
		{Insts: []machInst{readOf(0), wordOf(none, xfer(0), nfp.ALUSub, constant(8)), branchOf(nfp.CondNE, 2)}, Next: 1},
		{Insts: []machInst{loadOf(gprB(3), 1), loadOf(gprA(2), 7), wordOf(gprA(0), gprA(2), nfp.ALUAdd, xfer(0)), doneOf()}, Next: -1},
		{Insts: []machInst{loadOf(gprA(4), 9), wordOf(gprA(0), gprA(4), nfp.ALUAdd, gprB(3)), doneOf()}, Next: -1},
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

// A write through a pointer to anywhere leaves what another way may look at behind it.
func TestAdvanceKeepsFrame(t *testing.T) {
	f := &machFunc{Name: "f", Entry: true, Blocks: []*machBlock{
		{Insts: []machInst{readOf(0), wordOf(none, xfer(0), nfp.ALUSub, constant(8)), branchOf(nfp.CondNE, 2)}, Next: 1},
		{Insts: []machInst{loadOf(lm(0, 1), 7)}, Next: 2},
		{Insts: []machInst{loadOf(lm(2, 0), 1), wordOf(gprA(0), none, nfp.ALUB, lm(2, 1)), doneOf()}, Next: -1},
	}}
	compareWays(t, f, advance, f.String())
}

// A jump takes the first words of where it goes along and goes on behind them, in a
// loop, to the firmware, or where they were reached by it alone.
func TestFill(t *testing.T) {
	f := &machFunc{Name: "f", Entry: true, Jump: 4, Blocks: []*machBlock{
		{Insts: []machInst{loadOf(gprA(1), 5)}, Next: 1},
		{Insts: []machInst{wordOf(gprA(0), gprA(0), nfp.ALUAdd, gprB(1)), wordOf(none, gprA(0), nfp.ALUSub, gprA(1)), branchOf(nfp.CondCC, 3)}, Next: 2, Depth: 1},
		{Insts: []machInst{loadOf(gprB(1), 2), branchOf(nfp.CondAlways, 1)}, Next: -1, Depth: 1},
		{Insts: []machInst{loadOf(gprA(0), 3), doneOf()}, Next: -1},
	}}
	f.Blocks[2].Insts[1].Slots, f.Blocks[2].Insts[1].Defer, f.Blocks[2].Insts[1].Glue = 1, 1, true
	never := func(int32) (uint64, bool) { return 0, false }
	compareWays(t, f, func(f *machFunc) { fill(f, never, false) }, `
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

// Where most packets were seen to end at once, the branch ends the program itself.
func TestFillMeasured(t *testing.T) {
	at := func(in machInst, pc int32) machInst { in.PC = pc; return in }
	f := &machFunc{Name: "f", Entry: true, Jump: 4, Blocks: []*machBlock{
		{Insts: []machInst{at(wordOf(none, gprA(1), nfp.ALUSub, constant(8)), 0), at(branchOf(nfp.CondNE, 2), 0)}, Next: 1},
		{Insts: []machInst{at(loadOf(gprA(0), 1), 1), doneOf()}, Next: -1},
		{Insts: []machInst{at(loadOf(gprA(0), 2), 2), doneOf()}, Next: -1},
	}}
	count := func(pc int32) (uint64, bool) { return []uint64{100, 40, 60}[max(pc, 0)], pc >= 0 }
	compareWays(t, f, func(f *machFunc) { fill(f, count, false) }, `
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

// A branch over a jump to where the program ends is turned around.
func TestLinkTurns(t *testing.T) {
	f := &machFunc{Name: "f", Entry: true, Jump: 4, Blocks: []*machBlock{
		{Insts: []machInst{branchOf(nfp.CondEQ, 3)}, Next: 2},
		{Insts: []machInst{loadOf(gprA(2), 1)}, Next: 2},
		{Insts: []machInst{loadOf(gprA(1), 1), loadOf(gprA(3), 1), loadOf(gprA(4), 1), loadOf(gprA(0), 1), doneOf()}, Next: -1},
		{Insts: []machInst{loadOf(gprA(0), 3), doneOf()}, Next: -1},
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

// TestVerifyWays: the checker notices words moved to where another way needs what
// they write, moved past what they need, left out, executed twice, and slots entered.
func TestVerifyWays(t *testing.T) {
	a, b, c := loadOf(gprA(2), 7), wordOf(gprA(0), gprA(2), nfp.ALUAdd, xfer(0)), wordOf(gprA(0), gprA(3), nfp.ALUAdd, gprB(3))
	test := wordOf(none, xfer(0), nfp.ALUSub, constant(8))
	glued := func(in machInst) machInst { in.Glue = true; return in }
	swap := func(n uint8) machInst { in := readOf(0); in.Cmd.Ctx = n; return in }
	slots := func(in machInst, n uint8) machInst { in.Slots, in.Defer, in.Glue = n, n, n > 0; return in }
	add := wordOf(gprB(5), gprB(5), nfp.ALUAdd, constant(1))
	fn := func(blocks ...[]machInst) *machFunc {
		f := &machFunc{Name: "f", Entry: true}
		for i, insts := range blocks {
			m := &machBlock{Insts: insts, Next: int32(i + 1)}
			if n := len(insts); insts[n-1].always() && isControl(&insts[n-1]) {
				m.Next = -1
			}
			f.Blocks = append(f.Blocks, m)
		}
		return f
	}
	before := fn(
		[]machInst{swap(0), test, branchOf(nfp.CondNE, 2)},
		[]machInst{a, b, add, doneOf()},
		[]machInst{c, add, doneOf()})
	for _, k := range []struct {
		name string
		f    *machFunc
		ok   bool
	}{
		{"as it was", before, true},
		{"to the slots of the swap", fn([]machInst{swap(1), glued(a), test, branchOf(nfp.CondNE, 2)}, []machInst{b, add, doneOf()}, []machInst{c, add, doneOf()}), true},
		{"to the slots of the branch", fn([]machInst{swap(0), test, a, slots(branchOf(nfp.CondNE, 2), 1)}, []machInst{b, add, doneOf()}, []machInst{c, add, doneOf()}), true},
		{"common to both", fn([]machInst{swap(0), test, early(add), slots(branchOf(nfp.CondNE, 2), 1)}, []machInst{a, b, doneOf()}, []machInst{c, doneOf()}), true},
		{"between test and branch", fn([]machInst{swap(0), test, wordOf(none, gprA(2), nfp.ALUAdd, xfer(0)), branchOf(nfp.CondNE, 2)}, []machInst{a, b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"needed on the other way", fn([]machInst{swap(0), test, loadOf(gprA(3), 1), slots(branchOf(nfp.CondNE, 2), 1)}, []machInst{a, b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"before what it needs", fn([]machInst{swap(1), glued(b), test, branchOf(nfp.CondNE, 2)}, []machInst{a, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"left out", fn([]machInst{swap(0), test, branchOf(nfp.CondNE, 2)}, []machInst{b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"executed twice", fn([]machInst{swap(0), test, branchOf(nfp.CondNE, 2)}, []machInst{a, b, add, add, doneOf()}, []machInst{c, add, doneOf()}), true}, // nobody looks at B5
		{"another constant", fn([]machInst{swap(0), test, branchOf(nfp.CondNE, 2)}, []machInst{loadOf(gprA(2), 8), b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"another condition", fn([]machInst{swap(0), test, branchOf(nfp.CondEQ, 2)}, []machInst{a, b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"into the slots", fn([]machInst{swap(0), test, branchOf(nfp.CondNE, 4)}, []machInst{a}, []machInst{b}, []machInst{add, slots(branchOf(nfp.CondAlways, 5), 2)}, []machInst{c, add, doneOf()}, []machInst{doneOf()}), false},
		{"a command early", fn([]machInst{swap(0), test, swap(3), slots(branchOf(nfp.CondNE, 2), 1)}, []machInst{a, b, add, doneOf()}, []machInst{c, add, doneOf()}), false},
		{"what is sent", fn([]machInst{swap(1), glued(wordOf(xfer(0), none, nfp.ALUB, gprA(1))), test, branchOf(nfp.CondNE, 2)}, []machInst{a, b, add, doneOf()}, []machInst{c, add, doneOf()}), true},
	} {
		if err := verifyWays(before, k.f); (err == nil) != k.ok {
			t.Errorf("%s: %v", k.name, err)
		}
	}
}

// TestVerifyWaysSlots: what a swap sends is not written in slots it did not have.
func TestVerifyWaysSlots(t *testing.T) {
	send := machInst{Inst: nfp.Inst{Op: nfp.OpCmd, A: gprA(1), B: constant(0), Cmd: nfp.Command{Code: 0x5f, Token: 2, Sig: 1, Mode: 4}}, Out: 1, PC: -1, To: -1}
	in := wordOf(xfer(0), none, nfp.ALUB, gprA(2))
	before := &machFunc{Name: "f", Blocks: []*machBlock{{Insts: []machInst{send, in, doneOf()}, Next: -1}}}
	send.Cmd.Ctx, in.Glue = 1, true
	after := &machFunc{Name: "f", Blocks: []*machBlock{{Insts: []machInst{send, in, doneOf()}, Next: -1}}}
	if verifyWays(before, after) == nil {
		t.Error("not noticed")
	}
}

// An end that only branches lead to goes where another block ends with it. Compiled
// for size, a block jumps to what it has in common with another; else it does not.
func TestMerge(t *testing.T) {
	build := func() *machFunc {
		return &machFunc{Name: "f", Entry: true, Blocks: []*machBlock{
			{Insts: []machInst{branchOf(nfp.CondEQ, 3)}, Next: 1},
			{Insts: []machInst{branchOf(nfp.CondCC, 4)}, Next: 2},
			{Insts: []machInst{loadOf(gprA(1), 1), loadOf(gprA(3), 3), loadOf(gprB(2), 2), loadOf(gprA(0), 1), doneOf()}, Next: -1},
			{Insts: []machInst{loadOf(gprA(0), 1), doneOf()}, Next: -1},
			{Insts: []machInst{loadOf(gprA(1), 4), loadOf(gprA(3), 3), loadOf(gprB(2), 2), loadOf(gprA(0), 1), doneOf()}, Next: -1},
		}}
	}
	for small, want := range map[bool]int{false: 12, true: 9} {
		f := build()
		before := f.clone()
		merge(f, small)
		if err := verifyWays(before, f); err != nil {
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
	f := &machFunc{Name: "f", Entry: true, Blocks: []*machBlock{
		{Insts: []machInst{branchOf(nfp.CondEQ, 2)}, Next: 1},
		{Insts: []machInst{loadOf(gprA(1), 1), loadOf(gprA(0), 1), doneOf()}, Next: -1},
		{Next: 4},
		{Insts: []machInst{loadOf(gprA(0), 1), doneOf()}, Next: -1},
		{Insts: []machInst{branchOf(nfp.CondCC, 3)}, Next: 5},
		{Insts: []machInst{loadOf(gprA(0), 2), doneOf()}, Next: -1},
	}}
	before := f.clone()
	merge(f, false)
	if err := verifyWays(before, f); err != nil {
		t.Error(err)
	}
}
