//go:build unix

package uml

import (
	"errors"
	"os/exec"
	"syscall"
	"time"
)

// killGroup starts c in a process group that is killed with its context: a kernel in
// user mode consists of several processes, and so does a compilation.
func killGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
}

// aborted reports whether err is that of a process which called abort.
func aborted(err error) bool {
	exit := new(exec.ExitError)
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGABRT
}
