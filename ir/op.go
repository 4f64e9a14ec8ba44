// Package ir is the compiler's intermediate form: SSA with block arguments over
// 64- and 32-bit values, with a text form, a checker and an evaluator.
//
// It knows neither the language that it is lifted from nor the machine that it is
// lowered to. A Module has functions, a Func has blocks, a Block has values and a
// terminator whose edges carry the arguments of its successors. Passes are methods of
// Func and Module, one in each file. Parse and String convert to and from text, Check
// holds the invariants, and Eval runs a module, so that tests can compare it before and
// after each pass. The rewriting rules of Simplify are proved (Rules).
//
// Before legalize values are I32 or I64; after it every value is I32 or a
// Tuple, and the operations marked "64" in the table are gone.
package ir

// Type is the type of a value.
type Type uint8

const (
	Void Type = iota
	I32
	I64
	Tuple // several I32 parts, extracted with Part: the result of one command or call
)

// Op is an operation. The rows in table.go define arguments, result and
// meaning.
type Op uint8

const (
	OpInvalid Op = iota
	// constants and arguments
	OpConst // Int: value
	OpParam // Int: index; a function's argument (block arguments are Params of other blocks)
	// arithmetic; both arguments and result of the value's type
	OpAdd
	OpSub
	OpMul
	OpUDiv // x/0 = 0
	OpUMod // x%0 = x
	OpSDiv // MIN/-1 = MIN
	OpSMod // MIN%-1 = 0
	OpAnd
	OpOr
	OpXor
	OpShl // amount: I32, taken modulo the width
	OpShr
	OpSar
	OpSExt8  // same type
	OpSExt16 // same type
	OpSExt32 // I32 -> I64
	OpZExt32 // I32 -> I64
	OpTrunc  // I64 -> I32
	OpBSwap  // Int: 16, 32, 64 bits; result zero-extended; type I32 for 16 and 32, I64 for 64
	// comparisons: arguments of one type, result I32 0 or 1
	OpEQ
	OpNE
	OpULT
	OpULE
	OpSLT
	OpSLE
	OpTest   // x & y != 0
	OpSelect // cond I32, x, y
	// places
	OpPacketStart  // I32: address of the packet's first byte; reads packet state
	OpPacketLen    // I32; reads packet state
	OpCtxLoad      // Sym: field; I32; reads packet state
	OpCtxStore     // Sym: field; arg I32
	OpStackAddr    // Int: byte offset from the bottom of this function's frame; I32
	OpMapHandle    // Sym: map; I32
	OpMapValueAddr // Sym: map, Int: offset; arg: a further offset I32, or none; I64
	OpCtxAddr      // I64: the context pointer as a value (passed on, compared; never dereferenced)
	// memory; Space, Size in bytes. Addresses are I32 in stack and packet, I64 in maps.
	OpLoad   // addr; I32 for Size <= 4 (zero-extended), I64 for 8
	OpStore  // addr, value (I32, or I64 for 8)
	OpAtomic // Int: AtomicOp; addr, value [, expected]; old value, or Void without fetch
	// calls
	OpCallHelper // Int: helper id; args as the helper takes them (I64); I64
	OpCallFunc   // Sym: function; args I64 r1..r5, as many as the function has Params; I64
	OpTailCall   // args: index I64 [, handle I32]; Sym: map, "" with a handle; falls through when it fails
	// after legalize: 64-bit work in halves. Arguments low, high.
	OpAddHi   // xl, yl, xh, yh: xh + yh + carry(xl + yl)
	OpSubHi   // xl, yl, xh, yh: xh - yh - borrow(xl - yl)
	OpMulWide // x, y: Tuple{low, high} of the unsigned 64-bit product
	OpFunnel  // hi, lo, amount: low half of (hi:lo) >> (amount & 31 ... 0..31)
	OpULT64   // xl, xh, yl, yh: I32
	OpSLT64   // xl, xh, yl, yh: I32
	OpRead    // Space, Int: words; addr parts: Tuple of words, each as little-endian bytes
	OpWrite   // Space, Size bytes; addr parts, words
	OpPart    // Int: index; of a Tuple
	numOps
)

// Space is a memory the program reaches.
type Space uint8

const (
	NoSpace Space = iota
	Stack         // local memory
	Packet        // CTM
	MapMem        // EMEM: map values; words of a counter are big-endian there, see Value.Big
)

// AtomicOp is the operation of OpAtomic; with AtomicFetch the old value is returned.
type AtomicOp uint8

const (
	AtomicAdd AtomicOp = iota
	AtomicAnd
	AtomicOr
	AtomicXor
	AtomicXchg
	AtomicCmpXchg
	AtomicFetch AtomicOp = 0x10
)

// Base is the operation without the fetch flag.
func (a AtomicOp) Base() AtomicOp { return a &^ AtomicFetch }

// Fetches reports whether the operation returns the old value. Xchg and CmpXchg always
// carry the flag.
func (a AtomicOp) Fetches() bool { return a&AtomicFetch != 0 }

// Kinds of pointer arguments of OpCallHelper, as Value.Kinds holds them: four
// bits an argument, bits 3:0 for r1. Zero is an argument that is no pointer
// to memory.
const (
	KindScalar = 1 // a pointer argument that is NULL
	KindMap    = 4
	KindStack  = 6
	KindPacket = 8
)
