// Package lift translates verified eBPF to ir.
//
// Lift takes the verifier's Facts and a Target, which is plain data about the firmware
// that is to run the program, and returns an ir.Module. The package knows eBPF and ir;
// it knows no machine, and imports nothing of one. A compiler for any target begins
// with it: package nfp/jit optimises the module and generates micro-engine code.
//
// Registers become values. Each reachable function of the program becomes an ir.Func:
// basic blocks are formed from the instructions that Facts call reachable, along the
// edges that Facts call possible. A block with several predecessors takes the
// registers that are live at its start as parameters, and parameters that have one
// value are removed again (ir.Func.DropTrivialParams). The result is pruned SSA; in
// irreducible loops it may have more parameters than minimal SSA.
//
// Pointers are numbers: of packet and stack 32-bit addresses with a zero high half, of
// map values the target's pair, for which a plain 64-bit addition is correct. Facts
// give the memory that an access reaches; an instruction that reaches different
// memories on different paths distinguishes them at run time by the shape of the
// address (memory.go).
//
// The frame of a function, from its bottom: scratch for the memory arguments of
// helpers (staging.go), then the program's own stack, to whose end r10 points.
//
// Words of map values that programs change atomically are kept big-endian, since the
// target's memory engine takes them so. Agree and UsesWith find which words these are
// (wordclasses.go).
//
// Postconditions of Lift:
//   - ir.Check holds;
//   - the entry of an XDP or TC program returns the low half of R0, other
//     functions return all of it; the entry of a raw program has R1 and R2 as
//     Params;
//   - a map helper gets keys and values in the stack, at multiples of 4; every
//     other pointer to the stack that a helper gets is a multiple of 4;
//   - no helper gets a pointer to counter words;
//   - Value.Big is set on the accesses to counter words and no access mixes them
//     with others;
//   - every value has the pc it came from.
package lift

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// Lift translates a verified program for a target. Other programs that share maps with
// it use words of their values as others says (see Agree). If the target cannot run
// the program, the error is *Unsupported, with every reason found. Any other error is
// a fault of Lift.
func Lift(f *verify.Facts, t *Target, others []MapUse) (*ir.Module, error) {
	b := &builder{f: f, code: f.Code, t: t, mod: &ir.Module{Name: f.Code.Name}}
	b.mapNames = MapNames(f.Code)
	b.use = wordUses(f, b.mapNames, others)
	for _, c := range b.use.conflicts {
		b.refuse(c.insn, "map-use", "map %s: word %d is a counter for one program that shares the map and plain for another", b.mapNames[c.mp], c.word)
	}
	b.regions = make([]*region, len(f.Code.Funcs))
	for i := range f.Code.Funcs {
		if f.Reachable[f.Code.Funcs[i].Start] {
			b.region(i)
		}
	}
	if b.regions[0] == nil {
		return nil, fmt.Errorf("%s: the entry is unreachable", f.Code.Name)
	}
	for i, r := range b.regions {
		if r == nil {
			continue
		}
		if err := b.fn(i, r); err != nil {
			return nil, fmt.Errorf("%s: %w", f.Code.Funcs[i].Name, err)
		}
	}
	for _, fn := range b.mod.Funcs {
		fn.DropTrivialParams()
		fn.EliminateDeadCode()
	}
	b.mapLimits()
	b.mod.Maps = b.knownMaps()
	if len(b.reasons) > 0 {
		slices.SortStableFunc(b.reasons, func(x, y verify.Reason) int { return x.PC - y.PC })
		return nil, &Unsupported{Program: f.Code.Name, Reasons: b.reasons}
	}
	return b.mod, nil
}

// builder is the state of one program's translation.
type builder struct {
	f        *verify.Facts
	code     *code.Code
	t        *Target
	mod      *ir.Module
	mapNames []string
	use      *wordUse
	regions  []*region // by function; nil for those nothing reaches
	reasons  []verify.Reason
}

// refuse records a reason why the firmware cannot run instruction i.
func (b *builder) refuse(i int, reason, format string, args ...any) {
	b.reasons = append(b.reasons, verify.Place(b.code, i, verify.Reason{Reason: reason, Message: fmt.Sprintf(format, args...)}))
}

// raw reports whether the program is a raw one: the conformance runner's.
func (b *builder) raw() bool { return b.code.Type == ebpf.UnspecifiedProgram }

// funcBuilder is the state of one function's translation.
type funcBuilder struct {
	*builder
	r    *region
	fn   *ir.Func
	w    *flow         // being built
	cur  *ir.Block     // values go here
	regs [10]*ir.Value // r0 to r9 at this point; nil if not written
	i    int           // instruction
	pc   int32
	zero *ir.Value // of type I64, in the entry block
}

// fn builds function i.
func (b *builder) fn(i int, r *region) error {
	fn := &ir.Func{Name: b.code.Funcs[i].Name, Result: ir.I64, Frame: r.scratch + r.depth}
	b.mod.Funcs = append(b.mod.Funcs, fn)
	fb := &funcBuilder{builder: b, r: r, fn: fn, pc: int32(b.code.Insns[r.start].PC)}
	entry := fn.NewBlock()
	fb.cur = entry
	switch {
	case i > 0:
		fb.params(r.params)
	case b.raw():
		fb.params(2)
	default:
		fn.Result = ir.I32
		fb.regs[1] = fb.op(ir.OpCtxAddr, ir.I64)
	}
	first := r.flows[r.order[0]]
	first.regs = fb.regs
	if len(first.preds) > 0 {
		first.entered = entry
	} else {
		first.in = entry
	}
	for _, at := range r.order {
		if err := fb.flow(r.flows[at]); err != nil {
			return err
		}
	}
	fb.connect(entry)
	return nil
}

func (b *funcBuilder) params(n int) {
	for i := range n {
		v := b.fn.NewValue(ir.OpParam, ir.I64, b.pc)
		v.Int = int64(i)
		b.fn.Params = append(b.fn.Params, v)
		b.regs[1+i] = v
	}
}

// flow builds the instructions of one basic block.
func (b *funcBuilder) flow(w *flow) error {
	b.w = w
	b.enter(w)
	for b.i = w.start; b.i < w.end; b.i++ {
		ins := &b.code.Insns[b.i]
		b.pc = int32(ins.PC)
		if err := b.insn(ins); err != nil {
			return fmt.Errorf("pc %d: %w", ins.PC, err)
		}
	}
	w.out, w.last = b.regs, b.cur
	return nil
}

// op appends a value to the current block.
func (b *funcBuilder) op(op ir.Op, t ir.Type, args ...*ir.Value) *ir.Value {
	return b.fn.Add(b.cur, op, t, b.pc, args...)
}

func (b *funcBuilder) constant(t ir.Type, n int64) *ir.Value {
	if t == ir.I32 {
		n = int64(int32(n))
	}
	v := b.op(ir.OpConst, t)
	v.Int = n
	return v
}

// trunc is the low half of an I64.
func (b *funcBuilder) trunc(v *ir.Value) *ir.Value {
	switch v.Op {
	case ir.OpZExt32, ir.OpSExt32:
		return v.Args[0]
	case ir.OpConst:
		return b.constant(ir.I32, v.Int)
	}
	return b.op(ir.OpTrunc, ir.I32, v)
}

// zext is an I32 as an I64.
func (b *funcBuilder) zext(v *ir.Value) *ir.Value {
	if v.Op == ir.OpConst {
		return b.constant(ir.I64, int64(uint32(v.Int)))
	}
	return b.op(ir.OpZExt32, ir.I64, v)
}

// add is v + n in v's type. Addresses that are constants stay constants.
func (b *funcBuilder) add(v *ir.Value, n int64) *ir.Value {
	if n == 0 {
		return v
	}
	switch v.Op {
	case ir.OpStackAddr:
		if at := v.Int + n; at >= 0 && at <= int64(b.fn.Frame) {
			return b.stackAddr(at)
		}
	case ir.OpZExt32:
		if a := v.Args[0]; a.Op == ir.OpStackAddr && a.Int+n >= 0 && a.Int+n <= int64(b.fn.Frame) {
			return b.zext(b.stackAddr(a.Int + n))
		}
	case ir.OpMapValueAddr:
		if at := v.Int + n; at >= 0 && at <= 1<<29 {
			w := b.op(ir.OpMapValueAddr, ir.I64)
			w.Sym, w.Int = v.Sym, at
			return w
		}
	}
	return b.op(ir.OpAdd, v.Type, v, b.constant(v.Type, n))
}

func (b *funcBuilder) stackAddr(at int64) *ir.Value {
	v := b.op(ir.OpStackAddr, ir.I32)
	v.Int = at
	return v
}
