// Package sim simulates the chip. It executes micro-engine instructions and counts
// their cycles. It knows only bytes and trap addresses; Go functions behind the traps
// implement the firmware.
//
// An engine runs four contexts that share its control store, local memory and
// multiplier, and swap only at instructions that say so. Between two swap points a
// context runs alone, so Run executes that whole stretch at once and orders only the
// stretches in time. Functional and timed runs are the same code.
//
// Instructions are decoded once (decode.go) into ops whose operands are indices into
// one register file, so that most instructions are two loads, a switch and a store
// (exec.go). Operands elsewhere, such as local memory, are copied to the file before
// the switch, and results from the file after it (operand.go). Running allocates
// nothing.
//
// If silicon returns garbage, the simulator reports a Fault: an access outside
// allocated memory, a transfer register read before its signal, a carry that no
// addition set. Spec.Lax silences the rules whose breach is not fatal.
//
// [Chip] puts engines, memories and packets together and measures throughput and
// latency; [Engine] alone runs code functionally.
package sim

import "encoding/binary"

// Contexts is the number of contexts of an engine in 4-context mode. Context i
// of the API is hardware context 2i.
const Contexts = 4

// LMWords is the size of local memory in words.
const LMWords = 1024

// Engine is one micro-engine.
type Engine struct {
	Ctx      [Contexts]Context
	LM       [LMWords]uint32
	Mem      *Memory
	Warnings []*Fault
	Words    uint64 // words executed since New

	spec   *Spec
	store  *Store
	clock  uint64
	fault  *Fault
	random random
	mul    multiplier
	cam    cam
	csr    csrs
	nn     [128]uint32
	next   int // context to try first
	pool   *pool
	atTrap bool // the last stretch ended at a trap

	chip      *Chip // nil if the engine runs alone
	island    int
	cur       *Context // whose event is next
	event     event
	idleUntil uint64 // if the event is to choose a context
	// costs of instructions, by address; nil unless requested
	profile  []WordCost
	counting bool
	lastWord uint32
	lastAt   uint64

	held   uint64 // cycles a full queue held the engine up, last command
	queued uint64 // cycles the last command waited in queues
}

// TrapFunc runs in place of instructions. It returns the address at which the context
// continues, or Halt, and the firmware's cost.
type TrapFunc func(c *Context) (next int, cost Cost, err error)

// Halt as the next address ends a context's run.
const Halt = -1

// Cost is the cost of a trap: issue cycles, and external memory reads waited for one
// after the other. Addr is the first read's address, for queues and the cache, Then that of
// the others.
type Cost struct {
	Issue, Reads int
	Addr, Then   uint64
}

// epoch is the clock's start, so far from zero that no delay of an earlier
// event is pending then.
const epoch = 1024

// New returns an engine on a control store and a memory, its registers and local
// memory full of garbage.
func New(spec *Spec, store *Store, mem *Memory) *Engine {
	e := &Engine{spec: spec, store: store, Mem: mem, clock: epoch, random: seeded(spec.Seed, 0), pool: new(pool)}
	e.csr.prn = uint32(e.rand() >> 32)
	for i := range e.pool.words {
		e.pool.words[i] = uint32(e.rand() >> 32)
		binary.LittleEndian.PutUint32(e.pool.bytes[4*i:], e.pool.words[i])
	}
	e.fill()
	return e
}

// fill initialises the engine's state: garbage, and the constants that operands
// name.
func (e *Engine) fill() {
	e.GarbageLM(0, LMWords)
	for i := range e.Ctx {
		c := &e.Ctx[i]
		c.e, c.n = e, i
		for v := range 256 {
			c.r[regConst+v] = uint32(v)
		}
		c.Scramble()
		c.ID = i
	}
}

func (e *Engine) rand() uint64 { return e.random.next() }

// Clock is the time in engine cycles.
func (e *Engine) Clock() uint64 { return e.clock }

// Run executes until every started context has halted. It returns a *Fault for
// a word that cannot be executed, a trap's error, or more than maxWords words.
// Traps count as one word, so that loops through traps alone end too.
func (e *Engine) Run(maxWords uint64) error {
	e.fault = nil
	budget := int64(min(maxWords, 1<<62))
	for e.fault == nil {
		c := e.pick()
		if c == nil {
			break
		}
		if budget <= 0 {
			e.stop(c.pc, "watchdog", "still running after %d words", maxWords)
			break
		}
		budget -= e.stretch(c, budget)
	}
	for i := range e.Ctx {
		if c := &e.Ctx[i]; e.fault != nil {
			c.state = halted
		}
	}
	if e.fault != nil {
		return e.fault
	}
	return nil
}

// pick chooses the next context: the first in round robin order that can run now; if
// none can, time advances to the first that will.
func (e *Engine) pick() *Context {
	var first *Context
	for i := range Contexts {
		c := &e.Ctx[(e.next+i)%Contexts]
		if c.state != ready {
			continue
		}
		if c.wake <= e.clock {
			first = c
			break
		}
		if first == nil || c.wake < first.wake {
			first = c
		}
	}
	if first == nil {
		return nil
	}
	if first.wake > e.clock {
		e.clock = first.wake
	}
	e.next = (first.n + 1) % Contexts
	return first
}
