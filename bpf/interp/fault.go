package interp

import (
	"fmt"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
)

// Fault is the reason why a run stopped: the program did something that a
// verified one does not, or uses a feature that is not modelled.
type Fault struct {
	PC     int    // of the instruction, -1 outside a run
	Insn   string // its text
	Addr   uint64 // of the access, if Size > 0
	Size   int
	Reason string // packet-bounds, stack-bounds, map-value-bounds, ctx-access, bad-address, helper-unsupported, ...
	Msg    string
}

func (f *Fault) Error() string {
	place := ""
	if f.PC >= 0 {
		place = fmt.Sprintf("pc %d: %s: ", f.PC, f.Insn)
	}
	access := ""
	if f.Size > 0 {
		access = fmt.Sprintf("%d bytes at %#x: ", f.Size, f.Addr)
	}
	return fmt.Sprintf("%s%s%s (%s)", place, access, f.Msg, f.Reason)
}

// fault returns a Fault at the running instruction, or at pc -1 outside a run.
func (m *Machine) fault(reason, format string, args ...any) *Fault {
	f := &Fault{PC: -1, Reason: reason, Msg: fmt.Sprintf(format, args...)}
	if n := len(m.frames); n > 0 {
		top := &m.frames[n-1]
		ins := &top.prog.Code.Insns[top.pc]
		f.PC, f.Insn = ins.PC, asmtext.Format(ins.Instruction)
	}
	return f
}

func (m *Machine) badAccess(addr uint64, size int, reason, format string, args ...any) *Fault {
	f := m.fault(reason, format, args...)
	f.Addr, f.Size = addr, size
	return f
}
