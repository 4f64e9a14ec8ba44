//go:build linux

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	xdpDrop = 1
	xdpPass = 2

	// etherType is that of all frames the steps send (IEEE's for local experiments), so
	// that nothing else is taken for one of them.
	etherType = 0x88b5
	ethHeader = 14
	// What a frame of a step has after its header: a mark that programs write, and the
	// sender's count.
	markAt    = ethHeader
	countAt   = markAt + 2
	frameSize = 60
)

// marks is an XDP program that writes mark into each frame and passes it.
func marks(mark int32) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), // data
		asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), // data_end
		asm.Mov.Reg(asm.R4, asm.R2),
		asm.Add.Imm(asm.R4, frameSize),
		asm.JGT.Reg(asm.R4, asm.R3, "pass"),
		asm.Mov.Imm(asm.R5, mark),
		asm.StoreMem(asm.R2, markAt, asm.R5, asm.Byte),
		asm.Mov.Imm(asm.R0, xdpPass).WithSymbol("pass"),
		asm.Return(),
	}
}

// words returns the micro-engine words that the kernel generated for p, with the types
// of relocations in their upper bits.
func words(p *ebpf.Program) ([]uint64, error) {
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("program information: %w", err)
	}
	b, ok := info.JitedInsns()
	if !ok {
		return nil, errors.New("the kernel shows no jited words")
	}
	w := make([]uint64, len(b)/8)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return w, nil
}

// running is a step's report of the program of a port.
type running struct {
	Port  int      `json:"port"`
	ID    uint32   `json:"id"` // 0: none
	Words []uint64 `json:"words"`
}

// tellRunning asks the host whether the card runs p on a port.
func tellRunning(e *env, dev netdev, port int, p *ebpf.Program) error {
	id, err := attached(dev.Name)
	if err != nil {
		return err
	}
	r := running{Port: port, ID: id}
	if p != nil {
		if r.Words, err = words(p); err != nil {
			return err
		}
	}
	if (id != 0) != (p != nil) {
		return fmt.Errorf("%s runs program %d", dev.Name, id)
	}
	_, err = e.ask(r)
	return err
}

// xdp attaches programs to both ports, replaces one, and detaches both. After
// each change the host compares them with the card's.
func xdp(e *env, _ string) (any, error) {
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	var last *ebpf.Program
	for _, step := range []struct {
		port int
		prog asm.Instructions
	}{{0, pass()}, {1, marks(3)}, {0, marks(7)}, {0, nil}, {1, nil}} {
		dev := devs[step.port]
		var p *ebpf.Program
		if step.prog != nil {
			if p, err = load(dev.link, step.prog); err != nil {
				return nil, fmt.Errorf("load for %s: %w", dev.Name, err)
			}
			defer p.Close()
		}
		if err := attach(dev.link, p); err != nil {
			return nil, fmt.Errorf("attach to %s: %w", dev.Name, err)
		}
		if err := tellRunning(e, dev, step.port, p); err != nil {
			return nil, err
		}
		last = p
	}
	if last != nil {
		return nil, errors.New("the last program was not taken away")
	}
	return nil, nil
}

// tap is a packet socket on an interface, for the frames of steps.
type tap int

func newTap(dev netdev) (tap, error) {
	const netOrder = etherType<<8&0xff00 | etherType>>8
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW, netOrder)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: netOrder, Ifindex: dev.link.Attrs().Index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket on %s: %w", dev.Name, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return tap(fd), nil
}

func (t tap) close() { unix.Close(int(t)) }

// send sends frame number n.
func (t tap) send(n int) error {
	var f [frameSize]byte
	copy(f[0:], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1})
	binary.BigEndian.PutUint16(f[12:], etherType)
	binary.BigEndian.PutUint32(f[countAt:], uint32(n))
	_, err := unix.Write(int(t), f[:])
	return err
}

// receive takes one frame that came in, or ok false when there is none for a while.
func (t tap) receive(wait time.Duration) (frame []byte, ok bool, err error) {
	buf := make([]byte, 2048)
	for end := time.Now().Add(wait); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil, false, nil
		}
		fds := []unix.PollFd{{Fd: int32(t), Events: unix.POLLIN}}
		if n, err := unix.Poll(fds, int(left.Milliseconds())+1); err == unix.EINTR || err == nil && n == 0 {
			continue
		} else if err != nil {
			return nil, false, err
		}
		n, from, err := unix.Recvfrom(int(t), buf, 0)
		if err != nil {
			return nil, false, err
		}
		if ll, isLL := from.(*unix.SockaddrLinklayer); isLL && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		return buf[:n], true, nil
	}
}

// flowed is the result of a flow of frames.
type flowed struct {
	Sent     int         `json:"sent"`
	Received int         `json:"received"`
	Marks    map[int]int `json:"marks"` // frames by the mark that they came with
	Swaps    int         `json:"swaps"` // replacements meanwhile
}

// replace sends frames into port 0 while its program is replaced over and over:
// each must have met one program or the other.
func replace(_ *env, _ string) (any, error) {
	const count, batch = 500, 50
	devs, err := ports(2)
	if err != nil {
		return nil, err
	}
	var progs [2]*ebpf.Program
	for i := range progs {
		if progs[i], err = load(devs[0].link, marks(int32(i+1))); err != nil {
			return nil, err
		}
		defer progs[i].Close()
	}
	if err := attach(devs[0].link, progs[0]); err != nil {
		return nil, err
	}
	defer attach(devs[0].link, nil)
	in, err := newTap(devs[0])
	if err != nil {
		return nil, err
	}
	defer in.close()
	out, err := newTap(devs[1])
	if err != nil {
		return nil, err
	}
	defer out.close()

	f := flowed{Marks: map[int]int{}}
	swaps := swap(devs[0], progs)
	for ; f.Sent < count && err == nil; f.Sent++ {
		if err = out.send(f.Sent); err == nil && f.Sent%batch == 0 {
			err = f.take(in, 0, time.Millisecond)
		}
	}
	swapped, err2 := swaps()
	f.Swaps = swapped
	return f, errors.Join(err, err2, f.take(in, f.Sent, quiet))
}

// swap replaces a port's program by the other of two over and over until end is called,
// which returns the number of replacements.
func swap(dev netdev, progs [2]*ebpf.Program) (end func() (int, error)) {
	stop, stopped := make(chan struct{}), make(chan error, 1)
	n := 0
	go func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := attach(dev.link, progs[i&1]); err != nil {
				stopped <- err
				return
			}
			n++
		}
	}()
	return func() (int, error) {
		close(stop)
		err := <-stopped
		return n, err
	}
}

// take receives frames until the wanted number has arrived and then none for a while.
func (f *flowed) take(in tap, wanted int, quiet time.Duration) error {
	for {
		wait := quiet
		if f.Received < wanted {
			wait = patience
		}
		frame, ok, err := in.receive(wait)
		if err != nil || !ok {
			return err
		}
		f.Received++
		f.Marks[int(frame[markAt])]++
	}
}

// quiet is how long nothing arrives after the last frame that does: the card
// passes frames on within the access that sends them.
const quiet = 100 * time.Millisecond

// flow sends count frames from one port to the other and reports the arrivals. It
// waits for the wanted number, and a little for more.
func flow(from, to netdev, count, wanted int) (flowed, error) {
	f := flowed{Marks: map[int]int{}}
	in, err := newTap(to)
	if err != nil {
		return f, err
	}
	defer in.close()
	out, err := newTap(from)
	if err != nil {
		return f, err
	}
	defer out.close()
	for ; f.Sent < count; f.Sent++ {
		if err := out.send(f.Sent); err != nil {
			return f, err
		}
	}
	return f, f.take(in, wanted, quiet)
}

// wire receives as many frames on a port as its argument says (port,received,sent), then
// sends some from it.
func wire(_ *env, arg string) (any, error) {
	var port, received, sent int
	if _, err := fmt.Sscanf(arg, "%d,%d,%d", &port, &received, &sent); err != nil {
		return nil, fmt.Errorf("want port,received,sent: %w", err)
	}
	devs, err := netdevs()
	if err != nil || len(devs) <= port {
		return nil, fmt.Errorf("%d interfaces, port %d wanted: %v", len(devs), port, err)
	}
	// Frames may come before the kernel says that the port is up: listen on all
	// interfaces, which it does at once.
	in, err := newTap(netdev{link: &netlink.Dummy{}})
	if err != nil {
		return nil, err
	}
	defer in.close()
	if err := netlink.LinkSetUp(devs[port].link); err != nil {
		return nil, err
	}
	f := flowed{Marks: map[int]int{}}
	for f.Received < received {
		frame, ok, err := in.receive(patience)
		if err != nil || !ok {
			return f, fmt.Errorf("%d of %d frames came: %v", f.Received, received, err)
		}
		f.Received++
		f.Marks[int(frame[markAt])]++
	}
	out, err := newTap(devs[port])
	if err != nil {
		return nil, err
	}
	defer out.close()
	for ; f.Sent < sent; f.Sent++ {
		if err := out.send(f.Sent); err != nil {
			return f, err
		}
	}
	return f, nil
}

// death removes the card while a program and, with the argument map, a map are on
// it. The guest must survive and report that the device of both is gone.
func death(e *env, arg string) (any, error) {
	devs, err := ports(1)
	if err != nil {
		return nil, err
	}
	p, err := load(devs[0].link, pass())
	if err != nil {
		return nil, err
	}
	defer p.Close()
	if err := attach(devs[0].link, p); err != nil {
		return nil, err
	}
	found := map[string]string{}
	var m *ebpf.Map
	if arg == "map" {
		if m, err = newMap(devs[0].link, ebpf.Hash, 4, 4, 8); err != nil {
			return nil, err
		}
		defer m.Close()
	}
	if _, err := e.ask(nil); err != nil {
		return nil, err
	}
	if err := gone(); err != nil {
		return nil, err
	}
	if err := eventually(func() error {
		if all, err := devices(); err != nil || len(all) > 0 {
			return fmt.Errorf("%d PCI devices are still there: %v", len(all), err)
		}
		return nil
	}); err != nil {
		return nil, err
	}
	_, err = p.Info()
	found["program"] = fmt.Sprint(err)
	if m != nil {
		found["map"] = fmt.Sprint(m.Put(uint32(1), uint32(1)))
	}
	return found, nil
}
