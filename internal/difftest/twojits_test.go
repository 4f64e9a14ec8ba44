//go:build linux

package difftest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// Two compilers, one chip. Each program runs in the interpreter, in the running kernel
// if that is permitted, as the Linux nfp driver's translation, and as ours. The
// driver's code comes from the kernel of a guest whose nfp driver is bound to our
// card. TestTwoCompilers has the programs that must behave the same, TestKernelFaults
// those that the driver translates wrongly.

// initDir has the guest's program, which all tests share.
var initDir string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if initDir, err = os.MkdirTemp("", "nfpkit-init-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(initDir)
		return m.Run()
	}())
}

// guestInit builds the guest's program.
var guestInit = sync.OnceValues(func() (string, error) {
	path := filepath.Join(initDir, "init")
	return path, uml.BuildInit(context.Background(), uml.GuestPackage, path)
})

// translateOn has the guest kernel of a release translate programs; Kernel and Init of the
// options are filled in.
func translateOn(t *testing.T, release string, opt uml.TranslateOptions, programs []*code.Code) []uml.Translation {
	t.Helper()
	kernel, err := uml.Build(t.Context(), release, func(line string) { t.Log("suite:", line) })
	if errors.Is(err, uml.ErrUnavailable) {
		t.Skipf("the guest kernel cannot be had: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	init, err := guestInit()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	start := time.Now()
	opt.Kernel, opt.Init = kernel, init
	all, err := uml.Translate(ctx, &opt, programs)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the driver translated %d programs in %v", len(programs), time.Since(start).Round(10*time.Millisecond))
	return all
}

// runKernelWords runs the words that the kernel showed on a card.
func runKernelWords(p *Program, f *verify.Facts, profile *firmware.Profile, tr *uml.Translation) (*Result, error) {
	card, err := linux.NewCard(profile, &driver.Options{Time: microseconds()}, f, tr.Tables)
	if err != nil {
		return nil, err
	}
	if err := p.Fill(card); err != nil {
		return nil, err
	}
	prog, err := linux.Load(card, "kernel", tr.Words, f.Code.Type)
	if err != nil {
		return nil, err
	}
	return packetsOn(card, prog, p)
}

// packetsOn runs a program's packets and reads its maps.
func packetsOn(card *driver.NIC, prog *driver.Program, p *Program) (*Result, error) {
	res := &Result{}
	for i, pkt := range p.Packets {
		out, err := card.Run(prog, &driver.Input{Packet: pkt, Ifindex: 1})
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i, err)
		}
		res.Packets = append(res.Packets, PacketResult{Verdict: out.Action, Data: out.Packet})
	}
	res.Maps = Contents{}
	for name, spec := range p.Maps {
		m := card.Map(name)
		if m == nil || !hasValues(spec.Type) {
			continue
		}
		entries, err := dump(m)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		if len(entries) > 0 {
			res.Maps[name] = entries
		}
	}
	return res, nil
}

// compareBoth compares both compilers' code with the interpreter. It returns the words of
// each.
func compareBoth(t *testing.T, r Subject, profile *firmware.Profile, tr *uml.Translation) (kernel, ours int) {
	t.Helper()
	name := r.Name
	same := func(v uint32) uint32 { return driver.Canonical(profile, r.Facts.Code.Type, v) }
	// The driver's exit has no code above XDP_TX: all others abort.
	driverSame := func(v uint32) uint32 {
		if v = same(v); r.Facts.Code.Type == ebpf.XDP && v > driver.XDPTX {
			return driver.XDPAborted
		}
		return v
	}
	want, err := runInterp(r.Program, r.Facts.Code)
	if err != nil {
		t.Errorf("%s: interp: %v", name, err)
		return 0, 0
	}
	got, err := runKernelWords(r.Program, r.Facts, profile, tr)
	if err != nil {
		t.Errorf("%s: the driver's code: %v", name, err)
	} else if m := compare(want, got, driverSame); m != nil {
		t.Errorf("%s: the driver's code: %v", name, m)
	}
	im, err := jit.Compile(r.Facts, profile, nil)
	if no := new(jit.Unsupported); errors.As(err, &no) {
		t.Errorf("%s: our compiler refuses what the driver takes: %v", name, err)
		return len(tr.Words), 0
	}
	if err != nil {
		t.Errorf("%s: our compiler: %v", name, err)
		return len(tr.Words), 0
	}
	if got, err = runOurs(r.Program, profile, im); err != nil {
		t.Errorf("%s: our code: %v", name, err)
	} else if m := compare(want, got, same); m != nil {
		t.Errorf("%s: our code: %v", name, m)
	}
	return len(tr.Words), len(im.Words)
}

func runOurs(p *Program, profile *firmware.Profile, im *nfp.Image) (*Result, error) {
	card, err := driver.New(profile, &driver.Options{Guard: driver.GuardPacket, Time: microseconds()})
	if err != nil {
		return nil, err
	}
	return onCard(card, p, im, nil)
}

// exampleSubjects returns the programs of examples that our verifier takes.
func exampleSubjects(t *testing.T) (list []Subject) {
	t.Helper()
	for _, pattern := range []string{"*.o", "*.bpf"} {
		files, err := filepath.Glob("../../examples/" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			list = append(list, Subjects(file)...)
		}
	}
	return list
}

// TestTwoCompilers checks that random programs that the driver accepts, and the examples,
// behave the same under both compilers.
func TestTwoCompilers(t *testing.T) {
	t.Parallel()
	for _, version := range uml.Versions() {
		share := 1
		if version != uml.Newest {
			share = 5
		}
		t.Run(version, func(t *testing.T) { twoCompilers(t, version, share) })
	}
}

// twoCompilers compares one of share programs on a kernel. The translator is the same in
// all kernels; the verifier's facts, by which it translates, are not.
func twoCompilers(t *testing.T, version string, share int) {
	profile, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	list := exampleSubjects(t)
	examples := len(list)
	want, seed := 1000, uint64(1)
	if testing.Short() {
		want = 100
	}
	if n, err := strconv.Atoi(os.Getenv("NFPKIT_TWOJITS_N")); err == nil {
		want = n
	}
	if s, err := strconv.ParseUint(os.Getenv("NFPKIT_TWOJITS_SEED"), 0, 64); err == nil {
		seed = s
	}
	want /= share
	// A few more than asked for: the driver refuses some that our rules allow.
	list = append(list, randomSubjects(t, profile, seed, want*8/5+20)...)
	var codes []*code.Code
	for _, r := range list {
		codes = append(codes, r.Facts.Code)
	}
	all := translateOn(t, version, uml.TranslateOptions{Firmware: profile}, codes)
	refused := map[string][]string{}
	random, taken, asked, words, packets := 0, 0, 0, [2]int{}, 0
	host := hostKernel(t)
	for i, r := range list {
		tr := &all[i]
		if tr.Words == nil {
			why := general(tr.Refused)
			refused[why] = append(refused[why], r.Name)
			continue
		}
		k, o := compareBoth(t, r, profile, tr)
		words[0], words[1] = words[0]+k, words[1]+o
		packets += len(r.Program.Packets)
		if i < examples {
			taken++
			continue
		}
		random++
		if host != nil && askKernel(t, host, r) {
			asked++
		}
	}
	for _, why := range slices.SortedFunc(maps.Keys(refused), func(a, b string) int { return len(refused[b]) - len(refused[a]) }) {
		t.Logf("the driver refuses %d: %s (%s)", len(refused[why]), why, strings.Join(refused[why][:min(4, len(refused[why]))], ", "))
	}
	t.Logf("suite: two compilers: %d random programs and %d examples, %d packets; %d words of the driver, %d of ours; the running kernel ran %d",
		random, taken, packets, words[0], words[1], asked)
	if taken == 0 {
		t.Error("the driver takes none of the examples")
	}
	if random < want {
		t.Errorf("%d random programs were compared, %d are wanted", random, want)
	}
}

// randomSubjects returns n programs of the generator that our rules for the driver allow.
func randomSubjects(t *testing.T, profile *firmware.Profile, seed uint64, n int) (list []Subject) {
	faults := map[string]int{}
	for ; len(list) < n; seed++ {
		if p, f := offloadable(seed, profile, faults); f != nil {
			list = append(list, Subject{fmt.Sprintf("seed %d", seed), p, f})
		}
	}
	for _, k := range kernelFaults {
		t.Logf("%d instructions kept from fault %s: %s", faults[k.Name], k.Name, k.Why)
	}
	return list
}

// hostKernel returns the running kernel, or nil if bpf(2) is not permitted.
func hostKernel(t *testing.T) *Kernel {
	if err := Permitted(); err != nil {
		t.Logf("the running kernel is not asked: %v", err)
		return nil
	}
	host, err := NewKernel(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { host.Close() })
	return host
}

// askKernel compares the interpreter with the running kernel, if that accepts the program.
func askKernel(t *testing.T, host *Kernel, r Subject) bool {
	var got *Result
	p, err := zeroed(r.Program)
	if err == nil {
		got, err = host.Run(p)
	}
	if no := new(Refused); errors.As(err, &no) {
		return false
	}
	if result, err2 := runInterp(r.Program, r.Facts.Code); err != nil || err2 != nil {
		t.Errorf("%s: the running kernel: %v %v", r.Name, err, err2)
	} else if m := compare(result, got, raw); m != nil {
		t.Errorf("%s: the running kernel: %v", r.Name, m)
	}
	return true
}
