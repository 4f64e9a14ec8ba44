package difftest

import (
	"math"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Most generated programs have an operation that the Linux driver does not offload: a
// store of a constant, a wide product, a store to a map value. Drawing until a program
// has none would take too long, so the program is edited instead. linux.View
// lists the broken rules, and each edit replaces an instruction that breaks one by a
// similar one that does not. The edited program computes something else, but is as
// good a test.

// offloadFeatures are the features that the driver can translate at all.
const offloadFeatures = Subprograms | Loops | Lookups | Updates | AdjustHead | AdjustTail | ClassicLoads | TC

// offloadRounds is the number of times that a program is edited: an edit may
// break another rule.
const offloadRounds = 5

// KernelFault is a fault of the driver's translator. Programs that must give equal
// results are edited so that they do not trigger it. docs/kernel-jit.md has them
// all.
type KernelFault struct {
	Name string
	Why  string
}

// kernelFaults are the faults that generated programs would trigger.
var kernelFaults = []KernelFault{
	{"shift-range", "shifts by a register are translated for the range that the verifier saw on the paths it did not prune"},
	{"mul-range", "products too: 16-bit factors seen, wider ones on a path that was pruned"},
	{"xadd-range", "atomic adds too: a 16-bit number seen, a wider one on a path that was pruned"},
	{"head-range", "bpf_xdp_adjust_head too: no check for the constant that was seen, another one on a path that was pruned"},
	{"negative-offset", "the offset of an access to a map value is added without its sign, so that a negative one carries into the upper half of the address"},
	{"caller-bytes", "bytes and halves in a caller's frame: their place in the word is a negative remainder"},
	{"head-short", "bpf_xdp_adjust_head by a constant does not look at the packet's length: frames have 60 bytes, but a cut tail or a second program's work leaves less"},
	{"key-padding", "the firmware clears what follows a key in its last word on the stack, and the driver's code does not put it back"},
	{"div-register", "a division by a register that is zero on all paths seen divides by zero in the translator: the kernel stops"},
	{"div-shift-0", "a reciprocal that needs no shift after it (of 1, 641, 1344) gets a shift by 0, which the machine executes as an indirect shift"},
	{"minus-2-31", "add, sub and compare with -2^31 negate the constant, which overflows"},
}

// offloadable edits the program of a seed until the Linux driver's rules allow it. It
// counts in faults, by name, each known fault of the driver that an edit avoids. It
// returns nil if the edits do not suffice.
func offloadable(seed uint64, profile *firmware.Profile, faults map[string]int) (*Program, *verify.Facts) {
	p := Generate(seed, offloadFeatures)
	wholeKeys(p, faults)
	longPackets(p, faults)
	for round := range offloadRounds {
		c, err := resolve(p)
		if err != nil {
			return nil, nil
		}
		f, err := verify.Verify(c, nil)
		if err != nil {
			return nil, nil
		}
		e := &editor{seed: seed, p: p, f: f, faults: faults, with: map[int][]asm.Instruction{}}
		if round == 0 {
			e.avoidFaults()
		}
		broken := linux.NewView(f, nil).Check(profile, 0)
		if len(broken) == 0 && len(e.with) == 0 {
			return p, f
		}
		for _, r := range broken {
			if i := c.Index(r.PC); e.with[i] == nil {
				e.mend(i, r.Reason)
			}
		}
		if len(e.with) == 0 {
			return nil, nil
		}
		p = e.apply()
	}
	return nil, nil
}

// wholeKeys cuts keys to whole words.
func wholeKeys(p *Program, faults map[string]int) {
	for name, spec := range p.Maps {
		odd := spec.KeySize % 4
		if odd == 0 {
			continue
		}
		faults["key-padding"]++
		whole := *spec
		whole.KeySize -= odd
		p.Maps[name] = &whole
		for i := range p.Initial[name] {
			e := &p.Initial[name][i]
			e.Key = e.Key[:whole.KeySize]
		}
	}
}

// longPackets extends packets so that three adjustments leave a header.
func longPackets(p *Program, faults map[string]int) {
	const most = 14 + 3*48
	moves := slices.ContainsFunc(p.Spec.Instructions, func(ins asm.Instruction) bool {
		return ins.IsBuiltinCall() && asm.BuiltinFunc(ins.Constant) == asm.FnXdpAdjustHead
	})
	if !moves {
		return
	}
	faults["head-short"]++
	for i, pkt := range p.Packets {
		if len(pkt) < most {
			p.Packets[i] = append(pkt[:len(pkt):len(pkt)], make([]byte, most-len(pkt))...)
		}
	}
}

// editor replaces instructions of a program.
type editor struct {
	seed   uint64
	p      *Program
	f      *verify.Facts
	faults map[string]int
	live   []uint16 // per instruction: registers live after it
	with   map[int][]asm.Instruction
}

func (e *editor) insn(i int) asm.Instruction { return e.p.Spec.Instructions[i] }

// dice returns a number that depends on the program and the instruction alone.
func (e *editor) dice(i, n int) int {
	return int((e.seed*0x9e3779b97f4a7c15 + uint64(i)*0xbf58476d1ce4e5b9) >> 33 % uint64(n))
}

// nothing returns a jump to the next instruction.
func nothing() asm.Instruction {
	return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Ja)}
}

// number puts a constant into a register.
func number(r asm.Register) asm.Instruction { return asm.Mov.Imm32(r, 5) }

// avoidFaults edits operations that the driver is known to translate wrongly,
// depending on the verifier's path to them. An edit may make unreachable code
// reachable, so avoidFaults considers all instructions.
func (e *editor) avoidFaults() {
	for i := range e.f.Code.Insns {
		ins := e.insn(i)
		op := ins.OpCode
		class := op.Class()
		const low = math.MinInt32
		switch {
		case class.IsALU() && op.Source() == asm.RegSource && (op.ALUOp() == asm.LSh || op.ALUOp() == asm.RSh || op.ALUOp() == asm.ArSh):
			e.faults["shift-range"]++
			width := 64
			if class == asm.ALUClass {
				width = 32
			}
			e.constant(i, int64(e.dice(i, width)))
		case class.IsALU() && op.ALUOp() == asm.Mul:
			e.faults["mul-range"]++
			e.multiply(i)
		case class.IsALU() && op.ALUOp() == asm.Div:
			e.divide(i)
		case class.IsALU() && (op.ALUOp() == asm.Add || op.ALUOp() == asm.Sub) && op.Source() == asm.ImmSource && ins.Constant == low,
			class.IsJump() && op.Source() == asm.ImmSource && ins.Constant == low:
			e.faults["minus-2-31"]++
			ins.Constant++
			e.with[i] = []asm.Instruction{ins}
		case e.negative(i), e.callersBytes(i):
			if e.negative(i) {
				e.faults["negative-offset"]++
			} else {
				e.faults["caller-bytes"]++
			}
			e.with[i] = []asm.Instruction{nothing()}
			if class == asm.LdXClass {
				e.with[i] = []asm.Instruction{number(ins.Dst)}
			}
		case class == asm.StXClass && e.f.Mem[i] != nil && e.f.Mem[i].Kind == verify.PtrMapValue:
			e.add(i)
		case ins.IsBuiltinCall() && asm.BuiltinFunc(ins.Constant) == asm.FnXdpAdjustHead && e.f.Calls[i] != nil && !e.f.Calls[i].Const:
			e.faults["head-range"]++
			e.with[i] = []asm.Instruction{asm.Mov.Imm(asm.R0, 0)}
		}
	}
}

// negative reports whether instruction i accesses a map value at a negative offset
// from its pointer.
func (e *editor) negative(i int) bool {
	m := e.f.Mem[i]
	return m != nil && m.Kind == verify.PtrMapValue && e.insn(i).Offset < 0
}

// callersBytes reports whether instruction i accesses part of a word in a
// caller's frame.
func (e *editor) callersBytes(i int) bool {
	m := e.f.Mem[i]
	return m != nil && m.Kind == verify.PtrStack && m.Up != 0 && (m.Size < 4 || m.Min%4 != 0 || m.Min != m.Max)
}

// constant replaces the second operand by a constant.
func (e *editor) constant(i int, v int64) {
	ins := e.insn(i)
	ins.OpCode = ins.OpCode.SetSource(asm.ImmSource)
	ins.Src, ins.Constant = 0, v
	e.with[i] = []asm.Instruction{ins}
}

// multiply limits both factors to 32 bits. It either masks both to 16 bits, or sets
// bit 16 of the first, so that a factor's width is the same on all paths.
func (e *editor) multiply(i int) {
	ins := e.insn(i)
	list := []asm.Instruction{asm.Mov.Reg32(ins.Dst, ins.Dst)}
	narrow := e.dice(i, 2) == 0
	if narrow {
		list = append(list, asm.And.Imm(ins.Dst, 0xffff))
	} else {
		list = append(list, asm.Or.Imm(ins.Dst, 0x10000))
	}
	switch {
	case ins.OpCode.Source() == asm.ImmSource && ins.OpCode.Class() == asm.ALU64Class:
		ins.Constant &= math.MaxInt32
	case ins.OpCode.Source() == asm.ImmSource || ins.Src == ins.Dst:
	case narrow:
		list = append(list, asm.And.Imm(ins.Src, 0xffff))
	default:
		list = append(list, asm.Mov.Reg32(ins.Src, ins.Src))
	}
	e.with[i] = append(list, ins)
}

// divide limits the dividend to 32 bits and replaces the divisor by a constant.
func (e *editor) divide(i int) {
	ins := e.insn(i)
	if ins.OpCode.Source() == asm.RegSource {
		e.faults["div-register"]++
		ins.OpCode = ins.OpCode.SetSource(asm.ImmSource)
		ins.Src = 0
		ins.Constant = []int64{2, 3, 7, 10, 14, 255, 65536, 0x7fffffff}[e.dice(i, 8)]
	}
	if ins.Constant < 0 {
		ins.Constant = ins.Constant&math.MaxInt32 | 1 // the driver refuses any other
	}
	if linux.NoShift(uint32(ins.Constant)) {
		e.faults["div-shift-0"]++
		ins.Constant = 5
	}
	e.with[i] = []asm.Instruction{asm.Mov.Reg32(ins.Dst, ins.Dst), ins}
}

// add replaces a store to a map value by an atomic add. It masks the number to 16 bits or
// sets bit 16, so that all paths agree whether the number fits in 16 bits. If the offset
// cannot have an atomic add, it replaces the store by a no-op.
func (e *editor) add(i int) {
	ins, m := e.insn(i), e.f.Mem[i]
	size := m.Size
	if m.Min != m.Max || m.Min%4 != 0 || size < 4 || ins.Src == asm.R10 || ins.Src == ins.Dst {
		e.with[i] = []asm.Instruction{nothing()}
		return
	}
	e.faults["xadd-range"]++
	width := asm.Word
	if size == 8 {
		width = asm.DWord
	}
	add := asm.AddAtomic.Mem(ins.Dst, ins.Src, width, ins.Offset)
	fit := asm.And.Imm(ins.Src, 0xffff)
	// The last store of a program is of its result: as many bits as possible.
	if atomic := ins.OpCode.Mode() == asm.AtomicMode; ins.Dst <= asm.R1 && ins.Src == asm.R2 || atomic && e.dice(i, 2) == 0 {
		fit = asm.Or.Imm(ins.Src, 0x10000)
	}
	e.with[i] = []asm.Instruction{fit, add}
}

// mend edits instruction i so that it no longer breaks a rule.
func (e *editor) mend(i int, rule string) {
	ins := e.insn(i)
	op := ins.OpCode
	only := func(list ...asm.Instruction) { e.with[i] = list }
	switch rule {
	case "driver-opcode":
		switch {
		case op.Class().IsALU() && (op.ALUOp() == asm.Mod || op.ALUOp() == asm.SMod):
			ins.OpCode = op.SetALUOp(asm.Or)
			only(ins)
		case op.Class().IsALU() && op.ALUOp() == asm.Swap:
			only(asm.HostTo(asm.BE, ins.Dst, map[int64]asm.Size{16: asm.Half, 32: asm.Word, 64: asm.DWord}[ins.Constant]))
		}
	case "driver-store-immediate":
		if m := e.f.Mem[i]; m != nil && m.Kind == verify.PtrMapValue {
			only(nothing())
			return
		}
		r, ok := e.free(i, ins.Dst)
		if !ok {
			return
		}
		only(asm.Mov.Imm(r, int32(ins.Constant)), asm.StoreMem(ins.Dst, ins.Offset, r, op.Size()))
	case "driver-mul-range":
		e.multiply(i)
	case "driver-div-range":
		e.divide(i)
	case "driver-atomic-target":
		only(asm.StoreMem(ins.Dst, ins.Offset, ins.Src, op.Size()))
	case "driver-map-store", "driver-atomic-op":
		only(nothing())
	case "driver-ctx-store", "driver-map-counter":
		only(nothing())
	case "driver-map-word-use":
		if op.Class() == asm.LdXClass {
			return // the adds to the word go
		}
		only(nothing())
	case "driver-ctx-field", "driver-map-variable", "driver-stack-variable", "driver-stack-moved", "driver-pointer-changed":
		if op.Class() == asm.LdXClass {
			only(number(ins.Dst))
		} else if op.Class() == asm.StXClass && rule != "driver-ctx-field" {
			only(nothing())
		}
	case "driver-helper-pointer", "driver-map-update":
		only(asm.Mov.Imm(asm.R0, 0))
	case "driver-tc-exit":
		only(asm.Mov.Imm(asm.R0, []int32{2, 4, 5, -1}[e.dice(i, 4)]), ins)
	}
}

// free returns a register that is dead after instruction i.
func (e *editor) free(i int, but asm.Register) (asm.Register, bool) {
	if e.live == nil {
		e.live = liveAfter(e.f.Code)
	}
	for r := asm.R0; r <= asm.R9; r++ {
		if r != but && e.live[i]>>r&1 == 0 {
			return r, true
		}
	}
	return 0, false
}

// apply returns the edited program. A jump goes to the first instruction that replaced
// its target.
func (e *editor) apply() *Program {
	c := e.f.Code
	pc := make([]int, len(c.Insns)+1)
	last := make([]int, len(c.Insns)) // of each instruction's replacement
	at := 0
	for i := range c.Insns {
		pc[i] = at
		list := e.with[i]
		if list == nil {
			list = []asm.Instruction{e.insn(i)}
		}
		for _, ins := range list {
			last[i] = at
			at += int(ins.Width())
		}
	}
	q := e.p.clone()
	var out asm.Instructions
	for i := range c.Insns {
		old := e.insn(i)
		list := e.with[i]
		if list == nil {
			list = []asm.Instruction{old}
		}
		first := len(out)
		for _, ins := range list {
			if op := ins.OpCode; op.Class().IsJump() && c.Insns[i].Target != code.None && op.JumpOp() != asm.Call && op.JumpOp() != asm.Exit {
				ins.Offset = int16(pc[c.Insns[i].Target] - last[i] - 1)
			}
			out = append(out, ins)
		}
		if s := old.Symbol(); s != "" {
			for k := first; k < len(out); k++ {
				out[k] = out[k].WithSymbol("")
			}
			out[first] = out[first].WithSymbol(s)
		}
	}
	spec := *q.Spec
	spec.Instructions = out
	q.Spec = &spec
	return q
}

// liveAfter returns for each instruction the registers that are live after it.
func liveAfter(c *code.Code) []uint16 {
	after := make([]uint16, len(c.Insns))
	before := make([]uint16, len(c.Insns))
	for changed := true; changed; {
		changed = false
		for i := len(c.Insns) - 1; i >= 0; i-- {
			ins := &c.Insns[i]
			var out uint16
			op := ins.OpCode
			jump := op.Class().IsJump()
			if !(jump && (op.JumpOp() == asm.Exit || op.JumpOp() == asm.Ja)) && i+1 < len(c.Insns) {
				out |= before[i+1]
			}
			if ins.Target != code.None {
				out |= before[ins.Target]
			}
			uses, defines := touched(ins)
			in := out&^defines | uses
			if out != after[i] || in != before[i] {
				after[i], before[i], changed = out, in, true
			}
		}
	}
	return after
}

// touched returns the registers that an instruction reads and writes.
func touched(ins *code.Insn) (uses, defines uint16) {
	op := ins.OpCode
	dst, src := uint16(1)<<ins.Dst, uint16(1)<<ins.Src
	if op.Source() == asm.ImmSource {
		src = 0
	}
	const arguments = 1<<1 | 1<<2 | 1<<3 | 1<<4 | 1<<5
	switch class := op.Class(); {
	case class == asm.LdClass && (op.Mode() == asm.AbsMode || op.Mode() == asm.IndMode):
		return 1<<6 | 1<<ins.Src, 1 | arguments
	case class == asm.LdClass:
		return 0, dst
	case class == asm.LdXClass:
		return 1 << ins.Src, dst
	case class == asm.StClass:
		return dst, 0
	case class == asm.StXClass:
		return dst | 1<<ins.Src, 0
	case class.IsALU() && (op.ALUOp() == asm.Mov):
		return src, dst
	case class.IsALU():
		return dst | src, dst
	case op.JumpOp() == asm.Call:
		return arguments, 1 | arguments
	case op.JumpOp() == asm.Exit:
		return 1, 0
	case op.JumpOp() == asm.Ja:
		return 0, 0
	}
	return dst | src, 0
}
