package driver

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Input is one packet, or the memory of a raw program.
type Input struct {
	Packet  []byte
	RxQueue uint32 // 0..511
	Ifindex uint32 // interface of arrival; 0 selects helper.DefaultIfindex
	Mem     []byte // raw programs: r1 points to it, r2 is its length
}

// Result is the outcome of a run.
type Result struct {
	Word     uint32 // result word
	Action   uint32 // the XDP or TC code of the result word
	R0       uint64 // raw programs
	Packet   []byte // as the program left it, or the raw program's memory
	Queue    *uint32
	Redirect *Redirect // recorded target; it takes effect only if Action is a redirect
	Events   []Event
	Issue    uint64 // issue cycles of the program and its helpers
	Helpers  uint64 // the part of Issue in helpers, which are firmware
	Elapsed  uint64 // cycles from entry to exit
	Words    uint64
	Tails    int // number of tail calls
	Warnings []string
}

// Redirect is the target that a redirect helper recorded.
type Redirect struct {
	Ifindex uint32 // argument of redirect
	Map     string // of redirect_map, else ""
	Key     uint32
	Value   []byte // the map's entry, nil for a broadcast
	Flags   uint64
}

// Event is a record of perf_event_output.
type Event struct {
	Map    string
	ID     uint32 // the map's number: table id, or the host's
	CPU    uint32
	Data   []byte
	Packet []byte
}

// run is the state of the packet being processed.
type run struct {
	prog     *Program
	in       int // bytes of the packet in CTM at entry
	tail     []byte
	redirect *Redirect
	events   []Event
	tails    int
}

// Run processes one packet. A *RunError is a fault of the program; any other error is
// the caller's.
func (n *NIC) Run(prog *Program, in *Input) (*Result, error) {
	data := in.Packet
	if raw(prog.Type) {
		data = in.Mem
	}
	l := n.main
	if err := l.place(data, raw(prog.Type)); err != nil {
		return nil, err
	}
	l.run.prog, l.run.redirect, l.run.events, l.run.tails = prog, nil, nil, 0
	c := l.ctx
	c.Start(prog.Start)
	l.enter(in, len(data))
	l.engine.Warnings = l.engine.Warnings[:0]
	words := l.engine.Words
	if err := l.engine.Run(n.opt.MaxWords); err != nil {
		return nil, n.blame(l.explain(err))
	}
	r := &Result{Word: c.A(0), Issue: c.Issue(), Helpers: c.Trapped(), Elapsed: c.Elapsed(), Words: l.engine.Words - words,
		Redirect: l.run.redirect, Events: l.run.events, Tails: l.run.tails}
	for _, w := range l.engine.Warnings {
		r.Warnings = append(r.Warnings, w.Error())
	}
	return r, l.finish(r, prog, len(data))
}

// explain adds the addresses of the loop to a watchdog's fault.
func (n *lane) explain(err error) error {
	var fault *sim.Fault
	if errors.As(err, &fault) && fault.Reason == "watchdog" {
		low, high := n.engine.Loop(n.ctx)
		fault.Msg += fmt.Sprintf(": words %d to %d form the loop", low, high)
	}
	return err
}

func raw(t ebpf.ProgramType) bool { return t == ebpf.UnspecifiedProgram }

// place copies a packet into its buffer.
func (n *lane) place(data []byte, raw bool) error {
	if len(data) > firmware.LengthMask {
		return fmt.Errorf("packet of %d bytes, the most is %d", len(data), firmware.LengthMask)
	}
	k := min(len(data), n.Profile.CTMBytes())
	if raw && k < len(data) {
		return fmt.Errorf("memory of %d bytes, the most is %d", len(data), k)
	}
	if n.opt.ZeroBuffer {
		clear(n.buffer)
	} else {
		n.engine.Garbage(n.buffer[:firmware.PacketOffset])
		n.engine.Garbage(n.buffer[firmware.PacketOffset+k:])
	}
	copy(n.buffer[firmware.PacketOffset:], data[:k])
	n.run.in, n.run.tail = k, data[k:]
	return nil
}

// enter sets up the state of section 1 of the contract: packet vector and raw
// arguments, then the state common to all programs.
func (n *lane) enter(in *Input, length int) {
	v := int(n.vector / 4)
	n.engine.GarbageLM(v, v+firmware.VectorBytes/4)
	n.describe(in, length)
	n.start()
	if raw(n.run.prog.Type) && length > 0 {
		n.setPair(2, uint64(n.vec(firmware.VectorStart)))
	} else if raw(n.run.prog.Type) {
		n.setPair(2, 0)
	}
	if raw(n.run.prog.Type) {
		n.setPair(4, uint64(length))
	}
}

// describe writes a packet's description into the packet vector.
func (n *lane) describe(in *Input, length int) {
	e, v := n.engine, int(n.vector/4)
	set := func(word int, mask, value uint32) {
		w := &e.LM[v+word]
		*w = *w&^mask | value&mask
	}
	set(firmware.VectorLength, 0x3ff<<16|firmware.LengthMask, n.number<<16|uint32(length))
	split := uint32(0)
	if len(n.run.tail) > 0 {
		split = 1 << 31
	}
	set(firmware.VectorSplit, 1<<31, split)
	set(firmware.VectorStart, ^uint32(0), 1<<31|n.number<<16|firmware.PacketOffset)
	set(firmware.VectorFlags, firmware.QueueSelected, 0)
	set(firmware.VectorQueue, 0x1ff<<firmware.QueueShift|firmware.QueueMask, in.RxQueue<<firmware.QueueShift)
	if n.iface {
		set(firmware.VectorPort, ^uint32(0), cmp.Or(in.Ifindex, helper.DefaultIfindex))
	}
}

// start sets up the state at a program's first word, at entry and after a tail call:
// garbage, A22, LM0, LM1.
func (n *lane) start() {
	c := n.ctx
	c.Scramble()
	n.engine.GarbageLM(int(n.stack/4), int(n.stack/4)+n.Profile.Stack/4)
	n.promise()
}

// promise sets the part of that state that the contract defines.
func (n *lane) promise() {
	c := n.ctx
	c.SetA(firmware.StackRegister, n.stack)
	c.SetLMPointer(0, n.stack, 1)
	c.SetLMPointer(1, n.vector, 8)
	if n.Profile.DirectMap {
		for _, m := range n.maps {
			c.SetB(firmware.MapRegister, uint32(m.Base()>>8))
		}
	}
}

// setPair writes a 64-bit value to registers r and r+1 of both banks.
func (n *lane) setPair(r int, v uint64) {
	for i, w := range []uint32{uint32(v), uint32(v >> 32)} {
		n.ctx.SetA(r+i, w)
		n.ctx.SetB(r+i, w)
	}
}

// vec reads a word of the packet vector.
func (n *lane) vec(word int) uint32 { return n.engine.LM[int(n.vector/4)+word] }

// bounds returns the packet's current position: the offsets in the buffer of its first
// byte and of the end of its part in CTM.
func (n *lane) bounds() (start, end int) {
	start = int(n.vec(firmware.VectorStart) & firmware.OffsetMask)
	end = start + int(n.vec(firmware.VectorLength)&firmware.LengthMask)
	return start, min(end, firmware.PacketOffset+n.run.in)
}

// window is how many bytes past a packet's end a read may extend that begins in the
// packet. The compiler loads neighbouring header fields by one command, although it
// may not use all of them (docs/firmware-contract.md section 3).
const window = 64

// guard returns the fault of an access to packet memory, or "".
func (n *lane) guard(write bool, addr uint32, size int) string {
	if addr>>16&0x3ff != n.number {
		return fmt.Sprintf("packet %d is not the one being processed", addr>>16&0x3ff)
	}
	start, end := n.bounds()
	off := int(addr & firmware.OffsetMask)
	switch {
	case write && (off < start || off+size > end):
		return fmt.Sprintf("writes bytes %d to %d of a packet of %d", off-start, off-start+size-1, end-start)
	case !write && n.opt.Guard == GuardPacket && (off < start || off >= end || off+size > end+window):
		return fmt.Sprintf("reads bytes %d to %d of a packet of %d", off-start, off-start+size-1, end-start)
	}
	return ""
}

// done is the firmware's function at the address of the program's exit.
func (n *lane) done(c *sim.Context) (int, sim.Cost, error) {
	if m := c.Outstanding(); m != 0 {
		return sim.Halt, sim.Cost{}, fmt.Errorf("exit with signals 0x%x outstanding: %w", m, errOutstanding)
	}
	if p := c.LMPointer(1); p != n.vector {
		return sim.Halt, sim.Cost{}, errors.New("exit with LM pointer 1 changed")
	}
	return sim.Halt, sim.Cost{}, nil
}

// finish reads the results that the program left.
func (n *lane) finish(r *Result, prog *Program, length int) error {
	start, end := n.bounds()
	now := int(n.vec(firmware.VectorLength) & firmware.LengthMask)
	rest := n.run.tail
	switch have := firmware.PacketOffset + n.run.in - start + len(rest); {
	case start > firmware.BufferBytes || now > have:
		return fmt.Errorf("%s: leaves a packet of %d bytes at offset %d, %d are there", prog.Name, now, start, have)
	case n.vec(firmware.VectorStart)>>16 != 1<<15|n.number:
		return fmt.Errorf("%s: leaves packet pointer 0x%08x", prog.Name, n.vec(firmware.VectorStart))
	}
	r.Packet = append(make([]byte, 0, now), n.buffer[start:max(start, end)]...)
	r.Packet = append(r.Packet, rest[:max(0, now-len(r.Packet))]...)
	if n.vec(firmware.VectorFlags)&firmware.QueueSelected != 0 {
		q := n.vec(firmware.VectorQueue) & firmware.QueueMask
		r.Queue = &q
	}
	if raw(prog.Type) {
		r.R0 = uint64(n.ctx.A(1))<<32 | uint64(n.ctx.A(0))
		return nil
	}
	action, err := codeOf(n.Profile, prog.Type, r.Word)
	if err != nil && prog.placed {
		action, err = codeOf(n.Profile, ebpf.SchedCLS, r.Word)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", prog.Name, err)
	}
	r.Action = action
	for i := range n.Stats {
		if r.Word&(firmware.ResultStat0<<i) != 0 {
			n.Stats[i].Packets++
			n.Stats[i].Bytes += uint64(now)
			break
		}
	}
	return nil
}
