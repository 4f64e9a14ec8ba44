package vhost

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"
)

// These tests act as the guest, without a kernel: a session on a slice that stands for
// guest memory, with guard bytes on both sides.

const (
	guestBase = 0x100000 // guest physical address of the memory
	guestSize = 0x4000
	fenceSize = 0x100
	descAt    = 0x0000 // 8 descriptors
	availAt   = 0x0100
	usedAt    = 0x0200
	dataAt    = 0x1000
	testQueue = 8
)

// recorder is a device that records accesses and answers reads with a pattern.
type recorder struct {
	log []string
	s   *session
}

func (d *recorder) ConfigRead(off, size int) uint64     { return 0x1122334455667788 }
func (d *recorder) ConfigWrite(off, size int, v uint64) { d.note("config", uint64(off), size) }
func (d *recorder) Read(bar int, off uint64, p []byte) {
	for i := range p {
		p[i] = byte(off) + byte(i)
	}
}
func (d *recorder) Write(bar int, off uint64, p []byte) { d.note(string(rune('0'+bar%8)), off, len(p)) }
func (d *recorder) note(what string, off uint64, n int) {
	if len(d.log) < 100 {
		d.log = append(d.log, what+" "+strings.Repeat("x", min(n, 16)))
	}
	if d.s != nil && off&1 == 0 {
		d.s.interrupt(uint32(off)) // a device may interrupt from within a write
	}
}

// bench is a session and its guest.
type bench struct {
	session
	dev    recorder
	all    []byte // guard bytes and memory
	guest  []byte
	logged []string
	calls  []int
}

func newBench() *bench {
	b := &bench{all: bytes.Repeat([]byte{0xa5}, guestSize+2*fenceSize)}
	b.guest = b.all[fenceSize : fenceSize+guestSize : fenceSize+guestSize]
	clear(b.guest)
	b.session = session{
		dev: &b.dev, backChannel: 3, closeFD: func(int) {},
		mapFD: func(fd int, size uint64) ([]byte, func() error, error) {
			if size > guestSize {
				return nil, nil, errors.New("file is too short")
			}
			return b.guest[:size], nil, nil
		},
		call: func(i int) error { b.calls = append(b.calls, i); return nil },
		log:  func(line string) { b.logged = append(b.logged, line) },
	}
	b.dev.s = &b.session
	b.memory = memory{{guest: guestBase, user: guestBase, bytes: b.guest}}
	for i := range b.queue {
		at := uint64(guestBase + i*0x400)
		b.queue[i] = queue{size: testQueue, enabled: true}
		if err := b.queue[i].place(b.memory, at+descAt, at+availAt, at+usedAt); err != nil {
			panic(err)
		}
	}
	return b
}

// desc writes a descriptor of queue 0.
func (b *bench) desc(i int, addr uint64, n int, flags, next uint16) {
	d := b.guest[descAt+descSize*i:]
	binary.LittleEndian.PutUint64(d, addr)
	binary.LittleEndian.PutUint32(d[8:], uint32(n))
	binary.LittleEndian.PutUint16(d[12:], flags)
	binary.LittleEndian.PutUint16(d[14:], next)
}

// offer adds the chain that starts at first to queue 0's available ring.
func (b *bench) offer(first uint16) {
	a := b.guest[availAt:]
	at := binary.LittleEndian.Uint16(a[2:])
	binary.LittleEndian.PutUint16(a[4+2*(int(at)%testQueue):], first)
	binary.LittleEndian.PutUint16(a[2:], at+1)
}

// header returns the header of a command.
func header(op, bar byte, size uint32, addr uint64) []byte {
	h := make([]byte, commandSize)
	h[0], h[1] = op, bar
	binary.LittleEndian.PutUint32(h[4:], size)
	binary.LittleEndian.PutUint64(h[8:], addr)
	return h
}

func (b *bench) checkFences(t *testing.T) {
	t.Helper()
	fence := bytes.Repeat([]byte{0xa5}, fenceSize)
	if !bytes.Equal(b.all[:fenceSize], fence) || !bytes.Equal(b.all[fenceSize+guestSize:], fence) {
		t.Fatal("memory beside the guest's was written")
	}
}

func TestCommands(t *testing.T) {
	for _, test := range []struct {
		name  string
		out   []byte
		in    int
		want  string // answer, as bytes
		wrote string
		blame string
	}{
		{name: "config read", out: header(opConfigRead, 0, 4, 0x10), in: 8, want: "\x88\x77\x66\x55"},
		{name: "read", out: header(opRead, 2, 4, 0x20), in: 8, want: "\x20\x21\x22\x23"},
		{name: "config write", out: append(header(opConfigWrite, 0, 4, 0x11), make([]byte, 8)...), wrote: "config xxxx"},
		{name: "write", out: append(header(opWrite, 2, 3, 0x11), 1, 2, 3), wrote: "2 xxx"},
		{name: "fill as the kernel sends it", out: append(header(opConfigWrite, 4, 12, 0x11), make([]byte, 8)...), wrote: "4 xxxxxxxxxxxx"},
		{name: "fill", out: append(header(opFill, 4, 12, 0x11), 7), wrote: "4 xxxxxxxxxxxx"},
		{name: "config read outside", out: header(opConfigRead, 0, 4, 0xfff), in: 8, want: "\xff\xff\xff\xff", blame: "configuration read of 4 bytes at 0xfff"},
		{name: "short", out: make([]byte, 15), blame: "15 bytes"},
		{name: "short write", out: append(header(opWrite, 0, 4, 0), 1, 2, 3), blame: "write of 4 bytes with 3"},
		{name: "read into nothing", out: header(opRead, 0, 4, 0), blame: "read of 4 bytes into 0"},
		{name: "huge fill", out: append(header(opFill, 0, 1<<31, 0), 1), blame: "fill"},
		{name: "unknown", out: header(99, 0, 4, 0), blame: "operation 99"},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newBench()
			copy(b.guest[dataAt:], test.out)
			// The request is in two pieces, to check that pieces are joined.
			b.desc(0, guestBase+dataAt, 10, descNext, 1)
			b.desc(1, guestBase+dataAt+10, len(test.out)-10, 0, 0)
			if test.in > 0 {
				b.desc(1, guestBase+dataAt+10, len(test.out)-10, descNext, 2)
				b.desc(2, guestBase+dataAt+0x100, test.in, descWrite, 0)
			}
			b.offer(0)
			b.kicked(commandQueue)
			used := b.guest[usedAt:]
			if n := binary.LittleEndian.Uint16(used[2:]); n != 1 {
				t.Fatalf("%d chains came back, want 1", n)
			}
			n := int(binary.LittleEndian.Uint32(used[8:]))
			if got := string(b.guest[dataAt+0x100:][:n]); got != test.want {
				t.Errorf("answer %q, want %q", got, test.want)
			}
			if got := strings.Join(b.dev.log, ","); got != test.wrote {
				t.Errorf("the device was written %q, want %q", got, test.wrote)
			}
			if got := strings.Join(b.logged, ","); !strings.Contains(got, test.blame) || (got == "") != (test.blame == "") {
				t.Errorf("logged %q, want %q", got, test.blame)
			}
			b.checkFences(t)
		})
	}
}

func TestBadChains(t *testing.T) {
	for name, test := range map[string]struct {
		build func(*bench)
		blame string
	}{
		"loop":            {func(b *bench) { b.desc(0, guestBase, 1, descNext, 0) }, "loop"},
		"before memory":   {func(b *bench) { b.desc(0, guestBase-1, 16, 0, 0) }, "not in the memory"},
		"over the end":    {func(b *bench) { b.desc(0, guestBase+guestSize-8, 16, 0, 0) }, "not in the memory"},
		"address wraps":   {func(b *bench) { b.desc(0, ^uint64(0)-4, 16, 0, 0) }, "not in the memory"},
		"next is outside": {func(b *bench) { b.desc(0, guestBase+dataAt, 16, descNext, testQueue) }, "descriptor 8 of 8"},
		"huge":            {func(b *bench) { b.desc(0, guestBase, 1<<31, 0, 0) }, "2147483648 bytes"},
		"indirect":        {func(b *bench) { b.desc(0, guestBase, 16, descTable, 0) }, "is a table"},
		"read after write": {func(b *bench) {
			b.desc(0, guestBase+dataAt, 16, descNext|descWrite, 1)
			b.desc(1, guestBase+dataAt, 16, 0, 0)
		}, "after one to be written"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench()
			test.build(b)
			b.offer(0)
			b.kicked(commandQueue)
			if got := strings.Join(b.logged, ","); !strings.Contains(got, test.blame) {
				t.Errorf("logged %q, want %q", got, test.blame)
			}
			if n := binary.LittleEndian.Uint16(b.guest[usedAt+2:]); n != 1 {
				t.Errorf("%d chains came back, want 1", n)
			}
			b.checkFences(t)
		})
	}
}

func TestInterruptsWaitForBuffers(t *testing.T) {
	b := newBench()
	for _, data := range []uint32{40, 41, 40} {
		if err := b.interrupt(data); err != nil {
			t.Fatal(err)
		}
	}
	if len(b.waiting) != 2 || len(b.calls) != 0 {
		t.Fatalf("%d interrupts wait, %d calls", len(b.waiting), len(b.calls))
	}
	if b.queue[interruptQueue].flags&usedNoNotify != 0 {
		t.Error("the guest is not asked to tell of new buffers")
	}
	const q1 = 0x400 // offset of queue 1
	for i := range 2 {
		d := b.guest[q1+descAt+descSize*i:]
		binary.LittleEndian.PutUint64(d, guestBase+dataAt+uint64(0x100*i))
		binary.LittleEndian.PutUint32(d[8:], 20)
		binary.LittleEndian.PutUint16(d[12:], descWrite)
		binary.LittleEndian.PutUint16(b.guest[q1+availAt+4+2*i:], uint16(i))
	}
	binary.LittleEndian.PutUint16(b.guest[q1+availAt+2:], 2)
	b.kicked(interruptQueue)
	for i, want := range []uint32{40, 41} {
		p := b.guest[dataAt+0x100*i:]
		if p[0] != opMSI || binary.LittleEndian.Uint32(p[commandSize:]) != want {
			t.Errorf("buffer %d has % x, want interrupt %d", i, p[:20], want)
		}
	}
	if len(b.calls) != 1 || b.calls[0] != interruptQueue {
		t.Errorf("calls %v, want one of queue %d", b.calls, interruptQueue)
	}
	if b.queue[interruptQueue].flags&usedNoNotify == 0 {
		t.Error("the guest still tells of new buffers")
	}
}

func TestCallsBeforeQueueIsFull(t *testing.T) {
	b := newBench()
	copy(b.guest[dataAt:], append(header(opWrite, 0, 1, 1), 9))
	b.desc(0, guestBase+dataAt, 17, 0, 0)
	for range testQueue / 4 {
		b.offer(0)
		b.kicked(commandQueue)
	}
	if len(b.calls) != 1 {
		t.Errorf("%d calls after %d posted writes to a queue of %d, want 1", len(b.calls), testQueue/4, testQueue)
	}
	binary.LittleEndian.PutUint16(b.guest[availAt:], availNoInterrupt)
	for range testQueue / 2 {
		b.offer(0)
		b.kicked(commandQueue)
	}
	if len(b.calls) != 1 {
		t.Error("a guest that wants no calls was called")
	}
}

// FuzzCommands fuzzes the contents of the guest's memory, including the rings.
func FuzzCommands(f *testing.F) {
	b := newBench()
	copy(b.guest[dataAt:], append(header(opWrite, 0, 1, 2), 9))
	b.desc(0, guestBase+dataAt, 17, 0, 0)
	b.offer(0)
	f.Add(b.guest[:dataAt+0x100])
	f.Fuzz(func(t *testing.T, mem []byte) {
		b := newBench()
		copy(b.guest, mem)
		for range 3 {
			b.kicked(commandQueue)
			b.kicked(interruptQueue)
		}
		b.checkFences(t)
	})
}

// FuzzMessages fuzzes the data received on the socket.
func FuzzMessages(f *testing.F) {
	add := func(request uint32, payload ...uint32) {
		b := binary.LittleEndian.AppendUint32(nil, request)
		b = binary.LittleEndian.AppendUint32(b, version|flagNeedReply)
		b = binary.LittleEndian.AppendUint32(b, uint32(4*len(payload)))
		for _, p := range payload {
			b = binary.LittleEndian.AppendUint32(b, p)
		}
		f.Add(b)
	}
	add(reqGetFeatures)
	add(reqSetMemory, 1, 0, guestBase, 0, guestSize, 0, guestBase, 0, 0, 0)
	add(reqSetQueueSize, 0, 256)
	add(reqSetQueueBase, 1, 5)
	add(reqSetQueueAddresses, 0, 0, guestBase, 0, guestBase+usedAt, 0, guestBase+availAt, 0, 0, 0)
	add(reqEnableQueue, 0, 1)
	add(reqKick, 0, 0)
	f.Fuzz(func(t *testing.T, in []byte) {
		b := newBench()
		copy(b.guest, in)
		for n := 0; n < 1000; n++ {
			m, size, err := cut(in)
			if err != nil || size == 0 {
				break
			}
			in = in[size:]
			if m.request == reqSetMemory || m.request == reqSetBackChannel {
				m.fds = []int{3}
			}
			b.handle(&m)
			b.kicked(commandQueue)
		}
		b.checkFences(t)
	})
}
