package ir

import (
	"errors"
	"fmt"
)

// Check reports every invariant that m breaks. They hold after lifting and after each
// pass:
//
//   - Function names are unique. A call names a function of the module, passes
//     one argument for each of its Params, and nothing calls Funcs[0].
//   - A function has blocks; numbers of blocks and of values are unique and
//     below NextBlock and NextID. Frame is a multiple of 8.
//   - The first block has no Params and no predecessors. Params are OpParam,
//     numbered by position, of type I32 or I64; OpParam occurs nowhere else.
//   - A block has a terminator with as many Succs as it needs, to blocks of the
//     function. A branch's condition is I32; a return has a result of the
//     function's type; fields that a terminator does not use are nil.
//   - An edge has one argument of the same type for each of its target's Params.
//   - A value's arguments and type match its operation's row; a field that
//     the row does not name is zero.
//   - A value is defined once, and its definition dominates every use: the use
//     is later in the same block, or in a block that the definition's block
//     dominates. An edge's arguments are uses at the end of the block it
//     leaves. Uses in unreachable blocks must only be of values that exist.
//   - An access has a space and a size its operation allows; Big appears only on
//     maps' memory and on stores to the stack, and not on atomics elsewhere.
//   - Symbols are not empty, except of a tail call with a handle.
//
// CheckLegal requires the legal form in addition.
func Check(m *Module) error { return checkModule(m, false) }

// CheckLegal checks what holds from legalize on. Beyond Check:
//
//   - No value is I64 and no operation is marked Wide.
//   - A former I64 is two I32, low then high, among arguments, parameters and
//     returned values, and Tuple{low, high} among the results of operations.
//   - A Tuple is used by Part alone, with an index below its number of parts.
func CheckLegal(m *Module) error { return checkModule(m, true) }

// maxErrors bounds the number of errors of one Check.
const maxErrors = 20

type checker struct {
	mod   *Module
	legal bool
	fn    *Func
	errs  []error
	home  []*Block // defining block, by value number
	place []int32  // by value number: position in its block, -1 for parameters
	def   []*Value
}

func checkModule(m *Module, legal bool) error {
	c := &checker{mod: m, legal: legal}
	if len(m.Funcs) == 0 {
		return errors.New("module has no functions")
	}
	seen := map[string]bool{}
	for _, f := range m.Funcs {
		if seen[f.Name] {
			return fmt.Errorf("func %s is defined twice", f.Name)
		}
		seen[f.Name] = true
	}
	for _, f := range m.Funcs {
		c.fn = f
		if c.shape() {
			c.values()
			c.terminators()
			c.dominance()
		}
	}
	return errors.Join(c.errs...)
}

// fail reports an error at a value, a block or the function itself.
func (c *checker) fail(at any, format string, args ...any) {
	if len(c.errs) < maxErrors {
		c.errs = append(c.errs, fmt.Errorf("func %s: %v: %s", c.fn.Name, at, fmt.Sprintf(format, args...)))
	}
}

// shape checks numbers and edges, so that tables by number can be used; it
// reports whether they can.
func (c *checker) shape() bool {
	f, before := c.fn, len(c.errs)
	if len(f.Blocks) == 0 {
		c.fail("entry", "no blocks")
		return false
	}
	if f.Frame < 0 || f.Frame%8 != 0 {
		c.fail("frame", "%d bytes, not a multiple of 8", f.Frame)
	}
	if f.Result != I32 && f.Result != I64 {
		c.fail("result", "type %v", f.Result)
	}
	blocks := make([]*Block, max(f.NextBlock, 0))
	for _, b := range f.Blocks {
		if b.ID < 0 || b.ID >= f.NextBlock || blocks[b.ID] != nil {
			c.fail(b, "block number used twice, or not below NextBlock")
			return false
		}
		blocks[b.ID] = b
	}
	for _, b := range f.Blocks {
		for _, e := range b.Succs {
			if e.To == nil || e.To.ID < 0 || e.To.ID >= f.NextBlock || blocks[e.To.ID] != e.To {
				c.fail(b, "edge to a block outside the function")
			} else if e.To == f.Blocks[0] {
				c.fail(b, "edge to the entry block")
			}
		}
	}
	c.define()
	return len(c.errs) == before
}

// define records the block that defines each value.
func (c *checker) define() {
	f, before := c.fn, len(c.errs)
	n := max(f.NextID, 0)
	c.home, c.place, c.def = make([]*Block, n), make([]int32, n), make([]*Value, n)
	note := func(b *Block, v *Value, place int32) {
		switch {
		case v == nil:
			c.fail(b, "nil value")
		case v.ID < 0 || v.ID >= n:
			c.fail(v, "value number not below NextID")
		case c.def[v.ID] != nil:
			c.fail(v, "defined twice")
		default:
			c.home[v.ID], c.place[v.ID], c.def[v.ID] = b, place, v
		}
	}
	for _, v := range f.Params {
		note(f.Blocks[0], v, -1)
	}
	for i, b := range f.Blocks {
		if i == 0 && len(b.Params) > 0 {
			c.fail(b, "entry block has parameters")
		}
		for _, v := range b.Params {
			note(b, v, -1)
		}
		for j, v := range b.Values {
			note(b, v, int32(j))
		}
	}
	if len(c.errs) > before {
		return
	}
	for _, b := range f.Blocks {
		b.Operands(func(v **Value) {
			if *v == nil || (*v).ID < 0 || (*v).ID >= n || c.def[(*v).ID] != *v {
				c.fail(b, "%v is used but not defined in the function", *v)
			}
		})
	}
}

func (c *checker) values() {
	c.params(c.fn.Params)
	for _, b := range c.fn.Blocks {
		c.params(b.Params)
		for _, v := range b.Values {
			c.fields(v)
			c.signature(v)
			c.specific(v)
		}
	}
}

func (c *checker) params(params []*Value) {
	for i, v := range params {
		if v.Op != OpParam || v.Int != int64(i) || len(v.Args) > 0 {
			c.fail(v, "parameter %d is %s %d", i, v.Op, v.Int)
		}
		if v.Type != I32 && (v.Type != I64 || c.legal) {
			c.fail(v, "parameter of type %v", v.Type)
		}
	}
}

// fields checks that v sets only the fields that its operation's row names, to
// valid values.
func (c *checker) fields(v *Value) {
	row := v.Op.Row()
	if row.Name == "" || v.Op == OpParam {
		c.fail(v, "operation %v in a block", v.Op)
		return
	}
	if row.Int == NoInt && v.Int != 0 {
		c.fail(v, "%v has no integer", v.Op)
	}
	if !row.Sym && v.Sym != "" {
		c.fail(v, "%v has no symbol", v.Op)
	}
	if row.Sym && v.Sym == "" && !(v.Op == OpTailCall && len(v.Args) == 2) {
		c.fail(v, "symbol is empty")
	}
	if (v.Kinds != 0 || v.Reach != 0) && v.Op != OpCallHelper {
		c.fail(v, "%v has no kinds", v.Op)
	}
	if !row.Mem {
		if v.Space != NoSpace || v.Size != 0 || v.Big || v.Align != 0 || v.Phase != 0 {
			c.fail(v, "%v is no memory access", v.Op)
		}
		return
	}
	c.access(v)
}

func (c *checker) access(v *Value) {
	sizes := uint64(1<<1 | 1<<2 | 1<<4 | 1<<8)
	switch v.Op {
	case OpAtomic:
		sizes = 1<<4 | 1<<8
	case OpRead:
		sizes = 1 << 0
	case OpWrite:
		sizes = 1<<(maxWords*4+1) - 2
	}
	if v.Space == NoSpace || v.Space > MapMem {
		c.fail(v, "no space")
	}
	if v.Size > 63 || sizes>>v.Size&1 == 0 {
		c.fail(v, "size %d", v.Size)
	}
	store := v.Op == OpStore || v.Op == OpWrite
	if v.Big && v.Space != MapMem && !(v.Space == Stack && store) {
		c.fail(v, "big access to %v", v.Space)
	}
	if a := v.Align; a > 8 || a&(a-1) != 0 || v.Phase != 0 && v.Phase >= a {
		c.fail(v, "align %d phase %d", v.Align, v.Phase)
	}
}

// maxWords is the largest number of words that one Read or Write moves: that of
// a memory command without length override.
const maxWords = 8

// specific checks the invariants that signatures do not express.
func (c *checker) specific(v *Value) {
	switch v.Op {
	case OpConst:
		if v.Type == I32 && (v.Int < -1<<31 || v.Int >= 1<<32) {
			c.fail(v, "constant %d does not fit %v", v.Int, v.Type)
		}
	case OpBSwap:
		if want := map[int64]Type{16: I32, 32: I32, 64: I64}[v.Int]; want != v.Type {
			c.fail(v, "bswap.%d of type %v", v.Int, v.Type)
		}
	case OpAtomic:
		a := AtomicOp(v.Int)
		if v.Int < 0 || a.Base() > AtomicCmpXchg || v.Int > 0xff || a.Base() >= AtomicXchg && !a.Fetches() {
			c.fail(v, "atomic operation %#x", v.Int)
		}
		if !a.Fetches() && v.Type != Void {
			c.fail(v, "result without fetch")
		}
		if v.Space == Packet {
			c.fail(v, "atomic access to the packet")
		}
	case OpStackAddr:
		if v.Int < 0 || v.Int > int64(c.fn.Frame) {
			c.fail(v, "stack address %d outside the frame of %d bytes", v.Int, c.fn.Frame)
		}
	case OpRead:
		if v.Int < 1 || v.Int > maxWords {
			c.fail(v, "read of %d words", v.Int)
		}
	case OpPart:
		if len(v.Args) == 1 && (v.Int < 0 || v.Int >= Parts(v.Args[0])) {
			c.fail(v, "part %d of %v, which has %d", v.Int, v.Args[0], Parts(v.Args[0]))
		}
	case OpCallFunc:
		c.call(v)
	}
}

func (c *checker) call(v *Value) {
	callee := c.mod.Func(v.Sym)
	if callee == nil {
		c.fail(v, "call of unknown function %s", v.Sym)
		return
	}
	if callee == c.mod.Funcs[0] {
		c.fail(v, "call of the program's entry")
	}
	if len(v.Args) != len(callee.Params) {
		c.fail(v, "%d arguments for the %d parameters of %s", len(v.Args), len(callee.Params), v.Sym)
	}
}

// Parts is the number of parts of a Tuple value.
func Parts(v *Value) int64 {
	switch {
	case v.Type != Tuple:
		return 0
	case v.Op == OpRead:
		return v.Int
	}
	return 2
}

func (c *checker) terminators() {
	for _, b := range c.fn.Blocks {
		succs := map[TermKind]int{TermJump: 1, TermBranch: 2}[b.Kind]
		if b.Kind == TermNone || b.Kind > TermAbort {
			c.fail(b, "no terminator")
			continue
		}
		if len(b.Succs) != succs {
			c.fail(b, "%d successors, want %d", len(b.Succs), succs)
		}
		if (b.Kind == TermBranch) != (b.Cond != nil) || (b.Kind == TermReturn) != (b.Result != nil) {
			c.fail(b, "terminator with a wrong operand")
		} else if b.Kind == TermBranch && b.Cond.Type != I32 {
			c.fail(b, "condition of type %v", b.Cond.Type)
		}
		c.result(b)
		for _, e := range b.Succs {
			c.edge(b, e)
		}
	}
}

// result checks the operands of a return.
func (c *checker) result(b *Block) {
	if b.Result == nil {
		if b.ResultHi != nil {
			c.fail(b, "high half of no result")
		}
		return
	}
	pair := c.legal && c.fn.Result == I64
	want := c.fn.Result
	if c.legal {
		want = I32
	}
	if b.Result.Type != want || pair != (b.ResultHi != nil) || pair && b.ResultHi.Type != I32 {
		c.fail(b, "returns a value of type %v, want %v", b.Result.Type, c.fn.Result)
	}
}

func (c *checker) edge(b *Block, e Edge) {
	if len(e.Args) != len(e.To.Params) {
		c.fail(b, "%d arguments for the %d parameters of %v", len(e.Args), len(e.To.Params), e.To)
		return
	}
	for i, a := range e.Args {
		if a.Type != e.To.Params[i].Type {
			c.fail(b, "%v of type %v for %v of type %v", a, a.Type, e.To.Params[i], e.To.Params[i].Type)
		}
	}
}

// dominance checks that every definition dominates its uses.
func (c *checker) dominance() {
	dom := c.fn.Dominators()
	for _, b := range c.fn.Blocks {
		if !dom.Reachable(b) {
			continue
		}
		for i, v := range b.Values {
			for _, a := range v.Args {
				home := c.home[a.ID]
				if home == b && c.place[a.ID] >= int32(i) || !dom.Dominates(home, b) {
					c.fail(v, "%v does not dominate its use", a)
				}
			}
		}
		end := *b
		end.Values = nil
		end.Operands(func(v **Value) {
			if !dom.Dominates(c.home[(*v).ID], b) {
				c.fail(b, "%v does not dominate its use", *v)
			}
		})
	}
}
