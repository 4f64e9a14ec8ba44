package ir

import (
	"errors"
	"fmt"
)

// Env is the environment of a program under Eval: packet, context, memories,
// maps and helpers. All numbers are little-endian in memory, counter words
// included: Value.Big has no effect here. Errors stop the evaluation.
type Env interface {
	// PacketStart is the address of the packet's first byte, PacketLen its length.
	PacketStart() uint32
	PacketLen() uint32
	// CtxLoad and CtxStore access the context field of that name.
	CtxLoad(field string) (uint32, error)
	CtxStore(field string, v uint32) error
	// StackBase is the address of the stack's bottom, a multiple of 64. Eval
	// places frames upward from it, each at a multiple of 64.
	StackBase() uint32
	// Load returns size bytes (1, 2, 4, 8) at addr, zero-extended; Store writes
	// the low size bytes of v.
	Load(space Space, addr uint64, size int) (uint64, error)
	Store(space Space, addr uint64, size int, v uint64) error
	// Atomic does op (its fetch flag may be set) on size bytes (4, 8) and returns
	// the old value; expected is for AtomicCmpXchg.
	Atomic(op AtomicOp, space Space, addr uint64, size int, v, expected uint64) (old uint64, err error)
	// Helper calls helper id with r1 to r5.
	Helper(id int32, args [5]uint64) (uint64, error)
	// TailCall continues in program index of the map with that handle; if taken, r0 is
	// that program's return value.
	TailCall(handle, index uint32) (r0 uint64, taken bool, err error)
	// MapHandle is a map's table id, MapValueAddr the address of byte off of its
	// values, counted from the first one's start. The high half is the same for all
	// bytes of a map.
	MapHandle(name string) (uint32, error)
	MapValueAddr(name string, off int64) (uint64, error)
}

// ErrBudget is the watchdog's error: more steps than allowed.
var ErrBudget = errors.New("step budget used up")

// maxDepth bounds calls in calls; the verifier allows eight.
const maxDepth = 64

// FrameAlign is the multiple at which frames begin, in bytes.
const FrameAlign = 64

// ctxAddr is the result of OpCtxAddr.
const ctxAddr = 1

// Outcome is how a program ended.
type Outcome struct {
	R0      uint64 // of an I32 result the low half, the high half is zero
	Aborted bool   // a classic packet load out of bounds; R0 is 0
	Steps   int    // values and terminators evaluated
}

// Eval runs m's entry with args (none, or r1 and r2 of a raw program) in env, for at
// most budget steps. It accepts a module that passed Check or CheckLegal: the types of
// values distinguish the two forms.
func Eval(m *Module, env Env, args []uint64, budget int) (Outcome, error) {
	e := &evaluator{mod: m, env: env, budget: budget}
	if len(m.Funcs) == 0 {
		return Outcome{}, errors.New("module has no functions")
	}
	r0, err := e.call(m.Funcs[0], args, env.StackBase(), 0)
	out := Outcome{R0: r0, Steps: e.steps}
	switch {
	case errors.Is(err, errAbort):
		out.R0, out.Aborted, err = 0, true, nil
	case errors.Is(err, errTail):
		out.R0, err = e.tail, nil
	}
	if m.Funcs[0].Result == I32 {
		out.R0 = uint64(uint32(out.R0))
	}
	return out, err
}

// How a function may end other than by returning or failing.
var (
	errAbort = errors.New("abort")
	errTail  = errors.New("tail call")
)

type evaluator struct {
	mod           *Module
	env           Env
	steps, budget int
	tail          uint64 // r0 of the program a tail call went on in
}

// activation is one call of a function.
type activation struct {
	e     *evaluator
	fn    *Func
	base  uint32     // of the frame
	depth int        // calls above
	nums  []uint64   // by value number; an I32 has zeros above
	parts [][]uint32 // of Tuples
}

func (e *evaluator) call(f *Func, args []uint64, base uint32, depth int) (uint64, error) {
	if depth > maxDepth {
		return 0, fmt.Errorf("func %s: calls nested too deep", f.Name)
	}
	a := &activation{e: e, fn: f, base: base, depth: depth, nums: make([]uint64, f.NextID)}
	if !a.params(args) {
		return 0, fmt.Errorf("func %s: %d arguments for %d parameters", f.Name, len(args), len(f.Params))
	}
	b := f.Blocks[0]
	for {
		for _, v := range b.Values {
			if err := e.step(); err != nil {
				return 0, err
			}
			n, err := a.value(v)
			if err != nil {
				if err == errAbort || err == errTail {
					return 0, err
				}
				return 0, fmt.Errorf("func %s: %s: %w", f.Name, v.Long(), err)
			}
			if v.Type == I32 {
				n = uint64(uint32(n))
			}
			a.nums[v.ID] = n
		}
		if err := e.step(); err != nil {
			return 0, err
		}
		var edge Edge
		switch b.Kind {
		case TermJump:
			edge = b.Succs[0]
		case TermBranch:
			edge = b.Succs[1]
			if a.nums[b.Cond.ID] != 0 {
				edge = b.Succs[0]
			}
		case TermReturn:
			r0 := a.nums[b.Result.ID]
			if b.ResultHi != nil {
				r0 |= a.nums[b.ResultHi.ID] << 32
			}
			return r0, nil
		case TermAbort:
			return 0, errAbort
		default:
			return 0, fmt.Errorf("func %s: %v has no terminator", f.Name, b)
		}
		a.pass(edge)
		b = edge.To
	}
}

func (e *evaluator) step() error {
	if e.steps >= e.budget {
		return ErrBudget
	}
	e.steps++
	return nil
}

// params fills the function's parameters from 64-bit arguments, two for each
// after legalize.
func (a *activation) params(args []uint64) bool {
	params := a.fn.Params
	if len(params) == 2*len(args) && len(params) > 0 && params[0].Type == I32 {
		for i, x := range args {
			a.nums[params[2*i].ID] = uint64(uint32(x))
			a.nums[params[2*i+1].ID] = x >> 32
		}
		return true
	}
	if len(params) != len(args) {
		return false
	}
	for i, x := range args {
		if params[i].Type == I32 {
			x = uint64(uint32(x))
		}
		a.nums[params[i].ID] = x
	}
	return true
}

// pass assigns an edge's arguments to its target's parameters, in parallel.
func (a *activation) pass(e Edge) {
	var small [16]uint64
	nums := small[:0]
	for _, v := range e.Args {
		nums = append(nums, a.nums[v.ID])
	}
	for i, p := range e.To.Params {
		a.nums[p.ID] = nums[i]
	}
}

// pair returns the 64-bit result of an operation: itself, or Tuple{low, high} after
// legalize.
func (a *activation) pair(v *Value, n uint64) uint64 {
	if v.Type == Tuple {
		a.tuple(v, uint32(n), uint32(n>>32))
	}
	return n
}

func (a *activation) tuple(v *Value, parts ...uint32) {
	if a.parts == nil {
		a.parts = make([][]uint32, a.fn.NextID)
	}
	a.parts[v.ID] = parts
}

// reader reads the arguments of a value one after the other, and combines
// halves.
type reader struct {
	a    *activation
	args []*Value
}

func (r *reader) word() uint64 {
	if len(r.args) == 0 {
		return 0
	}
	n := r.a.nums[r.args[0].ID]
	r.args = r.args[1:]
	return n
}

// wide reads an I64, or two I32, low then high.
func (r *reader) wide() uint64 {
	if len(r.args) == 0 || r.args[0].Type == I64 {
		return r.word()
	}
	low := r.word()
	return low | r.word()<<32
}

func (r *reader) addr(s Space) uint64 {
	if s == MapMem {
		return r.wide()
	}
	return r.word()
}

func (r *reader) sized(size uint8) uint64 {
	if size == 8 {
		return r.wide()
	}
	return r.word()
}
