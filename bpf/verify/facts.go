// Package verify proves by abstract interpretation that a program is safe, and
// hands what it learned to the compiler as Facts, or says why not as a Rejection.
package verify

import (
	"github.com/nfpkit/nfpkit/bpf/code"
)

// Kind is what a register or stack slot holds.
type Kind uint8

const (
	NotInit Kind = iota
	Scalar
	PtrCtx
	PtrStack
	PtrPacket
	PtrPacketMeta
	PtrPacketEnd
	PtrMapHandle
	PtrMapValue
	PtrMapValueOrNull
	PtrMem    // a memory region of known size that is not packet, stack or map (raw programs' argument)
	PtrFunc   // callback
	PtrUnsure // different kinds on different paths: may be moved and compared, never dereferenced
)

// Tnum is a number of which some bits are known: where Mask has 0, Value's bit.
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
	Maps       []int  // PtrMapHandle, PtrMapValue(OrNull): possible maps, indices in Code.Maps, ascending
	Range      int32  // PtrPacket: bytes from the pointer's base known to be there
	ID         uint32 // if not 0, numbers (variable parts of pointers) of one ID are equal
}

// Access is what one instruction's memory operand reaches, over all paths. For
// PtrStack offsets count from r10 of the frame (negative); for PtrPacket, PtrMem,
// PtrMapValue and PtrCtx from the start of the region.
type Access struct {
	Kind   Kind // PtrUnsure where paths differ
	Up     int8
	Maps   []int
	Min    int64 // first byte reached
	Max    int64 // last first byte: Min = Max where the place is static
	Bits   Tnum  // of the offset
	Size   int   // bytes
	Spill  bool  // stack: moves a pointer
	Shared bool  // stack: reached through a pointer other than r10 too
	// Variable says that the place varies on one path already; where it does not,
	// but different paths reach different places, Places has them, in the order
	// found.
	Variable bool
	Places   []int64
	// Unproven says that the place may lie outside its memory (Options.Unproven):
	// Min, Max and Bits tell nothing then, and who runs the program must check.
	Unproven bool
}

// Call is what a call's arguments are, over all paths.
type Call struct {
	Args [5]Reg
	// Mem describes, for each pointer argument to memory, the place and the most
	// bytes the callee reads or writes; Size 0 for other arguments.
	Mem   [5]Access
	Maps  []int // map handle argument: possible maps
	Const bool  // bpf_tail_call, adjust_head: R2 or R3 is the same constant on all paths
	// Zeros says of each byte of bpf_map_update_elem's value on the stack whether it is
	// marked as zero on all paths. With Options.Linux these are the marks of Linux's
	// verifier. It makes none for zeros that were stored at a multiple of 8 below r10:
	// they become a spilled register (kernel 6.12, check_stack_write_fixed_off).
	Zeros []bool
}

// Facts is what may be relied on, joined over all paths.
type Facts struct {
	Code      *code.Code
	Reachable []bool    // per instruction
	Regs      [][11]Reg // before each reachable instruction
	Mem       []*Access // per instruction with a memory operand
	Calls     []*Call   // per call
	Taken     []bool    // per conditional jump: may be taken
	Falls     []bool    // per conditional jump: may fall through
	Differs   []uint16  // per instruction: bit r where R[r] is not the same on all paths
	Depth     []int     // per function: bytes of its own frame used, rounded up to 8
	// Exits has for each exit the values of R0 that paths bring there, each once;
	// beyond 16 they are joined into the last.
	Exits map[int][]Reg
	// StaleEnds are the comparisons of a packet pointer with the packet's end that Linux
	// 6.12 foresees wrongly, as indices of instructions in the order found: an earlier
	// comparison found the pointer past the end, and it was moved back since. That kernel
	// keeps what was found (adjust_ptr_min_max_vals) and never walks the edge on which
	// the packet is long enough. 6.18 does.
	StaleEnds []int
	// Walked is what Linux's verifier walks of the program (Options.Linux).
	Walked   Walked
	Warnings []Reason
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
	// Unproven says that Facts were returned too (Options.Unproven): only unwritten
	// registers (which are 0), accesses through numbers (Mem is nil there), bounds
	// and termination are left to be checked while the program runs.
	Unproven bool
}

// Options narrows or widens what is accepted. The zero value is the kernel's rule.
type Options struct {
	// MemSize is the size of the region in R1 (R2 holds it) for raw programs.
	MemSize int
	// Unproven keeps Facts although some accesses or the termination could not be
	// proved; the caller runs the program under checks.
	Unproven bool
	// Linux forgets what Linux 6.12's verifier does not know either, where that is
	// known to be less: the facts are then what a driver under that kernel is told,
	// and a program may be refused that is safe. See kernelmode.go.
	Linux bool
	// Kernel is the release of that Linux, such as {6, 18}; zero means 6.12.
	Kernel [2]int
	// Budget bounds the instructions explored; 0 means 1,000,000.
	Budget int
}
