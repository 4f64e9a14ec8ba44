// Package verify proves by abstract interpretation that an eBPF program is safe.
//
// Verify takes a code.Code and returns Facts for the compiler, or a *Rejection with
// every Reason found. Facts describe, before each instruction, the registers (Reg), the
// memory that it accesses (Access) and the arguments of a call (Call), joined over all
// paths. They hold in every execution. Survey returns facts of refused programs too.
// Facts.Demand computes which bits of each register matter. Explain describes a reason.
//
// The rules are those of Linux's verifier for a privileged user. Options.Linux also
// reproduces its limits: it discards facts that Linux does not find, and counts the
// instructions that Linux walks. The abstract domain (value.go, number.go) has known
// bits (Tnum), signed and unsigned intervals of 32 and 64 bits, and links between
// numbers that differ by a constant. explore.go visits states in a weak topological
// order; walk.go repeats Linux's depth-first walk.
//
// Invariants: the facts cover every concrete state that the reference interpreter
// reaches, and Verify is deterministic. Random programs and the running kernel test both.
package verify

import (
	"github.com/nfpkit/nfpkit/bpf/code"
)

// Kind is the kind of value in a register or stack slot.
type Kind uint8

const (
	NotInit           Kind = iota // never written on some path
	Scalar                        // a number
	PtrCtx                        // the program's context
	PtrStack                      // a frame of the stack
	PtrPacket                     // the packet's bytes
	PtrPacketMeta                 // the metadata before the packet
	PtrPacketEnd                  // the packet's end: compared, never dereferenced
	PtrMapHandle                  // a map, as an argument of helpers
	PtrMapValue                   // a value of a map
	PtrMapValueOrNull             // the result of a lookup, before it is compared with NULL
	PtrMem                        // a memory region of known size that is not packet, stack or map (raw programs' argument)
	PtrFunc                       // callback
	PtrUnsure                     // different kinds on different paths: may be moved and compared, never dereferenced
)

// Tnum is a number with some known bits: each bit is Value's if its Mask bit is 0, and
// unknown otherwise.
type Tnum struct{ Value, Mask uint64 }

// Reg is an abstract register. For a pointer the numbers describe the variable
// part of its offset, and Off the fixed part.
type Reg struct {
	Kind       Kind
	Bits       Tnum
	UMin, UMax uint64
	SMin, SMax int64
	U32Min     uint32
	U32Max     uint32
	S32Min     int32
	S32Max     int32
	Off        int32
	Up         int8   // PtrStack: 0 this function's frame, n the n-th caller's, -1 depends on the path
	Maps       []int  // PtrMapHandle, PtrMapValue(OrNull): possible maps, indices in Code.Maps, ascending; none for memory of a global function's argument
	Range      int32  // PtrPacket: bytes from the pointer's base known to be there
	ID         uint32 // if not 0, numbers (variable parts of pointers) of one ID are equal
}

// Access describes the memory that an instruction's operand reaches, over all paths.
// Offsets of PtrStack count from r10 of the frame (negative). Offsets of PtrPacket,
// PtrMem, PtrMapValue and PtrCtx count from the start of the region.
type Access struct {
	Kind   Kind // PtrUnsure if paths differ
	Up     int8
	Maps   []int
	Min    int64 // first byte reached
	Max    int64 // highest first byte; equal to Min if the offset is constant
	Bits   Tnum  // of the offset
	Size   int   // bytes
	Spill  bool  // stack: moves a pointer
	Shared bool  // stack: reached through a pointer other than r10 too
	// Variable says that the offset varies even on one path. If it does not, but paths
	// reach different offsets, Places lists them in the order found.
	Variable bool
	Places   []int64
	// Unproven says that the access may lie outside its memory (Options.Unproven).
	// Min, Max and Bits then mean nothing, and an engine must check the access at run
	// time.
	Unproven bool
}

// Call describes a call's arguments, over all paths.
type Call struct {
	Args [5]Reg
	// Mem describes, for each pointer argument to memory, the place and the most
	// bytes the callee reads or writes; Size 0 for other arguments.
	Mem   [5]Access
	Maps  []int // map handle argument: possible maps
	Const bool  // bpf_tail_call, adjust_head: R2 or R3 is the same constant on all paths
	// Zeros reports for each byte of bpf_map_update_elem's value on the stack whether
	// all paths mark it as zero. With Options.Linux these are the marks of Linux's
	// verifier. It does not mark zeros that were stored at a multiple of 8 below r10:
	// they become a spilled register (kernel 6.12, check_stack_write_fixed_off).
	Zeros []bool
}

// Facts are properties that hold in every execution of a program, joined over all
// paths.
type Facts struct {
	Code      *code.Code
	Reachable []bool    // per instruction
	Regs      [][11]Reg // before each reachable instruction
	Mem       []*Access // per instruction with a memory operand
	Calls     []*Call   // per call
	Taken     []bool    // per conditional jump: may be taken
	Falls     []bool    // per conditional jump: may fall through
	Differs   []uint16  // per instruction: bit r is set if R[r] differs between paths
	Depth     []int     // per function: bytes of its own frame used, rounded up to 8
	// Exits has for each exit the values of R0 that paths bring there, each once;
	// beyond 16 they are joined into the last.
	Exits map[int][]Reg
	// StaleEnds are the comparisons of a packet pointer with the packet's end that Linux
	// 6.12 decides wrongly, as indices of instructions in the order found. An earlier
	// comparison found the pointer past the end, and a constant has since moved it back.
	// That kernel keeps the earlier result (adjust_ptr_min_max_vals) and never walks the
	// edge on which the packet is long enough. Linux 6.18 does.
	StaleEnds []int
	// Walked counts the work of Linux's verifier on the program
	// (Options.Linux).
	Walked   Walked
	Warnings []Reason
	// Seen are the facts of the states that Linux's verifier walks, which it shows the
	// driver (Options.Linux). It walks no state whose difference from an earlier one
	// matters to no proof, so that they are not facts of all executions. Nil if the
	// program is refused, or if no other facts are known.
	Seen *Facts
}

// Walked counts the work of Linux's verifier: instructions, of which it walks at most
// 1,000,000, and branches that waited at one time, at most 8,192.
type Walked struct{ Insns, Waiting int }

// Reason is one thing found: a rejection or a warning.
type Reason struct {
	Reason  string `json:"reason"` // stable kebab-case word, see Reasons
	PC      int    `json:"pc"`
	Insn    string `json:"insn"` // eBPF text
	File    string `json:"file"`
	Line    int    `json:"line"`
	Message string `json:"message"`
	Hint    string `json:"hint"`
	State   string `json:"-"` // registers and path, for %+v
}

// Rejection is why a program is refused: every reason found, not the first.
type Rejection struct {
	Program string
	Reasons []Reason
	// Unproven says that Verify also returned Facts (Options.Unproven). The engine must
	// then check at run time what was not proved: bounds, accesses through numbers (Mem
	// is nil there) and termination. Unwritten registers are 0.
	Unproven bool
}

// Options narrows or widens what is accepted. The zero value is the kernel's rule.
type Options struct {
	// MemSize is the size of the region in R1 (R2 holds it) for raw programs.
	MemSize int
	// Unproven keeps Facts although some accesses or the termination could not be
	// proved; the caller runs the program under checks.
	Unproven bool
	// Linux limits the analysis to what Linux 6.12's verifier knows, for the known
	// differences. The facts are then those that a driver receives under that kernel,
	// and safe programs may be refused. See kernelmode.go.
	Linux bool
	// Kernel is the release of that Linux, such as {6, 18}; zero means 6.12.
	Kernel [2]int
	// Budget bounds the instructions explored; 0 means 1,000,000.
	Budget int
}
