package interp

import (
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// exec runs until the number of frames falls to base.
func (m *Machine) exec(base int) error {
	for len(m.frames) > base {
		if m.steps++; m.steps > m.opt.MaxSteps {
			return m.fault("step-limit", "%d instructions run", m.opt.MaxSteps)
		}
		top := &m.frames[len(m.frames)-1]
		if m.opt.Trace != nil {
			m.opt.Trace(top.prog.Code, top.pc, &m.regs)
		}
		if err := m.step(top, &top.prog.Code.Insns[top.pc]); err != nil {
			return err
		}
	}
	return nil
}

// step runs one instruction and moves on to the next.
func (m *Machine) step(top *frame, ins *code.Insn) error {
	switch class := ins.OpCode.Class(); class {
	case asm.ALUClass, asm.ALU64Class:
		if err := m.alu(ins); err != nil {
			return err
		}
	case asm.JumpClass, asm.Jump32Class:
		return m.jump(top, ins)
	case asm.LdClass:
		if mode := ins.OpCode.Mode(); mode == asm.AbsMode || mode == asm.IndMode {
			return m.loadPacket(top, ins)
		}
		if err := m.loadImm(top, ins); err != nil {
			return err
		}
	case asm.LdXClass:
		if err := m.load(ins); err != nil {
			return err
		}
	default:
		if err := m.store(ins); err != nil {
			return err
		}
	}
	top.pc++
	return nil
}

// imm returns the instruction's 32-bit constant, sign-extended.
func imm(ins *code.Insn) uint64 { return uint64(int32(ins.Constant)) }

// operand returns the second operand of an ALU or jump instruction.
func (m *Machine) operand(ins *code.Insn) uint64 {
	if ins.OpCode.Source() == asm.RegSource {
		return m.regs[ins.Src]
	}
	return imm(ins)
}

func (m *Machine) alu(ins *code.Insn) error {
	op, dst := ins.OpCode.ALUOp(), &m.regs[ins.Dst]
	var v uint64
	var ok bool
	switch wide := ins.OpCode.Class() == asm.ALU64Class; {
	case op == asm.Swap:
		v, ok = swap(*dst, ins.Constant, wide || ins.OpCode.Endianness() == asm.BE)
		ok = ok && !(wide && ins.OpCode.Endianness() == asm.BE)
	case wide:
		v, ok = alu64(op, *dst, m.operand(ins))
	default:
		var w uint32
		w, ok = alu32(op, uint32(*dst), uint32(m.operand(ins)))
		v = uint64(w)
	}
	if !ok {
		return m.fault("bad-opcode", "no such arithmetic operation")
	}
	*dst = v
	return nil
}

func (m *Machine) jump(top *frame, ins *code.Insn) error {
	switch op := ins.OpCode.JumpOp(); op {
	case asm.Exit:
		m.pop()
		return nil
	case asm.Call:
		return m.call(top, ins)
	case asm.Ja:
		top.pc = ins.Target
		return nil
	default:
		u, v := m.regs[ins.Dst], m.operand(ins)
		s, t := int64(u), int64(v)
		if ins.OpCode.Class() == asm.Jump32Class {
			u, v, s, t = uint64(uint32(u)), uint64(uint32(v)), int64(int32(u)), int64(int32(v))
		}
		taken, ok := compare(op, u, v, s, t)
		if !ok {
			return m.fault("bad-opcode", "no such jump")
		}
		top.pc++
		if taken {
			top.pc = ins.Target
		}
		return nil
	}
}

// call executes a call of any kind. The return address is that of the next
// instruction.
func (m *Machine) call(top *frame, ins *code.Insn) error {
	switch {
	case ins.Callee != code.None:
		p := top.prog
		at := p.Code.Funcs[ins.Callee].Start
		if err := m.push(p, at); err != nil {
			return err
		}
		// push may have moved the frames.
		m.frames[len(m.frames)-2].pc++
		return nil
	case ins.OpCode.Source() == asm.RegSource:
		return m.fault("indirect-call", "call through a register")
	case !ins.IsBuiltinCall():
		return m.fault("helper-unsupported", "only helpers and functions of the program can be called")
	}
	id := asm.BuiltinFunc(uint32(ins.Constant))
	if id == asm.FnTailCall {
		return m.tailCall(top)
	}
	depth := len(m.frames)
	r0, err := m.Helper(id, [5]uint64(m.regs[1:6]))
	if err != nil {
		return err
	}
	m.regs[0] = r0
	m.frames[depth-1].pc++
	return nil
}

// callback calls the function that a function pointer names and returns its R0.
func (m *Machine) callback(fn uint64, args ...uint64) (uint64, error) {
	top := &m.frames[len(m.frames)-1]
	c := top.prog.Code
	if fn < funcBase || fn-funcBase >= uint64(len(c.Funcs)) {
		return 0, m.fault("bad-callback", "%#x is no function", fn)
	}
	depth := len(m.frames)
	if err := m.push(top.prog, c.Funcs[fn-funcBase].Start); err != nil {
		return 0, err
	}
	clear(m.regs[1:6])
	copy(m.regs[1:], args)
	if err := m.exec(depth); err != nil {
		return 0, err
	}
	return m.regs[0], nil
}

func (m *Machine) loadImm(top *frame, ins *code.Insn) error {
	if !ins.OpCode.IsDWordLoad() {
		return m.fault("bad-opcode", "no such load")
	}
	dst := &m.regs[ins.Dst]
	switch ins.Src {
	case asm.R0:
		*dst = uint64(ins.Constant)
	case asm.PseudoMapFD:
		*dst = m.handle(top.prog.Maps[ins.Map])
	case asm.PseudoMapValue:
		*dst = m.valueAddr(top.prog.Maps[ins.Map], int(uint64(ins.Constant)>>32))
	case asm.PseudoFunc:
		*dst = funcBase + uint64(ins.Callee)
	default:
		return m.fault("bad-opcode", "64-bit load of kind %d", ins.Src)
	}
	return nil
}

func (m *Machine) load(ins *code.Insn) error {
	size := ins.OpCode.Size().Sizeof()
	v, err := m.Load(m.regs[ins.Src]+uint64(ins.Offset), size)
	if err != nil {
		return err
	}
	switch mode := ins.OpCode.Mode(); {
	case mode == asm.MemMode:
	case mode == asm.MemSXMode && size < 8:
		v = uint64(int64(v<<(64-8*size)) >> (64 - 8*size))
	default:
		return m.fault("bad-opcode", "no such load")
	}
	m.regs[ins.Dst] = v
	return nil
}

func (m *Machine) store(ins *code.Insn) error {
	addr := m.regs[ins.Dst] + uint64(ins.Offset)
	size := ins.OpCode.Size().Sizeof()
	switch mode := ins.OpCode.Mode(); {
	case mode == asm.MemMode && ins.OpCode.Class() == asm.StClass:
		return m.Store(addr, size, imm(ins))
	case mode == asm.MemMode:
		return m.Store(addr, size, m.regs[ins.Src])
	case mode == asm.AtomicMode && ins.OpCode.Class() == asm.StXClass:
		return m.atomic(ins, addr, size)
	}
	return m.fault("bad-opcode", "no such store")
}

// Atomic loads and stores, which came after RFC 9669 (Linux 6.15).
const (
	loadAcquire  = asm.AtomicOp(0x10000)
	storeRelease = asm.AtomicOp(0x11000)
)

func (m *Machine) atomic(ins *code.Insn, addr uint64, size int) error {
	op := ins.OpCode.AtomicOp()
	switch op {
	case loadAcquire:
		v, err := m.Load(m.regs[ins.Src]+uint64(ins.Offset), size)
		if err == nil {
			m.regs[ins.Dst] = v
		}
		return err
	case storeRelease:
		return m.Store(addr, size, m.regs[ins.Src])
	}
	if size != 4 && size != 8 {
		return m.fault("bad-opcode", "atomic operation on %d bytes", size)
	}
	old, err := m.Atomic(op, addr, size, m.regs[ins.Src], m.regs[0])
	if err != nil {
		return err
	}
	switch op {
	case asm.FetchAdd, asm.FetchAnd, asm.FetchOr, asm.FetchXor, asm.Xchg:
		m.regs[ins.Src] = old
	case asm.CmpXchg:
		m.regs[0] = old
	}
	return nil
}

// Offsets below zero in legacy packet loads, include/uapi/linux/filter.h.
const (
	netOffset  = -0x100000 // from the network header
	linkOffset = -0x200000 // from the link header
	ethLen     = 14
)

// loadPacket is LD_ABS and LD_IND: bytes of the packet in network order into
// R0. A load outside the packet exits from the running function with R0 = 0, as
// the kernel's code does.
func (m *Machine) loadPacket(top *frame, ins *code.Insn) error {
	off := int32(ins.Constant)
	if ins.OpCode.Mode() == asm.IndMode {
		off += int32(m.regs[ins.Src])
	}
	size := ins.OpCode.Size().Sizeof()
	if size == 8 {
		return m.fault("bad-opcode", "no such load")
	}
	at := int(off)
	switch {
	case off >= 0:
	case off >= netOffset:
		at += -netOffset + ethLen
	case off >= linkOffset:
		at += -linkOffset
	}
	if at < 0 || at+size > m.PacketLen() {
		m.regs[0] = 0
		m.pop()
		m.out.Aborted = len(m.frames) == 0
		return nil
	}
	var v uint64
	for _, b := range m.buffer[m.start+at : m.start+at+size] {
		v = v<<8 | uint64(b)
	}
	m.regs[0] = v
	top.pc++
	return nil
}
