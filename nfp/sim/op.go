package sim

// opcode is a pre-decoded operation, on which the switch in exec.go runs. It is finer
// than nfp.Op if that saves a decision per instruction.
type opcode uint8

const (
	opUnset opcode = iota
	opTrap
	opBad
	opNop
	// value operations: r[d], r[e] = f(r[a], r[b])
	opB
	opNotB
	opAdd
	opAdd16
	opAdd8
	opAddC
	opSub
	opSubC
	opBSubA
	opAnd
	opNotAAnd
	opAndNotB
	opOr
	opXor
	opPop1
	opPop2
	opPop3
	opFFS
	opCamClear
	opCamTag
	opCamState
	opCamWrite
	opCamWriteState
	opCamLookup
	opCRC
	// shifts: kind, then the logic operation in nfp.ShfOp's order
	opRotB
	opRotNotB
	opRotAnd
	opRotNotAAnd
	opRotAndNotB
	opRotOr
	opShrB
	opShrNotB
	opShrAnd
	opShrNotAAnd
	opShrAndNotB
	opShrOr
	opShlB
	opShlNotB
	opShlAnd
	opShlNotAAnd
	opShlAndNotB
	opShlOr
	opShrInd
	opShlInd
	opDouble
	opDoubleInd
	opAsr
	opAsrInd
	opAlignBE
	opAlignLE
	// merges: r[d] = r[a] &^ imm | shift(r[b]) & imm
	opLdRot
	opLdShr
	opLdShl
	opLdInd
	opImmed
	opImmedPart
	opImmedCSR
	// control
	opBr
	opBEQ
	opBNE
	opBMI
	opBPL
	opBCS
	opBCC
	opBVS
	opBVC
	opBGE
	opBLT
	opBLE
	opBGT
	opBrCtx
	opBrNotCtx
	opBrSignal
	opBrNotSignal
	opBrInp
	opBrNotInp
	opBrBset
	opBrBclr
	opBrByteEQ
	opBrByteNE
	opRtn
	opCtxArb
	// state
	opCSRRead
	opCSRWrite
	opMulStart
	opMulStep
	opMulLast
	opMulLast2
	opCmd
	numOpcodes
)

// class is the cost of an operation beyond its issue cycle.
type class uint8

const (
	costNone    class = iota // not a word, or never executed
	costWord                 // one cycle
	costBranch               // and Spec.Branch or Settled if taken, less the slots filled
	costReturn               // and Spec.Return
	costSwap                 // and Spec.Swap, then the wait for the events
	costCommand              // one cycle; Spec.Swap and the memory's latency if it swaps
)

// opRow describes an operation's effect and cost.
type opRow struct {
	name string
	cost class
	doc  string
}

// opRows has one row per opcode; a test requires it to be complete.
var opRows = [numOpcodes]opRow{
	opUnset:         {"unset", costNone, "a word that was never written; faults"},
	opTrap:          {"trap", costNone, "calls the Go function registered for the address"},
	opBad:           {"bad", costNone, "a word the simulator does not execute; faults"},
	opNop:           {"nop", costWord, "nothing"},
	opB:             {"B", costWord, "right"},
	opNotB:          {"~B", costWord, "not right"},
	opAdd:           {"+", costWord, "left + right; C carry, V overflow"},
	opAdd16:         {"+16", costWord, "left + low half of right"},
	opAdd8:          {"+8", costWord, "left + low byte of right"},
	opAddC:          {"+carry", costWord, "left + right + C"},
	opSub:           {"-", costWord, "left - right; C not borrow"},
	opSubC:          {"-carry", costWord, "left - right - !C"},
	opBSubA:         {"B-A", costWord, "right - left"},
	opAnd:           {"AND", costWord, "left & right; C and V undefined, as for all logic"},
	opNotAAnd:       {"~AND", costWord, "~left & right"},
	opAndNotB:       {"AND~", costWord, "left & ~right"},
	opOr:            {"OR", costWord, "left | right"},
	opXor:           {"XOR", costWord, "left ^ right"},
	opPop1:          {"pop_count1", costWord, "first of three steps on one source"},
	opPop2:          {"pop_count2", costWord, "second step"},
	opPop3:          {"pop_count3", costWord, "number of ones in right"},
	opFFS:           {"ffs", costWord, "number of the lowest one of right; Z where there is none"},
	opCamClear:      {"cam_clear", costWord, "all entries empty"},
	opCamTag:        {"cam_read_tag", costWord, "tag of an entry"},
	opCamState:      {"cam_read_state", costWord, "state of an entry in bits 11:8"},
	opCamWrite:      {"cam_write", costWord, "tag and state to an entry, which becomes the youngest"},
	opCamWriteState: {"cam_write_state", costWord, "state to an entry"},
	opCamLookup:     {"cam_lookup", costWord, "entry in 6:3, hit in 7, state in 11:8; on a miss the oldest entry"},
	opCRC:           {"crc", costWord, "right, folded into the remainder"},
	opRotB:          {"rot B", costWord, "right rotated right"},
	opRotNotB:       {"rot ~B", costWord, "complement of the rotated right"},
	opRotAnd:        {"rot AND", costWord, "left & rotated right"},
	opRotNotAAnd:    {"rot ~AND", costWord, "~left & rotated right"},
	opRotAndNotB:    {"rot AND~", costWord, "left & ~rotated right"},
	opRotOr:         {"rot OR", costWord, "left | rotated right"},
	opShrB:          {"shr B", costWord, "right >> amount"},
	opShrNotB:       {"shr ~B", costWord, "~(right >> amount)"},
	opShrAnd:        {"shr AND", costWord, "left & right >> amount"},
	opShrNotAAnd:    {"shr ~AND", costWord, "~left & right >> amount"},
	opShrAndNotB:    {"shr AND~", costWord, "left & ~(right >> amount)"},
	opShrOr:         {"shr OR", costWord, "left | right >> amount"},
	opShlB:          {"shl B", costWord, "right << amount"},
	opShlNotB:       {"shl ~B", costWord, "~(right << amount)"},
	opShlAnd:        {"shl AND", costWord, "left & right << amount"},
	opShlNotAAnd:    {"shl ~AND", costWord, "~left & right << amount"},
	opShlAndNotB:    {"shl AND~", costWord, "left & ~(right << amount)"},
	opShlOr:         {"shl OR", costWord, "left | right << amount"},
	opShrInd:        {"shr indirect", costWord, "any of the six, amount = low 5 bits of the word before's A port"},
	opShlInd:        {"shl indirect", costWord, "the same to the left"},
	opDouble:        {"dbl_shf", costWord, "low word of left:right >> amount"},
	opDoubleInd:     {"dbl_shf indirect", costWord, "the same, amount = low 6 bits of the word before's A port"},
	opAsr:           {"asr", costWord, "right >> amount, filled with the sign of the previous result"},
	opAsrInd:        {"asr indirect", costWord, "the same, amount from the word before's A port"},
	opAlignBE:       {"byte_align_be", costWord, "previous source : right, left by BYTE_INDEX bytes"},
	opAlignLE:       {"byte_align_le", costWord, "right : previous source, right by BYTE_INDEX bytes"},
	opLdRot:         {"ld_field rot", costWord, "bytes under the mask from the rotated source"},
	opLdShr:         {"ld_field shr", costWord, "bytes under the mask from source >> amount"},
	opLdShl:         {"ld_field shl", costWord, "bytes under the mask from source << amount"},
	opLdInd:         {"ld_field indirect", costWord, "the same, amount from the word before's A port"},
	opImmed:         {"immed", costWord, "constant; codes stay"},
	opImmedPart:     {"immed part", costWord, "constant into a byte or half; the rest and the codes stay"},
	opImmedCSR:      {"immed (csr)", costWord, "value of the control register read by the word before"},
	opBr:            {"br", costBranch, "always"},
	opBEQ:           {"beq", costBranch, "Z"},
	opBNE:           {"bne", costBranch, "!Z"},
	opBMI:           {"bmi", costBranch, "N"},
	opBPL:           {"bpl", costBranch, "!N"},
	opBCS:           {"bcs", costBranch, "C"},
	opBCC:           {"bcc", costBranch, "!C"},
	opBVS:           {"bvs", costBranch, "V"},
	opBVC:           {"bvc", costBranch, "!V"},
	opBGE:           {"bge", costBranch, "N = V"},
	opBLT:           {"blt", costBranch, "N != V"},
	opBLE:           {"ble", costBranch, "Z or N != V"},
	opBGT:           {"bgt", costBranch, "!Z and N = V"},
	opBrCtx:         {"br=ctx", costBranch, "this context has the number"},
	opBrNotCtx:      {"br!=ctx", costBranch, "this context has not the number"},
	opBrSignal:      {"br_signal", costBranch, "signal arrived; clears it"},
	opBrNotSignal:   {"br_!signal", costBranch, "signal not arrived; clears it where it has"},
	opBrInp:         {"br_inp_state", costBranch, "input state; all are clear in one engine"},
	opBrNotInp:      {"br_!inp_state", costBranch, "no input state"},
	opBrBset:        {"br_bset", costBranch, "bit is 1"},
	opBrBclr:        {"br_bclr", costBranch, "bit is 0"},
	opBrByteEQ:      {"br=byte", costBranch, "byte equals the constant"},
	opBrByteNE:      {"br!=byte", costBranch, "byte differs from the constant"},
	opRtn:           {"rtn", costReturn, "to register + constant"},
	opCtxArb:        {"ctx_arb", costSwap, "until the events have come"},
	opCSRRead:       {"local_csr_rd", costWord, "value goes to the next word"},
	opCSRWrite:      {"local_csr_wr", costWord, "control register = register"},
	opMulStart:      {"mul_step start", costWord, "takes the factors"},
	opMulStep:       {"mul_step step", costWord, "steps 1 to 4, in order"},
	opMulLast:       {"mul_step last", costWord, "low word of the product"},
	opMulLast2:      {"mul_step last2", costWord, "high word of the product"},
	opCmd:           {"command", costCommand, "memory or I/O command"},
}

// A context's register file is one array, so that a pre-decoded operand is one index
// of any kind.
const (
	regA     = 0   // 32 registers of bank A
	regB     = 32  // 32 of bank B
	regIn    = 64  // 64 transfer registers, read side
	regOut   = 128 // 64 transfer registers, write side
	regConst = 192 // the constants 0..255, never written
	regSink  = 448 // unused results
	regTmpA  = 449 // operands that are not in the file, brought by pre
	regTmpB  = 450
	regTmpD  = 451 // result that goes elsewhere, taken away by post
	regTmpO  = 452 // old value of such a destination
	regCount = 512
	regMask  = regCount - 1
)

// opFlags request work outside the switch.
type opFlags uint8

const (
	flagPre    opFlags = 1 << iota // special operands or rules: see extra
	flagPost                       // result or codes go elsewhere: see extra
	flagKeepA                      // the next instruction may use this one's A port
	flagNoCC                       // codes stay
	flagLoadCC                     // ld_field sets codes
	flagPred                       // executes only if the predicate holds
	flagXfer                       // transfer registers read or written, see extra; nothing to do unless one is in flight
	flagSlow   = flagPre | flagKeepA | flagPred | flagNoCC
	flagLate   = flagPost | flagNoCC | flagLoadCC
)

// op is one pre-decoded word.
type op struct {
	run   opcode // what the switch starts with: code, or what it needs first (quick.go)
	fast  opcode // opcode if nothing is needed before it
	plain opcode // opcode behind opCount
	code  opcode
	flags opFlags
	sh    uint8  // shift amount; byte compare: shift of the byte
	fn    uint8  // logic operation of indirect shifts; defer slots of control words
	a, b  uint16 // operands; a is the old value for merges
	d, e  uint16 // destinations; idle cycles when taken for branches (d)
	p     uint16 // what the A port reads
	x     uint16 // index in Store.extra, for flagPre or flagPost
	imm   uint32 // constant, mask, branch target, index of a command
	val   uint32 // constant of immed parts; byte value; offset of rtn
}

// extra holds the operands of flagPre and flagPost.
type extra struct {
	a, b, old, dst special
	xin            uint64 // transfer registers read
	xout           uint64 // transfer registers written
}

// special is an operand outside the register file.
type special struct {
	kind specialKind
	ptr  uint8
	mod  int8
	n    uint16
}

type specialKind uint8

const (
	inFile specialKind = iota
	inLM
	inXferIndex
	inAbsA
	inAbsB
	inNN
)
