package capture

import (
	"encoding/binary"
	"math/rand"
)

// built is a capture under construction, with the end offset of each packet's bytes.
type built struct {
	order binary.AppendByteOrder
	bytes []byte
	ends  []int // of each packet's record or block
	data  [][]byte
}

func (b *built) u16(v ...uint16) *built {
	for _, v := range v {
		b.bytes = b.order.AppendUint16(b.bytes, v)
	}
	return b
}

func (b *built) u32(v ...uint32) *built {
	for _, v := range v {
		b.bytes = b.order.AppendUint32(b.bytes, v)
	}
	return b
}

// pcapFile begins a pcap file.
func pcapFile(order binary.AppendByteOrder, magic uint32, minor uint16) *built {
	b := &built{order: order}
	return b.u32(magic).u16(2, minor).u32(0, 0, 65535, 1)
}

// record adds a pcap record with the given lengths.
func (b *built) record(magic, seconds, fraction, captured, wire uint32, data []byte) *built {
	b.u32(seconds, fraction, captured, wire)
	if magic == magicModified {
		b.u32(2).u16(0x0800, 0)
	}
	b.bytes = append(b.bytes, data...)
	return b.end(data)
}

func (b *built) end(data []byte) *built {
	b.ends, b.data = append(b.ends, len(b.bytes)), append(b.data, data)
	return b
}

// block adds a pcapng block.
func (b *built) block(kind uint32, fill func(*built)) *built {
	inner := &built{order: b.order}
	fill(inner)
	for len(inner.bytes)%4 != 0 {
		inner.bytes = append(inner.bytes, 0)
	}
	total := uint32(len(inner.bytes) + 12)
	b.u32(kind, total)
	b.bytes = append(b.bytes, inner.bytes...)
	return b.u32(total)
}

// section begins a pcapng section.
func (b *built) section() *built {
	return b.block(blockSection, func(i *built) { i.u32(orderMagic).u16(1, 0).u32(0xffffffff, 0xffffffff) })
}

// describe adds an interface.
func (b *built) describe(link uint16, options ...byte) *built {
	return b.block(blockInterface, func(i *built) {
		i.u16(link, 0).u32(65535)
		i.bytes = append(i.bytes, options...)
	})
}

// enhanced adds a packet of an interface.
func (b *built) enhanced(id uint32, units uint64, captured, wire uint32, data []byte) *built {
	b.block(blockEnhanced, func(i *built) {
		i.u32(id, uint32(units>>32), uint32(units), captured, wire)
		i.bytes = append(i.bytes, data...)
	})
	return b.end(data)
}

// old adds an obsolete packet block.
func (b *built) old(id uint16, units uint64, data []byte) *built {
	b.block(blockPacket, func(i *built) {
		i.u16(id, 0).u32(uint32(units>>32), uint32(units), uint32(len(data)), uint32(len(data)))
		i.bytes = append(i.bytes, data...)
	})
	return b.end(data)
}

// simple adds a packet without time.
func (b *built) simple(data []byte) *built {
	b.block(blockSimple, func(i *built) {
		i.u32(uint32(len(data)))
		i.bytes = append(i.bytes, data...)
	})
	return b.end(data)
}

// frames are packets of the given sizes with random bytes.
func frames(seed int64, sizes ...int) [][]byte {
	rng := rand.New(rand.NewSource(seed))
	var all [][]byte
	for _, n := range sizes {
		f := make([]byte, n)
		rng.Read(f)
		copy(f[min(12, n):], []byte{0x08, 0x00})
		all = append(all, f)
	}
	return all
}

// good are captures without fault, by name.
func good() map[string]*built {
	all := map[string]*built{}
	data := frames(1, 60, 61, 100, 1514, 64, 77)
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for name, magic := range map[string]uint32{"micro": magicMicro, "nano": magicNano, "modified": magicModified} {
			b := pcapFile(order, magic, 4)
			for i, d := range data {
				b.record(magic, 1700000000+uint32(i), uint32(123456*i), uint32(len(d)), uint32(len(d)), d)
			}
			all["pcap "+name+" "+order.String()] = b
		}
		b := (&built{order: order}).section().describe(1)
		b.describe(1, options(order, optResolution, 9)...)
		for i, d := range data {
			switch i {
			case 2:
				b.old(1, 1_700_000_002_000_000_001, d)
			case 4:
				b.block(blockNames, func(i *built) { i.u32(0) }).block(blockStats, func(i *built) { i.u32(0, 0, 0) })
				b.section().describe(1)
				b.enhanced(0, 1_700_000_004_000_001, uint32(len(d)), uint32(len(d)), d)
			default:
				b.enhanced(uint32(i&1)*uint32(min(i&4^4, 1)), uint64(1_700_000_000_000_000+i), uint32(len(d)), uint32(len(d)), d)
			}
		}
		all["pcapng "+order.String()] = b
	}
	return all
}

// options returns a list of one option with a byte as its value, and its end.
func options(order binary.AppendByteOrder, code uint16, value ...byte) []byte {
	b := &built{order: order}
	b.u16(code, uint16(len(value)))
	b.bytes = append(b.bytes, value...)
	for len(b.bytes)%4 != 0 {
		b.bytes = append(b.bytes, 0)
	}
	return b.u16(optEnd, 0).bytes
}
