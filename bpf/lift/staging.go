package lift

// Staging of helpers' memory arguments.
//
// The firmware requires that keys and values of map operations, and all other
// arguments in the stack, lie at multiples of 4. The bytes of a key's last word that
// do not belong to the key must be 0. It copies bytes: the program must pass counter
// words of a value big-endian, and counter words of a map's memory would be passed on
// big-endian. An argument that does not fit is copied to the scratch area at the
// bottom of the frame, where LM0 points anyway.

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
)

// staging holds the offset in the scratch area to which each argument of a call is
// copied, -1 for arguments that are not.
type staging struct {
	at   [5]int
	size int
}

// scratch is how much scratch area instruction i needs.
func (b *builder) scratch(i int) int {
	ins := &b.code.Insns[i]
	if ins.OpCode.JumpOp() != asm.Call || ins.Callee != code.None || i >= len(b.f.Calls) || b.f.Calls[i] == nil {
		return 0
	}
	return b.stage(i).size
}

// stage decides which arguments of the helper call at instruction i are copied.
func (b *builder) stage(i int) staging {
	s := staging{at: [5]int{-1, -1, -1, -1, -1}}
	proto, ok := helper.ByID(asm.BuiltinFunc(b.code.Insns[i].Constant))
	if !ok {
		return s
	}
	call := b.f.Calls[i]
	for a, arg := range proto.Args {
		if mem := &call.Mem[a]; isMem(arg) && mem.Size > 0 && b.mustCopy(arg, call, mem) {
			s.at[a] = s.size
			s.size += (mem.Size + 7) &^ 7
		}
	}
	return s
}

func (b *builder) mustCopy(arg helper.Arg, call *verify.Call, mem *verify.Access) bool {
	known, low := knownLow(mem)
	aligned := mem.Kind == verify.PtrStack && known >= 2 && low%4 == 0
	switch arg {
	case helper.ArgMapKey:
		return !aligned || mem.Size%4 != 0
	case helper.ArgMapValue:
		return !aligned || b.counters(call.Maps)
	}
	switch space(mem.Kind) {
	case ir.Stack:
		return !aligned
	case ir.MapMem:
		return b.use.counters(mem, mem.Size)
	case ir.NoSpace:
		return true
	}
	return false
}

func (b *builder) counters(maps []int) bool {
	for _, m := range maps {
		if b.use.hasCounters(m) {
			return true
		}
	}
	return false
}

// copyIn copies argument i of a call to offset at of the scratch area and
// returns the copy's address.
func (b *funcBuilder) copyIn(proto helper.Proto, call *verify.Call, i, at int) *ir.Value {
	mem := &call.Mem[i]
	ptr := b.reg(asm.Register(i + 1))
	if writesMem(proto.Args[i]) {
		b.refuse(b.i, "helper-memory", "helper %s writes to memory that the firmware does not reach", proto.Name)
		return ptr
	}
	if mem.Size > b.t.Stack {
		b.refuse(b.i, "stack-size", "helper %s needs a copy of %d bytes in the stack, firmware %s has %d", proto.Name, mem.Size, b.t.Name, b.t.Stack)
		return ptr
	}
	sized := proto.Args[i] == helper.ArgMem || proto.Args[i] == helper.ArgMemOrNull
	if sized && i < 4 && call.Args[i+1].UMin != call.Args[i+1].UMax {
		b.copyLoop(mem, ptr, at, b.reg32(asm.Register(i+2)))
	} else {
		turned := func(int) bool { return false }
		if proto.Args[i] == helper.ArgMapValue && proto.ID == asm.FnMapUpdateElem {
			turned = func(word int) bool { return b.turned(call.Maps, word) }
		}
		b.copyBytes(mem, ptr, at, turned)
	}
	return b.zext(b.stackAddr(int64(at)))
}

// turned reports whether a word of a value is a counter in any of the maps; it
// is in all that have it, or in none.
func (b *builder) turned(maps []int, word int) bool {
	for _, m := range maps {
		if word < b.use.words(m) && b.use.counter(b.use.first[m]+int32(word)) {
			return true
		}
	}
	return false
}

// copyBytes copies mem.Size bytes, words first. Words for which turned reports
// true are written big-endian.
func (b *funcBuilder) copyBytes(mem *verify.Access, ptr *ir.Value, at int, turned func(word int) bool) {
	for off := 0; off < mem.Size; {
		n := 4
		for n > mem.Size-off {
			n /= 2
		}
		part := shifted(mem, off, n)
		v := b.reach(&part, ptr, int64(off), n, ir.I32, func(p memRef) *ir.Value { return b.load(p, n) })
		b.store(memRef{
			space: ir.Stack, addr: b.stackAddr(int64(at + off)),
			align: 4, phase: uint8((at + off) % 4), big: turned(off / 4),
		}, n, v)
		off += n
	}
}

// shifted is the access to n bytes at off from mem's start.
func shifted(mem *verify.Access, off, n int) verify.Access {
	part := *mem
	part.Min += int64(off)
	part.Max += int64(off)
	part.Bits.Value += uint64(off) // its known low bits stay right
	part.Size = n
	return part
}

// copyLoop copies size bytes, a number known at run time only, one by one.
func (b *funcBuilder) copyLoop(mem *verify.Access, ptr *ir.Value, at int, size *ir.Value) {
	head, body, done := b.fn.NewBlock(), b.fn.NewBlock(), b.fn.NewBlock()
	i := b.fn.NewParam(head, ir.I32, b.pc)
	b.cur.Jump(b.pc, head, b.constant(ir.I32, 0))
	b.cur = head
	b.cur.Branch(b.pc, b.op(ir.OpULT, ir.I32, i, size), ir.Edge{To: body}, ir.Edge{To: done})
	b.cur = body
	part := *mem
	part.Size = 1
	part.Max += int64(mem.Size) - 1
	part.Bits = verify.Tnum{Mask: ^uint64(0)}
	from := b.op(ir.OpAdd, ir.I64, ptr, b.zext(i))
	v := b.reach(&part, from, 0, 1, ir.I32, func(p memRef) *ir.Value { return b.load(p, 1) })
	to := b.op(ir.OpAdd, ir.I32, b.stackAddr(int64(at)), i)
	b.store(memRef{space: ir.Stack, addr: to}, 1, v)
	b.cur.Jump(b.pc, head, b.op(ir.OpAdd, ir.I32, i, b.constant(ir.I32, 1)))
	b.cur = done
}
