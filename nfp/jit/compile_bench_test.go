package jit

import (
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// BenchmarkCompile measures Facts to image: 4,000 instructions, and half of
// that, to show that time grows with size.
func BenchmarkCompile(b *testing.B) {
	for _, size := range []int{2000, 4000} {
		b.Run(map[int]string{2000: "2000", 4000: "4000"}[size], func(b *testing.B) {
			file, err := asmtext.Parse("bench.bpf", straight(size))
			if err != nil {
				b.Fatal(err)
			}
			_, facts, err := resolved(b, file, "prog", &verify.Options{})
			if err != nil {
				b.Fatal(err)
			}
			p := unlimited(b)
			b.ResetTimer()
			for b.Loop() {
				if _, err := Compile(facts, p, &Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
