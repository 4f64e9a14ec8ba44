package difftest

import (
	"encoding/binary"
	"math/rand/v2"
)

// Traffic returns the packets for the corpus' programs: the protocols that samples
// parse, well formed and truncated, and noise.
func Traffic() [][]byte {
	rng := rand.New(rand.NewPCG(6, 12))
	payload := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		return b
	}
	udp := func(src, dst uint16, data []byte) []byte {
		return append(be16(src, dst, uint16(8+len(data)), 0), data...)
	}
	tcp := func(src, dst uint16, flags byte, data []byte) []byte {
		h := append(be16(src, dst), be32(1000, 2000)...)
		h = append(h, 0x50, flags, 0x20, 0, 0, 0, 0, 0)
		return append(h, data...)
	}
	icmp := append([]byte{8, 0, 0, 0, 0, 1, 0, 1}, payload(56)...)
	pings := append([]byte{128, 0, 0, 0, 0, 1, 0, 1}, payload(56)...)
	arp := append(be16(1, 0x0800), append([]byte{6, 4, 0, 1}, payload(20)...)...)
	inner := ip4(4, udp(53, 5353, payload(20)), 17)
	packets := [][]byte{
		ether(0x0800, ip4(1, tcp(40000, 80, 0x02, nil), 6)),           // SYN
		ether(0x0800, ip4(2, tcp(40000, 443, 0x18, payload(200)), 6)), // data
		ether(0x0800, ip4(3, tcp(40000, 8080, 0x11, payload(4)), 6)),  // FIN
		ether(0x0800, ip4(1, udp(1234, 53, payload(30)), 17)),         // DNS query
		ether(0x0800, ip4(2, udp(53, 1234, payload(600)), 17)),        // DNS answer
		ether(0x0800, ip4(5, udp(9, 9, payload(18)), 17)),             // pktgen's port
		ether(0x0800, ip4(6, udp(7777, 6081, payload(64)), 17)),       // Geneve
		ether(0x0800, ip4(1, icmp, 1)),                                // echo request
		ether(0x0800, ip4(7, inner, 4)),                               // IP in IP
		ether(0x0800, ip4(7, payload(40), 47)),                        // GRE
		ether(0x86dd, ip6(1, tcp(40000, 80, 0x02, nil), 6)),           // IPv6 SYN
		ether(0x86dd, ip6(2, udp(1234, 53, payload(30)), 17)),         // IPv6 DNS
		ether(0x86dd, ip6(3, pings, 58)),                              // ICMPv6
		ether(0x86dd, ip6(4, inner, 4)),                               // IPv4 in IPv6
		ether(0x8100, append(be16(5, 0x0800), ip4(1, udp(1, 2, payload(26)), 17)...)),
		ether(0x88a8, append(be16(7, 0x8100, 9, 0x86dd), ip6(1, tcp(5, 6, 0x10, payload(9)), 6)...)),
		ether(0x0806, arp),
		ether(0x8847, append([]byte{0, 1, 0x11, 64}, ip4(1, icmp, 1)...)), // MPLS
		ether(0x0800, payload(14)),                                        // not even an IP header
		ether(0x86dd, payload(30)),
		ether(0x0800, ip4(1, udp(1, 2, payload(1400)), 17)),
	}
	for _, n := range []int{14, 15, 20, 33, 34, 41, 53, 60} { // cut short
		packets = append(packets, packets[1][:n])
	}
	for _, n := range []int{64, 100, 1000} { // noise
		packets = append(packets, payload(n))
	}
	return packets
}

func be16(v ...uint16) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint16(b, x)
	}
	return b
}

func be32(v ...uint32) (b []byte) {
	for _, x := range v {
		b = binary.BigEndian.AppendUint32(b, x)
	}
	return b
}

func ether(typ uint16, data []byte) []byte {
	b := append([]byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2}, be16(typ)...)
	return append(b, data...)
}

// ip4 returns a header from 10.0.0.host to 10.0.1.1 with its checksum.
func ip4(host byte, data []byte, proto byte) []byte {
	h := append([]byte{0x45, 0}, be16(uint16(20+len(data)), 1, 0)...)
	h = append(h, 64, proto, 0, 0, 10, 0, 0, host, 10, 0, 1, 1)
	sum := uint32(0)
	for i := 0; i < len(h); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(h[i:]))
	}
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(h[10:], ^uint16(sum&0xffff+sum>>16))
	return append(h, data...)
}

// ip6 returns a header from 2001:db8::host to 2001:db8:1::1.
func ip6(host byte, data []byte, next byte) []byte {
	h := append([]byte{0x60, 0, 0, 0}, be16(uint16(len(data)))...)
	h = append(h, next, 64)
	h = append(h, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host)
	h = append(h, 0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	return append(h, data...)
}
