//go:build !linux

package main

import (
	"fmt"
	"runtime"

	"github.com/nfpkit/nfpkit/offload"
)

// hostKernel says that there is none.
func hostKernel(string) (offload.Kernel, error) {
	return nil, fmt.Errorf("cards are managed on linux, this is %s", runtime.GOOS)
}

// kernelRelease is no Linux kernel's.
func kernelRelease() string { return "" }

// dropPrivileges has nothing to drop.
func dropPrivileges() error { return nil }
