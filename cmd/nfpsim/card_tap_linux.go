package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// openTap opens a tap device of the host, and creates it if it does not exist. That
// needs CAP_NET_ADMIN, or a device created for this user.
func openTap(name string) (*os.File, error) {
	const path = "/dev/net/tun"
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

// readTap gives frames from a tap device to send, until the context ends.
func readTap(ctx context.Context, f *os.File, send func(frame []byte)) {
	f.SetReadDeadline(time.Time{})
	defer context.AfterFunc(ctx, func() { f.SetReadDeadline(time.Now()) })()
	buf := make([]byte, 1<<16)
	for ctx.Err() == nil {
		n, err := f.Read(buf)
		if err != nil {
			return
		}
		send(append([]byte(nil), buf[:n]...))
	}
}
