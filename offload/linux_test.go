//go:build linux

package offload

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// TestAttachErrors uses messages of kernels and firmware that the test bed cannot
// boot: old kernels, and firmware that fails.
func TestAttachErrors(t *testing.T) {
	for _, c := range []struct {
		version [2]int
		errno   unix.Errno
		extack  string
		reason  string
	}{
		{[2]int{5, 4}, unix.EINVAL, "", "old-kernel"},
		{[2]int{6, 12}, unix.EINVAL, "", "attach-failed"},
		{[2]int{6, 12}, unix.EEXIST, "Active program does not match expected", "program-changed"},
		{[2]int{6, 12}, unix.EBUSY, "Can't replace active BPF XDP link", "link-held"},
		{[2]int{6, 12}, unix.EBUSY, "nfp: FW does not support live reload", "no-live-replace"},
		{[2]int{6, 12}, unix.EBUSY, "", "card-busy"},
		{[2]int{6, 12}, unix.EOPNOTSUPP, "nfp: program too long", "program-size"},
		{[2]int{6, 12}, unix.EOPNOTSUPP, "nfp: BPF offload not supported with potential packet access beyond HW packet split boundary", "program-size"},
		{[2]int{6, 12}, unix.EIO, "nfp: FW command error while loading BPF", "firmware-error"},
		{[2]int{6, 12}, unix.ETIMEDOUT, "", "firmware-timeout"},
		{[2]int{6, 12}, unix.ENODEV, "", "port-gone"},
		{[2]int{6, 12}, unix.EPERM, "", "no-permission"},
	} {
		l := &Linux{version: c.version}
		e := errnoError("attach", "eth0", c.errno)
		e.Extack = c.extack
		err := l.attachError(e, nil, XDPOffload, nil)
		if ReasonOf(err) != c.reason || c.extack != "" && !strings.Contains(err.Error(), c.extack) || !errors.Is(err, c.errno) {
			t.Errorf("%v, %q on %v: %v, want reason %s", c.errno, c.extack, c.version, err, c.reason)
		}
	}
}

func TestOldKernel(t *testing.T) {
	l := &Linux{version: [2]int{4, 9}}
	port := &Port{Name: "lo", Index: 1, Driver: "nfp", Firmware: "0.0.5.0 ebpf"}
	err := l.loadError(unix.EINVAL, "program p", &ebpf.ProgramSpec{Type: ebpf.XDP}, port, nil)
	if ReasonOf(err) != "old-kernel" {
		t.Errorf("load: %v, want reason old-kernel", err)
	}
	l.version = [2]int{4, 14}
	err = l.createError(unix.EINVAL, "map m", &ebpf.MapSpec{Type: ebpf.Hash}, port, nil)
	if ReasonOf(err) != "old-kernel" {
		t.Errorf("create map: %v, want reason old-kernel", err)
	}
}

// TestKernelErrors takes words of the kernel's for reasons that the test bed does not bring
// about.
func TestKernelErrors(t *testing.T) {
	l := &Linux{version: [2]int{6, 12}}
	port := &Port{Name: "nfp0", Index: 1 << 30, Driver: "nfp", Firmware: "0.0.5.0 ebpf"}
	xdp := &ebpf.ProgramSpec{Type: ebpf.XDP}
	log := func(lines ...string) error { return &ebpf.VerifierError{Cause: unix.EINVAL, Log: lines} }
	_, missing := l.LoadProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, Instructions: asm.Instructions{
		asm.LoadMapPtr(asm.R1, 0).WithReference("counts"), asm.Mov.Imm(asm.R0, 2), asm.Return(),
	}}, nil, nil)
	for _, c := range []struct {
		err  error
		want string
	}{
		{l.loadError(log("[nfp] program uses extended registers - jit hardening?"), "program p", xdp, port, nil),
			"load program p: program uses extended registers - jit hardening?: invalid argument (jit-hardened)"},
		{l.loadError(log("processed 3 insns"), "program p", xdp, port, []string{"nfp: Translation failed with error -95"}),
			"load program p: the verifier was content, the driver's translator was not: nfp: Translation failed with error -95: invalid argument (not-translated)"},
		{l.createError(unix.E2BIG, "map m", &ebpf.MapSpec{Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1 << 31}, nil, nil), "(map-create)"},
		{missing, `map "counts" was not given (map-missing)`},
		{errnoError("load", "program p", unix.EINTR), "load program p: interrupted system call (interrupted)"},
	} {
		full := fmt.Sprintf("%+v", c.err)
		if line := c.err.Error(); !strings.HasSuffix(line, c.want) || strings.Contains(line, "\n") || !strings.Contains(full, "\n  cure: ") {
			t.Errorf("%s\nwant %s, and a cure", full, c.want)
		}
	}
}

// TestPinsStayInside checks that pins stay in their directory, whatever names an
// object has.
func TestPinsStayInside(t *testing.T) {
	l := NewLinux(&LinuxOptions{Pins: t.TempDir()})
	for _, path := range []string{"../x", "a/../../x", "/etc/passwd"} {
		if err := l.Unpin(path); ReasonOf(err) != "pin" {
			t.Errorf("unpin %q: %v, want reason pin", path, err)
		}
	}
	if err := l.Unpin(""); ReasonOf(err) != "pin" {
		t.Errorf("unpin of everything: %v, want reason pin", err)
	}
	g := &Generation{Number: 1, Deployment: &Deployment{Name: "fw"}}
	for _, name := range []string{"../../../etc/passwd", ".data", "a/b", "", "\x00", "..", "ü"} {
		path := mapPin(g, name)
		if rest, ok := strings.CutPrefix(path, "fw/gen-1/maps"); !ok || strings.Contains(strings.TrimPrefix(rest, "/"), "/") || strings.Contains(rest, ".") {
			t.Errorf("map %q is pinned as %q", name, path)
		}
	}
}

// TestTooComplex: for a program with more open branches than the kernel keeps, the
// kernel returns no log in the form in which the library asks for it. The reason is
// nevertheless the kernel's, in our words.
func TestTooComplex(t *testing.T) {
	program := func(branches int) *ebpf.ProgramSpec {
		insns := asm.Instructions{asm.FnGetPrandomU32.Call()}
		for i := range branches {
			insns = append(insns, asm.JEq.Imm(asm.R0, int32(i), "out"))
		}
		insns = append(insns, asm.Mov.Imm(asm.R0, 2), asm.Return(), asm.Mov.Imm(asm.R0, 1).WithSymbol("out"), asm.Return())
		return &ebpf.ProgramSpec{Name: "branches", Type: ebpf.XDP, License: "GPL", Instructions: insns}
	}
	l := NewLinux(nil)
	p, err := l.LoadProgram(program(100), nil, nil)
	if ReasonOf(err) == "no-permission" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	info, err := p.Info()
	jit, readErr := os.ReadFile("/proc/sys/net/core/bpf_jit_enable")
	if err != nil || readErr == nil && string(jit) != "0\n" && info.JitedBytes < 100*4 || info.Words != 0 {
		t.Errorf("a program of the host: %d bytes of machine code, %d words of microcode, %v", info.JitedBytes, info.Words, err)
	}
	_, err = l.LoadProgram(program(8300), nil, nil)
	var e *Error
	if !errors.As(err, &e) || e.Reason != "too-complex" || !strings.HasSuffix(e.Msg, "its last line: The sequence of 8193 jumps is too complex.") || len(e.Log) == 0 {
		t.Errorf("error %v, want reason too-complex with the log's last line", err)
	}
}

// TestKernelReason checks that messages of the library for its own users do not reach
// the operator.
func TestKernelReason(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("load program: %w (hit verifier bug, increase LogSizeStart to fit the log and check dmesg)", unix.EFAULT), "bad address"},
		{fmt.Errorf("load program: %w (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", unix.EPERM), "operation not permitted"},
		{fmt.Errorf("load program: %w", unix.EINVAL), "invalid argument"},
		{errors.New("load program: apply CO-RE relocations: no BTF"), "apply CO-RE relocations: no BTF"},
	} {
		if got := kernelReason(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
