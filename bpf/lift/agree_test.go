package lift_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// One program counts in bytes 4 to 7; the other reads bytes 0 to 7 and 8 to 15
// at once, which joins words 0 and 1 but not 2 and 3.
const sharing = `
.map m array key=4 value=16 entries=1
.program xdp counts
	r1 = 0
	*(u32 *)(r10 - 4) = r1
	r2 = r10
	r2 += -4
	r1 = map[m]
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r1 = 1
	lock *(u32 *)(r0 + 4) += r1
out:
	r0 = 2
	exit
.program xdp reads
	r1 = 0
	*(u32 *)(r10 - 4) = r1
	r2 = r10
	r2 += -4
	r1 = map[m]
	call bpf_map_lookup_elem
	if r0 == 0 goto out
	r1 = *(u64 *)(r0 + 0)
	r2 = *(u64 *)(r0 + 8)
out:
	r0 = 2
	exit
`

func TestAgree(t *testing.T) {
	var programs []*verify.Facts
	for _, name := range []string{"reads", "counts"} {
		programs = append(programs, verified(t, parsed(t, sharing), name))
	}
	want := []lift.MapUse{{Name: "m", Words: []lift.WordUse{lift.Counter, lift.Counter, lift.Unused, lift.Unused}}}
	if diff := cmp.Diff(want, lift.Agree(programs)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
