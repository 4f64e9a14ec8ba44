// Package vhost plugs a card into a User Mode Linux kernel: it is the back end of
// the vhost-user protocol for virtio PCI devices. The kernel connects to a unix
// socket at boot, shares its memory, and sends each access to the card's
// registers as a command in a virtqueue; the card's interrupts go back in a
// second one, and its DMA is a copy from or to the shared memory.
//
// One goroutine, locked to its thread, does everything: it reads a message,
// carries out the commands that the message tells of, and answers it. The kernel
// waits for that answer with interrupts off, which is also the flow control that
// keeps posted writes from being lost when the queue of 256 is full. Waking each
// other is most of what an access costs: see line_linux.go for what is done about it.
//
// The guest is not trusted. Every address is looked up in the memory it shared,
// every chain is bounded, and what makes no sense is dropped with a line in the
// log, of which there are at most logLines. Only a broken connection, or messages
// out of step, ends the service.
package vhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/nfpkit/nfpkit/driver/card"
)

// msiAddress is what the kernel programs as the address of message-signalled
// interrupts (arch/um/drivers/virt-pci.c); a write anywhere else is a memory write.
const msiAddress = 0xa0000

// logLines are logged of one guest; after that it has said enough.
const logLines = 100

// Transport connects a card with a kernel. It is the card's Host: make it first,
// then the card, then Serve.
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

// New returns a Transport; log, which may be nil, hears one line for each thing that
// the guest does wrong.
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

// DMARead copies from the guest's memory.
func (t *Transport) DMARead(addr uint64, p []byte) error {
	b, err := t.s.memory.at(addr, len(p))
	if err != nil {
		return fmt.Errorf("read by DMA: %w", err)
	}
	copy(p, b)
	return nil
}

// DMAWrite copies to the guest's memory.
func (t *Transport) DMAWrite(addr uint64, p []byte) error {
	b, err := t.s.memory.at(addr, len(p))
	if err != nil {
		return fmt.Errorf("write by DMA: %w", err)
	}
	copy(b, p)
	return nil
}

// MSI interrupts the guest.
func (t *Transport) MSI(addr uint64, data uint32) error {
	if addr == msiAddress {
		return t.s.interrupt(data)
	}
	var p [4]byte
	binary.LittleEndian.PutUint32(p[:], data)
	return t.DMAWrite(addr, p[:])
}

// ErrClosed is returned by Do when there is nobody any more to do it.
var ErrClosed = errors.New("vhost: not serving")

// Do has f run by the goroutine that serves, between two messages: what comes to
// the card from outside, such as a packet, may use the card only from there.
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

// takeTodo is what Do was given since.
func (t *Transport) takeTodo() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.todo
	t.todo = nil
	return f
}
