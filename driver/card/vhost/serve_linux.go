//go:build linux

package vhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/driver/card"
)

// spin is how long to look for the next message before sleeping: two or three
// register accesses of the kernel.
const spin = 50 * time.Microsecond

// nap is how long to doze after that.
const nap = time.Millisecond

// Listen makes the socket that a kernel is to connect to. What an earlier listener
// left at path is replaced.
func Listen(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// line is the connection with the guest.
type line struct {
	fd   int
	buf  []byte // received and not yet handled
	fds  []int
	oob  []byte
	room []byte
	vec  unix.Iovec
	msg  unix.Msghdr
	poll [2]unix.PollFd // the connection, and the pipe that wakes
}

// Serve lets the guest at conn use dev, until the guest ends, which is nil, or ctx.
// A Transport serves once. Serve closes conn.
func (t *Transport) Serve(ctx context.Context, conn *net.UnixConn, dev card.Device) (err error) {
	f, err := conn.File()
	conn.Close()
	if err != nil {
		return fmt.Errorf("vhost: %w", err)
	}
	defer f.Close()
	wakeR, wakeW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("vhost: %w", err)
	}
	defer wakeR.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	var pending atomic.Bool
	wake := func() {
		if !pending.Swap(true) {
			wakeW.Write([]byte{0})
		}
	}
	t.mu.Lock()
	t.wake = wake
	queued := len(t.todo) > 0
	t.mu.Unlock()
	if queued {
		wake()
	}
	stopWaking := context.AfterFunc(ctx, wake)
	t.s.dev, t.s.mapFD, t.s.call = dev, mapShared, t.caller()
	t.s.closeFD = func(fd int) { unix.Close(fd) }
	l := &line{fd: int(f.Fd()), oob: make([]byte, unix.CmsgSpace(4*maxFDs)), room: make([]byte, headerSize+maxPayload)}
	l.poll = [2]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(wakeR.Fd()), Events: unix.POLLIN}}
	defer func() {
		stopWaking()
		t.mu.Lock()
		t.stopped, t.todo, t.wake = true, nil, nil
		t.mu.Unlock()
		wakeW.Close()
		for _, fd := range l.fds {
			unix.Close(fd)
		}
		if t.s.backChannel >= 0 {
			unix.Close(t.s.backChannel)
			t.s.backChannel = -1
		}
		t.s.forgetMemory()
	}()
	// A guest may cut short the file that is its memory; touching what is gone is then
	// a fault, and the end of this guest only.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			fault, ok := p.(interface{ Addr() uintptr })
			if !ok {
				panic(p)
			}
			err = fmt.Errorf("vhost: guest memory is gone at %#x", fault.Addr())
		}
	}()
	for ctx.Err() == nil {
		if pending.Swap(false) {
			var b [1]byte
			wakeR.Read(b[:])
			for _, f := range t.takeTodo() {
				f()
			}
		}
		t.s.settle()
		more, err := l.receive(&pending, t.s.owes())
		if err == nil && more {
			err = t.handleAll(l)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("vhost: %w", err)
		}
	}
	return ctx.Err()
}

// receive reads what the guest sent: it spins for a while, then sleeps until there
// is something or until it is woken, which happens soon where calls are owed.
func (l *line) receive(pending *atomic.Bool, owed bool) (more bool, err error) {
	timeout := -1
	if owed {
		timeout = 1 // millisecond
	}
	for start := time.Now(); ; {
		n, oobn, err := l.recvmsg()
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if pending.Load() {
				return false, nil
			}
			if d := time.Since(start); d < spin {
				continue
			} else if d < nap {
				l.doze()
				continue
			}
			if _, err := unix.Poll(l.poll[:], timeout); err != nil && err != unix.EINTR {
				return false, err
			}
			if owed || l.poll[1].Revents != 0 {
				return false, nil
			}
		case err == unix.ECONNRESET:
			return false, io.EOF
		case err != 0:
			return false, err
		case n == 0:
			return false, io.EOF
		default:
			l.buf = append(l.buf, l.room[:n]...)
			return true, l.rights(l.oob[:oobn])
		}
	}
}

// The system calls of the loop do not wait, or not for long, so the Go scheduler
// is not told of them: it would give this thread's turn to another meanwhile, and
// taking it back costs more than the call.

// recvmsg receives what is there into l.room and l.oob.
func (l *line) recvmsg() (n, oobn int, err unix.Errno) {
	l.vec = unix.Iovec{Base: unsafe.SliceData(l.room)}
	l.vec.SetLen(len(l.room))
	l.msg = unix.Msghdr{Iov: &l.vec, Control: unsafe.SliceData(l.oob)}
	l.msg.SetIovlen(1)
	l.msg.SetControllen(len(l.oob))
	r, _, err := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(l.fd), uintptr(unsafe.Pointer(&l.msg)), unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != 0 {
		return 0, 0, err
	}
	return int(r), int(l.msg.Controllen), 0
}

// send sends all of p, or nothing where there is no room for it.
func (l *line) send(p []byte) error {
	n, _, err := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(l.fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	if err != 0 {
		return err
	}
	if int(n) != len(p) {
		return unix.EAGAIN
	}
	return nil
}

// doze sleeps for a moment, or until there is something.
func (l *line) doze() {
	const moment = 100 * time.Microsecond
	t := unix.NsecToTimespec(int64(moment))
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.poll[0])), uintptr(len(l.poll)), uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// rights takes the descriptors that came along.
func (l *line) rights(oob []byte) error {
	if len(oob) == 0 {
		return nil
	}
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return err
	}
	for i := range all {
		fds, err := unix.ParseUnixRights(&all[i])
		if err != nil {
			return err
		}
		l.fds = append(l.fds, fds...)
	}
	if len(l.fds) > maxFDs {
		return fmt.Errorf("%d descriptors in one message", len(l.fds))
	}
	return nil
}

// handleAll handles the messages that are there, and answers them.
func (t *Transport) handleAll(l *line) error {
	rest := l.buf
	for {
		m, n, err := cut(rest)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		rest = rest[n:]
		m.fds, l.fds = l.fds, nil
		value, answers, err := t.s.handle(&m)
		if err != nil {
			t.log(err.Error())
		}
		if !answers && m.flags&flagNeedReply != 0 {
			// The reply to a request that has no answer of its own says whether it went well.
			answers = true
			if err != nil {
				value = 1
			}
		}
		if answers {
			var p [headerSize + 8]byte
			if err := l.send(put(p[:0], m.request, version|flagReply, value)); err != nil {
				if err == unix.EPIPE || err == unix.ECONNRESET {
					return io.EOF
				}
				return fmt.Errorf("answer: %w", err)
			}
		}
	}
	l.buf = l.buf[:copy(l.buf, rest)]
	return nil
}

// caller returns what writes to the back channel, a pipe, without ever waiting for
// room.
func (t *Transport) caller() func(index int) error {
	ready := -1 // the descriptor that never blocks
	return func(index int) error {
		if ready != t.s.backChannel {
			if err := unix.SetNonblock(t.s.backChannel, true); err != nil {
				return err
			}
			ready = t.s.backChannel
		}
		var p [headerSize + 8]byte
		_, err := unix.Write(t.s.backChannel, put(p[:0], backCall, version, uint64(index)))
		if err == unix.EAGAIN {
			return errFull
		}
		return err
	}
}

// mapShared maps a file that guest and card share.
func mapShared(fd int, size uint64) ([]byte, func() error, error) {
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, err
	}
	if st.Size < 0 || uint64(st.Size) < size || size > 1<<40 {
		return nil, nil, fmt.Errorf("a file of %#x bytes, %#x wanted", st.Size, size)
	}
	b, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, err
	}
	return b, func() error { return unix.Munmap(b) }, nil
}
