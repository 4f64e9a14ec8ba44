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

	"golang.org/x/sys/unix"

	"github.com/nfpkit/nfpkit/driver/card"
)

// Listen creates the socket to which a kernel connects. It replaces the socket of an
// earlier listener at path.
func Listen(path string) (*net.UnixListener, error) {
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}

// Serve gives the guest at conn access to dev. It returns nil when the guest ends, and
// an error if the connection breaks or ctx is cancelled. A Transport serves only once.
// Serve closes conn.
func (t *Transport) Serve(ctx context.Context, conn *net.UnixConn, dev card.Device) (err error) {
	l, err := newLine(conn)
	if err != nil {
		return fmt.Errorf("vhost: %w", err)
	}
	defer l.close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer l.join()()
	t.s.dev, t.s.mapFD, t.s.call = dev, mapShared, t.caller()
	t.s.closeFD = func(fd int) { unix.Close(fd) }
	t.start(&l.waker)
	defer t.stop()
	defer context.AfterFunc(ctx, l.waker.wake)()
	// A guest may truncate the file that holds its memory. An access past the new end
	// is a fault, which must end only this guest.
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
		if err := t.turn(l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("vhost: %w", err)
		}
	}
	return ctx.Err()
}

// start enables Do to wake the serving goroutine, and wakes it if Do was called
// earlier.
func (t *Transport) start(w *waker) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wake = w.wake
	if len(t.todo) > 0 {
		w.wake()
	}
}

// stop disables Do and releases the guest's memory.
func (t *Transport) stop() {
	t.mu.Lock()
	t.stopped, t.todo, t.wake = true, nil, nil
	t.mu.Unlock()
	if t.s.backChannel >= 0 {
		unix.Close(t.s.backChannel)
		t.s.backChannel = -1
	}
	t.s.forgetMemory()
}

// turn does all pending work, then waits for the guest's next message or for other
// work.
func (t *Transport) turn(l *line) error {
	if l.waker.woken() {
		for _, f := range t.takeTodo() {
			f()
		}
	}
	t.s.settle()
	more, err := l.receive(t.s.owes())
	if err == nil && more {
		err = t.handleAll(l)
	}
	return err
}

// handleAll handles and answers the received messages.
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
			// A request without an answer of its own is answered with its success or
			// failure.
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

// caller returns a function that writes to the back channel, a pipe, without ever
// waiting for room.
func (t *Transport) caller() func(index int) error {
	ready := -1 // the descriptor that was set to non-blocking
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
