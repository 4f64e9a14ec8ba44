package mach

import (
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// Symbolic execution of machine instructions, for checkSchedule and checkMotion.
//
// The state gives each resource (effects.go numbers them) a term: what it held at the
// start, or an instruction applied to terms. Two executions that end with equal terms
// computed the same. What an instruction reads and writes comes from the instruction's
// row in the form table, not from effectOf, by which the passes order, so that the
// checkers find a mistake there.
//
//   - A command reads its address where it stands and the data that it sends after its
//     slots. The data that it brings arrive with the wait for its signal; until then
//     the registers that it fills must not be read, nor those that it sends be written.
//   - LM0 reaches the frame's words, LM1 the packet vector, LM3 the spill slots, and LM2
//     any word of the stack, the frame included. Terms of what is stored and loaded
//     contain the pointer.
//   - A call reads its registers and all memory, and may change what CallSite says.
//   - Commands, waits, calls, accesses to control registers and steps of a
//     multiplication are events: the state lists them in order.

// executor is the state of one function in symbolic execution.
type executor struct {
	*terms
	side   int32 // which of two functions this is
	holds  contents
	alias  map[term]term // other names of terms
	frame  term          // LM0 at the start
	events []event

	flight  [16]flight // outstanding commands, by signal
	filling uint32     // in-registers that they fill
	sending uint32     // out-registers that they send
	afterRd bool       // the last instruction read a control register
	args    []term     // for reuse
}

// contents is a term for each resource.
type contents [resCount + 1]term

// resPrevious is the state that an instruction passes to the next one.
const resPrevious = resCount

// event is an instruction whose order matters. Its term has all that it reads.
type event struct {
	in   *Inst
	term term
	base term // the term without the number of equal ones before it
}

// flight is an outstanding command.
type flight struct {
	term    term
	in, out uint32
	active  bool
}

// start returns the state in which each resource holds its initial value.
func (t *terms) start() *executor {
	x := &executor{terms: t}
	for r := range x.holds {
		x.holds[r] = initial(r)
	}
	x.frame = x.holds[resPointer]
	return x
}

// execute executes instructions in the order in which they take effect. None but calls
// may branch.
func (x *executor) execute(insts []*Inst) error {
	for i := 0; i < len(insts); i++ {
		in := insts[i]
		if !in.Swaps() {
			if err := x.step(in); err != nil {
				return err
			}
			continue
		}
		n := in.Inst.Slots()
		if n > len(insts)-i-1 {
			return lostSlots(in)
		}
		if err := x.swap(in, insts[i+1:i+1+n]); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// swap executes an instruction that gives the engine away, with its slots.
func (x *executor) swap(in *Inst, slots []*Inst) error {
	var address [8]term
	args, err := x.operands(address[:0], in)
	switch {
	case err != nil:
		return err
	case len(slots) > nfp.SwapSlots:
		return fmt.Errorf("%s: has %d slots", in.text(), len(slots))
	}
	if err := x.steps(slots); err != nil {
		return err
	}
	if in.Op != nfp.OpCmd {
		x.wait(in)
		x.effect(resCodes, x.lastEvent()) // never stands between what sets them and what tests them
		return nil
	}
	if err := x.issue(in, args); err != nil {
		return err
	}
	if in.Cmd.Sig != 0 {
		x.wait(&Inst{Inst: nfp.Inst{Op: nfp.OpCtxArb, Imm: 1 << in.Cmd.Sig}, In: in.In, Out: in.Out, PC: in.PC, To: -1})
	}
	return nil
}

func lostSlots(in *Inst) error { return fmt.Errorf("%s: has lost its slots", in.text()) }

// steps executes the instructions in slots.
func (x *executor) steps(slots []*Inst) error {
	for _, in := range slots {
		if err := x.step(in); err != nil {
			return err
		}
	}
	return nil
}

// step executes an instruction that does not swap.
func (x *executor) step(in *Inst) error {
	if in.Swaps() {
		return fmt.Errorf("%s: gives the engine away in a slot", in.text())
	}
	args, err := x.operands(x.args[:0], in)
	x.args = args
	switch {
	case err != nil:
		return err
	case in.Op == nfp.OpCmd:
		return x.issue(in, args)
	case in.Branches():
		x.call(in, args)
		return nil
	}
	n := node{kind: resultTerm, word: x.word(in), res: -1}
	if inOrder(in) {
		n.kind, n.nth = eventTerm, x.event(in, n, args)
	}
	return x.write(in, n, args)
}

// operands appends the terms that an instruction reads: its operands with the pointers
// that they need, the old destination if part of it stays, condition codes, and what
// the instruction before it passes on.
func (x *executor) operands(args []term, in *Inst) ([]term, error) {
	var err error
	for _, o := range [...]nfp.Operand{in.A, in.B} {
		if args, err = x.read(args, o); err != nil {
			return args, fmt.Errorf("%s: %w", in.text(), err)
		}
	}
	if in.Dst.Kind == nfp.LM {
		args = append(args, x.holds[resPointer+int(in.Dst.Ptr)])
	}
	if r := destination(in.Dst); r >= 0 && in.ReadsDst() {
		args = append(args, x.holds[r])
	}
	if in.ReadsCC() {
		args = append(args, x.holds[resCodes])
	}
	if in.ReadsPrevious() || x.afterRd {
		args = append(args, x.holds[resPrevious])
	}
	if in.Op == nfp.OpCSRRead {
		args = append(args, x.holds[resCSR])
	}
	return args, nil
}

// read appends an operand's value.
func (x *executor) read(args []term, o nfp.Operand) ([]term, error) {
	if r, ok := Physical(o); ok {
		return append(args, x.holds[resGPR+r]), nil
	}
	switch o.Kind {
	case nfp.None, nfp.Const:
		return args, nil
	case nfp.Xfer:
		if x.filling>>o.N&1 != 0 {
			return args, fmt.Errorf("%v has not arrived", o)
		}
		return append(args, x.holds[resIn+int(o.N&31)]), nil
	case nfp.LM:
		args = append(args, x.holds[resPointer+int(o.Ptr)], x.holds[destination(o)])
		if o.Ptr == 2 {
			args = append(args, x.holds[resFrame:resFrame+16]...)
		}
		return args, nil
	}
	return args, fmt.Errorf("%v is no operand of a program", o)
}

// destination returns the resource that an operand denotes as a destination, -1 if it
// is none. For LM2 it is the stack as a whole.
func destination(o nfp.Operand) int {
	switch o.Kind {
	case nfp.GPRA, nfp.GPRB:
		n, _ := Physical(o)
		return resGPR + n
	case nfp.Xfer:
		return resOut + int(o.N&31)
	case nfp.LM:
		return [...]int{resFrame + int(o.N&15), resVector + int(o.N&15), resStack, resSpill + int(o.N&15)}[o.Ptr&3]
	}
	return -1
}

// write applies the effect of an instruction with result n(args).
func (x *executor) write(in *Inst, n node, args []term) error {
	set := func(r int, extra ...term) {
		n.res = int16(r)
		x.set(r, x.intern(n, args, extra...))
	}
	var dests [2]nfp.Operand
	for _, o := range in.Dests(dests[:0]) {
		r := destination(o)
		switch {
		case r < 0 && o.Kind != nfp.Const:
			return fmt.Errorf("%s: %v is no destination of a program", in.text(), o)
		case o.Kind == nfp.Xfer && x.sending>>o.N&1 != 0:
			return fmt.Errorf("%s: %v is still being sent", in.text(), o)
		case o.Kind == nfp.LM && x.oneOfMany(o): // the others stay
			set(r, x.holds[r])
			for k := resFrame; o.Ptr == 2 && k < resFrame+16; k++ {
				set(k, x.holds[k])
			}
		case r >= 0:
			set(r)
		}
	}
	switch {
	case in.WritesCC() && in.DeadCC:
		x.holds[resCodes] = x.intern(node{kind: deadTerm, word: x.side, res: resCodes}, nil)
	case in.WritesCC():
		set(resCodes)
	}
	if in.Op == nfp.OpCSRRead {
		set(resCSR)
	}
	for _, o := range [...]nfp.Operand{in.A, in.B, in.Dst} {
		if o.Kind == nfp.LM && o.Mod != 0 {
			set(resPointer + int(o.Ptr))
		}
	}
	if in.Op == nfp.OpCSRWrite {
		for p, csr := range PointerCSR {
			if in.Imm == csr {
				set(resPointer + p)
			}
		}
	}
	n.res = -1
	x.holds[resPrevious] = x.intern(n, args)
	x.afterRd = in.Op == nfp.OpCSRRead
	return nil
}

// oneOfMany reports whether a store changes one of the words that a resource stands
// for: those of LM3's windows, of the stack, and of the frame if LM0 moved.
func (x *executor) oneOfMany(o nfp.Operand) bool {
	return o.Ptr >= 2 || o.Ptr == 0 && x.holds[resPointer] != x.frame
}

// set makes a resource hold a term.
func (x *executor) set(r int, t term) {
	if held, ok := x.alias[t]; ok {
		t = held
	}
	x.holds[r] = t
}

// event appends an event with all that it reads, and returns how many equal ones came
// before.
func (x *executor) event(in *Inst, n node, args []term) int32 {
	n.kind, n.nth = eventTerm, 0
	base := x.intern(n, args)
	for i := range x.events {
		if x.events[i].base == base {
			n.nth++
		}
	}
	x.events = append(x.events, event{in, x.intern(n, args), base})
	return n.nth
}

// lastEvent returns the term of the event that was appended last.
func (x *executor) lastEvent() term { return x.events[len(x.events)-1].term }

// effect makes a resource hold something that follows from an event and nothing else.
func (x *executor) effect(r int, event term) {
	x.set(r, x.intern(node{kind: eventTerm, word: wordEffect, res: int16(r)}, nil, event))
}

func (x *executor) effects(first int, mask uint32, event term) {
	for k := range 32 {
		if mask>>k&1 != 0 {
			x.effect(first+k, event)
		}
	}
}

// issue executes a command, whose operands are args.
func (x *executor) issue(in *Inst, args []term) error {
	for k := range 32 {
		if in.Out>>k&1 != 0 {
			args = append(args, x.holds[resOut+k])
		}
	}
	x.event(in, node{word: x.word(in), res: -1}, args)
	t := x.lastEvent()
	x.holds[resPrevious], x.afterRd = t, false
	sig := in.Cmd.Sig & 15
	switch {
	case x.filling&in.In != 0:
		return fmt.Errorf("%s: fills registers that another command fills", in.text())
	case sig == 0: // there is no wait, or addWaits has not run yet
		x.effects(resIn, in.In, t)
		return nil
	case x.flight[sig].active:
		return fmt.Errorf("%s: signal %d is taken", in.text(), sig)
	}
	x.flight[sig] = flight{t, in.In, in.Out, true}
	x.filling |= in.In
	x.sending |= in.Out
	x.effect(resSignal+int(sig), t)
	return nil
}

// wait executes the wait for the commands with the signals in.Imm. It stands for those
// that were issued before the start: of their data nothing is known but that they
// arrive now.
func (x *executor) wait(in *Inst) {
	args := x.args[:0]
	for n := range x.flight {
		if in.Imm>>n&1 != 0 {
			args = append(args, x.holds[resSignal+n])
		}
	}
	x.args = args
	x.event(in, node{word: x.word(in), res: -1}, args)
	t := x.lastEvent()
	ins, outs := in.In, in.Out
	for n := range x.flight {
		if in.Imm>>n&1 == 0 {
			continue
		}
		x.effect(resSignal+n, t)
		if c := x.flight[n]; c.active {
			x.effects(resIn, c.in, c.term)
			ins, outs = ins&^c.in, outs&^c.out
			x.filling &^= c.in
			x.sending &^= c.out
			x.flight[n] = flight{}
		}
	}
	x.effects(resIn, ins&^x.filling, t)
	x.effects(resOut, outs&^x.sending, t)
	x.holds[resPrevious], x.afterRd = t, false
}

// call executes a call or return with the operands args: it takes its registers and all
// memory, and changes what CallSite says. In a function that moves LM0 the frame's words
// are left out of calls: where LM0 was when they were written is known within a stretch
// only, and equal functions would differ.
func (x *executor) call(in *Inst, args []term) {
	site := in.Call
	if site == nil {
		site = &CallSite{}
	}
	args = x.given(args, site.Uses, resIn, resFrame)
	if !x.moves0 || in.Op == nfp.OpRtn {
		args = append(args, x.holds[resFrame:resFrame+16]...)
	}
	args = x.given(args, 0, resFrame+16, resCount)
	x.event(in, node{word: x.word(in), res: -1}, args)
	t := x.lastEvent()
	for r := range 64 {
		if site.Clobbers>>r&1 != 0 {
			x.effect(resGPR+r, t)
		}
	}
	x.effects(resIn, 1<<32-1, t)
	x.effects(resOut, 1<<32-1, t)
	x.effects(resFrame, 1<<16-1, t)
	if site.movesVector() {
		x.effects(resVector, 1<<16-1, t)
	}
	for _, r := range [...]int{resStack, resPointer + 2, resPointer + 3, resCodes} {
		x.effect(r, t)
	}
	if site.Moves0 {
		x.effect(resPointer, t)
	}
	x.holds[resPrevious], x.afterRd = t, false
}

// exit executes the branch to the firmware: it is given the result and the packet
// vector.
func (x *executor) exit(in *Inst) {
	args := x.given(nil, in.Call.Uses, resVector, resVector+16)
	x.event(in, node{word: wordExit, res: -1}, args)
}

// given appends the values of registers and of the resources [from, to), condition
// codes left out.
func (x *executor) given(args []term, regs RegSet, from, to int) []term {
	for r := range 64 {
		if regs>>r&1 != 0 {
			args = append(args, x.holds[resGPR+r])
		}
	}
	for r := from; r < to; r++ {
		if r != resCodes {
			args = append(args, x.holds[r])
		}
	}
	return args
}

// test returns the term of a branch's condition.
func (x *executor) test(br *Inst) (term, error) {
	args, err := x.read(nil, br.A)
	if err != nil {
		return noTerm, fmt.Errorf("%s: %w", br.text(), err)
	}
	if br.ReadsCC() {
		args = append(args, x.holds[resCodes])
	}
	return x.intern(node{kind: resultTerm, word: x.word(br), res: -1}, args), nil
}

// inOrder reports whether an instruction's order among others like it matters.
func inOrder(in *Inst) bool {
	switch in.Op {
	case nfp.OpCmd, nfp.OpCtxArb, nfp.OpCSRRead, nfp.OpCSRWrite, nfp.OpMul:
		return true
	}
	return false
}
