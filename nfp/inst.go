// Package nfp describes the micro-engine of the NFP-6xxx once: its instruction forms
// with their encodings and text, its memory commands, the images of programs, and the
// models of the cards.
//
// [Inst] is one decoded instruction. [Encode] and [Decode] convert it to and from a
// control-store [Word], [Parse] and Inst.String to and from text; all four are driven
// by the table of [Form] rows, one row an instruction. [Assemble] and [Disassemble] do
// the same for an [Image], which [Image.Link] places. [Model] describes a card:
// engines, memories, latencies, each number with its source.
package nfp

// Word is one control-store cell: 45 bits of instruction in bits 44:0. Check
// bits are added by WithECC when an image is stored.
type Word uint64

// Op is the instruction class; Inst.Fn says which of the class.
type Op uint8

const (
	OpInvalid  Op = iota
	OpALU         // Fn: ALUOp
	OpShf         // ALU_SHF. Fn: ShfOp
	OpLdField     // byte-mask merge
	OpImmed       // Fn: width of the part replaced (ImmedAll, ImmedByte, ImmedWord)
	OpBr          // Fn: Cond
	OpBrBit       // br_bset, br_bclr. Fn: 1 set, 0 clear
	OpBrByte      // br=byte, br!=byte. Fn: 1 equal, 0 unequal
	OpRtn         // rtn, jump
	OpCtxArb      //
	OpCSRRead     // local_csr_rd
	OpCSRWrite    // local_csr_wr
	OpMul         // mul_step. Fn: MulStep
	OpCmd         // memory and I/O command
	OpNop         // the immed that does nothing
	OpUstore      // urd, uwr: code store through its index. Fn: 0 read (Dst), 1 write (A)
	numOps
)

// Kind is the place of an operand.
type Kind uint8

const (
	None      Kind = iota // "--", or an operand the operation does not have
	GPRA                  // N: context-relative register of bank A
	GPRB                  // N: context-relative register of bank B
	AbsA                  // N: absolute register of bank A, 0..127
	AbsB                  // N: absolute register of bank B
	Xfer                  // N: transfer register 0..63; in-register as a source, out-register as a destination
	XferIndex             // through T_INDEX; Mod
	LM                    // Ptr: pointer 0..3; N: word offset, ORed into the pointer; or Mod
	NN                    // N: next-neighbour register
	NNIndex               // next neighbour through its index; Mod
	Const                 // N: constant
	Virtual               // N: virtual register of nfp/jit, before allocation; never encodes
	numKinds
)

// Operand is one source or destination.
type Operand struct {
	Kind Kind
	Ptr  uint8  // LM pointer
	Mod  int8   // post-modify of LM, XferIndex, NNIndex: +1, -1, or 0
	N    uint32 // register number, offset or constant
}

// ShiftKind is the sc field with the operand order resolved.
type ShiftKind uint8

const (
	ShiftNone   ShiftKind = iota
	ShiftRotate           // rotate right by Amount 1..31
	ShiftRight            // logical; Amount 0 = indirect
	ShiftLeft             // logical; Amount is the distance n (the field holds 32-n); 0 = indirect
	ShiftDouble           // dbl_shf; Amount 0 = indirect
)

// ALUOp is the operation of OpALU, numbered as encoded.
type ALUOp uint8

const (
	ALUB        ALUOp = 0x00
	ALUAdd      ALUOp = 0x01
	ALUPop3     ALUOp = 0x03
	ALUNotB     ALUOp = 0x04
	ALUAdd16    ALUOp = 0x05
	ALUPop1     ALUOp = 0x06
	ALUPop2     ALUOp = 0x07
	ALUAnd      ALUOp = 0x08
	ALUAdd8     ALUOp = 0x09
	ALUCamClear ALUOp = 0x0b
	ALUNotAAnd  ALUOp = 0x0c // ~AND: ~L & R
	ALUSubC     ALUOp = 0x0d // -carry
	ALUFFS      ALUOp = 0x0e
	ALUCamTag   ALUOp = 0x0f
	ALUAndNotB  ALUOp = 0x10 // AND~: L & ~R
	ALUAddC     ALUOp = 0x11 // +carry
	ALUCRC      ALUOp = 0x12
	ALUCamWrite ALUOp = 0x13
	ALUOr       ALUOp = 0x14
	ALUSub      ALUOp = 0x15
	ALUCamLook  ALUOp = 0x17
	ALUXor      ALUOp = 0x18
	ALUBSubA    ALUOp = 0x19 // B-A: R - L
	ALUCamWrSt  ALUOp = 0x1b
	ALUCamState ALUOp = 0x1f
)

// ShfOp is the operation of OpShf: result = L op shift(R).
type ShfOp uint8

const (
	ShfB ShfOp = iota
	ShfNotB
	ShfAnd
	ShfNotAAnd
	ShfAndNotB
	ShfOr
	ShfAsr
	ShfByteAlign   // byte_align_be
	ShfByteAlignLE // byte_align_le; one operation to the hardware, distinguished by the shift control
)

// Immed widths.
const (
	ImmedAll = iota
	ImmedByte
	ImmedWord
)

// Cond is the condition of OpBr, numbered as encoded.
type Cond uint8

const (
	CondEQ Cond = iota
	CondNE
	CondMI
	CondPL
	CondCS // carry set: unsigned >= after a subtraction
	CondCC // carry clear: unsigned <
	CondVS
	CondVC
	CondGE
	CondLT
	CondLE
	CondGT
	CondCtx       Cond = 0x10
	CondNotCtx    Cond = 0x11
	CondSignal    Cond = 0x12
	CondNotSignal Cond = 0x13
	CondInp       Cond = 0x14
	CondNotInp    Cond = 0x15
	CondCls       Cond = 0x16
	CondNotCls    Cond = 0x17
	CondAlways    Cond = 0x18
)

// MulStep is Fn of OpMul: type in bits 5:4 (0 start, 1 24x8, 2 16x16, 3 32x32),
// step in bits 2:0 (0..3 step1..4, 4 last, 5 last2).
type MulStep uint8

const (
	MulStart   MulStep = 0
	Mul16Step1 MulStep = 0x20
	Mul32Step1 MulStep = 0x30
	Mul32Last  MulStep = 0x34
	Mul32Last2 MulStep = 0x35
)

// Flags are the one-bit properties of an instruction.
type Flags uint16

const (
	NoCC         Flags = 1 << iota // leave condition codes
	WriteBoth                      // gpr_wrboth: same number in both banks
	Predicate                      // predicate_cc
	ClearOther                     // ld_field_w_clr
	LoadCC                         // ld_field sets condition codes
	Invert                         // immed: constant complemented
	Indirect                       // command: indirect_ref
	Any                            // ctx_arb: any instead of all
	Breakpoint                     // ctx_arb[bpt]
	BitSwap                        // crc
	LittleEndian                   // crc_le
	LoadLM                         // cam_lookup also sets a local memory pointer: Byte is the pointer, Imm address bits 11:10
	NoLoad                         // ctx_arb[--]: wait for the events already chosen
	Resume                         // ctx_arb: go on at Target
)

// Command is the memory or I/O part of OpCmd. Modes 0 and 1 have the same meaning,
// A << 8 + B: Encode picks the one that the banks require, and Decode returns 0. So
// do 2 and 3, of which Decode returns 2. In modes 2 and 3 Xfer is 7 bits of data
// instead of a register. In mode 5 Inst.Imm is a 16-bit address. In mode 6 it is
// address | data<<16; the word holds the data in the fields of token, transfer
// register, length and signal. In mode 7 it is 22 bits of data.
type Command struct {
	Code  uint8 // target and action, bits 38:32
	Token uint8
	Len   uint8 // units - 1, 0..7
	Sig   uint8 // signal number, 0 none
	Ctx   uint8 // 0..2 swap with that many defer slots, 3 no swap
	Mode  uint8 // address mode 0..7
	Xfer  uint8 // transfer register 0..63
}

// Inst is one decoded instruction. Operands stand in text order; Encode chooses
// the swap bit and the port of each.
//
// Which operands an operation has:
//
//	alu, alu_shf, dbl_shf   Dst, A (left), B (right, the one that is shifted)
//	B, ~B, asr, ffs, pop_count, byte_align, crc   Dst, B; A is None
//	ld_field                Dst (read and written), B the source
//	immed                   Dst; the value is Const()
//	br_bset, br=byte, rtn, jump   A the register
//	local_csr_wr            A the register or constant; local_csr_rd has none
//	mul_step                start and steps A, B; last and last2 Dst
//	cam_lookup              Dst, A the key; cam_read_tag, cam_read_state Dst, B the entry
//	cam_write               B the entry, A the tag, Imm the state; cam_write_state B, Imm
//	commands                A, B; the shifted operand, if any, is A. Mode 5..7: Imm, see Command
//
// Imm of crc is the polynomial: 0 none, 2 ccitt, 4 crc_32, 5 iscsi, 6 crc_10, 7
// crc_5. Byte of crc is the subset of bytes: 0 all, 1 bytes 1-3, 2 bytes 2-3, 3
// byte 3, 4 bytes 0-2, 5 bytes 0-1, 6 byte 0.
type Inst struct {
	Op     Op
	Fn     uint8
	Dst    Operand   // None if there is no destination
	A, B   Operand   // left, right; for commands the two address operands as printed
	Shift  ShiftKind // OpShf, OpLdField
	Amount uint8     // shift distance; immed: 0, 8, 16, 24 left shift
	Mask   uint8     // ld_field: byte mask, bit 0 least significant
	Imm    uint32    // immed: 16-bit constant; br_bit: bit 0..31; br_byte: byte value; rtn: offset; ctx_arb: event mask; csr: byte address
	Byte   uint8     // br_byte: byte number
	CSS    uint8     // branch: context, signal or state number; Encode writes 2 for branches that have none
	Pip    uint8     // branch: EV_PIP field of a Raw word; Encode writes 1 for conditions, 0 for br
	Target uint16    // branch address, 14 bits
	Defer  uint8     // defer slots used
	Flags  Flags
	Cmd    Command
	Raw    Word // the whole word if Encode would write another; else 0
}
