package verify_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestAgainstKernel loads random programs into the running kernel: what it refuses
// we must refuse, and what it accepts we should accept.
func TestAgainstKernel(t *testing.T) {
	ms := kernelMaps(t)
	const programs = 400
	both, neither, missed := 0, 0, 0
	for seed := uint64(1 << 32); seed < 1<<32+programs; seed++ {
		g := newRandom(seed)
		g.wrong = 6
		spec := g.program()
		c, faults := code.New(spec, randomMaps())
		if len(faults) > 0 {
			t.Fatalf("seed %d: %v", seed, faults[0])
		}
		_, ours := verify.Verify(c, nil)
		theirs := loadIntoKernel(t, spec, ms)
		switch {
		case ours == nil && theirs == nil:
			both++
		case ours != nil && theirs != nil:
			neither++
		case ours == nil:
			t.Errorf("seed %d: accepted here, refused by the kernel: %v\n%s", seed, theirs, asmtext.PrintProgram(spec))
		default:
			missed++
			t.Logf("seed %d: the kernel accepts: %v", seed, ours)
		}
	}
	t.Logf("both accept %d, both refuse %d, only the kernel accepts %d", both, neither, missed)
	if missed*50 > both {
		t.Errorf("%d of %d programs that the kernel accepts are refused", missed, both+missed)
	}
}

func kernelMaps(t *testing.T) map[string]*ebpf.Map {
	_ = rlimit.RemoveMemlock()
	ms := map[string]*ebpf.Map{}
	for name, spec := range randomMaps() {
		m, err := ebpf.NewMap(spec)
		if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
			t.Skip("bpf(2) is not permitted: no kernel to compare with")
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		ms[name] = m
	}
	return ms
}

// loadIntoKernel returns nil if the kernel's verifier accepts the program.
func loadIntoKernel(t *testing.T, spec *ebpf.ProgramSpec, ms map[string]*ebpf.Map) error {
	spec = spec.Copy()
	for name, m := range ms {
		err := spec.Instructions.AssociateMap(name, m)
		if err != nil && !strings.Contains(err.Error(), "unreferenced symbol") && !errors.Is(err, ebpf.ErrNotSupported) {
			t.Logf("%s: %v", name, err)
		}
	}
	p, err := ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogDisabled: false})
	if err == nil {
		p.Close()
	}
	return err
}
