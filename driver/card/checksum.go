package card

import "encoding/binary"

// This file implements checksum offload: the card fills in the checksums that the host
// left to it, and reports the result of checking those of arriving frames.

const (
	ethHeader = 14
	vlanTag   = 4
	ipHeader  = 20
	ip6Header = 40

	protoTCP = 6
	protoUDP = 17
)

// Flags of a transmit descriptor.
const (
	txCsum    = 1 << 7
	txIP4Csum = 1 << 6
	txTCPCsum = 1 << 5
	txUDPCsum = 1 << 4
)

// Flags of a received packet: the checksum was checked and, one bit below, it was
// right.
const (
	rxIP4Csum = 1 << 6
	rxTCPCsum = 1 << 4
	rxUDPCsum = 1 << 2
)

// layers holds the positions of a frame's headers.
type layers struct {
	ip4    []byte // IPv4 header, nil for IPv6
	proto  byte
	l4     []byte // transport header and data; nil for fragments
	pseudo uint32 // sum of the pseudo header
}

// dissect finds the headers of an IP packet. ok is false if the frame is not IP or the
// lengths in its headers do not fit it.
func dissect(frame []byte) (l layers, ok bool) {
	if len(frame) < ethHeader {
		return l, false
	}
	at, typ := ethHeader, binary.BigEndian.Uint16(frame[12:])
	for range 2 {
		if (typ == 0x8100 || typ == 0x88a8) && len(frame) >= at+vlanTag {
			typ = binary.BigEndian.Uint16(frame[at+2:])
			at += vlanTag
		}
	}
	p := frame[at:]
	switch {
	case typ == 0x0800 && len(p) >= ipHeader && p[0]>>4 == 4:
		n, total := int(p[0]&15)*4, int(binary.BigEndian.Uint16(p[2:]))
		if n < ipHeader || total < n || total > len(p) {
			return l, false
		}
		l.ip4, l.proto = p[:n], p[9]
		if binary.BigEndian.Uint16(p[6:])&0x3fff == 0 {
			l.l4 = p[n:total]
		}
		l.pseudo = sum(p[12:20], 0)
	case typ == 0x86dd && len(p) >= ip6Header && p[0]>>4 == 6:
		total := ip6Header + int(binary.BigEndian.Uint16(p[4:]))
		if total > len(p) {
			return l, false
		}
		l.proto, l.l4 = p[6], p[ip6Header:total]
		l.pseudo = sum(p[8:40], 0)
	default:
		return l, false
	}
	l.pseudo += uint32(l.proto) + uint32(len(l.l4))
	return l, true
}

// sum adds the big-endian 16-bit words of b to s.
func sum(b []byte, s uint32) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

// fold folds a sum to 16 bits and complements it.
func fold(s uint32) uint16 {
	for s>>16 != 0 {
		s = s&0xffff + s>>16
	}
	return ^uint16(s)
}

// checksumAt returns the offset of a transport protocol's checksum and the minimum
// length of its header.
func checksumAt(proto byte) (at, least int) {
	switch proto {
	case protoTCP:
		return 16, 20
	case protoUDP:
		return 6, 8
	}
	return 0, 0
}

// fillChecksums fills in the checksums that a transmit descriptor's flags request.
func fillChecksums(frame []byte, flags byte) {
	l, ok := dissect(frame)
	if flags&txCsum == 0 || !ok {
		return
	}
	if flags&txIP4Csum != 0 && l.ip4 != nil {
		l.ip4[10], l.ip4[11] = 0, 0
		binary.BigEndian.PutUint16(l.ip4[10:], fold(sum(l.ip4, 0)))
	}
	at, least := checksumAt(l.proto)
	asked := l.proto == protoTCP && flags&txTCPCsum != 0 || l.proto == protoUDP && flags&txUDPCsum != 0
	if !asked || len(l.l4) < least {
		return
	}
	l.l4[at], l.l4[at+1] = 0, 0
	c := fold(sum(l.l4, l.pseudo))
	if c == 0 && l.proto == protoUDP {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(l.l4[at:], c)
}

// checkChecksums returns the flags of a received packet.
func checkChecksums(frame []byte) (flags uint16) {
	l, ok := dissect(frame)
	if !ok {
		return 0
	}
	found := func(bit uint16, right bool) {
		flags |= bit
		if right {
			flags |= bit >> 1
		}
	}
	if l.ip4 != nil {
		found(rxIP4Csum, fold(sum(l.ip4, 0)) == 0)
	}
	at, least := checksumAt(l.proto)
	if least == 0 || len(l.l4) < least {
		return flags
	}
	right := fold(sum(l.l4, l.pseudo)) == 0
	switch {
	case l.proto == protoTCP:
		found(rxTCPCsum, right)
	case l.l4[at] != 0 || l.l4[at+1] != 0: // UDP may omit its checksum
		found(rxUDPCsum, right)
	}
	return flags
}
