package capture

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/gopacket/gopacket/layers"
)

// The pcap format is that of draft-ietf-opsawg-pcap, with the two variants that
// libpcap also reads. One has a wider record header (magic a1b2cd34, patched by A.
// Kuznetzov). The other is versions before 2.4, which swap the two lengths: always
// before 2.3, by some tools in 2.3.
const (
	magicMicro    = 0xa1b2c3d4
	magicNano     = 0xa1b23c4d
	magicModified = 0xa1b2cd34

	pcapHeader = 24
)

// maxRecord is the longest record that libpcap takes, MAXIMUM_SNAPLEN, if the
// header allows no more.
const maxRecord = 262144

// classic is the header of a pcap file.
type classic struct {
	order  binary.ByteOrder
	header int    // bytes of a record header
	unit   uint32 // fractions of a second
	minor  uint16 // version 2.minor; 0 for the 543.0 of DG/UX
	most   uint32 // bytes of a record
}

// pcap reads a pcap file. It fails only if the file's header is bad.
func (p *parser) pcap() error {
	f := classic{header: 16, unit: 1e6, most: maxRecord}
	magic := binary.BigEndian.Uint32(p.data)
	f.order = binary.BigEndian
	switch binary.LittleEndian.Uint32(p.data) {
	case magicMicro, magicNano, magicModified:
		f.order = binary.LittleEndian
		magic = binary.LittleEndian.Uint32(p.data)
	}
	switch magic {
	case magicMicro:
	case magicNano:
		f.unit = 1e9
	case magicModified:
		f.header = 24
	default:
		return fmt.Errorf("it begins with % x, which neither pcap nor pcapng does; convert other captures with editcap -F pcapng IN OUT.pcapng", p.data[:4])
	}
	if len(p.data) < pcapHeader {
		return fmt.Errorf("cut after %d of %d bytes", len(p.data), pcapHeader)
	}
	major := f.order.Uint16(p.data[4:])
	f.minor = f.order.Uint16(p.data[6:])
	if !(major == 2 && f.minor <= 4 || major == 543 && f.minor == 0) {
		return fmt.Errorf("version %d.%d; 2.4 and older are read; convert it with editcap -F pcap IN OUT.pcap", major, f.minor)
	}
	if snap := f.order.Uint32(p.data[16:]); int32(snap) > maxRecord {
		f.most = snap
	}
	link := f.order.Uint32(p.data[20:])
	if t := layers.LinkType(link); t != layers.LinkTypeEthernet {
		return notEthernet(t)
	}
	if link&(1<<26) != 0 { // the upper four bits count the check sequence's 16-bit words
		p.checksummed(int(link >> 28 * 2))
	}
	p.records(&f)
	return nil
}

func notEthernet(t layers.LinkType) error {
	return fmt.Errorf("link type %v: only Ethernet captures can be replayed; capture on one Ethernet interface, not on \"any\"", t)
}

// checksummed notes a frame check sequence of n bytes.
func (p *parser) checksummed(n int) {
	if n > 0 {
		p.note("frames end with a check sequence of %d bytes, which no program on a card sees; it is kept as part of the packet", n)
	}
}

// records reads the packets of a pcap file.
func (p *parser) records(f *classic) {
	for off := pcapHeader; off < len(p.data); {
		p.number++
		r, next := f.record(p, off)
		switch {
		case len(p.data)-off < f.header:
			p.damage(true, off, "the file ends inside the packet's header")
			return
		case next < 0 && r.captured > uint64(f.most):
			p.damage(true, off, "it claims %d captured bytes, and no record has more than %d", r.captured, f.most)
			return
		case next < 0:
			p.damage(true, off, "the file ends after %d of its %d captured bytes", len(p.data)-off-f.header, r.captured)
			return
		case r.captured != r.wire && !f.follows(p, off, next):
			p.damage(true, off, "it claims %d captured bytes of %d on the wire, and no packet follows where it would end", r.captured, r.wire)
			return
		}
		p.keep(&r, func() time.Time { return f.time(p.data[off:]) })
		off = next
	}
}

// record reads the packet at off. next is the offset of the record after it, or
// negative if this record does not fit.
func (f *classic) record(p *parser, off int) (r record, next int) {
	if len(p.data)-off < f.header {
		return r, -1
	}
	h := p.data[off:]
	captured, wire := f.order.Uint32(h[8:]), f.order.Uint32(h[12:])
	if f.minor < 3 || f.minor == 3 && captured > wire {
		captured, wire = wire, captured
	}
	r = record{captured: uint64(captured), wire: uint64(wire)}
	body := off + f.header
	if captured > f.most || int(captured) > len(p.data)-body {
		return r, -1
	}
	next = body + int(captured)
	r.data = p.data[body:next:next]
	return r, next
}

// time is that of the record with header h. A fraction of a second and more, which
// some tools write, carries over.
func (f *classic) time(h []byte) time.Time {
	seconds, fraction := f.order.Uint32(h), f.order.Uint32(h[4:])
	return time.Unix(int64(seconds)+int64(fraction/f.unit), int64(fraction%f.unit)*int64(1e9/f.unit)).UTC()
}

// What follows an odd record must look like up to chain records, taken within
// nearby seconds of it.
const (
	chain  = 4
	nearby = 366 * 24 * 3600
)

// follows reports whether what begins at off looks like records: the file's end,
// or records whose fields agree and are of the time of the one at odd. The last
// may be cut by the file's end.
func (f *classic) follows(p *parser, odd, off int) bool {
	at := f.order.Uint32(p.data[odd:])
	for range chain {
		h := p.data[off:]
		if len(h) < f.header {
			return true
		}
		r, next := f.record(p, off)
		far := int64(f.order.Uint32(h)) - int64(at)
		if f.order.Uint32(h[4:]) >= f.unit || r.captured > uint64(f.most) || far > nearby || far < -nearby {
			return false
		}
		if next < 0 {
			return true
		}
		off = next
	}
	return true
}
