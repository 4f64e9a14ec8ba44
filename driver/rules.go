package driver

import (
	"cmp"
	"fmt"
	"math"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// What the Linux driver's verifier hooks and translator accept, beyond what the
// kernel's verifier does: kernel 6.12, drivers/net/ethernet/netronome/nfp/bpf.
// The rules are facts of that driver restated over verify.Facts, one row each.

// A Rule is one thing the Linux driver asks of a program.
type Rule struct {
	Reason string // stable word
	Why    string // what lies behind it
	Hint   string // the usual cure
	check  func(*ruleCheck, int) string
}

// ruleCheck is the program a rule looks at.
type ruleCheck struct {
	facts   *verify.Facts
	profile *firmware.Profile
	use     map[string][]wordUse
}

func (c *ruleCheck) insn(i int) *code.Insn { return &c.facts.Code.Insns[i] }

// Rules are the Linux driver's rules for single instructions, in the order the
// driver meets them.
var rules = []Rule{
	{"driver-opcode", "the driver's translator has no case for the instruction",
		"compile with -mcpu=v2; write modulo as x - x / k * k, and byte order with bpf_htons and friends", badOpcode},
	{"driver-store-immediate", "the driver records no pointer type for stores of constants and then cannot translate them",
		"move the constant to a register first: clang does so below -mcpu=v4 when the value is a variable", storeImmediate},
	{"driver-mul-range", "the multiplier is 32 x 32 to 64 bits, unsigned",
		"mask or compare both factors so that each is provably below 2^32", mulRange},
	{"driver-div-range", "division is a multiplication by a reciprocal, so the divisor must be one constant and the dividend 32 bits",
		"divide a 32-bit value by a constant", divRange},
	{"driver-pointer-type", "only context, stack, packet and map values have an address form",
		"copy the data to the stack or read it from the packet", pointerType},
	{"driver-pointer-changed", "code for an access is chosen once, so its pointer must be of one kind on every path",
		"duplicate the access in each branch", pointerChanged},
	{"driver-stack-variable", "stack bytes are merged with constant masks",
		"index the array with constants: unroll the loop", stackVariable},
	{"driver-map-variable", "a map value is read at a constant offset only",
		"look up a smaller value, or unroll the index", mapVariable},
	{"driver-map-store", "the firmware contract has no plain store to a map value",
		"use __sync_fetch_and_add for counters, or bpf_map_update_elem where the firmware offers it", mapStore},
	{"driver-map-word-use", "atomics see big-endian words and loads host order, so a word cannot serve both",
		"keep two words: one that is counted, one that is read", mapWordUse},
	{"driver-atomic-op", "the driver translates atomic add without fetch, nothing else",
		"use __sync_fetch_and_add and ignore its result", atomicOp},
	{"driver-atomic-target", "atomic add works on map values, with a number",
		"keep the counter in a map", atomicTarget},
	{"driver-ctx-field", "XDP programs may load data and data_end, tc programs len, data and data_end",
		"take the value from the packet", ctxField},
	{"driver-helper", "the firmware does not offer the helper",
		"see nfpctl feature probe for what the card's firmware offers", missingHelper},
	{"driver-helper-pointer", "keys and values are taken from the stack, at a constant offset that is a multiple of 4",
		"copy the key to an aligned variable on the stack", helperPointer},
	{"driver-tc-exit", "the card cannot tell TC_ACT_OK from passing on, so a constant 2, 4, 5 or above 7 is asked for",
		"return TC_ACT_UNSPEC, TC_ACT_SHOT, TC_ACT_STOLEN or TC_ACT_QUEUED", tcExit},
	{"driver-map-type", "the firmware offloads the map types of its MAPS capability",
		"use an array or a hash map", mapType},
}

// Rules lists what the Linux driver asks, for explanations.
func Rules() []Rule { return append([]Rule(nil), rules...) }

// CheckLinux says which rules of the Linux driver a verified program breaks on a
// firmware, all of them, in the order of the program.
func CheckLinux(f *verify.Facts, p *firmware.Profile) []verify.Reason {
	c := &ruleCheck{facts: f, profile: p, use: map[string][]wordUse{}}
	c.recordUse()
	var found []verify.Reason
	for i := range f.Code.Insns {
		if !f.Reachable[i] {
			continue
		}
		for _, r := range rules {
			if msg := r.check(c, i); msg != "" {
				found = append(found, c.reason(i, r.Reason, msg, r.Hint))
			}
		}
	}
	return found
}

func (c *ruleCheck) reason(i int, word, msg, hint string) verify.Reason {
	r := reasonAt(c.facts, i)
	r.Reason, r.Message, r.Hint = word, msg, hint
	return r
}

// reasonAt is a reason yet to be named, with instruction i's place.
func reasonAt(f *verify.Facts, i int) verify.Reason {
	ins := &f.Code.Insns[i]
	r := verify.Reason{PC: ins.PC, Insn: asmtext.Format(ins.Instruction)}
	if l := f.Code.Line(i); l != nil {
		r.File, r.Line = l.FileName(), int(l.LineNumber())
	}
	return r
}

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
	case class == asm.LdXClass && op.Mode() == asm.MemSXMode:
		return "sign-extending loads are not translated"
	case class == asm.Jump32Class && op.JumpOp() == asm.Ja:
		return "gotol is not translated"
	case ins.IsKfuncCall(), ins.IsLoadOfFunctionPointer(), class == asm.JumpClass && op.JumpOp() == asm.JCOND:
		return "kernel functions, callbacks and may_goto are not translated"
	case op.IsDWordLoad() && ins.Src == asm.PseudoMapValue:
		return "global data (.data, .bss, .rodata) cannot be offloaded"
	}
	return ""
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
	m := c.facts.Mem[i]
	if m == nil {
		return ""
	}
	switch m.Kind {
	case verify.PtrCtx, verify.PtrStack, verify.PtrPacket, verify.PtrMapValue, verify.PtrUnsure:
		return ""
	}
	return fmt.Sprintf("access through a %v pointer", m.Kind)
}

func pointerChanged(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrUnsure {
		return "the pointer is of different kinds on different paths"
	}
	return ""
}

func stackVariable(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrStack && m.Bits.Mask&3 != 0 {
		return fmt.Sprintf("stack offset varies from %d to %d", m.Min, m.Max)
	}
	return ""
}

func mapVariable(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrMapValue && m.Min != m.Max {
		return fmt.Sprintf("offset in the map value varies from %d to %d", m.Min, m.Max)
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
		return fmt.Sprintf("atomic on a %v pointer", m.Kind)
	}
	if k := c.facts.Regs[i][ins.Src].Kind; k != verify.Scalar {
		return fmt.Sprintf("atomic add of a %v", k)
	}
	return ""
}

func ctxField(c *ruleCheck, i int) string {
	m := c.facts.Mem[i]
	if m == nil || m.Kind != verify.PtrCtx {
		return ""
	}
	t, store := c.facts.Code.Type, c.insn(i).OpCode.Class().IsStore()
	const rxQueueIndex = 16
	switch {
	case t == ebpf.XDP && store && m.Min == rxQueueIndex && c.profile.QueueSelect:
		return ""
	case t == ebpf.XDP && !store && (m.Min == 0 || m.Min == 4):
		return ""
	case t == ebpf.SchedCLS && !store && (m.Min == 0 || m.Min == 76 || m.Min == 80):
		return ""
	}
	return fmt.Sprintf("context field at offset %d", m.Min)
}

func missingHelper(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if ins.IsBuiltinCall() && !c.profile.Offers(int32(ins.Constant)) {
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
	}
	for a := 1; a <= last; a++ {
		m := call.Mem[a]
		switch {
		case m.Kind != verify.PtrStack:
			return fmt.Sprintf("r%d is a %v pointer, not the stack", a+1, m.Kind)
		case m.Min != m.Max:
			return fmt.Sprintf("r%d points to a variable place on the stack", a+1)
		case m.Min%4 != 0:
			return fmt.Sprintf("r%d points to stack offset %d, no multiple of 4", a+1, m.Min)
		}
	}
	return ""
}

func tcExit(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if c.facts.Code.Type != ebpf.SchedCLS || ins.OpCode.Class() != asm.JumpClass || ins.OpCode.JumpOp() != asm.Exit {
		return ""
	}
	r0 := c.facts.Regs[i][asm.R0]
	if r0.UMin != r0.UMax {
		return "r0 is not one constant at exit"
	}
	if v := r0.UMax; v <= 7 && v != 2 && v != 4 && v != 5 {
		return fmt.Sprintf("return code %d cannot be offloaded", v)
	}
	return ""
}

func mapType(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if ins.Map == code.None {
		return ""
	}
	switch spec := c.facts.Code.Maps[ins.Map]; spec.Type {
	case ebpf.Hash, ebpf.Array, ebpf.PerfEventArray:
		if spec.Flags != 0 {
			return fmt.Sprintf("map %s has flags %#x; offloaded maps take none", spec.Name, spec.Flags)
		}
		return ""
	default:
		return fmt.Sprintf("map %s is a %s", spec.Name, cmp.Or(asmtext.MapTypeName(spec.Type), spec.Type.String()))
	}
}
