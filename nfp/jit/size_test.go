package jit

import (
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

const rounds = `.program xdp rounds
	r2 = *(u32 *)(r1 + 4)
	r6 = *(u32 *)(r1 + 0)
	r3 = r6
	r3 += 64
	if r3 > r2 goto out
	r4 = 0
	r5 = 0
again:
	r0 = *(u32 *)(r6 + 0)
	r5 += r0
	r5 ^= 77
	*(u32 *)(r6 + 0) = r5
	r4 += 1
	if r4 < 8 goto again
out:
	r0 = 2
	exit
`

// TestCompileForSize checks that code that unrolling made too long for the card is
// compiled without.
func TestCompileForSize(t *testing.T) {
	file, err := asmtext.Parse("rounds.bpf", rounds)
	if err != nil {
		t.Fatal(err)
	}
	_, f, err := resolved(t, file, "rounds", nil)
	if err != nil {
		t.Fatal(err)
	}
	stock, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	p := *stock
	fast, err := Compile(f, &p, &Options{Check: true})
	if err != nil {
		t.Fatal(err)
	}
	small, err := Compile(f, &p, &Options{Check: true, Off: []string{"inline", "unroll"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(small.Words) >= len(fast.Words) {
		t.Fatalf("%d words unrolled, %d as a loop", len(fast.Words), len(small.Words))
	}
	for _, c := range []struct{ room, want int }{
		{len(fast.Words), len(fast.Words)},
		{len(fast.Words) - 1, len(small.Words)},
		{len(small.Words), len(small.Words)},
		{len(small.Words) - 1, 0},
	} {
		p.MaxLen = c.room
		im, err := Compile(f, &p, nil)
		switch {
		case c.want == 0 && err == nil:
			t.Errorf("room for %d words: no refusal", c.room)
		case c.want > 0 && err != nil:
			t.Errorf("room for %d words: %v", c.room, err)
		case c.want > 0 && len(im.Words) != c.want:
			t.Errorf("room for %d words: %d words, want %d", c.room, len(im.Words), c.want)
		}
	}
}
