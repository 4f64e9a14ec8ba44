package vhost

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// A command is a header of 16 bytes in a descriptor chain: operation, BAR, two zero
// bytes, size, and address. Its data follows the header, or is the answer
// (linux/virtio_pcidev.h).
const (
	opConfigRead  = 1
	opConfigWrite = 2
	opRead        = 3
	opWrite       = 4
	opFill        = 5
	opMSI         = 7

	commandSize = 16
	configSize  = 4096
	// configField is the room for the value of a configuration register in a command,
	// whatever the register's size.
	configField = 8
)

// errFull means that the back channel is full for now.
var errFull = errors.New("back channel is full")

// command performs one command and returns the length of its answer in bytes. A read
// that fails is answered with all ones, as on a bus.
func (s *session) command(c *chain) (answered int, err error) {
	if len(c.out) < commandSize {
		return 0, fmt.Errorf("%d bytes", len(c.out))
	}
	op, bar := c.out[0], int(c.out[1])
	size := binary.LittleEndian.Uint32(c.out[4:])
	addr := binary.LittleEndian.Uint64(c.out[8:])
	data := c.out[commandSize:]
	switch op {
	case opConfigRead, opRead:
		return s.read(c, op == opConfigRead, bar, size, addr)
	case opConfigWrite:
		// Linux up to at least 6.12 has a fault: a block fill arrives with this
		// operation, the number of the BAR, and its one byte of data. An access that
		// is valid for a configuration register is taken as one; any other is a fill.
		if bar != 0 || !configAccess(addr, size) {
			return 0, s.fill(bar, addr, size, data)
		}
		if len(data) < int(size) {
			return 0, fmt.Errorf("configuration write of %d bytes with %d", size, len(data))
		}
		var v [configField]byte
		copy(v[:], data[:size])
		s.dev.ConfigWrite(int(addr), int(size), binary.LittleEndian.Uint64(v[:]))
	case opWrite:
		if uint64(len(data)) < uint64(size) {
			return 0, fmt.Errorf("write of %d bytes with %d", size, len(data))
		}
		s.dev.Write(bar, addr, data[:size])
	case opFill:
		return 0, s.fill(bar, addr, size, data)
	default:
		return 0, fmt.Errorf("operation %d", op)
	}
	return 0, nil
}

// configAccess reports whether an access of size bytes at addr is valid for a
// configuration register.
func configAccess(addr uint64, size uint32) bool {
	switch size {
	case 1, 2, 4, 8:
		return addr < configSize && addr+uint64(size) <= configSize
	}
	return false
}

func (s *session) read(c *chain, config bool, bar int, size uint32, addr uint64) (int, error) {
	if uint64(size) > uint64(c.room()) {
		return 0, fmt.Errorf("read of %d bytes into %d", size, c.room())
	}
	s.answer = slices.Grow(s.answer[:0], int(size)+configField)[:size]
	switch {
	case !config:
		s.dev.Read(bar, addr, s.answer)
	case configAccess(addr, size):
		v := s.dev.ConfigRead(int(addr), int(size))
		s.answer = binary.LittleEndian.AppendUint64(s.answer[:0], v)[:size]
	default:
		for i := range s.answer {
			s.answer[i] = 0xff
		}
		n := c.answer(s.answer)
		return n, fmt.Errorf("configuration read of %d bytes at %#x", size, addr)
	}
	return c.answer(s.answer), nil
}

// fill writes the same byte size times.
func (s *session) fill(bar int, addr uint64, size uint32, data []byte) error {
	if len(data) == 0 || size > maxTransfer {
		return fmt.Errorf("fill of %d bytes with %d", size, len(data))
	}
	v := data[0]
	s.answer = slices.Grow(s.answer[:0], int(size))[:size]
	for i := range s.answer {
		s.answer[i] = v
	}
	s.dev.Write(bar, addr, s.answer)
	return nil
}

// maxWaiting is the maximum number of interrupts kept while the guest has no buffer
// for them. There are at most 2,048 vectors, and a vector is queued only once.
const maxWaiting = 2048

// interrupt sends an interrupt to the guest, at once or after the guest has provided a
// buffer.
func (s *session) interrupt(data uint32) error {
	if len(s.waiting) >= maxWaiting {
		return fmt.Errorf("interrupt %d dropped: %d wait for buffers of the guest", data, len(s.waiting))
	}
	if !slices.Contains(s.waiting, data) {
		s.waiting = append(s.waiting, data)
	}
	s.flushInterrupts()
	return nil
}

// flushInterrupts puts waiting interrupts into the guest's buffers. If there are too
// few buffers, it asks the guest for a kick after it has provided more.
func (s *session) flushInterrupts() {
	q := &s.queue[interruptQueue]
	if !q.ready() {
		return
	}
	sent := 0
	asked := false
	for n := 0; len(s.waiting) > 0 && n <= q.size; n++ {
		first, ok := q.take()
		if !ok {
			if asked {
				break
			}
			q.wantsKick(true) // then check again: the guest may just have provided one
			asked = true
			continue
		}
		var c chain
		written := 0
		if err := q.follow(s.memory, first, &c); err != nil {
			s.log(fmt.Sprintf("interrupt buffer: %v", err))
		} else if c.room() < commandSize+4 {
			s.log(fmt.Sprintf("interrupt buffer of %d bytes", c.room()))
		} else {
			var p [commandSize + 4]byte
			p[0] = opMSI
			binary.LittleEndian.PutUint32(p[4:], 4)
			binary.LittleEndian.PutUint32(p[commandSize:], s.waiting[0])
			written = c.answer(p[:])
			s.waiting = s.waiting[1:]
		}
		q.put(first, written)
		sent++
	}
	if len(s.waiting) == 0 && q.flags&usedNoNotify == 0 {
		q.wantsKick(false)
	}
	if sent > 0 && q.wantsCall() {
		s.notify(interruptQueue)
	}
}
