package verify

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

// call explores the callee of block bl's last instruction from the given states,
// in place, and delivers the states at its exits.
func (x *explorer) call(a *activation, states []*state, bl *block) {
	i := bl.end - 1
	callee := x.c.Insns[i].Callee
	if states[0].cur+1 >= maxFrames {
		x.fail(states[0], i, "call-depth", "call is %d frames deep; %d are allowed", states[0].cur+2, maxFrames)
		return
	}
	var in []*state
	for _, s := range states {
		x.noteCall(s, i)
		x.enterFrame(s, i)
		in = x.gather(in, s)
	}
	for _, s := range x.run(callee, in) {
		x.deliver(a, bl.succs[0], s)
	}
}

// enterFrame sets up the frame and registers of the callee of call i.
func (x *explorer) enterFrame(s *state, i int) {
	after, entry := x.live[i+1], x.live[x.c.Funcs[x.c.Insns[i].Callee].Start]
	f := newFrame(int32(i))
	for r := range f.saved {
		if after&(1<<(r+6)) != 0 {
			f.saved[r] = s.regs[r+6]
		}
	}
	s.cur++
	s.frames[s.cur] = f
	s.regs[asm.R0] = val{}
	for r := asm.R1; r <= asm.R9; r++ {
		if r > asm.R5 || entry&(1<<r) == 0 {
			s.regs[r] = val{}
		}
	}
	s.regs[asm.R10] = pointer(PtrStack)
	s.regs[asm.R10].frame = int8(s.cur)
}

// exit ends a path of a function: of the program, or back to the caller.
func (x *explorer) exit(a *activation, s *state, i int) {
	if s.cur == 0 {
		x.verdict(s, i)
		x.drop(s)
		return
	}
	x.leaveFrame(s, i)
	a.out = x.gather(a.out, s)
}

// verdict checks the program's return value.
func (x *explorer) verdict(s *state, i int) {
	r0 := x.result(s, i)
	if r0.pointer() && x.c.Type != ebpf.UnspecifiedProgram && !x.opt.Linux { // Linux lets the privileged leak addresses
		x.fail(s, i, "exit-value", "r0 is %s at exit, not a number", r0.kind.Phrase())
	}
	x.noteExit(s, i)
}

// leaveFrame restores the caller's registers.
func (x *explorer) leaveFrame(s *state, i int) {
	x.noteExit(s, i)
	r0 := &s.regs[asm.R0]
	if r0.kind == PtrStack && int(r0.frame) == s.cur {
		x.fail(s, i, "stack-pointer-escape", "pointer to this function's stack is returned to its caller")
		*r0 = scalar(anyNum())
	}
	f := s.frames[s.cur]
	s.frames[s.cur] = nil
	s.cur--
	for r := asm.R1; r <= asm.R5; r++ {
		s.regs[r] = val{}
	}
	copy(s.regs[asm.R6:asm.R10], f.saved[:])
	s.regs[asm.R10] = pointer(PtrStack)
	s.regs[asm.R10].frame = int8(s.cur)
}

// mostExits bounds the number of values of R0 that are kept apart at an exit.
const mostExits = 16

// noteExit adds R0 to the facts about exit i.
func (x *explorer) noteExit(s *state, i int) {
	v := &s.regs[asm.R0]
	list := x.facts.Exits[i]
	for k := range list {
		if o := &list[k]; o.Kind == v.kind && o.Off == v.off && o.num() == v.n {
			return
		}
	}
	if len(list) == mostExits {
		x.join(&list[mostExits-1], v, s.cur)
		return
	}
	x.facts.Exits[i] = append(list, x.reg(v, s.cur))
}

// result returns R0 at the program's exit. A function whose caller ignores it need not set it.
func (x *explorer) result(s *state, i int) *val {
	if v := &s.regs[asm.R0]; v.kind == NotInit {
		x.fail(s, i, "exit-value", "r0 is not written at exit")
		*v = scalar(anyNum())
	}
	return &s.regs[asm.R0]
}

// noteCall joins the argument registers into the facts of call i.
func (x *explorer) noteCall(s *state, i int) *Call {
	k := x.facts.Calls[i]
	if k == nil {
		k = &Call{}
		x.facts.Calls[i] = k
		for r := range k.Args {
			k.Args[r] = x.reg(&s.regs[r+1], s.cur)
		}
		return k
	}
	for r := range k.Args {
		x.join(&k.Args[r], &s.regs[r+1], s.cur)
	}
	return k
}

// lastHelper is the highest number of a helper, since Linux 6.2. Numbers up to it without
// a row in package helper are helpers of other program types.
const lastHelper = 211

// helper applies a call of a helper function. It returns false if the call never
// returns.
func (x *explorer) helper(s *state, i int, ins *code.Insn) bool {
	if ins.IsKfuncCall() || !ins.IsBuiltinCall() {
		x.fail(s, i, "feature-unsupported", "call of a kernel function that is not a helper")
		x.returns(s, helper.Proto{}, -1)
		return true
	}
	id := asm.BuiltinFunc(ins.Constant)
	p, ok := helper.ByID(id)
	switch {
	case !ok && id > 0 && id <= lastHelper:
		x.fail(s, i, "helper-not-allowed", "helper %d is not for programs of type %v", id, x.c.Type)
	case !ok:
		x.fail(s, i, "unknown-helper", "no helper has number %d", int32(ins.Constant))
	case !p.Allows(x.c.Type):
		x.fail(s, i, "helper-not-allowed", "helper %s is not for programs of type %v", p.Name, x.c.Type)
	case x.opt.Linux && !x.opt.since(p.Since[0], p.Since[1]):
		x.fail(s, i, "helper-not-allowed", "helper %s is not for programs of type %v in this release of Linux; it is in %d.%d",
			p.Name, x.c.Type, p.Since[0], p.Since[1])
	}
	if p.GPL && x.c.Type != ebpf.UnspecifiedProgram && !helper.GPLCompatible(x.c.License) {
		x.fail(s, i, "gpl-only", "the kernel lets only programs with a GPL-compatible license call %s; this one's is %q", p.Name, x.c.License)
	}
	call := x.noteCall(s, i)
	args := arguments{x: x, s: s, i: i, p: p, call: call, set: -1}
	if id == asm.FnMapUpdateElem {
		args.zeros()
	}
	for n, kind := range p.Args {
		if kind == helper.ArgNone {
			break
		}
		if id == asm.FnTracePrintk && n >= 2 && s.regs[n+1].kind == NotInit {
			continue // arguments that the format does not use need not be initialised
		}
		args.check(n, kind)
	}
	if id == asm.FnTailCall {
		x.tailCall(s, i)
	}
	switch p.Ret {
	case helper.RetMemOrNull, helper.RetSockOrNull, helper.RetKernelOrNull:
		x.fail(s, i, "feature-unsupported", "%s gives a pointer that is not modelled: socket, ring buffer record or kernel object", p.Name)
	}
	there := id == asm.FnMapLookupElem && x.keyInside(s, args.set)
	x.returns(s, p, args.set)
	switch r0 := &s.regs[asm.R0]; {
	case there:
		r0.kind, r0.id = PtrMapValue, 0
	case id == asm.FnGetSmpProcessorId && x.opt.Linux && x.opt.since(6, 12):
		r0.n = rangeNum(0, mostProcessors-1)
	}
	return true
}

// tailCall checks that the frames in use leave room for the target program.
func (x *explorer) tailCall(s *state, i int) {
	if s.cur == 0 {
		return
	}
	sum := 0
	for k := 0; k <= s.cur; k++ {
		sum += roundFrame(x.facts.Depth[x.funcOf(s, k)])
	}
	if sum >= 256 {
		x.fail(s, i, "stack-depth", "tail call with %d bytes of stack in use; less than 256 are allowed in a function", sum)
	}
}

// tailReturns reports whether a path leaves the function at instruction i: a tail call
// that succeeds returns to the function's caller. Linux walks that path since 6.18, and
// takes into account only since then that one that fails leaves the packet as it was.
func (x *explorer) tailReturns(s *state, i int) bool {
	return isTailCall(&x.c.Insns[i]) && s.cur > 0 && (!x.opt.Linux || x.opt.since(6, 18))
}

func isTailCall(ins *code.Insn) bool {
	return ins.IsBuiltinCall() && asm.BuiltinFunc(ins.Constant) == asm.FnTailCall
}

// afterTail makes of s, the state after tail call i that failed, that after one that
// succeeded: in the caller, with the result of the other program.
func (x *explorer) afterTail(s *state, i int) {
	forgetPacket(s)
	s.regs[asm.R0] = scalar(anyNum())
	x.leaveFrame(s, i)
}

// forgetPacket makes any number of what points into the packet.
func forgetPacket(s *state) {
	s.each(func(o *val) bool { return o.kind == PtrPacket || o.kind == PtrPacketMeta || o.kind == PtrPacketEnd },
		func(o *val) { *o = scalar(anyNum()) })
}

// returns applies the effects on registers that all calls share.
func (x *explorer) returns(s *state, p helper.Proto, set int16) {
	x.clobber(s)
	if p.MovesPacket && !(p.ID == asm.FnTailCall && x.opt.Linux && x.opt.since(6, 18)) {
		forgetPacket(s)
	}
	r0 := &s.regs[asm.R0]
	switch p.Ret {
	case helper.RetVoid: // r0 is not readable, after a tail call that failed neither
	case helper.RetMapValueOrNull:
		if set < 0 {
			*r0 = scalar(anyNum())
			return
		}
		*r0 = pointer(PtrMapValueOrNull)
		r0.set, r0.id = set, s.freshID()
	case helper.RetMemOrNull, helper.RetSockOrNull, helper.RetKernelOrNull:
		*r0 = unmodelled()
	default:
		*r0 = scalar(anyNum())
	}
}
