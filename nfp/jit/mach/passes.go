package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
)

// Options holds what the passes need to know of the card, the firmware and the
// caller.
type Options struct {
	Model   *nfp.Model // latencies and branch costs
	Signals []int      // signals that memory commands may use
	// Count returns how often the instruction at an eBPF pc ran; false if that was
	// not measured.
	Count func(pc int32) (uint64, bool)
	Small bool     // prefer few instructions to few cycles
	Off   []string // passes to leave out, of Optional
	Check bool     // run the checkers after the passes they belong to
	// Before and After, if not nil, are called with the name of each pass that runs.
	Before, After func(pass string)
}

// pass is one transformation of a function.
type pass struct {
	name   string
	doc    string // what it does, for docs/compiler.md
	run    func(*Func, *Options) error
	needed bool // cannot be left out
}

// passes run in this order on the output of instruction selection.
var passes = []pass{
	{"xfer-targeting", "computes values directly in the transfer registers that commands send", always(sendDirectly), false},
	{"lm-targeting", "computes values directly in local memory", always(coalesce), false},
	{"regalloc", "assigns banks and registers by linear scan, coalesces, rematerialises and spills", func(f *Func, opt *Options) error {
		allocate(f)
		if opt.Check {
			return checkAllocation(f)
		}
		return nil
	}, true},
	{"branch-cleanup", "removes self-copies, empty blocks and needless branches, and joins blocks", always(cleanFlow), true},
	{"preschedule", "moves commands up and uses of their results down, so that waits overlap", reordering(spread), false},
	{"waits", "assigns signals to commands, and inserts waits as late as possible", func(f *Func, opt *Options) error { addWaits(f, opt.Signals); return nil }, true},
	{"block-placement", "orders blocks so that the hot path falls through", func(f *Func, opt *Options) error { orderBlocks(f, opt.Count); return nil }, false},
	{"fall-through", "inverts branches whose target follows, and adds explicit jumps", always(link), true},
	{"block-merging", "merges identical blocks that only branches lead to", always(share), false},
	{"schedule", "list scheduling within blocks; fills slots of swaps and branches", reordering(schedule), false},
	{"swap-slots", "fills empty slots of swaps with instructions of later blocks", moving(func(f *Func, _ *Options) { advance(f) }), false},
	{"branch-slots", "fills empty slots of branches with copies of the target's first instructions", moving(func(f *Func, opt *Options) { fill(f, opt.Count, opt.Small) }), false},
	{"cross-jumping", "lets blocks with equal tails share one", moving(func(f *Func, opt *Options) { merge(f, opt.Small) }), false},
	{"pointer-delay", "inserts nops between the write of a local-memory pointer and its use", always(delay), true},
}

// passOrder lists which pass must run before which.
var passOrder = []Constraint{
	{"xfer-targeting", "regalloc", "a value that is computed in its destination needs no register"},
	{"lm-targeting", "regalloc", "a value that is computed in its destination needs no register"},
	{"regalloc", "branch-cleanup", "copies within one register leave empty blocks"},
	{"branch-cleanup", "preschedule", "longer blocks give the scheduler more choice"},
	{"preschedule", "waits", "a wait is placed before the first use, which the order decides"},
	{"waits", "schedule", "the scheduler overlaps waits with other instructions"},
	{"block-placement", "fall-through", "a branch is inverted if its target follows"},
	{"fall-through", "block-merging", "jumps are explicit only then"},
	{"schedule", "swap-slots", "slots that the block itself can fill are filled first"},
	{"swap-slots", "branch-slots", "a swap's slot costs nothing on either path, a branch's may"},
	{"branch-slots", "cross-jumping", "the order of instructions in a block is final"},
	{"cross-jumping", "pointer-delay", "distances between instructions are final"},
}

// Optional returns the names of the passes that Options.Off may leave out, in
// their order.
func Optional() []string {
	var names []string
	for _, p := range passes {
		if !p.needed {
			names = append(names, p.name)
		}
	}
	return names
}

// Run applies the passes to a function over virtual registers; Layout then
// places the result. Its errors are those of checkers.
func (f *Func) Run(opt *Options) error {
	if opt.Check {
		remember(f)
	}
	for _, p := range passes {
		if !p.needed && slices.Contains(opt.Off, p.name) {
			continue
		}
		if opt.Before != nil {
			opt.Before(p.name)
		}
		if err := p.run(f, opt); err != nil {
			return err
		}
		if opt.After != nil {
			opt.After(p.name)
		}
	}
	return nil
}

// always adapts a pass that needs no options and cannot fail.
func always(do func(*Func)) func(*Func, *Options) error {
	return func(f *Func, _ *Options) error { do(f); return nil }
}

// reordering adapts a pass that changes the order of instructions within blocks,
// and adds its checker.
func reordering(do func(*Func, *nfp.Model)) func(*Func, *Options) error {
	return func(f *Func, opt *Options) error {
		if !opt.Check {
			do(f, opt.Model)
			return nil
		}
		before := make([][]Inst, len(f.Blocks))
		for i, b := range f.Blocks {
			before[i] = cloneInsts(b.Insts)
		}
		do(f, opt.Model)
		return checkSchedule(f, before)
	}
}

// moving adapts a pass that moves instructions between blocks, and adds its
// checker.
func moving(do func(*Func, *Options)) func(*Func, *Options) error {
	return func(f *Func, opt *Options) error {
		if !opt.Check {
			do(f, opt)
			return nil
		}
		before := f.Clone()
		do(f, opt)
		if before.sameCode(f) {
			return nil
		}
		return checkMotion(before, f)
	}
}
