package main

import (
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// kernelRelease returns the running kernel's release, as uname -r prints it.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// hostKernel returns the kernel on which this process runs.
func hostKernel(pins string) (offload.Kernel, error) {
	return offload.NewLinux(&offload.LinuxOptions{Pins: pins}), nil
}

// dropPrivileges keeps only the capabilities that managing cards needs.
func dropPrivileges() error { return offload.DropPrivileges() }
