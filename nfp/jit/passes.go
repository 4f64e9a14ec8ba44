package jit

import (
	"slices"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// pass is one step from ir to ir.
type pass struct {
	name   string
	doc    string // what it does, for docs/compiler.md
	run    func(*ir.Module, *ir.Costs) (*ir.Module, error)
	legal  bool // ir.CheckLegal holds afterwards, from here on
	needed bool // cannot be left out
	grows  bool // may add words: left out if the code would not fit
}

// passes run in this order between lifting and selection.
var passes = []pass{
	{name: "inline", doc: "replaces calls by the callee's body if the saved cycles are worth the words", run: onModule((*ir.Module).Inline), grows: true},
	{name: "unreachable", doc: "removes unreachable blocks; branches with one outcome become jumps", run: each(func(f *ir.Func) { f.RemoveUnreachable() })},
	{name: "deadcode", doc: "removes values and block parameters on which no effect depends", run: each((*ir.Func).EliminateDeadCode)},
	{name: "simplify", doc: "applies the proved rewrite rules, and replaces values of known bits by constants", run: each((*ir.Func).Simplify)},
	{name: "gvn", doc: "global value numbering: replaces a value by an equal one that dominates it, and forwards stores to loads", run: each((*ir.Func).NumberValues)},
	{name: "array-addresses", doc: "replaces lookups in arrays by a bounds check and address arithmetic", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.AddressArrays() })},
	{name: "unroll", doc: "unrolls loops with a constant number of iterations", run: weighing((*ir.Func).Unroll), grows: true},
	{name: "packet-pointers", doc: "turns comparisons of packet pointers into comparisons of offsets with the packet's length", run: each((*ir.Func).FoldPacketPointers)},
	{name: "simplify-2", doc: "again", run: each((*ir.Func).Simplify)},
	{name: "gvn-2", doc: "again", run: each((*ir.Func).NumberValues)},
	{name: "redundant-lookups", doc: "replaces a lookup by an equal one that dominates it", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.EliminateLookups() })},
	{name: "prove", doc: "replaces comparisons that a dominating branch has decided", run: each((*ir.Func).Prove)},
	{name: "divide", doc: "replaces divisions by constants by multiplication and shifts", run: weighing((*ir.Func).DivideByConstants)},
	{name: "multiply", doc: "replaces products with constants by shifts and additions if that is cheaper", run: weighing((*ir.Func).MultiplyByConstants)},
	{name: "deadcode-2", doc: "again", run: each((*ir.Func).EliminateDeadCode)},
	{name: "legalize", doc: "rewrites the module to the legal form: 64-bit values become two halves", run: func(m *ir.Module, _ *ir.Costs) (*ir.Module, error) { return legalize(m) }, legal: true, needed: true},
	{name: "mem2reg", doc: "replaces words of the frame by values", run: each((*ir.Func).PromoteFrame)},
	{name: "simplify-3", doc: "again", run: each((*ir.Func).Simplify)},
	{name: "gvn-3", doc: "again", run: each((*ir.Func).NumberValues)},
	{name: "licm", doc: "moves loop-invariant loads and computations before the loop", run: each((*ir.Func).HoistLoopInvariants)},
	{name: "prove-2", doc: "again", run: each((*ir.Func).Prove)},
	{name: "jump-threading", doc: "redirects an edge past a branch that the edge decides", run: weighing((*ir.Func).ThreadJumps)},
	{name: "simplify-4", doc: "again", run: each((*ir.Func).Simplify)},
	{name: "gvn-4", doc: "again", run: each((*ir.Func).NumberValues)},
	{name: "if-conversion", doc: "replaces branches that choose between two numbers by arithmetic", run: weighing((*ir.Func).ConvertIfs)},
	{name: "switch-lowering", doc: "replaces a chain of comparisons with constants by a binary search", run: weighing((*ir.Func).LowerSwitches)},
	{name: "dead-stores", doc: "removes stores that are overwritten before anything may read them", run: each((*ir.Func).EliminateDeadStores)},
	{name: "store-sinking", doc: "moves stores down to joins, so that bytes that every path stores are stored once", run: each((*ir.Func).SinkStores)},
	{name: "load-combining", doc: "replaces loads from one packet address or map value by one wide load", run: each((*ir.Func).CombineLoads)},
	{name: "store-combining", doc: "replaces stores to one packet address or map value by few wide commands", run: each((*ir.Func).CombineStores)},
	{name: "simplify-5", doc: "again", run: each((*ir.Func).Simplify)},
	{name: "demanded-bits", doc: "removes operations that change only bits on which no result depends", run: each((*ir.Func).SimplifyDemandedBits)},
	{name: "deadcode-3", doc: "again", run: each((*ir.Func).EliminateDeadCode)},
	{name: "tail-merging", doc: "merges blocks that do the same", run: weighing((*ir.Func).MergeTails)},
}

// passOrder lists which pass must run before which.
var passOrder = []mach.Constraint{
	{"inline", "deadcode", "arguments that the callee ignores are dead only in the inlined body"},
	{"unreachable", "deadcode", "values that only an unreachable block uses are dead"},
	{"inline", "unroll", "a loop's size is known only with its callees inlined"},
	{"simplify", "unroll", "the values at the start of an iteration must be constant"},
	{"unroll", "divide", "a divisor may be constant in each iteration"},
	{"divide", "multiply", "a remainder multiplies by the divisor"},
	{"multiply", "legalize", "64-bit products become several"},
	{"gvn", "array-addresses", "a NULL test must compare the lookup itself with 0"},
	{"array-addresses", "gvn-2", "the store of a key must be forwarded to its load"},
	{"array-addresses", "prove", "it decides the bounds checks of keys"},
	{"array-addresses", "multiply", "a value's offset is key x stride"},
	{"array-addresses", "redundant-lookups", "an address that is a sum depends on no lookup"},
	{"gvn-2", "redundant-lookups", "equal keys must be equal values"},
	{"redundant-lookups", "prove", "the second test for NULL is decided by the first"},
	{"redundant-lookups", "mem2reg", "keys without a lookup need not be stored"},
	{"gvn", "packet-pointers", "the packet's start must be one value"},
	{"packet-pointers", "prove", "it understands bounds checks as comparisons with the length"},
	{"deadcode", "legalize", "dead values would be split into halves"},
	{"deadcode-3", "tail-merging", "blocks may differ by dead values only"},
	{"legalize", "deadcode-3", "most high halves are dead"},
	{"gvn-3", "jump-threading", "branches on equal values must be on one"},
	{"gvn-3", "licm", "equal loads in a loop must be one value"},
	{"jump-threading", "if-conversion", "a branch whose outcome is known must not be converted"},
	{"if-conversion", "deadcode-3", "the replaced comparison is dead"},
	{"jump-threading", "switch-lowering", "no other block may lie between two comparisons of a chain"},
	{"switch-lowering", "deadcode-3", "comparisons of the chain are dead"},
	{"legalize", "mem2reg", "the stack is words of 32 bits"},
	{"mem2reg", "gvn-3", "values that passed through the stack are numbered"},
	{"gvn-4", "load-combining", "loads of one address must be one value"},
	{"switch-lowering", "store-combining", "stores are combined within one block"},
	{"switch-lowering", "store-sinking", "stores are sunk from the last block before the join"},
	{"gvn-4", "store-sinking", "equal addresses must be one value"},
	{"mem2reg", "dead-stores", "stores to promoted words are gone"},
	{"dead-stores", "store-sinking", "dead stores need not be sunk"},
	{"store-sinking", "load-combining", "loads combine across a store after the join, and not across stores in its predecessors"},
	{"store-sinking", "store-combining", "stores that meet in a join become one command"},
	{"load-combining", "store-combining", "a load between two stores prevents combining them"},
	{"store-combining", "simplify-5", "words are assembled by shifts and masks"},
	{"load-combining", "demanded-bits", "fields are extracted from words by masks"},
	{"demanded-bits", "deadcode-3", "values without demanded bits are dead"},
	{"load-combining", "deadcode-3", "unused parts of wide loads are dead"},
	{"jump-threading", "deadcode-3", "copied blocks leave dead values"},
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

// formerNames maps the names of passes in the previous release to the current
// ones.
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

// weighing is like each, for passes that use costs.
func weighing(do func(*ir.Func, *ir.Costs)) func(*ir.Module, *ir.Costs) (*ir.Module, error) {
	return func(m *ir.Module, c *ir.Costs) (*ir.Module, error) {
		for _, f := range m.Funcs {
			do(f, c)
		}
		return m, nil
	}
}

// runPasses transforms the result of lifting into the form that select takes. It leaves
// out the passes that opt.Off names, calls opt.Dump with the text after lifting and
// after each pass, and with opt.Check checks after each. An error is a *Bug, or a
// construct that the firmware does not support.
func runPasses(m *ir.Module, opt *Options) (*ir.Module, error) {
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
