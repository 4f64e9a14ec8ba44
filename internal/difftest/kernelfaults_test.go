//go:build linux

package difftest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/internal/uml"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// faultPackets returns the packets for the reproducers: all bytes differ, and the
// first bytes select both successors of the branches.
func faultPackets() [][]byte {
	var all [][]byte
	for _, first := range []byte{0, 7, 0xf4} {
		p := make([]byte, 64)
		for i := range p {
			p[i] = byte(0x91 + 7*i)
		}
		p[0] = first
		all = append(all, p)
	}
	return all
}

// faultProgram reads a reproducer.
func faultProgram(t *testing.T, file string) Subject {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := asmtext.Parse(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	p := &Program{Spec: parsed.Spec.Programs[parsed.Programs[0]], Maps: parsed.Spec.Maps, Initial: Contents{}, Packets: faultPackets()}
	populate(p)
	delete(p.Initial, "out")
	c, err := resolve(p)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	f, err := verify.Verify(c, nil)
	if err != nil {
		t.Fatalf("%s: %+v", file, err)
	}
	return Subject{strings.TrimSuffix(filepath.Base(file), ".bpf"), p, f}
}

// Each known fault of the Linux driver's translator shows: its code gives another
// result than the interpreter, or none; ours gives the same. A fault that no longer
// shows is one to strike from docs/kernel-jit.md.
func TestKernelFaults(t *testing.T) {
	t.Parallel()
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { driverFaults(t, version) })
	}
}

// newInstructions are the reproducers of instructions that Linux has since 6.6, with what
// 6.1 says of each.
var newInstructions = map[string]string{
	"movsx": "BPF_MOV uses reserved fields",
	"sdiv":  "BPF_ALU uses reserved fields",
}

func driverFaults(t *testing.T, version string) {
	files, err := filepath.Glob("testdata/kernelfaults/*.bpf")
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("../../docs/kernel-jit.md")
	if err != nil {
		t.Fatal(err)
	}
	profile, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	var list []Subject
	var codes []*code.Code
	var names []string
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bpf")
		if !strings.Contains(string(doc), "| "+name+" |") {
			t.Errorf("%s: docs/kernel-jit.md does not know it", name)
		}
		r := faultProgram(t, file)
		ours(t, name, r)
		if strings.HasPrefix(name, "crash-") {
			continue
		}
		names, list, codes = append(names, name), append(list, r), append(codes, r.Facts.Code)
	}
	for i, tr := range translateOn(t, version, uml.TranslateOptions{Firmware: profile}, codes) {
		if said := newInstructions[names[i]]; version == "6.1" && said != "" {
			if tr.Words != nil || !strings.Contains(tr.Refused, said) {
				t.Errorf("%s: Linux 6.1 says %q, want %q", names[i], tr.Refused, said)
			}
			continue
		}
		if tr.Words == nil {
			t.Errorf("%s: the driver refuses it: %s", names[i], tr.Refused)
			continue
		}
		want, err := runInterp(list[i].Program, codes[i])
		if err != nil {
			t.Fatal(err)
		}
		got, err := runKernelWords(list[i].Program, list[i].Facts, profile, &tr)
		switch {
		case err != nil:
			t.Logf("%s: the driver's code: %v", names[i], err)
		default:
			m := compare(want, got, func(v uint32) uint32 { return driver.Canonical(profile, codes[i].Type, v) })
			if m == nil {
				t.Errorf("%s: the driver's code does what it should", names[i])
			}
			t.Logf("%s: the driver's code: %v", names[i], m)
		}
	}
}

// ours checks that our compiler has not the fault.
func ours(t *testing.T, name string, r Subject) {
	t.Helper()
	profile, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	want, err := runInterp(r.Program, r.Facts.Code)
	if err != nil {
		t.Errorf("%s: interp: %v", name, err)
		return
	}
	im, err := jit.Compile(r.Facts, profile, nil)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	got, err := runOurs(r.Program, profile, im)
	if err != nil {
		t.Errorf("%s: our code: %v", name, err)
		return
	}
	if m := compare(want, got, func(v uint32) uint32 { return driver.Canonical(profile, r.Facts.Code.Type, v) }); m != nil {
		t.Errorf("%s: our code: %v", name, m)
	}
}

// Programs that stop the kernel while it translates them: the guest's ends.
func TestKernelCrashes(t *testing.T) {
	t.Parallel()
	for _, version := range uml.Versions() {
		t.Run(version, func(t *testing.T) { kernelCrashes(t, version) })
	}
}

func kernelCrashes(t *testing.T, version string) {
	files, err := filepath.Glob("testdata/kernelfaults/crash-*.bpf")
	if err != nil || len(files) == 0 {
		t.Fatalf("no reproducers: %v", err)
	}
	profile, err := profile()
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := uml.Build(t.Context(), version, func(line string) { t.Log("suite:", line) })
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
	for _, file := range files {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		_, err := uml.Translate(ctx, &uml.TranslateOptions{Kernel: kernel, Init: init, Firmware: profile}, []*code.Code{faultProgram(t, file).Facts.Code})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "Kernel panic") {
			t.Errorf("%s: %v, want a kernel that stops", file, err)
			continue
		}
		for _, l := range strings.Split(err.Error(), "\n") {
			if strings.Contains(l, "Kernel panic") {
				t.Logf("%s: %s", filepath.Base(file), strings.TrimSpace(l))
			}
		}
	}
}
