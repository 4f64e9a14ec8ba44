package sim

import "github.com/nfpkit/nfpkit/nfp"

// Most instructions have dead side results: condition codes that the next addition
// overwrites, a result that no arithmetic shift or indirect reference uses. Computing
// that once, when code is loaded, makes most instructions a shorter case of the switch
// in exec.go that computes the result and no more.
//
// Instructions are sorted by what must be done before that switch. Some need nothing,
// some a test of their transfer registers, and some a word of local memory through a
// pointer that is known to be valid. The others need the whole decoding (pre, post).

// Dispatch codes beyond the operations: what a word needs first.
const (
	opCount opcode = numOpcodes + iota // count the word
	opSlow                             // pre, then the operation
	opXfer                             // pre if a transfer register is in flight
	// local memory through a validated pointer, in op.p: pointer << 4 | offset
	opLoadLM   // r[d], r[e] = LM
	opStoreLM  // LM = r[b]
	opMergeLM  // r[d], r[e] = r[a] &^ imm | rotate(LM) & imm
	opMergeShr // the same, shifted right
	opMergeShl // left
	opFieldLM  // LM = LM &^ imm | rotate(r[b]) & imm
	opFieldShr
	opFieldShl
	// results only
	opQuickB
	opQuickNotB
	opQuickAdd
	opQuickSub
	opQuickAnd
	opQuickAndNotB
	opQuickNotAAnd
	opQuickOr
	opQuickXor
	opQuickRotB
	opQuickRotAnd
	opQuickRotOr
	opQuickShrB
	opQuickShrAnd
	opQuickShrOr
	opQuickShlB
	opQuickShlAnd
	opQuickShlOr
	opQuickDouble
	opQuickLdRot
	opQuickLdShr
	opQuickLdShl
	opQuickImmed
	opQuickImmedPart
	numDispatch
)

// quick is the shorter form of an operation whose condition codes are dead.
var quick = [numOpcodes]opcode{
	opB: opQuickB, opNotB: opQuickNotB, opAdd: opQuickAdd, opSub: opQuickSub, opAnd: opQuickAnd, opAndNotB: opQuickAndNotB,
	opNotAAnd: opQuickNotAAnd, opOr: opQuickOr, opXor: opQuickXor, opRotB: opQuickRotB, opRotAnd: opQuickRotAnd, opRotOr: opQuickRotOr,
	opShrB: opQuickShrB, opShrAnd: opQuickShrAnd, opShrOr: opQuickShrOr, opShlB: opQuickShlB, opShlAnd: opQuickShlAnd, opShlOr: opQuickShlOr,
	opDouble: opQuickDouble, opLdRot: opQuickLdRot, opLdShr: opQuickLdShr, opLdShl: opQuickLdShl,
	opImmed: opQuickImmed, opImmedPart: opQuickImmedPart,
}

// leaves is the set of a word's side results that later words may read.
type leaves uint8

const (
	leavesCodes leaves = 1 << iota
	leavesPrev         // the last result
	leavesAll   = leavesCodes | leavesPrev
)

// valued reports whether an operation ends in a result.
func (c opcode) valued() bool {
	return c >= opB && c <= opImmedCSR || c == opMulLast || c == opMulLast2
}

// leavings returns the side results that an operation reads, and those that it
// always overwrites.
func (s *Store) leavings(o *op) (reads, sets leaves) {
	switch {
	case o.code == opAddC, o.code == opSubC, o.code >= opBEQ && o.code <= opBGT:
		reads = leavesCodes
	case o.code == opAsr, o.code == opAsrInd:
		reads = leavesPrev
	case o.code == opCmd && s.cmds[o.imm].ind, o.code == opCSRRead && o.imm == csrALUOut:
		reads = leavesPrev
	}
	if o.flags&flagPred != 0 {
		return reads | leavesCodes, 0
	}
	if o.code.valued() {
		sets = leavesPrev
		if o.code < opLdRot || o.code > opImmedCSR {
			if o.flags&flagNoCC == 0 {
				sets |= leavesCodes
			}
		}
	}
	return reads, sets
}

// live returns, for each loaded instruction, the side results that are live after it.
// A branch's successors follow its slots; outside the loaded code all are live.
func (s *Store) live(addr int, insts []nfp.Inst) []leaves {
	n := len(insts)
	out, in := make([]leaves, n), make([]leaves, n+1)
	in[n] = leavesAll
	jumps := make([][]int32, 0)
	jumpAt := make(map[int]int)
	ends := make([]bool, n) // control never falls through
	for i := range insts {
		x := &insts[i]
		if !x.Branches() {
			continue
		}
		at := min(i+x.Slots(), n-1)
		target := int32(n)
		if x.HasTarget() {
			if t := int(x.Target) - addr; t >= 0 && t < n {
				target = int32(t)
			}
		}
		k, ok := jumpAt[at]
		if !ok {
			k = len(jumps)
			jumpAt[at] = k
			jumps = append(jumps, nil)
		}
		jumps[k] = append(jumps[k], target)
		ends[at] = ends[at] || x.AlwaysBranches() && x.Slots() == 0
	}
	for changed := true; changed; {
		changed = false
		for i := n - 1; i >= 0; i-- {
			var v leaves
			if !ends[i] {
				v = in[i+1]
			}
			if k, ok := jumpAt[i]; ok {
				for _, t := range jumps[k] {
					v |= in[t]
				}
			}
			reads, sets := s.leavings(&s.ops[addr+i])
			w := v&^sets | reads
			if v != out[i] || w != in[i] {
				out[i], in[i], changed = v, w, true
			}
		}
	}
	return out
}

// dispatch chooses the dispatch code of each loaded word.
func (s *Store) dispatch(addr int, insts []nfp.Inst) {
	live := s.live(addr, insts)
	for i := range insts {
		o := &s.ops[addr+i]
		o.run, o.fast = o.code, o.code
		if o.code <= opTrap || o.code >= numOpcodes {
			continue
		}
		unread := live[i] == 0 || live[i] == leavesCodes && o.code >= opLdRot && o.code <= opImmedCSR
		if q := quick[o.code]; q != opUnset && unread && o.flags&flagLate == 0 {
			o.fast = q
		}
		switch {
		case o.flags&(flagSlow|flagLate) != 0:
			o.run = opSlow
			if unread && o.flags&^(flagPre|flagPost) == 0 {
				s.local(o)
			}
		case o.flags&flagXfer != 0:
			o.run = opXfer
		default:
			o.run = o.fast
		}
	}
}

// Count makes engines with a profile count each loaded instruction, or stop counting.
func (s *Store) Count(on bool) {
	for i := range s.ops {
		o := &s.ops[i]
		switch {
		case on && o.run > opTrap && o.run != opCount:
			o.plain, o.run = o.run, opCount
		case !on && o.run == opCount:
			o.run = o.plain
		}
	}
}

// local finds the words that move to or from local memory and nothing else.
func (s *Store) local(o *op) {
	x := &s.extra[o.x]
	if x.xin|x.xout != 0 {
		return
	}
	plain := func(p *special) bool { return p.kind == inLM && p.mod == 0 && p.n < 16 }
	place := func(p *special) { o.p = uint16(p.ptr)<<4 | p.n }
	none := func(p *special) bool { return p.kind == inFile }
	merge := map[opcode][2]opcode{opLdRot: {opMergeLM, opFieldLM}, opLdShr: {opMergeShr, opFieldShr}, opLdShl: {opMergeShl, opFieldShl}}
	switch {
	case o.code == opB && plain(&x.b) && none(&x.a) && none(&x.old) && none(&x.dst):
		o.run = opLoadLM
		place(&x.b)
	case o.code == opB && plain(&x.dst) && none(&x.a) && none(&x.b) && none(&x.old):
		o.run = opStoreLM
		place(&x.dst)
	case merge[o.code][0] != 0 && plain(&x.b) && none(&x.a) && none(&x.old) && none(&x.dst):
		o.run = merge[o.code][0]
		place(&x.b)
	case merge[o.code][0] != 0 && plain(&x.dst) && plain(&x.old) && x.old.ptr == x.dst.ptr && x.old.n == x.dst.n && none(&x.a) && none(&x.b):
		o.run = merge[o.code][1]
		place(&x.dst)
	}
}

// windowWords is the number of words that a pointer reaches by offset.
const windowWords = 16

// window records that a pointer, settled and aligned, reaches a whole window of
// the context's local memory. Later words then need no check until the pointer is
// written.
func (c *Context) window(ptr uint8, addr uint32) {
	word := addr >> 2
	if word&(windowWords-1) != 0 || word+windowWords > LMWords {
		return
	}
	if low, high := word<<2, (word+windowWords)<<2; c.LMParts[0][1]|c.LMParts[1][1] != 0 &&
		(low < c.LMParts[0][0] || high > c.LMParts[0][1]) && (low < c.LMParts[1][0] || high > c.LMParts[1][1]) {
		return
	}
	c.win[ptr] = word + 1
}
