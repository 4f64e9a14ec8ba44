package difftest

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// sub is a function that others call.
type sub struct {
	number  int
	args    []reg // what R1, R2, ... hold
	insns   asm.Instructions
	touches map[string]bool // maps whose elements it moves
}

// sub writes a callee of up to four arguments. They may include the context, a
// buffer in the caller's frame and a map value.
func (g *gen) sub(number int) *sub {
	s := &sub{number: number, touches: map[string]bool{}}
	b := g.body(pick(g, []int{32, 64}))
	b.sub = s
	if g.chance(3) {
		s.args = append(s.args, reg{kind: ctxPtr})
	}
	for range g.n(4) {
		a := reg{kind: scalar, max: unknown}
		switch g.n(5) {
		case 0:
			a = reg{kind: memPtr, size: 8 * g.between(1, 3), align: 8}
		case 1:
			a = reg{kind: pktPtr, size: g.between(1, 14), align: 1}
		}
		s.args = append(s.args, a)
	}
	for i, a := range s.args {
		b.st.r[i+1] = a
		if a.kind == ctxPtr {
			b.ctx = 6
			b.emit(asm.Mov.Reg(asm.R6, asm.R1))
			b.st.r[6] = a
			b.frozen |= 1 << 6
			b.st.r[1] = reg{}
		}
	}
	b.statements(g.between(2, 10))
	b.ending()
	s.insns = b.assemble(s.String())
	return s
}

// callees lists the functions that can be called here: those that are written already
// and move no element to which a live pointer points.
func (b *body) callees() []*sub {
	var list []*sub
	for _, s := range b.subs {
		if s.number < b.level && b.callee(s) {
			list = append(list, s)
		}
	}
	return list
}

func (b *body) callee(s *sub) bool {
	for name := range s.touches {
		if !b.touchable(b.maps[name]) {
			return false
		}
	}
	for _, a := range s.args {
		switch a.kind {
		case ctxPtr:
			if !b.hasCtx() {
				return false
			}
		case pktPtr:
			if b.holder(a.size) < 0 {
				return false
			}
		}
	}
	return true
}

// holder returns a register, none of those for arguments, with a packet pointer that
// reaches n bytes.
func (b *body) holder(n int) int {
	list := b.regs(func(r int, x *reg) bool { return r >= 6 && x.kind == pktPtr && x.size >= n })
	if len(list) == 0 {
		return -1
	}
	return list[0]
}

// call passes arguments and calls.
func (b *body) call() {
	s := pick(b.gen, b.callees())
	frozen := b.frozen
	for i, a := range s.args {
		r := i + 1
		switch a.kind {
		case ctxPtr:
			b.emit(asm.Mov.Reg(asm.R1, asm.Register(b.ctx)))
		case pktPtr:
			p := b.holder(a.size)
			if p < 0 {
				b.frozen = frozen
				return
			}
			b.emit(asm.Mov.Reg(asm.Register(r), asm.Register(p)))
		case memPtr:
			at := b.filled(a.size)
			if at < 0 {
				b.frozen = frozen
				return
			}
			b.address(asm.Register(r), at)
		default:
			if b.chance(3) {
				b.set(r, b.immediate())
			} else if src := b.source(); src != r {
				b.emit(asm.Mov.Reg(asm.Register(r), asm.Register(src)))
			}
		}
		b.st.r[r] = reg{}
		b.frozen |= 1 << r
	}
	b.frozen = frozen
	b.emit(asm.Call.Label(s.String()))
	b.clobber(unknown)
	for _, name := range slices.Sorted(maps.Keys(s.touches)) {
		b.touch(b.maps[name])
	}
}

// needed lists the functions that insns calls, and those that they call.
func (g *gen) needed(insns asm.Instructions) []*sub {
	called := map[string]bool{}
	note := func(insns asm.Instructions) {
		for _, i := range insns {
			if i.IsFunctionCall() {
				called[i.Reference()] = true
			}
		}
	}
	note(insns)
	var list []*sub
	for _, s := range slices.Backward(g.subs) { // callers come after their callees
		if called[s.String()] {
			note(s.insns)
			list = append(list, s)
		}
	}
	return list
}
