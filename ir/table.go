package ir

// Flags say what an operation touches.
type Flags uint8

const (
	Pure   Flags = 1 << iota // the result depends on the arguments alone
	Reads                    // reads memory or packet state: must not move over an Effect
	Effect                   // changes memory or packet state, or calls what may: stays, in order
	Wide                     // works on 64 bits only: gone after legalize
)

// IntUse is the meaning of Value.Int for an operation, and its position in the text.
type IntUse uint8

const (
	NoInt      IntUse = iota
	IntOperand        // before the arguments
	IntSuffix         // after the name: bswap.16
	IntWords          // number of words of a memory access, instead of Size
	IntAtomic         // an AtomicOp
)

// Row is all there is to know about an operation.
//
// Args and Result are signatures of one letter an argument:
//
//	t  the value's own type, I32 or I64    w  I32    d  I64    p  Tuple
//	a  an address: I32 in stack and packet, I64 in maps
//	x  I32 or I64, every x of the operation the same
//	v  as wide as the access: I32 for Size <= 4, I64 for 8
//	*  the letter before it any number of times    ?  the letter before it or nothing
//	-  no result
//
// After legalize t and x are I32; a d is two arguments, low and high, or as a result
// Tuple{low, high}; so are an a in maps and a v of Size 8.
type Row struct {
	Op     Op
	Name   string
	Args   string
	Result string
	Int    IntUse
	Sym    bool // Value.Sym is used
	Mem    bool // Value.Space and Size are used; Big, Align, Phase may be
	Flags  Flags
	Doc    string
}

// Row returns the operation's row; that of an unknown operation has no name.
func (op Op) Row() Row {
	if op < numOps {
		return table[op]
	}
	return Row{}
}

func (op Op) String() string {
	if name := op.Row().Name; name != "" {
		return name
	}
	return "invalid"
}

// Is reports whether the operation has flag f.
func (op Op) Is(f Flags) bool { return op.Row().Flags&f != 0 }

// table is indexed by Op and never written.
var table = func() (t [numOps]Row) {
	for _, r := range rows {
		t[r.Op] = r
	}
	return t
}()

var rows = []Row{
	{Op: OpConst, Name: "const", Result: "t", Int: IntOperand, Flags: Pure, Doc: "Int; of an I32 the low 32 bits count"},
	{Op: OpParam, Name: "param", Result: "t", Int: IntOperand, Flags: Pure,
		Doc: "argument number Int of its function or block; stands in Params, never in Values"},

	{Op: OpAdd, Name: "add", Args: "tt", Result: "t", Flags: Pure, Doc: "x + y"},
	{Op: OpSub, Name: "sub", Args: "tt", Result: "t", Flags: Pure, Doc: "x - y"},
	{Op: OpMul, Name: "mul", Args: "tt", Result: "t", Flags: Pure, Doc: "low half of x * y"},
	{Op: OpUDiv, Name: "udiv", Args: "tt", Result: "t", Flags: Pure, Doc: "unsigned x / y; 0 if y = 0"},
	{Op: OpUMod, Name: "umod", Args: "tt", Result: "t", Flags: Pure, Doc: "unsigned x mod y; x if y = 0"},
	{Op: OpSDiv, Name: "sdiv", Args: "tt", Result: "t", Flags: Pure, Doc: "signed x / y, toward zero; 0 if y = 0, MIN if MIN / -1"},
	{Op: OpSMod, Name: "smod", Args: "tt", Result: "t", Flags: Pure, Doc: "signed x mod y, sign of x; x if y = 0, 0 if MIN mod -1"},
	{Op: OpAnd, Name: "and", Args: "tt", Result: "t", Flags: Pure, Doc: "x & y"},
	{Op: OpOr, Name: "or", Args: "tt", Result: "t", Flags: Pure, Doc: "x | y"},
	{Op: OpXor, Name: "xor", Args: "tt", Result: "t", Flags: Pure, Doc: "x ^ y"},
	{Op: OpShl, Name: "shl", Args: "tw", Result: "t", Flags: Pure, Doc: "x << (y mod width)"},
	{Op: OpShr, Name: "shr", Args: "tw", Result: "t", Flags: Pure, Doc: "unsigned x >> (y mod width)"},
	{Op: OpSar, Name: "sar", Args: "tw", Result: "t", Flags: Pure, Doc: "signed x >> (y mod width)"},
	{Op: OpSExt8, Name: "sext8", Args: "t", Result: "t", Flags: Pure, Doc: "low 8 bits, sign-extended"},
	{Op: OpSExt16, Name: "sext16", Args: "t", Result: "t", Flags: Pure, Doc: "low 16 bits, sign-extended"},
	{Op: OpSExt32, Name: "sext32", Args: "w", Result: "d", Flags: Pure | Wide, Doc: "to 64 bits by the sign"},
	{Op: OpZExt32, Name: "zext32", Args: "w", Result: "d", Flags: Pure | Wide, Doc: "to 64 bits with zeros"},
	{Op: OpTrunc, Name: "trunc", Args: "d", Result: "w", Flags: Pure | Wide, Doc: "low half"},
	{Op: OpBSwap, Name: "bswap", Args: "t", Result: "t", Int: IntSuffix, Flags: Pure,
		Doc: "low Int bits byte-reversed, zero-extended; I32 for 16 and 32, I64 for 64"},

	{Op: OpEQ, Name: "eq", Args: "xx", Result: "w", Flags: Pure, Doc: "1 if x = y, else 0; x and y of one type, in this and the next six"},
	{Op: OpNE, Name: "ne", Args: "xx", Result: "w", Flags: Pure, Doc: "x differs from y"},
	{Op: OpULT, Name: "ult", Args: "xx", Result: "w", Flags: Pure, Doc: "unsigned x < y"},
	{Op: OpULE, Name: "ule", Args: "xx", Result: "w", Flags: Pure, Doc: "unsigned x <= y"},
	{Op: OpSLT, Name: "slt", Args: "xx", Result: "w", Flags: Pure, Doc: "signed x < y"},
	{Op: OpSLE, Name: "sle", Args: "xx", Result: "w", Flags: Pure, Doc: "signed x <= y"},
	{Op: OpTest, Name: "test", Args: "xx", Result: "w", Flags: Pure, Doc: "x & y is not 0"},
	{Op: OpSelect, Name: "select", Args: "wtt", Result: "t", Flags: Pure, Doc: "y if x is not 0, else z"},

	{Op: OpPacketStart, Name: "packetstart", Result: "w", Flags: Reads, Doc: "address of the packet's first byte"},
	{Op: OpPacketLen, Name: "packetlen", Result: "w", Flags: Reads, Doc: "length of the packet in bytes"},
	{Op: OpCtxLoad, Name: "ctxload", Result: "w", Sym: true, Flags: Reads, Doc: "context field Sym"},
	{Op: OpCtxStore, Name: "ctxstore", Args: "w", Result: "-", Sym: true, Flags: Effect, Doc: "context field Sym := x"},
	{Op: OpStackAddr, Name: "stackaddr", Result: "w", Int: IntOperand, Flags: Pure,
		Doc: "address of byte Int of this function's frame, counted from its bottom; the frame begins at a multiple of 64"},
	{Op: OpMapHandle, Name: "maphandle", Result: "w", Sym: true, Flags: Pure, Doc: "table id of map Sym"},
	{Op: OpMapValueAddr, Name: "mapvalueaddr", Args: "w?", Result: "d", Int: IntOperand, Sym: true, Flags: Pure,
		Doc: "address of byte Int, or Int + x, of the values of map Sym, counted from the first value's start"},
	{Op: OpCtxAddr, Name: "ctxaddr", Result: "d", Flags: Pure, Doc: "the context pointer as a number, not 0; passed on and compared, never followed"},

	{Op: OpLoad, Name: "load", Args: "a", Result: "v", Mem: true, Flags: Reads, Doc: "Size bytes, little-endian, zero-extended"},
	{Op: OpStore, Name: "store", Args: "av", Result: "-", Mem: true, Flags: Effect, Doc: "stores the low Size bytes of y, little-endian"},
	{Op: OpAtomic, Name: "atomic", Args: "avv?", Result: "v?", Int: IntAtomic, Mem: true, Flags: Effect,
		Doc: "memory := memory op y, or y, or y if memory = z; the old value with AtomicFetch. " +
			"Not Big in a map: the word is little-endian there, and other programs use it as a plain word"},

	{Op: OpCallHelper, Name: "helper", Args: "d*", Result: "d", Int: IntSuffix, Flags: Effect,
		Doc: "calls helper Int with r1 and so on as the helper takes them; Kinds encodes what pointers point to. Map handles are zero-extended table ids, " +
			"keys and values of map helpers are stack addresses, multiples of 4"},
	{Op: OpCallFunc, Name: "call", Args: "d*", Result: "d", Sym: true, Flags: Effect, Doc: "function Sym of this module, with as many arguments as its Params"},
	{Op: OpTailCall, Name: "tailcall", Args: "dw?", Result: "-", Sym: true, Flags: Effect,
		Doc: "continues in program x of map Sym, or of the map with handle y if Sym is empty; falls through if that fails"},

	{Op: OpAddHi, Name: "addhi", Args: "wwww", Result: "w", Flags: Pure, Doc: "xl, yl, xh, yh: xh + yh + carry of xl + yl"},
	{Op: OpSubHi, Name: "subhi", Args: "wwww", Result: "w", Flags: Pure, Doc: "xl, yl, xh, yh: xh - yh - borrow of xl - yl"},
	{Op: OpMulWide, Name: "mulwide", Args: "ww", Result: "p", Flags: Pure, Doc: "Tuple{low, high} of the unsigned product"},
	{Op: OpFunnel, Name: "funnel", Args: "www", Result: "w", Flags: Pure, Doc: "hi, lo, n: low half of hi:lo >> (n mod 32)"},
	{Op: OpULT64, Name: "ult64", Args: "wwww", Result: "w", Flags: Pure, Doc: "xl, xh, yl, yh: unsigned x < y"},
	{Op: OpSLT64, Name: "slt64", Args: "wwww", Result: "w", Flags: Pure, Doc: "xl, xh, yl, yh: signed x < y"},
	{Op: OpRead, Name: "read", Args: "a", Result: "p", Int: IntWords, Mem: true, Flags: Reads, Doc: "Int words from the address on, each little-endian"},
	{Op: OpWrite, Name: "write", Args: "aw*", Result: "-", Mem: true, Flags: Effect,
		Doc: "Size bytes from the address on: words, each little-endian, of the last one the low bytes"},
	{Op: OpPart, Name: "part", Args: "p", Result: "w", Int: IntSuffix, Flags: Pure, Doc: "part Int of a Tuple"},
}
