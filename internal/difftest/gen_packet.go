package difftest

import "github.com/cilium/ebpf/asm"

// ends returns the offsets of data and data_end in the context.
func (b *body) ends() (data, end int16) {
	if b.tc {
		return 76, 80
	}
	return 0, 4
}

func (b *body) loadStart(r int) {
	data, _ := b.ends()
	b.emit(asm.LoadMem(asm.Register(r), asm.Register(b.ctx), data, asm.Word))
}

func (b *body) loadEnd(r int) {
	_, end := b.ends()
	b.emit(asm.LoadMem(asm.Register(r), asm.Register(b.ctx), end, asm.Word))
}

// compareEnd jumps to no if t lies past the packet's end e, in one of the forms that
// compilers emit.
func (b *body) compareEnd(t, e, no int) {
	rt, re := asm.Register(t), asm.Register(e)
	switch b.n(6) {
	case 0:
		b.jump(asm.JLT.Reg(re, rt, ""), no)
	case 1: // one byte more than needed
		b.jump(asm.JGE.Reg(rt, re, ""), no)
	case 2, 3:
		yes := b.label()
		if b.chance(2) {
			b.jump(asm.JLE.Reg(rt, re, ""), yes)
		} else {
			b.jump(asm.JGE.Reg(re, rt, ""), yes)
		}
		b.goto_(no)
		b.place(yes)
	default:
		b.jump(asm.JGT.Reg(rt, re, ""), no)
	}
}

// packetCheck proves that the packet has some bytes, and leaves pointers to
// them in registers.
func (b *body) packetCheck() {
	p := b.spare()
	if list := b.regs(func(r int, x *reg) bool { return r >= 6 && !b.frozenReg(r) && (x.kind == dead || x.kind == scalar) }); len(list) > 0 {
		p = pick(b.gen, list)
	}
	if p < 0 {
		return
	}
	e := b.spare(p)
	t := -1
	if e >= 0 {
		t = b.spare(p, e)
	}
	if t < 0 {
		return
	}
	n := pick(b.gen, []int{1, 8, 14, 14, 20, 34, 34, 42, 54, 64, 100, 128})
	if b.chance(2) {
		b.loadStart(p)
		b.loadEnd(e)
	} else {
		b.loadEnd(e)
		b.loadStart(p)
	}
	b.emit(asm.Mov.Reg(asm.Register(t), asm.Register(p)))
	b.emit(asm.Add.Imm(asm.Register(t), int32(n)))
	b.st.r[p], b.st.r[e], b.st.r[t] = reg{}, reg{}, reg{}
	checked := func() {
		b.st.r[p] = reg{kind: pktPtr, size: n, align: 1}
		b.st.r[t] = reg{kind: pktPtr, low: n, align: 1}
		if b.chance(6) { // the packet's length, as a number
			b.emit(asm.Sub.Reg(asm.Register(e), asm.Register(p)))
			b.setScalar(e, unknown)
		}
	}
	if b.depth == 0 && b.chance(2) {
		b.compareEnd(t, e, b.exit())
		checked()
		return
	}
	b.split(func(no int) { b.compareEnd(t, e, no) }, func() {
		checked()
		for range b.between(1, 3) {
			if b.pointer(pktPtr) >= 0 {
				b.access()
			}
		}
		b.block(4)
	}, func() {
		if b.chance(4) {
			b.block(2)
		}
	})
}

// contextLoad reads a context field: in tc the length; in XDP numbers that
// depend on the device, of which the program uses only that they are numbers.
func (b *body) contextLoad() {
	r := b.target()
	if b.tc {
		b.emit(asm.LoadMem(asm.Register(r), asm.Register(b.ctx), 0, asm.Word))
		b.setScalar(r, unknown)
		return
	}
	b.emit(asm.LoadMem(asm.Register(r), asm.Register(b.ctx), pick(b.gen, []int16{12, 16}), asm.Word))
	b.emit(asm.RSh.Imm(asm.Register(r), 32))
	b.setScalar(r, 0)
}

// The largest distance that one adjust_head site moves the packet's start. With
// at most three sites, none in a loop, the sum stays within -84..+45.
const (
	mostHeadroom = 28
	mostPulled   = 15
)

// forgetPacket drops packet pointers.
func (b *body) forgetPacket() {
	for r := range b.st.r {
		if b.st.r[r].kind == pktPtr {
			b.st.r[r] = reg{}
		}
	}
}

// adjustHead moves the packet's start, and writes the added bytes, since the
// bytes before a packet are undefined.
func (b *body) adjustHead() {
	b.moves++
	fill := 0
	if b.chance(3) {
		i := b.index(7, 1, -1)
		if i < 0 {
			return
		}
		b.emit(asm.Mov.Reg(asm.R2, asm.Register(i)))
		if b.chance(2) {
			b.emit(asm.Neg.Imm(asm.R2, 0))
			fill = 7
		}
	} else {
		d := b.between(-mostHeadroom, mostPulled)
		b.emit(asm.Mov.Imm(asm.R2, int32(d)))
		fill = max(0, -d)
	}
	b.emit(asm.Mov.Reg(asm.R1, asm.Register(b.ctx)))
	b.emit(asm.FnXdpAdjustHead.Call())
	b.clobber(unknown)
	b.forgetPacket()
	if fill == 0 {
		return
	}
	// A packet with fill more bytes has them; one that was refused may not.
	b.loadStart(1)
	b.loadEnd(2)
	b.emit(asm.Mov.Reg(asm.R3, asm.R1))
	b.emit(asm.Add.Imm(asm.R3, int32(fill)))
	none := b.label()
	b.jump(asm.JGT.Reg(asm.R3, asm.R2, ""), none)
	for at := 0; at < fill; {
		size := asm.DWord
		switch {
		case fill-at < 2:
			size = asm.Byte
		case fill-at < 4:
			size = asm.Half
		case fill-at < 8:
			size = asm.Word
		}
		b.emit(asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.R1, Offset: int16(at), Constant: int64(b.immediate())})
		at += size.Sizeof()
	}
	b.place(none)
}

// adjustTail cuts the packet's end off.
func (b *body) adjustTail() {
	b.moves++
	if b.chance(3) {
		i := b.index(31, 1, -1)
		if i < 0 {
			return
		}
		b.emit(asm.Mov.Reg(asm.R2, asm.Register(i)))
		b.emit(asm.Neg.Imm(asm.R2, 0))
		b.emit(asm.Sub.Imm(asm.R2, 1))
	} else {
		b.emit(asm.Mov.Imm(asm.R2, -int32(b.between(1, 40))))
	}
	b.emit(asm.Mov.Reg(asm.R1, asm.Register(b.ctx)))
	b.emit(asm.FnXdpAdjustTail.Call())
	b.clobber(unknown)
	b.forgetPacket()
}
