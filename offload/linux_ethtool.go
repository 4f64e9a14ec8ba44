//go:build linux

package offload

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file reads the drivers' descriptions of their interfaces, by ethtool's ioctl
// (include/uapi/linux/ethtool.h).

const (
	stringBytes   = 32
	setStatistics = 1
	setFeatures   = 4
	// maxStrings exceeds the number of any driver, and is small enough to allocate at
	// a driver's request.
	maxStrings = 1 << 16
)

// ethtool performs one command on an interface of this thread's namespace.
func ethtool(fd int, name string, b []byte) error {
	var req struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], name)
	req.data = unsafe.Pointer(unsafe.SliceData(b))
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&req)))
	runtime.KeepAlive(b)
	if errno != 0 {
		return errno
	}
	return nil
}

// ethtoolStrings returns the names of a set.
func ethtoolStrings(fd int, name string, set uint32) ([]string, error) {
	b := make([]byte, 16+4)
	native.PutUint32(b, unix.ETHTOOL_GSSET_INFO)
	native.PutUint64(b[8:], 1<<set)
	if err := ethtool(fd, name, b); err != nil {
		return nil, err
	}
	if native.Uint64(b[8:]) == 0 {
		return nil, nil
	}
	count := native.Uint32(b[16:])
	if count > maxStrings {
		return nil, fmt.Errorf("%d names", count)
	}
	b = make([]byte, 12+stringBytes*count)
	native.PutUint32(b, unix.ETHTOOL_GSTRINGS)
	native.PutUint32(b[4:], set)
	native.PutUint32(b[8:], count)
	if err := ethtool(fd, name, b); err != nil {
		return nil, err
	}
	names := make([]string, count)
	for i := range names {
		s, _, _ := bytes.Cut(b[12+stringBytes*i:][:stringBytes], []byte{0})
		names[i] = string(s)
	}
	return names, nil
}

// describe adds the driver's description to a port. A port whose driver has none
// belongs to no card.
func (l *Linux) describe(p *Port) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	info, err := unix.IoctlGetEthtoolDrvinfo(fd, p.Name)
	if err != nil {
		return
	}
	p.Driver = unix.ByteSliceToString(info.Driver[:])
	p.Firmware = unix.ByteSliceToString(info.Fw_version[:])
	p.Card = unix.ByteSliceToString(info.Bus_info[:])
	p.TCOffload = l.tcOffload(fd, p.Name)
}

// tcOffload reads the feature hw-tc-offload, whose number is the same for all interfaces.
func (l *Linux) tcOffload(fd int, name string) bool {
	l.features.Lock()
	defer l.features.Unlock()
	if l.tcFeature == 0 {
		names, err := ethtoolStrings(fd, name, setFeatures)
		if err != nil {
			return false
		}
		for i, n := range names {
			if n == "hw-tc-offload" {
				l.tcFeature = i + 1
			}
		}
	}
	if l.tcFeature == 0 {
		return false
	}
	at := l.tcFeature - 1
	blocks := at/32 + 1
	b := make([]byte, 8+16*blocks) // per 32 features: available, requested, active, never changed
	native.PutUint32(b, unix.ETHTOOL_GFEATURES)
	native.PutUint32(b[4:], uint32(blocks))
	if ethtool(fd, name, b) != nil {
		return false
	}
	return native.Uint32(b[8+16*(at/32)+8:])>>(at%32)&1 != 0
}

// counters are the names of the nfp driver's per-port counters of program results.
var counters = []struct {
	name string
	of   func(*Verdicts) *Count
}{
	{"bpf_pass", func(v *Verdicts) *Count { return &v.Pass }},
	{"bpf_app1", func(v *Verdicts) *Count { return &v.Drop }},
	{"bpf_app2", func(v *Verdicts) *Count { return &v.Redirect }},
	{"bpf_app3", func(v *Verdicts) *Count { return &v.Aborted }},
}

// Verdicts reads the card's application counters.
func (l *Linux) Verdicts(p *Port) (Verdicts, error) {
	var v Verdicts
	found := 0
	err := l.in(p.Netns, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		names, err := ethtoolStrings(fd, p.Name, setStatistics)
		if err != nil {
			return err
		}
		b := make([]byte, 8+8*len(names))
		native.PutUint32(b, unix.ETHTOOL_GSTATS)
		native.PutUint32(b[4:], uint32(len(names)))
		if err := ethtool(fd, p.Name, b); err != nil {
			return err
		}
		for i, n := range names {
			for _, c := range counters {
				switch n {
				case c.name + "_pkts":
					c.of(&v).Packets = native.Uint64(b[8+8*i:])
					found++
				case c.name + "_bytes":
					c.of(&v).Bytes = native.Uint64(b[8+8*i:])
					found++
				}
			}
		}
		return nil
	})
	if err != nil && err != unix.EOPNOTSUPP {
		return v, words("count", p.Ref().String(), err)
	}
	if found == 0 {
		return v, &Error{Op: "count", Object: p.Ref().String(), Reason: "no-offload", Msg: fmt.Sprintf("driver %s has no counters of verdicts", p.Driver)}
	}
	return v, nil
}

// Namespaces returns the named network namespaces.
func (l *Linux) Namespaces() []string {
	entries, err := os.ReadDir(l.netns)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}
