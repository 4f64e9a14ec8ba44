package verify_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestAgainstKernel loads random programs into the running kernel: what it refuses
// we must refuse, and what it accepts we should accept.
func TestAgainstKernel(t *testing.T) {
	ms := kernelMaps(t)
	const programs = 300
	both, neither, missed, finer := 0, 0, 0, 0
	linked, narrowed := 0, 0
	for seed := uint64(1 << 32); seed < 1<<32+programs; seed++ {
		g := newRandom(seed)
		g.wrong, g.short = 2, true
		spec := g.program()
		c, faults := code.New(spec, randomMaps())
		var ours error
		var facts *verify.Facts
		if len(faults) > 0 {
			ours = verify.NewRejection(spec.Name, faults)
		} else {
			facts, ours = verify.Verify(c, nil)
		}
		theirs := loadIntoKernel(t, spec, ms)
		switch {
		case ours == nil && theirs == nil:
			both++
			l, n := g.linksIn(facts)
			linked, narrowed = linked+l, narrowed+n
		case ours != nil && theirs != nil:
			neither++
		case ours == nil && !reaches(facts, theirs):
			finer++ // what the kernel trips over is never executed, as we know and it does not
		case ours == nil:
			finer++
			t.Logf("seed %d: accepted here, refused by the kernel: %v", seed, theirs)
			for range 20 {
				if err := runWithin(facts, g.input()); err != nil {
					t.Errorf("seed %d: accepted here, refused by the kernel: %v, and fails: %v\n%s", seed, theirs, err, asmtext.PrintProgram(spec))
				}
			}
		default:
			missed++
			t.Logf("seed %d: the kernel accepts: %+v", seed, ours)
		}
	}
	t.Logf("both accept %d, both refuse %d, only the kernel accepts %d, only we accept %d; %d checks of a linked number, %d of which bound the other",
		both, neither, missed, finer, linked, narrowed)
	if missed*50 > both {
		t.Errorf("%d of %d programs that the kernel accepts are refused", missed, both+missed)
	}
}

var logged = regexp.MustCompile(`^(\d+): \([0-9a-f]{2}\)|infinite loop detected at insn (\d+)`)

// reaches reports whether the instruction the kernel stopped at is reachable by our
// facts, or that the log does not name it.
func reaches(f *verify.Facts, err error) bool {
	var ve *ebpf.VerifierError
	if !errors.As(err, &ve) {
		return true
	}
	i := code.None
	for _, l := range ve.Log {
		if m := logged.FindStringSubmatch(l); m != nil {
			pc, _ := strconv.Atoi(m[1] + m[2])
			i = f.Code.Index(pc)
		}
	}
	return i == code.None || f.Reachable[i]
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
	p, err := ebpf.NewProgramWithOptions(spec, ebpf.ProgramOptions{LogSizeStart: 1 << 18})
	if err == nil {
		p.Close()
	}
	return err
}

// TestLinksAgainstKernel compares the verdicts on testdata/link.bpf with the kernel.
// They differ only for links that the kernel does not follow as far.
func TestLinksAgainstKernel(t *testing.T) {
	kernelMaps(t)
	farther := map[string]bool{
		"checked_twice": true, // a second addition, and a copy of a linked number
	}
	f := programsOf(t, "testdata/link.bpf")
	m, err := ebpf.NewMap(f.Spec.Maps["m"])
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	both, neither := 0, 0
	for _, name := range f.Programs {
		spec := f.Spec.Programs[name]
		c, faults := code.New(spec, f.Spec.Maps)
		if len(faults) > 0 {
			t.Fatal(name, faults)
		}
		_, ours := verify.Verify(c, nil)
		theirs := loadIntoKernel(t, spec, map[string]*ebpf.Map{"m": m})
		switch {
		case ours == nil && theirs == nil:
			both++
		case ours != nil && theirs != nil:
			neither++
		case ours != nil || !farther[name]:
			t.Errorf("%s: %v here, the kernel says %+v", name, ours, theirs)
		}
	}
	t.Logf("both accept %d, both refuse %d, only we accept %d", both, neither, len(farther))
}

func programsOf(t *testing.T, file string) *asmtext.File {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	f, err := asmtext.Parse(file, string(src))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestReservedFields compares the verdicts on testdata/reserved.bpf with the kernel.
func TestReservedFields(t *testing.T) {
	kernelMaps(t)
	f := programsOf(t, "testdata/reserved.bpf")
	for _, name := range f.Programs {
		spec := f.Spec.Programs[name]
		c, faults := code.New(spec, nil)
		if len(faults) > 0 {
			t.Fatal(name, faults)
		}
		_, ours := verify.Verify(c, nil)
		if theirs := loadRaw(spec); (ours == nil) != (theirs == nil) {
			t.Errorf("%s: %v here, the kernel says %v", name, ours, theirs)
		}
	}
}

// loadRaw calls BPF_PROG_LOAD with the fields unchanged; cilium/ebpf would recompute
// the offsets of arithmetic.
func loadRaw(spec *ebpf.ProgramSpec) error {
	var insns []byte
	for _, ins := range spec.Instructions {
		b := [16]byte{0: byte(ins.OpCode), 1: byte(ins.Dst | ins.Src<<4)}
		binary.LittleEndian.PutUint16(b[2:], uint16(ins.Offset))
		binary.LittleEndian.PutUint32(b[4:], uint32(ins.Constant))
		binary.LittleEndian.PutUint32(b[12:], uint32(ins.Constant>>32))
		insns = append(insns, b[:8*ins.Width()]...)
	}
	license := []byte("GPL\x00")
	attr := struct { // union bpf_attr, linux/bpf.h
		typ, count     uint32
		insns, license unsafe.Pointer
	}{uint32(spec.Type), uint32(len(insns) / 8), unsafe.Pointer(&insns[0]), unsafe.Pointer(&license[0])}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return errno
	}
	return unix.Close(int(fd))
}

// TestHelpersOfRelease asks the running kernel which helpers programs of each type may
// call. Its table is that of a release; between those compared it is not known.
func TestHelpersOfRelease(t *testing.T) {
	kernelMaps(t)
	k := runningRelease(t)
	if k != (release{6, 12}) && k != (release{6, 18}) {
		t.Skipf("the table has no rows of kernel %d.%d", k[0], k[1])
	}
	listed := map[string]string{
		"XDP 17": "6.18 has another form of get_cgroup_classid for XDP, without arguments",
	}
	no := []string{"unknown func", "invalid func", "cannot use helper", "might sleep"}
	for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS, ebpf.SchedACT} {
		for id := asm.BuiltinFunc(1); id <= 213; id++ {
			spec := &ebpf.ProgramSpec{Type: typ, License: "GPL", Instructions: asm.Instructions{id.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return()}}
			err := loadIntoKernel(t, spec, nil)
			theirs := !slices.ContainsFunc(no, func(text string) bool { return strings.Contains(fmt.Sprintf("%+v", err), text) })
			c, faults := code.New(spec, nil)
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			_, r := verify.Survey(c, &verify.Options{Linux: true, Kernel: k})
			ours := r == nil || !slices.ContainsFunc(r.Reasons, func(q verify.Reason) bool {
				return q.Reason == "helper-not-allowed" || q.Reason == "unknown-helper"
			})
			if _, except := listed[fmt.Sprintf("%v %d", typ, id)]; (ours != theirs) != except {
				t.Errorf("helper %d for programs of type %v: kernel %d.%d says %v (%v), here: %v", id, typ, k[0], k[1], theirs, err, ours)
			}
		}
	}
}

// TestLicenses compares the table with the kernel: which helpers of xdp and tc
// programs need a GPL-compatible license, and which licenses are. The kernel checks
// the license before the arguments.
func TestLicenses(t *testing.T) {
	kernelMaps(t)
	wants := func(typ ebpf.ProgramType, license string, id asm.BuiltinFunc) (gpl, known bool) {
		_, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: typ, License: license, Instructions: asm.Instructions{
			id.Call(), asm.Mov.Imm(asm.R0, 0), asm.Return()}})
		text := fmt.Sprintf("%+v", err)
		return strings.Contains(text, "GPL-restricted"), !strings.Contains(text, "unknown func") && !strings.Contains(text, "cannot use helper")
	}
	asked := 0
	for _, typ := range []ebpf.ProgramType{ebpf.XDP, ebpf.SchedCLS} {
		for _, p := range helper.All() {
			if !p.Allows(typ) {
				continue
			}
			gpl, known := wants(typ, "Proprietary", p.ID)
			if known && gpl != p.GPL {
				t.Errorf("%v: %s wants GPL: the kernel says %v, the table %v", typ, p.Name, gpl, p.GPL)
			}
			if known {
				asked++
			}
		}
	}
	if asked < 100 {
		t.Errorf("the kernel knows %d of the helpers", asked)
	}
	for _, license := range []string{"", "GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL",
		"gpl", "GPLv2", "GPL-2.0", "GPL ", "BSD", "Dual BSD/GPLv2", "Apache-2.0"} {
		if no, _ := wants(ebpf.XDP, license, asm.FnTracePrintk); no == helper.GPLCompatible(license) {
			t.Errorf("license %q: the kernel refuses %v", license, no)
		}
	}
}
