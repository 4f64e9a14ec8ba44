package jit

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/ir"
)

// pass is one step from ir to ir.
type pass struct {
	name   string
	run    func(*ir.Module, *ir.Costs) (*ir.Module, error)
	legal  bool // ir.CheckLegal holds afterwards, from here on
	needed bool // cannot be left out
	grows  bool // may add words: left out where the code would not fit
}

// passes run in this order between build and select.
var passes = []pass{
	{name: "inline", run: onModule((*ir.Module).Inline), grows: true},
	{name: "unreachable", run: each(func(f *ir.Func) { f.RemoveUnreachable() })},
	{name: "deadcode", run: each((*ir.Func).EliminateDeadCode)},
	{name: "simplify", run: each((*ir.Func).Simplify)},
	{name: "gvn", run: each((*ir.Func).NumberValues)},
	{name: "arrays", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.AddressArrays() })},
	{name: "unroll", run: weighing((*ir.Func).Unroll), grows: true},
	{name: "packet", run: each((*ir.Func).FoldPacketPointers)},
	{name: "middle simplify", run: each((*ir.Func).Simplify)},
	{name: "middle gvn", run: each((*ir.Func).NumberValues)},
	{name: "lookups", run: onModule(func(m *ir.Module, _ *ir.Costs) { m.EliminateLookups() })},
	{name: "prove", run: each((*ir.Func).Prove)},
	{name: "divide", run: weighing((*ir.Func).DivideByConstants)},
	{name: "multiply", run: weighing((*ir.Func).MultiplyByConstants)},
	{name: "middle deadcode", run: each((*ir.Func).EliminateDeadCode)},
	{name: "legalize", run: func(m *ir.Module, _ *ir.Costs) (*ir.Module, error) { return legalize(m) }, legal: true, needed: true},
	{name: "promote", run: each((*ir.Func).PromoteFrame)},
	{name: "late simplify", run: each((*ir.Func).Simplify)},
	{name: "late gvn", run: each((*ir.Func).NumberValues)},
	{name: "hoist", run: each((*ir.Func).HoistLoopInvariants)},
	{name: "late prove", run: each((*ir.Func).Prove)},
	{name: "thread", run: weighing((*ir.Func).ThreadJumps)},
	{name: "last simplify", run: each((*ir.Func).Simplify)},
	{name: "last gvn", run: each((*ir.Func).NumberValues)},
	{name: "diamonds", run: weighing((*ir.Func).ConvertIfs)},
	{name: "chains", run: weighing((*ir.Func).LowerSwitches)},
	{name: "deadstores", run: each((*ir.Func).EliminateDeadStores)},
	{name: "sink", run: each((*ir.Func).SinkStores)},
	{name: "window", run: each((*ir.Func).CombineLoads)},
	{name: "stores", run: each((*ir.Func).CombineStores)},
	{name: "window simplify", run: each((*ir.Func).Simplify)},
	{name: "demand", run: each((*ir.Func).SimplifyDemandedBits)},
	{name: "late deadcode", run: each((*ir.Func).EliminateDeadCode)},
	{name: "tails", run: weighing((*ir.Func).MergeTails)},
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
	{"gvn", "arrays", "a test for NULL must compare the lookup itself with 0"},
	{"arrays", "middle gvn", "the key's load must meet its store"},
	{"arrays", "prove", "keys in range are known there"},
	{"arrays", "multiply", "a value lies key x stride bytes from the first"},
	{"arrays", "lookups", "what is a sum needs no lookup before it"},
	{"middle gvn", "lookups", "equal keys must be equal values"},
	{"lookups", "prove", "the second test for NULL is decided by the first"},
	{"lookups", "promote", "keys that nobody looks up are not stored"},
	{"gvn", "packet", "the packet's start must be one value"},
	{"packet", "prove", "bounds checks are comparisons with the length only then"},
	{"deadcode", "legalize", "halves of dead values would be made"},
	{"late deadcode", "tails", "blocks differ by what nobody uses"},
	{"legalize", "late deadcode", "most high halves are dead"},
	{"late gvn", "thread", "branches on equal values must be on one"},
	{"late gvn", "hoist", "what is read twice in a loop is read once"},
	{"thread", "diamonds", "a branch to a branch may be gone"},
	{"diamonds", "late deadcode", "the other comparison is dead"},
	{"thread", "chains", "no block may stand between two comparisons"},
	{"chains", "late deadcode", "comparisons of the chain are dead"},
	{"legalize", "promote", "the stack is words of 32 bits"},
	{"promote", "late gvn", "what went through the stack is a value"},
	{"last gvn", "window", "loads of one place must be one"},
	{"chains", "stores", "stores are joined within a block"},
	{"chains", "sink", "the end of a straight line is its last block's"},
	{"last gvn", "sink", "stores to one place must have one address"},
	{"promote", "deadstores", "a word that is no memory needs no stores"},
	{"deadstores", "sink", "what is dead need not move"},
	{"sink", "window", "loads of other bytes are gathered past stores behind a join, not past those on its ways"},
	{"sink", "stores", "what comes together in a join becomes one command"},
	{"window", "stores", "a load between two stores keeps them apart"},
	{"stores", "window simplify", "words are put together by shifts and masks"},
	{"window", "demand", "fields of words are masked"},
	{"demand", "late deadcode", "what is not demanded is not needed"},
	{"window", "late deadcode", "words of windows that nobody wants are taken out"},
	{"thread", "late deadcode", "copies leave dead values"},
}

// Optional names the passes that Options.Off may leave out, in their order.
func Optional() []string {
	var names []string
	for _, p := range passes {
		if !p.needed {
			names = append(names, p.name)
		}
	}
	for _, p := range machPasses {
		if !p.needed {
			names = append(names, p.name)
		}
	}
	return names
}

// each makes a pass over a module of one over functions.
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

// runPasses takes what build made to the form that select takes. It leaves out
// the passes opt.Off names, gives opt.Dump the text after build and after each
// pass, and with opt.Check checks after each. An error is a *Bug, or what a pass
// found that the firmware cannot do.
func runPasses(m *ir.Module, opt *Options) (*ir.Module, error) {
	if err := checkPassOrder(passes); err != nil {
		return nil, &Bug{Pass: "passes", Msg: err.Error()}
	}
	if err := after("build", m, false, opt); err != nil {
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

// after dumps and checks what a pass made.
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
