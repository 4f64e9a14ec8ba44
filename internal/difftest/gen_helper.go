package difftest

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// values lists the maps with values that statements may use, in catalogue order.
func (b *body) values() []*ebpf.MapSpec {
	var list []*ebpf.MapSpec
	for _, name := range b.names {
		if spec := b.maps[name]; hasValues(spec.Type) && name != outMap {
			list = append(list, spec)
		}
	}
	return list
}

// address puts the address of stack byte at into r.
func (b *body) address(r asm.Register, at int) {
	b.emit(asm.Mov.Reg(r, asm.R10))
	b.emit(asm.Add.Imm(r, int32(at-frameBytes)))
}

// storeSmall stores one of a few values, so that keys occur again: a constant,
// or a masked scalar.
func (b *body) storeSmall(at int, size asm.Size, mask int32) {
	if t := b.spare(); t >= 0 && b.chance(2) {
		b.emit(asm.Mov.Reg(asm.Register(t), asm.Register(b.source())))
		b.emit(asm.And.Imm(asm.Register(t), mask))
		b.setScalar(t, uint64(mask))
		b.emit(asm.StoreMem(asm.R10, int16(at-frameBytes), asm.Register(t), size))
		return
	}
	b.emit(stImm(at, int32(b.n(int(mask)+1)), size))
}

// key writes a key for the map to the stack and returns its place, or -1.
func (b *body) key(spec *ebpf.MapSpec) int {
	n := int(spec.KeySize)
	if last, ok := b.keys[spec.Name]; ok && b.again && !b.chance(4) && b.st.written.all(last, n) && !b.reserved.any(last, n) {
		return last
	}
	at := b.slot((n+7)&^7, 8)
	if at < 0 {
		return -1
	}
	switch {
	case spec.Type == ebpf.LPMTrie:
		b.emit(stImm(at, int32(b.n(33)), asm.Word))
		b.storeSmall(at+4, asm.Word, 3)
	case n == 4:
		b.storeSmall(at, asm.Word, 7)
	case n == 8:
		b.storeSmall(at, asm.DWord, 7)
	case n == 13:
		b.storeSmall(at, asm.DWord, 7)
		b.emit(stImm(at+8, 0x01020304, asm.Word))
		b.storeSmall(at+12, asm.Byte, 1)
	default:
		b.emit(stImm(at, 0, asm.DWord))
		b.storeSmall(at+8, asm.DWord, 7)
	}
	b.st.written.add(at, n)
	b.keys[spec.Name] = at
	return at
}

// keyArgument points R2 at a key: on the stack, or in a packet or map value.
func (b *body) keyArgument(spec *ebpf.MapSpec) bool {
	if p := b.pointer(pktPtr, valPtr, memPtr); p >= 6 && b.chance(6) && b.st.r[p].size >= int(spec.KeySize) {
		b.emit(asm.Mov.Reg(asm.R2, asm.Register(p)))
		b.emit(asm.Add.Imm(asm.R2, int32(b.n(b.st.r[p].size-int(spec.KeySize)+1))))
		return true
	}
	at := b.key(spec)
	if at < 0 {
		return false
	}
	b.address(asm.R2, at)
	return true
}

// lookup finds an element and goes on with a pointer to its value.
func (b *body) lookup() {
	spec := pick(b.gen, b.values())
	if !b.keyArgument(spec) {
		return
	}
	b.emit(mapHandle(asm.R1, spec.Name))
	b.emit(asm.FnMapLookupElem.Call())
	b.clobber(0)
	b.st.r[0] = reg{}
	found := func() {
		b.st.r[0] = reg{kind: valPtr, size: int(spec.ValueSize), align: 8, m: spec.Name}
		if r := b.spare(0); r >= 6 && !b.chance(3) {
			b.emit(asm.Mov.Reg(asm.Register(r), asm.R0))
			b.st.r[r] = b.st.r[0]
		}
	}
	null := func(no int) { b.jump(asm.JEq.Imm(asm.R0, 0, ""), no) }
	if b.chance(4) {
		null(b.exit())
		found()
		return
	}
	b.split(null, func() {
		found()
		for range b.between(1, 2) {
			if b.pointer(valPtr) >= 0 {
				pick(b.gen, []func(){b.access, b.access, b.atomic, b.accessVariable})()
			}
		}
		b.block(3)
	}, func() {
		b.setScalar(0, 0)
		if b.chance(3) {
			b.block(2)
		}
	})
}

// touch records that elements of the map may move: pointers to them become
// dead.
func (b *body) touch(spec *ebpf.MapSpec) {
	if stable(spec.Type) {
		return
	}
	for r := range b.st.r {
		if b.st.r[r].m == spec.Name {
			b.st.r[r] = reg{}
		}
	}
	if b.sub != nil {
		b.sub.touches[spec.Name] = true
	}
}

// touchable reports whether the map may be updated here: no pointer into it is
// kept in a frozen register, on the stack, or by a caller.
func (b *body) touchable(spec *ebpf.MapSpec) bool {
	if stable(spec.Type) {
		return true
	}
	for r := range 10 {
		if b.frozenReg(r) && b.st.r[r].m == spec.Name {
			return false
		}
	}
	return b.pinned[spec.Name] == 0
}

// update writes or deletes an element.
func (b *body) update() {
	spec := pick(b.gen, b.values())
	if !b.touchable(spec) || !b.keyArgument(spec) {
		return
	}
	b.frozen |= 1 << 2
	b.st.r[2] = reg{}
	fn := asm.FnMapUpdateElem
	if b.chance(3) {
		fn = asm.FnMapDeleteElem
	} else if !b.buffer(3, int(spec.ValueSize)) {
		b.frozen &^= 1 << 2
		return
	}
	if fn == asm.FnMapUpdateElem {
		b.emit(asm.Mov.Imm(asm.R4, pick(b.gen, []int32{0, 0, 0, 0, 1, 1, 2, 2, 3, 17})))
	}
	b.frozen &^= 1 << 2
	b.emit(mapHandle(asm.R1, spec.Name))
	b.emit(fn.Call())
	b.clobber(unknown)
	b.touch(spec)
}

// buffer points register r at n readable bytes.
func (b *body) buffer(r, n int) bool {
	if p := b.pointer(pktPtr, valPtr, memPtr); p >= 6 && b.chance(4) && b.st.r[p].size >= n {
		b.emit(asm.Mov.Reg(asm.Register(r), asm.Register(p)))
		b.emit(asm.Add.Imm(asm.Register(r), int32(b.n(b.st.r[p].size-n+1))))
		b.st.r[r] = reg{}
		return true
	}
	at := b.filled(n)
	if at < 0 {
		return false
	}
	b.address(asm.Register(r), at)
	b.st.r[r] = reg{}
	return true
}

// filled returns the place of n written stack bytes, writing those that are not.
func (b *body) filled(n int) int {
	at := b.slot((n+7)&^7, 8)
	if at < 0 {
		return -1
	}
	for i := 0; i < n; {
		size := asm.DWord
		switch {
		case n-i < 2:
			size = asm.Byte
		case n-i < 4:
			size = asm.Half
		case n-i < 8:
			size = asm.Word
		}
		k := size.Sizeof()
		if !b.st.written.all(at+i, k) || b.chance(2) {
			if b.chance(3) {
				b.emit(stImm(at+i, b.immediate(), size))
			} else {
				b.emit(asm.StoreMem(asm.R10, int16(at+i-frameBytes), asm.Register(b.source()), size))
			}
			b.st.written.add(at+i, k)
		}
		i += k
	}
	return at
}

// clock calls a helper whose result differs from run to run, and uses only a
// property that always holds: time does not run backwards, random numbers have
// 32 bits.
func (b *body) clock() {
	switch b.n(3) {
	case 0:
		b.emit(asm.FnGetPrandomU32.Call())
	case 1:
		b.emit(asm.FnGetSmpProcessorId.Call())
	default:
		keep := b.regs(func(r int, x *reg) bool { return r >= 6 && !b.frozenReg(r) && (x.kind == scalar || x.kind == dead) })
		if len(keep) == 0 {
			return
		}
		r := pick(b.gen, keep)
		b.emit(asm.FnKtimeGetNs.Call())
		b.emit(asm.Mov.Reg(asm.Register(r), asm.R0))
		b.emit(asm.FnKtimeGetNs.Call())
		b.clobber(unknown)
		late := b.label()
		b.emit(asm.Mov.Imm(asm.R1, 1))
		b.jump(asm.JGE.Reg(asm.R0, asm.Register(r), ""), late)
		b.emit(asm.Mov.Imm(asm.R1, 0))
		b.place(late)
		b.emit(asm.Mov.Reg(asm.R0, asm.R1))
		b.setScalar(0, 1)
		b.setScalar(1, 1)
		b.set(r, 0)
		return
	}
	b.emit(asm.RSh.Imm(asm.R0, 32))
	b.clobber(1<<32 - 1)
}

// checksum calls csum_diff and folds its result to 16 bits, with zero for all
// ones, since kernels fold it to different widths.
func (b *body) checksum() {
	frozen := b.frozen
	defer func() { b.frozen = frozen }()
	for _, r := range []int{1, 3} {
		n := b.n(6) * 4
		if n == 0 {
			b.set(r, 0)
		} else if !b.buffer(r, n) {
			return
		}
		b.frozen |= 1 << r
		b.set(r+1, int32(n))
		b.frozen |= 1 << (r + 1)
	}
	b.emit(asm.Mov.Reg32(asm.R5, asm.Register(b.seed())))
	b.emit(asm.FnCsumDiff.Call())
	b.emit(asm.Mov.Reg32(asm.R0, asm.R0))
	for range 2 {
		b.emit(asm.Mov.Reg(asm.R1, asm.R0))
		b.emit(asm.RSh.Imm(asm.R1, 16))
		b.emit(asm.And.Imm(asm.R0, 0xffff))
		b.emit(asm.Add.Reg(asm.R0, asm.R1))
	}
	some := b.label()
	b.jump(asm.JNE.Imm(asm.R0, 0xffff, ""), some)
	b.emit(asm.Mov.Imm(asm.R0, 0))
	b.place(some)
	b.clobber(unknown)
}

// seed returns a live scalar outside R1 to R4, which hold arguments.
func (b *body) seed() int {
	list := b.regs(func(r int, x *reg) bool { return x.kind == scalar && (r == 0 || r > 4) })
	if len(list) == 0 {
		b.set(5, b.immediate())
		return 5
	}
	return pick(b.gen, list)
}

// perfOutput sends an event. The helper's result depends on the listeners and
// is not used.
func (b *body) perfOutput() {
	n := b.between(1, 24)
	at := b.filled(n)
	if at < 0 {
		return
	}
	b.address(asm.R4, at)
	b.emit(asm.Mov.Reg(asm.R1, asm.Register(b.ctx)))
	b.emit(mapHandle(asm.R2, "events"))
	b.emit(asm.LoadImm(asm.R3, 0xffffffff, asm.DWord)) // BPF_F_CURRENT_CPU
	b.emit(asm.Mov.Imm(asm.R5, int32(n)))
	b.emit(asm.FnPerfEventOutput.Call())
	b.emit(asm.And.Imm(asm.R0, 0))
	b.clobber(0)
}

// redirect redirects the packet by interface number or through a map. If the map has
// no entry, the helper returns the action in the flags.
func (b *body) redirect() {
	if b.chance(2) {
		b.emit(asm.Mov.Imm(asm.R1, int32(b.n(4))))
		b.emit(asm.Mov.Imm(asm.R2, int32(b.n(2))))
		b.emit(asm.FnRedirect.Call())
	} else {
		b.emit(mapHandle(asm.R1, pick(b.gen, []string{"dev", "cpu"})))
		b.emit(asm.Mov.Imm(asm.R2, int32(b.n(6))))
		b.emit(asm.Mov.Imm(asm.R3, int32(b.n(4))))
		b.emit(asm.FnRedirectMap.Call())
	}
	b.clobber(unknown)
}

// tailCall tail-calls through the program array. If the entry has no program,
// execution falls through.
func (b *body) tailCall() {
	if b.chance(2) {
		b.emit(asm.Mov.Imm(asm.R3, int32(b.n(6))))
	} else {
		b.emit(asm.Mov.Reg(asm.R3, asm.Register(b.source())))
	}
	b.emit(asm.Mov.Reg(asm.R1, asm.Register(b.ctx)))
	b.emit(mapHandle(asm.R2, jumpMap))
	b.emit(asm.FnTailCall.Call())
	b.clobber(0)
	b.st.r[0] = reg{} // the helper returns nothing
	b.forgetPacket()  // kernels differ in whether pointers outlive a call that failed
}

// classicLoad reads the packet as classic BPF did, big-endian. A load past its
// end makes the program return 0.
func (b *body) classicLoad() {
	size := pick(b.gen, sizes[:3])
	if b.chance(2) {
		b.emit(asm.LoadAbs(int32(b.n(64)), size))
	} else {
		i := b.index(31, 1, -1)
		if i < 0 {
			return
		}
		b.emit(asm.LoadInd(asm.R0, asm.Register(i), int32(b.n(32)), size))
	}
	b.clobber(unknown)
}
