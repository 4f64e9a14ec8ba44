package mach

import (
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
)

// Of three blocks that are alike the one that is fallen into stays; the others go,
// and branches to them lead there.
func TestShare(t *testing.T) {
	load := func(n uint32, pc int32) Inst {
		return Inst{Inst: nfp.Inst{Op: nfp.OpImmed, Dst: GPRA(0), Imm: n}, PC: pc, To: -1}
	}
	branch := func(to int32) Inst {
		return Inst{Inst: nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondEQ)}, PC: -1, To: to}
	}
	f := &Func{Name: "f", Blocks: []*Block{
		{Insts: []Inst{branch(4)}, Next: 1},
		{Insts: []Inst{branch(5)}, Next: 2},
		{Insts: []Inst{branch(6)}, Next: 3},
		{Insts: []Inst{load(1, 10), jumpTo(7, 10)}, Next: -1},
		{Insts: []Inst{load(1, 20), jumpTo(7, 20)}, Next: -1},
		{Insts: []Inst{load(2, 30), jumpTo(7, 30)}, Next: -1},
		{Insts: []Inst{load(1, 40), jumpTo(7, 40)}, Next: -1},
		{Insts: []Inst{load(3, 50), {Inst: nfp.Inst{Op: nfp.OpBr, Fn: uint8(nfp.CondAlways)}, To: -1}}, Next: -1},
	}}
	share(f)
	if len(f.Blocks) != 6 {
		t.Fatalf("%d blocks, want 6:\n%s", len(f.Blocks), f)
	}
	for i, want := range []int32{3, 4, 3} {
		if to := f.Blocks[i].branch().To; to != want {
			t.Errorf("block %d branches to %d, want %d", i, to, want)
		}
	}
	if f.Blocks[3].Insts[0].PC != 10 || f.Blocks[3].branch().To != 5 {
		t.Errorf("wrong block kept:\n%s", f)
	}
}
