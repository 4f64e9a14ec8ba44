package sim

import "math/bits"

// stretch runs a context to its next swap point: an instruction that swaps, a trap, a
// fault, or the end of the budget. It returns the instructions executed, a trap
// counting as one.
//
// Defer slots need no test: a branch that fills n of them lowers the loop's count to
// n, and its decision takes effect when the count runs out. The loop does not count
// time either: time is the instructions executed plus the stall cycles, added when
// needed.
func (e *Engine) stretch(c *Context, budget int64) int64 {
	var (
		ops   = &e.store.ops
		r     = &c.r
		pc    = c.pc
		base  = e.clock
		left  = budget
		saved int64  // of the budget, after the slots being executed
		idle  uint64 // idle cycles so far
		n     int64
		to    uint32
		sum   uint64
		trap  bool

		o       *op
		code    opcode
		x, y, z uint32
		w       uint32
		lm      = &e.LM
	)
run:
	for {
		for left > 0 {
			o = &ops[pc&storeMask]
			pc++
			left--
			code = o.run
		again:
			x, y = r[o.a&regMask], r[o.b&regMask]
			switch code {
			case opCount:
				if e.profile != nil {
					e.count(pc-1, base+idle+uint64(budget-saved-left))
				}
				code = o.plain
				goto again
			case opXfer:
				if code = o.fast; c.flightIn|c.flightOut|c.sent == 0 {
					goto again
				}
				goto slow
			case opSlow:
				goto slow
			case opLoadLM:
				if w = c.win[o.p>>4&3]; w == 0 {
					goto slow
				}
				z = lm[(w-1+uint32(o.p&15))%LMWords]
				goto result
			case opStoreLM:
				if w = c.win[o.p>>4&3]; w == 0 {
					goto slow
				}
				lm[(w-1+uint32(o.p&15))%LMWords] = y
				continue
			case opMergeLM, opMergeShr, opMergeShl:
				if w = c.win[o.p>>4&3]; w == 0 {
					goto slow
				}
				z = lm[(w-1+uint32(o.p&15))%LMWords]
				switch code {
				case opMergeLM:
					z = bits.RotateLeft32(z, -int(o.sh))
				case opMergeShr:
					z >>= o.sh & 31
				default:
					z <<= o.sh & 31
				}
				z = x&^o.imm | z&o.imm
				goto result
			case opFieldLM, opFieldShr, opFieldShl:
				if w = c.win[o.p>>4&3]; w == 0 {
					goto slow
				}
				switch code {
				case opFieldLM:
					z = bits.RotateLeft32(y, -int(o.sh))
				case opFieldShr:
					z = y >> (o.sh & 31)
				default:
					z = y << (o.sh & 31)
				}
				w = (w - 1 + uint32(o.p&15)) % LMWords
				lm[w] = lm[w]&^o.imm | z&o.imm
				continue
			case opQuickB:
				z = y
				goto result
			case opQuickNotB:
				z = ^y
				goto result
			case opQuickAdd:
				z = x + y
				goto result
			case opQuickSub:
				z = x - y
				goto result
			case opQuickAnd:
				z = x & y
				goto result
			case opQuickAndNotB:
				z = x &^ y
				goto result
			case opQuickNotAAnd:
				z = ^x & y
				goto result
			case opQuickOr:
				z = x | y
				goto result
			case opQuickXor:
				z = x ^ y
				goto result
			case opQuickRotB:
				z = bits.RotateLeft32(y, -int(o.sh))
				goto result
			case opQuickRotAnd:
				z = x & bits.RotateLeft32(y, -int(o.sh))
				goto result
			case opQuickRotOr:
				z = x | bits.RotateLeft32(y, -int(o.sh))
				goto result
			case opQuickShrB:
				z = y >> (o.sh & 31)
				goto result
			case opQuickShrAnd:
				z = x & (y >> (o.sh & 31))
				goto result
			case opQuickShrOr:
				z = x | y>>(o.sh&31)
				goto result
			case opQuickShlB:
				z = y << (o.sh & 31)
				goto result
			case opQuickShlAnd:
				z = x & (y << (o.sh & 31))
				goto result
			case opQuickShlOr:
				z = x | y<<(o.sh&31)
				goto result
			case opQuickDouble:
				z = uint32((uint64(x)<<32 | uint64(y)) >> (o.sh & 31))
				goto result
			case opQuickLdRot:
				z = x&^o.imm | bits.RotateLeft32(y, -int(o.sh))&o.imm
				goto result
			case opQuickLdShr:
				z = x&^o.imm | y>>(o.sh&31)&o.imm
				goto result
			case opQuickLdShl:
				z = x&^o.imm | y<<(o.sh&31)&o.imm
				goto result
			case opQuickImmed:
				z = o.imm
				goto result
			case opQuickImmedPart:
				z = x&^o.imm | o.val
				goto result

			case opB:
				z = y
				c.carry = carryUndefined
			case opNotB:
				z = ^y
				c.carry = carryUndefined
			case opAdd16:
				y &= 0xffff
				goto add
			case opAdd8:
				y &= 0xff
				goto add
			case opAdd:
				goto add
			case opAddC:
				if c.carry > 1 && !e.definite(c, pc-1) {
					break run
				}
				sum = uint64(x) + uint64(y) + uint64(c.carry)
				goto added
			case opSub:
				y = ^y
				sum = uint64(x) + uint64(y) + 1
				goto added
			case opSubC:
				if c.carry > 1 && !e.definite(c, pc-1) {
					break run
				}
				y = ^y
				sum = uint64(x) + uint64(y) + uint64(c.carry)
				goto added
			case opBSubA:
				x = ^x
				sum = uint64(x) + uint64(y) + 1
				goto added
			case opAnd:
				z = x & y
				c.carry = carryUndefined
			case opNotAAnd:
				z = ^x & y
				c.carry = carryUndefined
			case opAndNotB:
				z = x &^ y
				c.carry = carryUndefined
			case opOr:
				z = x | y
				c.carry = carryUndefined
			case opXor:
				z = x ^ y
				c.carry = carryUndefined
			case opRotB:
				z = bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opRotNotB:
				z = ^bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opRotAnd:
				z = x & bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opRotNotAAnd:
				z = ^x & bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opRotAndNotB:
				z = x &^ bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opRotOr:
				z = x | bits.RotateLeft32(y, -int(o.sh))
				c.carry = carryUndefined
			case opShrB:
				z = y >> (o.sh & 31)
				c.carry = carryUndefined
			case opShrNotB:
				z = ^(y >> (o.sh & 31))
				c.carry = carryUndefined
			case opShrAnd:
				z = x & (y >> (o.sh & 31))
				c.carry = carryUndefined
			case opShrNotAAnd:
				z = ^x & (y >> (o.sh & 31))
				c.carry = carryUndefined
			case opShrAndNotB:
				z = x &^ (y >> (o.sh & 31))
				c.carry = carryUndefined
			case opShrOr:
				z = x | y>>(o.sh&31)
				c.carry = carryUndefined
			case opShlB:
				z = y << (o.sh & 31)
				c.carry = carryUndefined
			case opShlNotB:
				z = ^(y << (o.sh & 31))
				c.carry = carryUndefined
			case opShlAnd:
				z = x & (y << (o.sh & 31))
				c.carry = carryUndefined
			case opShlNotAAnd:
				z = ^x & (y << (o.sh & 31))
				c.carry = carryUndefined
			case opShlAndNotB:
				z = x &^ (y << (o.sh & 31))
				c.carry = carryUndefined
			case opShlOr:
				z = x | y<<(o.sh&31)
				c.carry = carryUndefined
			case opDouble:
				z = uint32((uint64(x)<<32 | uint64(y)) >> (o.sh & 31))
				c.carry = carryUndefined
			case opAsr:
				z = asr(y, uint32(o.sh), c.prev)
				c.carry = carryUndefined
			case opShrInd, opShlInd, opDoubleInd, opAsrInd, opLdInd:
				if c.portAt != base+idle+uint64(budget-saved-left)-1 {
					e.stop(pc-1, "shift-amount", "the word before did not give an amount")
					break run
				}
				z = indirect(o, x, y, c.portA, c.prev)
				if o.code == opLdInd {
					goto store
				}
				c.carry = carryUndefined
			case opAlignBE:
				z = uint32((uint64(c.align)<<32 | uint64(y)) >> (32 - 8*(e.csr.byteIndex&3)))
				c.align = y
				c.carry = carryUndefined
			case opAlignLE:
				z = uint32((uint64(y)<<32 | uint64(c.align)) >> (8 * (e.csr.byteIndex & 3)))
				c.align = y
				c.carry = carryUndefined
			case opPop1, opPop2, opPop3, opFFS, opCamClear, opCamTag, opCamState, opCamWrite, opCamWriteState, opCamLookup, opCRC:
				z = e.rare(c, o, pc-1, x, y)
				if e.fault != nil {
					break run
				}
				c.carry = carryUndefined
				if o.code == opFFS {
					c.nz = uint32(bits.Len32(y)) // Z if no bit is set; the sign is clear
					goto store
				}
			case opMulLast, opMulLast2:
				z = e.mulResult(o, pc-1, base+idle+uint64(budget-saved-left))
				if e.fault != nil {
					break run
				}
				c.carry = carryUndefined

			// From here on operations that leave the codes alone.
			case opLdRot:
				z = x&^o.imm | bits.RotateLeft32(y, -int(o.sh))&o.imm
				goto store
			case opLdShr:
				z = x&^o.imm | y>>(o.sh&31)&o.imm
				goto store
			case opLdShl:
				z = x&^o.imm | y<<(o.sh&31)&o.imm
				goto store
			case opImmed:
				z = o.imm
				goto store
			case opImmedPart:
				z = x&^o.imm | o.val
				goto store
			case opImmedCSR:
				if c.csrAt == base+idle+uint64(budget-saved-left)-1 {
					z = c.csrValue
				}
				goto store
			case opNop:
				continue

			case opBr:
				goto taken
			case opBEQ:
				if c.nz == 0 {
					goto taken
				}
				goto untaken
			case opBNE:
				if c.nz != 0 {
					goto taken
				}
				goto untaken
			case opBMI:
				if int32(c.nz) < 0 {
					goto taken
				}
				goto untaken
			case opBPL:
				if int32(c.nz) >= 0 {
					goto taken
				}
				goto untaken
			case opBCS, opBCC, opBVS, opBVC, opBGE, opBLT, opBLE, opBGT:
				if c.carry > 1 && !e.definite(c, pc-1) {
					break run
				}
				if c.holds(o.code) {
					goto taken
				}
				goto untaken
			case opBrCtx:
				if uint32(2*c.n) == o.val {
					goto taken
				}
				goto untaken
			case opBrNotCtx:
				if uint32(2*c.n) != o.val {
					goto taken
				}
				goto untaken
			case opBrSignal:
				if c.arrived(o.val, base+idle+uint64(budget-saved-left)) {
					goto taken
				}
				goto untaken
			case opBrNotSignal:
				if !c.arrived(o.val, base+idle+uint64(budget-saved-left)) {
					goto taken
				}
				goto untaken
			case opBrInp:
				goto untaken
			case opBrNotInp:
				goto taken
			case opBrBset:
				if x>>(o.sh&31)&1 != 0 {
					goto taken
				}
				goto untaken
			case opBrBclr:
				if x>>(o.sh&31)&1 == 0 {
					goto taken
				}
				goto untaken
			case opBrByteEQ:
				if x>>(o.sh&31)&0xff == o.val {
					goto taken
				}
				goto untaken
			case opBrByteNE:
				if x>>(o.sh&31)&0xff != o.val {
					goto taken
				}
				goto untaken
			case opRtn:
				to = (x + o.val) & storeMask
				goto jump

			case opCSRRead:
				c.csrAt = base + idle + uint64(budget-saved-left)
				c.csrValue = e.readCSR(c, o.imm, pc-1, c.csrAt)
				if e.fault != nil {
					break run
				}
				continue
			case opCSRWrite:
				e.writeCSR(c, o.imm, x, pc-1, base+idle+uint64(budget-saved-left))
				if e.fault != nil {
					break run
				}
				continue
			case opMulStart, opMulStep:
				e.mulStep(o, x, y, pc-1, base+idle+uint64(budget-saved-left))
				if e.fault != nil {
					break run
				}
				c.prev = y
				continue
			case opCmd:
				k := &e.store.cmds[o.imm]
				if !e.issue(c, k, x, y, pc-1, base+idle+uint64(budget-saved-left)) {
					break run
				}
				if k.swap {
					goto later
				}
				if c.pending.kind == pendPost {
					break run
				}
				continue
			case opCtxArb:
				c.pending = pending{kind: pendArb, pc: pc - 1, idle: uint64(o.d)}
				goto later
			case opTrap:
				pc--
				left++
				trap = true
				break run
			default:
				e.unexecutable(o, pc-1)
				break run
			}
			// Results that set the codes.
			c.nz = z
		store:
			r[o.d&regMask] = z
			r[o.e&regMask] = z
			c.prev = z
			if o.flags&flagLate != 0 {
				e.post(c, o, pc-1)
			}
			continue

		result:
			r[o.d&regMask] = z
			r[o.e&regMask] = z
			continue

		slow:
			if o.flags&flagSlow != 0 || o.flags&flagXfer != 0 && c.flightIn|c.flightOut|c.sent != 0 {
				if !e.pre(c, o, pc-1, base+idle+uint64(budget-saved-left)) {
					if e.fault != nil {
						break run
					}
					continue
				}
			}
			code = o.code
			goto again

		add:
			sum = uint64(x) + uint64(y)
		added:
			z = uint32(sum)
			c.carry = uint32(sum >> 32)
			c.over = (x ^ z) & (y ^ z)
			c.nz = z
			goto store

		untaken:
			continue
		taken:
			to = o.imm
		jump:
			if o.fn == 0 {
				pc = to
				idle += uint64(o.d)
				continue
			}
			c.pending = pending{kind: pendBranch, target: to, idle: uint64(o.d)}
		later:
			n = int64(o.fn)
			if left < n {
				budget += n - left
				left = n
			}
			saved, left = left-n, n
		}
		switch c.pending.kind {
		case pendNone:
			break run // budget
		case pendBranch:
			c.pending.kind = pendNone
			pc = c.pending.target
			idle += c.pending.idle
			left, saved = saved, 0
		default:
			idle += c.pending.idle
			left, saved = saved, 0
			if e.chip != nil && c.pending.kind == pendCmd {
				break run // executed at its turn among the engines
			}
			e.swap(c, &pc, base+idle+uint64(budget-left))
			c.pending.kind = pendNone
			break run
		}
	}
	words := budget - saved - left
	c.pc = pc & storeMask
	e.Words += uint64(words)
	e.clock = base + idle + uint64(words)
	if e.profile != nil && words > 0 {
		e.counted(e.clock)
	}
	c.issue += idle + uint64(words)
	c.idle += idle
	if trap && e.fault == nil {
		if e.atTrap = true; e.chip == nil {
			e.trap(c)
		}
		words++
	}
	return words
}

// count records that an instruction executes, and the cost of the one before it: its
// cycle and its stall cycles. A branch's stall cycles follow its slots.
func (e *Engine) count(pc uint32, now uint64) {
	if e.counting {
		e.counted(now - 1)
	}
	e.lastWord, e.lastAt, e.counting = pc&storeMask, now-1, true
	e.profile[e.lastWord].Count++
}

// counted ends the last word.
func (e *Engine) counted(now uint64) {
	if e.counting {
		e.profile[e.lastWord].Cycles += now - e.lastAt
		e.counting = false
	}
}

// unexecutable explains why a word stops the run.
func (e *Engine) unexecutable(o *op, pc uint32) {
	if o.code == opUnset {
		e.stop(pc, "unset", "nothing was ever loaded here")
		return
	}
	e.stop(pc, "unsupported", "%s", e.store.bad[pc&storeMask])
}

// trap calls the Go function at the context's address.
func (e *Engine) trap(c *Context) {
	at := c.pc
	next, cost, err := e.store.traps[at](c)
	if err != nil {
		e.stop(at, "trap", "%v", err)
		if e.fault.Err == nil {
			e.fault.Err = err
		}
		return
	}
	c.issue += uint64(cost.Issue)
	c.trapped += uint64(cost.Issue)
	e.clock += uint64(cost.Issue)
	c.wake = e.clock + uint64(cost.Reads*e.spec.EMEM.Read)
	if next == Halt {
		c.state, c.halt = halted, c.wake
		return
	}
	c.pc = uint32(next) & storeMask
}

// definite handles an undefined carry: a fault, or zero if the rules are lax.
func (e *Engine) definite(c *Context, pc uint32) bool {
	if !e.spec.Lax {
		e.stop(pc, "carry", "carry and overflow are undefined after the last operation that set condition codes")
		return false
	}
	c.carry, c.over = 0, 0
	return true
}

// holds tests a condition that needs C or V.
func (c *Context) holds(code opcode) bool {
	less := int32(c.nz^c.over) < 0 // N != V
	switch code {
	case opBCS:
		return c.carry != 0
	case opBCC:
		return c.carry == 0
	case opBVS:
		return int32(c.over) < 0
	case opBVC:
		return int32(c.over) >= 0
	case opBGE:
		return !less
	case opBLT:
		return less
	case opBLE:
		return less || c.nz == 0
	}
	return !less && c.nz != 0 // opBGT
}

// asr shifts v right, filling with the sign of the previous result.
func asr(v, n, prev uint32) uint32 {
	n &= 31
	z := v >> n
	if int32(prev) < 0 {
		z |= ^(^uint32(0) >> n)
	}
	return z
}

// indirect is a shift by the amount that the word before left at the A port.
func indirect(o *op, x, y, amount, prev uint32) uint32 {
	n := amount & 31
	switch o.code {
	case opDoubleInd:
		return uint32((uint64(x)<<32 | uint64(y)) >> (amount & 63))
	case opAsrInd:
		return asr(y, n, prev)
	case opLdInd:
		if o.fn == 2 { // nfp.ShiftRight
			return x&^o.imm | y>>n&o.imm
		}
		return x&^o.imm | y<<n&o.imm
	case opShlInd:
		y <<= n
	default:
		y >>= n
	}
	switch o.fn { // nfp.ShfOp
	case 0:
		return y
	case 1:
		return ^y
	case 2:
		return x & y
	case 3:
		return ^x & y
	case 4:
		return x &^ y
	}
	return x | y
}
