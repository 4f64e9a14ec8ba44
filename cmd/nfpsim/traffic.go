package main

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/nfp/sim"
)

// trafficOptions selects the packets that arrive in a measurement: one packet, a capture,
// or generated flows.
type trafficOptions struct {
	packet, pcap, mix string
	size              string
	imix              bool
	flows             int
	zipf              float64
	seed              uint64
	capture           *packets // of pcap, once read
}

func (o *trafficOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.size, "size", "60", "generated packets have `BYTES` bytes without CRC: a size, a list 60,124,508 or a range 60-1500:240")
	f.BoolVar(&o.imix, "imix", false, "generated packets of 60, 590 and 1514 bytes, 7:4:1")
	f.StringVar(&o.packet, "packet", "", "one packet as `HEX` digits")
	f.StringVar(&o.pcap, "pcap", "", "packets of a pcap or pcapng capture `IN`, over and over")
	f.IntVar(&o.flows, "flows", 1, "`N` flows (addresses and ports) among the generated packets")
	f.Float64Var(&o.zipf, "zipf", 0, "how unequal flows are, `Z`: the k-th comes 1/k^Z times as often as the first; 0 makes them equal")
	f.StringVar(&o.mix, "mix", "udp", "`KINDS` of generated packets and their shares, as udp:70,tcp:20,icmp:5,udp6:3,tcp6:1,vlan:1,arp:1")
	f.Uint64Var(&o.seed, "seed", 1, "`SEED` of all that is random")
}

// traffic returns the traffic of one run of a sweep; size is for generated packets.
func (o *trafficOptions) traffic(cmd *cobra.Command, size int) (*sim.Traffic, error) {
	flags := cmd.Flags()
	given := 0
	for _, name := range []string{"packet", "pcap", "imix", "size"} {
		if flags.Changed(name) {
			given++
		}
	}
	if given > 1 {
		return nil, usagef("%s wants one of --packet, --pcap, --imix and --size", cmd.Name())
	}
	switch {
	case flags.Changed("packet"):
		data, err := parseHex(o.packet)
		if err != nil {
			return nil, usagef("--packet: %w", err)
		}
		if err := checkPacket(data); err != nil {
			return nil, err
		}
		return &sim.Traffic{Packets: [][]byte{data}}, checkFrame(data)
	case flags.Changed("pcap"):
		return o.replayed(cmd)
	}
	return o.generate(size)
}

// replayed is the packets of the capture, which is read once.
func (o *trafficOptions) replayed(cmd *cobra.Command) (*sim.Traffic, error) {
	if o.capture == nil {
		p, err := readCapture(o.pcap, cmd.InOrStdin(), cmd.ErrOrStderr(), shortestFrame)
		if err != nil {
			return nil, err
		}
		if len(p.list) == 0 {
			return nil, fmt.Errorf("%s: no packets in it", o.pcap)
		}
		o.capture = p
	}
	t := &sim.Traffic{}
	for _, p := range o.capture.list {
		t.Packets = append(t.Packets, p.Data)
	}
	return t, nil
}

// missing describes the part of the capture that was not run, as packets.missing does.
func (o *trafficOptions) missing() string {
	if o.capture == nil {
		return ""
	}
	return o.capture.missing()
}

// whole ends a command that has shown its results; see packets.whole.
func (o *trafficOptions) whole(cmd *cobra.Command) error {
	if o.capture == nil {
		return nil
	}
	return o.capture.whole(cmd.ErrOrStderr(), cmd.ErrOrStderr())
}

// shortestFrame is the bytes of an Ethernet header, and so of the shortest frame
// that a port receives.
const shortestFrame = 14

// checkFrame returns an error for a frame that no port receives.
func checkFrame(data []byte) error {
	if len(data) < shortestFrame {
		return fmt.Errorf("%d bytes are no Ethernet frame", len(data))
	}
	return nil
}

// kinds of generated packets, with the bytes their headers take.
var kinds = map[string]int{"udp": 42, "tcp": 54, "icmp": 42, "udp6": 62, "tcp6": 74, "vlan": 46, "arp": 42}

// share is a part of the generated packets.
type share struct {
	kind   string
	weight float64
}

func (o *trafficOptions) shares() ([]share, error) {
	var shares []share
	for _, part := range strings.Split(o.mix, ",") {
		kind, weight, ok := strings.Cut(strings.TrimSpace(part), ":")
		w := 1.0
		if ok {
			var err error
			if w, err = strconv.ParseFloat(weight, 64); err != nil || !(w > 0) || math.IsInf(w, 0) {
				return nil, usagef("--mix: %q: a share is a number above 0", part)
			}
		}
		if _, known := kinds[kind]; !known {
			return nil, usagef("--mix: %q is no kind of packet; there are udp, tcp, icmp, udp6, tcp6, vlan, arp", kind)
		}
		shares = append(shares, share{kind, w})
	}
	return shares, nil
}

// maxFlows keeps generated packets in memory.
const maxFlows = 100_000

// generate generates a packet for each flow, kind and size.
func (o *trafficOptions) generate(size int) (*sim.Traffic, error) {
	shares, err := o.shares()
	if err != nil {
		return nil, err
	}
	switch {
	case o.flows < 1 || o.flows > maxFlows:
		return nil, usagef("--flows is %d, must be 1 to %d", o.flows, maxFlows)
	case !(o.zipf >= 0) || o.zipf > 10:
		return nil, usagef("--zipf is %g, must be 0 to 10", o.zipf)
	}
	sizes := []struct {
		bytes  int
		weight float64
	}{{size, 1}}
	if o.imix {
		sizes = append(sizes[:0], struct {
			bytes  int
			weight float64
		}{60, 7}, struct {
			bytes  int
			weight float64
		}{590, 4}, struct {
			bytes  int
			weight float64
		}{1514, 1})
	}
	t := &sim.Traffic{}
	for flow := range o.flows {
		popular := 1 / math.Pow(float64(flow+1), o.zipf)
		for _, s := range shares {
			for _, z := range sizes {
				if z.bytes > maxPacket {
					return nil, fmt.Errorf("packets of %d bytes are longer than the card's buffers (%d)", z.bytes, maxPacket)
				}
				if z.bytes < 60 {
					return nil, usagef("--size is %d: an Ethernet frame has at least 60 bytes, CRC apart", z.bytes)
				}
				t.Packets = append(t.Packets, frame(s.kind, max(z.bytes, kinds[s.kind]), uint32(flow)))
				t.Weights = append(t.Weights, popular*s.weight*z.weight)
			}
		}
	}
	if len(t.Packets) == 1 {
		t.Weights = nil
	}
	return t, nil
}

// frame is a generated packet. Flow k comes from 10.0.0.1 + k, port 1024 + k.
func frame(kind string, size int, flow uint32) []byte {
	b := make([]byte, size)
	be := binary.BigEndian
	copy(b, []byte{0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1})
	l3 := 14
	port := uint16(1024 + flow%60000)
	ip4 := func(proto byte) int {
		h := b[l3 : l3+20]
		h[0], h[8], h[9] = 0x45, 64, proto
		be.PutUint16(h[2:], uint16(size-l3))
		be.PutUint32(h[12:], 0x0a000001+flow)
		be.PutUint32(h[16:], 0xc0a80001)
		sum := uint32(0)
		for i := 0; i < 20; i += 2 {
			sum += uint32(be.Uint16(h[i:]))
		}
		sum = sum&0xffff + sum>>16
		be.PutUint16(h[10:], ^uint16(sum&0xffff+sum>>16))
		return l3 + 20
	}
	ip6 := func(proto byte) int {
		h := b[l3 : l3+40]
		h[0], h[6], h[7] = 0x60, proto, 64
		be.PutUint16(h[4:], uint16(size-l3-40))
		h[8], h[24], h[39] = 0xfd, 0xfd, 1
		be.PutUint32(h[20:], flow+1)
		return l3 + 40
	}
	udp := func(at int) {
		be.PutUint16(b[at:], port)
		be.PutUint16(b[at+2:], 4242)
		be.PutUint16(b[at+4:], uint16(size-at))
	}
	tcp := func(at int) {
		be.PutUint16(b[at:], port)
		be.PutUint16(b[at+2:], 80)
		b[at+12], b[at+13] = 5<<4, 0x10
	}
	be.PutUint16(b[12:], 0x0800)
	switch kind {
	case "udp":
		udp(ip4(17))
	case "tcp":
		tcp(ip4(6))
	case "icmp":
		b[ip4(1)] = 8
	case "udp6":
		be.PutUint16(b[12:], 0x86dd)
		udp(ip6(17))
	case "tcp6":
		be.PutUint16(b[12:], 0x86dd)
		tcp(ip6(6))
	case "vlan":
		be.PutUint16(b[12:], 0x8100)
		be.PutUint16(b[14:], 7)
		be.PutUint16(b[16:], 0x0800)
		l3 = 18
		udp(ip4(17))
	case "arp":
		be.PutUint16(b[12:], 0x0806)
		copy(b[14:], []byte{0, 1, 8, 0, 6, 4, 0, 1})
		be.PutUint32(b[28:], 0x0a000001+flow)
		be.PutUint32(b[38:], 0xc0a80001)
	}
	return b
}

// series reads a number, a list of numbers, or a range LOW-HIGH:STEP.
func series(flag, s string) ([]float64, error) {
	var out []float64
	for _, part := range strings.Split(s, ",") {
		bounds, step, stepped := strings.Cut(strings.TrimSpace(part), ":")
		low, high, ranged := strings.Cut(bounds, "-")
		if !ranged {
			high = low
		}
		a, err1 := strconv.ParseFloat(low, 64)
		b, err2 := strconv.ParseFloat(high, 64)
		by := 1.0
		var err3 error
		if stepped {
			by, err3 = strconv.ParseFloat(step, 64)
		}
		if err1 != nil || err2 != nil || err3 != nil || !(by > 0) || !(a <= b) || (b-a)/by > 1000 {
			return nil, usagef("--%s: %q is no number, list or range LOW-HIGH:STEP", flag, part)
		}
		for i := 0; a+float64(i)*by <= b+1e-9; i++ {
			out = append(out, a+float64(i)*by)
		}
	}
	return out, nil
}
