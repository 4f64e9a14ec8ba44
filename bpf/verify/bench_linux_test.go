package verify

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// straightText returns n instructions without branches: loads, stores, arithmetic.
func straightText(n int) string {
	var b strings.Builder
	b.WriteString("r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr4 = r2\nr4 += 64\nif r4 > r3 goto out\nr0 = 0\nr6 = 1\n")
	for i := 0; i < n; i += 8 {
		fmt.Fprintf(&b, "r5 = *(u32 *)(r2 + %d)\nr0 += r5\nr5 >>= 3\nr6 ^= r5\n*(u64 *)(r10 - %d) = r6\nr7 = *(u64 *)(r10 - %d)\nw7 += w6\nr0 |= r7\n", i%60, 8+i%128, 8+i%128)
	}
	b.WriteString("out:\nr0 = 2\nexit\n")
	return b.String()
}

// branchyText returns a parser: headers at growing offsets, each field tested, some
// values kept, paths that join again.
func branchyText(n int) string {
	var b strings.Builder
	b.WriteString("r2 = *(u32 *)(r1 + 0)\nr3 = *(u32 *)(r1 + 4)\nr6 = r2\nr0 = 0\nr7 = 0\n")
	for i, k := 0, 0; i < n; i, k = i+20, k+1 {
		fmt.Fprintf(&b, `
    r4 = r6
    r4 += 20
    if r4 > r3 goto out
    r5 = *(u8 *)(r6 + 9)
    if r5 == 6 goto tcp%[1]d
    if r5 == 17 goto udp%[1]d
    if r5 > 100 goto out
    r7 |= %[2]d
    goto next%[1]d
tcp%[1]d:
    r5 = *(u8 *)(r6 + 0)
    r5 &= 15
    r5 <<= 2
    *(u32 *)(r10 - %[3]d) = r5
    r6 += r5
    goto next%[1]d
udp%[1]d:
    r5 = *(u16 *)(r6 + 2)
    *(u32 *)(r10 - %[3]d) = r5
    r6 += 8
next%[1]d:
    r0 += 1
    if r0 > 200 goto reset%[1]d
    r6 = r2
reset%[1]d:
`, k, k&0xff, 4+4*(k%8))
	}
	b.WriteString("out:\nr0 = 2\nexit\n")
	return b.String()
}

// explosionText returns n branches that nothing depends on, each leaving a trace.
func explosionText(n int) string {
	var b strings.Builder
	b.WriteString("r6 = r1\n")
	for i := range n {
		fmt.Fprintf(&b, "call bpf_get_prandom_u32#7\nif r0 > 5 goto l%[1]d\n*(u32 *)(r10 - %[2]d) = %[1]d\nl%[1]d:\n", i, 4+4*i)
	}
	b.WriteString("r0 = 0\n")
	for i := range n {
		fmt.Fprintf(&b, "r1 = *(u32 *)(r10 - %d)\nr0 += r1\n", 4+4*i)
	}
	b.WriteString("exit\n")
	return b.String()
}

// nestedText returns nested loops with a branch in the innermost.
func nestedText() string {
	return `
    r6 = 0
    r9 = 0
outer:
    r7 = 0
middle:
    r8 = 0
inner:
    call bpf_get_prandom_u32#7
    if r0 & 1 goto odd
    r9 += 1
odd:
    r8 += 1
    if r8 < 10 goto inner
    r7 += 1
    if r7 < 10 goto middle
    r6 += 1
    if r6 < 10 goto outer
    r0 = r9
    exit
`
}

func compile(t testing.TB, text string) *code.Code {
	t.Helper()
	f, err := asmtext.Parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	c, faults := code.New(f.Spec.Programs["main"], f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults[0])
	}
	return c
}

var workloads = []struct{ name, text string }{
	{"straight10000", straightText(10000)},
	{"parser4000", branchyText(4000)},
	{"explosion30", explosionText(30)},
	{"explosion120", explosionText(120)},
	{"nested", nestedText()},
	{"loop100000", "r6 = 0\nagain:\nr6 += 1\nif r6 < 100000 goto again\nr0 = 0\nexit\n"},
}

func BenchmarkVerify(b *testing.B) {
	for _, w := range workloads {
		b.Run(w.name, func(b *testing.B) {
			c := compile(b, w.text)
			b.ReportAllocs()
			start := cpuTime()
			for b.Loop() {
				if _, err := Verify(c, nil); err != nil {
					b.Fatalf("%+.3000v", err)
				}
			}
			b.ReportMetric(float64(cpuTime()-start)/float64(b.N)/1e6, "cpu-ms/op")
			b.ReportMetric(float64(len(c.Insns)), "insns")
		})
	}
}

// TestWorkloads checks that the programs of the benchmarks are accepted.
func TestWorkloads(t *testing.T) {
	for _, w := range workloads {
		if _, err := Verify(compile(t, w.text), nil); err != nil {
			t.Errorf("%s: %v", w.name, err)
		}
	}
}

// cpuTime returns the CPU time that the process has used, in nanoseconds. Other work
// on the machine disturbs it less than wall-clock time.
func cpuTime() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
