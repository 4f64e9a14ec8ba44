package sim

// csrs are the control registers of an engine that no context has of its own.
type csrs struct {
	pointer   uint32 // CSR_CTX_POINTER
	byteIndex uint32
	tIndex    uint32
	tIndexAt  uint64
	predicate uint32
	crc       uint32
	prn       uint32
	ref       [2]uint32 // CMD_INDIRECT_REF
	mailbox   [4]uint32
}

// Control registers by byte address: nfp-6xxx local CSR map.
const (
	csrALUOut      = 0x010
	csrCtxEnables  = 0x018
	csrCtxPointer  = 0x020
	csrIndStatus   = 0x040
	csrStatus      = 0x044
	csrSigEvents   = 0x04c
	csrWakeup      = 0x054
	csrByteIndex   = 0x070
	csrTIndex      = 0x074
	csrPredicate   = 0x0b0
	csrTimeLow     = 0x0c0
	csrTimeHigh    = 0x0c4
	csrTIndexBytes = 0x0f4
	csrCRC         = 0x140
	csrProfile     = 0x144
	csrRandom      = 0x148
	csrMisc        = 0x160
	csrMailbox     = 0x170
	csrRef0        = 0x190
	csrRef1        = 0x194
)

// lmCSR returns the LM pointer that a control register holds. ind reports
// whether it is that of the context in CSR_CTX_POINTER and not of the running
// one, bytes whether the same write sets BYTE_INDEX.
func lmCSR(addr uint32) (ptr int, ind, bytes, ok bool) {
	switch addr {
	case 0x060, 0x064:
		return 0, addr == 0x060, false, true
	case 0x068, 0x06c:
		return 1, addr == 0x068, false, true
	case 0x090, 0x094:
		return 2, addr == 0x090, false, true
	case 0x098, 0x09c:
		return 3, addr == 0x098, false, true
	case 0x0a0, 0x0a4:
		return 2, addr == 0x0a0, true, true
	case 0x0a8, 0x0ac:
		return 3, addr == 0x0a8, true, true
	case 0x0e0, 0x0e4:
		return 0, addr == 0x0e0, true, true
	case 0x0e8, 0x0ec:
		return 1, addr == 0x0e8, true, true
	}
	return 0, false, false, false
}

// owner is the context to which an indirect control register belongs.
func (e *Engine) owner(c *Context, ind bool) *Context {
	if ind {
		return &e.Ctx[e.csr.pointer>>1&3]
	}
	return c
}

// readCSR is local_csr_rd. The time stamp counts 16 cycles.
func (e *Engine) readCSR(c *Context, addr, pc uint32, now uint64) uint32 {
	if ptr, ind, _, ok := lmCSR(addr); ok {
		return e.owner(c, ind).lm[ptr].addr
	}
	switch addr {
	case csrALUOut:
		return c.prev
	case csrCtxEnables:
		return 1<<31 | 0x5500
	case csrCtxPointer:
		return e.csr.pointer
	case csrIndStatus, csrStatus:
		o := e.owner(c, addr == csrIndStatus)
		at := o.pc
		if o == c {
			at = pc
		}
		return 1<<31 | uint32(e.spec.Island&63)<<25 | at&0x1ffff<<8 | uint32(e.spec.Engine&15)<<3 | uint32(2*o.n)
	case csrSigEvents:
		var m uint32
		for i := range c.sig {
			if c.sig[i].sent && c.sig[i].at <= now {
				m |= 1 << i
			}
		}
		return m
	case csrWakeup:
		return uint32(c.events)
	case csrByteIndex:
		return e.csr.byteIndex
	case csrTIndex, csrTIndexBytes:
		return e.csr.tIndex
	case csrPredicate:
		return e.csr.predicate
	case csrTimeLow:
		return uint32(now / 16)
	case csrTimeHigh:
		return uint32(now / 16 >> 32)
	case csrCRC:
		return e.csr.crc
	case csrProfile:
		return uint32(now)
	case csrRandom:
		e.csr.prn = uint32(e.rand() >> 32)
		return e.csr.prn
	case csrMisc:
		return 0
	case csrMailbox, csrMailbox + 4, csrMailbox + 8, csrMailbox + 12:
		return e.csr.mailbox[(addr-csrMailbox)/4]
	case csrRef0, csrRef1:
		return e.csr.ref[(addr-csrRef0)/4]
	}
	e.stop(pc, "unsupported", "control register 0x%03x cannot be read", addr)
	return 0
}

// writeCSR is local_csr_wr.
func (e *Engine) writeCSR(c *Context, addr, v, pc uint32, now uint64) {
	if ptr, ind, bytes, ok := lmCSR(addr); ok {
		o := e.owner(c, ind)
		p := &o.lm[ptr]
		o.win[ptr] = 0
		if now-p.at > uint64(e.spec.PointerDelay) {
			p.old = p.addr
		}
		p.addr, p.at = v, now
		if bytes {
			e.csr.byteIndex = v & 3
		}
		return
	}
	switch addr {
	case csrCtxPointer:
		e.csr.pointer = v & 7
	case csrWakeup:
		c.events = uint16(v)
	case csrByteIndex:
		e.csr.byteIndex = v & 3
	case csrTIndex, csrTIndexBytes:
		e.csr.tIndex, e.csr.tIndexAt = v&0x3fc, now
		if addr == csrTIndexBytes {
			e.csr.byteIndex = v & 3
		}
	case csrPredicate:
		e.csr.predicate = v & 15
	case csrCRC:
		e.csr.crc = v
	case csrProfile:
	case csrRandom:
		e.csr.prn = v
		e.random = random(v)<<1 | 1
	case csrMailbox, csrMailbox + 4, csrMailbox + 8, csrMailbox + 12:
		e.csr.mailbox[(addr-csrMailbox)/4] = v
	case csrRef0, csrRef1:
		e.csr.ref[(addr-csrRef0)/4] = v
	default:
		e.stop(pc, "unsupported", "control register 0x%03x cannot be written", addr)
	}
}
