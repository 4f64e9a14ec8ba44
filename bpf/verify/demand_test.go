package verify_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestDemandHolds overwrites bits that are not demanded with noise before each
// instruction, and checks that programs behave the same.
func TestDemandHolds(t *testing.T) {
	const programs, inputs = 1500, 3
	ran, free := 0, 0
	for seed := uint64(1 << 20); seed < 1<<20+programs; seed++ {
		g := newRandom(seed)
		spec := g.program()
		c, faults := code.New(spec, randomMaps())
		if len(faults) > 0 {
			continue
		}
		facts, err := verify.Verify(c, nil)
		if err != nil {
			continue
		}
		d := facts.Demand()
		oneWay(facts)
		for range inputs {
			in := g.input()
			want, err := trail(facts, in, nil)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			noise := rand.New(rand.NewPCG(seed, 7))
			got, err := trail(facts, in, func(i int, regs *[11]uint64) {
				for r := range regs[:10] {
					if d[i][r] != ^uint64(0) {
						free++
					}
					regs[r] ^= noise.Uint64() &^ d[i][r]
				}
			})
			if err != nil || got != want {
				t.Fatalf("seed %d: with noise %v\n%s\nwithout\n%s\n%s", seed, err, got, want, asmtext.PrintProgram(spec))
			}
			ran++
		}
	}
	if ran < programs || free < 10*ran {
		t.Errorf("%d runs with %d registers overwritten: too few for a result", ran, free)
	}
}

// oneWay replaces branches that the facts decide by plain jumps, which demand nothing.
func oneWay(f *verify.Facts) {
	for i := range f.Code.Insns {
		ins := &f.Code.Insns[i]
		if ins.Target == code.None || ins.OpCode.JumpOp() == asm.Ja || f.Taken[i] == f.Falls[i] {
			continue
		}
		ins.OpCode = asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)
		if f.Falls[i] {
			ins.Target = i + 1
		}
	}
}

// trail returns all that a run shows: verdict, packet, instructions executed, maps.
func trail(f *verify.Facts, in *interp.Input, change func(int, *[11]uint64)) (string, error) {
	var b bytes.Buffer
	var ms []maps.Map
	for _, s := range f.Code.Maps {
		m, err := maps.New(s, nil, nil)
		if err != nil {
			return "", err
		}
		ms = append(ms, m)
	}
	m, err := interp.New(f.Code, ms, &interp.Options{Trace: func(_ *code.Code, i int, regs *[11]uint64) {
		fmt.Fprint(&b, i, " ")
		if change != nil {
			change(i, regs)
		}
	}})
	if err != nil {
		return "", err
	}
	input := *in
	input.Packet = bytes.Clone(in.Packet)
	r, err := m.Run(&input)
	if err != nil {
		return b.String(), err
	}
	fmt.Fprintf(&b, "\n%d %x\n", r.Action, r.Packet)
	for k, spec := range f.Code.Maps {
		fmt.Fprint(&b, spec.Name)
		for key, err := ms[k].NextKey(nil); err == nil; key, err = ms[k].NextKey(key) {
			v, _ := ms[k].LookupAll(key)
			fmt.Fprintf(&b, " %x=%x", key, v)
		}
	}
	return b.String(), nil
}
