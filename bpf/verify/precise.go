package verify

import (
	"github.com/cilium/ebpf/asm"
)

// Precision tracking.
//
// A walker's checkpoint covers states whose numbers differ from its own if nothing
// after it depended on those numbers. A number matters if it decided a branch, moved a
// pointer or gave a size. When a number matters, the walker undoes the instructions of
// the path one by one, to find the registers and stack slots that the number was
// computed from. It marks these as precise in every checkpoint passed, up to one that
// has the mark already (kernel/bpf/verifier.c, mark_chain_precision and
// backtrack_insn). If the origin of a number is lost, it marks all numbers of the
// path.

// marks are registers and stack slots, per frame.
type marks struct {
	frame int // the innermost
	regs  [maxFrames]uint16
	slots [maxFrames]uint64
}

func (m *marks) empty() bool {
	for f := range m.frame + 1 {
		if m.regs[f] != 0 || m.slots[f] != 0 {
			return false
		}
	}
	return true
}

// backtrack marks as precise the registers and slots from which m, which is at p, was
// computed. If began, the last step of p is the one that depends on it.
func (w *walker) backtrack(p *path, m *marks, began bool) {
	steps, c := p.steps, p.parent
	if began {
		steps = steps[:len(steps)-1]
	}
	for !m.empty() {
		for k := len(steps) - 1; k >= 0 && !m.empty(); k-- {
			if !w.undo(&steps[k], m) {
				p.allPrecise()
				return
			}
		}
		if c == nil || m.empty() {
			break
		}
		for f := range m.frame + 1 {
			c.mark(f, m)
		}
		steps, c = c.steps, c.parent
	}
	if !m.empty() && c == nil {
		p.allPrecise()
	}
}

// mark marks frame f's part of m in c, and removes from m the registers and slots whose
// search ends there.
func (c *checkpoint) mark(f int, m *marks) {
	eachBit(uint64(m.regs[f]), func(r int) {
		v := c.register(f, r)
		if v == nil || v.kind != Scalar || c.precise.regs[f]&(1<<r) != 0 {
			m.regs[f] &^= 1 << r
		}
	})
	eachBit(m.slots[f], func(k int) {
		l := slot{}
		if f <= c.s.cur {
			l = c.s.frames[f].at(k)
		}
		if l.n == 0 || l.v.kind != Scalar || c.precise.slots[f]&(1<<k) != 0 {
			m.slots[f] &^= 1 << k
		}
	})
	c.precise.regs[f] |= m.regs[f]
	c.precise.slots[f] |= m.slots[f]
}

// register returns register r of frame f, or nil if the checkpoint does not keep it.
func (c *checkpoint) register(f, r int) *val {
	switch {
	case f == c.s.cur:
		return &c.s.regs[r]
	case f < c.s.cur && r >= 6 && r < 10:
		return &c.s.frames[f+1].saved[r-6]
	}
	return nil
}

// allPrecise marks all registers and slots of p's checkpoints.
func (p *path) allPrecise() {
	for c := p.parent; c != nil; c = c.parent {
		for f := range c.s.cur + 1 {
			c.precise.regs[f], c.precise.slots[f] = 1<<asm.R10-1, ^uint64(0)
		}
	}
}

// undo converts the marks after step t into those before it. It returns false if it
// cannot.
func (w *walker) undo(t *footstep, m *marks) bool {
	m.link(w.linked[t.linked])
	ins := &w.x.c.Insns[t.insn]
	regs := &m.regs[m.frame]
	dst, src := uint16(1)<<ins.Dst, uint16(1)<<ins.Src&^(1<<asm.R10)
	register := ins.OpCode.Source() == asm.RegSource
	switch class := ins.OpCode.Class(); {
	case class.IsALU():
		switch op := ins.OpCode.ALUOp(); {
		case *regs&dst == 0, op == asm.Neg, op == asm.Swap:
		case isMove(op) && register:
			*regs = *regs&^dst | src
		case isMove(op):
			*regs &^= dst
		case register:
			*regs |= src
		}
	case class == asm.LdXClass:
		m.undoLoad(t, dst)
	case class.IsStore():
		switch op := ins.OpCode.AtomicOp(); {
		case op == asm.CmpXchg:
			m.undoLoad(t, 1<<asm.R0)
		case op != asm.InvalidAtomic && isFetch(op):
			m.undoLoad(t, src)
		default:
			if class == asm.StClass {
				src = 0
			}
			return m.undoStore(t, dst, src)
		}
	case class.IsJump():
		w.undoJump(t, m)
	case ins.OpCode.IsDWordLoad():
		*regs &^= dst
	case *regs&(1<<asm.R0) != 0: // classic packet loads
		return false
	}
	m.link(w.linked[t.linked])
	return true
}

// link adds the whole of set to m if m has one of its members.
func (m *marks) link(set *marks) {
	if set == nil {
		return
	}
	some := false
	for f := range set.frame + 1 {
		some = some || m.regs[f]&set.regs[f] != 0 || m.slots[f]&set.slots[f] != 0
	}
	for f := 0; some && f <= set.frame; f++ {
		m.regs[f] |= set.regs[f]
		m.slots[f] |= set.slots[f]
	}
}

func (m *marks) undoLoad(t *footstep, dst uint16) {
	if m.regs[m.frame]&dst == 0 {
		return
	}
	m.regs[m.frame] &^= dst
	if t.slot >= 0 {
		m.slots[t.slot>>8] |= 1 << (t.slot & 0xff)
	}
}

func (m *marks) undoStore(t *footstep, dst, src uint16) bool {
	if m.regs[m.frame]&dst != 0 { // a number that was a pointer
		return false
	}
	if t.slot < 0 {
		return true
	}
	f, bit := t.slot>>8, uint64(1)<<(t.slot&0xff)
	if m.slots[f]&bit != 0 {
		m.slots[f] &^= bit
		m.regs[m.frame] |= src
	}
	return true
}

func (w *walker) undoJump(t *footstep, m *marks) {
	ins := &w.x.c.Insns[t.insn]
	regs := &m.regs[m.frame]
	switch {
	case isCall(ins) && !w.x.global(ins.Callee): // out of the function, to its caller
		args := *regs & argRegs
		*regs, m.slots[m.frame] = 0, 0
		m.frame--
		m.regs[m.frame] |= args
	case isExit(ins), t.left: // into the function that was left
		r0 := *regs & (1 << asm.R0)
		*regs &^= 1 << asm.R0
		m.frame++
		m.regs[m.frame] = r0
	case ins.OpCode.JumpOp() == asm.Call:
		*regs &^= 1<<asm.R0 | argRegs
	case isBranch(ins) && ins.OpCode.Source() == asm.RegSource:
		dst, src := uint16(1)<<ins.Dst, uint16(1)<<ins.Src
		if *regs&(dst|src) != 0 {
			*regs |= (dst | src) &^ (1 << asm.R10)
		}
	}
}
