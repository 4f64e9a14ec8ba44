// Each line has one error; what stands after ERROR is its column and text.
frob[gprA_0]                             // ERROR 1 unknown instruction "frob"
alu[gprA_0, gprA_1, +, gprA_2]           // ERROR 24 right operand: gprA_1 and gprA_2 are both of bank A
alu[gprA_0, gprB_1, +, @gprB_2]          // ERROR 24 right operand: gprB_1 and @gprB_2 are both of bank B
alu[gprA_0, 0x1, +, 0x2]                 // ERROR 21 right operand: 0x1 and 0x2: one constant at most
alu[gprA_0, $xfer_1, +, *$index]         // ERROR 25 right operand: $xfer_1 and *$index: two sources of the same kind
alu[gprA_32, gprA_1, +, gprB_2]          // ERROR 5 destination: gprA_32: number out of range of an unrestricted operand
alu[gprA_0, gprA_1, +, 0x100]            // ERROR 24 right operand: constant 0x100 does not fit in 8 bits
alu[gprA_0, gprA_1, PLUS, gprB_2]        // ERROR 21 unknown operation "PLUS": expected + +16 +8 +carry - -carry AND AND~ B-A OR XOR or ~AND
alu[0x3, gprA_1, +, gprB_2]              // ERROR 5 destination: a constant is no destination
alu[$xfer_0, gprA_1, +, gprB_2], gpr_wrboth // ERROR 1 gpr_wrboth: destination $xfer_0 is not a general register
alu[gprA_0, gprA_1, +, gprB_2], load_cc  // ERROR 31 unexpected ", load_cc"
alu[gprA_0, gprA_1, +, gprB_2            // ERROR 30 expected "]"
alu_shf[gprA_0, @gprA_3, AND, gprB_1, >>3] // ERROR 17 left operand: @gprA_3 cannot stand in a restricted operand
alu_shf[gprA_0, *l$index0++, AND, gprB_1, >>3] // ERROR 17 left operand: *l$index0++: no such post-modification in a restricted operand
alu_shf[gprA_0, *l$index0[8], AND, gprB_1, >>3] // ERROR 17 left operand: *l$index0[8]: offset out of range of a restricted operand
alu_shf[gprA_0, n$reg_3, AND, gprB_1, >>3] // ERROR 17 left operand: n$reg_3 cannot stand in a restricted operand
alu_shf[gprA_0, --, B, gprB_1, >>32]     // ERROR 36 shift by 32
asr[gprA_0, gprB_1, <<3]                 // ERROR 23 only >> is possible here
ld_field[--, 0011, gprB_1]               // ERROR 10 destination: missing
ld_field[gprA_0, 0021, gprB_1]           // ERROR 20 expected a byte mask of four binary digits
ld_field[gprA_0, 0011, gprA_1]           // ERROR 24 right operand: gprA_0 and gprA_1 are both of bank A
immed[gprA_0, 0x12345]                   // ERROR 22 constant 0x12345: neither it nor its complement has 16 bits
immed[gprA_0, 0x12, <<24]                // ERROR 19 shift amount: shift by 24, only 0, 8 and 16 exist
immed_b1[gprA_0, 0x100]                  // ERROR 18 constant: 0x100 is out of range
br[.16384]                               // ERROR 10 branch target .16384 does not fit in 14 bits
br[nowhere]                              // ERROR 4 unknown label "nowhere"
br[.0], defer[3]                         // ERROR 7 defer count: 3 defer slots, at most 2
br_bset[gprA_0, 32, .0]                  // ERROR 17 constant: bit 32, a register has 32
br_bset[0x3, 3, .0]                      // ERROR 9 left operand: a constant, a register is needed
br=byte[gprA_0, 4, 0x3, .0]              // ERROR 17 byte number: 4 is out of range
ctx_arb[sig16]                           // ERROR 14 signals are 1 to 15
local_csr_wr[Nothing, gprA_0]            // ERROR 14 expected a control register
local_csr_rd[0x3]                        // ERROR 14 constant: register address 0x3 is not a multiple of 4
mem[read99, $xfer_0, gprA_0, 0x0, 1]     // ERROR 5 unknown command "read99" of mem
mem[read32, $xfer_64, gprA_0, 0x0, 1]    // ERROR 21 transfer register 64, there are 64
mem[read32, $xfer_0, gprA_0, 0x80, 1]    // ERROR 30 right operand: constant 0x80 does not fit in 7 bits
mem[read32, $xfer_0, gprB_0, 0x8, 1]     // ERROR 22 left operand: gprB_0 must be of bank A or no general register
mem[read32, $xfer_0, *l$index2, 0x8, 1]  // ERROR 22 left operand: *l$index2: commands reach pointers 0 and 1 only
mem[read32, $xfer_0, gprA_0, 0x8, 9]     // ERROR 36 length 9, 1 to 8
mem[add, $xfer_0, gprA_0, 0x8, 5]        // ERROR 32 add has no such length
mul_step[gprA_0, gprA_1], start          // ERROR 18 right operand: gprA_0 and gprA_1 are both of bank A
.word 0x200000000000                     // ERROR 1 bad word "0x200000000000"
.frob                                    // ERROR 1 unknown directive ".frob"
.stack many                              // ERROR 12 expected a number
   0: 000000f0000c0300 immed[gprA_0, 0x0] // ERROR 24 the text is not the word's, which is nop
.3  nop @frob                            // ERROR 9 unknown relocation "frob"
