package vhost

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/nfpkit/nfpkit/driver/card"
)

// The device has two queues: the guest's commands, and the card's interrupts.
const (
	commandQueue   = 0
	interruptQueue = 1
	queues         = 2
)

// session is the state of the protocol between one guest and the card. It makes no
// system calls: its fields provide the operations that it needs.
type session struct {
	dev card.Device

	memory      memory
	queue       [queues]queue
	chain       chain // reused for each chain
	answer      []byte
	unreclaimed int             // posted writes returned since the guest last read the used ring
	waiting     []uint32        // interrupts without a buffer, in order
	owed        [queues]bool    // calls not sent because the back channel was full
	mapFD       mapFunc         // maps shared memory
	closeFD     func(int)       // closes a descriptor
	backChannel int             // descriptor, or -1 before the guest sends one
	call        func(int) error // sends a call on descriptor backChannel; errFull if it does not fit
	log         func(string)
}

// mapFunc maps the first size bytes of a descriptor's file and takes ownership of the
// descriptor.
type mapFunc func(fd int, size uint64) (b []byte, unmap func() error, err error)

// handle performs the request of m. value is the answer if answers is true.
func (s *session) handle(m *message) (value uint64, answers bool, err error) {
	defer func() {
		for _, fd := range m.fds {
			s.closeFD(fd) // descriptors that no handler took
		}
		m.fds = nil
	}()
	switch m.request {
	case reqGetFeatures:
		return features, true, nil
	case reqGetProtocolFeatures:
		return protocolFeatures, true, nil
	case reqGetQueueCount:
		return queues, true, nil
	case reqGetQueueBase:
		index, _, err := m.state()
		if err != nil {
			return 0, true, err
		}
		s.queue[index].enabled = false
		return uint64(s.queue[index].next)<<32 | uint64(index), true, nil
	case reqSetFeatures:
		return 0, false, m.only(features)
	case reqSetProtocolFeatures:
		return 0, false, m.only(protocolFeatures)
	case reqSetOwner, reqResetOwner, reqSetError:
		return 0, false, nil
	case reqSetMemory:
		return 0, false, s.setMemory(m)
	case reqSetBackChannel:
		if len(m.fds) != 1 {
			return 0, false, fmt.Errorf("back channel with %d descriptors", len(m.fds))
		}
		if s.backChannel >= 0 {
			s.closeFD(s.backChannel)
		}
		s.backChannel, m.fds = m.fds[0], nil
		return 0, false, nil
	case reqSetKick, reqSetCall:
		w, err := m.words(0, 1)
		if err == nil && w[0]&noDescriptor == 0 {
			err = fmt.Errorf("notification by descriptor: only those in messages are served")
		}
		return 0, false, err
	}
	return 0, false, s.handleQueue(m)
}

// handleQueue performs a request about one queue.
func (s *session) handleQueue(m *message) error {
	index, value, err := m.state()
	if err != nil {
		return err
	}
	q := &s.queue[index]
	switch m.request {
	case reqSetQueueSize:
		if value == 0 || value > maxQueueSize || bits.OnesCount32(value) != 1 {
			return fmt.Errorf("queue of %d entries", value)
		}
		*q = queue{size: int(value)}
	case reqSetQueueBase:
		q.next, q.returned = uint16(value), uint16(value)
	case reqSetQueueAddresses:
		w, err := m.words(8, 3)
		if err != nil {
			return err
		}
		return q.place(s.memory, w[0], w[2], w[1])
	case reqEnableQueue:
		q.enabled = value != 0
		s.unreclaimed = 0
		if q.enabled && index == interruptQueue {
			q.wantsKick(false)
		}
	case reqKick:
		s.kicked(index)
	default:
		return fmt.Errorf("unknown message %d", m.request)
	}
	return nil
}

// only checks that the guest accepted only offered features.
func (m *message) only(offered uint64) error {
	w, err := m.words(0, 1)
	if err == nil && w[0]&^offered != 0 {
		err = fmt.Errorf("message %d accepts features %#x that were not offered", m.request, w[0]&^offered)
	}
	return err
}

// setMemory replaces the memory table. Queues become unplaced, as their addresses were
// resolved with the old table.
func (s *session) setMemory(m *message) error {
	if len(m.payload) < 8 {
		return fmt.Errorf("memory table of %d bytes", len(m.payload))
	}
	count := int(binary.LittleEndian.Uint32(m.payload))
	if count > maxRegions || count != len(m.fds) {
		return fmt.Errorf("memory table with %d regions and %d descriptors", count, len(m.fds))
	}
	w, err := m.words(8, 4*count)
	if err != nil {
		return err
	}
	s.forgetMemory()
	for i := range count {
		guest, size, user, off := w[4*i], w[4*i+1], w[4*i+2], w[4*i+3]
		if size == 0 || off+size < off || guest+size < guest || user+size < user {
			return fmt.Errorf("memory region at %#x of %#x bytes", guest, size)
		}
		fd := m.fds[0]
		m.fds = m.fds[1:]
		b, unmap, err := s.mapFD(fd, off+size)
		if err != nil {
			return fmt.Errorf("memory region at %#x: %w", guest, err)
		}
		s.memory = append(s.memory, region{guest: guest, user: user, bytes: b[off:], unmap: unmap})
	}
	return nil
}

func (s *session) forgetMemory() {
	for i := range s.queue {
		s.queue[i].desc, s.queue[i].avail, s.queue[i].used = nil, nil, nil
	}
	s.chain.in = nil
	if err := s.memory.release(); err != nil {
		s.log(fmt.Sprintf("release guest memory: %v", err))
	}
	s.memory = nil
}

// kicked serves the queue for which the guest sent a kick.
func (s *session) kicked(index int) {
	if index == interruptQueue {
		s.flushInterrupts()
		return
	}
	q := &s.queue[commandQueue]
	// A device may stop the queue from within a command, so the condition is checked
	// each time. After one round of the queue other work gets a turn, even if the
	// guest keeps adding commands.
	for range q.size {
		first, ok := q.take()
		if !ok {
			break
		}
		n := 0
		if err := q.follow(s.memory, first, &s.chain); err != nil {
			s.log(fmt.Sprintf("command: %v", err))
		} else if n, err = s.command(&s.chain); err != nil {
			s.log(fmt.Sprintf("command: %v", err))
		}
		q.put(first, n)
		if len(s.chain.in) > 0 {
			s.unreclaimed = 0 // the guest polls the used ring for this command's answer
		} else {
			s.unreclaimed++
		}
	}
	// The guest reclaims buffers when it is called or when it reads. It loses commands
	// for which the queue has no room, so it is called long before the queue is full.
	if s.unreclaimed >= min(64, q.size/4) && q.wantsCall() {
		s.unreclaimed = 0
		s.notify(commandQueue)
	}
}

// notify sends the guest a call for a queue, at once or when the back channel has
// room.
func (s *session) notify(index int) {
	if s.backChannel < 0 {
		return
	}
	switch err := s.call(index); err {
	case nil:
		s.owed[index] = false
	case errFull:
		s.owed[index] = true
	default:
		s.log(fmt.Sprintf("call: %v", err))
	}
}

// settle sends the owed calls.
func (s *session) settle() {
	for i, owed := range s.owed {
		if owed {
			s.notify(i)
		}
	}
}

// owes reports whether any calls wait for room in the back channel.
func (s *session) owes() bool { return s.owed[commandQueue] || s.owed[interruptQueue] }
