package verify_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

const joinedStart = `
.map arr array key=4 value=64 entries=4
.program xdp main
    r6 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r2 = r6
    r2 += 16
    if r2 > r7 goto out
    r8 = *(u8 *)(r6 + 0)
    r9 = *(u8 *)(r6 + 1)
`

// joined writes a program in which n paths join, each with another proved fact. If
// wrong is one of them, its proof is missing.
var joined = []struct {
	name string
	text func(n, wrong int) string
}{
	// One of n offsets, each compared with the packet's end.
	{"offsets", func(n, wrong int) string {
		var b strings.Builder
		for k := range n {
			fmt.Fprintf(&b, "if r8 != %d goto n%d\nr9 = %d\n", k, k, 16+2*k)
			if k != wrong {
				fmt.Fprintf(&b, "r2 = r6\nr2 += %d\nif r2 > r7 goto out\n", 18+2*k)
			}
			fmt.Fprintf(&b, "goto join\nn%d:\n", k)
		}
		return b.String() + "goto out\njoin:\nr6 += r9\nr0 = *(u16 *)(r6 + 0)\nr0 &= 1\nexit\n"
	}},
	// The same through the stack.
	{"spilled offsets", func(n, wrong int) string {
		var b strings.Builder
		for k := range n {
			fmt.Fprintf(&b, "if r8 != %d goto n%d\n*(u64 *)(r10 - 8) = %d\n", k, k, 16+2*k)
			if k != wrong {
				fmt.Fprintf(&b, "r2 = r6\nr2 += %d\nif r2 > r7 goto out\n", 18+2*k)
			}
			fmt.Fprintf(&b, "goto join\nn%d:\n", k)
		}
		return b.String() + "goto out\njoin:\nr9 = *(u64 *)(r10 - 8)\nr6 += r9\nr0 = *(u16 *)(r6 + 0)\nr0 &= 1\nexit\n"
	}},
	// An index whose bound depends on a number that is asked for again.
	{"bounds", func(n, wrong int) string {
		var b, c strings.Builder
		for k := range n {
			bound := 60 - k%50
			if k == wrong {
				bound = 200
			}
			fmt.Fprintf(&b, "if r8 != %d goto n%d\nr8 = %d\nif r9 > %d goto out\ngoto join\nn%d:\n", k, k, k, bound, k)
			fmt.Fprintf(&c, "if r8 != %d goto m%d\nr0 += %d\nr0 += r9\nr0 = *(u8 *)(r0 + 0)\nexit\nm%d:\n", k, k, k%50+3, k)
		}
		return b.String() + "goto out\njoin:\n" + lookup + "if r0 == 0 goto out\n" + c.String() + "goto out\n"
	}},
	// A lookup whose result was tested on each path but the wrong one.
	{"null", func(n, wrong int) string {
		var b, c strings.Builder
		for k := range n {
			fmt.Fprintf(&b, "if r8 != %d goto n%d\nr8 = %d\n", k, k, k)
			if k%2 == 0 && k != wrong {
				b.WriteString("if r0 == 0 goto out\n")
			}
			fmt.Fprintf(&b, "goto join\nn%d:\n", k)
			if k%2 == 0 {
				fmt.Fprintf(&c, "if r8 != %d goto m%d\nr0 = *(u8 *)(r0 + 0)\nexit\nm%d:\n", k, k, k)
			}
		}
		return lookup + b.String() + "goto out\njoin:\n" + c.String() + "goto out\n"
	}},
}

const lookup = `
    *(u32 *)(r10 - 4) = r9
    r2 = r10
    r2 += -4
    r1 = map[arr]
    call bpf_map_lookup_elem#1
`

// TestJoinedPaths joins many paths, each with another fact proved. The verdict must be
// the kernel's, both in Linux mode and without, and the facts must hold.
func TestJoinedPaths(t *testing.T) {
	kernelMaps(t)
	programs := 80
	if v, err := strconv.Atoi(os.Getenv("NFPKIT_JOINED_N")); err == nil {
		programs = v
	}
	accepted, refused := 0, 0
	for seed := range programs {
		r := rand.New(rand.NewPCG(uint64(seed), 0x901))
		kind := joined[seed%len(joined)]
		n, wrong := 2+r.IntN(200), -1
		if r.IntN(2) == 0 {
			wrong = r.IntN(n) &^ 1
		}
		text := joinedStart + kind.text(n, wrong) + "out:\nr0 = 2\nexit\n"
		f, err := asmtext.Parse(kind.name, text)
		if err != nil {
			t.Fatal(err)
		}
		c, faults := code.New(f.Spec.Programs["main"], f.Spec.Maps)
		if len(faults) > 0 {
			t.Fatal(faults[0])
		}
		what := fmt.Sprintf("%s, %d paths, %d wrong", kind.name, n, wrong)
		facts, ours := verify.Verify(c, nil)
		_, linux := verify.Survey(c, &verify.Options{Linux: true, Kernel: [2]int{6, 18}})
		coll, theirs := ebpf.NewCollection(f.Spec)
		if theirs == nil {
			coll.Close()
		}
		if (theirs == nil) != (wrong < 0) || (ours == nil) != (theirs == nil) || (linux == nil) != (theirs == nil) {
			t.Errorf("%s: the kernel says %v, we %v, and for Linux %v", what, theirs, ours, linux)
			continue
		}
		if theirs != nil {
			refused++
			continue
		}
		accepted++
		for range 30 {
			p := make([]byte, r.IntN(500))
			for i := range p {
				p[i] = byte(r.Uint32())
			}
			if len(p) > 1 {
				p[0], p[1] = byte(r.IntN(n+1)), byte(r.IntN(80))
			}
			if err := runWithin(facts, &interp.Input{Packet: p}); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	t.Logf("suite: joined paths: kernel and check both accept %d and refuse %d; %d runs inside the facts", accepted, refused, 30*accepted)
}
