package sim

import (
	"fmt"
	"slices"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// The whole chip: engines of several islands, each with four contexts, the memories
// they queue for (units.go), the packets they work on (packets.go).
//
// An engine touches shared state only at a command to memory, at a helper, and when it
// takes or releases packets. Between two such events it is independent of the others,
// so each engine runs ahead to its next event and stops there; the events of all
// engines are executed in order of time (order.go). The time of an event's result, a
// command's answer or the next packet, is known as soon as the event is executed:
// later commands queue after it. No event is therefore ever undone, and an engine has
// one event outstanding.
//
// A context repeats: take a packet, wait for it; the firmware's steps before the
// program; the program; the firmware's steps after it; release the packet. The
// contexts run round robin without preemption, as on an engine alone, by the same code
// (exec.go).

// Program is the program that the contexts of a chip run on each packet. Enter loads
// packet i of the traffic for the program, but does not start it; Exit returns the
// program's verdict. Both are called in order of the context's own time, not of the
// chip's, and may touch the context's own memory only.
type Program struct {
	Start int // address
	Name  string
	Enter func(c *Context, packet int) error
	Exit  func(c *Context) (Verdict, error)
}

// Verdict is the fate of a packet, and its length at the program's end.
type Verdict struct {
	To    Fate
	Bytes int
}

// Fate is the destination of a packet.
type Fate uint8

const (
	Dropped Fate = iota // by the program
	ToHost              // to a ring of the host
	ToWire              // out of a port
	numFates
)

// event is an engine's next event.
type event uint8

const (
	eventPick    event = iota // choose a context
	eventCommand              // c.pending
	eventTrap                 // the trap at the context's address
	eventStep                 // a command of the firmware's, or a helper's read
	eventNext                 // let the packet go and take the next
)

// errand is the work of a context outside its program: the firmware's steps for
// the packet, or a helper's reads.
type errand struct {
	phase phase
	at    int    // step of the phase
	reads int    // remaining reads of a helper
	addr  uint64 // address of the next read
	then  uint64 // and of those after it
	words uint64 // executed for the packet
	since uint64 // when the context gave the engine away
	cause Stall  // what it waits for
	extra uint64 // cycles of that wait spent in queues
	swap  uint32 // word at which it gave the engine away
	job   job    // the packet
}

type phase uint8

const (
	phaseTake phase = iota
	phaseBefore
	phaseProgram
	phaseReads
	phaseAfter
)

// step is a firmware.Step prepared to be executed: the instructions up to its command,
// the command, and the instructions in the command's defer slots.
type step struct {
	issue, slots uint64
	share        uint64 // of 1<<32 packets
	waits        bool
	unit         unitID
	kind, bytes  int
	base, stride uint64 // address: base + context * stride
}

// Options of a chip; the zero value of each is its default.
type Options struct {
	Model    *nfp.Model // as it is; nil is nfp.DefaultModel
	Seed     uint64     // 0 is 1
	MaxWords uint64     // a packet may take; 0 is 1,000,000
	Profile  bool       // count cycles and stalls of every word
}

// Chip is a chip with a program. It is not safe for concurrent use.
type Chip struct {
	Engines []*Engine
	Islands []*Memory
	Stats   Stats
	Words   []WordCost // by address, if Options.Profile is set

	spec     Spec
	program  *Program
	opt      Options
	mem      *memories
	order    *order
	packets  packets
	before   []step
	after    []step
	contexts int
	now      uint64
	random   random // draws which packets take a step
	maxWords uint64
	fault    error
	starved  []*Context // whose next packet is not known yet: few buffers are free
	stepping int        // engine whose event is carried out
	begin    uint64     // of what is measured
	times    []float64  // cycles a batch took
}

// NewChip returns a chip whose workers are spread evenly over its islands. Its engines
// share a control store and external memory.
func NewChip(store *Store, ext *External, fw *firmware.Profile, opt *Options) (*Chip, error) {
	ch := &Chip{opt: *opt, order: newOrder()}
	m := opt.Model
	if m == nil {
		var err error
		if m, err = nfp.ModelByName(""); err != nil {
			return nil, err
		}
	}
	if err := m.Check(); err != nil {
		return nil, err
	}
	if m.Workers > orderSize {
		return nil, fmt.Errorf("card %s: %d workers, at most %d are simulated", m.Name, m.Workers, orderSize)
	}
	ch.spec = *NewSpec(m)
	if opt.Seed != 0 {
		ch.spec.Seed = opt.Seed
	}
	if ch.maxWords = opt.MaxWords; ch.maxWords == 0 {
		ch.maxWords = 1_000_000
	}
	ch.mem = newMemories(m, ch.spec.Seed)
	ch.random = seeded(ch.spec.Seed, 0)
	var err error
	if ch.before, err = steps(m, fw.Before); err != nil {
		return nil, err
	}
	if ch.after, err = steps(m, fw.After); err != nil {
		return nil, err
	}
	ch.contexts = m.Workers * Contexts
	for range m.Islands {
		ch.Islands = append(ch.Islands, ext.island())
	}
	first := New(&ch.spec, store, ch.Islands[0])
	for i := range m.Workers {
		e := first
		if i > 0 {
			e = &Engine{spec: &ch.spec, store: store, Mem: ch.Islands[i%m.Islands], clock: epoch, pool: first.pool,
				random: seeded(ch.spec.Seed, uint64(i))}
			e.fill()
		}
		e.chip, e.island, e.cur = ch, i%m.Islands, &e.Ctx[0]
		for j := range e.Ctx {
			e.Ctx[j].ID = i*Contexts + j
			e.Ctx[j].state = ready
		}
		ch.Engines = append(ch.Engines, e)
	}
	if opt.Profile {
		ch.Words = make([]WordCost, storeWords)
		for _, e := range ch.Engines {
			e.profile = ch.Words
		}
	}
	return ch, nil
}

// steps prepares the firmware's steps.
func steps(m *nfp.Model, list []firmware.Step) ([]step, error) {
	var out []step
	for _, s := range list {
		x := step{issue: uint64(s.Issue), share: 1 << 32, bytes: max(4, s.Bytes), stride: 64}
		if s.Share > 0 {
			x.share = uint64(s.Share * (1 << 32))
		}
		if s.Wait != "" {
			x.slots = min(x.issue, uint64(m.Swap))
			x.issue -= x.slots
			x.waits = s.Wait != firmware.WaitPacket
			x.unit = unitID(max(0, slices.Index(unitNames[:], s.Wait)))
			x.kind = max(0, slices.Index(firmware.Ops(), s.Op))
		}
		if s.Bank != nil {
			u := &m.EMEM
			if x.unit == unitIMEM {
				u = &m.IMEM
			}
			if *s.Bank >= u.Banks {
				return nil, fmt.Errorf("card %s: the firmware waits for bank %d of %s, there are %d", m.Name, *s.Bank, s.Wait, u.Banks)
			}
			x.base, x.stride = uint64(*s.Bank*u.Interleave), uint64(u.Banks*u.Interleave)
		}
		out = append(out, x)
	}
	return out, nil
}

// start requests every context's first packet: the first contexts of all engines one
// cycle apart, then the second ones, so that consecutive packets go to different
// engines.
func (ch *Chip) start() {
	for i, e := range ch.Engines {
		e.clock = epoch + uint64(i)
		for j := range e.Ctx {
			c := &e.Ctx[j]
			at := epoch + uint64(j*orderSize+i)
			c.wake, c.errand = at, errand{since: at, cause: StallPacket}
		}
		e.event = eventPick
		ch.order.set(i, e.clock)
	}
}

// advance executes events until the given number of packets is done in all.
func (ch *Chip) advance(packets uint64) error {
	for ch.Stats.done < packets {
		i, now := ch.order.first()
		ch.now, ch.stepping = now, i
		e := ch.Engines[i]
		ch.order.set(i, ch.step(e))
		if e.fault != nil {
			return e.fault
		}
		if ch.fault != nil {
			return ch.fault
		}
	}
	return nil
}

// step executes an engine's event and runs the engine to its next event. It
// returns the time of that.
func (ch *Chip) step(e *Engine) uint64 {
	c := e.cur
	switch e.event {
	case eventPick:
		c, e.clock = nil, max(e.clock, ch.now)
	case eventCommand:
		if !ch.command(e, c) {
			c = nil
		}
	case eventTrap:
		ch.trap(e, c)
	case eventStep:
		ch.firmwareCommand(e, c)
		c = nil
	case eventNext:
		ch.next(e, c)
		c = nil
	}
	for e.fault == nil && ch.fault == nil {
		if c == nil {
			var wake uint64
			if c, wake = e.ready(); c == nil {
				e.event, e.idleUntil = eventPick, wake
				return wake
			}
			ch.resume(e, c)
		}
		if at, busy := ch.run(e, c); busy {
			e.cur = c
			return at
		}
		c = nil
	}
	return e.clock
}

// ready returns the next context in round robin order that can run now; if none can,
// the time at which the first can.
func (e *Engine) ready() (*Context, uint64) {
	wake := never
	for i := range Contexts {
		c := &e.Ctx[(e.next+i)%Contexts]
		if c.wake <= e.clock {
			e.next = (c.n + 1) % Contexts
			return c, 0
		}
		wake = min(wake, c.wake)
	}
	return nil, wake
}

// resume adds the context's wait to the stall cycles of its cause.
func (ch *Chip) resume(e *Engine, c *Context) {
	j, s := &c.errand, &ch.Stats
	wait := c.wake - min(j.since, c.wake)
	extra := min(j.extra, wait)
	s.Stalls[j.cause] += wait - extra
	s.Stalls[StallQueue] += extra
	turn := e.clock - max(c.wake, j.since)
	s.Stalls[StallTurn] += turn
	if ch.Words != nil && (j.phase == phaseProgram || j.phase == phaseReads) {
		w := &ch.Words[j.swap]
		w.Stalls[j.cause] += wait - extra
		w.Stalls[StallQueue] += extra
		w.Stalls[StallTurn] += turn
	}
}

// swapOut releases the engine until time wake.
func (c *Context) swapOut(now, wake uint64, cause Stall, extra uint64) {
	j := &c.errand
	c.wake, j.since, j.cause, j.extra = max(wake, now), now, cause, extra
}

// run runs a context until its next event. It returns the event's time, or false if
// the context swapped out first.
func (ch *Chip) run(e *Engine, c *Context) (uint64, bool) {
	for {
		j := &c.errand
		switch j.phase {
		case phaseTake:
			e.event = eventNext
			return e.clock, true
		case phaseBefore, phaseAfter:
			if ch.firmware(e, c) {
				return e.clock, true
			}
		case phaseReads:
			if j.reads > 0 {
				e.event = eventStep
				return e.clock, true
			}
			j.phase = phaseProgram
		case phaseProgram:
			if at, more := ch.stretch(e, c); at != 0 || !more {
				return at, at != 0
			}
		}
		if e.fault != nil || ch.fault != nil {
			return e.clock, true
		}
	}
}

// steps returns the firmware's steps of a phase.
func (ch *Chip) steps(p phase) []step {
	if p == phaseAfter {
		return ch.after
	}
	return ch.before
}

// firmware issues the steps of a phase up to its end or to a command, an event.
func (ch *Chip) firmware(e *Engine, c *Context) bool {
	j := &c.errand
	for list := ch.steps(j.phase); j.at < len(list); j.at++ {
		s := &list[j.at]
		if s.share < 1<<32 && ch.random.next()>>32 >= s.share {
			continue
		}
		e.clock += s.issue
		ch.Stats.Firmware += s.issue
		if s.waits {
			e.event = eventStep
			return true
		}
		e.clock += s.slots
		ch.Stats.Firmware += s.slots
	}
	j.at = 0
	if j.phase == phaseAfter {
		j.phase = phaseTake
		return false
	}
	j.phase, j.words = phaseProgram, 0
	if err := ch.program.Enter(c, int(j.job.packet)); err != nil {
		ch.fault = err
		return true
	}
	c.Start(ch.program.Start)
	return false
}

// stretch runs the program to its next event or swap point. It returns the
// event's time, or zero and whether the context continues at once.
func (ch *Chip) stretch(e *Engine, c *Context) (at uint64, more bool) {
	j := &c.errand
	if j.words >= ch.maxWords {
		at := c.pc
		low, high := e.Loop(c)
		e.stop(at, "watchdog", "still running after %d words: words %d to %d form the loop", ch.maxWords, low, high)
		return e.clock, true
	}
	issue, idle := c.issue, c.idle
	e.atTrap = false
	words := e.stretch(c, int64(ch.maxWords-j.words))
	j.words += uint64(words)
	idle = c.idle - idle
	ch.Stats.Slots += idle
	ch.Stats.Issue += c.issue - issue - idle
	if e.fault != nil {
		return e.clock, true
	}
	switch p := &c.pending; p.kind {
	case pendCmd, pendPost:
		e.event = eventCommand
		return p.at, true
	}
	switch {
	case e.atTrap && int(c.pc) == ch.packets.done:
		ch.finish(e, c)
		return 0, true
	case e.atTrap:
		e.event = eventTrap
		return e.clock, true
	case c.state == halted:
		e.stop(c.pc, "unsupported", "the context is killed")
		return e.clock, true
	case j.words >= ch.maxWords:
		return 0, true
	}
	// ctx_arb: the times of the signals are known.
	j.swap = c.pending.pc & storeMask
	c.swapOut(e.clock, c.wake, c.awaited.cause, c.awaited.queued)
	return 0, false
}

// finish is the end of the program.
func (ch *Chip) finish(e *Engine, c *Context) {
	v, err := ch.program.Exit(c)
	if err != nil {
		ch.fault = err
		return
	}
	c.errand.job.verdict = v
	c.errand.phase, c.errand.at = phaseAfter, 0
	s := &ch.Stats
	s.ProgramElapsed += e.clock - c.started
}

// command executes a memory command, and reports whether its context continues.
func (ch *Chip) command(e *Engine, c *Context) bool {
	p := &c.pending
	kind := p.kind
	p.kind = pendNone
	e.held, e.queued = 0, 0
	if kind == pendCmd {
		c.sent = 0
	}
	if !e.perform(c, p.cmd, &p.access, p.pc, p.at) {
		return true
	}
	if e.held > 0 {
		// The command's word issues until the queue has room.
		e.clock += e.held
		c.issue += e.held
		ch.Stats.Held += e.held
		if ch.Words != nil {
			w := &ch.Words[p.pc&storeMask]
			w.Held += e.held
			w.Cycles += e.held
		}
	}
	if kind == pendPost {
		return true
	}
	s := &c.sig[p.access.sig&15]
	c.take(s)
	c.errand.swap = p.pc & storeMask
	c.swapOut(e.clock, s.at, s.cause, s.queued)
	return false
}

// ask issues a memory command: it records the engine's stall and returns the time of
// the answer.
func (e *Engine) ask(id unitID, kind int, addr uint64, n int, at uint64) uint64 {
	a := e.chip.mem.access(e.island, id, kind, addr, n, at)
	e.held = a.accepted - at
	e.queued = a.queued
	return a.done
}

// trap calls a helper.
func (ch *Chip) trap(e *Engine, c *Context) {
	at := c.pc
	next, cost, err := e.store.traps[at](c)
	if err != nil {
		e.stop(at, "trap", "%v", err)
		if e.fault.Err == nil {
			e.fault.Err = err
		}
		return
	}
	issue := uint64(cost.Issue)
	c.issue += issue
	e.clock += issue
	ch.Stats.Helpers += issue
	caller := e.lastWord // as far as words are counted
	if ch.Words != nil {
		ch.Words[caller].Helper += issue
	}
	if next == Halt {
		e.stop(at, "trap", "a helper ended the program")
		return
	}
	c.pc = uint32(next) & storeMask
	j := &c.errand
	j.reads, j.addr, j.then, j.swap = cost.Reads, cost.Addr, cost.Then, caller
	if cost.Reads > 0 {
		j.phase = phaseReads
	}
}

// command of the firmware: a helper's read, or that of a step, whose defer slots run
// while it is under way.
func (ch *Chip) firmwareCommand(e *Engine, c *Context) {
	j := &c.errand
	if j.phase == phaseReads {
		done := e.ask(unitEMEM, kindRead, j.addr, 4, e.clock)
		j.reads--
		j.addr = j.then
		c.swapOut(e.clock, done, StallHelper, e.queued)
		return
	}
	s := &ch.steps(j.phase)[j.at]
	done := e.ask(s.unit, s.kind, s.base+uint64(c.ID)*s.stride, s.bytes, e.clock)
	e.clock += s.slots
	ch.Stats.Firmware += s.slots
	j.at++
	c.swapOut(e.clock, done, StallFirmware, e.queued)
}

// next releases the context's packet, if it has one, and takes the next. The request
// was the last step's command, so its slots have run.
func (ch *Chip) next(e *Engine, c *Context) {
	j := &c.errand
	if j.job.held {
		ch.packets.release(&j.job, e.clock, &ch.Stats)
		ch.serve(e.clock)
	}
	j.phase, j.at = phaseBefore, 0
	wake, ok := ch.packets.take(&j.job, e.clock, &ch.Stats)
	if !ok {
		ch.starved = append(ch.starved, c)
	}
	delivered, cause := ch.delivered(e.clock), StallPacket
	if wake <= delivered { // one was there
		wake, cause = delivered, StallFirmware
	}
	c.swapOut(e.clock, wake, cause, 0)
}

// delivered returns when a packet that is there is delivered to a context that
// requested it by the command before a time, less its slots.
func (ch *Chip) delivered(now uint64) uint64 {
	last := &ch.after[len(ch.after)-1]
	return now - last.slots + ch.mem.vary(ch.mem.nextPacket)
}

// serve gives packets to contexts that wait for a buffer, in the order in which they
// asked, as far as there are buffers now. Their engines may be idle until a later
// time, or indefinitely: serve wakes them.
func (ch *Chip) serve(now uint64) {
	for len(ch.starved) > 0 {
		c := ch.starved[0]
		wake, ok := ch.packets.take(&c.errand.job, now, &ch.Stats)
		if !ok {
			return
		}
		copy(ch.starved, ch.starved[1:])
		ch.starved = ch.starved[:len(ch.starved)-1]
		c.wake = wake
		if i := c.ID / Contexts; c.e.event == eventPick && c.e != ch.Engines[ch.stepping] && wake < c.e.idleUntil {
			c.e.idleUntil = wake
			ch.order.set(i, wake)
		}
	}
}

// Loop runs a context that does not end a little further, and returns the
// lowest and the highest address that it executes. The run must not be
// continued.
func (e *Engine) Loop(c *Context) (low, high int) {
	fault := e.fault
	low, high = int(c.pc), int(c.pc)
	c.state, e.fault = ready, nil
	for range loopWords {
		e.atTrap = false
		e.stretch(c, 1)
		if e.fault != nil || e.atTrap || c.state == halted || c.pending.kind != pendNone {
			break
		}
		low, high = min(low, int(c.pc)), max(high, int(c.pc))
	}
	c.state, e.fault, c.pending.kind = halted, fault, pendNone
	return low, high
}

// loopWords is the number of words that Loop executes; it sees all of a loop of
// at most that many.
const loopWords = 4096
