//go:build unix

package driver_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// parserText returns a packet parser of about n instructions, as a compiler emits it.
// It parses protocols in layers of four. Each protocol has a bounds check, a field
// that selects the next protocol, options of variable length, a key built on the
// stack, a lookup, a counter in the value, and a kept field. The paths of a layer
// join.
func parserText(n int) string {
	const perLayer = 43
	var b strings.Builder
	b.WriteString(`.map flows hash key=8 value=32 entries=1024
.map counts array key=4 value=16 entries=256
.program xdp parser
	r6 = *(u32 *)(r1 + 0)
	r8 = *(u32 *)(r1 + 4)
	r9 = r6
	r7 = 0
`)
	for k := 0; k*perLayer < n; k++ {
		fmt.Fprintf(&b, `
	r2 = r6
	r2 += 40
	if r2 > r8 goto short
	r1 = *(u16 *)(r6 + 12)
	r1 = be16 r1
	if r1 == %[2]d goto known%[1]d
	if r1 > 1536 goto next%[1]d
	r3 = r1
	r3 >>= 4
	r7 ^= r3
	goto next%[1]d
known%[1]d:
	r3 = *(u8 *)(r6 + 14)
	r4 = r3
	r4 &= 15
	if r4 < 5 goto drop
	r4 <<= 2
	r1 = *(u32 *)(r6 + 26)
	*(u32 *)(r10 - 8) = r1
	r1 = *(u32 *)(r6 + 30)
	*(u32 *)(r10 - 4) = r1
	r6 += r4
	r1 = map[flows]
	r2 = r10
	r2 += -8
	call bpf_map_lookup_elem#1
	if r0 == 0 goto miss%[1]d
	r1 = *(u64 *)(r0 + 8)
	r7 += r1
	r2 = *(u32 *)(r0 + 16)
	if r2 s< 0 goto drop
	r2 += %[2]d
	*(u32 *)(r0 + 16) = r2
	goto next%[1]d
miss%[1]d:
	*(u32 *)(r10 - 12) = %[3]d
	r1 = map[counts]
	r2 = r10
	r2 += -12
	call bpf_map_lookup_elem#1
	if r0 == 0 goto drop
	r1 = 1
	lock *(u64 *)(r0 + 0) += r1
	*(u64 *)(r10 - 24) = r7
next%[1]d:
`, k, 2048+k, k&255)
		if k%4 == 3 {
			b.WriteString("\tr6 = r9\n\tr7 = (s32)r7\n") // the next packet of protocols
		}
	}
	b.WriteString(`
	r0 = 2
	if r7 & 1 goto out
short:
	r0 = 1
	goto out
drop:
	r0 = 1
out:
	exit
`)
	return b.String()
}

func parser(tb testing.TB, n int) *code.Code {
	tb.Helper()
	file, err := asmtext.Parse("parser.bpf", parserText(n))
	if err != nil {
		tb.Fatal(err)
	}
	c, faults := code.New(file.Spec.Programs["parser"], file.Spec.Maps)
	if len(faults) > 0 {
		tb.Fatal(faults[0])
	}
	return c
}

// BenchmarkVerifyCompile measures the compilation of decoded eBPF to an image for
// firmware unlimited: verification and compilation together, and each alone. CPU time
// is the process's, including the garbage collector's on other cores; on a machine
// shared with others it is more reliable than wall-clock time.
func BenchmarkVerifyCompile(b *testing.B) {
	p, err := firmware.Load("unlimited")
	if err != nil {
		b.Fatal(err)
	}
	c := parser(b, 4000)
	facts, err := verify.Verify(c, nil)
	if err != nil {
		b.Fatalf("%+.2000v", err)
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"both", func() error {
			f, err := verify.Verify(c, nil)
			if err == nil {
				_, err = jit.Compile(f, p, nil)
			}
			return err
		}},
		{"verify", func() error { _, err := verify.Verify(c, nil); return err }},
		{"compile", func() error { _, err := jit.Compile(facts, p, nil); return err }},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if err := step.do(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(b.N), "cpu-ms/op")
			b.ReportMetric(float64(len(c.Insns)), "insns")
		})
	}
}

// cpuTime returns the CPU time of the process so far.
func cpuTime(tb testing.TB) time.Duration {
	tb.Helper()
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
