package card

import (
	"encoding/binary"
	"errors"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/driver"
)

// This file handles control messages, which are frames on the control vNIC. A message
// is a header {type, version, tag}, then big-endian 32-bit words, then slots of a key
// and a value each. A request has one slot and gets one reply. A reply has a slot for
// each entry that it reports, and one more if it reports an error. The card copies
// keys and values as bytes: the host swaps the byte order if needed.

// Types of messages. The type of a reply is that of its request with the top bit set.
const (
	msgAlloc = 1 + iota
	msgFree
	msgLookup
	msgUpdate
	msgDelete
	msgGetNext
	msgGetFirst
	msgEvent

	msgReply   = 0x80
	msgVersion = 1

	msgHeader = 4
	msgEntry  = 16 // bytes before the first slot: header, table or code, count, flags
	slotABI2  = 64 // bytes of a key and of a value

	maxEntries = 4 // the driver's NFP_BPF_MAP_CACHE_CNT
)

// Return codes, the driver's bpf/fw.h.
const (
	rcOK = iota
	rcNoTable
	rcNoEntry
	rcError
	rcParse
	rcExists
	rcNoMemory
	rcTooBig
)

// maxMapBytes is the card's memory for all maps together, an assumption. entryBytes is
// the overhead of an entry in addition to its value.
const (
	maxMapBytes = 512 << 20
	entryBytes  = 64
)

// slots returns the sizes in bytes of a key and of a value in a message.
func (c *Card) slots() (key, value int) {
	if c.profile.ABI < 3 {
		return slotABI2, slotABI2
	}
	return c.profile.Maps.Key, c.profile.Maps.Value
}

// message answers a request.
func (c *Card) message(v *vnic, m []byte) {
	if len(m) < 2*msgHeader || m[1] != msgVersion || m[0] < msgAlloc || m[0] > msgGetFirst {
		c.logf("control message of %d bytes, type and version % x: dropped", len(m), m[:min(2, len(m))])
		return
	}
	reply := []byte{m[0] | msgReply, msgVersion, m[2], m[3]}
	switch m[0] {
	case msgAlloc:
		id, rc := c.allocMap(m)
		reply = be(reply, rc, id)
	case msgFree:
		count, rc := c.freeMap(word(m, 1))
		reply = be(reply, rc, count)
	default:
		reply = c.entries(reply, m)
	}
	if !v.receive(0, reply) {
		c.logf("control message: no room for the reply of %d bytes", len(reply))
	}
}

// word returns 32-bit word i of a message, or 0 if that is past the end.
func word(m []byte, i int) uint32 {
	if 4*i+4 > len(m) {
		return 0
	}
	return binary.BigEndian.Uint32(m[4*i:])
}

func be(b []byte, words ...uint32) []byte {
	for _, w := range words {
		b = binary.BigEndian.AppendUint32(b, w)
	}
	return b
}

// mapTypes holds the map types that the driver requests, by their numbers in bpf(2).
var mapTypes = map[uint32]ebpf.MapType{1: ebpf.Hash, 2: ebpf.Array}

func (c *Card) allocMap(m []byte) (id, rc uint32) {
	if len(m) < 24 {
		return 0, rcParse
	}
	typ, known := mapTypes[word(m, 4)]
	if !known {
		return 0, rcError
	}
	spec := &ebpf.MapSpec{Type: typ, KeySize: word(m, 1), ValueSize: word(m, 2), MaxEntries: word(m, 3), Flags: word(m, 5)}
	bytes := func(s *ebpf.MapSpec) uint64 {
		return uint64(s.MaxEntries) * (uint64(s.KeySize) + uint64(s.ValueSize) + entryBytes)
	}
	total := bytes(spec)
	for _, m := range c.nic.Maps() {
		total += bytes(m.Spec())
	}
	if total > maxMapBytes {
		return 0, rcNoMemory
	}
	t, err := c.nic.CreateMap(spec)
	if err != nil {
		c.logf("map of type %v, %d entries of %d and %d bytes: %v", typ, spec.MaxEntries, spec.KeySize, spec.ValueSize, err)
		return 0, createCode(err)
	}
	return t.ID, rcOK
}

// createCode returns the return code for a map that could not be created.
func createCode(err error) uint32 {
	var e *driver.MapError
	if errors.As(err, &e) {
		switch e.Reason {
		case "map-count", "map-entries", "map-address":
			return rcNoMemory
		case "map-key", "map-value", "map-entry":
			return rcTooBig
		}
	}
	return rcError
}

// freeMap frees a map and returns the number of entries that it had.
func (c *Card) freeMap(id uint32) (count, rc uint32) {
	t := c.nic.Table(id)
	if t == nil {
		return 0, rcNoTable
	}
	if t.Spec().Type == ebpf.Array {
		count = t.Spec().MaxEntries
	} else {
		for key, err := t.NextKey(nil); err == nil; key, err = t.NextKey(key) {
			count++
		}
	}
	if err := c.nic.FreeMap(id); err != nil {
		return 0, rcNoTable
	}
	return count, rcOK
}

// code returns the return code for the error of a map operation.
func code(err error) uint32 {
	var no syscall.Errno
	if err == nil {
		return rcOK
	}
	if errors.As(err, &no) {
		switch no {
		case maps.ENOENT:
			return rcNoEntry
		case maps.EEXIST:
			return rcExists
		case maps.ENOMEM:
			return rcNoMemory
		case maps.E2BIG:
			return rcTooBig
		}
	}
	return rcError
}

// entries performs an operation on entries and appends to the reply everything that
// follows its header.
func (c *Card) entries(reply, m []byte) []byte {
	keySlot, valueSlot := c.slots()
	size := keySlot + valueSlot
	if len(m) < msgEntry+size {
		return append(be(reply, rcParse, 0, 0), make([]byte, size)...)
	}
	t := c.nic.Table(word(m, 1))
	if t == nil {
		return append(be(reply, rcNoTable, 0, 0), make([]byte, size)...)
	}
	key := m[msgEntry:][:t.Spec().KeySize]
	value := m[msgEntry+keySlot:][:t.Spec().ValueSize]
	var err error
	slot := make([]byte, size)
	switch m[0] {
	case msgLookup:
		var got []byte
		if got, err = t.LookupAll(key); err == nil {
			copy(slot, key)
			copy(slot[keySlot:], got)
		}
	case msgUpdate:
		err = t.UpdateAll(key, value, uint64(word(m, 3)))
	case msgDelete:
		err = t.Delete(key)
	case msgGetFirst:
		return c.walk(reply, t, nil, word(m, 2))
	case msgGetNext:
		return c.walk(reply, t, key, word(m, 2))
	}
	if err != nil {
		// The open firmware also writes the code into the slot.
		binary.BigEndian.PutUint32(slot[keySlot-4:], 0xffff_0000|code(err))
		return append(be(reply, code(err), 0, 0), slot...)
	}
	return append(be(reply, rcOK, 1, 0), slot...)
}

// walk reports up to want entries that follow key.
func (c *Card) walk(reply []byte, t *driver.Map, key []byte, want uint32) []byte {
	keySlot, valueSlot := c.slots()
	var slots []byte
	rc, count := uint32(rcOK), uint32(0)
	for want = max(1, min(want, uint32(c.entriesAtOnce()))); count < want; count++ {
		next, err := t.NextKey(key)
		if err != nil {
			rc = code(err)
			break
		}
		slot := make([]byte, keySlot+valueSlot)
		copy(slot, next)
		if got, err := t.LookupAll(next); err == nil { // an array's element may be unwritten
			copy(slot[keySlot:], got)
		}
		slots, key = append(slots, slot...), next
	}
	if rc != rcOK {
		slots = append(slots, make([]byte, keySlot+valueSlot)...)
	}
	return append(be(reply, rc, count, 0), slots...)
}

// event sends a record of perf_event_output to the host.
func (c *Card) event(e *driver.Event) {
	m := be([]byte{msgEvent, msgVersion, 0, 0}, e.CPU, 0, e.ID, uint32(len(e.Data)), uint32(len(e.Packet)))
	m = append(m, e.Packet...)
	m = append(m, make([]byte, -len(e.Packet)&3)...)
	m = append(m, e.Data...)
	if v := c.vnics[len(c.vnics)-1]; !v.receive(0, m) {
		c.logf("event of %d and %d bytes for map %d: no room", len(e.Packet), len(e.Data), e.ID)
	}
}
