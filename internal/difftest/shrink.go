package difftest

import (
	"maps"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// Shrink returns a smaller version of a failing program for which fails still holds.
// It uses delta debugging (Zeller and Hildebrandt, "Simplifying and isolating
// failure-inducing input", 2002), first over instructions, then over packets, map
// contents and constants, until a round changes nothing. Fails must be false for
// programs that verifiers refuse: most steps produce programs that read unwritten
// registers.
func Shrink(p *Program, fails func(*Program) bool) *Program {
	s := &shrinker{best: p, fails: fails}
	s.packets()
	s.targets()
	for {
		before := s.size()
		s.instructions()
		s.replace()
		s.constants()
		s.packets()
		s.contents()
		if s.size() >= before {
			break
		}
	}
	return s.best
}

type shrinker struct {
	best  *Program
	fails func(*Program) bool
}

// size returns the number that each round must lower.
func (s *shrinker) size() int {
	n := 16 * len(s.best.Spec.Instructions)
	for _, ins := range s.best.Spec.Instructions {
		if ins.Constant != 0 && ins.Constant != 1 && !ins.IsLoadFromMap() {
			n++
		}
	}
	for _, pkt := range s.best.Packets {
		n += len(pkt)
	}
	for _, entries := range s.best.Initial {
		n += len(entries)
	}
	return n
}

// try keeps q if it still fails.
func (s *shrinker) try(q *Program) bool {
	q.usedMaps()
	if len(q.Packets) == 0 || len(q.Spec.Instructions) == 0 || !s.fails(q) {
		return false
	}
	s.best = q
	return true
}

// chunks calls drop(at, n) with ranges of [0, size()), halving n down to one. Drop
// reports whether it took effect; chunks calls size again after each.
func chunks(size func() int, drop func(at, n int) bool) {
	for n := max(size()/2, 1); ; n /= 2 {
		for at := 0; at < size(); {
			if k := min(n, size()-at); !drop(at, k) {
				at += k
			}
		}
		if n <= 1 {
			return
		}
	}
}

// instructions deletes stretches of code.
func (s *shrinker) instructions() {
	chunks(func() int { return len(s.best.Spec.Instructions) }, func(at, n int) bool {
		q, ok := without(s.best, at, n)
		return ok && s.try(q)
	})
}

// without returns the program less n instructions; jumps to them go to what follows.
func without(p *Program, at, n int) (*Program, bool) {
	c, err := resolve(p)
	if err != nil {
		return nil, false
	}
	q := p.clone()
	old := q.Spec.Instructions
	kept := append(append(asm.Instructions{}, old[:at]...), old[at+n:]...)
	moved := func(i int) int { // index in kept of what instruction i becomes
		switch {
		case i < at:
			return i
		case i < at+n:
			return at
		}
		return i - n
	}
	symbol := ""
	for i := at; i < at+n; i++ {
		if sym := old[i].Symbol(); sym != "" {
			symbol = sym
		}
	}
	if symbol != "" && at < len(kept) {
		if kept[at].Symbol() == "" {
			kept[at] = kept[at].WithSymbol(symbol)
		}
	}
	pc := make([]int, len(kept)+1)
	for i := range kept {
		pc[i+1] = pc[i] + int(kept[i].Width())
	}
	for i := range c.Insns {
		if i >= at && i < at+n || c.Insns[i].Target < 0 {
			continue
		}
		from, to := moved(i), moved(c.Insns[i].Target)
		setDistance(&kept[from], pc[to]-pc[from]-1)
	}
	q.Spec.Instructions = kept
	return q, true
}

// setDistance sets a jump's distance to n slots from the next instruction.
func setDistance(ins *asm.Instruction, n int) {
	if ins.OpCode == longJump {
		ins.Constant = int64(n)
	} else {
		ins.Offset = int16(n)
	}
}

// replace substitutes the constant 1 for the result of an instruction, one at a time.
func (s *shrinker) replace() {
	for i := range s.best.Spec.Instructions {
		ins := s.best.Spec.Instructions[i]
		class := ins.OpCode.Class()
		if !class.IsALU() && class != asm.LdXClass || ins.OpCode == asm.Mov.Op(asm.ImmSource) {
			continue
		}
		q := s.best.clone()
		put := asm.Mov.Imm(ins.Dst, 1)
		if sym := ins.Symbol(); sym != "" {
			put = put.WithSymbol(sym)
		}
		q.Spec.Instructions[i] = put
		s.try(q)
	}
}

// constants replaces constants by zero, or one.
func (s *shrinker) constants() {
	for i := range s.best.Spec.Instructions {
		ins := s.best.Spec.Instructions[i]
		if ins.IsLoadFromMap() || ins.OpCode.Class().IsJump() && (ins.OpCode.JumpOp() == asm.Call || ins.OpCode.JumpOp() == asm.Ja) || ins.OpCode.ALUOp() == asm.Swap {
			continue
		}
		for _, v := range []int64{0, 1} {
			if ins.Constant == 0 || ins.Constant == v {
				break
			}
			q := s.best.clone()
			q.Spec.Instructions[i].Constant = v
			if s.try(q) {
				break
			}
		}
	}
}

// packets drops packets, shortens them and blanks their bytes.
func (s *shrinker) packets() {
	chunks(func() int { return len(s.best.Packets) }, func(at, n int) bool {
		q := s.best.clone()
		q.Packets = append(q.Packets[:at:at], q.Packets[at+n:]...)
		return s.try(q)
	})
	for i := range s.best.Packets {
		for _, n := range []int{14, 54, 64, 128} {
			if n >= len(s.best.Packets[i]) {
				break
			}
			q := s.best.clone()
			q.Packets[i] = q.Packets[i][:n:n]
			if s.try(q) {
				break
			}
		}
		q := s.best.clone()
		q.Packets[i] = make([]byte, len(q.Packets[i]))
		s.try(q)
	}
}

// targets drops targets of tail calls.
func (s *shrinker) targets() {
	for _, i := range slices.Sorted(maps.Keys(s.best.Targets)) {
		q := s.best.clone()
		delete(q.Targets, i)
		s.try(q)
	}
}

// contents drops what maps held before.
func (s *shrinker) contents() {
	for name := range s.best.Initial {
		chunks(func() int { return len(s.best.Initial[name]) }, func(at, n int) bool {
			q := s.best.clone()
			q.Initial[name] = append(q.Initial[name][:at:at], q.Initial[name][at+n:]...)
			return s.try(q)
		})
	}
}
