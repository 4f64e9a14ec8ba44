// SPDX-License-Identifier: Apache-2.0
//
// slow.bpf as the Linux 6.12 driver translates it; TestCalibrationWords checks that.
immed[gprB_22, 0x3fff]
alu[gprB_22, gprB_22, AND, *l$index1]
immed[gprA_0, 0x1], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
alu[gprA_4, gprB_22, +, *l$index1[2]], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
alu[gprA_8, --, B, *l$index1[2]], gpr_wrboth
immed[gprA_9, 0x0], gpr_wrboth
alu[gprA_2, --, B, gprB_8], gpr_wrboth
alu[gprA_3, --, B, gprB_9], gpr_wrboth
alu[gprA_2, gprA_2, +, 0x22], gpr_wrboth
alu[gprA_3, gprA_3, +carry, 0x0], gpr_wrboth
alu[--, gprA_4, -, gprB_2]
alu[--, gprA_5, -carry, gprB_3]
bcc[.183]
immed[gprA_2, 0x0], gpr_wrboth
immed[gprA_3, 0x0], gpr_wrboth
immed[gprA_4, 0x8], gpr_wrboth
immed[gprA_5, 0x0], gpr_wrboth
mem[read32_swap, $xfer_0, gprA_8, 0xe, 4], ctx_swap[sig1]
ld_field_w_clr[gprA_10, 0001, $xfer_3, >>24], gpr_wrboth
immed[gprA_11, 0x0], gpr_wrboth
ld_field_w_clr[gprA_6, 0001, $xfer_3, >>16], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[gprB_21, gprA_22, +, 0x40]
local_csr_wr[ActLMAddr3, gprB_21]
nop
nop
nop
alu[*l$index3[2], --, B, gprB_6]
alu[*l$index3[3], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_3, >>8], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[gprB_21, gprA_22, +, 0x40]
local_csr_wr[ActLMAddr3, gprB_21]
nop
nop
nop
alu[*l$index3, --, B, gprB_6]
alu[*l$index3[1], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_3], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[14], --, B, gprB_6]
alu[*l$index0[15], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_2, >>24], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[12], --, B, gprB_6]
alu[*l$index0[13], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_2, >>16], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[10], --, B, gprB_6]
alu[*l$index0[11], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_2, >>8], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[8], --, B, gprB_6]
alu[*l$index0[9], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_2], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[6], --, B, gprB_6]
alu[*l$index0[7], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_1, >>24], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[4], --, B, gprB_6]
alu[*l$index0[5], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_1, >>16], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0[2], --, B, gprB_6]
alu[*l$index0[3], --, B, gprB_7]
ld_field_w_clr[gprA_6, 0001, $xfer_1, >>8], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[*l$index0, --, B, gprB_6]
alu[*l$index0[1], --, B, gprB_7]
ld_field_w_clr[gprA_12, 0001, $xfer_1], gpr_wrboth
immed[gprA_13, 0x0], gpr_wrboth
ld_field_w_clr[gprA_14, 0001, $xfer_0, >>24], gpr_wrboth
immed[gprA_15, 0x0], gpr_wrboth
ld_field_w_clr[gprA_16, 0001, $xfer_0, >>16], gpr_wrboth
immed[gprA_17, 0x0], gpr_wrboth
ld_field_w_clr[gprA_18, 0001, $xfer_0, >>8], gpr_wrboth
immed[gprA_19, 0x0], gpr_wrboth
ld_field_w_clr[gprA_0, 0001, $xfer_0], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
alu[gprA_6, --, B, gprB_10], gpr_wrboth
alu[gprA_7, --, B, gprB_11], gpr_wrboth
alu[gprA_8, --, B, gprB_0], gpr_wrboth
alu[gprA_9, --, B, gprB_1], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, gprB_18], gpr_wrboth
alu[gprA_7, --, B, gprB_19], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, gprB_16], gpr_wrboth
alu[gprA_9, --, B, gprB_17], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, gprB_14], gpr_wrboth
alu[gprA_7, --, B, gprB_15], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, gprB_12], gpr_wrboth
alu[gprA_9, --, B, gprB_13], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, *l$index0], gpr_wrboth
alu[gprA_7, --, B, *l$index0[1]], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, *l$index0[2]], gpr_wrboth
alu[gprA_9, --, B, *l$index0[3]], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, *l$index0[4]], gpr_wrboth
alu[gprA_7, --, B, *l$index0[5]], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, *l$index0[6]], gpr_wrboth
alu[gprA_9, --, B, *l$index0[7]], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, *l$index0[8]], gpr_wrboth
alu[gprA_7, --, B, *l$index0[9]], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, *l$index0[10]], gpr_wrboth
alu[gprA_9, --, B, *l$index0[11]], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, *l$index0[12]], gpr_wrboth
alu[gprA_7, --, B, *l$index0[13]], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_8, --, B, *l$index0[14]], gpr_wrboth
alu[gprA_9, --, B, *l$index0[15]], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprB_21, gprA_22, +, 0x40]
local_csr_wr[ActLMAddr3, gprB_21]
nop
nop
nop
alu[gprA_6, --, B, *l$index3], gpr_wrboth
alu[gprA_7, --, B, *l$index3[1]], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprB_21, gprA_22, +, 0x40]
local_csr_wr[ActLMAddr3, gprB_21]
nop
nop
nop
alu[gprA_8, --, B, *l$index3[2]], gpr_wrboth
alu[gprA_9, --, B, *l$index3[3]], gpr_wrboth
alu[gprA_8, gprA_8, XOR, gprB_6], gpr_wrboth
alu[gprA_9, gprA_9, XOR, gprB_7], gpr_wrboth
alu[gprA_6, --, B, gprB_10], gpr_wrboth
alu[gprA_7, --, B, gprB_11], gpr_wrboth
alu[gprA_6, gprA_6, XOR, gprB_8], gpr_wrboth
alu[gprA_7, gprA_7, XOR, gprB_9], gpr_wrboth
alu[gprA_6, gprA_6, AND, 0xff], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[gprA_2, gprA_2, XOR, gprB_6], gpr_wrboth
alu[gprA_3, gprA_3, XOR, gprB_7], gpr_wrboth
alu[gprA_4, gprA_4, -, 0x1], gpr_wrboth
alu[gprA_5, gprA_5, -carry, 0x0], gpr_wrboth
alu[gprA_6, --, B, gprB_4], gpr_wrboth
alu[gprA_7, --, B, gprB_5], gpr_wrboth
alu[gprA_7, --, B, gprB_6], gpr_wrboth
immed[gprA_6, 0x0], gpr_wrboth
alu[gprA_6, --, B, gprB_7], gpr_wrboth
immed[gprA_7, 0x0], gpr_wrboth
alu[--, gprA_6, OR, gprB_7]
beq[.173]
br[.82]
alu[gprA_3, --, B, gprB_2], gpr_wrboth
immed[gprA_2, 0x0], gpr_wrboth
alu[gprA_2, --, B, gprB_3], gpr_wrboth
immed[gprA_3, 0x0], gpr_wrboth
immed[gprA_0, 0x1], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
alu[--, gprA_2, OR, gprB_3]
bne[.183]
immed[gprA_0, 0x0], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
br[.15000]
br[.15000], defer[2]
alu[gprA_0, --, B, 0x0]
ld_field[gprA_0, 1100, 0x82, <<16]
alu[--, 0x3, -, gprB_0]
bcc[.184]
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
