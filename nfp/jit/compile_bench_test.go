package jit

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/lift"
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

// straightFacts returns the facts of straight(n).
func straightFacts(b *testing.B, n int) *verify.Facts {
	b.Helper()
	file, err := asmtext.Parse("bench.bpf", straight(n))
	if err != nil {
		b.Fatal(err)
	}
	_, facts, err := resolved(b, file, "prog", nil)
	if err != nil {
		b.Fatal(err)
	}
	return facts
}

// BenchmarkLift measures Facts to ir, 4,000 instructions.
func BenchmarkLift(b *testing.B) {
	facts, t := straightFacts(b, 4000), target(unlimited(b))
	for b.Loop() {
		if _, err := lift.Lift(facts, t, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCompile measures Facts to image: 4,000 instructions, and half of
// that, to show that time grows with size.
func BenchmarkCompile(b *testing.B) {
	for _, size := range []int{2000, 4000} {
		b.Run(map[int]string{2000: "2000", 4000: "4000"}[size], func(b *testing.B) {
			facts, p := straightFacts(b, size), unlimited(b)
			b.ResetTimer()
			for b.Loop() {
				if _, err := Compile(facts, p, &Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
