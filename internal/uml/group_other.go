//go:build !unix

package uml

import "os/exec"

// killGroup has nothing to do: no guest kernel runs here.
func killGroup(*exec.Cmd) {}
