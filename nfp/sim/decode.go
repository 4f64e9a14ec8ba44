package sim

import (
	"fmt"

	"github.com/nfpkit/nfpkit/nfp"
)

// Store is a control store: words, decoded once. Engines may share it.
type Store struct {
	ops   [storeWords]op
	extra []extra // by op.x
	insts []span  // the loaded instructions, for messages
	cmds  []cmd
	bad   map[uint32]string
	traps map[uint32]TrapFunc
}

// span is instructions at consecutive addresses.
type span struct {
	start uint32
	insts []nfp.Inst
}

// inst is the instruction at addr, or nil.
func (s *Store) inst(addr uint32) *nfp.Inst {
	for i := len(s.insts) - 1; i >= 0; i-- {
		if p := &s.insts[i]; addr-p.start < uint32(len(p.insts)) {
			return &p.insts[addr-p.start]
		}
	}
	return nil
}

const (
	storeWords = 1 << 14 // branch addresses have 14 bits
	storeMask  = storeWords - 1
)

// NewStore returns an empty control store.
func NewStore() *Store {
	return &Store{extra: make([]extra, 1), bad: map[uint32]string{}, traps: map[uint32]TrapFunc{}}
}

// Trap runs fn when a context arrives at addr, instead of an instruction there.
func (s *Store) Trap(addr int, fn TrapFunc) {
	a := uint32(addr) & storeMask
	s.ops[a] = op{run: opTrap, code: opTrap}
	s.traps[a] = fn
}

// Clear forgets all words and traps.
func (s *Store) Clear() {
	clear(s.ops[:])
	clear(s.bad)
	clear(s.traps)
	s.extra, s.insts, s.cmds = s.extra[:1], nil, nil
}

// Load decodes words into the store from addr on. Check bits are ignored. A word
// that is no instruction is an error; one that the simulator cannot execute
// faults when it is reached.
func (s *Store) Load(addr int, words []nfp.Word, spec *Spec) error {
	insts := make([]nfp.Inst, len(words))
	for i, w := range words {
		in, err := nfp.Decode(w & (1<<45 - 1))
		if err != nil {
			return fmt.Errorf("word %d: %w", addr+i, err)
		}
		insts[i] = in
	}
	return s.LoadInsts(addr, insts, spec)
}

// LoadInsts is Load for instructions already decoded.
func (s *Store) LoadInsts(addr int, insts []nfp.Inst, spec *Spec) error {
	if addr < 0 || addr+len(insts) > storeWords {
		return fmt.Errorf("words %d to %d: outside the control store of %d", addr, addr+len(insts)-1, storeWords)
	}
	s.insts = append(s.insts, span{uint32(addr), insts})
	for i := range insts {
		at := uint32(addr + i)
		delete(s.bad, at)
		d := decoder{s: s, at: at, in: &insts[i], spec: spec}
		if i > 0 {
			d.prev = &insts[i-1]
		}
		d.decode()
	}
	s.markSlots(addr, insts)
	s.markAmounts(addr, insts)
	s.dispatch(addr, insts)
	return nil
}

// decoder turns one nfp.Inst into an op.
type decoder struct {
	s        *Store
	at       uint32
	in, prev *nfp.Inst
	spec     *Spec
	o        op
	x        extra
}

func (d *decoder) decode() {
	in := d.in
	d.o = op{d: regSink, e: regSink, a: regConst, b: regConst, p: regConst}
	switch in.Op {
	case nfp.OpALU:
		d.alu()
	case nfp.OpShf:
		d.shift()
	case nfp.OpLdField:
		d.ldField()
	case nfp.OpImmed:
		d.immed()
	case nfp.OpNop:
		d.o.code = opNop
	case nfp.OpBr:
		d.branch()
	case nfp.OpBrBit, nfp.OpBrByte:
		d.branchData()
	case nfp.OpRtn:
		d.o.code, d.o.val = opRtn, in.Imm
		d.o.a = d.source(in.A, &d.x.a, regTmpA)
		d.o.p = d.o.a
		d.slots(d.stall())
	case nfp.OpCtxArb:
		d.o.code = opCtxArb
		d.slots(d.stall())
	case nfp.OpCSRRead:
		d.o.code, d.o.imm = opCSRRead, in.Imm
	case nfp.OpCSRWrite:
		d.o.code, d.o.imm = opCSRWrite, in.Imm
		d.o.a = d.source(in.A, &d.x.a, regTmpA)
	case nfp.OpMul:
		d.mul()
	case nfp.OpCmd:
		d.command()
	default:
		d.refuse("instruction class not executed")
	}
	if in.Flags&nfp.NoCC != 0 {
		d.o.flags |= flagNoCC
	}
	if in.Flags&nfp.Predicate != 0 {
		d.o.flags |= flagPred
	}
	if d.x.xin|d.x.xout != 0 {
		d.o.flags |= flagXfer
	}
	if d.x.a.kind|d.x.b.kind|d.x.old.kind|d.x.dst.kind != inFile {
		d.o.flags |= flagPre
	}
	if d.x.dst.kind != inFile {
		d.o.flags |= flagPost
	}
	if d.o.flags&(flagPre|flagPost|flagXfer) != 0 {
		d.o.x = uint16(len(d.s.extra))
		d.s.extra = append(d.s.extra, d.x)
	}
	d.s.ops[d.at] = d.o
}

func (d *decoder) refuse(why string) {
	d.o = op{code: opBad}
	d.x = extra{}
	d.s.bad[d.at] = why
}

// source returns the register-file index of an operand. If the operand is not
// in the file, pre copies it to tmp.
func (d *decoder) source(o nfp.Operand, sp *special, tmp uint16) uint16 {
	switch o.Kind {
	case nfp.None:
		return regConst
	case nfp.GPRA:
		return regA + uint16(o.N&31)
	case nfp.GPRB:
		return regB + uint16(o.N&31)
	case nfp.Xfer:
		d.x.xin |= 1 << (o.N & 63)
		return regIn + uint16(o.N&63)
	case nfp.Const:
		return regConst + uint16(o.N&255)
	}
	if !d.special(o, sp) {
		return regSink
	}
	return tmp
}

// special describes an operand outside the file.
func (d *decoder) special(o nfp.Operand, sp *special) bool {
	switch o.Kind {
	case nfp.LM:
		*sp = special{kind: inLM, ptr: o.Ptr & 3, mod: o.Mod, n: uint16(o.N)}
	case nfp.XferIndex:
		*sp = special{kind: inXferIndex, mod: o.Mod}
	case nfp.AbsA:
		*sp = special{kind: inAbsA, n: uint16(o.N & 127)}
	case nfp.AbsB:
		*sp = special{kind: inAbsB, n: uint16(o.N & 127)}
	case nfp.NN:
		*sp = special{kind: inNN, n: uint16(o.N & 127)}
	default:
		d.s.bad[d.at] = "operand through the next neighbour's index"
		return false
	}
	return true
}

// dest resolves the destination.
func (d *decoder) dest(o nfp.Operand) {
	n := uint16(o.N & 31)
	switch o.Kind {
	case nfp.None, nfp.Const:
	case nfp.GPRA:
		d.o.d = regA + n
	case nfp.GPRB:
		d.o.d = regB + n
	case nfp.Xfer:
		d.x.xout |= 1 << (o.N & 63)
		d.o.d = regOut + uint16(o.N&63)
	case nfp.NN, nfp.NNIndex:
		d.s.bad[d.at] = "no next neighbour to write to"
	default:
		if d.special(o, &d.x.dst) {
			d.o.d = regTmpD
		}
	}
	if d.in.Flags&nfp.WriteBoth != 0 {
		switch o.Kind {
		case nfp.GPRA:
			d.o.e = regB + n
		case nfp.GPRB:
			d.o.e = regA + n
		}
	}
}

// sources resolves both operands and finds out which of them the A port reads:
// the one in bank A, or else the left, unless the left is in bank B.
func (d *decoder) sources() {
	in := d.in
	d.o.a = d.source(in.A, &d.x.a, regTmpA)
	d.o.b = d.source(in.B, &d.x.b, regTmpB)
	d.o.p = d.o.a
	if in.A.Kind == nfp.None {
		d.o.p = regA // operand code 0
	}
	if in.A.BankB() || in.B.BankA() {
		d.o.p = d.o.b
	}
}

// aluCodes maps the encoded operation to ours; opUnset if it has no name.
var aluCodes = [32]opcode{
	nfp.ALUB: opB, nfp.ALUAdd: opAdd, nfp.ALUPop3: opPop3, nfp.ALUNotB: opNotB,
	nfp.ALUAdd16: opAdd16, nfp.ALUPop1: opPop1, nfp.ALUPop2: opPop2, nfp.ALUAnd: opAnd,
	nfp.ALUAdd8: opAdd8, nfp.ALUCamClear: opCamClear, nfp.ALUNotAAnd: opNotAAnd, nfp.ALUSubC: opSubC,
	nfp.ALUFFS: opFFS, nfp.ALUCamTag: opCamTag, nfp.ALUAndNotB: opAndNotB, nfp.ALUAddC: opAddC,
	nfp.ALUCRC: opCRC, nfp.ALUCamWrite: opCamWrite, nfp.ALUOr: opOr, nfp.ALUSub: opSub,
	nfp.ALUCamLook: opCamLookup, nfp.ALUXor: opXor, nfp.ALUBSubA: opBSubA, nfp.ALUCamWrSt: opCamWriteState,
	nfp.ALUCamState: opCamState,
}

func (d *decoder) alu() {
	d.o.code = aluCodes[d.in.Fn&31]
	if d.o.code == opUnset {
		d.refuse("alu operation without a name")
		return
	}
	d.sources()
	d.dest(d.in.Dst)
	d.o.imm = d.in.Imm
	if d.o.code == opCRC {
		d.o.imm |= uint32(d.in.Byte) << 8
		d.o.val = uint32(d.in.Flags)
	}
	if d.o.code == opCamLookup && d.in.Flags&nfp.LoadLM != 0 {
		d.refuse("cam_lookup that loads a local memory pointer")
	}
}

func (d *decoder) shift() {
	in := d.in
	d.sources()
	d.dest(in.Dst)
	d.o.sh, d.o.fn = in.Amount&31, in.Fn
	switch fn := nfp.ShfOp(in.Fn); {
	case in.Shift == nfp.ShiftDouble && fn == nfp.ShfB:
		d.o.code = opDouble
		if in.Amount == 0 {
			d.o.code = opDoubleInd
		}
	case fn == nfp.ShfAsr && in.Shift == nfp.ShiftRight:
		d.o.code = opAsr
		if in.Amount == 0 {
			d.o.code = opAsrInd
		}
	case fn == nfp.ShfByteAlign:
		d.o.code = opAlignBE
	case fn == nfp.ShfByteAlignLE:
		d.o.code = opAlignLE
	case fn > nfp.ShfOr || in.Shift > nfp.ShiftLeft:
		d.refuse("shift without a meaning")
	case in.Shift == nfp.ShiftNone, in.Shift == nfp.ShiftRotate:
		d.o.code = opRotB + opcode(fn)
	case in.Shift == nfp.ShiftRight && in.Amount == 0:
		d.o.code = opShrInd
	case in.Shift == nfp.ShiftLeft && in.Amount == 0:
		d.o.code = opShlInd
	case in.Shift == nfp.ShiftRight:
		d.o.code = opShrB + opcode(fn)
	case in.Shift == nfp.ShiftLeft:
		d.o.code = opShlB + opcode(fn)
	}
}

// merge resolves a destination that is read too: as a source it is the read
// side of a transfer register.
func (d *decoder) merge() {
	d.dest(d.in.Dst)
	d.o.a = d.source(d.in.Dst, &d.x.old, regTmpO)
	if d.x.old.kind != inFile {
		d.x.old.mod = 0 // the write moves the pointer
	}
}

func (d *decoder) ldField() {
	in := d.in
	d.o.b = d.source(in.B, &d.x.b, regTmpB)
	if in.Flags&nfp.ClearOther == 0 {
		d.merge()
	} else {
		d.dest(in.Dst)
	}
	d.o.p = d.o.b
	if in.Dst.BankA() || in.B.BankB() {
		d.o.p = d.o.a
	}
	for i := range 4 {
		if in.Mask>>i&1 != 0 {
			d.o.imm |= 0xff << (8 * i)
		}
	}
	d.o.sh = in.Amount & 31
	d.o.fn = uint8(in.Shift)
	switch {
	case in.Shift > nfp.ShiftLeft:
		d.refuse("ld_field with a double shift")
		return
	case in.Shift == nfp.ShiftNone, in.Shift == nfp.ShiftRotate:
		d.o.code = opLdRot
	case in.Amount == 0:
		d.o.code = opLdInd
	case in.Shift == nfp.ShiftRight:
		d.o.code = opLdShr
	default:
		d.o.code = opLdShl
	}
	if in.Flags&nfp.LoadCC != 0 {
		d.o.flags |= flagLoadCC
	}
}

func (d *decoder) immed() {
	in := d.in
	v := in.Imm & 0xffff
	switch in.Fn {
	case nfp.ImmedAll:
		d.dest(in.Dst)
		d.o.code, d.o.imm = opImmed, v<<(in.Amount&31)
		if in.Flags&nfp.Invert != 0 {
			d.o.imm = ^d.o.imm
		}
		if d.prev != nil && d.prev.Op == nfp.OpCSRRead && v == 0 {
			d.o.code = opImmedCSR
		}
	case nfp.ImmedByte, nfp.ImmedWord:
		d.merge()
		if in.Flags&nfp.Invert != 0 {
			v = ^v
		}
		mask := uint32(0xff)
		if in.Fn == nfp.ImmedWord {
			mask = 0xffff
		}
		d.o.code = opImmedPart
		d.o.imm = mask << (in.Amount & 31)
		d.o.val = v << (in.Amount & 31) & d.o.imm
	}
}

var brCodes = [32]opcode{
	nfp.CondEQ: opBEQ, nfp.CondNE: opBNE, nfp.CondMI: opBMI, nfp.CondPL: opBPL, nfp.CondCS: opBCS, nfp.CondCC: opBCC,
	nfp.CondVS: opBVS, nfp.CondVC: opBVC, nfp.CondGE: opBGE, nfp.CondLT: opBLT, nfp.CondLE: opBLE, nfp.CondGT: opBGT,
	nfp.CondCtx: opBrCtx, nfp.CondNotCtx: opBrNotCtx, nfp.CondSignal: opBrSignal, nfp.CondNotSignal: opBrNotSignal,
	nfp.CondInp: opBrInp, nfp.CondNotInp: opBrNotInp, nfp.CondAlways: opBr,
}

func (d *decoder) branch() {
	in := d.in
	d.o.code, d.o.imm, d.o.val = brCodes[in.Fn&31], uint32(in.Target)&storeMask, uint32(in.CSS)
	idle := d.stall()
	switch {
	case d.o.code == opUnset:
		d.refuse("condition of the cluster scratch")
		return
	case d.o.code >= opBEQ && d.o.code <= opBGT && d.prev != nil && !d.prev.WritesCC():
		idle = d.spec.Settled
	}
	d.slots(idle)
}

func (d *decoder) branchData() {
	in := d.in
	d.o.a = d.source(in.A, &d.x.a, regTmpA)
	d.o.p = regConst
	if !in.A.BankB() {
		d.o.p = d.o.a
	}
	d.o.imm = uint32(in.Target) & storeMask
	switch {
	case in.Op == nfp.OpBrBit:
		d.o.code, d.o.sh = opBrBclr, uint8(in.Imm&31)
		if in.Fn == 1 {
			d.o.code = opBrBset
		}
	default:
		d.o.code, d.o.sh, d.o.val = opBrByteNE, 8*(in.Byte&3), in.Imm&0xff
		if in.Fn == 1 {
			d.o.code = opBrByteEQ
		}
	}
	d.slots(d.stall())
}

// stall returns the stall cycles of the instruction if it fills no slots.
func (d *decoder) stall() int { return d.spec.Stall(d.in.Latency()) }

// slots records the number of slots that a control word fills, and its idle
// cycles after them.
func (d *decoder) slots(idle int) {
	d.o.fn = d.in.Defer
	d.o.d = uint16(max(0, idle-int(d.in.Defer)))
}

func (d *decoder) mul() {
	in := d.in
	d.sources()
	d.o.fn = in.Fn
	switch {
	case in.Fn>>4 == 0:
		d.o.code = opMulStart
	case in.Fn&7 < 4:
		d.o.code = opMulStep
	case in.Fn&7 == 4:
		d.o.code = opMulLast
		d.dest(in.Dst)
	case in.Fn&7 == 5:
		d.o.code = opMulLast2
		d.dest(in.Dst)
	default:
		d.refuse("multiplier step without a meaning")
	}
}

// markSlots refuses control words in the defer slots of another.
func (s *Store) markSlots(addr int, insts []nfp.Inst) {
	for i := range insts {
		for j := i + 1; j <= i+insts[i].Slots() && j < len(insts); j++ {
			if insts[j].Branches() || insts[j].Swaps() {
				at := uint32(addr + j)
				s.ops[at] = op{code: opBad}
				s.bad[at] = "control word in a defer slot"
			}
		}
	}
}

// markAmounts flags every instruction whose A port a later indirect shift may use: the
// one before it, and the last one executed on the path of a branch to it.
func (s *Store) markAmounts(addr int, insts []nfp.Inst) {
	wants := func(at int) bool {
		switch s.ops[at&storeMask].code {
		case opShrInd, opShlInd, opDoubleInd, opAsrInd, opLdInd:
			return true
		}
		return false
	}
	mark := func(at int) {
		if at >= addr && at < addr+len(insts) {
			s.ops[at].flags |= flagKeepA
		}
	}
	for i := range insts {
		at := addr + i
		if wants(at) {
			mark(at - 1)
		}
		switch in := &insts[i]; in.Op {
		case nfp.OpBr, nfp.OpBrBit, nfp.OpBrByte:
			if wants(int(in.Target)) {
				mark(at + int(in.Defer))
			}
		case nfp.OpRtn:
			mark(at + int(in.Defer))
		}
	}
}
