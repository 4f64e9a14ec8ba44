package main

import (
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/offload"
)

// kernelRelease is the running kernel's, as uname -r has it.
func kernelRelease() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// hostKernel is the kernel that this process runs on.
func hostKernel(pins string) (offload.Kernel, error) {
	return offload.NewLinux(&offload.LinuxOptions{Pins: pins}), nil
}

// dropPrivileges keeps what managing cards needs.
func dropPrivileges() error { return offload.DropPrivileges() }
