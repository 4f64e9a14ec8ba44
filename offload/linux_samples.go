//go:build linux

package offload

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// This file implements the rings of perf_event_open(2). cilium/ebpf/perf opens one
// ring for each CPU at the CPU's index, but a card's driver may use another index,
// which bpftool supports.

// perfRing is the ring of one CPU.
type perfRing struct {
	cpu, index int
	fd         int
	mem        []byte // a page of struct perf_event_mmap_page, then the data
}

type linuxSamples struct {
	m     *linuxMap
	rings []*perfRing
	next  int // ring to read first, so that each gets its turn
}

// Offsets in struct perf_event_mmap_page, include/uapi/linux/perf_event.h.
const (
	dataHead = 1024
	dataTail = 1032
)

// Samples opens the rings of an array of perf events.
func (l *Linux) Samples(m Map, opt *SampleOptions) (Samples, error) {
	object := fmt.Sprintf("map %d", m.ID())
	lm, ok := m.(*linuxMap)
	if !ok || lm.info.Shape.Type != "perf_event_array" {
		return nil, notEvents(m)
	}
	if opt == nil {
		opt = &SampleOptions{}
	}
	s := &linuxSamples{m: lm}
	add := func(cpu, index int) error {
		r, err := openRing(cpu, index, opt.Bytes)
		if err != nil {
			return err
		}
		s.rings = append(s.rings, r)
		key, value := make([]byte, 4), make([]byte, 4)
		binary.NativeEndian.PutUint32(key, uint32(index))
		binary.NativeEndian.PutUint32(value, uint32(r.fd))
		return lm.fail("update", lm.elem(unix.BPF_MAP_UPDATE_ELEM, key, value, 0))
	}
	if opt.Only {
		if err := add(opt.CPU, opt.Index); err != nil {
			s.Close()
			return nil, samplesError(object, err)
		}
		return s, nil
	}
	possible, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, samplesError(object, err)
	}
	for cpu := range min(possible, int(lm.info.Shape.Entries)) {
		if err := add(cpu, cpu); errors.Is(err, unix.ENODEV) {
			continue // it is offline
		} else if err != nil {
			s.Close()
			return nil, samplesError(object, err)
		}
	}
	return s, nil
}

// samplesError returns the reason why rings could not be opened.
func samplesError(object string, err error) error {
	var ours *Error
	if errors.As(err, &ours) {
		return ours
	}
	e := errnoError("open the events of", object, err)
	switch {
	case e.Reason == "no-permission":
		e.Msg = "perf_event_open needs CAP_PERFMON or CAP_SYS_ADMIN"
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.EINVAL):
		e.Reason, e.Msg = "unexpected", "no such CPU is online"
	}
	return e
}

func openRing(cpu, index, bytes int) (*perfRing, error) {
	page := os.Getpagesize()
	if bytes <= 0 {
		bytes = 256 << 10
	}
	pages := 1 << bits.Len(uint(max(bytes, page)-1)/uint(page))
	attr := unix.PerfEventAttr{
		Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_BPF_OUTPUT, Size: uint32(unsafe.Sizeof(unix.PerfEventAttr{})),
		Sample_type: unix.PERF_SAMPLE_RAW | unix.PERF_SAMPLE_TIME, Wakeup: 1,
	}
	fd, err := unix.PerfEventOpen(&attr, -1, cpu, -1, unix.PERF_FLAG_FD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	mem, err := unix.Mmap(fd, 0, (1+pages)*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &perfRing{cpu, index, fd, mem}, nil
}

// position returns a counter in the ring's first page.
func (r *perfRing) position(at int) *uint64 { return (*uint64)(unsafe.Pointer(&r.mem[at])) }

// take reads the next record; ok is false if there is none. The kernel writes head
// after the data, and does not write past tail.
func (r *perfRing) take() (s Sample, ok bool) {
	const (
		recordLost   = 2 // header, id, number lost
		recordSample = 9 // header, time, size, bytes
	)
	data := r.mem[os.Getpagesize():]
	for {
		head, tail := atomic.LoadUint64(r.position(dataHead)), *r.position(dataTail)
		if head-tail < 8 {
			return Sample{}, false
		}
		header := around(data, tail, 8)
		typ, size := binary.NativeEndian.Uint32(header), uint64(binary.NativeEndian.Uint16(header[6:]))
		if size < 8 || size > head-tail {
			atomic.StoreUint64(r.position(dataTail), head) // skips a corrupt record and all that follow it
			return Sample{}, false
		}
		body := around(data, tail+8, int(size)-8)
		atomic.StoreUint64(r.position(dataTail), tail+size)
		s := Sample{CPU: r.cpu}
		switch {
		case typ == recordSample && len(body) >= 12:
			s.At = time.Duration(binary.NativeEndian.Uint64(body))
			n := binary.NativeEndian.Uint32(body[8:])
			s.Data = body[12:min(len(body), 12+int(n))]
			return s, true
		case typ == recordLost && len(body) >= 16:
			s.Lost = binary.NativeEndian.Uint64(body[8:])
			return s, true
		}
	}
}

// around copies n bytes of a ring, from a position on.
func around(data []byte, at uint64, n int) []byte {
	at %= uint64(len(data))
	b := make([]byte, n)
	if k := copy(b, data[at:]); k < n {
		copy(b[k:], data)
	}
	return b
}

// Read waits for the next sample.
func (s *linuxSamples) Read(ctx context.Context) (Sample, error) {
	for {
		for i := range s.rings {
			k := (s.next + i) % len(s.rings)
			if sample, ok := s.rings[k].take(); ok {
				s.next = k
				return sample, nil
			}
		}
		if err := ctx.Err(); err != nil {
			return Sample{}, err
		}
		fds := make([]unix.PollFd, len(s.rings))
		for i, r := range s.rings {
			fds[i] = unix.PollFd{Fd: int32(r.fd), Events: unix.POLLIN}
		}
		// The time-out lets ctx end the loop.
		if _, err := unix.Poll(fds, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return Sample{}, samplesError(fmt.Sprintf("map %d", s.m.id), err)
		}
	}
}

// Close removes the rings from the map and frees them.
func (s *linuxSamples) Close() error {
	for _, r := range s.rings {
		key := make([]byte, 4)
		binary.NativeEndian.PutUint32(key, uint32(r.index))
		_ = s.m.elem(unix.BPF_MAP_DELETE_ELEM, key, nil, 0) // the map may be gone
		unix.Munmap(r.mem)
		unix.Close(r.fd)
	}
	s.rings = nil
	return nil
}
