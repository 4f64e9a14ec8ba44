//go:build linux

package difftest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Programs whose paths multiply, by a size: up to some size Linux's verifier walks them
// to their end, past it it gives up.

// An explosion writes a program of size n.
type explosion struct {
	name string
	most int // sizes are drawn up to here, which is past the limit
	text func(r *rand.Rand, n int) string
}

var explosions = []explosion{
	{"counted loop", 300_000, countedLoop},
	{"nested loops", 700, nestedLoops},
	{"option walk", 36, optionWalk},
	{"rule loop", 1300, ruleLoop},
	{"switch ladders", 9, switchLadders},
	{"bits joined", 19, bitsJoined},
	{"traces joined", 120, tracesJoined},
	{"scan", 1200, scan},
	{"global function", 300_000, globalFunction},
	{"tail call in a function", 9000, tailInFunction},
}

const packetStart = `
    r6 = *(u32 *)(r1 + 0)
    r7 = *(u32 *)(r1 + 4)
    r2 = r6
    r2 += 64
    if r2 > r7 goto out
`

// work returns n instructions that lead nowhere.
func work(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		fmt.Fprintf(&b, "r0 ^= %d\n", r.IntN(1000))
	}
	return b.String()
}

func countedLoop(r *rand.Rand, n int) string {
	return "r0 = 0\nr8 = 0\nagain:\n" + work(r, 1+r.IntN(8)) + fmt.Sprintf("r8 += 1\nif r8 < %d goto again\nr0 = 2\nexit\n", n)
}

// nestedLoops returns a loop in a loop, with a branch in the inner one.
func nestedLoops(r *rand.Rand, n int) string {
	return fmt.Sprintf(`
    r9 = 0
outer:
    r8 = 0
inner:
    call bpf_get_prandom_u32#7
    if r0 & 1 goto odd
%s
odd:
    r8 += 1
    if r8 < %d goto inner
    r9 += 1
    if r9 < %d goto outer
    r0 = 2
    exit
`, work(r, r.IntN(4)), n, n)
}

// optionWalk follows lengths that the packet holds, as parsers of TCP options do.
func optionWalk(r *rand.Rand, n int) string {
	one := r.IntN(2)
	return packetStart + fmt.Sprintf(`
    r8 = 0
    r6 += 20
again:
    r2 = r6
    r2 += 2
    if r2 > r7 goto out
    r3 = *(u8 *)(r6 + 0)
    if r3 == 0 goto out
    if r3 == 1 goto single
    r4 = *(u8 *)(r6 + 1)
    if r4 < 2 goto out
%s
    r6 += r4
    goto next
single:
    r6 += %d
next:
    r8 += 1
    if r8 < %d goto again
out:
    r0 = 2
    exit
`, work(r, r.IntN(3)), 1+one, n)
}

// ruleLoop compares a packet with rules in a map.
func ruleLoop(r *rand.Rand, n int) string {
	tests := 1 + r.IntN(6)
	var b strings.Builder
	for k := range tests {
		fmt.Fprintf(&b, "r2 = r4\nr2 &= %d\nif r2 == 0 goto skip%d\nr2 = *(u32 *)(r0 + %d)\nr3 = *(u32 *)(r6 + %d)\nif r2 != r3 goto next\nskip%d:\n",
			1<<k, k, 4+4*k, 4*k, k)
	}
	return fmt.Sprintf(".map rules array key=4 value=32 entries=%d\n.program xdp main\n", n) + packetStart + fmt.Sprintf(`
    r8 = 0
again:
    *(u32 *)(r10 - 4) = r8
    r2 = r10
    r2 += -4
    r1 = map[rules]
    call bpf_map_lookup_elem#1
    if r0 == 0 goto out
    r4 = *(u32 *)(r0 + 0)
    if r4 == 0 goto out
%s
    r0 = 1
    exit
next:
    r8 += 1
    if r8 < %d goto again
out:
    r0 = 2
    exit
`, b.String(), n)
}

// switchLadders chooses n times one of some constants; their sum is an offset.
func switchLadders(r *rand.Rand, n int) string {
	cases := 3 + r.IntN(3)
	var b strings.Builder
	b.WriteString(packetStart + "r8 = 0\n")
	for k := range n {
		fmt.Fprintf(&b, "r3 = *(u8 *)(r6 + %d)\n", k)
		for c := range cases {
			fmt.Fprintf(&b, "if r3 != %d goto case%d_%d\nr8 += %d\ngoto end%d\ncase%d_%d:\n", c, k, c, 1<<(2*k%20)*c%31, k, k, c)
		}
		fmt.Fprintf(&b, "end%d:\n", k)
	}
	return b.String() + offsetEnd
}

// offsetEnd adds r8, which must then be known, to the packet pointer.
const offsetEnd = `
    if r8 > 1000 goto out
    r6 += r8
    r2 = r6
    r2 += 2
    if r2 > r7 goto out
    r0 = *(u16 *)(r6 + 0)
    r0 &= 1
    exit
out:
    r0 = 2
    exit
`

// bitsJoined returns a program of n branches, each of which leaves a bit; all bits are
// added to one offset.
func bitsJoined(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString(packetStart + "r8 = 0\n")
	for k := range n {
		fmt.Fprintf(&b, "r3 = *(u8 *)(r6 + %d)\nif r3 & %d goto bit%d\nr8 |= %d\nbit%d:\n%s", k, 1+r.IntN(255), k, 1<<(k%9), k, work(r, r.IntN(3)))
	}
	return b.String() + offsetEnd
}

// tracesJoined returns n branches whose traces nothing depends on, on the stack.
func tracesJoined(r *rand.Rand, n int) string {
	var b strings.Builder
	b.WriteString("r6 = r1\n")
	for k := range n {
		fmt.Fprintf(&b, "call bpf_get_prandom_u32#7\nif r0 > %d goto l%d\n*(u64 *)(r10 - %d) = %d\nl%d:\n", r.IntN(9), k, 8+8*(k%60), k, k)
	}
	b.WriteString("r0 = 0\n")
	for k := range min(n, 60) {
		fmt.Fprintf(&b, "r1 = *(u64 *)(r10 - %d)\nr0 += r1\n", 8+8*k)
	}
	return b.String() + "exit\n"
}

// scan returns a loop over the packet's bytes with a state machine.
func scan(r *rand.Rand, n int) string {
	states := 2 + r.IntN(4)
	var b strings.Builder
	for k := range states {
		fmt.Fprintf(&b, "if r9 != %d goto not%d\nif r3 != %d goto next\nr9 = %d\ngoto next\nnot%d:\n", k, k, r.IntN(256), (k+1)%states, k)
	}
	return packetStart + fmt.Sprintf(`
    r8 = 0
    r9 = 0
again:
    r2 = r6
    r2 += 1
    if r2 > r7 goto out
    r3 = *(u8 *)(r6 + 0)
%s
next:
    r6 += 1
    r8 += 1
    if r8 < %d goto again
out:
    r0 = r9
    exit
`, b.String(), n)
}

// globalFunction returns a program that calls a function with a loop up to four times.
func globalFunction(r *rand.Rand, n int) string {
	calls := strings.Repeat("r1 = r0\ncall "+globalName+"\n", 1+r.IntN(4))
	return "r0 = 0\n" + calls + "r0 = 2\nexit\n" + globalName + ":\n" + countedLoop(r, n)
}

// tailInFunction returns a loop that calls a function with a tail call, which may return
// from there.
func tailInFunction(r *rand.Rand, n int) string {
	return ".map progs prog_array key=4 value=4 entries=4\n.program xdp main\n" + fmt.Sprintf(`
    r6 = r1
    r7 = 0
    r8 = 0
again:
    r1 = r6
    call %s
    if r0 != %d goto next
    r8 |= %d
next:
    r7 += 1
    if r7 < %d goto again
    r0 = r8
    exit
%s:
    r2 = map[progs]
    r3 = 1
    call bpf_tail_call#12
    r0 = %d
%s
    exit
`, staticName, r.IntN(3), 1+r.IntN(2), n, staticName, r.IntN(3), work(r, r.IntN(3)))
}

// The labels of the functions that declare gives types.
const (
	globalName = "global"
	staticName = "static"
)

// declare gives the functions of a program types. Linux verifies a global one by them,
// and takes a tail call only in a function with types.
func declare(insns asm.Instructions) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	context := &btf.Pointer{Target: &btf.Struct{Name: "xdp_md", Size: 4, Members: []btf.Member{{Name: "data", Type: number}}}}
	function := func(name string, linkage btf.FuncLinkage, param string, typ btf.Type) *btf.Func {
		return &btf.Func{Name: name, Linkage: linkage, Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{{Name: param, Type: typ}}}}
	}
	for i := range insns {
		switch name := insns[i].Symbol(); name {
		case globalName:
			insns[i] = btf.WithFuncMetadata(insns[i], function(name, btf.GlobalFunc, "n", number))
		case staticName:
			insns[i] = btf.WithFuncMetadata(insns[i], function(name, btf.StaticFunc, "ctx", context))
		default:
			continue
		}
		insns[0] = btf.WithFuncMetadata(insns[0], function("main", btf.GlobalFunc, "ctx", context))
	}
}

var processed = regexp.MustCompile(`processed (\d+) insns`)

// TestExplosions uses programs whose paths multiply, of sizes on both sides of the
// kernel's limits. The verdict for Linux and the count of instructions must be the
// running kernel's. Verdicts may differ if the count is within a tenth of the limit
// (reason near-limit).
func TestExplosions(t *testing.T) {
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	n, seed := 24, uint64(1)
	if testing.Short() {
		n = 8
	}
	if v, err := strconv.Atoi(os.Getenv("NFPKIT_EXPLOSIONS_N")); err == nil {
		n = v
	}
	if v, err := strconv.ParseUint(os.Getenv("NFPKIT_EXPLOSIONS_SEED"), 0, 64); err == nil {
		seed = v
	}
	var sum explosionSum
	for k := range n {
		r := rand.New(rand.NewPCG(seed, uint64(k)))
		e := &explosions[k%len(explosions)]
		size := 1 + int(float64(e.most)*r.Float64())
		sum.compare(t, e, size, e.text(r, size))
	}
	t.Logf("suite: explosions: kernel %s and check both accept %d, both give up on %d; %d of the counts are equal, the others differ by %.1f %% at most; %d near the limit differ",
		release(), sum.both, sum.neither, sum.equal, 100*sum.off, sum.near)
}

type explosionSum struct {
	both, neither, equal, near int
	off                        float64
}

func (s *explosionSum) compare(t *testing.T, e *explosion, size int, text string) {
	t.Helper()
	if !strings.Contains(text, ".program") {
		text = ".program xdp main\n" + text
	}
	f, err := asmtext.Parse(e.name, text)
	if err != nil {
		t.Fatalf("%s %d: %v\n%s", e.name, size, err, text)
	}
	declare(f.Spec.Programs["main"].Instructions)
	c, faults := code.New(f.Spec.Programs["main"], f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	facts, refused := verify.Survey(c, &verify.Options{Linux: true, Kernel: runningKernel(t)})
	accepted, count, why := walkedByKernel(f.Spec)
	walked := facts.Walked
	what := fmt.Sprintf("%s %d: the kernel walks %d (%s), check %d with %d waiting (%v)", e.name, size, count, why, walked.Insns, walked.Waiting, refused)
	switch {
	case accepted && refused == nil:
		s.both++
		if walked.Insns == count {
			s.equal++
			return
		}
		off := float64(walked.Insns-count) / float64(count)
		s.off = max(s.off, off, -off)
		t.Log(what)
	case !accepted && refused != nil:
		s.neither++
		words := map[string]string{"too large": "too-complex", "too complex": "too-many-jumps", "infinite loop": "infinite-loop"}
		for says, word := range words {
			if strings.Contains(why, says) && !slices.ContainsFunc(refused.Reasons, func(q verify.Reason) bool { return q.Reason == word }) {
				t.Errorf("%s: want %s", what, word)
			}
		}
	case nearLimit(facts), accepted && 10*count > 9*1_000_000:
		s.near++
		t.Log(what)
	default:
		t.Error(what)
	}
}

func nearLimit(f *verify.Facts) bool {
	return slices.ContainsFunc(f.Warnings, func(r verify.Reason) bool { return r.Reason == "near-limit" })
}

// walkedByKernel loads the program and returns how many instructions were walked.
func walkedByKernel(spec *ebpf.CollectionSpec) (accepted bool, count int, why string) {
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		Programs: ebpf.ProgramOptions{LogLevel: ebpf.LogLevelStats, LogSizeStart: 1 << 16}})
	var log string
	var no *ebpf.VerifierError
	switch {
	case err == nil:
		log = coll.Programs["main"].VerifierLog
		coll.Close()
	case errors.As(err, &no):
		log = strings.Join(no.Log, "\n")
		for _, line := range no.Log {
			if strings.Contains(line, "too ") || strings.Contains(line, "infinite loop") {
				why = line
			}
		}
		if why == "" {
			why = no.Error()
		}
	default:
		why = err.Error()
	}
	if m := processed.FindStringSubmatch(log); m != nil {
		count, _ = strconv.Atoi(m[1])
	}
	return err == nil, count, why
}

// runningKernel returns the running kernel's release.
func runningKernel(t *testing.T) (v [2]int) {
	t.Helper()
	if _, err := fmt.Sscanf(release(), "%d.%d", &v[0], &v[1]); err != nil {
		t.Fatalf("kernel release %q: %v", release(), err)
	}
	return v
}
