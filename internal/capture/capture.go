// Package capture reads and writes packet captures: pcap, pcapng, and both compressed
// with gzip. Read and Write convert between the bytes of a file and a Capture, a list
// of packets with their times.
//
// Captures come from many tools, over bad links and off full disks, so Read isolates
// damage. It leaves out a packet that cannot be replayed, with the reason, and keeps
// the packets around it. Reading ends early only if the position of the next packet is
// lost; Capture.Damage then says where and why. Read never guesses a packet: after a
// malformed record it continues only if well-formed records follow.
package capture

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Packet is one frame of a capture.
type Packet struct {
	Number int // place among all packets of the file, from 1
	Data   []byte
	Time   time.Time // zero if the file gives none
}

// Reason says why a packet was left out.
type Reason string

// Reasons to leave a packet out. Each reads as the end of "2 packets were ...".
const (
	Cut       Reason = "captured in part"
	Longer    Reason = "captured longer than on the wire"
	TooLong   Reason = "too long"
	TooShort  Reason = "too short"
	LinkType  Reason = "not Ethernet"
	Interface Reason = "of an unknown interface"
	Damaged   Reason = "damaged"
)

// Left is a packet that was left out.
type Left struct {
	Packet int    `json:"packet"`
	Reason Reason `json:"reason"`
	Detail string `json:"detail"`
}

// Capture is the content of a file.
type Capture struct {
	Packets []Packet
	Left    []Left
	Notes   []string // what is odd about packets that were kept
	Damage  error    // why reading ended before the file's end; nil if it did not
}

// Limits bounds the length of frames in bytes. Zero is no bound.
type Limits struct{ Min, Max int }

// maxFile bounds the bytes of a capture, unpacked: packets are kept in memory.
const maxFile = 4 << 30

// Read reads a capture whole. It fails only if nothing in the file can be
// replayed: if it is no capture, or has a link type other than Ethernet.
func Read(r io.Reader, limits Limits) (*Capture, error) {
	data, err := slurp(r)
	if err != nil {
		return nil, err
	}
	var packed error
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		data, packed = slurp(z)
		if packed != nil && len(data) == 0 {
			return nil, fmt.Errorf("gzip: %w", packed)
		}
	}
	c, err := parse(data, limits)
	if err == nil && packed != nil {
		c.Damage = errors.Join(c.Damage, fmt.Errorf("gzip: %w: the compressed file is cut or damaged", packed))
	}
	return c, err
}

// slurp returns what it read even if it fails.
func slurp(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err == nil && len(data) > maxFile {
		return nil, fmt.Errorf("more than %d GiB; split the capture, for example with editcap -c", maxFile>>30)
	}
	return data, err
}

// parse chooses the format by the first bytes.
func parse(data []byte, limits Limits) (*Capture, error) {
	p := &parser{data: data, limits: limits}
	switch {
	case len(data) == 0:
		return nil, errors.New("not a capture: the file is empty")
	case len(data) < 4:
		return nil, fmt.Errorf("not a capture: %d bytes", len(data))
	case bytes.HasPrefix(data, ngMagic):
		if err := p.ng(); err != nil {
			return nil, fmt.Errorf("pcapng header: %w", err)
		}
		return &p.out, nil
	}
	for _, o := range others {
		if bytes.HasPrefix(data, []byte(o.magic)) {
			return nil, fmt.Errorf("not a pcap or pcapng capture but %s", o.cure)
		}
	}
	if err := p.pcap(); err != nil {
		return nil, fmt.Errorf("pcap header: %w", err)
	}
	return &p.out, nil
}

// others are formats that captures are often kept in, and the command to convert them.
var others = []struct{ magic, cure string }{
	{"\x28\xb5\x2f\xfd", "a zstd archive; unpack it with zstd -d"},
	{"\xfd7zXZ\x00", "an xz archive; unpack it with xz -d"},
	{"BZh", "a bzip2 archive; unpack it with bzip2 -d"},
	{"\x04\x22\x4d\x18", "an lz4 archive; unpack it with lz4 -d"},
	{"PK\x03\x04", "a zip archive; unpack it with unzip"},
	{"snoop\x00", "a snoop capture; convert it with editcap -F pcapng IN OUT.pcapng"},
}

// parser walks over the bytes of a capture.
type parser struct {
	data   []byte
	limits Limits
	number int // of the current packet
	out    Capture
}

// record is a packet as its header describes it.
type record struct {
	captured, wire uint64
	data           []byte
}

// keep checks a packet whose bytes are complete, and keeps it or leaves it out.
func (p *parser) keep(r *record, at func() time.Time) {
	n := len(r.data)
	switch {
	case r.wire < r.captured:
		p.leave(Longer, "%d bytes captured of %d on the wire", r.captured, r.wire)
	case r.wire > r.captured:
		p.leave(Cut, "only %d of its %d bytes were captured; capture whole packets (tcpdump -s 0)", r.captured, r.wire)
	case p.limits.Max > 0 && n > p.limits.Max:
		p.leave(TooLong, "%d bytes, and the card's buffers take %d; capture with segmentation offload switched off (ethtool -K DEV gro off lro off tso off gso off)",
			n, p.limits.Max)
	case n < p.limits.Min:
		p.leave(TooShort, "%d bytes are no Ethernet frame", n)
	default:
		p.out.Packets = append(p.out.Packets, Packet{p.number, r.data, at()})
	}
}

// leave leaves the current packet out.
func (p *parser) leave(why Reason, format string, args ...any) {
	p.out.Left = append(p.out.Left, Left{p.number, why, fmt.Sprintf(format, args...)})
}

// damage ends reading at off. If packet is set, the damage is in the current
// packet, which is left out.
func (p *parser) damage(packet bool, off int, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if packet {
		p.leave(Damaged, "%s", what)
		what = fmt.Sprintf("packet %d: %s", p.number, what)
	}
	p.out.Damage = fmt.Errorf("%s; the last %d bytes of the capture, from byte %d, are not read", what, len(p.data)-off, off)
}

func (p *parser) note(format string, args ...any) {
	p.out.Notes = append(p.out.Notes, fmt.Sprintf(format, args...))
}

// Seconds since 1970 of the years 1 to 9999, which dates are written in.
const (
	firstSecond = -62135596800
	lastSecond  = 253402300799
)

// at returns the time of the current packet. A time outside the years 1 to 9999 is dropped
// with a note.
func (p *parser) at(seconds, offset, nanos int64) time.Time {
	sum := seconds + offset
	if overflow := offset > 0 && sum < seconds || offset < 0 && sum > seconds; overflow || sum <= firstSecond || sum > lastSecond {
		p.note("packet %d: its time, %d seconds since 1970 and an offset of %d, is outside the years 1 to 9999 and is dropped", p.number, seconds, offset)
		return time.Time{}
	}
	return time.Unix(sum, nanos).UTC()
}

// Count says how many packets were left out for each reason, in the order of
// first appearance; "" if none was.
func (c *Capture) Count() string {
	var order []Reason
	count := map[Reason]int{}
	for _, l := range c.Left {
		if count[l.Reason] == 0 {
			order = append(order, l.Reason)
		}
		count[l.Reason]++
	}
	var parts []string
	for _, r := range order {
		parts = append(parts, fmt.Sprintf("%d %s", count[r], r))
	}
	return strings.Join(parts, ", ")
}
