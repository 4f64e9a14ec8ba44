package lift

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/ir"
)

// bpfRegs is a set of r0 to r10, bit n for rn.
type bpfRegs uint16

func (s bpfRegs) has(r asm.Register) bool { return s>>r&1 != 0 }

// callClobbers is r0 to r5, gone after a call; callArgs is r1 to r5.
const (
	callClobbers bpfRegs = 1<<6 - 1
	callArgs     bpfRegs = 1<<6 - 2
)

// flow is a basic block of eBPF: the instructions [start, end).
type flow struct {
	start, end int
	succs      []*flow // taken first, then the fall-through
	preds      []*flow
	live       bpfRegs // at the start
	seen       bool

	in      *ir.Block     // first block it became
	last    *ir.Block     // block that has its terminator
	regs    [10]*ir.Value // at the start, for a block with one predecessor or none
	out     [10]*ir.Value // at the end
	entered *ir.Block     // the function's entry block, if that jumps here
}

// region is a function divided into basic blocks.
type region struct {
	start   int
	flows   map[int]*flow // by first instruction
	order   []int         // first instructions, in reverse postorder
	params  int           // how many of r1 to r5 the function reads
	depth   int           // bytes of stack of its own
	scratch int           // bytes below them for helpers' arguments
}

// region returns function i divided into blocks. Callees are divided first,
// since a call reads the registers that are parameters of the callee. In a
// recursion, which the verifier refuses, all five are assumed to be read.
func (b *builder) region(i int) *region {
	if b.regions[i] == nil {
		b.regions[i] = &region{start: b.code.Funcs[i].Start, flows: map[int]*flow{}, params: 5}
		b.cut(i, b.regions[i])
	}
	return b.regions[i]
}

// cut finds the blocks of function i, their order and their live registers.
func (b *builder) cut(i int, r *region) {
	fn := b.code.Funcs[i]
	if i < len(b.f.Depth) {
		r.depth = (b.f.Depth[i] + 7) &^ 7
	}
	leader := make([]bool, fn.End-fn.Start+1)
	leader[0] = true
	for j := fn.Start; j < fn.End; j++ {
		if !b.f.Reachable[j] {
			continue
		}
		if isJump(&b.code.Insns[j]) {
			leader[j+1-fn.Start] = true
			for _, to := range b.next(j) {
				leader[to-fn.Start] = true
			}
		}
		r.scratch = max(r.scratch, b.scratch(j))
	}
	r.walk(b, fn, leader)
	r.liveness(b)
	r.params = 5
	for r.params > 0 && !r.flows[fn.Start].live.has(asm.Register(r.params)) {
		r.params--
	}
}

// isJump reports whether control may go to another instruction than the next
// one; a call does not count.
func isJump(ins *code.Insn) bool {
	return ins.OpCode.Class().IsJump() && ins.OpCode.JumpOp() != asm.Call
}

// next returns the successors of instruction i, a taken jump first.
func (b *builder) next(i int) []int {
	ins := &b.code.Insns[i]
	if !isJump(ins) {
		return []int{i + 1}
	}
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		return nil
	case asm.Ja:
		return []int{ins.Target}
	}
	var to []int
	if b.f.Taken[i] {
		to = append(to, ins.Target)
	}
	if b.f.Falls[i] {
		to = append(to, i+1)
	}
	return to
}

// walk creates the reachable blocks and orders them.
func (r *region) walk(b *builder, fn code.Func, leader []bool) {
	var post []int
	type frame struct {
		flow *flow
		next int
	}
	open := func(start int) *flow {
		w := r.flows[start]
		if w == nil {
			w = &flow{start: start, end: start + 1}
			for w.end < fn.End && !leader[w.end-fn.Start] {
				w.end++
			}
			r.flows[start] = w
		}
		return w
	}
	stack := []frame{{flow: open(fn.Start)}}
	stack[0].flow.seen = true
	for len(stack) > 0 {
		top := &stack[len(stack)-1]
		w := top.flow
		to := b.next(w.end - 1)
		if top.next == len(to) {
			post = append(post, w.start)
			stack = stack[:len(stack)-1]
			continue
		}
		s := open(to[top.next])
		top.next++
		w.succs = append(w.succs, s)
		s.preds = append(s.preds, w)
		if !s.seen {
			s.seen = true
			stack = append(stack, frame{flow: s})
		}
	}
	for i := len(post) - 1; i >= 0; i-- {
		r.order = append(r.order, post[i])
	}
}

// liveness finds which registers each block needs at its start.
func (r *region) liveness(b *builder) {
	type effect struct{ use, def bpfRegs }
	effects := make([]effect, len(r.order))
	for n, at := range r.order {
		w, e := r.flows[at], &effects[n]
		for i := w.end - 1; i >= w.start; i-- {
			use, def := b.touches(i)
			e.use = e.use&^def | use
			e.def |= def
		}
	}
	for changed := true; changed; {
		changed = false
		for n := len(r.order) - 1; n >= 0; n-- {
			w := r.flows[r.order[n]]
			var out bpfRegs
			for _, s := range w.succs {
				out |= s.live
			}
			if live := out&^effects[n].def | effects[n].use; live != w.live {
				w.live, changed = live, true
			}
		}
	}
}

// touches returns the registers that instruction i reads and writes. R10 does
// not count: it is a constant.
func (b *builder) touches(i int) (use, def bpfRegs) {
	ins := &b.code.Insns[i]
	op := ins.OpCode
	dst, src := bpfRegs(1)<<ins.Dst, bpfRegs(1)<<ins.Src
	switch class := op.Class(); class {
	case asm.LdClass:
		switch op.Mode() {
		case asm.AbsMode:
			use, def = 0, callClobbers
		case asm.IndMode:
			use, def = src, callClobbers
		default:
			def = dst
		}
	case asm.LdXClass:
		use, def = src, dst
	case asm.StClass:
		use = dst
	case asm.StXClass:
		use = dst | src
		if op.Mode() == asm.AtomicMode {
			use, def = atomicTouches(ins, dst, src)
		}
	case asm.ALUClass, asm.ALU64Class:
		def = dst
		switch alu := op.ALUOp(); {
		case alu == asm.Mov || alu == asm.MovSX8 || alu == asm.MovSX16 || alu == asm.MovSX32:
		default:
			use = dst
		}
		if op.Source() == asm.RegSource && op.ALUOp() != asm.Neg {
			use |= src
		}
	default:
		use, def = b.jumpTouches(i, dst, src)
	}
	return use &^ (1 << asm.R10), def &^ (1 << asm.R10)
}

func atomicTouches(ins *code.Insn, dst, src bpfRegs) (use, def bpfRegs) {
	use = dst | src
	switch a := ins.OpCode.AtomicOp(); {
	case a == asm.CmpXchg:
		return use | 1<<asm.R0, 1 << asm.R0
	case a == loadAcquire:
		return src, dst
	case a&fetch != 0:
		return use, src
	}
	return use, 0
}

func (b *builder) jumpTouches(i int, dst, src bpfRegs) (use, def bpfRegs) {
	ins := &b.code.Insns[i]
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		return 1 << asm.R0, 0
	case asm.Ja:
		return 0, 0
	case asm.Call:
		if ins.Callee != code.None {
			n := b.region(ins.Callee).params
			return callArgs & (1<<(n+1) - 1), callClobbers
		}
		return b.helperArgs(ins), callClobbers
	}
	use = dst
	if ins.OpCode.Source() == asm.RegSource {
		use |= src
	}
	return use, 0
}
