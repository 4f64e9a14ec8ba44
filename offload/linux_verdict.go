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

// This file extracts the kernel's reason for refusing a program. The loading library
// adds text of its own to some errors, for its own users. It also drops the verifier's
// log if the kernel answers EFAULT, which the verifier returns when it gives up on a
// program of too many jumps. Such programs are loaded a second time here, only for the
// log.

// kernelReason returns an error of the library in the kernel's words: only the errno
// or, if the kernel was not called, the library's own error.
func kernelReason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return strings.TrimPrefix(oneLine(err), "load program: ")
}

// verifierLog loads a refused program again and returns the verifier's log, or its end
// if it is longer than the buffer. It returns none if that cannot be done.
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

// tooComplex returns our message if a verifier's last line means that it gave up, else
// "".
func tooComplex(last string) string {
	switch {
	case strings.Contains(last, "jumps is too complex"):
		return "more than 8192 branches are still to be followed at one point: the kernel gave up"
	case strings.Contains(last, "BPF program is too large"):
		return "more than one million instructions on all paths together: the kernel gave up"
	}
	return ""
}
