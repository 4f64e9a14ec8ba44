package sim

import "math/bits"

// The units that all contexts of an engine share: multiplier, CAM, CRC.

// multiplier is the state of a multiplication. No other word may execute
// between its words.
type multiplier struct {
	x, y uint32
	kind uint8 // type of the steps: 0 none yet, 1 24x8, 2 16x16, 3 32x32
	next uint8 // step expected: 0..3 steps, 4 last, 5 last2, 6 nothing
	on   bool
	at   uint64 // clock of the last word
}

// steps of each type before last.
var mulSteps = [4]uint8{1: 1, 2: 2, 3: 4}

// mulStep executes start and the steps.
func (e *Engine) mulStep(o *op, x, y, pc uint32, now uint64) {
	m := &e.mul
	if o.code == opMulStart {
		*m = multiplier{x: x, y: y, at: now, on: true}
		return
	}
	kind, step := o.fn>>4&3, o.fn&7
	torn := !m.on || m.at != now-1
	order := step != m.next || m.kind != 0 && kind != m.kind || step >= mulSteps[kind]
	switch {
	case torn:
		e.stop(pc, "multiply", "the words of a multiplication must follow one another")
	case order:
		e.stop(pc, "multiply", "step %d where step %d was due", step+1, m.next+1)
	case x != m.x || y != m.y:
		e.stop(pc, "multiply", "the factors changed since start")
	}
	m.kind, m.at, m.next = kind, now, step+1
	if m.next == mulSteps[kind] {
		m.next = 4
	}
}

// mulResult executes last and last2. A 24x8 product takes 24 bits of the left
// and 8 of the right factor (assumed).
func (e *Engine) mulResult(o *op, pc uint32, now uint64) uint32 {
	m := &e.mul
	step := o.fn & 7
	if !m.on || m.at != now-1 || step != m.next || o.fn>>4&3 != m.kind {
		e.stop(pc, "multiply", "the words of a multiplication must follow one another in order")
		return 0
	}
	m.at, m.next = now, step+1
	x, y := m.x, m.y
	switch m.kind {
	case 1:
		x, y = x&0xffffff, y&0xff
	case 2:
		x, y = x&0xffff, y&0xffff
	}
	high, low := bits.Mul32(x, y)
	if step == 5 {
		m.on = false
		return high
	}
	return low
}

// cam is 16 tags of 32 bits with 4 bits of state, in order of use.
type cam struct {
	tag   [16]uint32
	state [16]uint8
	used  [16]uint64
	valid [16]bool
	tick  uint64
}

func (m *cam) touch(i uint32) {
	m.tick++
	m.used[i&15] = m.tick
}

// lookup gives the result word: entry in 6:3, hit in 7, state in 11:8. On a miss
// the entry is the one used longest ago.
func (m *cam) lookup(key uint32) uint32 {
	oldest := 0
	for i := range m.tag {
		if m.valid[i] && m.tag[i] == key {
			m.touch(uint32(i))
			return uint32(i)<<3 | 1<<7 | uint32(m.state[i])<<8
		}
		if m.used[i] < m.used[oldest] {
			oldest = i
		}
	}
	return uint32(oldest) << 3
}

// rare executes the operations of the special units.
func (e *Engine) rare(c *Context, o *op, pc, x, y uint32) uint32 {
	m := &e.cam
	switch o.code {
	case opPop1:
		c.pops, c.popValue = 1, y
	case opPop2, opPop3:
		if int(c.pops) != int(o.code-opPop1) || c.popValue != y {
			e.stop(pc, "unsupported", "a population count is three steps on one source")
		}
		c.pops++
		if o.code == opPop3 {
			c.pops = 0
			return uint32(bits.OnesCount32(y))
		}
	case opFFS:
		if y == 0 {
			return 0
		}
		return uint32(bits.TrailingZeros32(y))
	case opCamClear:
		*m = cam{}
	case opCamTag:
		return m.tag[y&15]
	case opCamState:
		return uint32(m.state[y&15]) << 8
	case opCamWrite:
		m.tag[y&15], m.state[y&15], m.valid[y&15] = x, uint8(o.imm&15), true
		m.touch(y)
	case opCamWriteState:
		m.state[y&15] = uint8(o.imm & 15)
	case opCamLookup:
		return m.lookup(x)
	case opCRC:
		e.csr.crc = crc(e.csr.crc, o.imm&7, uint8(o.imm>>8), o.val, y)
		return y
	}
	return 0
}
