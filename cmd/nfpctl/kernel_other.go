//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/nfpkit/nfpkit/offload"
)

// hostKernel always fails: it needs Linux.
func hostKernel(string) (offload.Kernel, error) {
	return nil, fmt.Errorf("cards are managed on linux, this is %s", runtime.GOOS)
}

// kernelRelease returns "": this is not Linux.
func kernelRelease() string { return "" }

// dropPrivileges has nothing to drop.
func dropPrivileges() error { return nil }
