// SPDX-License-Identifier: Apache-2.0
//
// drop.bpf as the Linux 6.12 driver translates it; TestCalibrationWords checks that.
immed[gprB_22, 0x3fff]
alu[gprB_22, gprB_22, AND, *l$index1]
immed[gprA_0, 0x1], gpr_wrboth
immed[gprA_1, 0x0], gpr_wrboth
br[.15000]
br[.15000], defer[2]
alu[gprA_0, --, B, 0x0]
ld_field[gprA_0, 1100, 0x82, <<16]
alu[--, 0x3, -, gprB_0]
bcc[.5]
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
