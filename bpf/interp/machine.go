// Package interp is the reference interpreter for eBPF. It is written to be obviously
// correct, not fast, and the other engines are compared with it. It executes all of
// RFC 9669 (ISA v1 to v4), with bpf-to-bpf calls, callbacks, tail calls and the legacy
// packet loads.
//
// New returns a Machine for a code.Code and its maps. Run executes it on an Input, a
// packet or a raw program's memory, and returns a Result: return code, packet, events
// and counts. Options set the packet buffer, the clock, the random numbers and limits.
// Engines with their own control, such as the evaluator of IR in internal/difftest, use
// only a Machine's memory and helpers: Reset, Load, Store, Atomic, Helper, Result.
//
// A program sees 64-bit addresses in an address space of its own. All regions that a
// card addresses with 32-bit registers lie below 2^32:
//
//	0x1001_0000  context
//	0x2001_0000  stack: frame n of a call chain is the 512 bytes at n x 0x1000
//	0x4001_0000  memory argument of a raw program
//	0x8001_0000  packet buffer: headroom, packet, tailroom
//	(i+1) x 2^40 value storage of the i-th map seen
//	0x6d00 ...   map handles, 0x6600 ... function pointers: never dereferenced
//
// Every access is checked against these regions, and an access outside them ends the
// run with a *Fault. The interpreter defines behaviour that the language leaves open:
// registers, stack frames and packet headroom start as zero, and byte order is
// little-endian. Runs are therefore deterministic.
package interp

import (
	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// Limits of the kernel, include/linux/bpf.h and bpf_verifier.h.
const (
	stackSize    = 512 // bytes of a frame
	maxFrames    = 8
	maxTailCalls = 33
	maxLoops     = 8 << 20 // bpf_loop's bound
)

// Address space; see the package comment.
const (
	ctxBase    = 0x1001_0000
	stackBase  = 0x2001_0000
	frameStep  = 0x1000
	memBase    = 0x4001_0000
	packetBase = 0x8001_0000
	mapShift   = 40
	handleBase = 0x6d00_0000_0000_0000
	funcBase   = 0x6600_0000_0000_0000
)

// Options sets the environment of a program. The zero value is the kernel's, as
// BPF_PROG_TEST_RUN has it.
type Options struct {
	CPU    func() int    // number of the CPU; nil is 0
	Time   func() uint64 // nanoseconds; nil counts up a microsecond a call
	Random func() uint32 // nil is a fixed sequence
	// Tail returns the program of the number in a prog_array's entry, nil if
	// there is none.
	Tail func(m *maps.Targets, number uint32) *Program
	// Trace is called before each instruction, index into the running program's Insns.
	Trace func(c *code.Code, index int, regs *[11]uint64)
	// MaxSteps bounds the instructions of a run; 0 means 10,000,000.
	MaxSteps int

	// The packet buffer, in bytes from its start. The packet begins at Headroom;
	// xdp_adjust_head may move its start within [HeadMin, HeadMax], and
	// xdp_adjust_tail its end up to HardEnd. Zero means the kernel's: 256, 40
	// (struct xdp_frame lies below), no bound but the packet's length, and 3776
	// (a page less struct skb_shared_info).
	Headroom, HeadMin, HeadMax, HardEnd int
	ShrinkOnly                          bool // xdp_adjust_tail may not grow the packet
	NoMeta                              bool // xdp_adjust_meta fails with ENOTSUPP
	// FoldCsum selects csum_diff's result: folded to 16 bits as in kernels since 6.13
	// if true, else all 32 bits, as in earlier kernels on x86.
	FoldCsum bool
}

// Program is code and its maps, by Code.Maps index.
type Program struct {
	Code *code.Code
	Maps []maps.Map
}

// Input is one packet, or a raw program's memory.
type Input struct {
	Packet  []byte
	RxQueue uint32
	Ifindex uint32 // interface that it came from; 0 is helper.DefaultIfindex
	Egress  uint32 // interface that it goes to, for programs in a devmap; 0 is Ifindex's
	// Ctx, if given, is the context's first content (tc: struct __sk_buff); the
	// fields that follow from the packet are set over it.
	Ctx []byte
	// Mem is the memory of a raw program: R1 points to it, R2 is its length.
	Mem []byte
}

// Result is the outcome of a run.
type Result struct {
	R0        uint64
	Action    uint32 // low half of R0
	Packet    []byte
	Meta      []byte  // metadata before the packet
	Mem       []byte  // raw program's memory
	Ctx       []byte  // context, pointers included
	RxQueue   *uint32 // queue the program selected, nil if it did not
	Redirect  *Redirect
	Events    []Event
	Printk    []string
	Steps     int
	TailCalls int
	// Aborted says that a legacy packet load outside the packet ended the program.
	Aborted bool
}

// Redirect is the target that the last redirect helper recorded. It counts only
// if the program's verdict is to redirect.
type Redirect struct {
	Ifindex uint32        // of redirect
	Map     *ebpf.MapSpec // of redirect_map; nil for redirect
	Key     uint32        //
	Value   []byte        // the map's entry; nil for a broadcast
	Flags   uint64        //
}

// Event is a record sent to user space by perf_event_output or ringbuf_output.
type Event struct {
	Map    *ebpf.MapSpec
	CPU    uint32
	Data   []byte
	Packet []byte // first bytes of the packet, as many as the flags asked for
}

// Machine runs one program on one packet after another. Maps keep their contents
// between runs; all other state starts from zero in each run. A Machine is not safe
// for concurrent use.
type Machine struct {
	opt   Options
	prog  *Program
	maps  []maps.Map // all maps seen, which gives them addresses and handles
	ctx   *helper.Ctx
	clock uint64
	seed  uint32

	run // state of one run
}

type run struct {
	regs   [11]uint64
	frames []frame
	buffer []byte // packet buffer
	start  int    // packet's first byte in buffer
	end    int    // past its last
	meta   int    // metadata's first byte
	mem    []byte
	ctxMem []byte
	steps  int
	tails  int
	out    Result
}

// frame is one function's activation.
type frame struct {
	prog  *Program
	pc    int       // index of the instruction to run next
	saved [4]uint64 // caller's R6 to R9
	stack []byte
}

// New returns a machine that runs c. The maps are indexed as c.Maps, and each must be
// given.
func New(c *code.Code, ms []maps.Map, opt *Options) (*Machine, error) {
	m := &Machine{prog: &Program{Code: c, Maps: ms}, seed: 1}
	if opt != nil {
		m.opt = *opt
	}
	if len(ms) != len(c.Maps) {
		return nil, &Fault{PC: -1, Reason: "unknown-map", Msg: "a map for each of the program's is needed"}
	}
	m.defaults()
	m.ctx, _ = helper.Context(c.Type)
	m.see(ms)
	return m, nil
}

func (m *Machine) defaults() {
	o := &m.opt
	if o.CPU == nil {
		o.CPU = func() int { return 0 }
	}
	if o.Time == nil {
		o.Time = func() uint64 { m.clock += 1000; return m.clock }
	}
	if o.Random == nil {
		o.Random = m.xorshift
	}
	if o.MaxSteps == 0 {
		o.MaxSteps = 10_000_000
	}
	if o.Headroom == 0 {
		o.Headroom = 256
	}
	if o.HeadMin == 0 {
		o.HeadMin = 40
	}
	if o.HardEnd == 0 {
		o.HardEnd = 4096 - 320
	}
}

// xorshift is Marsaglia's 32-bit generator ("Xorshift RNGs", 2003).
func (m *Machine) xorshift() uint32 {
	m.seed ^= m.seed << 13
	m.seed ^= m.seed >> 17
	m.seed ^= m.seed << 5
	return m.seed
}

// see assigns each new map its range of the address space.
func (m *Machine) see(ms []maps.Map) {
	for _, x := range ms {
		if m.index(x) < 0 {
			m.maps = append(m.maps, x)
		}
	}
}

func (m *Machine) index(x maps.Map) int {
	for i, y := range m.maps {
		if x == y {
			return i
		}
	}
	return -1
}

// Run executes the program on one input. Errors are *Fault.
func (m *Machine) Run(in *Input) (*Result, error) {
	m.Reset(in)
	if err := m.push(m.prog, 0); err != nil {
		return nil, err
	}
	m.regs[1] = m.argument()
	if m.ctx == nil {
		m.regs[2] = uint64(len(m.mem))
	}
	if err := m.exec(0); err != nil {
		return nil, err
	}
	return m.Result(), nil
}

// argument returns R1 at a program's entry.
func (m *Machine) argument() uint64 {
	if m.ctx != nil {
		return ctxBase
	}
	return memBase
}

// Reset sets memory up for an input without running the program, for engines
// that execute instructions themselves and use the machine's memory and
// helpers.
func (m *Machine) Reset(in *Input) {
	o := &m.opt
	m.run = run{start: o.Headroom, meta: o.Headroom, end: o.Headroom + len(in.Packet)}
	m.buffer = make([]byte, max(o.HardEnd, m.end))
	copy(m.buffer[m.start:], in.Packet)
	m.mem = append([]byte(nil), in.Mem...)
	if m.ctx != nil {
		m.ctxMem = make([]byte, m.ctx.Size)
		copy(m.ctxMem, in.Ctx)
		m.receive(in)
		m.placePacket()
	}
}

// Result returns the outcome of the run so far.
func (m *Machine) Result() *Result {
	r := m.out
	r.R0, r.Action = m.regs[0], uint32(m.regs[0])
	r.Packet = append([]byte{}, m.buffer[m.start:m.end]...)
	r.Meta = append([]byte(nil), m.buffer[m.meta:m.start]...)
	r.Mem, r.Ctx = m.mem, m.ctxMem
	r.Steps, r.TailCalls = m.steps, m.tails
	return &r
}

// push enters a function at instruction index at.
func (m *Machine) push(p *Program, at int) error {
	if len(m.frames) == maxFrames {
		return m.fault("call-depth", "more than %d frames", maxFrames)
	}
	m.frames = append(m.frames, frame{prog: p, pc: at, saved: [4]uint64(m.regs[6:10]), stack: make([]byte, stackSize)})
	m.regs[10] = m.FramePointer(len(m.frames) - 1)
	return nil
}

// pop leaves the running function.
func (m *Machine) pop() {
	f := &m.frames[len(m.frames)-1]
	copy(m.regs[6:10], f.saved[:])
	m.frames = m.frames[:len(m.frames)-1]
	m.regs[10] = m.FramePointer(len(m.frames) - 1)
}

// FramePointer returns R10 of the frame at depth, 0 the entry function's.
func (m *Machine) FramePointer(depth int) uint64 {
	return stackBase + uint64(depth)*frameStep + stackSize
}
