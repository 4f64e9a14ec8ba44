package lift

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// Atomic operations that asm has no exported names for (RFC 9669 has them since
// its successor draft; Linux 6.15).
const (
	fetch        asm.AtomicOp = 0x100
	loadAcquire  asm.AtomicOp = 0x1_0000
	storeRelease asm.AtomicOp = 0x1_1000
)

// memRef is an address with the known facts about it.
type memRef struct {
	space        ir.Space
	addr         *ir.Value // I32 in stack and packet, I64 in maps
	align, phase uint8
	big          bool
}

// access builds a load, a store or an atomic operation.
func (b *funcBuilder) access(ins *code.Insn) error {
	if b.f.Mem[b.i] == nil {
		b.stray(ins)
		return nil
	}
	acc := accessOf(b.f, b.i)
	size := ins.OpCode.Size().Sizeof()
	base, load := ins.Dst, false
	if ins.OpCode.Class() == asm.LdXClass || ins.OpCode.Mode() == asm.AtomicMode && ins.OpCode.AtomicOp() == loadAcquire {
		base, load = ins.Src, true
	}
	if acc.Kind == verify.PtrCtx {
		return b.ctx(ins, acc, load, size)
	}
	if load {
		if n, ok := b.rodata(acc, size); ok {
			b.regs[ins.Dst] = b.loaded(ins, b.constant(sized(size), n), size)
			return nil
		}
	}
	ptr := b.reg(base)
	if acc.Unproven {
		b.guard(acc, ptr, int64(ins.Offset), size)
	}
	switch {
	case load:
		v := b.reach(acc, ptr, int64(ins.Offset), size, sized(size), func(p memRef) *ir.Value { return b.load(p, size) })
		b.regs[ins.Dst] = b.loaded(ins, v, size)
	case ins.OpCode.Mode() == asm.AtomicMode && ins.OpCode.AtomicOp() != storeRelease:
		return b.atomic(ins, acc, ptr, size)
	default:
		v := b.stored(ins, size)
		b.reach(acc, ptr, int64(ins.Offset), size, ir.Void, func(p memRef) *ir.Value { b.store(p, size, v); return nil })
	}
	return nil
}

// accessOf returns the access of instruction i's memory operand. If the verifier
// stopped early, there are instructions without facts.
func accessOf(f *verify.Facts, i int) *verify.Access {
	if acc := f.Mem[i]; acc != nil {
		return acc
	}
	return &verify.Access{Kind: verify.PtrUnsure, Min: math.MinInt64, Max: math.MaxInt64, Bits: verify.Tnum{Mask: ^uint64(0)}}
}

// isAccess reports whether the instruction has a memory operand.
func isAccess(ins *code.Insn) bool {
	switch ins.OpCode.Class() {
	case asm.LdXClass, asm.StClass, asm.StXClass:
		return true
	}
	return false
}

// sized is the type of a value of so many bytes.
func sized(size int) ir.Type {
	if size == 8 {
		return ir.I64
	}
	return ir.I32
}

// loaded widens a loaded value to a register.
func (b *funcBuilder) loaded(ins *code.Insn, v *ir.Value, size int) *ir.Value {
	if size == 8 {
		return v
	}
	if ins.OpCode.Mode() != asm.MemSXMode {
		return b.zext(v)
	}
	switch size {
	case 1:
		v = b.op(ir.OpSExt8, ir.I32, v)
	case 2:
		v = b.op(ir.OpSExt16, ir.I32, v)
	}
	return b.op(ir.OpSExt32, ir.I64, v)
}

// stored is the value a store writes.
func (b *funcBuilder) stored(ins *code.Insn, size int) *ir.Value {
	if ins.OpCode.Class() == asm.StClass {
		return b.constant(sized(size), int64(int32(ins.Constant)))
	}
	if size == 8 {
		return b.reg(ins.Src)
	}
	return b.reg32(ins.Src)
}

func (b *funcBuilder) load(p memRef, size int) *ir.Value {
	v := b.op(ir.OpLoad, sized(size), p.addr)
	p.note(v, size)
	return v
}

func (b *funcBuilder) store(p memRef, size int, x *ir.Value) {
	p.note(b.op(ir.OpStore, ir.Void, p.addr, x), size)
}

func (p memRef) note(v *ir.Value, size int) {
	v.Space, v.Size, v.Big, v.Align, v.Phase = p.space, uint8(size), p.big, p.align, p.phase
}

// space is the memory a pointer of that kind points to, or NoSpace.
func space(k verify.Kind) ir.Space {
	switch k {
	case verify.PtrStack:
		return ir.Stack
	case verify.PtrPacket, verify.PtrPacketMeta, verify.PtrMem:
		return ir.Packet
	case verify.PtrMapValue, verify.PtrMapValueOrNull:
		return ir.MapMem
	}
	return ir.NoSpace
}

// reach calls do for the address ptr + off. If the access reaches different
// memories on different paths, it calls do once for each memory, in a block of its
// own. t is the type of do's result, Void for none.
//
// The shape of an address shows its memory at run time (docs/firmware-contract.md).
// The high half of a map value's address is not 0; that of other addresses is. Bit
// 31 is set in a packet's address and clear in the stack's.
func (b *funcBuilder) reach(acc *verify.Access, ptr *ir.Value, off int64, size int, t ir.Type, do func(memRef) *ir.Value) *ir.Value {
	if s := space(acc.Kind); s != ir.NoSpace {
		return do(b.place(s, acc, ptr, off, size))
	}
	addr := b.add(ptr, off)
	low := b.trunc(addr)
	high := b.trunc(b.op(ir.OpShr, ir.I64, addr, b.constant(ir.I32, 32)))
	mapped, narrow, packet, stack, join := b.fn.NewBlock(), b.fn.NewBlock(), b.fn.NewBlock(), b.fn.NewBlock(), b.fn.NewBlock()
	b.cur.Branch(b.pc, high, ir.Edge{To: mapped}, ir.Edge{To: narrow})
	b.cur = narrow
	top := b.op(ir.OpShr, ir.I32, low, b.constant(ir.I32, 31))
	b.cur.Branch(b.pc, top, ir.Edge{To: packet}, ir.Edge{To: stack})
	for _, way := range []struct {
		block *ir.Block
		place memRef
	}{
		{mapped, memRef{space: ir.MapMem, addr: addr, big: b.use.counters(acc, size)}},
		{packet, memRef{space: ir.Packet, addr: low}},
		{stack, memRef{space: ir.Stack, addr: low}},
	} {
		b.cur = way.block
		v := do(way.place)
		if t == ir.Void {
			b.cur.Jump(b.pc, join)
		} else {
			b.cur.Jump(b.pc, join, v)
		}
	}
	b.cur = join
	if t == ir.Void {
		return nil
	}
	return b.fn.NewParam(join, t, b.pc)
}

// place is ptr + off in memory s.
func (b *funcBuilder) place(s ir.Space, acc *verify.Access, ptr *ir.Value, off int64, size int) memRef {
	p := memRef{space: s}
	if s == ir.MapMem {
		p.addr = b.add(ptr, off)
		p.big = b.use.counters(acc, size)
	} else {
		p.addr = b.add(b.trunc(ptr), off)
	}
	p.align, p.phase = alignment(s, acc)
	return p
}

// alignment returns what the known low bits of an access's offset imply for its
// address: r10 is a multiple of 8, a map value begins at a multiple of 4, a packet
// anywhere.
func alignment(s ir.Space, acc *verify.Access) (align, phase uint8) {
	limit := 0
	switch s {
	case ir.Stack:
		limit = 3
	case ir.MapMem:
		limit = 2
	}
	known, low := knownLow(acc)
	known = min(known, limit)
	if known == 0 {
		return 0, 0
	}
	return 1 << known, uint8(low & (1<<known - 1))
}

// knownLow is how many low bits of an access's offset are known, and the bits.
func knownLow(acc *verify.Access) (int, uint64) {
	switch {
	case acc.Min == acc.Max:
		return 64, uint64(acc.Min)
	case acc.Bits.Mask == 0: // a number that is not static has unknown bits
		return 0, 0
	}
	return bits.TrailingZeros64(acc.Bits.Mask), acc.Bits.Value
}

// rodata folds a load of constant bytes: a static place in the one value of a
// map that programs cannot write and whose contents come with the program.
func (b *funcBuilder) rodata(acc *verify.Access, size int) (int64, bool) {
	const readOnly = 1 << 7 // BPF_F_RDONLY_PROG
	if acc.Kind != verify.PtrMapValue || len(acc.Maps) != 1 || acc.Min != acc.Max || acc.Min < 0 {
		return 0, false
	}
	m := b.code.Maps[acc.Maps[0]]
	if m.Type != ebpf.Array || m.Flags&readOnly == 0 || m.MaxEntries != 1 || len(m.Contents) != 1 {
		return 0, false
	}
	data, ok := m.Contents[0].Value.([]byte)
	if !ok || acc.Min+int64(size) > int64(len(data)) {
		return 0, false
	}
	var n uint64
	for i := size - 1; i >= 0; i-- {
		n = n<<8 | uint64(data[acc.Min+int64(i)])
	}
	return int64(n), true
}

// atomic builds an atomic operation. The verifier allows none on packets. The
// memory of a raw program is represented as a packet; only one context accesses
// it, so a plain read-modify-write is enough.
func (b *funcBuilder) atomic(ins *code.Insn, acc *verify.Access, ptr *ir.Value, size int) error {
	op, ok := atomicOp(ins.OpCode.AtomicOp())
	if !ok || size < 4 {
		return fmt.Errorf("no translation for %v", ins.OpCode)
	}
	x := b.stored(ins, size)
	var expected *ir.Value
	if op.Base() == ir.AtomicCmpXchg {
		expected = b.reg(asm.R0)
		if size == 4 {
			expected = b.trunc(expected)
		}
	}
	t := ir.Void
	if op.Fetches() {
		t = sized(size)
	}
	old := b.reach(acc, ptr, int64(ins.Offset), size, t, func(p memRef) *ir.Value {
		if p.space == ir.Packet {
			return b.modify(p, op, size, x, expected)
		}
		args := []*ir.Value{p.addr, x}
		if expected != nil {
			args = append(args, expected)
		}
		v := b.op(ir.OpAtomic, t, args...)
		v.Int = int64(op)
		p.note(v, size)
		return v
	})
	if !op.Fetches() {
		return nil
	}
	if size == 4 {
		old = b.zext(old)
	}
	if expected != nil {
		b.regs[asm.R0] = old
	} else {
		b.regs[ins.Src] = old
	}
	return nil
}

func atomicOp(a asm.AtomicOp) (ir.AtomicOp, bool) {
	var op ir.AtomicOp
	switch a &^ fetch {
	case asm.AddAtomic:
		op = ir.AtomicAdd
	case asm.AndAtomic:
		op = ir.AtomicAnd
	case asm.OrAtomic:
		op = ir.AtomicOr
	case asm.XorAtomic:
		op = ir.AtomicXor
	case asm.Xchg &^ fetch:
		return ir.AtomicXchg | ir.AtomicFetch, true
	case asm.CmpXchg &^ fetch:
		return ir.AtomicCmpXchg | ir.AtomicFetch, true
	default:
		return 0, false
	}
	if a&fetch != 0 {
		op |= ir.AtomicFetch
	}
	return op, true
}

// modify is an atomic operation done with a load and a store.
func (b *funcBuilder) modify(p memRef, op ir.AtomicOp, size int, x, expected *ir.Value) *ir.Value {
	t := sized(size)
	old := b.load(p, size)
	next := x
	switch op.Base() {
	case ir.AtomicAdd:
		next = b.op(ir.OpAdd, t, old, x)
	case ir.AtomicAnd:
		next = b.op(ir.OpAnd, t, old, x)
	case ir.AtomicOr:
		next = b.op(ir.OpOr, t, old, x)
	case ir.AtomicXor:
		next = b.op(ir.OpXor, t, old, x)
	case ir.AtomicCmpXchg:
		next = b.op(ir.OpSelect, t, b.op(ir.OpEQ, ir.I32, old, expected), x, old)
	}
	b.store(p, size, next)
	return old
}

// ctx builds a load from the context or a store to it.
func (b *funcBuilder) ctx(ins *code.Insn, acc *verify.Access, load bool, size int) error {
	layout, ok := helper.Context(b.code.Type)
	if !ok || acc.Min != acc.Max {
		return fmt.Errorf("context access at no static offset")
	}
	field, ok := layout.Access(int(acc.Min), size, !load)
	if !ok {
		return fmt.Errorf("context access at offset %d, size %d", acc.Min, size)
	}
	if !load {
		if field.Name != "rx_queue_index" || !b.t.QueueSelect {
			b.refuse(b.i, "ctx-field", "firmware %s cannot store to %s", b.t.Name, field.Name)
			return nil
		}
		b.op(ir.OpCtxStore, ir.Void, b.stored(ins, size)).Sym = field.Name
		return nil
	}
	v := b.field(field)
	if skip := int(acc.Min) - field.Off; skip > 0 {
		v = b.op(ir.OpShr, ir.I32, v, b.constant(ir.I32, int64(8*skip)))
	}
	if size < 4 && size < field.Size {
		v = b.op(ir.OpAnd, ir.I32, v, b.constant(ir.I32, 1<<(8*size)-1))
	}
	b.regs[ins.Dst] = b.loaded(ins, v, min(size, 4))
	return nil
}

// field is the value of a context field.
func (b *funcBuilder) field(f helper.Field) *ir.Value {
	xdp := b.code.Type == ebpf.XDP
	switch {
	case f.Kind == helper.FieldPacket:
		return b.op(ir.OpPacketStart, ir.I32)
	case f.Kind == helper.FieldPacketEnd:
		return b.op(ir.OpAdd, ir.I32, b.op(ir.OpPacketStart, ir.I32), b.op(ir.OpPacketLen, ir.I32))
	case f.Name == "len" && !xdp:
		return b.op(ir.OpPacketLen, ir.I32)
	case !slices.Contains(b.t.CtxFields, f.Name) || !xdp && f.Kind != helper.FieldPacketMeta:
		b.refuse(b.i, "ctx-field", "firmware %s does not give programs %s", b.t.Name, f.Name)
		return b.constant(ir.I32, 0)
	case f.Kind == helper.FieldPacketMeta:
		return b.op(ir.OpPacketStart, ir.I32)
	}
	v := b.op(ir.OpCtxLoad, ir.I32)
	v.Sym = f.Name
	return v
}
