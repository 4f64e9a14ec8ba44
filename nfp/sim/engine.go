// Package sim is the chip. It executes micro-engine words with their cycles,
// and knows bytes and trap addresses only: what the words mean to anybody is
// the business of the Go functions behind the traps.
//
// An engine runs four contexts that share its control store, local memory and
// multiplier, and give the engine away only where a word says so. Between two
// such points a context runs alone, so Run executes that whole stretch at once
// and orders only the stretches in time. A functional run and a timed one are
// the same run: nothing here depends on which is wanted.
//
// Words are decoded once (decode.go) into ops whose operands are indices into
// one register file, so that most words are two loads, a switch and a store
// (exec.go). Operands elsewhere, local memory for one, are brought to the file
// and taken from it around the switch (operand.go). Nothing is allocated while
// running.
//
// What real silicon answers with garbage is a Fault here: memory outside what
// was allocated, a transfer register read before its signal, a carry that no
// addition set. Spec.Lax silences those rules whose breach is not fatal.
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
	random uint64
	mul    multiplier
	cam    cam
	csr    csrs
	nn     [128]uint32
	next   int // context to look at first
	pool   *pool
	atTrap bool // the last stretch ended at a trap

	chip      *Chip // nil where the engine is alone
	island    int
	cur       *Context // whose event is next
	event     event
	idleUntil uint64 // where the event is to choose a context
	// what words cost, by address; nil where nobody asks
	profile  []WordCost
	counting bool
	lastWord uint32
	lastAt   uint64

	held   uint64 // cycles a full queue held the engine up, last command
	queued uint64 // cycles the last command waited behind others'
}

// TrapFunc runs in place of words. It returns where the context goes on, or
// Halt, and what the firmware would have taken.
type TrapFunc func(c *Context) (next int, cost Cost, err error)

// Halt as the next address ends a context's run.
const Halt = -1

// Cost is what a trap takes: issue cycles, and external memory reads waited for
// one after the other.
// Addr is where the reads go, as far as that matters for queues and the cache.
type Cost struct {
	Issue, Reads int
	Addr         uint64
}

// epoch is the clock's start, far enough from zero that nothing seems to have
// happened just before.
const epoch = 1024

// New makes an engine on a control store and a memory, its registers and local
// memory full of garbage.
func New(spec *Spec, store *Store, mem *Memory) *Engine {
	e := &Engine{spec: spec, store: store, Mem: mem, clock: epoch, random: spec.Seed*0x9e3779b97f4a7c15 | 1, pool: new(pool)}
	e.csr.prn = uint32(e.rand() >> 32)
	for i := range e.pool.words {
		e.pool.words[i] = uint32(e.rand() >> 32)
		binary.LittleEndian.PutUint32(e.pool.bytes[4*i:], e.pool.words[i])
	}
	e.fill()
	return e
}

// fill starts the engine's state: garbage, and the constants that operands name.
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

// rand is xorshift64* (Vigna).
func (e *Engine) rand() uint64 {
	e.random ^= e.random >> 12
	e.random ^= e.random << 25
	e.random ^= e.random >> 27
	return e.random * 0x2545f4914f6cdd1d
}

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

// pick chooses the next context: of those that can run now the first in round
// robin order; where none can, time moves on to the first that will.
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
