package interp

import (
	"bytes"
	"cmp"
	"encoding/binary"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// receive sets the fields of the context as the kernel's receive path and the tc
// hook at ingress do: wire_len has no link header, a VLAN tag stays in the packet.
func (m *Machine) receive(in *Input) {
	from := cmp.Or(in.Ifindex, helper.DefaultIfindex)
	m.setCtx("ingress_ifindex", from)
	m.setCtx("ifindex", from)
	m.setCtx("egress_ifindex", cmp.Or(in.Egress, from))
	m.setCtx("rx_queue_index", in.RxQueue)
	if len(in.Packet) < ethLen {
		return
	}
	if in.Ctx == nil {
		m.setCtx("wire_len", uint32(len(in.Packet)-ethLen))
	}
	m.setCtx("pkt_type", packetType(in.Packet))
	m.setCtx("protocol", uint32(protocol(in.Packet)))
}

// Values of pkt_type, include/uapi/linux/if_packet.h.
const (
	packetHost = iota
	packetBroadcast
	packetMulticast
)

// packetType is eth_type_trans's of an interface to which all unicast frames are
// addressed.
func packetType(b []byte) uint32 {
	switch {
	case b[0]&1 == 0:
		return packetHost
	case bytes.Equal(b[:6], []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}):
		return packetBroadcast
	}
	return packetMulticast
}

// protocol is eth_type_trans's, in network order: the EtherType, or for frames with
// a length in its place ETH_P_802_3 (Novell) or ETH_P_802_2.
func protocol(b []byte) uint16 {
	at := b[ethLen-2:]
	switch {
	case at[0] >= 0x06:
	case len(at) >= 4 && at[2] == 0xff && at[3] == 0xff:
		at = []byte{0x00, 0x01}
	default:
		at = []byte{0x00, 0x04}
	}
	return binary.LittleEndian.Uint16(at)
}
