//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attachHardware is XDP_FLAGS_HW_MODE of linux/if_link.h, modeHardware
// XDP_ATTACHED_HW as a link reports it.
const (
	attachHardware = 1 << 3
	modeHardware   = 3
)

// pass is the smallest XDP program there is.
func pass() asm.Instructions {
	return asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}
}

// load loads an XDP program for link's hardware.
func load(link netlink.Link, insns asm.Instructions) (*ebpf.Program, error) {
	return loadType(link, ebpf.XDP, insns)
}

func loadType(link netlink.Link, typ ebpf.ProgramType, insns asm.Instructions) (*ebpf.Program, error) {
	return ebpf.NewProgramWithOptions(&ebpf.ProgramSpec{
		Type: typ, Instructions: insns, License: "GPL", Ifindex: uint32(link.Attrs().Index),
	}, ebpf.ProgramOptions{LogLevel: ebpf.LogLevelBranch})
}

// attach attaches p to link in hardware; nil detaches the attached program.
func attach(link netlink.Link, p *ebpf.Program) error {
	fd := -1
	if p != nil {
		fd = p.FD()
	}
	return netlink.LinkSetXdpFdWithFlags(link, fd, attachHardware)
}

// attached is the id of the program that link runs in hardware, 0 for none.
func attached(name string) (uint32, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return 0, err
	}
	x := link.Attrs().Xdp
	if x == nil || !x.Attached {
		return 0, nil
	}
	if x.AttachMode != modeHardware {
		return x.ProgId, fmt.Errorf("%s runs program %d in mode %d, not in hardware", name, x.ProgId, x.AttachMode)
	}
	return x.ProgId, nil
}

// newMap creates a map on link's hardware. The library has no field for the
// interface: it is word 11 of the first form of bpf(2)'s attribute.
func newMap(link netlink.Link, typ ebpf.MapType, key, value, entries uint32) (*ebpf.Map, error) {
	return flaggedMap(link, typ, key, value, entries, 0)
}

// flaggedMap is newMap with map_flags.
func flaggedMap(link netlink.Link, typ ebpf.MapType, key, value, entries, flags uint32) (*ebpf.Map, error) {
	const ifindexWord = 11
	attr := [12]uint32{uint32(typ), key, value, entries, flags}
	attr[ifindexWord] = uint32(link.Attrs().Index)
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return nil, fmt.Errorf("create map of %s: %w", link.Attrs().Name, errno)
	}
	return ebpf.NewMapFromFD(int(fd))
}

// netdevsim offloads to the kernel's own fake device: attach, query, replace,
// detach, and a map. It shows that the test bed works without any card.
func netdevsim(*env, string) (any, error) {
	if err := os.WriteFile("/sys/bus/netdevsim/new_device", []byte("1 1"), 0); err != nil {
		return nil, err
	}
	dirs, err := filepath.Glob("/sys/bus/netdevsim/devices/netdevsim1/net/*")
	if err != nil || len(dirs) != 1 {
		return nil, fmt.Errorf("netdevsim has interfaces %q: %v", dirs, err)
	}
	name := filepath.Base(dirs[0])
	link, err := netlink.LinkByName(name)
	if err != nil {
		return nil, err
	}
	found := map[string]any{"name": name}
	var ids []uint32
	for range 2 {
		p, err := load(link, pass())
		if err != nil {
			return found, fmt.Errorf("load: %w", err)
		}
		defer p.Close()
		if err := attach(link, p); err != nil {
			return found, fmt.Errorf("attach: %w", err)
		}
		id, err := attached(name)
		if err != nil {
			return found, err
		}
		ids = append(ids, id)
	}
	found["ids"] = ids
	if err := attach(link, nil); err != nil {
		return found, fmt.Errorf("detach: %w", err)
	}
	if id, err := attached(name); err != nil || id != 0 {
		return found, fmt.Errorf("program %d is still attached: %v", id, err)
	}
	m, err := newMap(link, ebpf.Array, 4, 8, 2)
	if err != nil {
		return found, err
	}
	defer m.Close()
	if err := m.Put(uint32(1), uint64(42)); err != nil {
		return found, err
	}
	var v uint64
	err = m.Lookup(uint32(1), &v)
	found["value"] = v
	return found, err
}
