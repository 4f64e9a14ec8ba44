package linux

import (
	"fmt"
	"math"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// This file holds the rules for single instructions. Each returns a message if
// instruction i breaks the rule, otherwise "".

func badOpcode(c *ruleCheck, i int) string {
	ins := c.insn(i)
	op := ins.OpCode
	switch class := op.Class(); {
	case class.IsALU():
		switch op.ALUOp() {
		case asm.Mod, asm.SMod:
			return "modulo is not translated"
		case asm.Swap:
			if class == asm.ALU64Class || op.Endianness() == asm.LE {
				return "only conversion to big endian is translated"
			}
		}
	case class == asm.LdClass && !op.IsDWordLoad() && op.Size() == asm.DWord:
		return "classic loads of 8 bytes are not translated"
	case class == asm.LdXClass && op.Mode() == asm.MemSXMode:
		return "sign-extending loads are not translated"
	case class == asm.Jump32Class && op.JumpOp() == asm.Ja:
		return "gotol is not translated"
	case ins.IsKfuncCall(), ins.IsLoadOfFunctionPointer(), class == asm.JumpClass && op.JumpOp() == asm.JCOND:
		return "kernel functions, callbacks and may_goto are not translated"
	}
	return ""
}

// globalVar returns the map whose value an instruction takes the address of, the variable that
// lies there, nil if no BTF tells, and the offset.
func globalVar(c *code.Code, ins *code.Insn) (*ebpf.MapSpec, *btf.Var, uint32) {
	spec, off := c.Maps[ins.Map], uint32(uint64(ins.Constant)>>32)
	if section, ok := spec.Value.(*btf.Datasec); ok {
		for _, in := range section.Vars {
			if v, ok := in.Type.(*btf.Var); ok && off >= in.Offset && off-in.Offset < in.Size {
				return spec, v, off
			}
		}
	}
	return spec, nil, off
}

// callee reports whether an instruction takes the address of a function or of a variable that
// holds one: at -O0, helpers are called through such variables.
func callee(c *code.Code, ins *code.Insn) bool {
	if ins.IsLoadOfFunctionPointer() {
		return true
	}
	if !ins.OpCode.IsDWordLoad() || ins.Src != asm.PseudoMapValue || ins.Map == code.None {
		return false
	}
	_, v, _ := globalVar(c, ins)
	if v == nil {
		return false
	}
	p, ok := btf.UnderlyingType(v.Type).(*btf.Pointer)
	if !ok {
		return false
	}
	_, ok = btf.UnderlyingType(p.Target).(*btf.FuncProto)
	return ok
}

// globalData refuses addresses of map values, and names the variable there.
func globalData(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.IsDWordLoad() || ins.Src != asm.PseudoMapValue {
		return ""
	}
	if ins.Map == code.None {
		return "global data cannot be offloaded"
	}
	spec, v, off := globalVar(c.facts.Code, ins)
	switch {
	case strings.HasPrefix(spec.Name, ".rodata.cst"):
		return fmt.Sprintf("the compiler put a table of constants into %s, and global data cannot be offloaded", spec.Name)
	case strings.HasPrefix(spec.Name, ".rodata.str"):
		return fmt.Sprintf("a string literal, such as the format of bpf_printk, lies in %s, and global data cannot be offloaded", spec.Name)
	}
	if v != nil {
		return fmt.Sprintf("variable %s of %s is global data, which cannot be offloaded", v.Name, spec.Name)
	}
	return fmt.Sprintf("byte %d of %s is global data, which cannot be offloaded", off, spec.Name)
}

func storeImmediate(c *ruleCheck, i int) string {
	if op := c.insn(i).OpCode; op.Class() == asm.StClass && op.Mode() == asm.MemMode {
		return "a store of a constant is not translated"
	}
	return ""
}

func mulRange(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || ins.OpCode.ALUOp() != asm.Mul {
		return ""
	}
	if high := c.facts.Regs[i][ins.Dst].UMax; high > math.MaxUint32 {
		return fmt.Sprintf("multiplicand r%d may be as large as %#x", ins.Dst, high)
	}
	if ins.OpCode.Source() == asm.RegSource {
		if high := c.facts.Regs[i][ins.Src].UMax; high > math.MaxUint32 {
			return fmt.Sprintf("multiplier r%d may be as large as %#x", ins.Src, high)
		}
	} else if ins.OpCode.Class() == asm.ALU64Class && ins.Constant < 0 {
		return fmt.Sprintf("multiplier %d is negative", ins.Constant)
	}
	return ""
}

func divRange(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || ins.OpCode.ALUOp() != asm.Div && ins.OpCode.ALUOp() != asm.SDiv {
		return ""
	}
	if high := c.facts.Regs[i][ins.Dst].UMax; high > math.MaxUint32 {
		return fmt.Sprintf("dividend r%d may be as large as %#x", ins.Dst, high)
	}
	if ins.OpCode.Source() == asm.RegSource {
		src := c.facts.Regs[i][ins.Src]
		if src.UMin != src.UMax {
			return fmt.Sprintf("divisor r%d is not one constant", ins.Src)
		}
		if src.UMax > math.MaxUint32 {
			return fmt.Sprintf("divisor r%d is %#x", ins.Src, src.UMax)
		}
	} else if ins.Constant < 0 {
		return fmt.Sprintf("divisor %d is negative", ins.Constant)
	}
	return ""
}

func pointerType(c *ruleCheck, i int) string {
	ins, kind := c.insn(i), verify.NotInit
	register := ins.Dst
	if ins.OpCode.Class() == asm.LdXClass {
		register = ins.Src
	}
	switch class := ins.OpCode.Class(); {
	case c.facts.Mem[i] != nil:
		kind = c.facts.Mem[i].Kind
	case class == asm.LdXClass, class.IsStore():
		kind = c.facts.Regs[i][register].Kind
	default:
		return ""
	}
	switch kind {
	case verify.PtrCtx, verify.PtrStack, verify.PtrPacket, verify.PtrMapValue, verify.PtrUnsure, verify.NotInit:
		return ""
	}
	return fmt.Sprintf("memory is accessed through r%d, which holds %s", register, kind.Phrase())
}

func pointerChanged(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrUnsure {
		return "the pointer is of different kinds on different paths"
	}
	return ""
}

func mapStore(c *ruleCheck, i int) string {
	m, op := c.facts.Mem[i], c.insn(i).OpCode
	if m != nil && m.Kind == verify.PtrMapValue && op.Class().IsStore() && op.Mode() == asm.MemMode {
		return "a map value cannot be stored to"
	}
	return ""
}

func atomicOp(c *ruleCheck, i int) string {
	op := c.insn(i).OpCode
	if op.Class() == asm.StXClass && op.Mode() == asm.AtomicMode && op.AtomicOp() != asm.AddAtomic {
		return fmt.Sprintf("atomic operation %v is not translated", op.AtomicOp())
	}
	return ""
}

func atomicTarget(c *ruleCheck, i int) string {
	ins, m := c.insn(i), c.facts.Mem[i]
	if ins.OpCode.Class() != asm.StXClass || ins.OpCode.Mode() != asm.AtomicMode || m == nil {
		return ""
	}
	if m.Kind != verify.PtrMapValue {
		return fmt.Sprintf("atomic operation through %s, not to a map value", m.Kind.Phrase())
	}
	if k := c.facts.Regs[i][ins.Src].Kind; k != verify.Scalar {
		return fmt.Sprintf("atomic add of %s", k.Phrase())
	}
	return ""
}

func stackVariable(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrStack && m.Variable {
		return fmt.Sprintf("stack offset varies from %d to %d", m.Min, m.Max)
	}
	return ""
}

func stackMoved(c *ruleCheck, i int) string {
	m := c.facts.Mem[i]
	if m == nil || m.Kind != verify.PtrStack {
		return ""
	}
	for _, at := range m.Places {
		if (at-m.Places[0])%4 != 0 {
			return fmt.Sprintf("stack offset is %d on one path and %d on another", m.Places[0], at)
		}
	}
	return ""
}

// callerByte refuses the middle bytes of a word in a caller's frame. The translator
// counts from the bottom of the running function's frame, so bytes in a caller's frame
// may have negative offsets. It computes the position in the word as the remainder of
// a division by 4 in C, which is -3 to 0. For -3 and -2 the sum with the size, 1, is
// negative, and is read as a large unsigned number.
func callerByte(c *ruleCheck, i int) string {
	m, op := c.facts.Mem[i], c.insn(i).OpCode
	if m == nil || m.Kind != verify.PtrStack || m.Up == 0 || m.Size != 1 || op.Mode() != asm.MemMode {
		return ""
	}
	bottom := int64(frameOf(c.facts, c.insn(i).Func))
	for _, at := range places(m) {
		if off := bottom + at; off < 0 && (off&3 == 1 || off&3 == 2) {
			return fmt.Sprintf("byte %d of a word in a caller's frame, %d bytes below this function's", off&3, -off)
		}
	}
	return ""
}

func mapVariable(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrMapValue && m.Variable {
		return fmt.Sprintf("offset in the map value varies from %d to %d", m.Min, m.Max)
	}
	return ""
}

// rxQueueIndex is the offset of xdp_md.rx_queue_index.
const rxQueueIndex = 16

func ctxStore(c *ruleCheck, i int) string {
	m, op := c.facts.Mem[i], c.insn(i).OpCode
	if m == nil || m.Kind != verify.PtrCtx || op.Class() != asm.StXClass {
		return ""
	}
	if c.facts.Code.Type == ebpf.XDP && m.Min == rxQueueIndex {
		if c.caps.Queue {
			return ""
		}
		return fmt.Sprintf("firmware %s selects no queues", c.profile.Name)
	}
	return fmt.Sprintf("store to the context field at offset %d", m.Min)
}

func ctxField(c *ruleCheck, i int) string {
	m := c.facts.Mem[i]
	if m == nil || m.Kind != verify.PtrCtx || c.insn(i).OpCode.Class() != asm.LdXClass {
		return ""
	}
	fields := map[ebpf.ProgramType][]int64{ebpf.XDP: {0, 4}, ebpf.SchedCLS: {0, 76, 80}}
	for _, at := range fields[c.facts.Code.Type] {
		if m.Min == at && m.Size == 4 {
			return ""
		}
	}
	return fmt.Sprintf("%d-byte load of the context field at offset %d", m.Size, m.Min)
}

// missingHelper refuses helpers that the driver does not know or that the firmware's
// capabilities do not offer.
func missingHelper(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.IsBuiltinCall() {
		return ""
	}
	offered := false
	switch id := asm.BuiltinFunc(ins.Constant); id {
	case asm.FnMapLookupElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem, asm.FnPerfEventOutput:
		offered = c.caps.Funcs[int32(id)] != 0
	case asm.FnXdpAdjustHead:
		offered = c.caps.AdjustHead != nil && c.caps.AdjustHead.OffMax != 0 && c.caps.NoMeta
	case asm.FnXdpAdjustTail:
		offered = c.caps.AdjustTail
	case asm.FnGetPrandomU32:
		offered = c.caps.Random
	default:
		return fmt.Sprintf("the driver does not know helper %s", asmtext.HelperName(ins.Constant))
	}
	if !offered {
		return fmt.Sprintf("helper %s is not offered by firmware %s", asmtext.HelperName(ins.Constant), c.profile.Name)
	}
	return ""
}

func helperPointer(c *ruleCheck, i int) string {
	ins, call := c.insn(i), c.facts.Calls[i]
	if call == nil || !ins.IsBuiltinCall() {
		return ""
	}
	last := 0
	switch asm.BuiltinFunc(ins.Constant) {
	case asm.FnMapLookupElem, asm.FnMapDeleteElem:
		last = 1
	case asm.FnMapUpdateElem:
		last = 2
	case asm.FnPerfEventOutput:
		if call.Args[3].Kind == verify.PtrStack {
			return stackArgument(&call.Args[3], &call.Mem[3], 4)
		}
	}
	for a := 1; a <= last; a++ {
		if msg := stackArgument(&call.Args[a], &call.Mem[a], a+1); msg != "" {
			return msg
		}
	}
	return ""
}

// stackArgument returns the reason why a helper cannot take the pointer in register n.
func stackArgument(r *verify.Reg, m *verify.Access, n int) string {
	switch {
	case r.Kind != verify.PtrStack:
		return fmt.Sprintf("r%d is %s, not a pointer to the stack", n, r.Phrase())
	case m.Variable:
		return fmt.Sprintf("r%d points to a variable offset in the stack", n)
	}
	for _, at := range places(m) {
		if at%4 != 0 {
			return fmt.Sprintf("r%d points to stack offset %d, no multiple of 4", n, at)
		}
	}
	return ""
}

func eventFlags(c *ruleCheck, i int) string {
	ins, call := c.insn(i), c.facts.Calls[i]
	if call == nil || !ins.IsBuiltinCall() || asm.BuiltinFunc(ins.Constant) != asm.FnPerfEventOutput {
		return ""
	}
	if low := call.Args[2].Bits.Trunc(32); call.Args[2].Kind != verify.Scalar || low != verify.KnownBits(math.MaxUint32) {
		return "flags in r3 are not BPF_F_CURRENT_CPU"
	}
	return ""
}

func eventPointer(c *ruleCheck, i int) string {
	ins, call := c.insn(i), c.facts.Calls[i]
	if call == nil || !ins.IsBuiltinCall() || asm.BuiltinFunc(ins.Constant) != asm.FnPerfEventOutput {
		return ""
	}
	switch r := &call.Args[3]; r.Kind {
	case verify.Scalar, verify.PtrMapValue, verify.PtrPacket, verify.PtrStack:
		return ""
	case verify.PtrUnsure:
		return "r4 points to one kind of memory on one path and to another kind on another"
	default:
		return fmt.Sprintf("r4 is %s", r.Phrase())
	}
}

func tcExit(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if c.facts.Code.Type != ebpf.SchedCLS || ins.OpCode.Class() != asm.JumpClass || ins.OpCode.JumpOp() != asm.Exit {
		return ""
	}
	for _, r0 := range c.facts.Exits[i] {
		if r0.Kind != verify.Scalar || !r0.Bits.Known() {
			return fmt.Sprintf("r0 is %s at exit, not a constant", r0.Phrase())
		}
		if v := r0.Bits.Value; v <= 7 && v != 2 && v != 4 && v != 5 {
			return fmt.Sprintf("return code %d cannot be offloaded", v)
		}
	}
	return ""
}

func shiftConstant(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || !isShift(ins.OpCode.ALUOp()) || ins.OpCode.Source() != asm.RegSource {
		return ""
	}
	width := uint8(64)
	if ins.OpCode.Class() == asm.ALUClass {
		width = 32
	}
	if r := c.facts.Regs[i][ins.Src]; r.Kind == verify.Scalar && r.UMin == r.UMax && uint8(r.UMin) >= width {
		return fmt.Sprintf("the amount in r%d is %d on every path", ins.Src, r.UMin)
	}
	return ""
}
