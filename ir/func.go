package ir

// ID names a value or a block within a Func.
type ID int32

// Value is one SSA value: op, type, arguments, and the fields that the op's row
// names.
type Value struct {
	ID    ID
	Op    Op
	Type  Type
	Args  []*Value
	Int   int64
	Sym   string
	Space Space
	Size  uint8 // bytes of a memory access
	// Big marks an access to counter words: each 32-bit word is big-endian in memory.
	// The access covers only counter words. The loaded or stored value is in the
	// program's byte order. So Eval, whose memory is in that order too, ignores Big.
	// Selection must reverse the bytes of each word. It must access single bytes,
	// halves and unaligned words byte by byte, each at its address XOR 3. A Big store
	// to the stack writes the word reversed, for the firmware to copy into a map
	// unchanged.
	Big bool
	// Align and Phase are a fact about an access's address: it is Phase modulo
	// Align, which is 1, 2, 4 or 8. Align 0 means the same as 1: nothing is
	// known.
	Align, Phase uint8
	// Kinds encodes the kinds of OpCallHelper's pointer arguments: KindMap and so on.
	Kinds uint32
	// Reach is the number of bytes that OpCallHelper may read from each pointer into
	// the stack: ten bits an argument, bits 9:0 for r1; 0 if that is unknown.
	Reach uint64
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
	// ResultHi is the high half of a 64-bit result after legalize; Result is
	// then the low half.
	ResultHi *Value
	Succs    []Edge
	PC       int32 // of the terminator
}

// Func is one function; Blocks[0] is its entry, which has no predecessors and
// no Params.
type Func struct {
	Name   string
	Params []*Value // r1.. of a callee, R1 and R2 of a raw program's entry; else empty
	// Result is I32 for the entry of an XDP or TC program, whose verdict is the
	// low half of R0, and I64 for callees and for the entry of raw programs.
	// Legalize does not change it: an I64 result is then Block.Result and
	// ResultHi.
	Result    Type
	Blocks    []*Block
	Frame     int // bytes of stack, a multiple of 8
	NextID    ID  // next free value number
	NextBlock ID  // next free block number

	values []Value  // free values of a chunk: a program has thousands
	args   []*Value // room for their arguments
}

// Module is a program: Funcs[0] is its entry.
type Module struct {
	Name  string
	Maps  []Map // those about which there is a fact
	Funcs []*Func
}

// Map holds the facts about a map that passes may use.
type Map struct {
	Name string
	// Entries and Stride describe an array whose values a program may address without
	// a lookup: value i begins Stride x i bytes past the first one. Entries is 0 for
	// other maps.
	Entries, Stride uint32
	// Marks reports whether a lookup changes the map: an LRU map records the use of
	// the entry.
	Marks bool
}

// Map returns the facts about the map called name, zero if it is not listed.
func (m *Module) Map(name string) Map {
	for _, known := range m.Maps {
		if known.Name == name {
			return known
		}
	}
	return Map{}
}

// Func returns the function called name, or nil.
func (m *Module) Func(name string) *Func {
	for _, f := range m.Funcs {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// pieces of room are allocated for so many values at a time.
const pieces = 128

// NewValue returns a value with a fresh number that is in no block yet. It keeps
// a copy of args.
func (f *Func) NewValue(op Op, t Type, pc int32, args ...*Value) *Value {
	if len(f.values) == 0 {
		f.values = make([]Value, pieces)
	}
	v := &f.values[0]
	f.values = f.values[1:]
	v.ID, v.Op, v.Type, v.Args, v.PC = f.NextID, op, t, f.list(args), pc
	f.NextID++
	return v
}

// list copies a list of values. The copy has no spare capacity, so appending to
// it reallocates.
func (f *Func) list(args []*Value) []*Value {
	n := len(args)
	if n == 0 {
		return nil
	}
	if n > len(f.args) {
		f.args = make([]*Value, max(n, 2*pieces))
	}
	l := f.args[:n:n]
	f.args = f.args[n:]
	copy(l, args)
	return l
}

// NewBlock appends an empty block.
func (f *Func) NewBlock() *Block {
	b := &Block{ID: f.NextBlock, PC: -1}
	f.NextBlock++
	f.Blocks = append(f.Blocks, b)
	return b
}

// NewParam appends a parameter to b; the edges to b must get an argument each.
func (f *Func) NewParam(b *Block, t Type, pc int32) *Value {
	v := f.NewValue(OpParam, t, pc)
	v.Int = int64(len(b.Params))
	b.Params = append(b.Params, v)
	return v
}

// Add appends a new value to block b.
func (f *Func) Add(b *Block, op Op, t Type, pc int32, args ...*Value) *Value {
	v := f.NewValue(op, t, pc, args...)
	b.Values = append(b.Values, v)
	return v
}

// Jump ends b with a jump.
func (b *Block) Jump(pc int32, to *Block, args ...*Value) {
	b.Kind, b.PC, b.Succs = TermJump, pc, []Edge{{To: to, Args: args}}
}

// Branch ends b with a branch to yes if cond is not 0, else to no.
func (b *Block) Branch(pc int32, cond *Value, yes, no Edge) {
	b.Kind, b.PC, b.Cond, b.Succs = TermBranch, pc, cond, []Edge{yes, no}
}

// Operands calls do with the address of each place in b that names a value: the
// arguments of its values, and what its terminator uses.
func (b *Block) Operands(do func(**Value)) {
	for _, v := range b.Values {
		for i := range v.Args {
			do(&v.Args[i])
		}
	}
	for _, p := range []**Value{&b.Cond, &b.Result, &b.ResultHi} {
		if *p != nil {
			do(p)
		}
	}
	for i := range b.Succs {
		for j := range b.Succs[i].Args {
			do(&b.Succs[i].Args[j])
		}
	}
}
