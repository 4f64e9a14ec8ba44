package sim

import "testing"

// loops are inner loops of programs, A1 times around.
var loops = []struct{ name, in, code string }{
	{"alu", "A1 = 100000000\n", `
		alu[gprA_2, gprA_2, +, gprB_3]
		alu[gprA_4, gprA_4, XOR, gprB_3]
		alu_shf[gprB_5, gprA_4, AND, gprB_3, >>4]
		ld_field[gprB_5, 0011, gprA_2]
		immed[gprA_6, 0x1234]
		alu[gprA_7, gprA_6, OR, gprB_5]
		alu[gprA_1, gprA_1, -, 1]
		bne[.0], defer[1]
		alu_shf[gprA_8, --, B, gprB_5, <<2]`},
	{"packet", "A1 = 100000000\nA9 = 0x80000000\nptr0 = 0\n", `
		mem[read32_swap, $xfer_0, gprA_9, 12, 4], ctx_swap[sig1], defer[2]
		alu[gprA_2, gprA_2, +, gprB_3]
		immed[gprA_6, 0x1234]
		alu[gprA_4, gprA_6, XOR, $xfer_0]
		ld_field_w_clr[gprB_5, 0011, $xfer_1, >>16]
		alu[*l$index0[3], gprA_4, OR, gprB_5]
		br=byte[gprA_4, 1, 0x12, .8]
		alu[gprA_7, gprA_6, OR, gprB_5]
		alu[gprB_10, --, B, *l$index0[3]]
		alu[gprA_1, gprA_1, -, 1]
		bne[.0], defer[1]
		alu_shf[gprA_8, --, B, gprB_5, <<2]`},
}

// BenchmarkFunctional is words executed per second by one engine on one core.
func BenchmarkFunctional(b *testing.B) {
	for _, l := range loops {
		b.Run(l.name, func(b *testing.B) {
			x := newBench(b, false, l.code)
			const chunk = 1 << 16
			x.set(b, l.in)
			c := &x.e.Ctx[0]
			c.Start(0)
			words := x.e.Words
			b.ResetTimer()
			for range b.N {
				if err := x.e.Run(chunk); err == nil {
					b.Fatal("the loop ended")
				} else if f := err.(*Fault); f.Reason != "watchdog" {
					b.Fatal(err)
				}
				c.state = ready
			}
			b.StopTimer()
			b.ReportMetric(float64(x.e.Words-words)/b.Elapsed().Seconds()/1e6, "Mwords/s")
		})
	}
}
