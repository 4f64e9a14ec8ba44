package vhost

import (
	"encoding/binary"
	"fmt"
)

// A message is a header of three 32-bit words (request, flags, payload size) and a
// payload, little endian, with file descriptors in ancillary data (QEMU's
// docs/interop/vhost-user). The guest sends one message at a time and waits for its
// answer.

// Requests that the guest sends.
const (
	reqGetFeatures         = 1
	reqSetFeatures         = 2
	reqSetOwner            = 3
	reqResetOwner          = 4
	reqSetMemory           = 5
	reqSetQueueSize        = 8
	reqSetQueueAddresses   = 9
	reqSetQueueBase        = 10
	reqGetQueueBase        = 11
	reqSetKick             = 12
	reqSetCall             = 13
	reqSetError            = 14
	reqGetProtocolFeatures = 15
	reqSetProtocolFeatures = 16
	reqGetQueueCount       = 17
	reqEnableQueue         = 18
	reqSetBackChannel      = 21
	reqKick                = 35

	// backCall is a request that the card sends on the back channel: check a queue.
	backCall = 4
)

const (
	headerSize = 12
	// maxPayload exceeds the payload of every message: a memory table of 8 regions has
	// 264 bytes.
	maxPayload = 4096
	maxRegions = 8
	maxFDs     = 8

	version       = 1
	versionMask   = 3
	flagReply     = 1 << 2
	flagNeedReply = 1 << 3
)

const (
	featureVersion1            = 1 << 32
	featureProtocol            = 1 << 30
	protocolReplyAck           = 1 << 3
	protocolBackChannel        = 1 << 5
	protocolInBand             = 1 << 14
	features                   = featureVersion1 | featureProtocol
	protocolFeatures           = protocolReplyAck | protocolBackChannel | protocolInBand
	noDescriptor        uint64 = 1 << 8 // in a kick or call message: no descriptor, poll instead
)

// message is a message from the guest.
type message struct {
	request, flags uint32
	payload        []byte
	fds            []int // owned by the handler of the message
}

// cut parses the first message in b and returns its length, which is 0 if b does not
// hold a whole message yet.
func cut(b []byte) (m message, n int, err error) {
	if len(b) < headerSize {
		return m, 0, nil
	}
	m.request, m.flags = binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
	size := binary.LittleEndian.Uint32(b[8:])
	if size > maxPayload {
		return m, 0, fmt.Errorf("message %d with a payload of %d bytes", m.request, size)
	}
	if m.flags&versionMask != version {
		return m, 0, fmt.Errorf("message %d of protocol version %d", m.request, m.flags&versionMask)
	}
	n = headerSize + int(size)
	if len(b) < n {
		return m, 0, nil
	}
	m.payload = b[headerSize:n]
	return m, n, nil
}

// put appends a message with a payload of 8 bytes, the size of every answer.
func put(b []byte, request, flags uint32, value uint64) []byte {
	b = binary.LittleEndian.AppendUint32(b, request)
	b = binary.LittleEndian.AppendUint32(b, flags)
	b = binary.LittleEndian.AppendUint32(b, 8)
	return binary.LittleEndian.AppendUint64(b, value)
}

// words reads n 64-bit words of the payload, from off on.
func (m *message) words(off, n int) ([]uint64, error) {
	if len(m.payload) < off+8*n {
		return nil, fmt.Errorf("message %d has %d bytes, not %d", m.request, len(m.payload), off+8*n)
	}
	w := make([]uint64, n)
	for i := range w {
		w[i] = binary.LittleEndian.Uint64(m.payload[off+8*i:])
	}
	return w, nil
}

// state parses the payload of a message about a queue: its number and a value.
func (m *message) state() (index int, value uint32, err error) {
	if len(m.payload) < 8 {
		return 0, 0, fmt.Errorf("message %d has %d bytes, not 8", m.request, len(m.payload))
	}
	i := binary.LittleEndian.Uint32(m.payload)
	if i >= queues {
		return 0, 0, fmt.Errorf("message %d about queue %d of %d", m.request, i, queues)
	}
	return int(i), binary.LittleEndian.Uint32(m.payload[4:]), nil
}
