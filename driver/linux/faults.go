package linux

import (
	"fmt"
	"math"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// This file lists the cases in which the Linux driver's translator accepts a program
// and generates code that does something else, or stops the kernel. docs/kernel-jit.md
// describes them with a reproducer each, and each row here warns of one. Some depend
// on the order in which the kernel's verifier walks a program and on the paths that it
// prunes. Their rows warn if the paths differ, whether or not the kernel would prune
// one.

// A Fault is one case in which the result differs from the program's meaning.
type Fault struct {
	Reason string // a fault of the translator: jit- and its name in docs/kernel-jit.md
	Why    string
	Hint   string
	insn   func(*ruleCheck, int) string
}

var faults = []Fault{
	{"jit-shift-range", "A shift by a register is translated for the range of the amount on the paths that the kernel's verifier walked; a path that it pruned may bring another amount.",
		"shift by constants, or load the amount from memory on every path", faultShift},
	{"jit-mul-range", "A product is translated for the range of the factors on the paths that the kernel's verifier walked; a path that it pruned may bring wider ones.",
		"mask the factors on every path", faultMul},
	{"jit-xadd-range", "An atomic add is translated for the range of the number on the paths that the kernel's verifier walked; a wider one on a path that it pruned loses its upper half.",
		"add a constant, or mask the number to 16 bits on every path: n & 0xffff", faultXadd},
	{"jit-head-range", "bpf_xdp_adjust_head is translated for the constant on the paths that the kernel's verifier walked; another one on a path that it pruned goes unchecked.",
		"pass one constant at each call: call in each branch", faultHeadRange},
	{"jit-head-short", "bpf_xdp_adjust_head by a constant does not check the packet's length, which bpf_xdp_adjust_tail may have made less than the 60 bytes it relies on.",
		"call bpf_xdp_adjust_head before bpf_xdp_adjust_tail", faultHeadShort},
	{"jit-minus-2-31", "Add, subtract and compare with -2^31 negate the constant in 32 bits, which overflows.",
		"load the constant to a register", faultMinus},
	{"jit-movsx", "A sign-extending move is translated as a plain one.",
		"shift left, then right with sign; or compile with -mcpu=v3", faultMovsx},
	{"jit-sdiv", "A signed division is translated as an unsigned one.",
		"divide the absolute value; or compile with -mcpu=v3", faultSdiv},
	{"jit-div-shift-0", "A division whose reciprocal needs no shift gets a shift by 0, which the micro-engine executes as an indirect one.",
		"divide by another number", faultDivShift},
	{"jit-negative-offset", "An access to a map value at a negative offset of its pointer adds the offset as an unsigned number, which gives an address 256 bytes away.",
		"point to the value's start", faultNegative},
	{"jit-caller-bytes", "The position of part of a word in a caller's stack frame is computed as the remainder of a negative number, and another byte is accessed.",
		"access whole words, or inline the function", faultCallerBytes},
	{"jit-key-padding", "The firmware clears the bytes that follow the key in its last word on the stack; the driver's code does not put them back.",
		"pad the key to a multiple of 4 bytes", faultKeyPadding},
	{"jit-copy-chain", "A run of 4-byte load and store pairs is combined into one block copy, after which the register holds the first word, not the last.",
		"load the word again", faultCopyChain},
	{"jit-copy-wide", "A block copy of more than 40 bytes with an unaligned tail computes the tail's offset in 8 bits.",
		"copy at most 40 bytes in a row", faultCopyWide},
	{"jit-classic-shifts", "A shift by 32 right, then left, after a classic load of a word is omitted, but it clears the register.",
		"set the register to 0 in place of the shifts", faultClassicShifts},
	{"jit-crash-div-register", "A division by a register that is zero on every path: the translator divides by zero and the kernel stops.",
		"test the divisor before the division", faultDivRegister},
	{"jit-crash-copy-last", "A block copy right before the program's last instruction: the translator reads past the end of its list and the kernel stops.",
		"put an instruction between", faultCopyLast},
	{"kernel-stale-end", "Before the translator sees the program, the kernel's verifier removes live code. If a pointer that was compared with the packet's end is moved back, the verifier keeps the result of that comparison, and wrongly considers the next comparison decided.",
		"compare before the pointer is moved, or load data and data_end from the context again; kernel 6.18 is right", staleEnd},
}

// Faults lists the faults of the Linux driver's translator and of its kernel, for
// explanations.
func Faults() []Fault { return append(slices.Clone(faults), unsureSize) }

// unsureSize is for programs whose length is known only to the driver's translator.
var unsureSize = Fault{Reason: "driver-words-unsure", Why: "The driver's code for the program may be longer than the code store: its length is known between two bounds, and the store's lies between them.",
	Hint: "load it to be sure, or shorten the program until driver_words_max fits"}

// warn applies each row to every reachable instruction.
func warn(c *ruleCheck, rows []Fault) []verify.Reason {
	var found []verify.Reason
	for i := range c.facts.Code.Insns {
		if !c.facts.Reachable[i] {
			continue
		}
		for k := range rows {
			w := &rows[k]
			if msg := w.insn(c, i); msg != "" {
				found = append(found, verify.Place(c.facts.Code, i, verify.Reason{Reason: w.Reason, Message: msg, Hint: w.Hint}))
			}
		}
	}
	return found
}

// differs reports whether register r may hold different values on the paths to
// instruction i.
func (c *ruleCheck) differs(i int, r asm.Register) bool { return c.facts.Differs[i]>>r&1 != 0 }

func isShift(op asm.ALUOp) bool { return op == asm.LSh || op == asm.RSh || op == asm.ArSh }

func faultShift(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || !isShift(ins.OpCode.ALUOp()) || ins.OpCode.Source() != asm.RegSource || !c.differs(i, ins.Src) {
		return ""
	}
	return fmt.Sprintf("the amount in r%d differs between paths", ins.Src)
}

func faultMul(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || ins.OpCode.ALUOp() != asm.Mul {
		return ""
	}
	operands := []asm.Register{ins.Dst}
	if ins.OpCode.Source() == asm.RegSource {
		operands = append(operands, ins.Src)
	}
	for _, r := range operands {
		if c.differs(i, r) && c.facts.Regs[i][r].UMax > math.MaxUint16 {
			return fmt.Sprintf("the factor in r%d differs between paths, and may be as large as %#x", r, c.facts.Regs[i][r].UMax)
		}
	}
	return ""
}

func faultXadd(c *ruleCheck, i int) string {
	ins := c.insn(i)
	if ins.OpCode.Class() != asm.StXClass || ins.OpCode.Mode() != asm.AtomicMode || !c.differs(i, ins.Src) {
		return ""
	}
	if high := c.facts.Regs[i][ins.Src].UMax; high > math.MaxUint16 {
		return fmt.Sprintf("the addend in r%d differs between paths, and may be as large as %#x", ins.Src, high)
	}
	return ""
}

func (c *ruleCheck) calls(i int, id asm.BuiltinFunc) bool {
	ins := c.insn(i)
	return ins.IsBuiltinCall() && asm.BuiltinFunc(ins.Constant) == id && c.facts.Calls[i] != nil
}

func faultHeadRange(c *ruleCheck, i int) string {
	if !c.calls(i, asm.FnXdpAdjustHead) || !c.differs(i, asm.R2) {
		return ""
	}
	return "the distance in r2 differs between paths"
}

func faultHeadShort(c *ruleCheck, i int) string {
	if !c.calls(i, asm.FnXdpAdjustHead) || !c.facts.Calls[i].Const {
		return ""
	}
	for k := range c.facts.Code.Insns {
		if c.facts.Reachable[k] && c.calls(k, asm.FnXdpAdjustTail) && c.mayFollow(k, i) {
			return fmt.Sprintf("the packet's length may have been cut at pc %d", c.insn(k).PC)
		}
	}
	return ""
}

// mayFollow reports whether a path of jumps, calls and returns leads from instruction
// from to instruction to. A return may go to every call of the function.
func (c *ruleCheck) mayFollow(from, to int) bool {
	insns := c.facts.Code.Insns
	seen := make([]bool, len(insns))
	work := c.successors(nil, from)
	for len(work) > 0 {
		i := work[len(work)-1]
		work = work[:len(work)-1]
		if i == to {
			return true
		}
		if i < len(insns) && !seen[i] {
			seen[i] = true
			work = c.successors(work, i)
		}
	}
	return false
}

// successors appends to the instructions after i on any path.
func (c *ruleCheck) successors(to []int, i int) []int {
	insns, ins := c.facts.Code.Insns, c.insn(i)
	if !ins.OpCode.Class().IsJump() {
		return append(to, i+1)
	}
	switch ins.OpCode.JumpOp() {
	case asm.Exit:
		for k := range insns {
			if insns[k].OpCode.JumpOp() == asm.Call && insns[k].Callee == ins.Func {
				to = append(to, k+1)
			}
		}
		return to
	case asm.Call:
		if ins.Callee != code.None {
			to = append(to, c.facts.Code.Funcs[ins.Callee].Start)
		}
		return append(to, i+1)
	case asm.Ja:
		return append(to, ins.Target)
	}
	return append(to, i+1, ins.Target)
}

func faultMinus(c *ruleCheck, i int) string {
	ins := c.insn(i)
	op := ins.OpCode
	if op.Source() != asm.ImmSource || ins.Constant != math.MinInt32 {
		return ""
	}
	switch class := op.Class(); {
	case class.IsALU() && (op.ALUOp() == asm.Add || op.ALUOp() == asm.Sub):
		return "the constant is -2^31"
	case class.IsJump():
		switch op.JumpOp() {
		case asm.JGE, asm.JLT, asm.JSGE, asm.JSLT, asm.JGT, asm.JLE, asm.JSGT, asm.JSLE:
			return "the constant is -2^31"
		}
	}
	return ""
}

func faultMovsx(c *ruleCheck, i int) string {
	if op := c.insn(i).OpCode; op.Class().IsALU() {
		switch op.ALUOp() {
		case asm.MovSX8, asm.MovSX16, asm.MovSX32:
			return "the sign is not extended"
		}
	}
	return ""
}

func faultSdiv(c *ruleCheck, i int) string {
	if op := c.insn(i).OpCode; op.Class().IsALU() && op.ALUOp() == asm.SDiv {
		return "the division is translated as an unsigned one"
	}
	return ""
}

// divisor returns the constant by which instruction i divides.
func (c *ruleCheck) divisor(i int) (uint64, bool) {
	ins := c.insn(i)
	if !ins.OpCode.Class().IsALU() || ins.OpCode.ALUOp() != asm.Div && ins.OpCode.ALUOp() != asm.SDiv {
		return 0, false
	}
	if ins.OpCode.Source() == asm.ImmSource {
		return uint64(uint32(ins.Constant)), true
	}
	r := c.facts.Regs[i][ins.Src]
	return r.UMin, r.Kind == verify.Scalar && r.UMin == r.UMax
}

func faultDivShift(c *ruleCheck, i int) string {
	switch d, ok := c.divisor(i); {
	case ok && d <= math.MaxUint32 && NoShift(uint32(d)):
		return fmt.Sprintf("division by %d", d)
	}
	return ""
}

func faultDivRegister(c *ruleCheck, i int) string {
	if d, ok := c.divisor(i); ok && d == 0 && c.insn(i).OpCode.Source() == asm.RegSource {
		return fmt.Sprintf("r%d is 0", c.insn(i).Src)
	}
	return ""
}

func faultNegative(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrMapValue && c.insn(i).Offset < 0 {
		return fmt.Sprintf("access at offset %d of the pointer", c.insn(i).Offset)
	}
	return ""
}

func faultCallerBytes(c *ruleCheck, i int) string {
	if m := c.facts.Mem[i]; m != nil && m.Kind == verify.PtrStack && m.Up != 0 && (m.Size < 4 || m.Min%4 != 0 || m.Max%4 != 0) {
		return fmt.Sprintf("%d bytes in a caller's frame", m.Size)
	}
	return ""
}

func faultKeyPadding(c *ruleCheck, i int) string {
	if !c.calls(i, asm.FnMapLookupElem) && !c.calls(i, asm.FnMapUpdateElem) && !c.calls(i, asm.FnMapDeleteElem) {
		return ""
	}
	k := c.facts.Calls[i]
	for _, m := range k.Maps {
		spec := c.facts.Code.Maps[m]
		if odd := spec.KeySize % 4; odd != 0 && k.Mem[1].Kind == verify.PtrStack {
			return fmt.Sprintf("the key of map %s has %d bytes; the %d after it are cleared", spec.Name, spec.KeySize, 4-odd)
		}
	}
	return ""
}

// A chain is a run of load and store pairs that the translator combines to one copy.
type chain struct {
	first, last int // load of the first pair, store of the last
	pairs, size int
	down        bool
}

// chainFrom returns the run of copying pairs that begins with the load at i. It is the
// longest one that the translator could form; if two packet pointers overlap, the
// translator forms shorter ones.
func (c *ruleCheck) chainFrom(i int) (ch chain) {
	insns := c.facts.Code.Insns
	jumped := map[int]bool{}
	for k := range insns {
		if insns[k].Target != code.None {
			jumped[insns[k].Target] = true
		}
	}
	for k := i; k+1 < len(insns) && c.copies(k) && !jumped[k+1] && (k == i || !jumped[k]); k += 2 {
		ld, st := &insns[k], &insns[k+1]
		size := ld.OpCode.Size().Sizeof()
		if k > i {
			p, q := &insns[k-2], &insns[k-1]
			up := int(p.Offset)+size == int(ld.Offset) && int(q.Offset)+size == int(st.Offset)
			down := int(ld.Offset)+size == int(p.Offset) && int(st.Offset)+size == int(q.Offset)
			if ld.Dst != p.Dst || ld.Src != p.Src || st.Dst != q.Dst || p.OpCode.Size() != ld.OpCode.Size() || !up && !down || ch.pairs*size >= 128 {
				break
			}
			ch.down = ch.down || down
		}
		ch = chain{first: i, last: k + 1, pairs: ch.pairs + 1, size: size, down: ch.down}
	}
	return ch
}

// copies reports whether instruction i loads from packet or map value into a register
// that the next instruction stores to the packet.
func (c *ruleCheck) copies(i int) bool {
	ld, st := c.insn(i), c.insn(i+1)
	from, to := c.facts.Mem[i], c.facts.Mem[i+1]
	return from != nil && to != nil && ld.OpCode.Class() == asm.LdXClass && st.OpCode.Class() == asm.StXClass && st.OpCode.Mode() == asm.MemMode &&
		(from.Kind == verify.PtrPacket || from.Kind == verify.PtrMapValue) && to.Kind == verify.PtrPacket &&
		ld.OpCode.Size() == st.OpCode.Size() && ld.Dst == st.Src
}

// starts returns the chain that begins at i, if it has at least two pairs and does not
// begin earlier.
func (c *ruleCheck) starts(i int) (chain, bool) {
	if i+3 >= len(c.facts.Code.Insns) || !c.copies(i) {
		return chain{}, false
	}
	if i >= 2 {
		if ch := c.chainFrom(i - 2); ch.pairs > 1 {
			return chain{}, false
		}
	}
	ch := c.chainFrom(i)
	return ch, ch.pairs > 1
}

func faultCopyChain(c *ruleCheck, i int) string {
	ch, ok := c.starts(i)
	if !ok || ch.size != 4 || ch.last+1 >= len(c.facts.Code.Insns) {
		return ""
	}
	r := c.insn(i).Dst
	if c.demand == nil {
		c.demand = c.facts.Demand()
	}
	if c.demand[ch.last+1][r] == 0 {
		return ""
	}
	return fmt.Sprintf("r%d is used after the copy of %d words", r, ch.pairs)
}

func faultCopyWide(c *ruleCheck, i int) string {
	if ch, ok := c.starts(i); ok && ch.pairs*ch.size > 40 && ch.pairs*ch.size%4 != 0 {
		return fmt.Sprintf("copy of %d bytes", ch.pairs*ch.size)
	}
	return ""
}

func faultCopyLast(c *ruleCheck, i int) string {
	if ch, ok := c.starts(i); ok && ch.last == len(c.facts.Code.Insns)-2 {
		return fmt.Sprintf("copy of %d bytes before the last instruction", ch.pairs*ch.size)
	}
	return ""
}

func faultClassicShifts(c *ruleCheck, i int) string {
	insns := c.facts.Code.Insns
	if i+2 >= len(insns) || c.facts.Code.Type != ebpf.SchedCLS && c.facts.Code.Type != ebpf.XDP {
		return ""
	}
	ld := insns[i].OpCode
	if ld.Class() != asm.LdClass || ld.IsDWordLoad() || ld.Size() != asm.Word {
		return ""
	}
	shift := func(k int, op asm.ALUOp) bool {
		o := insns[k].OpCode
		return o.Class() == asm.ALU64Class && o.ALUOp() == op && o.Source() == asm.ImmSource && insns[k].Constant == 32 && insns[k].Dst == asm.R0
	}
	if shift(i+1, asm.RSh) && shift(i+2, asm.LSh) {
		return "r0 keeps the word that was loaded"
	}
	return ""
}
