package jit_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit"
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

// verified returns the facts of a program of a text.
func verified(t *testing.T, text, program string) *verify.Facts {
	t.Helper()
	file, err := asmtext.Parse("text", text)
	if err != nil {
		t.Fatal(err)
	}
	c, faults := code.New(file.Spec.Programs[program], file.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	f, err := verify.Verify(c, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestAgree(t *testing.T) {
	var programs []*verify.Facts
	for _, name := range []string{"reads", "counts"} {
		programs = append(programs, verified(t, sharing, name))
	}
	want := []nfp.MapUse{{Name: "m", Words: []nfp.WordUse{nfp.UseCounter, nfp.UseCounter, nfp.UseNone, nfp.UseNone}}}
	if diff := cmp.Diff(want, jit.Agree(programs)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
