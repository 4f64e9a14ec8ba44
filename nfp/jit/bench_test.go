package jit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// straight is a program of about n instructions: header fields, branches, map
// updates by turns.
func straight(n int) string {
	var b strings.Builder
	b.WriteString(".map m array key=4 value=64 entries=16\n.program xdp prog\n")
	b.WriteString("    r7 = *(u32 *)(r1 + 0)\n    r8 = *(u32 *)(r1 + 4)\n    r9 = 0\n    r2 = r7\n    r2 += 60\n    if r2 > r8 goto out\n")
	for i := 0; i*16 < n; i++ {
		fmt.Fprintf(&b, `    r1 = *(u32 *)(r7 + %d)
    r1 = be32 r1
    r9 += r1
    r9 ^= %d
    if r1 & 1 goto l%d
    r9 <<= 1
    w9 = w9
l%d:
    *(u32 *)(r10 - 4) = %d
    r1 = map[m]
    r2 = r10
    r2 += -4
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r1 = *(u32 *)(r0 + 8)
    r9 += r1
    lock *(u64 *)(r0 + 16) += r9
`, i%50, i*77, i, i, i%16)
	}
	b.WriteString("out:\n    r0 = r9\n    exit\n")
	return b.String()
}

// BenchmarkBuild measures eBPF and Facts to ir, 4,000 instructions.
func BenchmarkBuild(b *testing.B) {
	file, err := asmtext.Parse("bench.bpf", straight(4000))
	if err != nil {
		b.Fatal(err)
	}
	c, facts, err := resolved(b, file, "prog", &verify.Options{})
	if err != nil {
		b.Fatal(err)
	}
	p := unlimited(b)
	b.ReportMetric(float64(len(c.Insns)), "insns")
	b.ResetTimer()
	for b.Loop() {
		if _, err := build(facts, p, &Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
