package uml

import (
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startTied starts c on one CPU, the one that the caller is on. A guest and its
// card run in turns, and take them faster there: package vhost joins a guest that
// is tied so.
func startTied(c *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, one unix.CPUSet
	var cpu uint32
	if _, _, errno := unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), 0, 0); errno != 0 || unix.SchedGetaffinity(0, &all) != nil {
		return c.Start()
	}
	one.Set(int(cpu))
	if unix.SchedSetaffinity(0, &one) == nil { // a process inherits it from the thread that starts it
		defer func() { _ = unix.SchedSetaffinity(0, &all) }() // it was this thread's before
	}
	return c.Start()
}
