package ir

// ID names a value or a block within a Func.
type ID int32

// Value is one SSA value: op, type, arguments, and what the op's row asks for.
type Value struct {
	ID    ID
	Op    Op
	Type  Type
	Args  []*Value
	Int   int64
	Sym   string
	Space Space
	Size  uint8 // bytes of a memory access
	Big   bool  // map access to counter words: each 32-bit word is big-endian in memory
	PC    int32 // eBPF pc it came from, -1 none
}

// TermKind is how a block ends.
type TermKind uint8

const (
	TermNone   TermKind = iota
	TermJump            // Succs[0]
	TermBranch          // Cond != 0: Succs[0], else Succs[1]
	TermReturn          // Result; in the entry function this is the program's verdict
	TermAbort           // failed LD_ABS/LD_IND bounds check: the program type's abort verdict
)

// Edge goes to a block, with one argument for each of its parameters.
type Edge struct {
	To   *Block
	Args []*Value
}

// Block is a basic block. Values are in order of execution; operations with an
// effect keep that order.
type Block struct {
	ID     ID
	Params []*Value // OpParam
	Values []*Value
	Kind   TermKind
	Cond   *Value
	Result *Value
	Succs  []Edge
	PC     int32 // of the terminator
}

// Func is one function; Blocks[0] is its entry.
type Func struct {
	Name   string
	Params []*Value // r1..r5 of a bpf-to-bpf callee; empty for the program's entry
	Blocks []*Block
	Frame  int // bytes of stack, a multiple of 8
	NextID ID
}

// Module is a program: Funcs[0] is its entry.
type Module struct {
	Name  string
	Funcs []*Func
}
