// Package mach turns machine code over virtual registers into micro-engine code: it
// allocates registers, overlaps memory commands, schedules, fills delay slots and
// lays the code out. It knows the NFP and no eBPF.
//
// A [Func] is a list of basic blocks of instructions. A virtual register
// (nfp.Virtual) is 32 bits wide, is not in SSA form, and has one bank after
// allocation. Physical registers appear only where a calling convention names them;
// such a register is live within one block, from the instruction that defines it to
// the call, return or copy that uses it. Instructions stand in the order in which
// they take effect: an instruction that will fill a branch's delay slot precedes the
// branch (Inst.Slots), and [Layout] alone exchanges the two.
//
// [Func.Run] runs the passes. Allocation, scheduling and motion between blocks each
// have a checker that was written independently of the passes and runs in every test.
// [CheckHazards] checks the final image. Functions have a text form with a parser,
// [Func.Text] and [Parse].
package mach

import (
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Inst is one instruction and the back end's facts about it.
type Inst struct {
	nfp.Inst
	PC     int32 // eBPF pc, -1 none
	To     int32 // block a branch goes to, -1 none
	Slots  uint8 // branch: this many instructions before it go to its defer slots
	Glue   bool  // must directly follow the instruction before it
	PortA  bool  // left operand must come through port A: it is a shift amount
	Likely int8  // branch: 1 expected to be taken, -1 not, 0 unknown
	DeadCC bool  // the condition codes it sets are dead
	Drop   bool  // takes no word: a copy of a register to itself
	Frame  bool  // immed: the offset of the function's frame is added to the constant
	Base   bool  // pointer write: LM0 := the function's frame
	Return bool  // immed: address of the instruction after the branch of this group
	Call   *CallSite
	Reloc  nfp.RelocKind
	Helper int32
	In     uint32    // command, or wait for it: transfer registers that arrive
	Out    uint32    // and that are sent
	Mem    Access    // command: what it touches
	Sym    string    // map of a relocation, or function that a branch goes to
	Orig   *nfp.Inst // before allocation; nil if allocate added the instruction. For checkAllocation
}

// CallSite describes the effect of a call on registers.
type CallSite struct {
	Uses     RegSet
	Defs     RegSet
	Clobbers RegSet // Defs included
	Callee   string // function of the module, "" for firmware helpers
	LM3      bool   // local-memory pointer 3 is lost
	Moves0   bool   // so is LM0
	ReadsLM0 bool   // LM0 points to an argument
	// MovesPacket says that a helper may move the packet's ends, and so change the
	// packet vector.
	MovesPacket bool
}

// Block is a basic block: control enters at its first instruction. It ends
// with at most one branch with a target, and goes on to Next unless that is -1.
type Block struct {
	Insts []Inst
	Next  int32
	Depth int32 // loops around it
}

// Func is one function.
type Func struct {
	Name    string
	Blocks  []*Block // in layout order; Blocks[0] is the entry
	VRegs   int      // virtual registers are numbered below
	Params  RegSet   // physical registers that hold arguments at entry
	Frame   int      // bytes of eBPF stack
	Spill   int      // bytes of spill slots after it
	Offset  int      // of the frame from A22; layout's
	Entry   bool     // the program's entry: its frame is at A22
	LM0     bool     // LM0 points to its frame while it runs
	Moves0  bool     // it, or what it calls, moves LM0
	Clobber RegSet   // what a call of it destroys
	Jump    int      // cycles of a jump whose slots are empty, its word included
	LM3     bool     // it, or what it calls, destroys LM3
	Callees []string
	Pinned  []uint32 // virtual registers that must not be spilled
}

// size is the frame with spill slots, rounded up to what frames begin at.
func (f *Func) size() int { return (f.Frame + f.Spill + 63) &^ 63 }

// succs calls do with each block that control may go to after b.
func (b *Block) Succs(do func(int32)) {
	if n := len(b.Insts); n > 0 && b.Insts[n-1].To >= 0 {
		do(b.Insts[n-1].To)
	}
	if b.Next >= 0 {
		do(b.Next)
	}
}

// RegSet is a set of general registers: bit n is An, bit 32+n is Bn.
type RegSet uint64

func BankA(n int) RegSet { return 1 << n }
func BankB(n int) RegSet { return 1 << (32 + n) }

// AllRegs are the registers that the allocator may use: the program's, but for the
// stack's base. KeptByHelpers are those of them that the firmware's helpers preserve.
const (
	AllRegs       = RegSet(1<<firmware.StackRegister-1) | RegSet(1<<(firmware.LastRegister+1)-1)<<32
	KeptByHelpers = RegSet(kept) | RegSet(kept|1<<firmware.StackRegister)<<32

	kept = 1<<(firmware.LastKept+1) - 1<<firmware.FirstKept
)

// physical returns the register number 0..63 of a GPR operand.
func Physical(o nfp.Operand) (int, bool) {
	switch o.Kind {
	case nfp.GPRA:
		return int(o.N), true
	case nfp.GPRB:
		return 32 + int(o.N), true
	}
	return 0, false
}

// register is the inverse of physical.
func register(n int) nfp.Operand {
	if n >= 32 {
		return nfp.Operand{Kind: nfp.GPRB, N: uint32(n - 32)}
	}
	return nfp.Operand{Kind: nfp.GPRA, N: uint32(n)}
}

func GPRA(n uint32) nfp.Operand  { return nfp.Operand{Kind: nfp.GPRA, N: n} }
func GPRB(n uint32) nfp.Operand  { return nfp.Operand{Kind: nfp.GPRB, N: n} }
func Xfer(n int) nfp.Operand     { return nfp.Operand{Kind: nfp.Xfer, N: uint32(n)} }
func Const(n uint32) nfp.Operand { return nfp.Operand{Kind: nfp.Const, N: n} }
func LM(ptr uint8, word int) nfp.Operand {
	return nfp.Operand{Kind: nfp.LM, Ptr: ptr, N: uint32(word)}
}
func LMNext(ptr uint8) nfp.Operand { return nfp.Operand{Kind: nfp.LM, Ptr: ptr, Mod: 1} }

// isCopy reports whether the instruction only moves one register to another.
func (in *Inst) isCopy() bool {
	return in.IsMove() && !in.Glue &&
		in.Reloc == nfp.RelocNone && isReg(in.Dst) && isReg(in.B)
}

func isReg(o nfp.Operand) bool {
	return o.Kind == nfp.Virtual || o.Kind == nfp.GPRA || o.Kind == nfp.GPRB
}

// copyInst is dst := src, leaving condition codes alone.
func copyInst(dst, src nfp.Operand, pc int32) Inst {
	return Inst{Inst: nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUB), Dst: dst, B: src, Flags: nfp.NoCC}, PC: pc, To: -1}
}

// Clone returns a copy that shares no blocks.
func (f *Func) Clone() *Func {
	g := *f
	g.Blocks = make([]*Block, len(f.Blocks))
	for i, b := range f.Blocks {
		c := *b
		c.Insts = cloneInsts(b.Insts)
		g.Blocks[i] = &c
	}
	return &g
}

// sameCode reports whether a function's blocks and those of a clone are still the same.
func (f *Func) sameCode(g *Func) bool {
	return slices.EqualFunc(f.Blocks, g.Blocks, func(a, b *Block) bool { return a.Next == b.Next && slices.Equal(a.Insts, b.Insts) })
}

// bundles calls do with each group [i, j) of glued instructions of the block.
func (b *Block) bundles(do func(i, j int)) {
	for i := 0; i < len(b.Insts); {
		j := i + 1
		for j < len(b.Insts) && b.Insts[j].Glue {
			j++
		}
		do(i, j)
		i = j
	}
}

// lmCSR is the control register of each local-memory pointer.
var PointerCSR = nfp.LMPointers()

// lmWindow is how many bytes an operand of ld_field reaches through a pointer.
const FieldWindow = 32

// xferMask is the registers [base, base+n).
func XferMask(base, n int) uint32 { return uint32((uint64(1)<<n - 1) << base) }
