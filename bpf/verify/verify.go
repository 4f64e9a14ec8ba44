package verify

import (
	"cmp"
	"math"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

const defaultBudget = 1_000_000 // instructions explored; kernel: BPF_COMPLEXITY_LIMIT_INSNS

// Verify proves that c is safe on every path, by the kernel's rules for a privileged
// user on a machine that allows unaligned access.
//
// On return without error:
//   - no execution reads an uninitialised register, accesses memory outside the stack,
//     packet, map value or region that it points into, or runs forever;
//   - the Facts hold in every execution: before each instruction each live register is
//     as Regs describes it, and likewise for every field;
//   - an instruction that is not Reachable is never executed.
//
// The error is a *Rejection with every reason found. If opt.Unproven is set, and
// checks at run time can replace all missing proofs (see Rejection.Unproven), Verify
// returns it together with Facts that assume those checks.
//
// Some features are not covered. Callbacks (bpf_loop, for_each_map_elem), kernel
// functions, dynptrs, timers, locks, sockets, ring buffer records and maps in maps
// give feature-unsupported. Global functions are explored at each call like static
// ones; the kernel verifies them once by their types. Liveness of stack slots is
// unknown, so dead slots can keep states apart until they are merged.
func Verify(c *code.Code, opt *Options) (*Facts, error) {
	if opt == nil {
		opt = &Options{}
	}
	f, r := verify(c, opt)
	switch {
	case r == nil:
		return f, nil
	case r.Unproven:
		return f, r
	}
	return nil, r
}

// Survey is Verify, but returns facts even of a refused program: those that would hold
// if each refused instruction had its intended effect. Callers use them to find
// further faults. The facts are nil if nothing can be explored: the program has
// instructions that do not exist or that no path reaches, or recursion.
func Survey(c *code.Code, opt *Options) (*Facts, *Rejection) {
	if opt == nil {
		opt = &Options{}
	}
	return verify(c, opt)
}

func verify(c *code.Code, opt *Options) (*Facts, *Rejection) {
	log := newJournal(c)
	checkForm(c, log)
	gs, at := graphs(c)
	checkReach(c, gs, log)
	checkCalls(c, log)
	if len(log.reasons) > 0 { // exploring would find few further reasons, and recursion would not end
		return nil, &Rejection{Program: c.Name, Reasons: log.sorted(log.reasons)}
	}
	live := liveness(c, gs, opt.Linux)
	var x *explorer
	for _, w := range widths {
		x = newExplorer(c, opt, gs, at, live)
		x.width, x.narrow = w.width, x.budget-w.each*len(c.Insns)-w.plus
		x.explore()
		if len(x.log.reasons) == 0 || !x.merged || x.stop {
			break
		}
	}
	fresh := func() *explorer { return newExplorer(c, opt, gs, at, live) }
	if opt.Linux {
		x = x.asLinuxWalks(fresh)
	} else if len(x.log.reasons) > 0 && (x.merged || x.endless) && !x.stop && onlyPlaces(x.log.reasons) && fresh().walkAsLinux(false).proved() {
		x.log.reasons = nil
	}
	var ended []Reason
	if opt.Unproven && (x.stop || x.endless) {
		ended = onlyTermination(x.log.reasons)
		x = newExplorer(c, opt, gs, at, live)
		x.widening, x.width = true, narrowWidth
		x.explore()
	}
	x.finish()
	reasons := append(ended, x.log.reasons...)
	if len(reasons) == 0 {
		return x.facts, nil
	}
	r := &Rejection{
		Program: c.Name, Reasons: log.sorted(reasons),
		Unproven: opt.Unproven && !x.stop && onlyBounds(reasons),
	}
	if r.Unproven {
		x.facts.unprove(r.Reasons)
	}
	return x.facts, r
}

// unprove removes the facts about the offsets of refused accesses.
func (f *Facts) unprove(reasons []Reason) {
	for _, r := range reasons {
		i := f.Code.Index(r.PC)
		if i == code.None || f.Mem[i] == nil || r.Reason == "infinite-loop" || r.Reason == "too-complex" {
			continue
		}
		m := f.Mem[i]
		m.Unproven, m.Min, m.Max, m.Bits = true, math.MinInt64, math.MaxInt64, UnknownBits()
	}
}

func newExplorer(c *code.Code, opt *Options, gs []*graph, at []int32, live []uint16) *explorer {
	n := len(c.Insns)
	x := &explorer{
		c: c, opt: opt, gs: gs, at: at, live: live, log: newJournal(c),
		facts: &Facts{
			Code: c, Reachable: make([]bool, n), Mem: make([]*Access, n), Calls: make([]*Call, n),
			Taken: make([]bool, n), Falls: make([]bool, n), Differs: make([]uint16, n),
			Depth: make([]int, len(c.Funcs)), Exits: map[int][]Reg{},
		},
		nodes: make([]node, 1), dropped: map[int32][]int32{},
	}
	for m := range c.Maps {
		x.sets = append(x.sets, []int{m})
	}
	x.ctx, _ = helper.Context(c.Type)
	x.budget = x.limit()
	return x
}

func (x *explorer) limit() int {
	if x.opt.Budget > 0 {
		return x.opt.Budget
	}
	return defaultBudget
}

// entry returns the state in which the program starts.
func (x *explorer) entry() *state {
	s := &state{next: 1, linux: x.opt.Linux, early: x.opt.early()}
	s.frames[0] = newFrame(-1)
	s.regs[asm.R10] = pointer(PtrStack)
	if x.c.Type == ebpf.UnspecifiedProgram {
		s.regs[asm.R1] = pointer(PtrMem)
		s.regs[asm.R2] = constant(uint64(x.opt.MemSize))
	} else {
		s.regs[asm.R1] = pointer(PtrCtx)
	}
	return s
}

// explore runs the program from its entry state.
func (x *explorer) explore() {
	x.facts.Regs = make([][11]Reg, len(x.c.Insns))
	x.run(0, []*state{x.entry()})
	x.checkDepth()
}

// finish derives the facts that need the whole exploration.
func (x *explorer) finish() {
	x.markShared()
	x.facts.Warnings = x.log.sorted(x.log.warnings)
	for i, k := range x.facts.Calls {
		if k == nil {
			continue
		}
		switch asm.BuiltinFunc(x.c.Insns[i].Constant) {
		case asm.FnTailCall:
			k.Const = k.Args[2].Kind == Scalar && k.Args[2].Bits.Known()
		case asm.FnXdpAdjustHead:
			k.Const = k.Args[1].Kind == Scalar && k.Args[1].Bits.Known()
		}
	}
}

func (j *journal) sorted(rs []Reason) []Reason {
	slices.SortStableFunc(rs, func(a, b Reason) int { return cmp.Compare(a.PC, b.PC) })
	return rs
}

func onlyTermination(rs []Reason) []Reason {
	return slices.DeleteFunc(slices.Clone(rs), func(r Reason) bool { return r.Reason != "infinite-loop" && r.Reason != "too-complex" })
}

// onlyPlaces reports whether each reason is one after which exploration continues as if
// the program were right. If a walk then proves the program, the facts hold.
func onlyPlaces(rs []Reason) bool {
	for _, r := range rs {
		switch r.Reason {
		case "packet-bounds", "map-value-bounds", "mem-bounds", "stack-bounds", "null-check", "size-bounds", "zero-size", "infinite-loop":
		default:
			return false
		}
	}
	return true
}

// onlyBounds reports whether checks at run time can replace the missing proofs of all
// reasons.
func onlyBounds(rs []Reason) bool {
	for _, r := range rs {
		switch r.Reason {
		case "infinite-loop", "too-complex", "packet-bounds", "map-value-bounds", "mem-bounds", "stack-bounds", "null-check", "pointer-offset", "size-bounds", "zero-size",
			"uninit-register", "not-a-pointer":
		default:
			return false
		}
	}
	return true
}
