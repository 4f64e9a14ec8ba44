package difftest

import (
	"math/bits"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

var sizes = []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord}

// slot draws n stack bytes, at a multiple of align, that are free to write. It returns
// -1 if it finds none.
func (b *body) slot(n, align int) int {
	if n > b.frame {
		return -1
	}
	for range 16 {
		at := frameBytes - b.frame + b.n((b.frame-n)/align+1)*align
		if at+n <= frameBytes && !b.reserved.any(at, n) {
			return at
		}
	}
	return -1
}

// written draws n written stack bytes, at a multiple of align, or -1.
func (b *body) written(n, align int) int {
	var found []int
	for at := frameBytes - b.frame; at+n <= frameBytes; at += align {
		if b.st.written.all(at, n) && !b.reserved.any(at, n) {
			found = append(found, at)
		}
	}
	if len(found) == 0 {
		return -1
	}
	return pick(b.gen, found)
}

// stImm stores an immediate to stack byte at.
func stImm(at int, v int32, size asm.Size) asm.Instruction {
	return asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.R10, Offset: int16(at - frameBytes), Constant: int64(v)}
}

func (b *body) stackStore() {
	size := pick(b.gen, sizes)
	at := b.slot(size.Sizeof(), size.Sizeof())
	if at < 0 {
		return
	}
	if b.chance(3) {
		b.emit(stImm(at, b.immediate(), size))
	} else {
		b.emit(asm.StoreMem(asm.R10, int16(at-frameBytes), asm.Register(b.source()), size))
	}
	b.st.written.add(at, size.Sizeof())
}

func (b *body) stackLoad() {
	size := pick(b.gen, sizes)
	at := b.written(size.Sizeof(), size.Sizeof())
	if at < 0 {
		b.stackStore()
		return
	}
	b.load(b.target(), asm.R10, int16(at-frameBytes), size)
}

// load reads memory into r, with sign extension now and then.
func (b *body) load(r int, base asm.Register, off int16, size asm.Size) {
	if size != asm.DWord && b.feat.has(V4) && b.chance(4) {
		b.emit(asm.LoadMemSX(asm.Register(r), base, off, size))
		b.setScalar(r, unknown)
		return
	}
	b.emit(asm.LoadMem(asm.Register(r), base, off, size))
	b.setScalar(r, 1<<(8*size.Sizeof()-1)<<1-1)
}

// stackVariable reads or writes the stack at an offset known only at run time,
// within a range of bytes that it writes first.
func (b *body) stackVariable() {
	n := pick(b.gen, []int{8, 16, 32})
	at := b.slot(n, 8)
	if at < 0 || b.frame < n {
		return
	}
	for i := 0; i < n; i += 8 {
		if !b.st.written.all(at+i, 8) {
			b.emit(stImm(at+i, b.immediate(), asm.DWord))
			b.st.written.add(at+i, 8)
		}
	}
	size := pick(b.gen, sizes)
	p := b.spare()
	if p < 0 {
		return
	}
	i := b.index(n-size.Sizeof(), size.Sizeof(), p)
	if i < 0 {
		return
	}
	b.emit(asm.Mov.Reg(asm.Register(p), asm.R10))
	b.emit(asm.Add.Imm(asm.Register(p), int32(at-frameBytes)))
	b.emit(asm.Add.Reg(asm.Register(p), asm.Register(i)))
	b.st.r[p] = reg{}
	b.through(p, size, true)
}

// index generates a scalar of at most most, a multiple of align, in a register other
// than not. It returns the register or -1.
func (b *body) index(most, align, not int) int {
	src := b.source()
	if src == not {
		return -1
	}
	i := b.spare(not)
	if i < 0 {
		return -1
	}
	if i != src {
		b.emit(asm.Mov.Reg(asm.Register(i), asm.Register(src)))
	}
	mask := 1<<bits.Len(uint(most+1)) - 1
	if mask > most {
		mask >>= 1
	}
	mask &^= align - 1
	b.emit(asm.And.Imm(asm.Register(i), int32(mask)))
	b.setScalar(i, uint64(mask))
	return i
}

// pointer draws a register with a pointer of one of the kinds, or -1.
func (b *body) pointer(kinds ...kind) int {
	list := b.regs(func(_ int, x *reg) bool {
		for _, k := range kinds {
			if x.kind == k && x.size+x.low > 0 {
				return true
			}
		}
		return false
	})
	if len(list) == 0 {
		return -1
	}
	return pick(b.gen, list)
}

// storable reports whether the program may store through the pointer.
func (b *body) storable(x *reg) bool { return x.kind != valPtr || b.feat.has(ValueStores) }

// access generates a load or store through a pointer, within its reach.
func (b *body) access() {
	p := b.pointer(pktPtr, memPtr, valPtr)
	x, movable := b.st.r[p], !b.frozenReg(p)
	defer b.keep(p)()
	size := pick(b.gen, sizes)
	for size.Sizeof() > x.low+x.size {
		size = pick(b.gen, sizes)
	}
	off := b.between(-x.low, x.size-size.Sizeof())
	if x.kind == memPtr {
		if off &= -size.Sizeof(); off < -x.low || x.align < size.Sizeof() {
			return
		}
	}
	switch {
	case b.chance(3) && b.storable(&x):
		b.emit(asm.StoreMem(asm.Register(p), int16(off), asm.Register(b.source()), size))
	case b.chance(6) && b.storable(&x):
		b.emit(asm.Instruction{OpCode: asm.StoreImmOp(size), Dst: asm.Register(p), Offset: int16(off), Constant: int64(b.immediate())})
	case b.chance(8) && movable:
		b.movePointer(p)
	default:
		b.load(b.target(), asm.Register(p), int16(off), size)
	}
}

// movePointer adds a constant to a pointer, within the bytes that it reaches.
func (b *body) movePointer(p int) {
	x := &b.st.r[p]
	k := b.n(x.size + 1)
	if x.align > 1 {
		k &= -x.align
	}
	op, v := asm.Add, int32(k)
	if b.chance(2) && x.kind != memPtr { // nothing is subtracted from stack pointers
		op, v = asm.Sub, -v
	}
	b.emit(op.Imm(asm.Register(p), v))
	x.low, x.size = x.low+k, x.size-k
}

// accessVariable reads or writes at a pointer plus an index.
func (b *body) accessVariable() {
	p := b.pointer(pktPtr, memPtr, valPtr)
	x := b.st.r[p]
	defer b.keep(p)()
	size := pick(b.gen, sizes)
	if x.size < size.Sizeof()+1 || x.kind == memPtr && x.align < 8 {
		return
	}
	q := b.spare(p)
	if q < 0 {
		return
	}
	align := 1
	if x.kind == memPtr {
		align = size.Sizeof()
	}
	if align == 1 && b.depth < 4 && b.chance(3) {
		b.accessLinked(p, q, size)
		return
	}
	if i := b.index(x.size-size.Sizeof(), align, q); i >= 0 {
		b.accessAt(p, q, i, size)
	}
}

// accessAt generates a load or store of i bytes after p, through q.
func (b *body) accessAt(p, q, i int, size asm.Size) {
	x := b.st.r[p]
	b.emit(asm.Mov.Reg(asm.Register(q), asm.Register(p)))
	b.emit(asm.Add.Reg(asm.Register(q), asm.Register(i)))
	b.st.r[q] = reg{}
	if x.kind == pktPtr {
		b.recheck(q, size)
		return
	}
	b.through(q, size, b.storable(&x))
}

// accessLinked is an access at the number i, for which the program checked j,
// which differs from i by a constant. It needs a verifier that links the two.
func (b *body) accessLinked(p, q int, size asm.Size) {
	src, most := b.source(), b.st.r[p].size-size.Sizeof()
	i := b.spare(q)
	if i < 0 {
		return
	}
	j := b.spare(q, i)
	if j < 0 {
		return
	}
	c := b.between(1, most)
	b.emit(asm.Mov.Reg32(asm.Register(i), asm.Register(src)))
	b.emit(asm.Mov.Reg(asm.Register(j), asm.Register(i)))
	b.emit(asm.Add.Imm(asm.Register(j), int32(c)))
	b.setScalar(i, 1<<32-1)
	b.setScalar(j, unknown)
	checked, bound := i, most-c
	if b.chance(2) { // j is checked, i used
		i, j, checked, bound = j, i, j, most
	}
	b.split(func(no int) { b.jump(asm.JGT.Imm(asm.Register(checked), int32(bound), ""), no) }, func() {
		b.accessAt(p, q, j, size)
	}, func() {})
}

// through loads from the address in q, or stores to it.
func (b *body) through(q int, size asm.Size, store bool) {
	if store && b.chance(2) {
		defer b.keep(q)()
		b.emit(asm.StoreMem(asm.Register(q), 0, asm.Register(b.source()), size))
		return
	}
	b.load(q, asm.Register(q), 0, size)
}

// recheck compares a moved packet pointer with the packet's end again, since
// the proved range is lost when a variable offset is added.
func (b *body) recheck(q int, size asm.Size) {
	t, e := b.spare(q), -1
	if t >= 0 {
		e = b.spare(q, t)
	}
	if e < 0 || !b.hasCtx() {
		return
	}
	b.emit(asm.Mov.Reg(asm.Register(t), asm.Register(q)))
	b.emit(asm.Add.Imm(asm.Register(t), int32(size.Sizeof())))
	b.loadEnd(e)
	b.st.r[q], b.st.r[t], b.st.r[e] = reg{}, reg{}, reg{}
	b.split(func(no int) { b.compareEnd(t, e, no) }, func() {
		b.through(q, size, true)
	}, func() {})
}

// plainAtomics are the atomics of ISA v1.
var plainAtomics = []asm.AtomicOp{asm.AddAtomic}

var allAtomics = []asm.AtomicOp{
	asm.AddAtomic, asm.FetchAdd, asm.AndAtomic, asm.FetchAnd, asm.OrAtomic,
	asm.FetchOr, asm.XorAtomic, asm.FetchXor, asm.Xchg, asm.CmpXchg,
}

// atomicOn writes an atomic operation on base + off.
func (b *body) atomicOn(base asm.Register, off int16, size asm.Size) {
	ops := plainAtomics
	if b.feat.has(Atomics) {
		ops = allAtomics
	}
	op := pick(b.gen, ops)
	if size == asm.DWord && b.st.r[base].kind == valPtr && !b.chance(8) {
		// The card's memory can do little else on 64 bits of a map value, so that
		// most programs with another operation end at the compiler.
		op = asm.AddAtomic
	}
	src := b.modifiable()
	if base == asm.Register(src) {
		return
	}
	if op == asm.CmpXchg {
		if base == asm.R0 || b.frozenReg(0) {
			return
		}
		if b.st.r[0].kind != scalar {
			b.constant(0)
		}
	}
	fetch := op&(1<<8) != 0
	if fetch && (base == asm.R10 || b.st.r[base].kind == memPtr) {
		// Linux 6.18 follows a number stored to the stack through the fetch when it
		// decides branches, but not when it compares two states. So it prunes
		// branches that are taken. A byte stored into the word makes it forget the
		// number.
		b.emit(asm.Instruction{OpCode: asm.StoreImmOp(asm.Byte), Dst: base, Offset: off + 1, Constant: 1})
	}
	b.emit(op.Mem(base, asm.Register(src), size, off))
	switch {
	case op == asm.CmpXchg:
		b.setScalar(0, unknown)
	case fetch:
		b.setScalar(src, unknown)
	}
}

func (b *body) atomicSize() asm.Size { return pick(b.gen, []asm.Size{asm.Word, asm.DWord}) }

// atomic operates on a map value or a caller's buffer.
func (b *body) atomic() {
	p := b.pointer(valPtr, memPtr)
	x := b.st.r[p]
	defer b.keep(p)()
	size := b.atomicSize()
	n := size.Sizeof()
	if x.align < n || x.low+x.size < n || !b.storable(&x) && x.kind == memPtr {
		return
	}
	low := -(x.low &^ (n - 1))
	if low+n > x.size {
		return
	}
	off := low + b.n((x.size-low-n)/n+1)*n
	b.atomicOn(asm.Register(p), int16(off), size)
}

func (b *body) stackAtomic() {
	size := b.atomicSize()
	if at := b.written(size.Sizeof(), size.Sizeof()); at >= 0 {
		b.atomicOn(asm.R10, int16(at-frameBytes), size)
	}
}

// mapHandle and mapValue load a map, or the address inside its first value.
func mapHandle(r asm.Register, name string) asm.Instruction {
	return asm.LoadMapPtr(r, 0).WithReference(name)
}

func mapValue(r asm.Register, name string, off uint32) asm.Instruction {
	return asm.LoadMapValue(r, 0, off).WithReference(name)
}

// directValue takes the address of global data.
func (b *body) directValue() {
	r := b.target()
	spec := b.maps["data64"]
	off := b.n(int(spec.ValueSize)/8) * 8
	b.emit(mapValue(asm.Register(r), spec.Name, uint32(off)))
	b.st.r[r] = reg{kind: valPtr, low: off, size: int(spec.ValueSize) - off, align: 8, m: spec.Name}
}

// stable reports whether value pointers outlive updates of their map.
func stable(t ebpf.MapType) bool { return isArray(t) }
