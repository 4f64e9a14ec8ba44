package mach_test

import (
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// TestHazards: each program breaks one rule, or comes close and breaks none.
func TestHazards(t *testing.T) {
	const exit = "br[.15000], defer[1] @done\nimmed[gprA_0, 0x1100, <<8]\n"
	const settle = "nop\nnop\nnop\n"
	for _, c := range []struct{ name, code, want string }{
		{"nothing", exit, ""},
		{"early LM0", "nop\nnop\nalu[gprA_1, --, B, *l$index0]\n" + exit, "pointer 0 is used 1 words too early"},
		{"LM0 in time", settle + "alu[gprA_1, --, B, *l$index0]\n" + exit, ""},
		{"pointer", "local_csr_wr[ActLMAddr2, gprA_22]\nnop\nnop\nalu[gprA_1, --, B, *l$index2]\n" + exit, "pointer 2 is used 1 words too early"},
		{"pointer in time", "local_csr_wr[ActLMAddr2, gprA_22]\nnop\nnop\nnop\nalu[gprA_1, --, B, *l$index2]\n" + exit, ""},
		{"pointer over a branch", "alu[--, gprA_1, -, 1]\nbeq[.4] @branch\nnop\nlocal_csr_wr[ActLMAddr2, gprA_22]\nnop\nalu[gprA_1, --, B, *l$index2]\n" + exit,
			"pointer 2 is used 2 words too early"},
		{"csr", "local_csr_rd[PseudoRndNum]\nnop\n" + exit, "must take the value"},
		{"csr taken", "local_csr_rd[PseudoRndNum]\nimmed[gprA_1, 0]\n" + exit, ""},
		{"shift amount", "nop\nalu_shf[gprA_1, --, B, gprB_1, <<indirect]\n" + exit, "amount in port A"},
		{"shift amount of bank B", "alu[--, gprB_2, OR, 0]\nalu_shf[gprA_1, --, B, gprB_1, <<indirect]\n" + exit, "amount in port A"},
		{"shift amount there", "alu[--, gprA_2, OR, 0]\nalu_shf[gprA_1, --, B, gprB_1, <<indirect]\n" + exit, ""},
		{"shift as a target", "alu[--, gprA_2, OR, 0]\nbeq[.3] @branch\nalu[--, gprA_2, OR, 0]\nalu_shf[gprA_1, --, B, gprB_1, <<indirect]\n" + exit, "amount in port A"},
		{"asr", "immed[gprA_1, 1]\nasr[gprA_1, gprB_1, >>3]\n" + exit, "its sign"},
		{"multiply", "mul_step[gprA_1, gprB_1], start\nnop\nmul_step[gprA_1, gprB_1], 32x32_step1\n" + exit, "the step before"},
		{"slot", "br[.2], defer[1] @branch\nbr[.0] @branch\n" + exit, "in a defer slot"},
		{"swap in slot", "br[.2], defer[1] @branch\nmem[read32_swap, $xfer_0, gprA_1, 0, 1], ctx_swap[sig1]\n" + exit, "in a defer slot"},
		{"codes unset", "beq[.1] @branch\n" + exit, "N and Z are not defined"},
		{"carry after logic", "alu[gprA_1, gprA_1, +, gprB_1]\nalu[gprA_2, gprA_2, OR, gprB_2]\nalu[gprA_3, gprA_3, +carry, gprB_3]\n" + exit, "carry is not defined"},
		{"carry kept", "alu[gprA_1, gprA_1, +, gprB_1]\nalu[gprA_2, gprA_2, OR, gprB_2], no_cc\nalu[gprA_3, gprA_3, +carry, gprB_3]\n" + exit, ""},
		{"carry on one way", "alu[--, gprA_1, OR, 0]\nbeq[.3] @branch\nalu[gprA_1, gprA_1, +, gprB_1]\nalu[gprA_3, gprA_3, +carry, gprB_3]\n" + exit, "carry is not defined"},
		{"compare after logic", "alu[--, gprA_1, XOR, gprB_1]\nbcc[.2] @branch\n" + exit, "C and V are not defined"},
		{"stack base", "alu[gprA_22, gprA_22, +, 4]\n" + exit, "which is the firmware's"},
		{"packet vector", "local_csr_wr[ActLMAddr1, gprA_22]\n" + exit, "control register"},
		{"transfer register", "alu[$xfer_32, --, B, gprA_1]\n" + exit, "which is the firmware's"},
		{"not arrived", "mem[read32_swap, $xfer_0, gprA_1, 0, 1], sig_done[sig1]\nalu[gprA_2, --, B, $xfer_0]\nctx_arb[sig1]\n" + exit, "has not arrived"},
		{"arrived", "mem[read32_swap, $xfer_0, gprA_1, 0, 1], sig_done[sig1]\nctx_arb[sig1]\nalu[gprA_2, --, B, $xfer_0]\n" + exit, ""},
		{"being sent", "mem[write32_swap, $xfer_3, gprA_1, 0, 1], sig_done[sig1]\nimmed[$xfer_3, 1]\nctx_arb[sig1]\n" + exit, "still being sent"},
		{"signal twice", "mem[write32_swap, $xfer_3, gprA_1, 0, 1], sig_done[sig1]\nmem[write32_swap, $xfer_4, gprA_1, 0, 1], sig_done[sig1]\nctx_arb[sig1]\n" + exit, "is taken"},
		{"nobody sends", "ctx_arb[sig1]\n" + exit, "nobody sends"},
		{"under way at exit", "mem[write32_swap, $xfer_3, gprA_1, 0, 1], sig_done[sig1]\n" + exit, "under way"},
		{"end", "nop\n", "control reaches the padding"},
	} {
		t.Run(c.name, func(t *testing.T) {
			im, err := nfp.Assemble(c.code + strings.Repeat("nop\n", 8))
			if err != nil {
				t.Fatal(err)
			}
			err = mach.CheckHazards(im)
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
