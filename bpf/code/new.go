package code

import (
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// New resolves the jumps, calls and map references of spec. The maps are looked up by
// name.
//
// A Code that New returns has these properties:
//   - every Target and Callee is None or a valid index, and a Target is in the same
//     function;
//   - no instruction falls off the end of its function;
//   - registers are R0 to R10, and R10 is not written;
//   - every map reference names an entry of maps.
//
// If one of them does not hold, New returns nil and all faults. It does not check
// opcodes, types and bounds: bpf/verify does.
func New(spec *ebpf.ProgramSpec, maps map[string]*ebpf.MapSpec) (*Code, []Fault) {
	b := &builder{
		code:  &Code{Name: spec.Name, Type: spec.Type, Section: spec.SectionName, Attach: spec.AttachType, Flags: spec.Flags, License: spec.License},
		specs: maps, mapIndex: map[string]int{}, symbols: map[string]int{}, atPC: map[int]int{},
	}
	b.place(spec.Instructions)
	if len(b.code.Insns) == 0 {
		b.fault(0, "empty-program", "program has no instructions")
		return nil, b.faults
	}
	for i := range b.code.Insns {
		b.reference(i)
	}
	b.split()
	for i := range b.code.Insns {
		b.flow(i)
	}
	if len(b.faults) > 0 {
		return nil, b.faults
	}
	return b.code, nil
}

type builder struct {
	code     *Code
	specs    map[string]*ebpf.MapSpec
	mapIndex map[string]int
	symbols  map[string]int // symbol -> insn index
	atPC     map[int]int    // pc -> insn index
	starts   map[int]string // index of a function's first insn -> its name
	faults   []Fault
}

func (b *builder) fault(i int, reason, format string, args ...any) {
	pc := 0
	if i < len(b.code.Insns) {
		pc = b.code.Insns[i].PC
	}
	b.faults = append(b.faults, Fault{PC: pc, Reason: reason, Msg: fmt.Sprintf(format, args...)})
}

func (b *builder) place(insns asm.Instructions) {
	pc := 0
	for i, ins := range insns {
		b.code.Insns = append(b.code.Insns, Insn{Instruction: ins, PC: pc, Target: None, Callee: None, Map: None})
		if s := ins.Symbol(); s != "" {
			b.symbols[s] = i
		}
		b.atPC[pc] = i
		pc += int(ins.Width())
	}
	b.starts = map[int]string{0: b.code.Name}
}

// reference resolves the map or function that instruction i names, and records where
// the function starts.
func (b *builder) reference(i int) {
	ins := &b.code.Insns[i]
	if ins.Dst > asm.R10 || ins.Src > asm.R10 && !ins.OpCode.IsDWordLoad() {
		b.fault(i, "bad-register", "register above r10 in %v", ins.OpCode)
	}
	switch {
	case ins.IsLoadFromMap():
		name := ins.Reference()
		m, ok := b.mapIndex[name]
		if !ok {
			spec := b.specs[name]
			if spec == nil {
				b.fault(i, "unknown-map", "no map named %q", name)
				return
			}
			m = len(b.code.Maps)
			b.mapIndex[name] = m
			b.code.Maps = append(b.code.Maps, spec)
		}
		ins.Map = m
	case ins.IsFunctionCall() && ins.OpCode.Source() == asm.ImmSource, ins.IsLoadOfFunctionPointer():
		b.callee(i)
	}
}

func (b *builder) callee(i int) {
	ins := &b.code.Insns[i]
	name, at, ok := ins.Reference(), 0, false
	if name != "" {
		at, ok = b.symbols[name]
	} else if at, ok = b.atPC[ins.PC+1+int(ins.Constant)]; ok {
		name = fmt.Sprintf("func_%d", b.code.Insns[at].PC)
	}
	if !ok {
		b.fault(i, "bad-call-target", "call goes to no instruction of the program")
		return
	}
	ins.Target = at // an instruction index; split replaces it by Callee
	if _, known := b.starts[at]; !known {
		b.starts[at] = name
	}
}

// split cuts the program into functions at the entry and at each callee.
func (b *builder) split() {
	index := map[int]int{}
	for i := range b.code.Insns {
		if name, ok := b.starts[i]; ok {
			if n := len(b.code.Funcs); n > 0 {
				b.code.Funcs[n-1].End = i
			}
			index[i] = len(b.code.Funcs)
			b.code.Funcs = append(b.code.Funcs, Func{Name: name, Start: i})
		}
		b.code.Insns[i].Func = len(b.code.Funcs) - 1
	}
	b.code.Funcs[len(b.code.Funcs)-1].End = len(b.code.Insns)
	for i := range b.code.Insns {
		ins := &b.code.Insns[i]
		if ins.Target != None {
			ins.Callee, ins.Target = index[ins.Target], None
		}
	}
}

// flow resolves the jump of instruction i and checks that control stays inside
// its function.
func (b *builder) flow(i int) {
	ins := &b.code.Insns[i]
	f := b.code.Funcs[ins.Func]
	class, op := ins.OpCode.Class(), ins.OpCode.JumpOp()
	if writesFramePointer(ins) {
		b.fault(i, "frame-pointer-write", "r10 is read-only")
	}
	last := i+1 == f.End
	if !class.IsJump() {
		if last {
			b.fault(i, "fall-through", "control falls off the end of %s", f.Name)
		}
		return
	}
	switch op {
	case asm.Exit:
		return
	case asm.Call:
		if last {
			b.fault(i, "fall-through", "control falls off the end of %s", f.Name)
		}
		return
	}
	b.jump(i)
	if last && op != asm.Ja {
		b.fault(i, "fall-through", "control falls off the end of %s", f.Name)
	}
}

func writesFramePointer(ins *Insn) bool {
	const loadAcquire = asm.AtomicOp(0x10000) // cilium/ebpf does not name it
	switch ins.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class, asm.LdXClass:
		return ins.Dst == asm.R10
	case asm.LdClass:
		return ins.Dst == asm.R10 && ins.OpCode.IsDWordLoad()
	case asm.StXClass:
		switch ins.OpCode.AtomicOp() {
		case loadAcquire:
			return ins.Dst == asm.R10
		case asm.FetchAdd, asm.FetchAnd, asm.FetchOr, asm.FetchXor, asm.Xchg:
			return ins.Src == asm.R10
		}
	}
	return false
}

func (b *builder) jump(i int) {
	ins := &b.code.Insns[i]
	f := b.code.Funcs[ins.Func]
	var at int
	var ok bool
	if ref := ins.Reference(); ref != "" {
		at, ok = b.symbols[ref]
	} else {
		off := int(ins.Offset)
		if ins.OpCode.Class() == asm.Jump32Class && ins.OpCode.JumpOp() == asm.Ja {
			off = int(ins.Constant)
		}
		to := ins.PC + 1 + off
		at, ok = b.atPC[to]
		if before, any := b.atPC[to-1]; !ok && any && b.code.Insns[before].Width() == 2 {
			b.fault(i, "jump-into-wide", "jump to pc %d, the middle of a 64-bit load", to)
			return
		}
	}
	if !ok || at < f.Start || at >= f.End {
		b.fault(i, "jump-out-of-range", "jump leaves %s", f.Name)
		return
	}
	ins.Target = at
}
