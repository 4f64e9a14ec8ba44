//go:build unix

package uml

import (
	"os/exec"
	"syscall"
	"time"
)

// killGroup makes c the head of a process group that dies with its context: a
// kernel in user mode is several processes, and so is a compilation.
func killGroup(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = time.Second
}
