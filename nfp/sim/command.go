package sim

import (
	"encoding/binary"

	"github.com/nfpkit/nfpkit/nfp"
)

// Commands to the memory units. A command that swaps executes after its defer slots,
// which may still prepare its data; any other when it is issued. Its signal arrives
// after the unloaded latency. Until the wait for it, the transfer registers that it
// fills or sends are recorded as in flight.

// cmd is one decoded command.
type cmd struct {
	nfp.MemoryCommand
	shift bool // address = a<<8 + b, 40 bits, instead of a + b, 32 bits
	ind   bool // indirect_ref
	swap  bool // gives the engine away
	len   uint8
	sig   uint8
	xfer  uint8
	idle  uint8
}

func (d *decoder) command() {
	in := d.in
	k := in.Cmd
	if k.Code>>5 != 2 {
		d.refuse("command to a unit other than memory")
		return
	}
	info := nfp.CommandOf(k.Code, k.Token, k.Len)
	switch {
	case info == nil || info.Op == nfp.MemoryUnknown:
		d.refuse("memory command not executed")
		return
	case k.Mode > 1 && k.Mode != 4:
		d.refuse("address mode not executed")
		return
	}
	d.o.code = opCmd
	d.o.a = d.source(in.A, &d.x.a, regTmpA)
	d.o.b = d.source(in.B, &d.x.b, regTmpB)
	d.o.p = d.o.a
	if in.A.BankB() || in.B.BankA() {
		d.o.p = d.o.b
	}
	d.o.imm = uint32(len(d.s.cmds))
	c := cmd{MemoryCommand: info.MemoryCommand, shift: k.Mode <= 1, ind: in.Flags&nfp.Indirect != 0, swap: k.Ctx < 3, len: k.Len, sig: k.Sig, xfer: k.Xfer}
	if c.swap {
		d.o.fn = k.Ctx
		c.idle = uint8(max(0, d.stall()-int(k.Ctx)))
	}
	d.s.cmds = append(d.s.cmds, c)
}

// pending is the command that executes after the defer slots.
type pending struct {
	kind   pendKind
	target uint32
	idle   uint64
	pc     uint32 // of the word
	at     uint64 // clock of the word
	cmd    *cmd
	access access
}

type pendKind uint8

const (
	pendNone pendKind = iota
	pendBranch
	pendArb
	pendCmd
	pendPost // a command that does not swap, waiting for its turn among the engines
)

// access is a command with its effective address, length and overrides.
type access struct {
	addr  uint64
	len   uint8 // as encoded: units - 1
	imm   uint32
	isImm bool // imm came from the override
	mask  uint8
	sig   uint8
}

// issue computes a command's address and overrides, and executes it unless it
// swaps.
func (e *Engine) issue(c *Context, k *cmd, x, y, pc uint32, now uint64) bool {
	a := access{len: k.len, sig: k.sig, mask: 0xff}
	if k.shift {
		a.addr = (uint64(x)<<8 + uint64(y)) & (1<<40 - 1)
	} else {
		a.addr = uint64(x + y)
	}
	if k.ind && !e.override(c, &a, pc) {
		return false
	}
	if !k.swap {
		if e.chip != nil && c.pending.kind == pendNone {
			c.pending = pending{kind: pendPost, pc: pc, at: now, cmd: k, access: a}
			return true
		}
		return e.perform(c, k, &a, pc, now) // alone, or in a defer slot
	}
	if a.sig == 0 {
		e.stop(pc, "signal", "swaps on no signal")
		return false
	}
	c.pending = pending{kind: pendCmd, pc: pc, at: now, cmd: k, access: a, idle: uint64(k.idle)}
	return true
}

// override applies the previous instruction's result to a command with indirect_ref:
// nfp-6xxx format, length in 12:8 if bit 7 is set, data in 31:16 by the code in 5:3,
// byte mask, signal number.
func (e *Engine) override(c *Context, a *access, pc uint32) bool {
	ref := c.prev
	if ref&(1<<7) != 0 {
		a.len = uint8(ref >> 8 & 31)
	}
	if ref&(1<<6) != 0 {
		a.mask = uint8(e.csr.ref[0])
	}
	if ref&(1<<13) != 0 {
		a.sig = uint8(e.csr.ref[0] >> 9 & 15)
	}
	switch ref >> 3 & 7 {
	case 0:
	case 2:
		a.imm, a.isImm = ref>>16, true
	case 6:
		a.mask = uint8(ref >> 16)
	default:
		e.stop(pc, "unsupported", "indirect reference 0x%08x overrides the data reference", ref)
		return false
	}
	if ref&(1<<15|1<<14|7) != 0 {
		e.stop(pc, "unsupported", "indirect reference 0x%08x overrides target, context or master", ref)
		return false
	}
	return true
}

// perform executes a command and sends its signal.
func (e *Engine) perform(c *Context, k *cmd, a *access, pc uint32, now uint64) bool {
	words, out, in := k.Transfer(a.len)
	n, kind := 4*words, kindAtomic
	ok := e.fits(c, k, max(in, out), pc)
	switch {
	case k.Op == nfp.MemoryRead:
		kind, n = kindRead, int(k.Unit)*(int(a.len)+1)
		ok = ok && e.read(c, k, a, pc)
	case k.Op == nfp.MemoryWrite:
		kind, n = kindWrite, int(k.Unit)*(int(a.len)+1)
		ok = ok && e.write(c, k, a, pc)
	default:
		ok = ok && e.atomic(c, k, a, words, pc)
	}
	if !ok {
		return false
	}
	arrival := e.arrival(k, kind, a.addr, n, now)
	ins, outs := registers(k.xfer, in), registers(k.xfer, out)
	if busy := c.flightIn & ins; busy != 0 {
		e.warn(pc, "xfer-overwrite", "transfer registers of a command still outstanding are filled again")
	}
	if a.sig == 0 {
		if ins != 0 && !e.spec.Lax {
			e.stop(pc, "signal", "reads without a signal that says when")
			return false
		}
		c.sent |= outs
		return true
	}
	s := &c.sig[a.sig&15]
	if s.sent {
		e.stop(pc, "signal", "signal %d is outstanding already", a.sig)
		return false
	}
	*s = signal{sent: true, at: arrival, in: ins, out: outs, cause: StallCTM, queued: e.queued}
	if k.shift {
		s.cause = StallEMEM
	}
	c.flightIn |= ins
	c.flightOut |= outs
	return true
}

// fits checks that a command's transfer registers exist.
func (e *Engine) fits(c *Context, k *cmd, words int, pc uint32) bool {
	if int(k.xfer)+words > 64 {
		e.stop(pc, "unsupported", "%d transfer registers from %d on", words, k.xfer)
		return false
	}
	return true
}

// registers is the mask of n transfer registers from first on.
func registers(first uint8, n int) uint64 { return (1<<n - 1) << first }

// arrival is the time at which a command's signal arrives: the unloaded latency
// after it was issued or, on a chip, also after the queue of the memory.
func (e *Engine) arrival(k *cmd, kind int, addr uint64, n int, now uint64) uint64 {
	id := unitCTM
	if k.shift {
		id = unitEMEM
	}
	if e.chip != nil {
		return e.ask(id, kind, addr, n, now)
	}
	u := &e.spec.CTM
	if id == unitEMEM {
		u = &e.spec.EMEM
	}
	return now + uint64([3]int{u.Read, u.Write, u.Atomic}[kind])
}

// bytes finds the memory a command reaches.
func (e *Engine) bytes(c *Context, k *cmd, addr uint64, n int, write bool, pc uint32) []byte {
	if k.shift {
		b := e.Mem.emem(addr, n, write)
		if b == nil {
			e.stop(pc, "emem-bounds", "%d bytes at 0x%010x are nobody's", n, addr)
		}
		return b
	}
	if c.Guard != nil && addr>>31 != 0 {
		if why := c.Guard(write, uint32(addr), n); why != "" {
			e.stop(pc, "guard", "%s", why)
			return nil
		}
	}
	b := e.Mem.ctm(uint32(addr), n)
	if b == nil {
		e.stop(pc, "ctm-bounds", "%d bytes at 0x%08x are outside the packet's buffer", n, addr)
	}
	return b
}

// read fills transfer registers. Plain words have the byte at the lowest
// address in bits 31:24, swapped ones in 7:0; bytes that were not asked for are
// garbage.
func (e *Engine) read(c *Context, k *cmd, a *access, pc uint32) bool {
	n := int(k.Unit) * (int(a.len) + 1)
	b := e.bytes(c, k, a.addr, n, false, pc)
	if b == nil {
		return false
	}
	words := (n + 3) / 4
	for i := range words {
		var v uint32
		if part := b[4*i:]; len(part) >= 4 {
			v = binary.BigEndian.Uint32(part)
			if k.Swap {
				v = binary.LittleEndian.Uint32(part)
			}
		} else {
			v = uint32(e.rand())
			for j, x := range part {
				v = v&^(0xff<<(24-8*j)) | uint32(x)<<(24-8*j)
			}
		}
		c.r[regIn+(int(k.xfer)+k.place(i, words))&63] = v
	}
	return true
}

// place is the register, counted from the first, of word i of n.
func (k *cmd) place(i, n int) int {
	if j := i ^ 1; k.LE && j < n {
		return j
	}
	return i
}

// write sends transfer registers. A byte mask covers eight bytes.
func (e *Engine) write(c *Context, k *cmd, a *access, pc uint32) bool {
	n := int(k.Unit) * (int(a.len) + 1)
	b := e.bytes(c, k, a.addr, n, true, pc)
	if b == nil {
		return false
	}
	if a.mask != 0xff && n > 8 {
		e.stop(pc, "unsupported", "byte mask on %d bytes", n)
		return false
	}
	words := (n + 3) / 4
	for i := range b {
		v := c.r[regOut+(int(k.xfer)+k.place(i/4, words))&63]
		shift := 24 - 8*(i%4)
		if k.Swap {
			shift = 8 * (i % 4)
		}
		if a.mask == 0xff || a.mask>>i&1 != 0 {
			b[i] = byte(v >> shift)
		}
	}
	return true
}

// atomic works on big-endian words; a 64-bit number has its low word first.
func (e *Engine) atomic(c *Context, k *cmd, a *access, words int, pc uint32) bool {
	if a.addr&3 != 0 {
		e.stop(pc, "alignment", "atomic command at 0x%x", a.addr)
		return false
	}
	b := e.bytes(c, k, a.addr, 4*words, k.Op != nfp.AtomicRead, pc)
	if b == nil {
		return false
	}
	out := c.r[regOut:regConst]
	var old, data [4]uint32
	for i := range words {
		old[i] = binary.BigEndian.Uint32(b[4*i:])
		data[i] = out[(int(k.xfer)+i)&63]
	}
	if k.Imm {
		data = [4]uint32{a.imm}
		if !a.isImm || a.len&8 == 0 {
			data[0] = uint32(a.len & 3)
		}
	}
	result := old
	if k.Op == nfp.AtomicCompare {
		same := true
		for i := range words {
			same = same && old[i] == data[i]
			result[i] = out[(int(k.xfer)+words+i)&63]
		}
		if !same {
			result = old
		}
	} else {
		apply(k.Op, &result, &data, words)
	}
	for i := range words {
		if k.Op != nfp.AtomicRead {
			binary.BigEndian.PutUint32(b[4*i:], result[i])
		}
		if k.Test {
			c.r[regIn+(int(k.xfer)+i)&63] = old[i]
		}
	}
	return true
}

// apply computes v = v op data.
func apply(op nfp.MemoryOp, v, data *[4]uint32, words int) {
	switch op {
	case nfp.AtomicWrite:
		*v = *data
	case nfp.AtomicSet:
		for i := range v {
			v[i] |= data[i]
		}
	case nfp.AtomicClr:
		for i := range v {
			v[i] &^= data[i]
		}
	case nfp.AtomicXor:
		for i := range v {
			v[i] ^= data[i]
		}
	case nfp.AtomicAdd, nfp.AtomicAddSat, nfp.AtomicSub, nfp.AtomicSubSat:
		x, y := uint64(v[1])<<32|uint64(v[0]), uint64(data[1])<<32|uint64(data[0])
		top := ^uint64(0)
		if words == 1 {
			x, y, top = uint64(v[0]), uint64(data[0]), 0xffffffff
		}
		var z uint64
		switch op {
		case nfp.AtomicAdd:
			z = x + y
		case nfp.AtomicAddSat:
			if z = x + y; z > top || z < x {
				z = top
			}
		case nfp.AtomicSub:
			z = x - y
		case nfp.AtomicSubSat:
			if z = x - y; y > x {
				z = 0
			}
		}
		v[0], v[1] = uint32(z), uint32(z>>32)
	}
}

// arrived tests signal n and clears it if it has arrived.
func (c *Context) arrived(n uint32, now uint64) bool {
	s := &c.sig[n&15]
	if !s.sent || s.at > now {
		return false
	}
	c.take(s)
	return true
}

// take consumes a signal and frees its transfer registers.
func (c *Context) take(s *signal) {
	s.sent = false
	c.flightIn &^= s.in
	c.flightOut &^= s.out
}

// swap releases the engine: the pending command is executed, and the context
// sleeps until its events have come.
func (e *Engine) swap(c *Context, pc *uint32, now uint64) {
	p := &c.pending
	c.sent = 0
	if p.kind == pendCmd {
		// The latency runs from the command's word; slots and idle cycles overlap it.
		if e.perform(c, p.cmd, &p.access, p.pc, p.at) {
			s := &c.sig[p.access.sig&15]
			c.take(s)
			c.wake = max(s.at, now)
		}
		return
	}
	in := e.store.inst(p.pc)
	if in.Flags&nfp.Breakpoint != 0 {
		e.stop(p.pc, "breakpoint", "breakpoint")
		return
	}
	if in.Flags&nfp.Resume != 0 {
		*pc = uint32(in.Target)
	}
	if in.Flags&nfp.NoLoad == 0 {
		if c.events = uint16(in.Imm); c.events == 0 { // kill
			c.state, c.halt = halted, now
			return
		}
	}
	e.await(c, in.Flags&nfp.Any != 0, p.pc, now)
}

// await sleeps until all of the context's events have come, or any. Event 0 has
// always come.
func (e *Engine) await(c *Context, any bool, pc uint32, now uint64) {
	c.wake, c.awaited = now, &c.sig[0]
	var last, first uint64 = now, ^uint64(0)
	for n := 1; n < 16; n++ {
		if c.events>>n&1 == 0 {
			continue
		}
		s := &c.sig[n]
		switch {
		case s.sent:
			if s.at > last || any && s.at < first {
				c.awaited = s
			}
			last, first = max(last, s.at), min(first, s.at)
		case !any:
			e.stop(pc, "signal", "waits for signal %d, which nobody sends", n)
			return
		}
	}
	switch {
	case !any || c.events == 1:
		c.wake = last
	case c.events&1 != 0:
	case first == ^uint64(0):
		e.stop(pc, "signal", "waits for signals that nobody sends")
	default:
		c.wake = max(now, first)
	}
	for n := 1; n < 16; n++ {
		if s := &c.sig[n]; c.events>>n&1 != 0 && s.sent && s.at <= c.wake {
			c.take(s)
		}
	}
}
