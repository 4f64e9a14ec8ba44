package difftest

import (
	"slices"

	"github.com/cilium/ebpf/asm"
)

// kind is the kind of value in a register, as the generator knows it.
type kind uint8

const (
	dead kind = iota // not to be read
	scalar
	ctxPtr
	pktPtr
	memPtr // a caller's buffer, all written
	valPtr // map value
)

// reg is a register. A pointer reaches the bytes [-low, size) around it.
type reg struct {
	kind  kind
	max   uint64 // scalar: unsigned upper bound
	low   int
	size  int
	align int    // of a pointer to memory that must be aligned for atomics: 1, 2, 4 or 8
	m     string // valPtr: map
}

const unknown = ^uint64(0)

// frameBytes is the largest frame.
const frameBytes = 512

// bytesSet is a set of stack bytes; byte i lies at R10 - frameBytes + i.
type bytesSet [frameBytes / 64]uint64

func (s *bytesSet) add(at, n int) {
	for i := at; i < at+n; i++ {
		s[i/64] |= 1 << (i % 64)
	}
}

func (s *bytesSet) remove(at, n int) {
	for i := at; i < at+n; i++ {
		s[i/64] &^= 1 << (i % 64)
	}
}

// all reports whether the n bytes from at are in the set, any whether one is.
func (s *bytesSet) all(at, n int) bool {
	for i := at; i < at+n; i++ {
		if s[i/64]>>(i%64)&1 == 0 {
			return false
		}
	}
	return true
}

func (s *bytesSet) any(at, n int) bool {
	for i := at; i < at+n; i++ {
		if s[i/64]>>(i%64)&1 == 1 {
			return true
		}
	}
	return false
}

// state is the generator's knowledge at one point of a function.
type state struct {
	r       [11]reg
	written bytesSet
}

// meet keeps the facts that hold in both states.
func (s *state) meet(o *state) {
	for i := range s.r {
		a, b := &s.r[i], o.r[i]
		if a.kind != b.kind || a.m != b.m {
			*a = reg{}
			continue
		}
		a.max = max(a.max, b.max)
		a.low, a.size, a.align = min(a.low, b.low), min(a.size, b.size), min(a.align, b.align)
	}
	for i := range s.written {
		s.written[i] &= o.written[i]
	}
}

// body is a function being written.
type body struct {
	*gen
	st       state
	items    []item
	labels   int
	at       map[int]int // label -> item it stands before
	bail     int         // label of the early exit, 0 while unused
	frame    int         // bytes of stack
	frozen   uint16      // registers not to be written now
	reserved bytesSet    // stack bytes not to be touched now
	pinned   map[string]int
	keys     map[string]int // by map: place of the last key
	depth    int            // of nesting
	loops    int            // product of the bounds of the loops around
	ctx      int            // register that holds the context throughout, -1 none
	sub      *sub           // nil in the entry function
	level    int            // call depth of this function: callees have less
}

// item is an instruction and the label that it jumps to.
type item struct {
	ins   asm.Instruction
	label int
}

func (g *gen) body(frame int) *body {
	return &body{gen: g, frame: frame, at: map[int]int{}, pinned: map[string]int{}, keys: map[string]int{}, loops: 1, ctx: -1, level: len(g.subs)}
}

func (b *body) emit(ins asm.Instruction)            { b.items = append(b.items, item{ins: ins}) }
func (b *body) jump(ins asm.Instruction, label int) { b.items = append(b.items, item{ins, label}) }

func (b *body) label() int {
	b.labels++
	return b.labels
}

func (b *body) place(label int) { b.at[label] = len(b.items) }

// assemble turns labels into offsets and names the function.
func (b *body) assemble(name string) asm.Instructions {
	pc := make([]int, len(b.items)+1)
	for i, it := range b.items {
		pc[i+1] = pc[i] + int(it.ins.Width())
	}
	out := make(asm.Instructions, len(b.items))
	for i, it := range b.items {
		if it.label != 0 {
			off := pc[b.at[it.label]] - pc[i] - 1
			if it.ins.OpCode == longJump {
				it.ins.Constant = int64(off)
			} else {
				it.ins.Offset = int16(off)
			}
		}
		out[i] = it.ins
	}
	out[0] = out[0].WithSymbol(name)
	return out
}

// longJump is gotol: its distance stands in the constant.
var longJump = asm.OpCode(asm.Jump32Class).SetJumpOp(asm.Ja).SetSource(asm.ImmSource)

// frozenReg reports whether r must keep its value.
func (b *body) frozenReg(r int) bool { return b.frozen>>r&1 == 1 }

// keep freezes r until the function it returns is called.
func (b *body) keep(r int) func() {
	before := b.frozen
	b.frozen |= 1 << r
	return func() { b.frozen = before }
}

// regs lists the registers from R0 to R9 for which ok returns true.
func (b *body) regs(ok func(r int, x *reg) bool) []int {
	var list []int
	for r := range 10 {
		if ok(r, &b.st.r[r]) {
			list = append(list, r)
		}
	}
	return list
}

// target draws a register to write: seldom one that holds a pointer.
func (b *body) target() int {
	keep := !b.chance(6)
	list := b.regs(func(r int, x *reg) bool {
		return !b.frozenReg(r) && (!keep || x.kind == dead || x.kind == scalar)
	})
	if len(list) == 0 {
		list = b.regs(func(r int, _ *reg) bool { return !b.frozenReg(r) })
	}
	return pick(b.gen, list)
}

// source draws a live scalar; it generates one if there is none.
func (b *body) source() int {
	list := b.regs(func(_ int, x *reg) bool { return x.kind == scalar })
	if len(list) == 0 {
		r := b.target()
		b.constant(r)
		return r
	}
	return pick(b.gen, list)
}

// modifiable draws a live scalar that may be written.
func (b *body) modifiable() int {
	list := b.regs(func(r int, x *reg) bool { return x.kind == scalar && !b.frozenReg(r) })
	if len(list) == 0 {
		r := b.target()
		b.constant(r)
		return r
	}
	return pick(b.gen, list)
}

// spare draws a register to write other than those in not, or -1.
func (b *body) spare(not ...int) int {
	free := func(r int) bool { return !b.frozenReg(r) && !slices.Contains(not, r) }
	list := b.regs(func(r int, x *reg) bool { return free(r) && (x.kind == dead || x.kind == scalar) })
	if len(list) == 0 {
		list = b.regs(func(r int, _ *reg) bool { return free(r) })
	}
	if len(list) == 0 {
		return -1
	}
	return pick(b.gen, list)
}

func (b *body) setScalar(r int, max uint64) { b.st.r[r] = reg{kind: scalar, max: max} }

// constant puts a random constant into r.
func (b *body) constant(r int) {
	if b.chance(3) {
		b.emit(asm.LoadImm(asm.Register(r), b.wide(), asm.DWord))
		b.setScalar(r, unknown)
		return
	}
	b.set(r, b.immediate())
}

// set puts v into r.
func (b *body) set(r int, v int32) {
	b.emit(asm.Mov.Imm(asm.Register(r), v))
	b.setScalar(r, uint64(int64(v)))
}

// clobber applies a call's effect on registers.
func (b *body) clobber(result uint64) {
	for r := 1; r <= 5; r++ {
		b.st.r[r] = reg{}
	}
	b.setScalar(0, result)
}

// callable reports whether R0 to R5 are free for a call.
func (b *body) callable() bool { return b.frozen&0x3f == 0 }
