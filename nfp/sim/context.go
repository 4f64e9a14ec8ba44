package sim

import "fmt"

// Context is one hardware thread. Its accessors are for traps and for the code that
// starts it.
type Context struct {
	r [regCount]uint32

	// condition codes: the result that N and Z describe, C (or carryUndefined),
	// and V in bit 31
	nz, carry, over uint32

	prev                uint32 // last result: sign of asr, word of an indirect reference
	portA               uint32 // A port of the last word that had to keep it
	portAt              uint64 // when that was
	csrValue            uint32
	csrAt               uint64 // when it was read
	align               uint32 // previous source of byte_align
	lmDst               uint32 // word of local memory that the result goes to
	keepNZ              uint32 // condition codes to restore after an instruction with no_cc
	keepCarry, keepOver uint32

	lm  [4]pointer
	win [4]uint32 // by pointer: first word of its window + 1, if validated

	pc    uint32
	state state
	wake  uint64
	e     *Engine
	n     int

	sig       [16]signal
	flightIn  uint64 // transfer registers that outstanding commands will fill
	flightOut uint64 // and that they will still read
	sent      uint64 // and that commands without signal will still read
	pending   pending
	awaited   *signal // the last one to arrive of those for which the context sleeps
	events    uint16  // wake-up events last selected
	pops      uint8   // steps of a population count done
	popValue  uint32

	started uint64
	issue   uint64
	trapped uint64 // of issue
	idle    uint64 // issue cycles of empty delay slots
	halt    uint64
	errand  errand

	// Guard, if not nil, is called for each access to packet memory (packet
	// addressing): a result that is not empty is the fault's text.
	Guard func(write bool, addr uint32, n int) string
	// LMParts are the byte ranges [low, high) of local memory that the context
	// may access; an empty part allows nothing, two empty parts everything.
	LMParts [2][2]uint32
	// ID is the context's number among those that share a control store: its
	// index in an engine alone, unique over all engines in a chip.
	ID int
}

type state uint8

const (
	halted state = iota
	ready
)

// carryUndefined in Context.carry: the last operation left C and V undefined.
const carryUndefined = 2

// pointer is a local-memory pointer with its delay.
type pointer struct {
	addr, old uint32
	at        uint64 // clock of the write; old counts until Spec.PointerDelay words after
}

// signal is an outstanding command's answer.
type signal struct {
	sent bool
	at   uint64 // arrival
	in   uint64 // transfer registers that it fills
	out  uint64

	cause  Stall  // memory that answers
	queued uint64 // cycles the command waited in queues
}

// Engine is the engine the context belongs to.
func (c *Context) Engine() *Engine { return c.e }

// A reads register n of bank A.
func (c *Context) A(n int) uint32 { return c.r[regA+n&31] }

// B reads register n of bank B.
func (c *Context) B(n int) uint32 { return c.r[regB+n&31] }

// SetA writes register n of bank A.
func (c *Context) SetA(n int, v uint32) { c.r[regA+n&31] = v }

// SetB writes register n of bank B.
func (c *Context) SetB(n int, v uint32) { c.r[regB+n&31] = v }

// LMPointer reads local-memory pointer n, writes not yet due included.
func (c *Context) LMPointer(n int) uint32 { return c.lm[n&3].addr }

// SetLMPointer writes a pointer as if age words had been executed since the
// write.
func (c *Context) SetLMPointer(n int, addr uint32, age int) {
	p := &c.lm[n&3]
	p.old, p.addr = p.addr, addr
	p.at = c.e.clock - uint64(age)
	c.win[n&3] = 0
}

// Start makes the context runnable at pc, with no signal outstanding and its counters
// at zero.
func (c *Context) Start(pc int) {
	c.pc, c.state, c.wake = uint32(pc)&storeMask, ready, c.e.clock
	c.sig = [16]signal{}
	c.win = [4]uint32{}
	c.flightIn, c.flightOut, c.sent = 0, 0, 0
	c.pending.kind = pendNone
	c.started, c.issue, c.trapped, c.halt = c.e.clock, 0, 0, 0
}

// Issue is the cycles in which the context held the engine since Start, idle
// slots included.
func (c *Context) Issue() uint64 { return c.issue }

// Trapped is the part of Issue that traps took: the firmware's work for the
// program.
func (c *Context) Trapped() uint64 { return c.trapped }

// Elapsed is the time since Start, until the context halted.
func (c *Context) Elapsed() uint64 {
	if c.state == halted {
		return c.halt - c.started
	}
	return c.e.clock - c.started
}

// Outstanding is the mask of signals of commands not yet waited for.
func (c *Context) Outstanding() uint16 {
	var m uint16
	for i := range c.sig {
		if c.sig[i].sent {
			m |= 1 << i
		}
	}
	return m
}

// Scramble fills the context's whole state with garbage: registers, transfer
// registers, pointers, condition codes.
func (c *Context) Scramble() {
	c.ScrambleRegs(0, 32)
	c.ScrambleXfers(0, 64)
	for i := range c.lm {
		c.lm[i].addr = uint32(c.e.rand()>>32) &^ 3
		c.lm[i].at, c.lm[i].old = 0, c.lm[i].addr
		c.win[i] = 0
	}
	c.ScrambleState()
}

// ScrambleRegs fills registers [low, high) of both banks with garbage.
func (c *Context) ScrambleRegs(low, high int) {
	copy(c.r[regA+low:regA+high], c.e.garbage())
	copy(c.r[regB+low:regB+high], c.e.garbage())
}

// ScrambleXfers fills transfer registers [low, high) of both sides.
func (c *Context) ScrambleXfers(low, high int) {
	copy(c.r[regIn+low:regIn+high], c.e.garbage())
	copy(c.r[regOut+low:regOut+high], c.e.garbage())
}

// ScrambleState fills the rest of the state: condition codes, previous results,
// T_INDEX, the multiplier.
func (c *Context) ScrambleState() {
	v := c.e.rand()
	c.nz, c.prev = uint32(v), uint32(v>>32)
	c.carry, c.over = carryUndefined, 0
	c.align = uint32(v >> 16)
	c.portAt, c.csrAt = 0, 0
	c.e.mul.on = false
	c.e.csr.tIndex = uint32(v>>8) & 0x3fc
}

// poolWords words of garbage are generated once; memory is filled with them,
// from a random position on.
const poolWords = 2048

// pool is garbage, as words and as bytes, least significant first.
type pool struct {
	words [poolWords]uint32
	bytes [4 * poolWords]byte
}

// garbage returns at least half a pool of random words.
func (e *Engine) garbage() []uint32 { return e.pool.words[e.rand()>>40%(poolWords/2):] }

// Garbage fills b with garbage.
func (e *Engine) Garbage(b []byte) {
	for len(b) >= 4 {
		from := 4 * (poolWords - len(e.garbage()))
		b = b[copy(b[:len(b)&^3], e.pool.bytes[from:]):]
	}
	for i := range b {
		b[i] = byte(e.rand() >> 32)
	}
}

// GarbageLM fills words [low, high) of local memory with garbage.
func (e *Engine) GarbageLM(low, high int) { copy(e.LM[low:high], e.garbage()) }

// LMByte reads byte addr of local memory.
func (e *Engine) LMByte(addr uint32) byte { return byte(e.LM[addr>>2%LMWords] >> (8 * (addr & 3))) }

// SetLMByte writes byte addr of local memory.
func (e *Engine) SetLMByte(addr uint32, v byte) {
	w := &e.LM[addr>>2%LMWords]
	*w = *w&^(0xff<<(8*(addr&3))) | uint32(v)<<(8*(addr&3))
}

// String names the context as the hardware numbers it.
func (c *Context) String() string { return fmt.Sprintf("context %d", 2*c.n) }
