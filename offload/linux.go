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

// LinuxOptions configures NewLinux. The zero value selects the defaults.
type LinuxOptions struct {
	// Pins is the directory of the bpf file system that contains all pins; empty
	// selects /sys/fs/bpf/nfpkit.
	Pins string
	// Netns is the directory of named network namespaces; empty selects /run/netns.
	Netns string
}

// Linux is the running kernel. It uses bpf(2) for objects, rtnetlink for ports, and
// ethtool's ioctl for the drivers' descriptions. It runs no other program.
type Linux struct {
	pins, netns string
	version     [2]int     // of the kernel: major, minor
	features    sync.Mutex // guards tcFeature
	tcFeature   int        // the number of hw-tc-offload among ethtool's features, plus 1
}

var _ Kernel = (*Linux)(nil)

// NewLinux returns the Kernel on which this process runs. It changes nothing.
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

// in runs fn in a network namespace. bpf(2) and ioctl(2) resolve interface indexes in
// the namespace of the calling thread.
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

// onThread runs fn on a thread of its own, which ends with it. It never uses the
// process's first thread: other programs take that thread's namespace for the
// process's.
func onThread(fn func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked, except on the wrong thread
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

// errnoError returns an error for an errno whose meaning is the same for all
// operations.
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

// kernelLog collects the lines that the kernel logs while an operation fails: the
// driver reports some reasons only there. If the log may not be read, there are no
// lines.
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

// lines returns the lines logged since listenKernelLog.
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

// release returns the running kernel's version, such as 6 and 12.
func release() (major, minor int) {
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		fmt.Sscanf(unix.ByteSliceToString(u.Release[:]), "%d.%d", &major, &minor)
	}
	return major, minor
}

// olderThan reports whether the kernel is older than a version. A kernel whose version
// cannot be read is not.
func (l *Linux) olderThan(major, minor int) bool {
	return l.version[0] != 0 && (l.version[0] < major || l.version[0] == major && l.version[1] < minor)
}
