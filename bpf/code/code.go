// Package code resolves the control flow and the references of an eBPF program that
// cilium/ebpf has read.
//
// New takes an *ebpf.ProgramSpec and the maps by name, and returns a Code: the
// instructions with their pc, jump targets, callees and maps as indices, and the
// functions that the instructions divide into. An Insn embeds cilium's
// asm.Instruction, so the package defines no second model of eBPF. The verifier, the
// interpreter and the compiler all start from a Code, and compute no jump distance
// themselves.
//
// A Code is consistent: every Target, Callee and Map is None or a valid index, and
// every jump stays in its function. New lists what those consumers may assume. If the
// instructions do not form a program, New returns all Faults and no Code. A Code is
// not changed after New, so goroutines may share it.
package code

import (
	"fmt"
	"sort"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// None is the value of Insn.Target, Insn.Callee and Insn.Map if the instruction has
// none.
const None = -1

// Insn is one instruction with its jump target, callee and map resolved.
type Insn struct {
	asm.Instruction
	PC     int // in 8-byte slots from the program's start, as bpftool counts
	Target int // index of the instruction a jump goes to, or None
	Callee int // index in Code.Funcs of a bpf-to-bpf call or function pointer, or None
	Map    int // index in Code.Maps of a map handle or map value load, or None
	Func   int // index in Code.Funcs of the function it belongs to
}

// Func is one function: the instructions [Start, End).
type Func struct {
	Name       string
	Start, End int // indices into Code.Insns
}

// Code is a whole program. The entry function is Funcs[0]; the others follow in order
// of their instructions.
type Code struct {
	Name    string
	Type    ebpf.ProgramType
	Section string          // of the object; loaders derive the attach type from it
	Attach  ebpf.AttachType // expected attach type; decides which context fields exist
	Flags   uint32          // BPF_F_*, as BPF_PROG_LOAD takes them
	License string          // decides which helpers the kernel lets the program call
	Insns   []Insn
	Funcs   []Func
	Maps    []*ebpf.MapSpec // in order of first reference
}

// A Fault is a structural error: the instructions form no program, independent of
// register contents. Reason is a stable identifier from bpf/verify's table.
type Fault struct {
	PC     int
	Reason string
	Msg    string
}

func (f Fault) Error() string { return fmt.Sprintf("pc %d: %s (%s)", f.PC, f.Msg, f.Reason) }

// Line returns the source line of instruction i: the nearest line record at or
// before i within the same function, or nil.
func (c *Code) Line(i int) *btf.Line {
	for start := c.Funcs[c.Insns[i].Func].Start; i >= start; i-- {
		if l, ok := c.Insns[i].Source().(*btf.Line); ok {
			return l
		}
	}
	return nil
}

// Index returns the index of the instruction at pc. It returns None if pc is outside
// the program or is the second slot of a wide instruction.
func (c *Code) Index(pc int) int {
	i := sort.Search(len(c.Insns), func(i int) bool { return c.Insns[i].PC >= pc })
	if i == len(c.Insns) || c.Insns[i].PC != pc {
		return None
	}
	return i
}
