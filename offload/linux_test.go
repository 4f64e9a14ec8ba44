//go:build linux

package offload

import (
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What kernels say that the test bed cannot boot: old ones, and firmware that fails.
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
		err := l.attachError(e, XDPOffload, nil)
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

// Pins never leave their directory, whatever names an object has.
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
