package verify

import (
	"math/bits"
	"slices"

	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
)

// Walking as Linux does.
//
// Linux's verifier refuses a program after walking 1,000,000 instructions, or if more
// than 8,192 branches are pending. Whether a program reaches a limit depends on the
// order of the walk and on the paths that it prunes. So a walker follows the same
// order (kernel/bpf/verifier.c, do_check and is_state_visited):
//
//   - It walks depth first. At an undecided branch it walks the fall-through edge
//     first, and pushes the taken edge on a stack.
//   - Prune points are branches, their targets, and calls. A checkpoint at one keeps
//     the state if at least 2 jumps and 8 instructions were walked since the last.
//   - A path ends if a checkpoint covers its state, and every path from that
//     checkpoint has been walked to its end. A register counts if it is live, a stack
//     slot if it was read after the checkpoint, a number if its value mattered
//     (precise.go). The walk itself marks slots as read.
//   - A checkpoint that did not cover the last few states that reached it is
//     discarded.
//
// The counts equal Linux's to the extent that the states do (kernelmode.go).

const (
	mostWalked   = 1_000_000 // kernel: BPF_COMPLEXITY_LIMIT_INSNS
	mostWaiting  = 8192      // kernel: BPF_COMPLEXITY_LIMIT_JMP_SEQ
	longHistory  = 40        // entries since a checkpoint after which the next prune point is one
	keptWithout  = 3         // visits that a checkpoint may miss, and again for each that it hit
	leastJumps   = 2         // between checkpoints
	leastInsns   = 8
	loopingJumps = 20 // the same while a loop is walked
	loopingInsns = 100
)

// A path is a path being walked, or pending.
type path struct {
	s       *state
	at      int // next instruction
	parent  *checkpoint
	steps   []footstep        // since parent
	history int               // entries in Linux's record of them
	written [maxFrames]uint64 // stack slots written whole since parent
}

// A footstep is one instruction of a path, with what undoing it needs to know.
type footstep struct {
	insn   int32
	slot   int16 // frame<<8 | slot that a number was stored to or loaded from, or -1
	left   bool  // a tail call that returned to the function's caller
	linked int32 // walker.linked of the numbers that were bounded together, or 0
}

// blockOfSteps is the number of footsteps that are allocated at once.
const blockOfSteps = 512

// A checkpoint is a state kept at a prune point.
type checkpoint struct {
	s            *state
	parent       *checkpoint
	steps        []footstep        // from parent to here
	written      [maxFrames]uint64 // stack slots written whole on the path
	read         [maxFrames]uint64 // stack slots read after here
	precise      marks
	open         int // paths and checkpoints below that are not walked to their end
	hits, missed int // states that came by and were covered, or not
}

// A place is an instruction in a calling context.
type place struct {
	insn int
	call int32
}

type walker struct {
	x         *explorer
	prune     []bool
	join      []bool // Linux records how it came to the instruction
	seen      map[place][]*checkpoint
	path      *path      // being walked
	steps     []footstep // of a block: those that no path has yet
	linked    []*marks   // of footsteps; the first is nil
	waiting   []*path
	walked    int
	jumps     int
	walkedAt  int // at the last checkpoint
	jumpsAt   int
	most      int   // paths that waited at one time
	globals   []int // functions verified by their types, in the order of their first call
	recording bool  // the states are joined into the facts
	stop      bool
}

// walkAsLinux counts the instructions that Linux's verifier walks until it accepts or
// refuses the program. The refusal is in the explorer's log.
func (x *explorer) walkAsLinux(recording bool) *walker {
	w := &walker{x: x, recording: recording, linked: make([]*marks, 1)}
	if recording {
		x.facts.Regs = make([][11]Reg, len(x.c.Insns))
	}
	x.walker = w
	w.points()
	w.run(x.entry(), 0)
	for k := 0; k < len(w.globals) && !w.stop; k++ {
		w.verifyGlobal(w.globals[k])
	}
	if recording && !w.stop {
		x.checkDepth()
	}
	return w
}

// proved reports whether the walk came to its end without a reason to refuse the program.
func (w *walker) proved() bool { return len(w.x.log.reasons) == 0 }

// asLinuxWalks returns x, which has explored the program, with the result of a walk. The
// walk finds that Linux's verifier gives up, or refuses a function's types. It may also
// accept a program that x refused after merging states, or of which x explored a global
// function at each call.
func (x *explorer) asLinuxWalks(fresh func() *explorer) *explorer {
	refused := len(x.log.reasons) > 0
	if refused && !x.merged && !x.stop && !x.endless {
		return x
	}
	y := fresh()
	w := y.walkAsLinux(true)
	switch said := y.log.reasons; {
	case len(said) > 0 && !refused:
		x.log.reasons = said
	case len(said) == 0 && refused:
		x = y
	case len(said) == 0:
		y.finish()
		x.facts.Seen = y.facts
	}
	x.walker = nil
	x.facts.Walked = Walked{Insns: w.walked, Waiting: w.most}
	x.warnNearLimit(w)
	return x
}

// warnNearLimit warns if a walk comes so close to a limit of Linux that another
// release may refuse the program.
func (x *explorer) warnNearLimit(w *walker) {
	if len(x.log.reasons) > 0 {
		return
	}
	if 10*w.walked > 9*x.limit() {
		x.warn(nil, 0, "near-limit", "Linux's verifier walks about %d instructions of the %d that it allows", w.walked, x.limit())
	}
	if 10*w.most > 9*mostWaiting {
		x.warn(nil, 0, "near-limit", "about %d branches are pending at one time; Linux's verifier allows %d", w.most, mostWaiting)
	}
}

// points finds the prune points (check_cfg).
func (w *walker) points() {
	c := w.x.c
	w.prune, w.join = make([]bool, len(c.Insns)+1), make([]bool, len(c.Insns)+1)
	for i := range c.Insns {
		ins := &c.Insns[i]
		switch {
		case ins.OpCode.JumpOp() == asm.Call:
			w.prune[i+1], w.join[i+1] = true, true
			if isCall(ins) {
				start := c.Funcs[ins.Callee].Start
				w.prune[i], w.prune[start], w.join[start] = true, true, true
			}
		case ins.Target != code.None:
			w.prune[ins.Target], w.join[ins.Target] = true, true
			if isBranch(ins) {
				w.prune[i] = true
			}
		}
	}
}

// run walks a function from its entry until no path is pending.
func (w *walker) run(s *state, start int) {
	w.seen = map[place][]*checkpoint{}
	p := &path{s: s, at: start}
	for p != nil {
		w.path = p
		for w.advance(p) {
			if len(w.x.log.reasons) > 0 {
				w.stop = true
			}
			if w.stop {
				return
			}
		}
		if len(w.x.log.reasons) > 0 {
			w.stop = true
			return
		}
		p.close()
		w.x.drop(p.s)
		p = nil
		if n := len(w.waiting); n > 0 {
			p = w.waiting[n-1]
			w.waiting = w.waiting[:n-1]
		}
	}
}

// close notes that p was walked to its end.
func (p *path) close() {
	for c := p.parent; c != nil; c = c.parent {
		if c.open--; c.open > 0 {
			return
		}
	}
}

// advance walks one instruction. It reports whether the path continues.
func (w *walker) advance(p *path) bool {
	x, s, i := w.x, p.s, p.at
	ins := &x.c.Insns[i]
	if w.walked++; w.walked > x.limit() {
		x.fail(s, i, "too-complex", "Linux's verifier gives up after %d instructions walked", x.limit())
		return false
	}
	if w.prune[i] && w.visited(p) {
		return false
	}
	if w.recording {
		x.record(s, i)
	}
	t := footstep{insn: int32(i), slot: -1}
	w.stackSlot(s, ins, &t, p)
	w.addStep(p, t)
	if w.join[i] || t.slot >= 0 {
		p.history++
	}
	p.at = i + 1
	if ins.OpCode.Class().IsJump() {
		w.jumps++
	}
	switch {
	case isCall(ins):
		return w.call(p, i, ins)
	case isExit(ins):
		return w.leave(p, i)
	case isBranch(ins):
		return w.branch(p, i, ins)
	case ins.Target != code.None:
		p.at = ins.Target
		return true
	}
	w.depend(p, i, ins)
	if !x.step(s, i) {
		return false
	}
	if x.tailReturns(s, i) {
		p.steps[len(p.steps)-1].left = true
		return w.leaveByTail(p, i)
	}
	return true
}

// leaveByTail walks the path of tail call i that returns to the caller, and keeps the one
// of a call that failed for later.
func (w *walker) leaveByTail(p *path, i int) bool {
	x, s := w.x, p.s
	call := s.frames[s.cur].call
	failed := *p
	failed.steps = slices.Clone(p.steps)
	failed.steps[len(failed.steps)-1].left = false
	if !w.put(&failed, x.clone(s), i+1) {
		return false
	}
	x.afterTail(s, i)
	p.at = int(call) + 1
	return true
}

// addStep appends t to p's steps. A path has its own steps from each checkpoint and from
// each branch on: many short slices, which therefore come from blocks.
func (w *walker) addStep(p *path, t footstep) {
	if n := len(p.steps); n == cap(p.steps) {
		room := max(leastInsns, 2*n)
		if len(w.steps) < room {
			w.steps = make([]footstep, max(room, blockOfSteps))
		}
		copy(w.steps, p.steps)
		p.steps, w.steps = w.steps[:n:room], w.steps[room:]
	}
	p.steps = append(p.steps, t)
}

// visited reports whether a checkpoint covers p's state. If not, it may keep the state as
// a new checkpoint.
func (w *walker) visited(p *path) bool {
	at := place{p.at, p.s.frames[p.s.cur].call}
	force := p.history > longHistory
	add := force || w.jumps-w.jumpsAt >= leastJumps && w.walked-w.walkedAt >= leastInsns
	list := w.seen[at]
	for k := len(list) - 1; k >= 0; k-- {
		c := list[k]
		switch {
		case c.open > 0:
			if same(c.s, p.s) {
				w.x.endless = true
				w.x.fail(p.s, p.at, "infinite-loop", "the loop comes back here with nothing changed")
				return true
			}
			if !force && w.jumps-w.jumpsAt < loopingJumps && w.walked-w.walkedAt < loopingInsns {
				add = false
			}
		case w.covers(c, p.s, p.at):
			c.hits++
			w.inherit(c, p)
			return true
		}
		if add {
			c.missed++
		}
		if c.missed > keptWithout*c.hits+keptWithout {
			list = slices.Delete(list, k, k+1)
			w.seen[at] = list
		}
	}
	if !add {
		return false
	}
	w.jumpsAt, w.walkedAt = w.jumps, w.walked
	c := &checkpoint{s: w.x.clone(p.s), parent: p.parent, steps: p.steps, written: p.written, open: 1}
	p.parent, p.steps, p.history, p.written = c, nil, 0, [maxFrames]uint64{}
	w.seen[at] = append(list, c)
	return false
}

// same reports whether two states are equal, apart from the known bytes of the stack.
func same(t, s *state) bool {
	if t.cur != s.cur || t.regs != s.regs {
		return false
	}
	for i := range t.cur + 1 {
		f, g := t.frames[i], s.frames[i]
		if f == g {
			continue
		}
		if f.call != g.call || f.saved != g.saved {
			return false
		}
		for k := range max(len(f.slots), len(g.slots)) {
			a, b := f.at(k), g.at(k)
			if a.n != b.n || a.written != b.written || a.zero != b.zero || a.n > 0 && *a.v != *b.v {
				return false
			}
		}
	}
	return true
}

// covers reports whether c covers s, so that the paths from s need no walk (states_equal).
func (w *walker) covers(c *checkpoint, s *state, at int) bool {
	t := c.s
	if t.cur != s.cur {
		return false
	}
	w.x.ids.pairs = w.x.ids.pairs[:0]
	live := w.x.live[at]
	for r := range t.regs[:10] {
		if live&(1<<r) != 0 && !w.safe(&t.regs[r], &s.regs[r], c.precise.regs[t.cur]&(1<<r) != 0) {
			return false
		}
	}
	for i := range t.cur + 1 {
		f, g := t.frames[i], s.frames[i]
		if f.call != g.call {
			return false
		}
		for r := range f.saved {
			if i > 0 && !w.safe(&f.saved[r], &g.saved[r], c.precise.regs[i-1]&(1<<(r+6)) != 0) {
				return false
			}
		}
		for k := range f.slots {
			if c.read[i]&(1<<k) == 0 {
				continue
			}
			if l := &f.slots[k]; k >= len(g.slots) && (l.n > 0 || l.zero != 0) || !w.safeSlot(f.at(k), g.at(k), c.precise.slots[i]&(1<<k) != 0) {
				return false
			}
		}
	}
	return true
}

// safe reports whether every use that is safe with t is safe with s (regsafe).
func (w *walker) safe(t, s *val, precise bool) bool {
	switch {
	case t.kind == NotInit:
		return true
	case t.kind != s.kind:
		return false
	case t.kind == Scalar:
		return !precise || t.n.covers(&s.n) && w.linkedAlike(t, s)
	}
	return t.past == s.past && w.x.coversVal(nil, t, s)
}

// linkedAlike reports whether s has the same links as t, of the same sort.
func (w *walker) linkedAlike(t, s *val) bool {
	if t.id == 0 {
		return true
	}
	return t.delta == s.delta && s.id != 0 && w.x.ids.match(t.id, s.id, 0) || t.delta == 0 && s.id == 0 && w.x.ids.match(t.id, ^t.id, 0)
}

// anything is a number of which nothing is known.
var anything = scalar(anyNum())

// safeSlot is safe for a stack slot that was read (stacksafe).
func (w *walker) safeSlot(t, s slot, precise bool) bool {
	if a, b := t.number(), s.number(); a != nil && b != nil {
		return w.safe(a, b, precise && t.n > 0)
	}
	spill := cover(0, int(t.n))
	if cover(0, int(s.n))&spill != spill || t.zero&^(s.zero&^cover(0, int(s.n))) != 0 {
		return false
	}
	return t.n == 0 || w.safe(t.v, s.v, precise)
}

// number returns the value that a load of the whole slot gives, if that is a number
// kept whole or of unknown bytes.
func (l *slot) number() *val {
	switch {
	case l.n == 8 && l.v.kind == Scalar:
		return l.v
	case l.n == 0 && l.zero == 0:
		return &anything
	}
	return nil
}

// inherit marks for p what c's paths read and depended on.
func (w *walker) inherit(c *checkpoint, p *path) {
	m := marks{frame: c.s.cur}
	for f := range c.s.cur + 1 {
		p.reads(f, c.read[f])
		m.regs[f] = c.precise.regs[f]
		if f == c.s.cur {
			m.regs[f] &= w.x.live[p.at]
		}
		m.slots[f] = c.precise.slots[f] & c.read[f]
	}
	w.backtrack(p, &m, false)
}

// reads marks slots of frame f as read in the checkpoints of p's path, back to the
// one after which the path wrote the slot whole.
func (p *path) reads(f int, slots uint64) {
	slots &^= p.written[f]
	for c := p.parent; c != nil; c = c.parent {
		fresh := slots &^ c.read[f]
		if fresh == 0 {
			return
		}
		c.read[f] |= fresh
		slots = fresh &^ c.written[f]
	}
}

// readsBytes marks the slots of n bytes at off of frame f as read.
func (w *walker) readsBytes(f int, lo, hi int64) {
	for at := max(lo, -maxStack); at < min(hi, 0); at++ {
		k, _ := slotAt(int(at))
		w.path.reads(f, 1<<k)
	}
}

// stackSlot notes what instruction ins does with the stack before it does it.
func (w *walker) stackSlot(s *state, ins *code.Insn, t *footstep, p *path) {
	class := ins.OpCode.Class()
	store := class.IsStore()
	base := ins.Src
	if store {
		base = ins.Dst
	} else if class != asm.LdXClass {
		return
	}
	v := &s.regs[base]
	if v.kind != PtrStack {
		return
	}
	size := ins.OpCode.Size().Sizeof()
	lo, hi := v.min()+int64(ins.Offset), v.max()+int64(ins.Offset)+int64(size)
	atomic := store && ins.OpCode.AtomicOp() != asm.InvalidAtomic
	if !store || atomic {
		w.readsBytes(int(v.frame), lo, hi)
	}
	if !v.fixed() || lo < -maxStack || lo >= 0 || atomic {
		return
	}
	k, first := slotAt(int(lo))
	l := s.frames[v.frame].at(k)
	spill := int16(int(v.frame)<<8 | k)
	switch {
	case first != 0:
	case !store && l.n > 0 && size <= int(l.n), store && (class == asm.StClass || s.regs[ins.Src].kind == Scalar || size == 8):
		t.slot = spill
	}
	if store && size == 8 && first == 0 {
		p.written[v.frame] |= 1 << k
	}
}

// branch continues along the edges that can be taken.
func (w *walker) branch(p *path, i int, ins *code.Insn) bool {
	x, s := w.x, p.s
	if ins.OpCode.JumpOp() == asm.JCOND {
		x.fail(s, i, "feature-unsupported", "may_goto")
		return false
	}
	dst := *x.read(s, i, ins.Dst)
	src := constant(uint64(ins.Constant))
	if ins.OpCode.Source() == asm.RegSource {
		src = *x.read(s, i, ins.Src)
	}
	x.noteStale(i, ins, &dst, &src)
	linked := linkedTo(s, &dst, &src)
	t := x.clone(s)
	jumps := x.edge(t, ins, &dst, &src, true)
	falls := x.edge(s, ins, &dst, &src, false)
	x.facts.Taken[i], x.facts.Falls[i] = x.facts.Taken[i] || jumps, x.facts.Falls[i] || falls
	switch {
	case jumps && falls:
		t.decide(i, true)
		s.decide(i, false)
		if linked != nil {
			p.steps[len(p.steps)-1].linked = int32(len(w.linked))
			w.linked = append(w.linked, linked)
			if !w.join[i] {
				p.history++
			}
		}
		return w.put(p, t, ins.Target)
	case jumps:
		w.foreseen(p, ins, &dst, &src)
		p.s, p.at = t, ins.Target
		x.drop(s)
		return true
	}
	x.drop(t)
	if falls {
		w.foreseen(p, ins, &dst, &src)
	}
	return falls
}

// put pushes the continuation of p at target on the stack of pending paths.
func (w *walker) put(p *path, s *state, target int) bool {
	p.steps = p.steps[:len(p.steps):len(p.steps)]
	q := &path{s: s, at: target, parent: p.parent, steps: p.steps, history: p.history, written: p.written}
	if p.parent != nil {
		p.parent.open++
	}
	w.waiting = append(w.waiting, q)
	w.most = max(w.most, len(w.waiting))
	if len(w.waiting) > mostWaiting {
		i := int(p.steps[len(p.steps)-1].insn)
		w.x.fail(s, i, "too-many-jumps", "%d branches are pending here; Linux's verifier allows %d", len(w.waiting), mostWaiting)
		return false
	}
	return true
}

// linkedTo returns the numbers that a branch on a and b may bound too; nil if there is
// none but one.
func linkedTo(s *state, a, b *val) *marks {
	if a.kind != Scalar || a.id == 0 {
		a = b
	}
	if a.kind != Scalar || a.id == 0 && b.id == 0 {
		return nil
	}
	m, n := marks{frame: s.cur}, 0
	is := func(v *val) bool {
		yes := v.kind == Scalar && v.id != 0 && (v.id == a.id || b.kind == Scalar && v.id == b.id)
		if yes {
			n++
		}
		return yes
	}
	for r := range s.regs[:10] {
		if is(&s.regs[r]) {
			m.regs[s.cur] |= 1 << r
		}
	}
	for i := range s.cur + 1 {
		f := s.frames[i]
		for r := range f.saved {
			if i > 0 && is(&f.saved[r]) {
				m.regs[i-1] |= 1 << (r + 6)
			}
		}
		for k := range f.slots {
			if l := &f.slots[k]; l.n > 0 && is(l.v) {
				m.slots[i] |= 1 << k
			}
		}
	}
	if n < 2 {
		return nil
	}
	return &m
}

// call enters a function of the program.
func (w *walker) call(p *path, i int, ins *code.Insn) bool {
	x, s := w.x, p.s
	if x.global(ins.Callee) {
		return w.callGlobal(p, i, ins.Callee)
	}
	if s.cur+1 >= maxFrames {
		x.fail(s, i, "call-depth", "call is %d frames deep; %d are allowed", s.cur+2, maxFrames)
		return false
	}
	x.noteCall(s, i)
	x.enterFrame(s, i)
	p.written[s.cur] = ^uint64(0) // nothing is left of an earlier call's stack
	p.at = x.c.Funcs[ins.Callee].Start
	return true
}

// leave ends a path of a function.
func (w *walker) leave(p *path, i int) bool {
	x, s := w.x, p.s
	if s.cur == 0 {
		x.verdict(s, i)
		return false
	}
	call := s.frames[s.cur].call
	x.leaveFrame(s, i)
	p.at = int(call) + 1
	return true
}

// depend marks the numbers whose value decides what instruction i, which is no
// branch, does.
func (w *walker) depend(p *path, i int, ins *code.Insn) {
	s := p.s
	switch class := ins.OpCode.Class(); {
	case class == asm.ALU64Class:
		op := ins.OpCode.ALUOp()
		if ins.OpCode.Source() != asm.RegSource || op != asm.Add && op != asm.Sub {
			return
		}
		a, b := &s.regs[ins.Dst], &s.regs[ins.Src]
		switch {
		case a.pointer() && b.kind == Scalar:
			w.need(p, ins.Src)
		case a.kind == Scalar && b.pointer():
			w.need(p, ins.Dst)
		}
	case class == asm.StXClass && ins.OpCode.AtomicOp() == asm.InvalidAtomic:
		base, v := &s.regs[ins.Dst], &s.regs[ins.Src]
		if base.kind == PtrStack && base.fixed() && v.kind == Scalar && w.keptByValue(ins, base, v) {
			w.need(p, ins.Src)
		}
	case ins.IsBuiltinCall():
		w.dependCall(p, ins)
	}
}

// keptByValue reports whether what the stack keeps of a stored number v depends on v's
// value, and backtracking cannot undo the store. That holds for zero bytes, and before
// 6.8 for stores through another register than r10.
func (w *walker) keptByValue(ins *code.Insn, base, v *val) bool {
	zero, first := v.n.known() && v.n.bits.Value == 0, (base.min()+int64(ins.Offset))&7 == 0
	if w.x.opt.early() {
		return zero || first && ins.Dst != asm.R10 && v.n != anyNum()
	}
	return zero && !first
}

func (w *walker) dependCall(p *path, ins *code.Insn) {
	proto, _ := helper.ByID(asm.BuiltinFunc(ins.Constant))
	for n, kind := range proto.Args {
		r := asm.R1 + asm.Register(n)
		if (kind == helper.ArgConstSize || kind == helper.ArgConstSizeZero) && p.s.regs[r].kind == Scalar {
			w.need(p, r)
		}
	}
	switch v := &p.s.regs[asm.R3]; asm.BuiltinFunc(ins.Constant) {
	case asm.FnTailCall:
		if v.kind == Scalar && v.n.known() {
			w.need(p, asm.R3)
		}
	case asm.FnMapLookupElem:
		handle, key := &p.s.regs[asm.R1], &p.s.regs[asm.R2]
		if handle.kind == PtrMapHandle && w.x.keyInside(p.s, handle.set) {
			m := marks{frame: p.s.cur}
			k, _ := slotAt(int(key.min()))
			m.slots[key.frame] = 1 << k
			w.backtrack(p, &m, true)
		}
	}
}

// foreseen marks the numbers by which a branch was decided.
func (w *walker) foreseen(p *path, ins *code.Insn, dst, src *val) {
	if dst.kind == Scalar {
		w.need(p, ins.Dst)
	}
	if ins.OpCode.Source() == asm.RegSource && src.kind == Scalar {
		w.need(p, ins.Src)
	}
}

// need marks register r as precise.
func (w *walker) need(p *path, r asm.Register) {
	m := marks{frame: p.s.cur}
	m.regs[m.frame] = 1 << r
	w.backtrack(p, &m, true)
}

// eachBit calls f for each bit of m.
func eachBit(m uint64, f func(k int)) {
	for ; m != 0; m &= m - 1 {
		f(bits.TrailingZeros64(m))
	}
}
