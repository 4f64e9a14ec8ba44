package verify

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// Refinement of two numbers at a branch as Linux's verifier does it
// (Options.Linux). Linux first tries to decide the branch. Only if it cannot, it
// refines both edges and walks both, even if no numbers satisfy one of them.

// foresee returns the outcome of a comparison of two numbers; known reports whether
// Linux can decide it.
func foresee(op asm.JumpOp, a, b *num, wide bool) (taken, known bool) {
	if op == asm.JSet {
		return foreseeBits(a, b, wide)
	}
	x, y := a.bits, b.bits
	if !wide {
		x, y = x.Trunc(32), y.Trunc(32)
	}
	_, meet := x.Intersect(y)
	equal := op == asm.JEq
	switch {
	case op != asm.JEq && op != asm.JNE:
		if wide {
			return foreseeSize(op, &a.w, &b.w)
		}
		return foreseeSize(op, &a.h, &b.h)
	case x.Known() && y.Known():
		return (x == y) == equal, true
	case !meet, a.h.disjoint(&b.h), wide && a.w.disjoint(&b.w):
		return !equal, true
	}
	return false, false
}

// foreseeBits is foresee for a test of bits, which needs one known operand.
func foreseeBits(a, b *num, wide bool) (taken, known bool) {
	x, y := a.bits, b.bits
	if !wide {
		x, y = x.Trunc(32), y.Trunc(32)
	}
	if !y.Known() {
		x, y = y, x
	}
	switch {
	case !y.Known():
		return false, false
	case x.Value&y.Value != 0:
		return true, true
	}
	return false, (x.Value|x.Mask)&y.Value == 0
}

// foreseeSize is foresee for an order.
func foreseeSize[U uint32 | uint64, S int32 | int64](op asm.JumpOp, a, b *span[U, S]) (taken, known bool) {
	switch op {
	case asm.JLT, asm.JLE, asm.JSLT, asm.JSLE:
		op, a, b = swapped(op), b, a
	}
	switch op {
	case asm.JGT:
		return a.ulo > b.uhi, a.ulo > b.uhi || a.uhi <= b.ulo
	case asm.JGE:
		return a.ulo >= b.uhi, a.ulo >= b.uhi || a.uhi < b.ulo
	case asm.JSGT:
		return a.slo > b.shi, a.slo > b.shi || a.shi <= b.slo
	}
	return a.slo >= b.shi, a.slo >= b.shi || a.shi < b.slo
}

// disjoint reports whether no number lies in both.
func (a *span[U, S]) disjoint(b *span[U, S]) bool {
	return a.ulo > b.uhi || a.uhi < b.ulo || a.slo > b.shi || a.shi < b.slo
}

// edgeLinux refines s as Linux does for two numbers on one edge of a branch. It
// reports whether Linux walks that edge.
func (x *explorer) edgeLinux(s *state, ins *code.Insn, a, b *val, taken bool) bool {
	op, wide := ins.OpCode.JumpOp(), ins.OpCode.Class() == asm.JumpClass
	decide := foresee
	if x.opt.early() {
		decide = foreseeEarly
	}
	if way, known := decide(op, &a.n, &b.n, wide); known {
		return way == taken
	}
	if x.opt.early() {
		x.edgeEarly(s, ins, a, b, taken)
		return true
	}
	if ins.OpCode.Source() == asm.RegSource && ins.Src == ins.Dst && x.opt.since(6, 18) {
		return true // and nothing is learned
	}
	p, q := a.n, b.n
	if op == asm.JSet {
		testLinux(&p, &q, wide, taken)
	} else {
		if !taken {
			op = negated(op)
		}
		learnOrder(op, &p, &q, wide)
	}
	if ins.OpCode.Source() != asm.RegSource {
		settle(&p)
		x.learn(s, ins.Dst, a, &p)
		return true
	}
	if ins.Src == ins.Dst {
		p.w, p.h = p.w.meet(&q.w), p.h.meet(&q.h)
		settle(&p)
		x.learn(s, ins.Dst, a, &p)
		return true
	}
	settle(&p)
	settle(&q)
	x.learnBoth(s, ins, a, b, &p, &q)
	return true
}

// learnBoth replaces what is known of the operands a and b of a branch by p and q.
func (x *explorer) learnBoth(s *state, ins *code.Insn, a, b *val, p, q *num) {
	x.learn(s, ins.Src, b, q)
	switch {
	case a.id == 0 || a.id != b.id:
		x.learn(s, ins.Dst, a, p)
	case a.delta != b.delta: // and back
		back := s.regs[ins.Dst].n
		x.learn(s, ins.Dst, a, &back)
	} // if the deltas are equal, both get the source's result
}

// edgeEarly is edgeLinux for Linux before 6.8 and a branch that is not decided.
func (x *explorer) edgeEarly(s *state, ins *code.Insn, a, b *val, taken bool) {
	p, q := a.n, b.n
	learnEarly(ins.OpCode.JumpOp(), &p, &q, ins.OpCode.Class() == asm.JumpClass, taken)
	switch {
	case ins.OpCode.Source() != asm.RegSource:
		x.learn(s, ins.Dst, a, &p)
	case ins.Src != ins.Dst:
		x.learnBoth(s, ins, a, b, &p, &q)
	}
}

// learnOrder refines both numbers by `a op b`, even if no numbers satisfy it.
func learnOrder(op asm.JumpOp, a, b *num, wide bool) {
	if wide {
		compare(op, &a.w, &b.w)
	} else {
		compare(op, &a.h, &b.h)
	}
	switch op {
	case asm.JEq:
		equalBits(a, b, wide)
	case asm.JNE:
		differ(a, b, wide)
	}
}

// testLinux refines the operand of `a & b` that is no constant.
func testLinux(a, b *num, wide, taken bool) {
	mask := func(n *num) (Tnum, bool) {
		t := n.bits
		if !wide {
			t = t.Trunc(32)
		}
		return t, t.Known()
	}
	c, ok := mask(b)
	if !ok {
		a = b
		if c, ok = mask(a); !ok {
			return
		}
	}
	switch v := c.Value; {
	case !taken:
		*a = num{Tnum{a.bits.Value &^ v, a.bits.Mask &^ v}, anyNum().w, anyNum().h}
	case v&(v-1) == 0:
		a.bits = Tnum{a.bits.Value | v, a.bits.Mask &^ v}
	}
}

// settle is sync, but forgets the bounds of a number whose views contradict each
// other.
func settle(n *num) {
	if !n.sync() {
		n.w, n.h = anyNum().w, anyNum().h
	}
}
