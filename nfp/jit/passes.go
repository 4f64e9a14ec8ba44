package jit

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// pass is one step from ir to ir.
type pass struct {
	name   string
	run    func(*ir.Module, *ir.Costs) (*ir.Module, error)
	legal  bool // ir.CheckLegal holds afterwards, from here on
	needed bool // cannot be left out
	grows  bool // may add words: left out if the code would not fit
}

// passes run in this order between lifting and selection.
var passes = []pass{
	{name: "inline", run: onModule((*ir.Module).Inline), grows: true},
	{name: "unreachable", run: each(func(f *ir.Func) { f.RemoveUnreachable() })},
	{name: "deadcode", run: each((*ir.Func).EliminateDeadCode)},
	{name: "simplify", run: each((*ir.Func).Simplify)},
	{name: "gvn", run: each((*ir.Func).NumberValues)},
	{name: "array-addresses", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.AddressArrays() })},
	{name: "unroll", run: weighing((*ir.Func).Unroll), grows: true},
	{name: "packet-pointers", run: each((*ir.Func).FoldPacketPointers)},
	{name: "simplify-2", run: each((*ir.Func).Simplify)},
	{name: "gvn-2", run: each((*ir.Func).NumberValues)},
	{name: "redundant-lookups", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.EliminateLookups() })},
	{name: "prove", run: each((*ir.Func).Prove)},
	{name: "divide", run: weighing((*ir.Func).DivideByConstants)},
	{name: "multiply", run: weighing((*ir.Func).MultiplyByConstants)},
	{name: "deadcode-2", run: each((*ir.Func).EliminateDeadCode)},
	{name: "legalize", run: func(m *ir.Module, _ *ir.Costs) (*ir.Module, error) { return legalize(m) }, legal: true, needed: true},
	{name: "mem2reg", run: each((*ir.Func).PromoteFrame)},
	{name: "simplify-3", run: each((*ir.Func).Simplify)},
	{name: "gvn-3", run: each((*ir.Func).NumberValues)},
	{name: "licm", run: each((*ir.Func).HoistLoopInvariants)},
	{name: "prove-2", run: each((*ir.Func).Prove)},
	{name: "jump-threading", run: weighing((*ir.Func).ThreadJumps)},
	{name: "simplify-4", run: each((*ir.Func).Simplify)},
	{name: "gvn-4", run: each((*ir.Func).NumberValues)},
	{name: "if-conversion", run: weighing((*ir.Func).ConvertIfs)},
	{name: "switch-lowering", run: weighing((*ir.Func).LowerSwitches)},
	{name: "dead-stores", run: each((*ir.Func).EliminateDeadStores)},
	{name: "store-sinking", run: each((*ir.Func).SinkStores)},
	{name: "load-combining", run: each((*ir.Func).CombineLoads)},
	{name: "store-combining", run: each((*ir.Func).CombineStores)},
	{name: "simplify-5", run: each((*ir.Func).Simplify)},
	{name: "demanded-bits", run: each((*ir.Func).SimplifyDemandedBits)},
	{name: "deadcode-3", run: each((*ir.Func).EliminateDeadCode)},
	{name: "tail-merging", run: weighing((*ir.Func).MergeTails)},
}

// passOrder says which pass must come before which; Compile's result would be
// wrong or worse otherwise.
var passOrder = [...]struct{ first, then, because string }{
	{"inline", "deadcode", "a call needs its arguments whatever the function does with them"},
	{"unreachable", "deadcode", "what only an unreachable block uses is dead"},
	{"inline", "unroll", "loops with calls may have short bodies in them"},
	{"simplify", "unroll", "what an iteration begins with must be constant"},
	{"unroll", "divide", "a divisor may be constant in each iteration"},
	{"divide", "multiply", "a remainder multiplies by the divisor"},
	{"multiply", "legalize", "64-bit products become several"},
	{"gvn", "array-addresses", "a test for NULL must compare the lookup itself with 0"},
	{"array-addresses", "gvn-2", "the key's load must meet its store"},
	{"array-addresses", "prove", "keys in range are known there"},
	{"array-addresses", "multiply", "a value lies key x stride bytes from the first"},
	{"array-addresses", "redundant-lookups", "what is a sum needs no lookup before it"},
	{"gvn-2", "redundant-lookups", "equal keys must be equal values"},
	{"redundant-lookups", "prove", "the second test for NULL is decided by the first"},
	{"redundant-lookups", "mem2reg", "keys that nobody looks up are not stored"},
	{"gvn", "packet-pointers", "the packet's start must be one value"},
	{"packet-pointers", "prove", "bounds checks are comparisons with the length only then"},
	{"deadcode", "legalize", "halves of dead values would be made"},
	{"deadcode-3", "tail-merging", "blocks differ by what nobody uses"},
	{"legalize", "deadcode-3", "most high halves are dead"},
	{"gvn-3", "jump-threading", "branches on equal values must be on one"},
	{"gvn-3", "licm", "what is read twice in a loop is read once"},
	{"jump-threading", "if-conversion", "a branch to a branch may be gone"},
	{"if-conversion", "deadcode-3", "the other comparison is dead"},
	{"jump-threading", "switch-lowering", "no block may stand between two comparisons"},
	{"switch-lowering", "deadcode-3", "comparisons of the chain are dead"},
	{"legalize", "mem2reg", "the stack is words of 32 bits"},
	{"mem2reg", "gvn-3", "what went through the stack is a value"},
	{"gvn-4", "load-combining", "loads of one place must be one"},
	{"switch-lowering", "store-combining", "stores are joined within a block"},
	{"switch-lowering", "store-sinking", "the end of a straight line is its last block's"},
	{"gvn-4", "store-sinking", "stores to one place must have one address"},
	{"mem2reg", "dead-stores", "a word that is no memory needs no stores"},
	{"dead-stores", "store-sinking", "what is dead need not move"},
	{"store-sinking", "load-combining", "loads of other bytes are gathered past stores behind a join, not past those on its ways"},
	{"store-sinking", "store-combining", "what comes together in a join becomes one command"},
	{"load-combining", "store-combining", "a load between two stores keeps them apart"},
	{"store-combining", "simplify-5", "words are put together by shifts and masks"},
	{"load-combining", "demanded-bits", "fields of words are masked"},
	{"demanded-bits", "deadcode-3", "what is not demanded is not needed"},
	{"load-combining", "deadcode-3", "words of windows that nobody wants are taken out"},
	{"jump-threading", "deadcode-3", "copies leave dead values"},
}

// Optional names the passes that Options.Off may leave out, in their order.
func Optional() []string {
	var names []string
	for _, p := range passes {
		if !p.needed {
			names = append(names, p.name)
		}
	}
	return append(names, mach.Optional()...)
}

// formerNames maps names that passes had in the release before to today's.
var formerNames = map[string]string{
	"arrays": "array-addresses", "packet": "packet-pointers", "lookups": "redundant-lookups", "promote": "mem2reg", "hoist": "licm",
	"thread": "jump-threading", "diamonds": "if-conversion", "chains": "switch-lowering", "deadstores": "dead-stores", "sink": "store-sinking",
	"window": "load-combining", "stores": "store-combining", "demand": "demanded-bits", "tails": "tail-merging",
	"middle simplify": "simplify-2", "middle gvn": "gvn-2", "middle deadcode": "deadcode-2", "late simplify": "simplify-3", "late gvn": "gvn-3",
	"late prove": "prove-2", "last simplify": "simplify-4", "last gvn": "gvn-4", "window simplify": "simplify-5", "late deadcode": "deadcode-3",
	"send": "xfer-targeting", "coalesce": "lm-targeting", "spread": "preschedule", "order": "block-placement", "share": "block-merging",
	"advance": "swap-slots", "fill": "branch-slots", "merge": "cross-jumping",
}

// CurrentName returns the name of the pass that was called name before it was
// renamed, or name itself.
func CurrentName(name string) string {
	if now, ok := formerNames[name]; ok {
		return now
	}
	return name
}

// each adapts a pass over functions to one over a module.
func each(do func(*ir.Func)) func(*ir.Module, *ir.Costs) (*ir.Module, error) {
	return weighing(func(f *ir.Func, _ *ir.Costs) { do(f) })
}

// onModule adapts a pass over a module that cannot fail.
func onModule(do func(*ir.Module, *ir.Costs)) func(*ir.Module, *ir.Costs) (*ir.Module, error) {
	return func(m *ir.Module, c *ir.Costs) (*ir.Module, error) {
		do(m, c)
		return m, nil
	}
}

// weighing is each for passes that choose by what code costs.
func weighing(do func(*ir.Func, *ir.Costs)) func(*ir.Module, *ir.Costs) (*ir.Module, error) {
	return func(m *ir.Module, c *ir.Costs) (*ir.Module, error) {
		for _, f := range m.Funcs {
			do(f, c)
		}
		return m, nil
	}
}

// checkPassOrder reports the first constraint that the list of passes breaks.
func checkPassOrder(list []pass) error {
	at := func(name string) int {
		return slices.IndexFunc(list, func(p pass) bool { return p.name == name })
	}
	for i, p := range list {
		if at(p.name) != i {
			return fmt.Errorf("two passes are called %s", p.name)
		}
	}
	for _, o := range passOrder {
		i, j := at(o.first), at(o.then)
		switch {
		case i < 0 || j < 0:
			return fmt.Errorf("pass order names %s and %s, of which one is no pass", o.first, o.then)
		case i > j:
			return fmt.Errorf("pass %s must come before %s: %s", o.first, o.then, o.because)
		}
	}
	return nil
}

// runPasses transforms the result of lifting into the form that select takes. It leaves
// out the passes that opt.Off names, calls opt.Dump with the text after lifting and
// after each pass, and with opt.Check checks after each. An error is a *Bug, or a
// construct that the firmware does not support.
func runPasses(m *ir.Module, opt *Options) (*ir.Module, error) {
	if err := checkPassOrder(passes); err != nil {
		return nil, &Bug{Pass: "passes", Msg: err.Error()}
	}
	if err := after("lift", m, false, opt); err != nil {
		return nil, err
	}
	legal, costs := false, costsOf(opt.model(), opt.Counts)
	for _, p := range passes {
		if !p.needed && slices.Contains(opt.Off, p.name) || p.grows && opt.small {
			continue
		}
		next, err := p.run(m, costs)
		if err != nil {
			return nil, err
		}
		m, legal = next, legal || p.legal
		if err := after(p.name, m, legal, opt); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// after dumps and checks the result of a pass.
func after(name string, m *ir.Module, legal bool, opt *Options) error {
	if opt.Dump != nil {
		opt.Dump(name, m.String())
	}
	if !opt.Check {
		return nil
	}
	check := ir.Check
	if legal {
		check = ir.CheckLegal
	}
	if err := check(m); err != nil {
		return &Bug{Pass: name, Msg: err.Error(), Code: m.String()}
	}
	return nil
}
