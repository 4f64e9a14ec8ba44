//go:build linux

package offload

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// LinuxOptions for NewLinux; the zero value is the default.
type LinuxOptions struct {
	// Pins is the directory of the bpf file system below which pins are; empty:
	// /sys/fs/bpf/nfpkit.
	Pins string
	// Netns is where named network namespaces are; empty: /run/netns.
	Netns string
}

// Linux is the running kernel: bpf(2) for objects, rtnetlink for ports, ethtool's ioctl for
// what drivers say of themselves. No other program is run.
type Linux struct {
	pins, netns string
	version     [2]int     // of the kernel: major, minor
	features    sync.Mutex // guards tcFeature
	tcFeature   int        // the number of hw-tc-offload among ethtool's features, plus 1
}

var _ Kernel = (*Linux)(nil)

// NewLinux makes the Kernel that this process runs on. Nothing is touched yet.
func NewLinux(opt *LinuxOptions) *Linux {
	l := &Linux{pins: "/sys/fs/bpf/nfpkit", netns: "/run/netns"}
	l.version[0], l.version[1] = release()
	if opt != nil && opt.Pins != "" {
		l.pins = opt.Pins
	}
	if opt != nil && opt.Netns != "" {
		l.netns = opt.Netns
	}
	return l
}

// openNetns opens a namespace by its name or path.
func (l *Linux) openNetns(name string) (*os.File, error) {
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join(l.netns, name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, &Error{Op: "open namespace", Object: name, Reason: "no-port", Msg: oneLine(err), Err: err}
	}
	return f, nil
}

// in runs fn in a network namespace: what bpf(2) and ioctl(2) find by interface index is
// looked for in that of the calling thread.
func (l *Linux) in(netns string, fn func() error) error {
	if netns == "" {
		return fn()
	}
	ns, err := l.openNetns(netns)
	if err != nil {
		return err
	}
	defer ns.Close()
	return onThread(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return errnoError("enter namespace", netns, err)
		}
		return fn()
	})
}

// onThread runs fn on a thread of its own, which ends with it. The process's first thread
// is left alone: others take its namespace for the process's.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked, but where this is the wrong thread
		if unix.Gettid() == unix.Getpid() {
			err := onThread(fn)
			runtime.UnlockOSThread()
			done <- err
			return
		}
		done <- fn()
	}()
	return <-done
}

// errnoError is an error whose errno alone says what it means, wherever it comes from.
func errnoError(op, object string, err error) *Error {
	e := &Error{Op: op, Object: object, Reason: "unexpected", Msg: oneLine(err), Err: err}
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		e.Reason = "no-permission"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		e.Reason = "port-gone"
	case errors.Is(err, unix.ENOSYS):
		e.Reason = "old-kernel"
	case errors.Is(err, unix.ETIMEDOUT):
		e.Reason = "firmware-timeout"
	case errors.Is(err, unix.EIO):
		e.Reason = "firmware-error"
	case errors.Is(err, unix.EINTR):
		e.Reason = "interrupted"
	}
	return e
}

// kernelLog collects what the kernel logs while an operation fails: the driver gives
// some reasons nowhere else. Where it may not be read, there is nothing.
type kernelLog struct{ f *os.File }

func listenKernelLog() kernelLog {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return kernelLog{}
	}
	f := os.NewFile(uintptr(fd), "/dev/kmsg")
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		f.Close()
		return kernelLog{}
	}
	return kernelLog{f}
}

func (k kernelLog) close() {
	if k.f != nil {
		k.f.Close()
	}
}

// lines are those logged since listenKernelLog.
func (k kernelLog) lines() []string {
	if k.f == nil {
		return nil
	}
	var all []string
	buf := make([]byte, 8192)
	for len(all) < 100 {
		n, err := unix.Read(int(k.f.Fd()), buf)
		if err == unix.EPIPE {
			continue // lines were overwritten before they were read
		}
		if err != nil || n <= 0 {
			break
		}
		// "6,1234,5678,-;message\n SUBSYSTEM=...": see the kernel's Documentation/ABI/testing/dev-kmsg
		_, text, _ := strings.Cut(string(buf[:n]), ";")
		text, _, _ = strings.Cut(text, "\n")
		all = append(all, text)
	}
	return all
}

// release is the running kernel's version, as 6 and 12.
func release() (major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	return major, minor
}

// olderThan reports whether the kernel is older than a version. One whose version cannot be
// read is not.
func (l *Linux) olderThan(major, minor int) bool {
	return l.version[0] != 0 && (l.version[0] < major || l.version[0] == major && l.version[1] < minor)
}
