package capture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// The pcapng format is that of draft-ietf-opsawg-pcapng. A block is its type, its
// length, a body, and its length again; a section has its own byte order and
// interfaces. A block that is wrong inside is skipped by its length. If the two
// lengths differ, it is skipped only if a well-formed block follows.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockNames     = 4
	blockStats     = 5
	blockEnhanced  = 6
	blockJournal   = 9
	blockSecrets   = 10
	blockCustom    = 0x0bad
	blockCustomDo  = 0x40000bad

	orderMagic = 0x1a2b3c4d

	optEnd        = 0
	optResolution = 9
	optFCS        = 13
	optOffset     = 14
)

var ngMagic = []byte{0x0a, 0x0d, 0x0d, 0x0a}

// section is the part of the file that the last section header begins.
type section struct {
	order      binary.ByteOrder
	interfaces []iface
	strange    map[uint32]bool // unknown types of blocks, noted once each
}

// iface is an interface description.
type iface struct {
	wrong      string // why its packets are left out; "" if they are not
	why        Reason
	snap       uint32
	resolution byte // if_tsresol
	offset     int64
}

// ng reads a pcapng file. It fails only if the first section header is bad.
func (p *parser) ng() error {
	var s section
	for off := 0; off < len(p.data); {
		rest := p.data[off:]
		if bytes.HasPrefix(rest, ngMagic) {
			if err := s.begin(rest); err != nil {
				if off == 0 {
					return err
				}
				p.damage(false, off, "the section header at byte %d: %v", off, err)
				return nil
			}
		}
		if len(rest) < 12 {
			p.damage(false, off, "the file ends inside the header of the block at byte %d", off)
			return nil
		}
		kind, total := s.order.Uint32(rest), s.order.Uint32(rest[4:])
		packet := kind == blockPacket || kind == blockSimple || kind == blockEnhanced
		if packet {
			p.number++
		}
		size := (uint64(total) + 3) &^ 3
		switch {
		case total < 12:
			p.damage(packet, off, "the block at byte %d has length %d, and no block is shorter than 12", off, total)
			return nil
		case size > uint64(len(rest)):
			p.damage(packet, off, "the file ends after %d of the %d bytes of the block at byte %d", len(rest), total, off)
			return nil
		}
		block := rest[:size]
		if last := s.order.Uint32(block[size-4:]); last != total {
			if !s.follows(rest[size:]) {
				p.damage(packet, off, "the block at byte %d has length %d at its start and %d at its end", off, total, last)
				return nil
			}
			s.mismatched(p, kind, packet, total, last)
		} else {
			s.block(p, kind, block[8:size-4])
		}
		off += int(size)
	}
	return nil
}

// begin starts a section, whose header begins b.
func (s *section) begin(b []byte) error {
	if len(b) < 28 {
		return fmt.Errorf("cut after %d of at least 28 bytes", len(b))
	}
	var order binary.ByteOrder = binary.LittleEndian
	if order.Uint32(b[8:]) != orderMagic {
		order = binary.BigEndian
	}
	switch major := order.Uint16(b[12:]); {
	case order.Uint32(b[8:]) != orderMagic:
		return fmt.Errorf("byte-order magic % x", b[8:12])
	case major != 1:
		return fmt.Errorf("version %d; version 1 is read", major)
	case order.Uint32(b[4:]) < 28 || uint64(order.Uint32(b[4:])) > uint64(len(b)):
		return fmt.Errorf("length %d", order.Uint32(b[4:]))
	}
	*s = section{order: order, strange: map[uint32]bool{}}
	return nil
}

// follows reports whether what follows a block looks like one: the file's end,
// or a block of a known type whose two lengths agree.
func (s *section) follows(b []byte) bool {
	if len(b) < 12 {
		return len(b) == 0
	}
	size := uint64(s.order.Uint32(b[4:]))
	switch s.order.Uint32(b) {
	case blockSection:
		return true
	case blockInterface, blockPacket, blockSimple, blockNames, blockStats, blockEnhanced, blockJournal, blockSecrets, blockCustom, blockCustomDo:
		return size >= 12 && (size > uint64(len(b)) || size%4 == 0 && uint64(s.order.Uint32(b[size-4:])) == size)
	}
	return false
}

// mismatched skips a block whose lengths differ. An interface keeps its number.
func (s *section) mismatched(p *parser, kind uint32, packet bool, first, last uint32) {
	what := fmt.Sprintf("a block with length %d at its start and %d at its end", first, last)
	switch {
	case packet:
		p.leave(Damaged, "%s", what)
	case kind == blockInterface:
		s.interfaces = append(s.interfaces, iface{wrong: "described in " + what, why: Interface})
	}
}

// block reads the body of a well-formed block. What is no packet and no
// interface is skipped.
func (s *section) block(p *parser, kind uint32, body []byte) {
	switch kind {
	case blockInterface:
		s.describe(p, body)
	case blockEnhanced, blockPacket:
		s.packet(p, kind, body)
	case blockSimple:
		s.simple(p, body)
	case blockSection, blockNames, blockStats, blockJournal, blockSecrets, blockCustom, blockCustomDo:
	default:
		if !s.strange[kind] {
			s.strange[kind] = true
			p.note("blocks of type %#x, which is unknown, are skipped", kind)
		}
	}
}

// describe reads an interface description.
func (s *section) describe(p *parser, body []byte) {
	if len(body) < 8 {
		s.interfaces = append(s.interfaces, iface{wrong: fmt.Sprintf("described in %d bytes", len(body)), why: Interface})
		return
	}
	f := iface{snap: s.order.Uint32(body[4:]), resolution: 6}
	if t := layers.LinkType(s.order.Uint16(body)); t != layers.LinkTypeEthernet {
		f.wrong, f.why = notEthernet(t).Error(), LinkType
	}
	err := s.options(body[8:], func(code uint16, value []byte) {
		switch {
		case code == optResolution && len(value) == 1:
			f.resolution = value[0]
		case code == optOffset && len(value) == 8:
			f.offset = int64(s.order.Uint64(value))
		case code == optFCS && len(value) == 1:
			p.checksummed(int(value[0]))
		}
	})
	if err != nil {
		p.note("interface %d: its options: %v; times may be wrong", len(s.interfaces), err)
	}
	s.interfaces = append(s.interfaces, f)
}

// options calls fn for each option.
func (s *section) options(b []byte, fn func(code uint16, value []byte)) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return errors.New("cut")
		}
		code, n := s.order.Uint16(b), int(s.order.Uint16(b[2:]))
		if code == optEnd {
			return nil
		}
		b = b[4:]
		if n > len(b) {
			return fmt.Errorf("option %d of %d bytes, where %d are left", code, n, len(b))
		}
		fn(code, b[:n])
		b = b[min((n+3)&^3, len(b)):]
	}
	return nil
}

// packet reads an Enhanced Packet Block, or the obsolete Packet Block, which has
// 16 bits of drop count in its interface's place.
func (s *section) packet(p *parser, kind uint32, body []byte) {
	if len(body) < 20 {
		p.leave(Damaged, "its block has %d bytes before the data, where 20 are wanted", len(body))
		return
	}
	id := uint64(s.order.Uint32(body))
	if kind == blockPacket {
		id = uint64(s.order.Uint16(body))
	}
	f := s.known(p, id)
	if f == nil {
		return
	}
	r := record{captured: uint64(s.order.Uint32(body[12:])), wire: uint64(s.order.Uint32(body[16:]))}
	data := body[20:]
	if r.captured > uint64(len(data)) {
		p.leave(Damaged, "it claims %d captured bytes, and its block has room for %d", r.captured, len(data))
		return
	}
	r.data = data[:r.captured:r.captured]
	units := uint64(s.order.Uint32(body[4:]))<<32 | uint64(s.order.Uint32(body[8:]))
	p.keep(&r, func() time.Time { return f.time(p, units) })
}

// simple reads a Simple Packet Block, which is of the first interface and has no
// time.
func (s *section) simple(p *parser, body []byte) {
	if len(body) < 4 {
		p.leave(Damaged, "its block has %d bytes before the data, where 4 are wanted", len(body))
		return
	}
	f := s.known(p, 0)
	if f == nil {
		return
	}
	r := record{wire: uint64(s.order.Uint32(body))}
	r.captured = min(r.wire, uint64(len(body)-4))
	if f.snap > 0 {
		r.captured = min(r.captured, uint64(f.snap))
	}
	r.data = body[4 : 4+r.captured : 4+r.captured]
	p.keep(&r, func() time.Time { return time.Time{} })
}

// known gives the interface of a packet, or leaves the packet out.
func (s *section) known(p *parser, id uint64) *iface {
	if id >= uint64(len(s.interfaces)) {
		p.leave(Interface, "interface %d, and the section describes %d before it", id, len(s.interfaces))
		return nil
	}
	f := &s.interfaces[id]
	if f.wrong != "" {
		p.leave(f.why, "interface %d: %s", id, f.wrong)
		return nil
	}
	return f
}

// time converts a count of the interface's units, 10^-n or 2^-n seconds.
func (f *iface) time(p *parser, units uint64) time.Time {
	var seconds, nanos uint64
	if n := uint(f.resolution & 0x7f); f.resolution&0x80 != 0 {
		seconds = units >> n
		high, low := bits.Mul64(units&^(seconds<<n), 1e9)
		nanos = low>>n | high<<(64-n)
		if n > 64 {
			nanos = high >> (n - 64)
		}
	} else {
		seconds, nanos = decimal(units, n)
	}
	if seconds > 1<<62 {
		seconds = 1 << 62 // far outside what a date says
	}
	return p.at(int64(seconds), f.offset, int64(nanos))
}

// decimal splits a count of 10^-n seconds.
func decimal(units uint64, n uint) (seconds, nanos uint64) {
	unit := uint64(1) // in a second
	for range min(n, 19) {
		unit *= 10
	}
	if n <= 9 {
		return units / unit, units % unit * (1e9 / unit)
	}
	for ; n > 19; n-- {
		units /= 10
	}
	return units / unit, units % unit / (unit / 1e9)
}
