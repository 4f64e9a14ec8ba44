package difftest

import (
	"math/rand/v2"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// The generator writes random programs that verifiers accept. It does not draw random
// opcodes and discard invalid programs. It tracks a verifier's knowledge at each point
// (state), and draws only statements that are safe there.
//
//   - Registers are dead, scalars with an upper bound, or pointers with the bytes
//     known to be reachable around them. A dead register is never read.
//   - Stack bytes are written or not; only written ones are read. A range that holds a
//     loop counter or a spilled pointer is reserved until it is reloaded.
//   - Control flow is structured (if/else, loops with a bound, early exits), so that
//     the state after a join is the meet of two known states.
//   - Pointers never reach memory that is compared, nor the return value. Of
//     results such as time and random numbers, programs use only properties that
//     always hold.
//   - A pointer to a hash map's value dies at the map's next update or delete: the
//     kernel may give the element to another key.
//
// At its end a program folds every live scalar and part of its stack into one number,
// which it leaves in map "out", in the packet or in R0. Internal differences thus
// become visible.
//
// The same seed and features give the same program.

// Generate returns the program of a seed.
func Generate(seed uint64, feat Features) *Program {
	return generate(seed, feat, catalogMaps(), false)
}

// generate is Generate with other maps than the catalogue's. If again is set, programs
// look up the same keys repeatedly.
func generate(seed uint64, feat Features, catalogue []catalogMap, again bool) *Program {
	g := &gen{rng: rand.New(rand.NewPCG(seed, 0x6e6670)), feat: feat, again: again}
	p := &Program{Spec: &ebpf.ProgramSpec{Name: "rnd", Type: ebpf.XDP, License: "GPL"}}
	if g.feat.has(TC) && g.chance(6) {
		p.Spec.Type = ebpf.SchedCLS
	}
	g.tc = p.Spec.Type == ebpf.SchedCLS
	g.maps = map[string]*ebpf.MapSpec{}
	for _, c := range catalogue {
		if g.feat.has(c.need) {
			g.maps[c.spec.Name] = c.spec
			g.names = append(g.names, c.spec.Name)
		}
	}
	g.program("rnd")
	p.Spec.Instructions = g.insns
	p.Maps = g.maps
	p.Targets = g.targets(p.Spec.Type)
	p.Initial = g.contents()
	p.usedMaps()
	p.Packets = g.packets()
	return p
}

// gen holds what the whole program shares.
type gen struct {
	rng   *rand.Rand
	feat  Features
	tc    bool
	maps  map[string]*ebpf.MapSpec
	names []string // of maps, in catalogue order
	subs  []*sub
	insns asm.Instructions
	moves int  // adjust_head sites so far
	again bool // ask for keys again
}

func (g *gen) n(n int) int         { return g.rng.IntN(n) }
func (g *gen) chance(one int) bool { return g.rng.IntN(one) == 0 }

// between draws from low to high, both included.
func (g *gen) between(low, high int) int { return low + g.rng.IntN(high-low+1) }

func pick[T any](g *gen, from []T) T { return from[g.n(len(from))] }

// program writes the callees first, since a caller must know their signatures,
// and places the entry function before them.
func (g *gen) program(name string) {
	if g.feat.has(Subprograms) {
		for range g.n(4) {
			g.subs = append(g.subs, g.sub(len(g.subs)))
		}
	}
	b := g.body(pick(g, []int{64, 128, 192, 256}))
	b.entry()
	b.statements(g.budget())
	b.ending()
	g.insns = b.assemble(name)
	for _, s := range g.needed(g.insns) {
		g.insns = append(g.insns, s.insns...)
	}
}

// targets generates programs for the prog array, if it is used. They are small, do not
// tail-call and do not move the packet's start.
func (g *gen) targets(typ ebpf.ProgramType) map[uint32]*ebpf.ProgramSpec {
	calls := slices.ContainsFunc(g.insns, func(ins asm.Instruction) bool {
		return ins.IsBuiltinCall() && ins.Constant == int64(asm.FnTailCall)
	})
	if !calls {
		return nil
	}
	targets := map[uint32]*ebpf.ProgramSpec{}
	for range g.n(3) {
		t := &gen{rng: g.rng, feat: g.feat &^ (TailCalls | Subprograms | AdjustHead | AdjustTail), tc: g.tc, maps: g.maps, names: g.names}
		i := uint32(g.n(4))
		t.program(targetName(i))
		targets[i] = &ebpf.ProgramSpec{Name: targetName(i), Type: typ, License: "GPL", Instructions: t.insns}
	}
	return targets
}

// budget returns the number of statements a function gets: mostly few, sometimes many.
func (g *gen) budget() int {
	if g.chance(8) {
		return g.between(30, 70)
	}
	return g.between(3, 25)
}

// immediate draws a 32-bit constant: edges of all widths as often as noise.
func (g *gen) immediate() int32 {
	switch g.n(6) {
	case 0:
		return int32(g.n(8))
	case 1:
		return -int32(g.n(8)) - 1
	case 2:
		return pick(g, []int32{0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0x7fffffff, -0x80000000, -0x7fffffff, 0x55555555})
	case 3:
		return 1 << g.n(31)
	case 4:
		return int32(g.n(4096))
	}
	return int32(g.rng.Uint32())
}

// wide draws a 64-bit constant.
func (g *gen) wide() int64 {
	switch g.n(4) {
	case 0:
		return int64(uint64(g.rng.Uint32()) << 32)
	case 1:
		return pick(g, []int64{-0x8000000000000000, 0x7fffffffffffffff, 0xffffffff, 0x100000000, 0x80000000, -1})
	case 2:
		return int64(1) << g.n(63)
	}
	return int64(g.rng.Uint64())
}
