package uml

import (
	"os/exec"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// startTied starts c on the CPU of the caller and pins it there. A guest and its
// card run alternately, which is faster on one CPU; package vhost pins the card
// to the CPU of such a guest.
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
