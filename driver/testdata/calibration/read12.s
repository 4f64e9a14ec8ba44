// SPDX-License-Identifier: Apache-2.0
//
// 12 blocking reads of one location, for firmware corenic-direct: written by driver/calibration_test.go.
immed[gprB_22, 0x3fff]
alu[gprB_22, gprB_22, AND, *l$index1]
immed[gprA_2, 0x0], gpr_wrboth
immed[gprA_3, 0x0], gpr_wrboth
alu[*l$index0[1], --, B, gprB_2]
alu[gprA_4, gprA_22, +, 0x8], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[gprA_4, gprA_4, -, 0x4], gpr_wrboth
alu[gprA_5, gprA_5, -carry, 0x0], gpr_wrboth
alu_shf[gprA_0, --, B, *l$index0[1], <<22], gpr_wrboth
immed[gprB_21, 0xffff]
immed_w1[gprB_21, 0x3f]
alu[gprA_0, gprA_0, AND, gprB_21], gpr_wrboth
alu[gprA_1, --, B, gprB_23], gpr_wrboth
alu[gprA_2, --, B, gprB_0], gpr_wrboth
alu[gprA_3, --, B, gprB_1], gpr_wrboth
immed[gprA_0, 0x2], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
alu[--, gprA_2, OR, gprB_3]
beq[exit]
immed[gprA_0, 0x1], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
mem[read32_swap, $xfer_0, gprB_3, <<8, gprA_2, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x4]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x8]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0xc]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x10]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x14]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x18]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x1c]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x20]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x24]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x28]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_4, --, B, $xfer_0], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[--, gprA_4, OR, gprB_5]
bne[exit]
alu[gprA_21, gprA_2, +, 0x2c]
alu[gprB_21, gprB_3, +carry, 0x0]
mem[read32_swap, $xfer_0, gprB_21, <<8, gprA_21, 1], ctx_swap[sig1]
alu[gprA_2, --, B, $xfer_0], gpr_wrboth
immed[gprA_3, 0x0], gpr_wrboth
immed[gprA_0, 0x2], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
alu[--, gprA_2, OR, gprB_3]
beq[exit]
immed[gprA_0, 0x1], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
exit:
br[.15000]
stub:
br[.15000], defer[2]
alu[gprA_0, --, B, 0x0]
ld_field[gprA_0, 1100, 0x82, <<16]
alu[--, 0x3, -, gprB_0]
bcc[stub]
immed[gprB_2, 0x2282]
immed_w1[gprB_2, 0x4411]
alu_shf[gprA_1, --, B, gprB_0, <<3]
alu[--, gprA_1, OR, 0x0]
alu_shf[gprB_2, 0xff, AND, gprB_2, >>indirect]
br[.15000], defer[2]
alu[gprA_0, --, B, 0x0]
ld_field[gprA_0, 1100, gprB_2, <<16]
nop
nop
nop
nop
nop
nop
nop
nop
