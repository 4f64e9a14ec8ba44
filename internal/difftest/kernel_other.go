//go:build !linux

package difftest

import "errors"

var errNoKernel = errors.New("bpf(2) is a Linux system call")

// Permitted reports that there is no bpf(2) here.
func Permitted() error { return errNoKernel }

// Kernel runs programs in the running kernel, which only Linux can.
type Kernel struct{}

// Refused is the kernel verifier's no.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return "kernel verifier: " + r.Reason }

// NewKernel fails.
func NewKernel(int) (*Kernel, error) { return nil, errNoKernel }

// Close does nothing.
func (k *Kernel) Close() {}

// Run fails.
func (k *Kernel) Run(*Program) (*Result, error) { return nil, errNoKernel }
