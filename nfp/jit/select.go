package jit

import (
	"fmt"
	"math/bits"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// Select translates legal ir to micro-engine instructions over virtual registers.
//
// Each value has one virtual register (each part of a Tuple its own). Block parameters
// are assigned on the edges; an edge from a block with two successors to one with
// several predecessors (a critical edge) has a block of its own. Constants, stack
// addresses and map handles have no register: each use computes them again, or encodes
// them in its instruction.
//
// Instructions that must stay adjacent are glued (Inst.Glue): a shift to the
// instruction before it, whose port A is the amount; the steps of a multiplication; a
// branch to the instructions for its slots.
//
// Conventions of its own:
//   - Frames lie at fixed offsets from A22, as functions do not recurse. LM0
//     points to the frame of the running function, except between the choice of
//     a key and the return of the helper that takes it.
//   - LM2 is for stack accesses out of LM0's reach, LM3 belongs to allocation.
//   - A call passes parameter i of the callee's I32 parameters in A(i/2) if i
//     is even and in B(i/2) if it is odd. The return address is in A5. The
//     callee returns r0 in A0 (low) and B0 (high).
//   - Each memory command waits for its own completion on the first free signal.
type selector struct {
	env       *backend
	f         *ir.Func
	out       *mach.Func
	blocks    []*mach.Block // by machine block number
	order     []int32       // numbers in layout order
	cur       int32
	pc        int32
	reg       []nfp.Operand   // by value number; Kind None if not assigned yet
	parts     [][]nfp.Operand // by value number, of Tuples
	uses      []int32
	used      []uint8 // by value number: mask of a Tuple's parts that are used
	looked    []int32 // by value number: fused comparisons with constants, of a field
	fused     []bool  // by value number: emitted with the branch or access that uses it
	lm2       int     // byte of the frame that LM2 points to, -1 unknown
	exits     map[uint32]int32
	exitOrder []uint32
	tail      int32 // block that turns a verdict into a result word, -1 none yet
	tailIn    nfp.Operand
	back      nfp.Operand // return address
	xfers     *xferPlan
	nextOut   int         // transfer register to send from next
	likely    int8        // that the branch being selected is taken: see Inst
	override  override    // constant in a register for indirect references
	room      []mach.Inst // see grow
}

// selectFunc compiles f; the functions it calls are in env.done already.
func selectFunc(env *backend, f *ir.Func, entry bool) *mach.Func {
	order := f.ReversePostorder()
	s := &selector{
		env: env, f: f, out: &mach.Func{Name: f.Name, Frame: f.Frame, Entry: entry, Jump: 1 + env.model.Branch},
		reg: make([]nfp.Operand, f.NextID), parts: make([][]nfp.Operand, f.NextID),
		used: make([]uint8, f.NextID), fused: make([]bool, f.NextID), looked: make([]int32, f.NextID),
		exits: map[uint32]int32{}, tail: -1, lm2: -1,
	}
	s.out.LM0 = entry || f.Frame > 0
	s.prepare(order)
	s.xfers = planXfers(s, order)
	for range f.NextBlock {
		s.blocks = append(s.blocks, &mach.Block{Next: -1})
	}
	depth := f.LoopDepths(order)
	for i, b := range order {
		s.begin(int32(b.ID))
		s.blocks[b.ID].Depth = depth[b.ID]
		s.pc = b.PC
		if i == 0 {
			s.prologue()
		}
		for j := range b.Values {
			s.pc = b.Values[j].PC
			s.value(b, j)
		}
		s.pc = b.PC
		s.terminator(b)
	}
	s.finish()
	return s.out
}

// begin continues in block n, which is laid out here.
func (s *selector) begin(n int32) {
	s.order = append(s.order, n)
	s.cur = n
	s.lm2 = -1
}

// block allocates a block without placing it.
func (s *selector) block() int32 {
	s.blocks = append(s.blocks, &mach.Block{Next: -1, Depth: s.blocks[s.cur].Depth})
	return int32(len(s.blocks) - 1)
}

// finish lays out shared exits, drops blocks that nothing reaches and numbers
// the rest in layout order.
func (s *selector) finish() {
	s.layExits()
	reached := make([]bool, len(s.blocks))
	stack := []int32{s.order[0]}
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if !reached[n] {
			reached[n] = true
			s.blocks[n].Succs(func(t int32) { stack = append(stack, t) })
		}
	}
	place := make([]int32, len(s.blocks))
	kept := int32(0)
	for _, n := range s.order {
		if reached[n] {
			place[n] = kept
			kept++
		}
	}
	for _, n := range s.order {
		if !reached[n] {
			continue
		}
		b := s.blocks[n]
		if b.Next >= 0 {
			b.Next = place[b.Next]
		}
		for j := range b.Insts {
			if b.Insts[j].To >= 0 {
				b.Insts[j].To = place[b.Insts[j].To]
			}
		}
		s.out.Blocks = append(s.out.Blocks, b)
	}
}

// prepare counts uses, folds addresses and comparisons into their users and removes
// values without uses.
func (s *selector) prepare(order []*ir.Block) {
	s.uses = s.f.Uses()
	for i := len(order) - 1; i >= 0; i-- {
		b := order[i]
		if b.Kind == ir.TermBranch {
			s.fuse(b.Cond)
		}
		for j := len(b.Values) - 1; j >= 0; j-- {
			v := b.Values[j]
			if s.uses[v.ID] == 0 && !v.Op.Is(ir.Effect) {
				for _, a := range v.Args {
					s.uses[a.ID]--
				}
				continue
			}
			switch v.Op {
			case ir.OpPart:
				s.used[v.Args[0].ID] |= 1 << v.Int
			case ir.OpSelect:
				s.fuse(v.Args[0])
			}
			if n := s.looked[v.ID]; n > 0 && n == s.uses[v.ID] {
				m, _ := constOf(v.Args[1])
				s.fused[v.ID] = true
				s.fuseShift(v.Args[0], bits.Len32(m))
			}
			s.foldAddress(v)
			s.foldShift(v)
		}
	}
}

// fuse marks a comparison used only by its branch or select, together with the
// operands that it can test directly: a negated comparison, a sum of bits, the field
// of a word.
func (s *selector) fuse(v *ir.Value) {
	for isCompare(v.Op) && s.uses[v.ID] == 1 {
		s.fused[v.ID] = true
		last := v.Args[len(v.Args)-1]
		n, ok := constOf(last)
		if !ok || v.Op != ir.OpEQ && v.Op != ir.OpNE {
			if ok && v.Op == ir.OpTest && isBit(n) {
				s.fuseShift(v.Args[0], 0)
			}
			return
		}
		v = v.Args[0]
		if s.uses[v.ID] > 1 && isField(v) {
			s.looked[v.ID]++
		}
		if s.uses[v.ID] != 1 || isCheap(v) {
			return
		}
		switch {
		case v.Op == ir.OpAnd:
			m, ok := constOf(v.Args[1])
			field := isField(v)
			if n != 0 && !field {
				return
			}
			s.fused[v.ID] = true
			if field {
				s.fuseShift(v.Args[0], bits.Len32(m))
			} else if ok && isBit(m) {
				s.fuseShift(v.Args[0], 0)
			}
			return
		case n == 0 && (v.Op == ir.OpOr || v.Op == ir.OpXor):
			s.fused[v.ID] = true
			return
		case n != 0:
			return
		}
	}
}

// isField reports whether v is the low byte or the low two of a word.
func isField(v *ir.Value) bool {
	if v.Op != ir.OpAnd {
		return false
	}
	m, ok := constOf(v.Args[1])
	return ok && (m == 0xff || m == 0xffff)
}

func isBit(n uint32) bool { return bits.OnesCount32(n) == 1 }

// fuseShift marks a right shift by a constant of which only a bit (width 0) or a field
// of whole bytes is used.
func (s *selector) fuseShift(v *ir.Value, width int) {
	if v.Op != ir.OpShr || s.uses[v.ID] != 1 {
		return
	}
	n, ok := constOf(v.Args[1])
	if n &= 31; ok && (width == 0 || n%8 == 0 && int(n)+width <= 32) {
		s.fused[v.ID] = true
	}
}

// foldShift marks a shift by a constant whose only use is a logic operation, which can
// shift its right operand. A field of whole bytes of a word is one operation too.
func (s *selector) foldShift(v *ir.Value) {
	if v.Op != ir.OpAnd && v.Op != ir.OpOr || s.fused[v.ID] {
		return
	}
	for i := range 2 {
		if x := v.Args[i]; (x.Op == ir.OpShl || x.Op == ir.OpShr) && s.uses[x.ID] == 1 && !s.fused[x.ID] {
			n, ok := constOf(x.Args[1])
			other, isConst := constOf(v.Args[1-i])
			if !ok || n&31 == 0 || isConst && other > 255 && !(v.Op == ir.OpAnd && x.Op == ir.OpShr && other == 0xffff) {
				continue
			}
			s.fused[x.ID] = true
			return
		}
	}
}

// atUsers reports whether v is computed at its uses, not at its definition.
func (s *selector) atUsers(v *ir.Value) bool { return s.fused[v.ID] }

// foldAddress takes a small constant offset into the access. From a map address
// it drops the carry: the high word of a map pointer is bits 39:8 of the table's
// base, and offsets within a table stay below 2^32.
func (s *selector) foldAddress(v *ir.Value) {
	if !v.Op.Row().Mem {
		return
	}
	replace := func(i int, by *ir.Value) {
		s.uses[v.Args[i].ID]--
		s.uses[by.ID]++
		v.Args[i] = by
	}
	if v.Space == ir.MapMem {
		for hi := v.Args[1]; hi.Op == ir.OpAddHi; hi = v.Args[1] {
			n, ok := constOf(hi.Args[3])
			c, okc := constOf(hi.Args[1])
			if !ok || !okc || n != 0 && (n != ^uint32(0) || c == 0) {
				break
			}
			replace(1, hi.Args[2])
		}
		return
	}
	addr := v.Args[0]
	if v.Space == ir.Packet {
		if _, ok := smallOffset(addr); ok { // the access uses the sum's operands, see packetAddress
			s.uses[addr.ID]--
			s.uses[addr.Args[0].ID]++
		}
	}
}

// maxCommandConst is the largest constant operand of a command.
const maxCommandConst = 127

// smallOffset reports whether v is a register plus a constant that fits the
// second operand of a command.
func smallOffset(v *ir.Value) (uint32, bool) {
	if v.Op != ir.OpAdd || isCheap(v.Args[0]) {
		return 0, false
	}
	n, ok := constOf(v.Args[1])
	return n, ok && n <= maxCommandConst
}

// isCheap reports whether a value is computed again at each use.
func isCheap(v *ir.Value) bool {
	return v.Op == ir.OpConst || v.Op == ir.OpStackAddr || v.Op == ir.OpMapHandle
}

func isCompare(op ir.Op) bool {
	switch op {
	case ir.OpEQ, ir.OpNE, ir.OpULT, ir.OpULE, ir.OpSLT, ir.OpSLE, ir.OpTest, ir.OpULT64, ir.OpSLT64:
		return true
	}
	return false
}

// unsupported records that the card cannot execute the instruction at pc. If
// hint is empty, the reason's own is used.
func (s *selector) unsupported(reason, message, hint string) {
	s.env.refuse(verify.Reason{Reason: reason, PC: int(s.pc), Message: message, Hint: hint})
}

// emit appends an instruction and returns it until the next one is appended.
func (s *selector) emit(in nfp.Inst) *mach.Inst {
	b := s.blocks[s.cur]
	if len(b.Insts) == cap(b.Insts) {
		b.Insts = s.grow(b.Insts)
	}
	b.Insts = append(b.Insts, mach.Inst{Inst: in, PC: s.pc, To: -1})
	return &b.Insts[len(b.Insts)-1]
}

// grow returns a block's list of instructions, which was full, with room for
// more. Lists are adjacent in s.room; the last one, which grows most often, need
// not move.
func (s *selector) grow(list []mach.Inst) []mach.Inst {
	const step, chunk = 8, 512
	n := len(list)
	if at := len(s.room) - n; n > 0 && at >= 0 && &s.room[at] == &list[0] && len(s.room)+step <= cap(s.room) {
		s.room = s.room[:len(s.room)+step]
		return s.room[at : at+n : len(s.room)]
	}
	if len(s.room)+n+step > cap(s.room) {
		s.room = make([]mach.Inst, 0, max(chunk, 2*(n+step)))
	}
	at := len(s.room)
	s.room = s.room[:at+n+step]
	copy(s.room[at:], list)
	return s.room[at : at+n : len(s.room)]
}

func (s *selector) newReg() nfp.Operand {
	s.out.VRegs++
	return nfp.Operand{Kind: nfp.Virtual, N: uint32(s.out.VRegs - 1)}
}

// dst is the register of v, which is defined here.
func (s *selector) dst(v *ir.Value) nfp.Operand {
	if s.reg[v.ID].Kind == nfp.None {
		s.reg[v.ID] = s.newReg()
	}
	return s.reg[v.ID]
}

// newDst is a general register for v, which is defined here.
func (s *selector) newDst(v *ir.Value) nfp.Operand {
	s.reg[v.ID] = s.newReg()
	return s.reg[v.ID]
}

// word is v in a register: a general one, a transfer register, or a word of the
// packet vector.
func (s *selector) word(v *ir.Value) nfp.Operand {
	switch v.Op {
	case ir.OpConst:
		return s.number(uint32(v.Int))
	case ir.OpStackAddr:
		return s.frameAddr(int(v.Int))
	case ir.OpMapHandle:
		t := s.newReg()
		s.handle(t, v.Sym)
		return t
	}
	return s.dst(v)
}

// inRegister returns o itself if it is a general register, else a copy.
func (s *selector) inRegister(o nfp.Operand) nfp.Operand {
	if o.Kind == nfp.Xfer || o.Kind == nfp.LM {
		t := s.newReg()
		s.move(t, o)
		return t
	}
	return o
}

// handle loads a map's table id.
func (s *selector) handle(dst nfp.Operand, sym string) *mach.Inst {
	in := s.emit(nfp.Inst{Op: nfp.OpImmed, Dst: dst})
	in.Reloc, in.Sym = nfp.RelocMap, sym
	return in
}

// operand is v as a source of an ALU operation: a register or a constant up to 255.
func (s *selector) operand(v *ir.Value) nfp.Operand {
	if n, ok := constOf(v); ok && n <= 255 {
		return mach.Const(n)
	}
	return s.word(v)
}

// number loads a constant into a new register.
func (s *selector) number(n uint32) nfp.Operand {
	t := s.newReg()
	s.load(t, n)
	return t
}

// load puts a constant in dst, one word or two. Condition codes stay.
func (s *selector) load(dst nfp.Operand, n uint32) {
	in := nfp.Inst{Op: nfp.OpImmed, Dst: dst}
	if !encodeImmed(&in, n) {
		in.Imm = n & 0xffff
		s.emit(in)
		in = nfp.Inst{Op: nfp.OpImmed, Fn: nfp.ImmedWord, Dst: dst, Imm: n >> 16, Amount: 16}
	}
	s.emit(in)
}

// encodeImmed sets the fields of an immed that loads n, if one does.
func encodeImmed(in *nfp.Inst, n uint32) bool {
	for _, shift := range [...]uint8{0, 8, 16} {
		if n>>shift<<shift == n && n>>shift <= 0xffff {
			in.Imm, in.Amount = n>>shift, shift
			return true
		}
	}
	if n >= 0xffff0000 {
		in.Imm, in.Flags = ^n, in.Flags|nfp.Invert
		return true
	}
	return false
}

// move is dst := src, leaving condition codes alone.
func (s *selector) move(dst, src nfp.Operand) *mach.Inst {
	return s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(nfp.ALUB), Dst: dst, B: src, Flags: nfp.NoCC})
}

// moveValue is dst := v.
func (s *selector) moveValue(dst nfp.Operand, v *ir.Value) {
	switch {
	case v.Op == ir.OpConst:
		s.load(dst, uint32(v.Int))
	case v.Op == ir.OpMapHandle:
		s.handle(dst, v.Sym)
	default:
		s.move(dst, s.word(v))
	}
}

// alu is dst := a op b. At most one of a and b may be a constant.
func (s *selector) alu(op nfp.ALUOp, dst, a, b nfp.Operand) *mach.Inst {
	if a.Kind == nfp.Const && b.Kind == nfp.Const {
		a = s.number(a.N)
	}
	a = s.apart(a, b)
	return s.emit(nfp.Inst{Op: nfp.OpALU, Fn: uint8(op), Dst: dst, A: a, B: b})
}

// shift is dst := a op (b shifted).
func (s *selector) shift(op nfp.ShfOp, dst, a, b nfp.Operand, kind nfp.ShiftKind, n uint8) *mach.Inst {
	a = s.apart(a, b)
	return s.emit(nfp.Inst{Op: nfp.OpShf, Fn: uint8(op), Dst: dst, A: a, B: b, Shift: kind, Amount: n})
}

// field merges bytes of src into dst; clear sets the others to zero.
func (s *selector) field(dst, src nfp.Operand, mask uint8, kind nfp.ShiftKind, n uint8, clear bool) {
	if dst.Kind == nfp.LM {
		src = s.apart(src, dst)
	}
	in := nfp.Inst{Op: nfp.OpLdField, Dst: dst, B: src, Mask: mask, Shift: kind, Amount: n}
	if n == 0 {
		in.Shift = nfp.ShiftNone
	}
	if clear {
		in.Flags = nfp.ClearOther
	}
	s.emit(in)
}

// jump ends the block with Next.
func (s *selector) jump(to int32) { s.blocks[s.cur].Next = to }

// branch ends the block: to the target if cond holds, else to a new block.
func (s *selector) branch(cond nfp.Cond, to int32) {
	in := s.emit(nfp.Inst{Op: nfp.OpBr, Fn: uint8(cond)})
	in.To = to
	next := s.block()
	s.jump(next)
	lm2 := s.lm2
	s.begin(next)
	s.lm2 = lm2
}

var none nfp.Operand

// prologue copies the arguments to the registers of the parameters.
func (s *selector) prologue() {
	if s.out.Entry {
		// Raw programs: r1 and r2 in pairs 2/3 and 4/5, of which bank A is read.
		for i, p := range s.f.Params {
			s.out.Params |= mach.BankA(2 + i)
			s.move(s.dst(p), mach.GPRA(uint32(2+i)))
		}
		return
	}
	s.out.Params = mach.BankA(returnReg)
	for i := range s.f.Params {
		s.out.Params |= argReg(i)
	}
	if s.out.LM0 {
		s.restoreLM0()
	}
	s.back = s.newReg()
	s.move(s.back, mach.GPRA(returnReg))
	for i, p := range s.f.Params {
		s.move(s.dst(p), argOperand(i))
	}
}

// Calls between functions: see selector.
const returnReg = 5

func argOperand(i int) nfp.Operand {
	if i%2 == 0 {
		return mach.GPRA(uint32(i / 2))
	}
	return mach.GPRB(uint32(i / 2))
}

func argReg(i int) mach.RegSet {
	n, _ := mach.Physical(argOperand(i))
	return 1 << n
}

// edge goes to e.To, passing its arguments.
func (s *selector) edge(e ir.Edge) {
	s.assign(e)
	s.jump(int32(e.To.ID))
}

// assign emits the copies of an edge, which happen in parallel: each is emitted when
// its destination is no longer needed as a source; if only cycles remain, one register
// is saved first.
func (s *selector) assign(e ir.Edge) {
	type copy struct {
		dst, src nfp.Operand
		value    *ir.Value
	}
	var todo []copy
	for i, a := range e.Args {
		p := e.To.Params[i]
		if s.uses[p.ID] == 0 {
			continue
		}
		c := copy{dst: s.dst(p), value: a}
		if !isCheap(a) {
			c.src = s.word(a)
			if c.src == c.dst {
				continue
			}
		}
		todo = append(todo, c)
	}
	needed := map[nfp.Operand]int{} // as a source
	for _, c := range todo {
		if c.src != none {
			needed[c.src]++
		}
	}
	for len(todo) > 0 {
		rest := todo[:0:0]
		for _, c := range todo {
			switch {
			case needed[c.dst] > 0:
				rest = append(rest, c)
			case c.src != none:
				s.move(c.dst, c.src)
				needed[c.src]--
			default:
				s.moveValue(c.dst, c.value)
			}
		}
		if len(rest) == len(todo) {
			t, old := s.newReg(), rest[0].dst
			s.move(t, old)
			needed[t], needed[old] = needed[old], 0
			for i := range rest {
				if rest[i].src == old {
					rest[i].src = t
				}
			}
		}
		todo = rest
	}
}

func (s *selector) terminator(b *ir.Block) {
	switch b.Kind {
	case ir.TermJump:
		s.leave(b.Succs[0])
	case ir.TermBranch:
		yes, no := s.target(b.Succs[0]), s.target(b.Succs[1])
		s.cond(b.Cond, yes.block, no.block)
		for _, t := range [...]pendingEdge{no, yes} {
			if t.edge != nil {
				s.begin(t.block)
				s.leave(*t.edge)
			}
		}
	case ir.TermReturn:
		s.ret(b.Result, b.ResultHi)
	case ir.TermAbort:
		if s.env.kind == ebpf.UnspecifiedProgram { // a guard that failed: stop the engine
			s.emit(nfp.Inst{Op: nfp.OpCtxArb, Flags: nfp.Breakpoint})
		}
		s.exit(s.env.abortWord())
	default:
		panic(fmt.Sprintf("select: %v has no terminator", b))
	}
}

// pendingEdge is a machine block to branch to; if edge is not nil, its copies are
// still to be emitted.
type pendingEdge struct {
	block int32
	edge  *ir.Edge
}

// target returns the target of a branch along e: the block itself if no argument is
// passed.
func (s *selector) target(e ir.Edge) pendingEdge {
	if w, ok := s.constantExit(e); ok {
		return pendingEdge{block: s.exitBlock(w)}
	}
	for _, p := range e.To.Params {
		if s.uses[p.ID] > 0 {
			return pendingEdge{s.block(), &e}
		}
	}
	return pendingEdge{block: int32(e.To.ID)}
}

// leave ends the block along e.
func (s *selector) leave(e ir.Edge) {
	if w, ok := s.constantExit(e); ok {
		s.exit(w)
		return
	}
	s.edge(e)
}

// constantExit reports whether e leads only to the return of a constant that it
// passes, and returns the result word of that.
func (s *selector) constantExit(e ir.Edge) (uint32, bool) {
	to := e.To
	if !s.out.Entry || s.f.Result != ir.I32 || to.Kind != ir.TermReturn || len(to.Values) > 0 || to.Result.Op != ir.OpParam {
		return 0, false
	}
	for i, p := range to.Params {
		if n, ok := constOf(e.Args[i]); p == to.Result && ok {
			return s.env.word(n), true
		}
	}
	return 0, false
}
