//go:build linux

package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// translate loads programs for port 0's hardware, one after the other, each with maps
// of its own. It reports the words that the driver's translator generated, or why it
// refused.
func translate(e *env, _ string) (any, error) {
	text, err := os.ReadFile(report.TranslatePath)
	if err != nil {
		return nil, err
	}
	var work report.Translate
	if err := json.Unmarshal(text, &work); err != nil {
		return nil, err
	}
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	nl.EnableErrorMessageReporting = true // what the driver says of an attachment
	for i := range work.Programs {
		if err := translateOne(e, devs[0], i, &work.Programs[i], work.Attach); err != nil {
			return nil, fmt.Errorf("program %d: %w", i, err)
		}
	}
	return len(work.Programs), nil
}

// translateOne answers for one program; an error is one of the test bed.
func translateOne(e *env, dev netdev, number int, src *report.TranslateSource, attached bool) error {
	if _, err := kernelNews(); err != nil {
		return err
	}
	found := report.Translated{Program: number}
	p, log, err := translateLoad(e, dev.link, number, src)
	if err == nil {
		defer p.Close()
		found.Words, err = rawWords(p)
	}
	if err == nil && attached {
		var detach func()
		if detach, err = putInFront(dev, src, p); err == nil {
			defer detach()
		}
	}
	if err != nil {
		found.Error, found.Log = err.Error(), log
		if found.Kernel, err = kernelNews(); err != nil {
			return err
		}
	}
	_, err = e.ask(found)
	return err
}

// putInFront has the hardware run p on incoming frames, until detach is called.
func putInFront(dev netdev, src *report.TranslateSource, p *ebpf.Program) (detach func(), err error) {
	if src.Link {
		l, err := link.AttachRawLink(link.RawLinkOptions{Target: dev.link.Attrs().Index, Program: p, Attach: ebpf.AttachType(src.Hook)})
		if err != nil {
			return nil, fmt.Errorf("attach: link: %w", err)
		}
		return func() { l.Close() }, nil
	}
	if ebpf.ProgramType(src.Type) != ebpf.SchedCLS {
		if err := attach(dev.link, p); err != nil {
			return nil, fmt.Errorf("attach: %w", err)
		}
		return func() { attach(dev.link, nil) }, nil
	}
	if err := setFeature(dev.Name, "hw-tc-offload", true); err != nil {
		return nil, err
	}
	qdisc := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: dev.link.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := netlink.QdiscAdd(qdisc); err != nil {
		return nil, fmt.Errorf("clsact: %w", err)
	}
	if err := addFilter(dev, p); err != nil {
		netlink.QdiscDel(qdisc)
		return nil, fmt.Errorf("filter: %w", err)
	}
	return func() { netlink.QdiscDel(qdisc) }, nil
}

// translateLoad creates the program's maps and loads the program. The maps live as
// long as the program.
func translateLoad(e *env, port netlink.Link, number int, src *report.TranslateSource) (*ebpf.Program, []string, error) {
	insns := append([]byte(nil), src.Insns...)
	fds := make([]int, len(src.Maps))
	if len(src.Maps) > 0 { // the kernel frees those of earlier programs later, in the background
		if _, err := e.ask(report.Translated{Program: number, Drain: true}); err != nil {
			return nil, nil, err
		}
	}
	for i, spec := range src.Maps {
		if spec.Host {
			m, err := hostMap(spec)
			if err != nil {
				return nil, nil, fmt.Errorf("map %d: %w", i, err)
			}
			defer m.Close()
			fds[i] = m.FD()
			continue
		}
		m, err := flaggedMap(port, ebpf.MapType(spec.Type), spec.Key, spec.Value, spec.Entries, spec.Flags)
		if err != nil {
			return nil, nil, fmt.Errorf("map %d: %w", i, err)
		}
		defer m.Close()
		fds[i] = m.FD()
		if _, err := e.ask(report.Translated{Program: number, Map: &i}); err != nil {
			return nil, nil, err
		}
	}
	for _, r := range src.Refs {
		binary.LittleEndian.PutUint32(insns[8*r.Slot+4:], uint32(fds[r.Map]))
	}
	return loadRaw(port, src, insns)
}

// hostMap creates a map in the host's memory.
func hostMap(spec report.TranslateMap) (*ebpf.Map, error) {
	attr := [5]uint32{spec.Type, spec.Key, spec.Value, spec.Entries, spec.Flags}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	if errno != 0 {
		return nil, fmt.Errorf("create map: %w", errno)
	}
	return ebpf.NewMapFromFD(int(fd))
}

// loadRaw calls BPF_PROG_LOAD with instructions as they are: the library would rewrite
// some of them. The log is the end of the verifier's.
func loadRaw(port netlink.Link, src *report.TranslateSource, insns []byte) (*ebpf.Program, []string, error) {
	const (
		logLines = 8
		// logErrors is BPF_LOG_STATS: errors and statistics, without the instructions
		// that were walked.
		logErrors = 4
	)
	license := []byte("GPL\x00")
	log := make([]byte, 1<<16)
	// The head of union bpf_attr for BPF_PROG_LOAD, linux/bpf.h.
	attr := struct {
		typ, count    uint32
		insns         uint64
		license       uint64
		logLevel      uint32
		logSize       uint32
		log           uint64
		kernel, flags uint32
		name          [16]byte
		ifindex       uint32
		attach        uint32
	}{typ: src.Type, count: uint32(len(insns) / 8), ifindex: uint32(port.Attrs().Index), logLevel: logErrors, logSize: uint32(len(log)), flags: src.Flags, attach: src.Hook}
	attr.insns = uint64(uintptr(unsafe.Pointer(&insns[0])))
	attr.license = uint64(uintptr(unsafe.Pointer(&license[0])))
	attr.log = uint64(uintptr(unsafe.Pointer(&log[0])))
	fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	for tries := 0; errno == unix.EAGAIN && tries < 100; tries++ { // a signal came while the verifier ran
		clear(log)
		fd, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	}
	runtime.KeepAlive(insns)
	runtime.KeepAlive(license)
	if errno != 0 {
		lines := strings.Split(strings.TrimSpace(unix.ByteSliceToString(log)), "\n")
		return nil, lines[max(0, len(lines)-logLines):], fmt.Errorf("load: %w", errno)
	}
	p, err := ebpf.NewProgramFromFD(int(fd))
	return p, nil, err
}

// rawWords are the program's words as the kernel shows them.
func rawWords(p *ebpf.Program) ([]byte, error) {
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("program information: %w", err)
	}
	b, ok := info.JitedInsns()
	if !ok || len(b) == 0 {
		return nil, errors.New("the kernel shows no jited words")
	}
	return b, nil
}

// kernelNews returns the lines that the kernel has logged since the last call.
func kernelNews() ([]string, error) {
	buf := make([]byte, 1<<16)
	n, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_CLEAR, buf)
	if err != nil {
		return nil, fmt.Errorf("kernel log: %w", err)
	}
	text := strings.TrimSpace(string(buf[:n]))
	if text == "" {
		return nil, nil
	}
	return strings.Split(text, "\n"), nil
}
