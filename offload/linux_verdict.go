package offload

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// What the kernel says of a program that it refuses. The library that loads programs adds
// words of its own to some errors, for those who program with it, and drops the verifier's
// log where the kernel answers EFAULT: its verifier does that when it gives up on a program
// of too many jumps. Those programs are offered once more here, for the log alone.

// kernelReason is an error of the library in the kernel's words: the errno alone, or, if the
// kernel was not asked, what the library found.
func kernelReason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return strings.TrimPrefix(oneLine(err), "load program: ")
}

// verifierLog has the kernel refuse a program again and returns its log, or the end of it if it
// is longer than the buffer; empty if that cannot be done.
func (l *Linux) verifierLog(spec *ebpf.ProgramSpec, netns string) []string {
	var code bytes.Buffer
	if err := slices.Clone(spec.Instructions).Marshal(&code, hostOrder); err != nil {
		return nil
	}
	license, err := unix.ByteSliceFromString(spec.License)
	if err != nil {
		return nil
	}
	log := make([]byte, 16<<20)
	insns := code.Bytes()
	attr := struct { // union bpf_attr, the form of BPF_PROG_LOAD up to expected_attach_type
		typ, count        uint32
		insns, license    uint64
		logLevel, logSize uint32
		log               uint64
		version, flags    uint32
		name              [16]byte
		ifindex, attach   uint32
	}{
		typ: uint32(spec.Type), count: uint32(len(insns) / 8), insns: bytesPtr(insns), license: bytesPtr(license),
		logLevel: 1, logSize: uint32(len(log)), log: bytesPtr(log), version: spec.KernelVersion, flags: spec.Flags, ifindex: spec.Ifindex, attach: uint32(spec.AttachType),
	}
	l.in(netns, func() error {
		n, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		if err == nil {
			unix.Close(n)
		}
		return err
	})
	runtime.KeepAlive(insns)
	runtime.KeepAlive(license)
	text := strings.TrimSpace(unix.ByteSliceToString(log))
	if text == "" {
		return nil
	}
	return strings.Split(text, "\n")
}

// tooComplex says of a verifier's last line that it gave up, in our words; else nothing.
func tooComplex(last string) string {
	switch {
	case strings.Contains(last, "jumps is too complex"):
		return "more than 8192 branches are still to be followed at one point: the kernel gave up"
	case strings.Contains(last, "BPF program is too large"):
		return "more than one million instructions on all paths together: the kernel gave up"
	}
	return ""
}
