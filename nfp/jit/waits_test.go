package jit_test

import (
	"testing"

	"github.com/nfpkit/nfpkit/nfp/jit"
)

// The exit stores, is short enough to be copied if branches are dear, and one of its
// predecessors has a store outstanding: signals of the copy would be assigned twice.
const storingEnd = `
.map out array key=4 value=8 entries=1
.map counts lru_percpu_hash key=4 value=8 entries=4096
.program xdp main
	r1 = 0
	*(u64 *)(r10 - 8) = r1
	r2 = r10
	r2 += -8
	r1 = map[counts]
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r1 = 0
	*(u32 *)(r0 + 0) = r1
out:
	r1 = map[out][0]+0 ll
	r2 = 0
	*(u64 *)(r1 + 0) = r2
	r0 = 0
	exit
`

func TestStoringEnd(t *testing.T) {
	f := verified(t, storingEnd, "main")
	card := chipModel(t)
	card.Branch = 20
	if _, err := jit.Compile(f, unlimited(t), &jit.Options{Check: true, Model: card}); err != nil {
		t.Error(err)
	}
}
