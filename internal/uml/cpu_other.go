//go:build !linux

package uml

import "os/exec"

// startTied starts c: no guest kernel runs here.
func startTied(c *exec.Cmd) error { return c.Start() }
