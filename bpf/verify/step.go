package verify

import (
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

// step applies instruction i, which is not a jump, to s. It reports whether execution
// continues after it.
func (x *explorer) step(s *state, i int) bool {
	ins := &x.c.Insns[i]
	switch class := ins.OpCode.Class(); class {
	case asm.ALUClass, asm.ALU64Class:
		x.arith(s, i, ins)
	case asm.LdXClass:
		x.load(s, i, ins)
	case asm.StClass, asm.StXClass:
		if ins.OpCode.AtomicOp() != asm.InvalidAtomic {
			x.atomic(s, i, ins)
		} else {
			x.store(s, i, ins)
		}
	case asm.LdClass:
		return x.loadImm(s, i, ins)
	case asm.JumpClass:
		if indirect(ins) {
			return false
		}
		if ins.OpCode.JumpOp() == asm.Call && !isCall(ins) {
			return x.helper(s, i, ins)
		}
	}
	return true
}

// read returns register r, which must have been written. If it was not, the result is
// a NotInit of any number, about which nothing more is reported.
func (x *explorer) read(s *state, i int, r asm.Register) *val {
	v := &s.regs[r]
	if v.kind != NotInit {
		return v
	}
	x.fail(s, i, "uninit-register", "r%d is read but was not written on this path", r)
	*v = scalar(anyNum())
	if x.opt.Unproven { // engines start registers at 0, and the facts must cover what follows
		return v
	}
	return &val{n: anyNum()}
}

func (x *explorer) loadImm(s *state, i int, ins *code.Insn) bool {
	dst := &s.regs[ins.Dst]
	switch {
	case ins.Map != code.None && ins.Src == asm.PseudoMapFD:
		*dst = pointer(PtrMapHandle)
		dst.set = int16(ins.Map)
	case ins.Map != code.None:
		x.mapValueAddress(s, i, ins)
	case ins.IsLoadOfFunctionPointer():
		*dst = pointer(PtrFunc)
		dst.set = int16(ins.Callee)
	case ins.OpCode.IsDWordLoad() && ins.Src != 0:
		x.fail(s, i, "feature-unsupported", "load of a kernel variable's address, or of a map by its index")
		*dst = unmodelled()
	case ins.OpCode.IsDWordLoad():
		*dst = constant(uint64(ins.Constant))
	default: // classic packet loads
		return x.loadPacket(s, i, ins)
	}
	return true
}

// mapValueAddress applies a load of an address inside global data.
func (x *explorer) mapValueAddress(s *state, i int, ins *code.Insn) {
	spec := x.c.Maps[ins.Map]
	off := int64(uint64(ins.Constant) >> 32)
	if t, ok := helper.MapTypeInfo(spec.Type); !ok || !t.Direct || spec.MaxEntries != 1 {
		x.fail(s, i, "direct-value", "map %s (%v, %d entries) has no value at a fixed address", spec.Name, spec.Type, spec.MaxEntries)
	} else if off >= int64(spec.ValueSize) {
		x.fail(s, i, "map-value-bounds", "address of byte %d of a map value of %d bytes", off, spec.ValueSize)
		off = 0
	}
	v := pointer(PtrMapValue)
	v.set, v.off = int16(ins.Map), int32(off)
	s.regs[ins.Dst] = v
}

// loadPacket applies LD_ABS or LD_IND: a load from the packet that ends the program if
// the packet is too short.
func (x *explorer) loadPacket(s *state, i int, ins *code.Insn) bool {
	if v := x.read(s, i, asm.R6); v.kind != PtrCtx {
		x.fail(s, i, "bad-pointer", "a packet load needs the context pointer in r6, which holds %s", x.reg(v, s.cur).Phrase())
	}
	if ins.OpCode.Mode() == asm.IndMode {
		if v := x.read(s, i, ins.Src); v.pointer() && !x.opt.Linux { // Linux lets the privileged leak addresses
			x.fail(s, i, "bad-pointer", "the packet load's index in r%d is %s", ins.Src, v.kind.Phrase())
		}
	}
	x.clobber(s)
	s.regs[asm.R0] = scalar(sized(ins.OpCode.Size().Sizeof()))
	if x.opt.Linux {
		if x.c.Type == ebpf.XDP {
			x.fail(s, i, "ctx-access", "Linux has classic packet loads (LD_ABS, LD_IND) for programs of tc, not of XDP")
		}
		s.regs[asm.R0] = scalar(anyNum())
	}
	return true
}

// clobber forgets the registers that a call does not keep.
func (x *explorer) clobber(s *state) {
	for r := asm.R0; r <= asm.R5; r++ {
		s.regs[r] = val{}
	}
}

func (x *explorer) load(s *state, i int, ins *code.Insn) {
	base := *x.read(s, i, ins.Src)
	size := ins.OpCode.Size().Sizeof()
	dst := &s.regs[ins.Dst]
	if base.kind == PtrCtx {
		*dst = x.loadField(s, i, &base, int(ins.Offset), size)
	} else if !x.access(s, i, &base, int64(ins.Offset), size, reads) {
		*dst = scalar(sized(size))
	} else {
		*dst = x.loaded(s, i, &base, int(ins.Offset), size)
	}
	if ins.OpCode.Mode() == asm.MemSXMode {
		if dst.pointer() {
			x.fail(s, i, "spill-partial", "sign extension of a pointer")
			*dst = scalar(anyNum())
		}
		*dst = scalar(dst.n.sext(uint(8 * size)))
	}
}

// loaded returns the value of a load that access has allowed.
func (x *explorer) loaded(s *state, i int, base *val, off, size int) val {
	switch {
	case base.kind == PtrStack:
		return x.readStack(s, i, base, off, size)
	case base.kind == PtrMapValue && base.fixed() && len(x.sets[base.set]) == 1:
		if v, ok := constantData(x.c.Maps[x.sets[base.set][0]], base.min()+int64(off), size); ok {
			return constant(v)
		}
	}
	return scalar(sized(size))
}

func (x *explorer) store(s *state, i int, ins *code.Insn) {
	base := *x.read(s, i, ins.Dst)
	size := ins.OpCode.Size().Sizeof()
	v := constant(uint64(ins.Constant))
	if ins.OpCode.Class() == asm.StXClass {
		if src := x.read(s, i, ins.Src); base.kind == PtrStack {
			v = x.stored(s, src)
		}
	}
	if base.kind == PtrCtx {
		x.storeField(s, i, &base, int(ins.Offset), size)
		return
	}
	if x.access(s, i, &base, int64(ins.Offset), size, writes) && base.kind == PtrStack {
		x.writeStack(s, i, &base, int(ins.Offset), size, &v)
	}
}

func (x *explorer) atomic(s *state, i int, ins *code.Insn) {
	base := *x.read(s, i, ins.Dst)
	x.read(s, i, ins.Src)
	op := ins.OpCode.AtomicOp()
	size := ins.OpCode.Size().Sizeof()
	if !x.atomicForm(s, i, op, size) {
		return
	}
	if op == asm.CmpXchg {
		x.read(s, i, asm.R0)
	}
	old := scalar(sized(size))
	switch base.kind {
	case PtrPacket, PtrPacketMeta, PtrCtx, PtrPacketEnd, PtrMapHandle:
		x.fail(s, i, "atomic-target", "atomic operation on %s; only map values and the stack have them", base.kind.Phrase())
		x.noteAnyway(s, i, &base, int64(ins.Offset), size)
	default:
		if !x.access(s, i, &base, int64(ins.Offset), size, updates) {
			break
		}
		if low := base.bitsOfOffset(int64(ins.Offset)).Trunc(3); (low.Value|low.Mask)&uint64(size-1) != 0 {
			x.fail(s, i, "misaligned-atomic", "atomic operation of %d bytes at offset %v", size, base.bitsOfOffset(int64(ins.Offset)))
		}
		if base.kind == PtrStack {
			if v := x.readStack(s, i, &base, int(ins.Offset), size); !v.pointer() { // an address is a number to arithmetic
				old.n = v.n
			}
			any := scalar(anyNum())
			x.overwrite(s, &base, int64(ins.Offset), size, &any)
		}
	}
	if op == asm.CmpXchg {
		s.regs[asm.R0] = old
	} else if isFetch(op) {
		s.regs[ins.Src] = old
	}
}

func (x *explorer) atomicForm(s *state, i int, op asm.AtomicOp, size int) bool {
	switch op {
	case asm.AddAtomic, asm.AndAtomic, asm.OrAtomic, asm.XorAtomic, asm.FetchAdd, asm.FetchAnd, asm.FetchOr, asm.FetchXor, asm.Xchg, asm.CmpXchg:
		if size >= 4 {
			return true
		}
	}
	x.fail(s, i, "bad-opcode", "no atomic operation %v of %d bytes", op, size)
	return false
}

// noteAnyway keeps the kind of a refused access in the facts.
func (x *explorer) noteAnyway(s *state, i int, v *val, off int64, size int) {
	x.note(s, i, v, v.min()+off, v.max()+off, off, size)
}

// arith applies an instruction of the ALU classes.
func (x *explorer) arith(s *state, i int, ins *code.Insn) {
	op, wide := ins.OpCode.ALUOp(), ins.OpCode.Class() == asm.ALU64Class
	dst := &s.regs[ins.Dst]
	switch {
	case isMove(op):
		x.move(s, i, ins, op, wide)
		return
	case op == asm.Swap:
		v := x.read(s, i, ins.Dst)
		if v.pointer() {
			*v = scalar(anyNum())
		}
		*dst = scalar(x.swapped(&v.n, ins))
		return
	case op == asm.Neg:
		v := x.read(s, i, ins.Dst)
		if v.pointer() {
			*v = scalar(anyNum())
		}
		*dst = scalar(x.negative(&v.n, wide))
		return
	}
	b := constant(uint64(ins.Constant))
	if ins.OpCode.Source() == asm.RegSource {
		b = *x.read(s, i, ins.Src)
	} else if !x.immediate(s, i, ins, op, wide) {
		*dst = scalar(anyNum())
		return
	}
	a := x.read(s, i, ins.Dst)
	switch {
	case a.pointer() || b.pointer():
		*dst = x.pointerArith(s, i, op, a, &b, wide)
	case x.forgets(ins, &b, wide):
		*dst = scalar(anyNum())
	case ins.OpCode.Source() == asm.RegSource && ins.Src == ins.Dst && (op == asm.Xor || op == asm.Sub) && !x.opt.Linux:
		*dst = constant(0)
	default:
		mixed := a.mixed || b.mixed
		id, delta, low := x.follow(a, op, &b.n, wide)
		r := x.compute(op, &a.n, &b.n, wide)
		if *dst = scalar(r); !r.known() {
			dst.mixed, dst.id, dst.delta, dst.low = mixed, id, delta, low
		}
	}
}

// immediate refuses constants that the kernel refuses. RFC 9669 defines them, and so
// does alu: a shift's amount is masked, division by 0 gives 0, and its remainder is
// the dividend. That definition applies if nothing needs to be proved.
func (x *explorer) immediate(s *state, i int, ins *code.Insn, op asm.ALUOp, wide bool) bool {
	if x.opt.Unproven {
		return true
	}
	width := int64(32)
	if wide {
		width = 64
	}
	switch op {
	case asm.Div, asm.Mod, asm.SDiv, asm.SMod:
		if ins.Constant == 0 {
			x.fail(s, i, "div-by-zero", "division by the constant 0")
			return false
		}
	case asm.LSh, asm.RSh, asm.ArSh:
		if ins.Constant < 0 || ins.Constant >= width {
			x.fail(s, i, "bad-shift", "shift of a %d-bit number by %d", width, ins.Constant)
			return false
		}
	}
	return true
}

func (x *explorer) move(s *state, i int, ins *code.Insn, op asm.ALUOp, wide bool) {
	dst := &s.regs[ins.Dst]
	if ins.OpCode.Source() != asm.RegSource {
		if wide {
			*dst = constant(uint64(ins.Constant))
		} else {
			*dst = constant(uint64(uint32(ins.Constant)))
		}
		return
	}
	src := x.read(s, i, ins.Src)
	if wide && op == asm.Mov {
		*dst = x.copyOf(s, src)
		return
	}
	if src.pointer() { // arithmetic on an address gives any number
		n := anyNum()
		if !wide {
			n = n.zext32()
		}
		*dst = scalar(n)
		return
	}
	if !wide && x.opt.early() {
		*dst = scalar(src.n.zextEarly())
		return
	}
	if op == asm.Mov && src.n.w.uhi <= math.MaxUint32 {
		*dst = x.copyOf(s, src)
		return
	}
	n := src.n
	switch op {
	case asm.MovSX8:
		n = n.sext(8)
	case asm.MovSX16:
		n = n.sext(16)
	case asm.MovSX32:
		n = n.sext(32)
	}
	if !wide {
		n = n.zext32()
	}
	if n == src.n {
		*dst = x.copyOf(s, src)
		return
	}
	mixed := src.mixed
	*dst = scalar(n)
	dst.mixed = mixed
}

// pointerArith returns the result of a op b if one operand is a pointer.
func (x *explorer) pointerArith(s *state, i int, op asm.ALUOp, a, b *val, wide bool) val {
	any := scalar(anyNum())
	if a.pointer() && b.pointer() {
		if op != asm.Sub {
			x.fail(s, i, "pointer-arithmetic", "%v of %s and %s", op, a.kind.Phrase(), b.kind.Phrase())
		}
		if !wide {
			any.n = any.n.zext32()
		}
		return any
	}
	if !wide {
		if op != asm.Sub {
			x.fail(s, i, "pointer-arithmetic", "32-bit arithmetic on %s", pick(a, b).kind.Phrase())
		}
		return scalar(any.n.zext32())
	}
	p, n := a, b
	if b.pointer() {
		p, n = b, a
	}
	if x.tainted(&n.n) {
		return any
	}
	if op != asm.Add && (op != asm.Sub || p == b) {
		x.fail(s, i, "pointer-arithmetic", "%v with %s: only addition to and subtraction from a pointer are allowed", op, p.kind.Phrase())
		return any
	}
	switch p.kind {
	case PtrMapHandle, PtrPacketEnd, PtrFunc, PtrMapValueOrNull:
		if n.n.known() && n.n.bits.Value == 0 && (!x.opt.Linux || p.kind == PtrFunc || p.kind == PtrMapHandle && op == asm.Add) {
			return *p
		}
		if p.kind == PtrMapValueOrNull {
			x.fail(s, i, "null-check", "%s may be NULL here, before arithmetic", x.nullable(p))
			x.learnNull(s, p.id, true)
			r := *p
			r.kind = PtrMapValue
			return x.displace(s, i, &r, &n.n, op == asm.Sub)
		}
		x.fail(s, i, "pointer-arithmetic", "arithmetic on %s", p.kind.Phrase())
		return *p
	case PtrUnsure:
		return *p
	case PtrStack:
		if op == asm.Sub && x.c.Type != ebpf.UnspecifiedProgram {
			x.fail(s, i, "pointer-arithmetic", "subtraction from a stack pointer; add a negative number instead")
		}
	}
	return x.displace(s, i, p, &n.n, op == asm.Sub)
}

func pick(a, b *val) *val {
	if a.pointer() {
		return a
	}
	return b
}

// displace returns p moved by d, or by -d if back.
func (x *explorer) displace(s *state, i int, p *val, d *num, back bool) val {
	r := *p
	if d.known() {
		c := int64(d.bits.Value)
		if back {
			c = -c
		}
		if off := int64(r.off) + c; c > -maxPointerOffset && c < maxPointerOffset && off > -maxPointerOffset && off < maxPointerOffset {
			if c != 0 && r.past != 0 {
				r.stale, r.delta, r.past = r.past, r.off, 0
			}
			r.off = int32(off)
			return r
		}
		x.fail(s, i, "pointer-offset", "%s is moved by %d", p.kind.Phrase(), c)
		return r
	}
	if d.w.slo <= -maxPointerOffset || d.w.slo >= maxPointerOffset {
		x.fail(s, i, "pointer-offset", "%s is moved by a number without a useful lower bound: it may be %s", p.kind.Phrase(), d.phrase())
	}
	r.n = x.moved(p.n, *d, back)
	if p.kind == PtrPacket || p.kind == PtrPacketMeta {
		r.id, r.past, r.stale, r.delta = s.freshID(), 0, 0, 0
		r.rng = rangeAfter(p.rng, d, back)
		if x.opt.Linux && (!back || d.w.slo < 0) {
			r.rng = 0
		}
	}
	return r
}

// rangeAfter returns the range of a packet pointer that is known after its base moves
// up by d, or down by d if back.
func rangeAfter(rng int32, d *num, back bool) int32 {
	up := d.w.shi
	if back {
		up = -d.w.slo
	}
	if rng == 0 || up > int64(rng) || back && d.w.slo == math.MinInt64 {
		return 0
	}
	if down := int64(rng) - up; down < maxPacketOffset {
		return int32(down)
	}
	return 0
}
