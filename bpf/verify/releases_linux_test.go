package verify_test

import (
	"fmt"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// A release is the major and minor number of one of Linux.
type release [2]int

func (r release) before(o release) bool { return r[0] < o[0] || r[0] == o[0] && r[1] < o[1] }

// tracked are facts with the release since which Linux knows them, as Options.Kernel
// has it. r0 is any number, and r6 one of 0 to 7, before the body.
var tracked = []struct {
	name, body, fact string
	since            release
}{
	{"a product by a positive constant", "r6 *= 3", "r6 <= 21", release{6, 1}},
	{"a product by a negative constant", "r6 *= -3", "r6 s<= 0", release{6, 14}},
	{"a product of two unknown numbers", "r7 = r0\nr7 &= 3\nr6 *= r7", "r6 <= 21", release{6, 8}},
	{"or of two unknown numbers", "r7 = r0\nr7 &= 8\nr6 |= r7", "r6 <= 15", release{6, 8}},
	{"a negative", "r6 = -r6", "r6 s<= 0", release{6, 17}},
	{"a negative of 32 bits", "w6 = -w6", "w6 s<= 0", release{6, 17}},
	{"a byte swap", "r6 = be16 r6", "r6 <= 1792", release{6, 18}},
	{"a byte swap that truncates", "r6 = r0\nr6 = le16 r6", "r6 <= 65535", release{6, 18}},
	{"the order of two unknown numbers", "r7 = r0\nif r7 > r6 goto out", "r7 <= 7", release{6, 8}},
	{"a 32-bit bound after a 64-bit comparison", "r7 = r0\nif w7 > 9 goto out\nif r7 == 5 goto out", "w7 <= 9", release{6, 8}},
	{"a zero-extended copy", "w7 = w6\nif r7 > 2 goto out", "r6 <= 2", release{6, 8}},
	{"a copy on the stack", "*(u64 *)(r10 - 8) = r6\nr7 = *(u64 *)(r10 - 8)\nif r7 > 2 goto out", "r6 <= 2", release{6, 8}},
	{"zero beside a number on the stack", "r7 = 0\n*(u32 *)(r10 - 4) = r7\n*(u32 *)(r10 - 8) = r6\nr7 = *(u32 *)(r10 - 4)", "r7 == 0", release{6, 8}},
	{"the low bytes of zero on the stack", "r7 = 0\n*(u64 *)(r10 - 8) = r7\nr7 = *(u16 *)(r10 - 6)", "r7 == 0", release{6, 1}},
	{"the number of a processor", "call bpf_get_smp_processor_id", "r0 <= 8191", release{6, 12}},
}

// TestReleases checks which facts a release of Linux knows. The fact decides a branch, and
// only then the program is accepted: the other edge reads a register that was never
// written.
func TestReleases(t *testing.T) {
	for _, row := range tracked {
		_, c := factProgram(t, row.name, row.body, row.fact)
		for _, k := range []release{{6, 1}, {6, 6}, {6, 12}, {6, 18}} {
			if got, want := knows(c, k), !k.before(row.since); got != want {
				t.Errorf("%s: Linux %d.%d knows it: %v, want %v", row.name, k[0], k[1], got, want)
			}
		}
	}
}

// TestRunningRelease asks the running kernel about the same facts.
func TestRunningRelease(t *testing.T) {
	kernelMaps(t)
	k := runningRelease(t)
	for _, row := range tracked {
		spec, c := factProgram(t, row.name, row.body, row.fact)
		if err := loadIntoKernel(t, spec, nil); knows(c, k) != (err == nil) {
			t.Errorf("%s: kernel %d.%d says %v, known here: %v", row.name, k[0], k[1], err, knows(c, k))
		}
	}
}

// TestFailedTailCall checks that Linux knows since 6.18 that a tail call that failed has left
// the packet as it was.
func TestFailedTailCall(t *testing.T) {
	f, err := asmtext.Parse("tail", `.map progs prog_array key=4 value=4 entries=1
.program xdp main
	r6 = *(u32 *)(r1 + 0)
	r7 = *(u32 *)(r1 + 4)
	r0 = 2
	r2 = r6
	r2 += 20
	if r2 > r7 goto out
	r2 = map[progs]
	r3 = 0
	call bpf_tail_call
	r0 = *(u8 *)(r6 + 19)
	r0 &= 1
out:
	exit
`)
	if err != nil {
		t.Fatal(err)
	}
	spec := f.Spec.Programs["main"]
	c, faults := code.New(spec, f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, k := range []release{{6, 1}, {6, 12}, {6, 18}} {
		if got, want := knows(c, k), !k.before(release{6, 18}); got != want {
			t.Errorf("Linux %d.%d accepts: %v, want %v", k[0], k[1], got, want)
		}
	}
	kernelMaps(t)
	m, err := ebpf.NewMap(f.Spec.Maps["progs"])
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := loadIntoKernel(t, spec, map[string]*ebpf.Map{"progs": m}); (err == nil) != knows(c, runningRelease(t)) {
		t.Errorf("kernel %v says %v", runningRelease(t), err)
	}
}

func runningRelease(t *testing.T) (k release) {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &k[0], &k[1]); err != nil {
		t.Fatal(err)
	}
	return k
}

func factProgram(t *testing.T, name, body, fact string) (*ebpf.ProgramSpec, *code.Code) {
	t.Helper()
	text := fmt.Sprintf(".license \"GPL\"\n.program xdp main\ncall bpf_get_prandom_u32\nr6 = r0\nr6 &= 7\n%s\nif %s goto out\nr0 = r9\nout:\nr0 = 2\nexit\n", body, fact)
	f, err := asmtext.Parse(name, text)
	if err != nil {
		t.Fatal(err)
	}
	spec := f.Spec.Programs[f.Programs[0]]
	c, faults := code.New(spec, f.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(name, faults)
	}
	return spec, c
}

func knows(c *code.Code, k release) bool {
	_, r := verify.Survey(c, &verify.Options{Linux: true, Kernel: k})
	return r == nil
}
