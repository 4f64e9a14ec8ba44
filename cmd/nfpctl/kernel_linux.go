package main

import "github.com/nfpkit/nfpkit/offload"

// hostKernel is the kernel that this process runs on.
func hostKernel(pins string) (offload.Kernel, error) {
	return offload.NewLinux(&offload.LinuxOptions{Pins: pins}), nil
}

// dropPrivileges keeps what managing cards needs.
func dropPrivileges() error { return offload.DropPrivileges() }
