//go:build linux

package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The ioctl form of ethtool: a command word, then the command's own fields
// (linux/ethtool.h).
const (
	ethtoolGetStrings  = 0x1b
	ethtoolFlash       = 0x33
	ethtoolGetStats    = 0x1d
	ethtoolGetSetSizes = 0x37
	ethtoolSetFeatures = 0x3b

	stringsStats    = 1
	stringsFeatures = 4
	stringSize      = 32
)

// ethtool executes one command on an interface; the answer is in b afterwards.
func ethtool(name string, b []byte) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:], name)
	req.data = unsafe.Pointer(unsafe.SliceData(b))
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("ethtool command %#x on %s: %w", binary.NativeEndian.Uint32(b), name, errno)
	}
	return nil
}

// ethtoolStrings are the names of a set.
func ethtoolStrings(name string, set uint32) ([]string, error) {
	ne := binary.NativeEndian
	b := make([]byte, 16+4)
	ne.PutUint32(b, ethtoolGetSetSizes)
	ne.PutUint64(b[8:], 1<<set)
	if err := ethtool(name, b); err != nil {
		return nil, err
	}
	count := int(ne.Uint32(b[16:]))
	b = make([]byte, 12+stringSize*count)
	ne.PutUint32(b, ethtoolGetStrings)
	ne.PutUint32(b[4:], set)
	ne.PutUint32(b[8:], uint32(count))
	if err := ethtool(name, b); err != nil {
		return nil, err
	}
	names := make([]string, count)
	for i := range names {
		s, _, _ := bytes.Cut(b[12+stringSize*i:][:stringSize], []byte{0})
		names[i] = string(s)
	}
	return names, nil
}

// setFeature switches a feature of an interface, by ethtool's name for it.
func setFeature(name, feature string, on bool) error {
	names, err := ethtoolStrings(name, stringsFeatures)
	if err != nil {
		return err
	}
	blocks := (len(names) + 31) / 32
	b := make([]byte, 8+8*blocks) // per 32 features: which are valid, which are requested
	ne := binary.NativeEndian
	ne.PutUint32(b, ethtoolSetFeatures)
	ne.PutUint32(b[4:], uint32(blocks))
	for i, n := range names {
		if n != feature {
			continue
		}
		at := b[8+8*(i/32):]
		ne.PutUint32(at, 1<<(i%32))
		if on {
			ne.PutUint32(at[4:], 1<<(i%32))
		}
		return ethtool(name, b)
	}
	return fmt.Errorf("%s has no feature %s", name, feature)
}

// statistics are an interface's counters by ethtool's names.
func statistics(name string) (map[string]uint64, error) {
	names, err := ethtoolStrings(name, stringsStats)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8+8*len(names))
	ne := binary.NativeEndian
	ne.PutUint32(b, ethtoolGetStats)
	ne.PutUint32(b[4:], uint32(len(names)))
	if err := ethtool(name, b); err != nil {
		return nil, err
	}
	s := make(map[string]uint64, len(names))
	for i, n := range names {
		s[n] = ne.Uint64(b[8+8*i:])
	}
	return s, nil
}

// flash has the card's flash written with a file of /lib/firmware, as ethtool -f does.
func flash(_ *env, file string) (any, error) {
	const nameSize = 128
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8+nameSize) // command, region 0, file
	binary.NativeEndian.PutUint32(b, ethtoolFlash)
	copy(b[8:8+nameSize-1], file)
	return nil, ethtool(devs[0].Name, b)
}
