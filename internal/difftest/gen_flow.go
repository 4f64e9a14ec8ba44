package difftest

import (
	"fmt"

	"github.com/cilium/ebpf/asm"
)

// statement is one kind of statement to generate next; weight 0 means never.
type statement struct {
	weight int
	when   bool
	write  func()
}

// statements writes n of them.
func (b *body) statements(n int) {
	for range n {
		b.statement()
	}
}

// statement draws one that fits.
func (b *body) statement() {
	call := b.callable()
	list := []statement{
		{30, true, b.alu},
		{8, true, b.swap},
		{6, true, func() { b.constant(b.target()) }},
		{10, true, b.stackStore},
		{10, true, b.stackLoad},
		{3, b.feat.has(VariableStack), b.stackVariable},
		{4, true, b.stackAtomic},
		{16, b.pointer(pktPtr, memPtr, valPtr) >= 0, b.access},
		{4, b.pointer(pktPtr, memPtr, valPtr) >= 0, b.accessVariable},
		{6, b.pointer(valPtr, memPtr) >= 0, b.atomic},
		{6, b.depth < 4 && b.pointer(pktPtr, valPtr) >= 0, b.rewrite},
		{7, b.hasCtx(), b.packetCheck},
		{4, b.hasCtx(), b.contextLoad},
		{9, b.depth < 4, b.branch},
		{3, b.feat.has(Loops) && b.depth < 3 && b.loops < 8, b.loop},
		{2, b.depth < 4, b.spillAround},
		{8, call && b.feat.has(Lookups), b.lookup},
		{5, call && b.feat.has(Lookups|Updates), b.update},
		{3, b.feat.has(Lookups | DirectValues), b.directValue},
		{5, call && len(b.callees()) > 0, b.call},
		{2, call && b.feat.has(Clock), b.clock},
		{2, call && b.feat.has(Checksums), b.checksum},
		{1, call && b.feat.has(PerfOutput) && b.hasCtx(), b.perfOutput},
		{1, call && b.feat.has(Redirect) && !b.tc, b.redirect},
		{2, call && b.feat.has(AdjustHead) && b.movable(), b.adjustHead},
		{1, call && b.feat.has(AdjustTail) && b.movable(), b.adjustTail},
		{1, call && b.feat.has(TailCalls) && b.hasCtx() && b.sub == nil && b.frame <= 192 && b.unpinned(pktPtr), b.tailCall},
		{8, call && b.tc && b.feat.has(ClassicLoads) && b.sub == nil && b.ctx == 6, b.classicLoad},
	}
	total := 0
	for _, s := range list {
		if s.when {
			total += s.weight
		}
	}
	at := b.n(total)
	for _, s := range list {
		if !s.when {
			continue
		}
		if at -= s.weight; at < 0 {
			s.write()
			return
		}
	}
}

// hasCtx reports whether a register holds the context.
func (b *body) hasCtx() bool { return b.ctx >= 0 }

// movable reports whether the packet's ends may move here: each site is
// executed once at most, so that the moves of all sites together stay within
// the limits.
func (b *body) movable() bool {
	return !b.tc && b.hasCtx() && b.loops == 1 && b.sub == nil && b.moves < 3 && b.unpinned(pktPtr)
}

// unpinned reports whether no frozen register holds such a pointer.
func (b *body) unpinned(k kind) bool {
	for r := range 10 {
		if b.frozenReg(r) && b.st.r[r].kind == k {
			return false
		}
	}
	return b.pinned[packetPin] == 0
}

// packetPin is the name under which spilled packet pointers are pinned.
const packetPin = "\x00packet"

// entry opens the entry function: the context goes to a register of its own.
func (b *body) entry() {
	b.st.r[1] = reg{kind: ctxPtr}
	b.ctx = 6
	if !b.tc {
		b.ctx = b.between(6, 9)
	}
	b.emit(asm.Mov.Reg(asm.Register(b.ctx), asm.R1))
	b.st.r[b.ctx] = reg{kind: ctxPtr}
	b.frozen |= 1 << b.ctx
	b.st.r[1] = reg{}
	for range b.n(4) {
		b.constant(b.target())
	}
	if !b.chance(8) {
		b.packetCheck()
		for range b.between(1, 4) {
			if b.pointer(pktPtr) >= 0 {
				b.access()
			}
		}
	}
}

// condition writes a jump to label on a condition over scalars. The condition may hold
// always or never; both successors are generated as if they were reachable.
func (b *body) condition(label int) {
	op := pick(b.gen, []asm.JumpOp{asm.JEq, asm.JGT, asm.JGE, asm.JSet, asm.JNE, asm.JSGT, asm.JSGE, asm.JLT, asm.JLE, asm.JSLT, asm.JSLE})
	x := b.source()
	class := asm.OpCode(asm.JumpClass)
	if b.chance(3) {
		class = asm.OpCode(asm.Jump32Class)
	}
	ins := asm.Instruction{OpCode: class.SetJumpOp(op), Dst: asm.Register(x)}
	if b.chance(2) {
		ins.OpCode = ins.OpCode.SetSource(asm.RegSource)
		ins.Src = asm.Register(b.source())
	} else {
		ins.Constant = int64(b.immediate())
	}
	b.jump(ins, label)
}

// goto_ writes an unconditional jump.
func (b *body) goto_(label int) {
	if b.feat.has(V4) && b.chance(4) {
		b.jump(asm.Instruction{OpCode: longJump}, label)
		return
	}
	b.jump(asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}, label)
}

// block writes some statements one level down.
func (b *body) block(most int) {
	b.depth++
	b.statements(b.between(1, most))
	b.depth--
}

// branch writes if, if/else, or an early exit.
func (b *body) branch() {
	if b.chance(6) {
		b.condition(b.exit())
		return
	}
	b.split(b.condition, func() { b.block(4) }, func() {
		if b.chance(2) {
			b.block(4)
		}
	})
}

// exit returns the label of the function's early exit.
func (b *body) exit() int {
	if b.bail == 0 {
		b.bail = b.label()
	}
	return b.bail
}

// split writes a test that jumps past then to other, and joins after both.
func (b *body) split(test func(label int), then, other func()) {
	no, end := b.label(), b.label()
	test(no)
	before := b.st
	then()
	after := b.st
	b.st = before
	mark := len(b.items)
	b.goto_(end)
	b.place(no)
	other()
	if len(b.items) == mark+1 { // no else: the jump over it is not needed
		b.items = b.items[:mark]
		b.place(no)
	}
	b.place(end)
	b.st.meet(&after)
}

// loop writes a loop of at most eight rounds, counted in a register or on the
// stack. Registers that hold pointers are frozen or become dead. Scalars may
// change, so they have no bounds at its head.
func (b *body) loop() {
	counter := -1
	if list := b.regs(func(r int, x *reg) bool { return r >= 6 && !b.frozenReg(r) && x.kind != valPtr && x.kind != pktPtr }); len(list) > 0 {
		counter = pick(b.gen, list)
	}
	slot := -1
	if counter < 0 {
		if slot = b.slot(8, 8); slot < 0 {
			return
		}
	}
	frozen, loops, rounds := b.frozen, b.loops, b.between(1, 8/b.loops)
	b.loops *= max(rounds, 2)
	if counter >= 0 {
		b.set(counter, int32(rounds))
		b.setScalar(counter, 8)
		b.frozen |= 1 << counter
	} else {
		b.emit(stImm(slot, int32(rounds), asm.DWord))
		b.st.written.remove(slot, 8)
		b.reserved.add(slot, 8)
	}
	var free uint16
	for r := range 10 {
		x := &b.st.r[r]
		switch {
		case b.frozenReg(r) || x.kind == dead:
		case x.kind == scalar:
			x.max = unknown
			free |= 1 << r
		case r >= 6 && !b.chance(4):
			b.frozen |= 1 << r
		default:
			*x = reg{}
		}
	}
	top := b.label()
	b.place(top)
	b.block(5)
	for r := range 10 {
		if free>>r&1 == 1 && b.st.r[r].kind != scalar {
			b.constant(r)
		}
	}
	b.closeLoop(counter, slot, top)
	b.frozen, b.loops = frozen, loops
}

// closeLoop counts down and jumps back while rounds remain.
func (b *body) closeLoop(counter, slot, top int) {
	back := asm.Instruction{OpCode: asm.JNE.Op(asm.ImmSource), Dst: asm.Register(counter)}
	if b.chance(2) {
		back.OpCode = asm.JGT.Op(asm.ImmSource)
	}
	if counter >= 0 {
		b.emit(asm.Add.Imm(asm.Register(counter), -1))
		b.jump(back, top)
		b.setScalar(counter, 8)
		return
	}
	b.reserved.remove(slot, 8)
	r := b.spare()
	if r < 0 {
		// No register is free for the counter: the loop has one round.
		return
	}
	back.Dst = asm.Register(r)
	b.emit(asm.LoadMem(asm.Register(r), asm.R10, int16(slot-frameBytes), asm.DWord))
	b.emit(asm.Add.Imm(asm.Register(r), -1))
	b.emit(asm.StoreMem(asm.R10, int16(slot-frameBytes), asm.Register(r), asm.DWord))
	b.st.written.add(slot, 8)
	b.jump(back, top)
	b.setScalar(r, 8)
}

// spillAround keeps a pointer on the stack while other statements run.
func (b *body) spillAround() {
	r := b.pointer(pktPtr, memPtr, valPtr)
	slot := b.slot(8, 8)
	if r < 0 || slot < 0 || b.frozenReg(r) {
		return
	}
	x := b.st.r[r]
	pin := x.m
	if x.kind == pktPtr {
		pin = packetPin
	}
	b.emit(asm.StoreMem(asm.R10, int16(slot-frameBytes), asm.Register(r), asm.DWord))
	b.st.written.remove(slot, 8)
	b.reserved.add(slot, 8)
	b.pinned[pin]++
	b.st.r[r] = reg{}
	b.block(5)
	b.pinned[pin]--
	b.reserved.remove(slot, 8)
	if r = b.spare(); r >= 0 {
		b.emit(asm.LoadMem(asm.Register(r), asm.R10, int16(slot-frameBytes), asm.DWord))
		b.st.r[r] = x
	}
	// An enclosing loop may read the slot in its next round, so no pointer may
	// stay there.
	b.emit(stImm(slot, b.immediate(), asm.DWord))
	b.st.written.add(slot, 8)
}

// ending folds the live values into one number, stores it in a visible place, and
// returns; the early exit follows.
func (b *body) ending() {
	h := b.fold()
	if b.sub == nil {
		b.publish(h)
	} else if h != 0 {
		b.emit(asm.Mov.Reg(asm.R0, asm.Register(h)))
	}
	if b.sub == nil && !b.chance(4) {
		b.emit(asm.And.Imm(asm.R0, pick(b.gen, []int32{1, 3, 3, 7})))
	}
	b.emit(asm.Return())
	if b.bail == 0 {
		return
	}
	b.place(b.bail)
	b.emit(asm.Mov.Imm(asm.R0, int32(b.n(5))))
	b.emit(asm.Return())
}

// fold mixes live scalars and some of the stack into a register and returns it.
func (b *body) fold() int {
	b.frozen = 0
	b.ctx = -1
	h := b.source()
	mix := func(r int) {
		switch b.n(3) {
		case 0:
			b.emit(asm.Mul.Imm(asm.Register(h), 0x01000193))
			b.emit(asm.Xor.Reg(asm.Register(h), asm.Register(r)))
		case 1:
			b.emit(asm.Add.Reg(asm.Register(h), asm.Register(r)))
		default:
			b.emit(asm.Xor.Reg(asm.Register(h), asm.Register(r)))
			b.emit(asm.Mul.Imm(asm.Register(h), 31))
		}
	}
	for r := range 10 {
		if r != h && b.st.r[r].kind == scalar {
			mix(r)
		}
	}
	t := (h + 1) % 10
	for range 6 {
		if at := b.written(8, 8); at >= 0 {
			b.emit(asm.LoadMem(asm.Register(t), asm.R10, int16(at-frameBytes), asm.DWord))
			mix(t)
		}
	}
	return h
}

// publish stores the fold to map out, by a plain store, and leaves it in R0.
func (b *body) publish(h int) {
	slot := b.slot(16, 8)
	if !b.feat.has(Lookups) || b.maps[outMap] == nil || slot < 0 {
		b.emit(asm.Mov.Reg(asm.R0, asm.Register(h)))
		return
	}
	key, none, v := slot+8, b.label(), asm.R0
	b.emit(asm.StoreMem(asm.R10, int16(slot-frameBytes), asm.Register(h), asm.DWord))
	if b.feat.has(DirectValues) && b.chance(2) {
		v = asm.R1
		b.emit(mapValue(v, outMap, 0))
	} else {
		b.emit(stImm(key, 0, asm.Word))
		b.emit(mapHandle(asm.R1, outMap))
		b.address(asm.R2, key)
		b.emit(asm.FnMapLookupElem.Call())
		b.jump(asm.JEq.Imm(asm.R0, 0, ""), none)
	}
	b.emit(asm.LoadMem(asm.R2, asm.R10, int16(slot-frameBytes), asm.DWord))
	b.emit(asm.StoreMem(v, 0, asm.R2, asm.DWord))
	b.place(none)
	b.emit(asm.LoadMem(asm.R0, asm.R10, int16(slot-frameBytes), asm.DWord))
}

func (s *sub) String() string { return fmt.Sprintf("sub%d", s.number) }
