// Package code lays a program of cilium/ebpf out for reading: every jump, call
// and map reference resolved to a place, every instruction given its pc.
//
// It is no second model of eBPF: an Insn is cilium's asm.Instruction with the
// answers to "where does it go" beside it, which the verifier, the interpreter
// and the compiler would otherwise each work out anew.
package code

import (
	"fmt"
	"sort"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// None stands in Insn.Target, Insn.Callee and Insn.Map for "has none".
const None = -1

// Insn is one instruction with its places resolved.
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

// Code is a whole program: the entry function first, its callees behind it.
type Code struct {
	Name    string
	Type    ebpf.ProgramType
	Section string          // of the object, which says how loaders attach the program
	Attach  ebpf.AttachType // where it means to be attached; decides what a context has
	Flags   uint32          // BPF_F_*, as BPF_PROG_LOAD takes them
	License string          // decides which helpers the kernel lets the program call
	Insns   []Insn
	Funcs   []Func
	Maps    []*ebpf.MapSpec // in order of first reference
}

// A Fault is a structural error: the bytes are no program, whatever the
// registers hold. Reason is one of the stable words of bpf/verify's table.
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

// Index returns the index of the instruction at pc, or None where pc is
// outside the program or the second slot of a wide instruction.
func (c *Code) Index(pc int) int {
	i := sort.Search(len(c.Insns), func(i int) bool { return c.Insns[i].PC >= pc })
	if i == len(c.Insns) || c.Insns[i].PC != pc {
		return None
	}
	return i
}
