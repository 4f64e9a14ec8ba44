//go:build !unix

package uml

import "os/exec"

// killGroup has nothing to do: no guest kernel runs here.
func killGroup(*exec.Cmd) {}

// aborted reports whether err is that of a process which called abort.
func aborted(error) bool { return false }
