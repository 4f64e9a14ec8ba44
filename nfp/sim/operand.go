package sim

import "math/bits"

// pre prepares an instruction before the switch: the predicate, operands that are not
// in the register file, the rules about transfer registers. It returns false if the
// instruction is not to be executed: there is a fault, or the predicate does not hold.
func (e *Engine) pre(c *Context, o *op, pc uint32, now uint64) bool {
	if o.flags&flagPred != 0 && !c.predicate(e.csr.predicate) {
		return false
	}
	if o.flags&(flagPre|flagXfer) != 0 {
		x := &e.store.extra[o.x]
		if c.flightIn&x.xin != 0 && !e.spec.Lax {
			e.stop(pc, "xfer-early", "$xfer_%d is read before the signal of the command that fills it", bits.TrailingZeros64(c.flightIn&x.xin))
			return false
		}
		if busy := (c.flightOut | c.sent) & x.xout; busy != 0 {
			e.warn(pc, "xfer-overwrite", "$xfer_%d is written before the command that sends it has taken it", bits.TrailingZeros64(busy))
		}
		ok := e.fetch(c, &x.a, regTmpA, pc, now) && e.fetch(c, &x.b, regTmpB, pc, now) && e.fetch(c, &x.old, regTmpO, pc, now)
		if ok && x.dst.kind == inLM {
			c.lmDst, ok = e.lmWord(c, &x.dst, pc, now)
		}
		if !ok {
			return false
		}
	}
	if o.flags&flagKeepA != 0 {
		c.portA, c.portAt = c.r[o.p&regMask], now
	}
	if o.flags&flagNoCC != 0 {
		c.keepNZ, c.keepCarry, c.keepOver = c.nz, c.carry, c.over
	}
	return true
}

// fetch copies a special operand to a slot of the register file.
func (e *Engine) fetch(c *Context, s *special, slot int, pc uint32, now uint64) bool {
	switch s.kind {
	case inFile:
	case inLM:
		w, ok := e.lmWord(c, s, pc, now)
		if !ok {
			return false
		}
		c.r[slot] = e.LM[w]
		c.movePointer(s)
	case inXferIndex:
		owner, n, ok := e.xferIndex(s, pc, now)
		if !ok {
			return false
		}
		if owner.flightIn>>n&1 != 0 && !e.spec.Lax {
			e.stop(pc, "xfer-early", "$xfer_%d is read before the signal of the command that fills it", n)
			return false
		}
		c.r[slot] = owner.r[regIn+n]
		e.moveIndex(s)
	case inAbsA, inAbsB:
		owner, i := e.absolute(s)
		c.r[slot] = owner.r[i]
	case inNN:
		c.r[slot] = e.nn[s.n&127]
	}
	return true
}

// post completes a word after the switch: it moves the result elsewhere,
// restores the condition codes, or sets them.
func (e *Engine) post(c *Context, o *op, pc uint32) {
	if o.flags&flagNoCC != 0 {
		c.nz, c.carry, c.over = c.keepNZ, c.keepCarry, c.keepOver
	}
	if o.flags&flagLoadCC != 0 {
		c.nz, c.carry = c.prev, carryUndefined
	}
	if o.flags&flagPost == 0 {
		return
	}
	z := c.r[regTmpD]
	switch s := &e.store.extra[o.x].dst; s.kind {
	case inLM:
		e.LM[c.lmDst%LMWords] = z
		c.movePointer(s)
	case inXferIndex:
		if owner, n, ok := e.xferIndex(s, pc, ^uint64(0)>>1); ok {
			owner.r[regOut+n] = z
			e.moveIndex(s)
		}
	case inAbsA, inAbsB:
		owner, i := e.absolute(s)
		owner.r[i] = z
	}
}

// lmWord is the word of local memory that an operand names: the pointer's bits
// 11:2, the offset ORed in.
func (e *Engine) lmWord(c *Context, s *special, pc uint32, now uint64) (uint32, bool) {
	p := &c.lm[s.ptr]
	addr := p.addr
	if between := now - p.at - 1; between < uint64(e.spec.PointerDelay) {
		switch {
		case e.spec.Lax:
			addr = p.old
		case between < uint64(e.spec.PointerDelay)-1:
			e.stop(pc, "pointer-delay", "LM pointer %d is used %d words after it was written, %d must lie between", s.ptr, between, e.spec.PointerDelay)
			return 0, false
		default:
			e.warn(pc, "pointer-delay", "LM pointer %d is used %d words after it was written, %d should lie between", s.ptr, between, e.spec.PointerDelay)
		}
	}
	if now-p.at > uint64(e.spec.PointerDelay) {
		c.window(s.ptr, addr)
	}
	word, n := addr>>2, uint32(s.n)
	if word >= LMWords || word&n != 0 {
		e.stop(pc, "lm-bounds", "LM pointer %d is 0x%x, offset %d is ORed to it", s.ptr, addr, n)
		return 0, false
	}
	word |= n
	if a := word << 2; c.LMParts[0][1]|c.LMParts[1][1] != 0 && a-c.LMParts[0][0] >= c.LMParts[0][1]-c.LMParts[0][0] &&
		a-c.LMParts[1][0] >= c.LMParts[1][1]-c.LMParts[1][0] {
		e.stop(pc, "lm-bounds", "local memory at 0x%x is not this context's", a)
		return 0, false
	}
	return word, true
}

// movePointer applies an operand's post-modification, which is usable at once.
func (c *Context) movePointer(s *special) {
	if s.mod != 0 {
		p := &c.lm[s.ptr]
		p.addr += uint32(4 * int32(s.mod))
		p.old = p.addr
		c.win[s.ptr] = 0
	}
}

// xferIndex is the register that T_INDEX names: hardware context in bits 9:7,
// register in 7:2 (4-context mode: 64 a context).
func (e *Engine) xferIndex(s *special, pc uint32, now uint64) (*Context, uint32, bool) {
	if between := now - e.csr.tIndexAt - 1; between < uint64(e.spec.PointerDelay) && !e.spec.Lax {
		e.stop(pc, "pointer-delay", "T_INDEX is used %d words after it was written, %d must lie between", between, e.spec.PointerDelay)
		return nil, 0, false
	}
	i := e.csr.tIndex >> 2 & 255
	return &e.Ctx[i>>6], i & 63, true
}

func (e *Engine) moveIndex(s *special) { e.csr.tIndex += uint32(4 * int32(s.mod)) }

// absolute resolves an absolute register number: 32 a context and bank.
func (e *Engine) absolute(s *special) (*Context, int) {
	i := regA + int(s.n&31)
	if s.kind == inAbsB {
		i = regB + int(s.n&31)
	}
	return &e.Ctx[s.n>>5&3], i
}

// predicate is the condition of predicate_cc, as CSR 0x0b0 numbers it (beq 0 to
// bgt 11).
func (c *Context) predicate(cond uint32) bool {
	switch cond {
	case 0:
		return c.nz == 0
	case 1:
		return c.nz != 0
	case 2:
		return int32(c.nz) < 0
	case 3:
		return int32(c.nz) >= 0
	}
	return c.holds(opBCS + opcode(min(cond, 11)-4))
}
