// Package vhost connects a card to a User Mode Linux kernel. It is the back end of the
// vhost-user protocol for virtio PCI devices. The kernel connects to a unix socket at
// boot, shares its memory, and sends each access to the card's registers as a command
// in a virtqueue. The card's interrupts go back in a second virtqueue. Its DMA is a
// copy from or to the shared memory.
//
// To use it, call New, create the card and attach it to the Transport, Listen on a
// socket, and call Serve with the connection. Do runs a function on the serving
// goroutine.
//
// One goroutine, locked to its thread, does everything: it reads a message, performs
// the commands of the queue that the message announces, and answers it. The kernel
// waits for that answer with interrupts off. This is also the flow control: without it
// posted writes would be lost when the queue of 256 is full. Most of the cost of an
// access is for the two sides to wake each other; line_linux.go reduces it.
//
// The guest is not trusted. Every address is checked against the memory that it
// shared, every chain is bounded, and an invalid request is dropped with a line in the
// log, up to logLines of them. Only a broken connection, or messages out of step, ends
// the service.
package vhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/nfpkit/nfpkit/driver/card"
)

// msiAddress is the address that the kernel programs for message-signalled interrupts
// (arch/um/drivers/virt-pci.c). A write to any other address is a memory write.
const msiAddress = 0xa0000

// logLines is the maximum number of lines logged for one guest.
const logLines = 100

// Transport connects a card to a kernel. It is the card's Host: create it first, then
// the card, then call Serve.
type Transport struct {
	s     session
	lines int
	out   func(string)

	mu      sync.Mutex
	todo    []func()
	wake    func() // set while serving
	stopped bool
}

var _ card.Host = (*Transport)(nil)

// New returns a Transport. log, if not nil, is called with one line for each error of
// the guest.
func New(log func(string)) *Transport {
	t := &Transport{out: log}
	t.s.backChannel = -1
	t.s.log = t.log
	return t
}

func (t *Transport) log(line string) {
	if t.lines++; t.out == nil || t.lines > logLines {
		return
	}
	if t.lines == logLines {
		line += " (and no more of this guest)"
	}
	t.out(line)
}

// DMARead copies from the guest's memory. It implements card.Host.
func (t *Transport) DMARead(addr uint64, p []byte) error {
	b, err := t.s.memory.at(addr, len(p))
	if err != nil {
		return fmt.Errorf("read by DMA: %w", err)
	}
	copy(p, b)
	return nil
}

// DMAWrite copies to the guest's memory. It implements card.Host.
func (t *Transport) DMAWrite(addr uint64, p []byte) error {
	b, err := t.s.memory.at(addr, len(p))
	if err != nil {
		return fmt.Errorf("write by DMA: %w", err)
	}
	copy(b, p)
	return nil
}

// MSI interrupts the guest. It implements card.Host.
func (t *Transport) MSI(addr uint64, data uint32) error {
	if addr == msiAddress {
		return t.s.interrupt(data)
	}
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], data)
	return t.DMAWrite(addr, p[:])
}

// ErrClosed is returned by Do if Serve has ended.
var ErrClosed = errors.New("vhost: not serving")

// Do schedules f to run on the serving goroutine, between two messages. Input to the
// card from outside, such as a packet, must use the card from there.
func (t *Transport) Do(f func()) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return ErrClosed
	}
	t.todo = append(t.todo, f)
	if t.wake != nil {
		t.wake()
	}
	return nil
}

// takeTodo returns the functions given to Do since its last call.
func (t *Transport) takeTodo() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.todo
	t.todo = nil
	return f
}
