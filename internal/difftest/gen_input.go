package difftest

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
)

// contents draws the contents of maps before the first packet. Keys are from
// the small set that generated programs look up.
func (g *gen) contents() Contents {
	all := Contents{}
	for _, name := range g.names {
		spec := g.maps[name]
		if spec.Type == ebpf.DevMap && g.chance(2) {
			all[name] = []Entry{{[]byte{byte(g.n(4)), 0, 0, 0}, []byte{1, 0, 0, 0}}} // the loopback device
		}
		if !hasValues(spec.Type) || name == outMap {
			continue
		}
		var entries []Entry
		seen := map[string]bool{}
		for range g.n(int(min(spec.MaxEntries, 6)) + 1) {
			key := g.keyBytes(spec)
			if seen[string(key)] {
				continue
			}
			seen[string(key)] = true
			entries = append(entries, Entry{key, g.bytes(int(spec.ValueSize))})
		}
		if len(entries) > 0 {
			all[name] = sorted(spec, entries)
		}
	}
	return all
}

// keyBytes draws a key of the kind that body.key writes.
func (g *gen) keyBytes(spec *ebpf.MapSpec) []byte {
	key := make([]byte, spec.KeySize)
	switch {
	case isArray(spec.Type):
		binary.LittleEndian.PutUint32(key, uint32(g.n(int(spec.MaxEntries))))
	case spec.Type == ebpf.LPMTrie:
		binary.LittleEndian.PutUint32(key, uint32(g.n(33)))
		key[4] = byte(g.n(4))
	case spec.KeySize == 13:
		key[0], key[12] = byte(g.n(8)), byte(g.n(2))
		copy(key[8:], []byte{4, 3, 2, 1})
	case spec.KeySize == 16:
		key[8] = byte(g.n(8))
	default:
		key[0] = byte(g.n(8))
	}
	return key
}

// bytes draws n bytes: noise, small numbers, or all ones.
func (g *gen) bytes(n int) []byte {
	out := make([]byte, n)
	style := g.n(4)
	for i := range out {
		switch style {
		case 0:
			out[i] = 0xff
		case 1:
			if i%4 == 0 {
				out[i] = byte(g.n(8))
			}
		default:
			out[i] = byte(g.n(256))
		}
	}
	return out
}

// packets draws packets from the shortest frame up. Most are short, since programs
// never read most bytes.
func (g *gen) packets() [][]byte {
	least := kernelMinPacket
	if g.tc {
		least = 54 // the kernel refuses an skb that is too short for the IP header of its EtherType
	}
	var all [][]byte
	for range g.between(3, 5) {
		n := g.between(60, 160)
		switch g.n(8) {
		case 0:
			n = least
		case 1, 2:
			n = g.between(least, 64)
		case 3:
			n = g.between(160, 1500)
		}
		p := g.bytes(n)
		if g.chance(2) {
			ipv4(p)
		}
		all = append(all, p)
	}
	return all
}

// ipv4 writes headers of TCP or UDP over IPv4 into the packet, as far as they fit.
func ipv4(p []byte) {
	h := []byte{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, byte(len(p) - 14), 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 0x1f, 0x90, 0, 80}
	if len(p)%2 == 1 {
		h[23] = 17
	}
	copy(p, h)
}
