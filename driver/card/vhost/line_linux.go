//go:build linux

package vhost

import (
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The kernel waits for the answer to each message, so guest and card run alternately.
// The waiting side sleeps, and waking it is most of the cost of a register access. If
// both are on one CPU, that is a switch between two processes. If the sleeper's CPU
// has gone idle meanwhile, it takes several times as long.
//
// So if the guest is pinned to one CPU, the card's thread is pinned to the same one.
// The card then has to sleep at once, for the guest to run. With any other guest the
// card polls for the next message for a while before it sleeps, so that usually only
// the guest sleeps.

// spin is how long to poll for the next message before sleeping: the duration of two
// or three register accesses of the kernel.
const spin = 50 * time.Microsecond

// nap is how long to sleep after polling.
const nap = time.Millisecond

// line is the connection to the guest.
type line struct {
	fd   int
	buf  []byte // received and not yet handled
	fds  []int
	oob  []byte
	room []byte
	vec  unix.Iovec
	msg  unix.Msghdr
	poll [2]unix.PollFd // the connection, and the pipe of the waker

	file   *os.File // owns fd
	waker  waker
	shares bool // guest and card are pinned to one CPU
}

func newLine(conn *net.UnixConn) (*line, error) {
	f, err := conn.File()
	conn.Close()
	if err != nil {
		return nil, err
	}
	l := &line{file: f, fd: int(f.Fd()), oob: make([]byte, unix.CmsgSpace(4*maxFDs)), room: make([]byte, headerSize+maxPayload)}
	if l.waker.r, l.waker.w, err = os.Pipe(); err != nil {
		f.Close()
		return nil, err
	}
	l.poll = [2]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(l.waker.r.Fd()), Events: unix.POLLIN}}
	return l, nil
}

func (l *line) close() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.file.Close()
	l.waker.r.Close()
	l.waker.w.Close()
}

// waker wakes the serving goroutine.
type waker struct {
	r, w    *os.File
	pending atomic.Bool
}

func (w *waker) wake() {
	if !w.pending.Swap(true) {
		w.w.Write([]byte{0})
	}
}

// woken reports whether there was a wake since its last call.
func (w *waker) woken() bool {
	if !w.pending.Swap(false) {
		return false
	}
	var b [1]byte
	w.r.Read(b[:])
	return true
}

// join pins the calling thread to the guest's CPU if the guest is pinned to one. leave
// restores the thread's CPUs. If the guest's process cannot be inspected, join does
// nothing.
func (l *line) join() (leave func()) {
	leave = func() {}
	peer, err := unix.GetsockoptUcred(l.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || peer.Pid <= 0 {
		return leave
	}
	var guest, here unix.CPUSet
	if unix.SchedGetaffinity(int(peer.Pid), &guest) != nil || guest.Count() != 1 || unix.SchedGetaffinity(0, &here) != nil {
		return leave
	}
	if unix.SchedSetaffinity(0, &guest) != nil {
		return leave
	}
	l.shares = true
	return func() { _ = unix.SchedSetaffinity(0, &here) } // the thread had these CPUs before
}

// receive waits for data from the guest and reads it. more is false if there is
// something else to do first: the goroutine was woken, or calls are owed and the back
// channel may now have room for them.
func (l *line) receive(owed bool) (more bool, err error) {
	if l.shares {
		if stop, err := l.sleep(owed); stop || err != nil { // the guest has been waiting, so it cannot have sent anything
			return false, err
		}
	}
	for start := time.Now(); ; {
		n, oobn, err := l.recvmsg()
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			if l.waker.pending.Load() {
				return false, nil
			}
			if d := time.Since(start); d < spin && !l.shares {
				continue
			} else if d < nap && !l.shares {
				l.doze()
				continue
			}
			if stop, err := l.sleep(owed); stop || err != nil {
				return false, err
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

// sleep waits until the guest sends something or until there is something else to do.
// If calls are owed, it waits at most a millisecond.
func (l *line) sleep(owed bool) (stop bool, err error) {
	timeout := -1
	if owed {
		timeout = 1 // millisecond
	}
	l.poll[0].Revents, l.poll[1].Revents = 0, 0
	if _, err := unix.Poll(l.poll[:], timeout); err != nil && err != unix.EINTR {
		return false, err
	}
	return owed && l.poll[0].Revents == 0 || l.poll[1].Revents != 0, nil
}

// The system calls of the loop wait briefly or not at all, so they bypass the Go
// scheduler. The scheduler would give this thread's slot to another goroutine
// meanwhile, and taking it back costs more than the call.

// recvmsg receives the available data into l.room and l.oob.
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

// send sends all of p, or nothing if there is no room for it.
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

// doze sleeps for nap, or until there is something to do.
func (l *line) doze() {
	const moment = 100 * time.Microsecond
	t := unix.NsecToTimespec(int64(moment))
	unix.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&l.poll[0])), uintptr(len(l.poll)), uintptr(unsafe.Pointer(&t)), 0, 0, 0)
}

// rights takes the file descriptors received with a message.
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
