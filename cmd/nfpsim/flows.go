package main

import "encoding/binary"

// flowsOf counts the flows among packets: addresses, protocol and ports of IP, or
// addresses and EtherType of the frame.
func flowsOf(packets [][]byte) int {
	seen := map[string]bool{}
	for _, p := range packets {
		seen[flowOf(p)] = true
	}
	return len(seen)
}

// flowOf identifies the flow of a frame.
func flowOf(p []byte) string {
	const addresses = 12 // bytes of the frame's
	at := addresses
	tag := func() bool {
		if len(p) < at+4 {
			return false
		}
		t := binary.BigEndian.Uint16(p[at:])
		return t == 0x8100 || t == 0x88a8
	}
	for tag() {
		at += 4
	}
	if len(p) < at+2 {
		return string(p)
	}
	kind, ip := binary.BigEndian.Uint16(p[at:]), p[at+2:]
	switch {
	case kind == 0x0800 && len(ip) >= 20:
		return "4" + string(ip[12:20]) + ports(ip[9], ip[min(len(ip), 4*int(ip[0]&15)):])
	case kind == 0x86dd && len(ip) >= 40:
		return "6" + string(ip[8:40]) + ports(ip[6], ip[40:])
	}
	return string(p[:addresses]) + string(p[at:at+2])
}

// ports returns the protocol, and the ports if it is TCP, UDP or SCTP.
func ports(protocol byte, rest []byte) string {
	if (protocol == 6 || protocol == 17 || protocol == 132) && len(rest) >= 4 {
		return string([]byte{protocol}) + string(rest[:4])
	}
	return string([]byte{protocol})
}
