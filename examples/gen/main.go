// Command gen writes the captures that the examples run on, and the map contents
// that are too long to write by hand. examples/Makefile runs it. Its output is committed
// and is the same on every run.
//
// The tests of this package check that the committed files are current. They also run every
// example on its capture, in the reference interpreter and, if bpf(2) is permitted, in
// the kernel.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

func main() {
	dir := flag.String("dir", ".", "write into this directory")
	flag.Parse()
	if err := write(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func write(dir string) error {
	for name, packets := range map[string]func() ([][]byte, error){
		"mixed.pcap": mixed, "attack.pcap": attack, "web.pcap": web, "sensors.pcap": sensors,
	} {
		list, err := packets()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		data, err := capture(list)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	data, err := slots()
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "slots.json"), data, 0o644)
}

// capture writes a pcap with a packet every 100 µs.
func capture(packets [][]byte) ([]byte, error) {
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		return nil, err
	}
	at := time.Unix(1700000000, 0).UTC()
	for _, p := range packets {
		info := gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(p), Length: len(p)}
		if err := w.WritePacket(info, p); err != nil {
			return nil, err
		}
		at = at.Add(100 * time.Microsecond)
	}
	return b.Bytes(), nil
}

// Addresses are those reserved for documentation (RFC 5737, RFC 3849).
const (
	server   = "203.0.113.10"
	client   = "192.0.2.1"
	blocked  = "198.51.100.7"  // in blocked.json
	server6  = "2001:db8::10"  //
	client6  = "2001:db8:1::1" //
	blocked6 = "2001:db8:bad::7"
)

func mac(n byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, n} }

func ether(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: mac(1), DstMAC: mac(2), EthernetType: t}
}

func ip4(src, dst string, proto layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 63, Protocol: proto, SrcIP: net.ParseIP(src).To4(), DstIP: net.ParseIP(dst).To4()}
}

func ip6(src, dst string, proto layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 63, NextHeader: proto, SrcIP: net.ParseIP(src), DstIP: net.ParseIP(dst)}
}

// build serialises layers, with lengths and checksums filled in, and pads to
// Ethernet's 60 bytes.
func build(parts ...gopacket.SerializableLayer) ([]byte, error) {
	var network gopacket.NetworkLayer
	for _, p := range parts {
		switch l := p.(type) {
		case *layers.IPv4:
			network = l
		case *layers.IPv6:
			network = l
		case *layers.TCP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				return nil, err
			}
		case *layers.UDP:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				return nil, err
			}
		case *layers.ICMPv6:
			if err := l.SetNetworkLayerForChecksum(network); err != nil {
				return nil, err
			}
		}
	}
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...); err != nil {
		return nil, err
	}
	out := bytes.Clone(b.Bytes())
	for len(out) < 60 {
		out = append(out, 0)
	}
	return out, nil
}

func tcp4(src, dst string, sport, dport uint16, syn bool, size int) ([]byte, error) {
	return build(ether(layers.EthernetTypeIPv4), ip4(src, dst, layers.IPProtocolTCP), segment(sport, dport, syn), filler(size))
}

func segment(sport, dport uint16, syn bool) *layers.TCP {
	return &layers.TCP{SrcPort: layers.TCPPort(sport), DstPort: layers.TCPPort(dport), Seq: 1000, Window: 65535, SYN: syn, ACK: !syn}
}

func udp4(src, dst string, sport, dport uint16, size int) ([]byte, error) {
	return build(ether(layers.EthernetTypeIPv4), ip4(src, dst, layers.IPProtocolUDP),
		&layers.UDP{SrcPort: layers.UDPPort(sport), DstPort: layers.UDPPort(dport)}, filler(size))
}

// filler returns a payload of bytes that count up.
func filler(n int) gopacket.Payload {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// A list collects packets until the first error.
type list struct {
	packets [][]byte
	err     error
}

func (l *list) add(p []byte, err error) {
	if l.err == nil {
		l.packets, l.err = append(l.packets, p), err
	}
}

// mixed returns packets of each kind that the examples parse.
func mixed() ([][]byte, error) {
	var l list
	for i, src := range []string{client, blocked, "192.0.2.2", "198.51.100.8"} {
		sport := uint16(40000 + i)
		l.add(tcp4(src, server, sport, 443, true, 0))
		l.add(tcp4(src, server, sport, 443, false, 1200))
		l.add(udp4(src, server, sport, 53, 40))
		l.add(build(ether(layers.EthernetTypeIPv4), ip4(src, server, layers.IPProtocolICMPv4),
			&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: 1, Seq: uint16(i)}, filler(56)))
	}
	for _, src := range []string{client6, blocked6} {
		l.add(build(ether(layers.EthernetTypeIPv6), ip6(src, server6, layers.IPProtocolTCP), segment(40000, 443, true), filler(0)))
		l.add(build(ether(layers.EthernetTypeIPv6), ip6(src, server6, layers.IPProtocolUDP),
			&layers.UDP{SrcPort: 40000, DstPort: 53}, filler(40)))
		l.add(build(ether(layers.EthernetTypeIPv6), ip6(src, server6, layers.IPProtocolICMPv6),
			&layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}, filler(12)))
	}
	for _, src := range []string{client, blocked} {
		l.add(build(ether(layers.EthernetTypeDot1Q), &layers.Dot1Q{VLANIdentifier: 10, Type: layers.EthernetTypeIPv4},
			ip4(src, server, layers.IPProtocolUDP), &layers.UDP{SrcPort: 40000, DstPort: 53}, filler(20)))
		l.add(build(ether(layers.EthernetTypeQinQ), &layers.Dot1Q{VLANIdentifier: 20, Type: layers.EthernetTypeDot1Q},
			&layers.Dot1Q{VLANIdentifier: 10, Type: layers.EthernetTypeIPv4},
			ip4(src, server, layers.IPProtocolTCP), segment(40000, 80, false), filler(100)))
	}
	l.add(arp())
	l.add(build(ether(layers.EthernetTypeLinkLayerDiscovery), filler(46)))
	l.add(options())
	l.add(fragment(client, server, 185, 512))
	l.add(udp4(client, server, 40000, 9, 1472)) // the largest frame of an MTU of 1500
	whole, err := tcp4(client, server, 40000, 443, false, 0)
	for _, n := range []int{14, 20, 33, 34, 37, 38, 53} { // cut within each header
		l.add(whole[:min(n, len(whole))], err)
	}
	return l.packets, l.err
}

func arp() ([]byte, error) {
	return build(ether(layers.EthernetTypeARP), &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: layers.ARPRequest, SourceHwAddress: mac(1), SourceProtAddress: net.ParseIP(client).To4(),
		DstHwAddress: make([]byte, 6), DstProtAddress: net.ParseIP(server).To4(),
	})
}

// options returns a TCP segment after an IPv4 header of 24 bytes.
func options() ([]byte, error) {
	ip := ip4(client, server, layers.IPProtocolTCP)
	ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}} // router alert
	return build(ether(layers.EthernetTypeIPv4), ip, segment(40000, 443, true), filler(0))
}

// fragment returns a fragment of a UDP datagram after the first; its offset is in
// units of 8 bytes.
func fragment(src, dst string, offset uint16, size int) ([]byte, error) {
	ip := ip4(src, dst, layers.IPProtocolUDP)
	ip.Id, ip.FragOffset = 7, offset
	return build(ether(layers.EthernetTypeIPv4), ip, filler(size))
}

// attack returns a SYN flood from one source and large answers from reflectors, mixed
// with legitimate traffic.
func attack() ([][]byte, error) {
	var l list
	for i := range 40 {
		l.add(tcp4(blocked, server, uint16(1024+i), 80, true, 0))
		if i%4 == 0 {
			l.add(tcp4(client, server, uint16(50000+i), 80, true, 0))
			l.add(tcp4(client, server, uint16(50000+i), 80, false, 300))
		}
		if i%5 == 0 {
			l.add(udp4("198.51.100.53", server, 53, 33000, 1400))  // DNS, reflected
			l.add(udp4("198.51.100.123", server, 123, 33000, 440)) // NTP monlist
			l.add(fragment("198.51.100.53", server, 176, 1000))
			l.add(udp4("192.0.2.53", server, 53, 33001, 120)) // an honest answer
			l.add(udp4("192.0.2.123", server, 123, 123, 48))
		}
	}
	return l.packets, l.err
}

// web returns connections of many clients to the service of services.json.
func web() ([][]byte, error) {
	var l list
	for i := range 48 {
		src := fmt.Sprintf("192.0.2.%d", 1+i%23)
		sport := uint16(30000 + 7*i)
		l.add(tcp4(src, server, sport, 80, true, 0))
		l.add(tcp4(src, server, sport, 80, false, 64+i))
	}
	l.add(udp4(client, server, 40000, 80, 100)) // no service of UDP
	l.add(tcp4(client, "203.0.113.11", 40000, 80, true, 0))
	l.add(fragment(client, server, 0, 600))
	l.add(arp())
	return l.packets, l.err
}

// sensors returns packets for average.bpf: readings of sensor 5 rise from below zero,
// those of sensor 6 stay below. Other packets are not readings.
func sensors() ([][]byte, error) {
	var l list
	for i := range 20 {
		l.add(reading("192.0.2.5", 7000, int16(100*i-900)))
		l.add(reading("192.0.2.6", 7000, -300))
		l.add(reading("192.0.2.7", 7001, 1))
	}
	return l.packets, l.err
}

func reading(src string, port layers.UDPPort, v int16) ([]byte, error) {
	return build(ether(layers.EthernetTypeIPv4), ip4(src, server, layers.IPProtocolUDP),
		&layers.UDP{SrcPort: 6999, DstPort: port}, gopacket.Payload(binary.BigEndian.AppendUint16(nil, uint16(v))))
}

// slots spreads service 0's 256 slots over three backends: shares of 3, 3 and 2
// in 8. The values are struct slot of l4lb.c.
func slots() ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("[\n")
	for i := range uint32(256) {
		backend := []uint32{1, 2, 3, 1, 2, 3, 1, 2}[i%8]
		var v bytes.Buffer
		for _, f := range []any{
			backend, [4]byte{10, 0, 0, byte(backend)}, [6]byte(mac(0x10)), [6]byte(mac(2)), [4]byte(net.ParseIP(server).To4()),
		} {
			if err := binary.Write(&v, binary.LittleEndian, f); err != nil {
				return nil, err
			}
		}
		line, err := json.Marshal(struct {
			Key   uint32 `json:"key"`
			Value string `json:"value"`
		}{i, fmt.Sprintf("%x", v.Bytes())})
		if err != nil {
			return nil, err
		}
		b.WriteString("  ")
		b.Write(line)
		if i < 255 {
			b.WriteByte(',')
		}
		b.WriteByte('\n')
	}
	b.WriteString("]\n")
	return b.Bytes(), nil
}
