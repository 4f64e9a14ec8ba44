package verify

import (
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// branch ends block bl of a state: it refines the state by the condition on each
// edge that can be taken, and delivers it.
func (x *explorer) branch(a *activation, s *state, bl *block) {
	i := bl.end - 1
	ins := &x.c.Insns[i]
	if ins.OpCode.JumpOp() == asm.JCOND {
		x.fail(s, i, "feature-unsupported", "may_goto")
		x.drop(s)
		return
	}
	dst := *x.read(s, i, ins.Dst)
	src := constant(uint64(ins.Constant))
	if ins.OpCode.Source() == asm.RegSource {
		src = *x.read(s, i, ins.Src)
	}
	x.facts.Taken[i], x.facts.Falls[i] = x.facts.Taken[i] || false, x.facts.Falls[i] || false
	if dst.pointer() && src.pointer() {
		x.noteStale(i, ins, &dst, &src)
	}
	t := x.clone(s)
	if x.edge(t, ins, &dst, &src, true) {
		x.facts.Taken[i] = true
		t.decide(i, true)
		x.deliver(a, bl.succs[0], t)
	} else {
		x.drop(t)
	}
	if x.edge(s, ins, &dst, &src, false) {
		x.facts.Falls[i] = true
		s.decide(i, false)
		x.deliver(a, bl.succs[1], s)
	} else {
		x.drop(s)
	}
}

// edge refines s to the executions on one edge of a branch, and reports whether any exist.
func (x *explorer) edge(s *state, ins *code.Insn, a, b *val, taken bool) bool {
	op, wide := ins.OpCode.JumpOp(), ins.OpCode.Class() == asm.JumpClass
	switch {
	case a.kind == Scalar && b.kind == Scalar:
		return x.edgeNumbers(s, ins, a, b, taken)
	case !wide:
		return true
	case b.kind == Scalar && b.n.known() && b.n.bits.Value == 0:
		return x.edgeNull(s, a, op, taken)
	case a.kind == Scalar && a.n.known() && a.n.bits.Value == 0:
		return x.edgeNull(s, b, op, taken)
	case a.pointer() && b.pointer() && !x.opt.early() && (op == asm.JEq) == taken && (op == asm.JEq || op == asm.JNE):
		x.edgeSame(s, a, b)
		return true
	case a.kind != Scalar && b.kind != Scalar:
		return x.edgePacket(s, ins, a, b, op, taken)
	}
	return true
}

func (x *explorer) edgeNumbers(s *state, ins *code.Insn, a, b *val, taken bool) bool {
	if x.opt.Linux {
		return x.edgeLinux(s, ins, a, b, taken)
	}
	op := ins.OpCode.JumpOp()
	reg := ins.OpCode.Source() == asm.RegSource
	if reg && ins.Src == ins.Dst {
		// A value equals itself.
		switch op {
		case asm.JEq, asm.JGE, asm.JLE, asm.JSGE, asm.JSLE:
			return taken
		case asm.JNE, asm.JGT, asm.JLT, asm.JSGT, asm.JSLT:
			return !taken
		}
	}
	r := refine(op, &a.n, &b.n, ins.OpCode.Class() == asm.JumpClass, taken)
	if !r.ok {
		return false
	}
	return x.learn(s, ins.Dst, a, &r.a) && (!reg || x.learn(s, ins.Src, b, &r.b))
}

// edgeNull refines s on an edge of a comparison of a pointer with NULL.
func (x *explorer) edgeNull(s *state, p *val, op asm.JumpOp, taken bool) bool {
	if op != asm.JEq && op != asm.JNE {
		return true
	}
	null := (op == asm.JEq) == taken
	switch p.kind {
	case PtrMapValueOrNull:
		x.learnNull(s, p.id, !null)
		return true
	case PtrUnsure:
		return true
	case PtrMapValue, PtrMapHandle, PtrFunc:
		return !null
	}
	if x.opt.Linux {
		return true
	}
	return !null // other pointers are never NULL
}

// edgeSame refines s on the edge on which two pointers are equal: if one is not NULL,
// the other is not.
func (x *explorer) edgeSame(s *state, a, b *val) {
	if b.kind == PtrMapValueOrNull {
		a, b = b, a
	}
	if a.kind == PtrMapValueOrNull && b.kind != PtrMapValueOrNull && b.kind != PtrUnsure {
		x.learnNull(s, a.id, true)
	}
}

// learnNull decides whether the results of lookup id are values or NULL.
func (x *explorer) learnNull(s *state, id uint32, value bool) {
	s.each(func(o *val) bool { return o.id == id && o.kind == PtrMapValueOrNull }, func(o *val) {
		if value {
			o.kind, o.id = PtrMapValue, 0
		} else {
			*o = constant(0)
		}
	})
}

// edgePacket refines s on an edge of a comparison of a packet pointer with the
// packet's end, or of a metadata pointer with the packet's start. If the pointer is
// not above the end, the bytes up to it exist.
func (x *explorer) edgePacket(s *state, ins *code.Insn, a, b *val, op asm.JumpOp, taken bool) bool {
	r := ins.Dst
	if !bounds(a, b) {
		a, b, op, r = b, a, swapped(op), ins.Src
		if !bounds(a, b) {
			return true
		}
	}
	if !taken {
		op = negated(op)
	}
	known := a.rng > 0 && a.off >= 0 && !x.opt.Linux // base is not above the end
	past := uint8(0)
	switch op {
	case asm.JLE:
		if a.past == pastBeyond {
			return false
		}
		x.below(s, a, a.off)
	case asm.JLT:
		if a.past != 0 {
			return false
		}
		if a.off != 0 || !x.opt.Linux {
			x.below(s, a, a.off+1)
		}
	case asm.JGT:
		if known && a.off <= a.rng {
			return false
		}
		past = pastBeyond
	case asm.JGE:
		if known && a.off < a.rng {
			return false
		}
		past = pastAt
	}
	if v := &s.regs[r]; a.kind == PtrPacket && past > v.past {
		v.past = past
	}
	return true
}

// noteStale records branch i if Linux 6.12 would decide it from an outdated
// comparison: one of a, or b, before that pointer was moved back.
func (x *explorer) noteStale(i int, ins *code.Insn, a, b *val) {
	op := ins.OpCode.JumpOp()
	if !bounds(a, b) {
		a, b, op = b, a, swapped(op)
	}
	if !bounds(a, b) || a.past != 0 || a.stale == 0 || a.off >= a.delta {
		return
	}
	switch op {
	case asm.JGE, asm.JLT:
	case asm.JGT, asm.JLE:
		if a.stale != pastBeyond {
			return
		}
	default:
		return
	}
	if !slices.Contains(x.facts.StaleEnds, i) {
		x.facts.StaleEnds = append(x.facts.StaleEnds, i)
	}
}

// bounds reports whether b is the end of a's region.
func bounds(a, b *val) bool {
	return a.kind == PtrPacket && b.kind == PtrPacketEnd ||
		a.kind == PtrPacketMeta && b.kind == PtrPacket && b.off == 0 && b.fixed() && b.n.bits.Value == 0
}

// below records that rng bytes after p's base exist. It records nothing of a pointer
// that may have wrapped around.
func (x *explorer) below(s *state, p *val, rng int32) {
	if p.off < 0 || p.n.w.uhi > maxPacketOffset || int64(p.off)+int64(p.n.w.uhi) > maxPacketOffset {
		return
	}
	x.learnRange(s, p.kind, p.id, rng)
}

func (x *explorer) learnRange(s *state, k Kind, id uint32, rng int32) {
	s.each(func(o *val) bool { return o.kind == k && o.id == id && o.rng < rng }, func(o *val) { o.rng = rng })
}
