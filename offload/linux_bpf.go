//go:build linux

package offload

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file calls bpf(2) for operations that cilium/ebpf does not support: maps of an
// interface, objects whose device was removed, names relative to our directory,
// element commands without reflection. Attribute layouts are those of
// include/uapi/linux/bpf.h.

// bpf performs the system call. It repeats a call that was interrupted.
func bpf(cmd int, attr unsafe.Pointer, size uintptr) (int, error) {
	for {
		r, _, errno := unix.Syscall(unix.SYS_BPF, uintptr(cmd), uintptr(attr), size)
		runtime.KeepAlive(attr)
		if errno == 0 {
			return int(r), nil
		}
		if errno != unix.EAGAIN {
			return -1, errno
		}
	}
}

// bytesPtr returns the address of b's first byte as the kernel expects it.
func bytesPtr(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// fd is an open object; the zero value is none.
type fd struct {
	file *os.File
	id   uint32
}

func newFD(n int, name string) fd { return fd{file: os.NewFile(uintptr(n), name)} }

func (f fd) int() int     { return int(f.file.Fd()) }
func (f fd) FD() int      { return f.int() } // for interfaces that take references
func (f fd) ID() uint32   { return f.id }
func (f fd) Close() error { return ignoreClosed(f.file.Close()) }
func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// objPin and objGet create and open names of the bpf file system.
func objPin(n int, path string) error {
	attr := struct {
		path  uint64
		fd    uint32
		flags uint32
	}{fd: uint32(n)}
	b, err := unix.ByteSliceFromString(path)
	if err != nil {
		return err
	}
	attr.path = bytesPtr(b)
	_, err = bpf(unix.BPF_OBJ_PIN, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(b)
	return err
}

func objGet(path string) (int, error) {
	attr := struct {
		path  uint64
		fd    uint32
		flags uint32
	}{}
	b, err := unix.ByteSliceFromString(path)
	if err != nil {
		return -1, err
	}
	attr.path = bytesPtr(b)
	n, err := bpf(unix.BPF_OBJ_GET, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(b)
	return n, err
}

// nextID returns the id that follows id among programs or maps, or ENOENT after the
// last.
func nextID(cmd int, id uint32) (uint32, error) {
	attr := struct{ start, next, flags uint32 }{start: id}
	_, err := bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	return attr.next, err
}

func fdByID(cmd int, id uint32) (int, error) {
	attr := struct{ id, next, flags uint32 }{id: id}
	return bpf(cmd, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
}

// progInfo is struct bpf_prog_info up to netns_ino.
type progInfo struct {
	typ, id                 uint32
	tag                     [8]byte
	jitedLen, xlatedLen     uint32
	jited, xlated, loadTime uint64
	uid, mapCount           uint32
	maps                    uint64
	name                    [16]byte
	ifindex, gpl            uint32
	netnsDev, netnsIno      uint64
}

// mapInfo is struct bpf_map_info up to netns_ino.
type mapInfo struct {
	typ, id, key, value, entries, flags uint32
	name                                [16]byte
	ifindex, vmlinux                    uint32
	netnsDev, netnsIno                  uint64
}

func objInfo(n int, info unsafe.Pointer, size uintptr) error {
	attr := struct {
		fd, len uint32
		info    uint64
	}{uint32(n), uint32(size), uint64(uintptr(info))}
	_, err := bpf(unix.BPF_OBJ_GET_INFO_BY_FD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	runtime.KeepAlive(info)
	return err
}

// fdinfo reads /proc's description of an object, the only one after its device was
// removed.
func fdinfo(n int) (map[string]string, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", n))
	if err != nil {
		return nil, err
	}
	fields := map[string]string{}
	for line := range strings.Lines(string(data)) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			fields[key] = strings.TrimSpace(value)
		}
	}
	return fields, nil
}

// kindOf returns the kind of a descriptor, such as bpf-prog or bpf-map.
func kindOf(n int) string {
	link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", n))
	return strings.TrimPrefix(link, "anon_inode:")
}

// linkInfo is struct bpf_link_info up to the interface of an XDP link.
type linkInfo struct {
	typ, id, program, _ uint32
	ifindex, _          uint32
}

// linkXDP is BPF_LINK_TYPE_XDP.
const linkXDP = 6

// heldByLinks returns the programs that bpf_links attach to an interface. It returns
// none on kernels before 5.8, which have no such links, and if this process may not
// list them.
func heldByLinks(ifindex int) map[uint32]bool {
	held := map[uint32]bool{}
	for id := uint32(0); ; {
		next, err := nextID(unix.BPF_LINK_GET_NEXT_ID, id)
		if err != nil {
			return held
		}
		id = next
		n, err := fdByID(unix.BPF_LINK_GET_FD_BY_ID, id)
		if err != nil {
			continue
		}
		var info linkInfo
		err = objInfo(n, unsafe.Pointer(&info), unsafe.Sizeof(info))
		unix.Close(n)
		if err == nil && info.typ == linkXDP && int(info.ifindex) == ifindex {
			held[info.program] = true
		}
	}
}
