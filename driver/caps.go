package driver

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// This file encodes and parses the capabilities that a firmware presents to the host:
// a sequence of type, length, value in little-endian 32-bit words, in symbol
// _abi_bpf_capabilities.

// Capability types, drivers/net/ethernet/netronome/nfp/bpf/fw.h.
const (
	capFunc       = 1
	capAdjustHead = 2
	capMaps       = 3
	capRandom     = 4
	capQueue      = 5
	capAdjustTail = 6
	capABI        = 7
	capMultiEnt   = 8
)

// Caps is the set of capabilities that the Linux driver reads from a firmware.
type Caps struct {
	ABI        int           // 2 or 3; 0 turns offload off
	Funcs      map[int32]int // helper id -> code-store address, for the ids that the driver knows
	AdjustHead *firmware.AdjustHead
	NoMeta     bool // the packet is preceded by no metadata that adjust_head would have to move
	Maps       *MapCaps
	Random     bool
	Queue      bool // a program may select the receive queue
	AdjustTail bool
	MultiEnt   bool // several entries in a reply
	Warnings   []string
}

// MapCaps is the MAPS capability. Zero means no limit in our profiles, but a limit of
// zero to the driver.
type MapCaps struct {
	Types                            uint32 // 1 << map type
	Count, Entries, Key, Value, Elem uint32
}

// driverFuncs are the helpers that the Linux driver can call by address.
var driverFuncs = map[int32]bool{1: true, 2: true, 3: true, 25: true}

// EncodeCaps encodes a profile's capabilities. It writes an absent limit as the
// largest number.
func EncodeCaps(p *firmware.Profile) []byte {
	var b []byte
	put := func(typ uint32, words ...uint32) {
		b = binary.LittleEndian.AppendUint32(b, typ)
		b = binary.LittleEndian.AppendUint32(b, uint32(4*len(words)))
		for _, w := range words {
			b = binary.LittleEndian.AppendUint32(b, w)
		}
	}
	ids := make([]int, 0, len(p.Helpers))
	for id := range p.Helpers {
		ids = append(ids, int(id))
	}
	sort.Ints(ids)
	for _, id := range ids {
		put(capFunc, uint32(id), uint32(p.Helpers[int32(id)]))
	}
	if p.Inlines(44) {
		a := p.AdjustHead
		put(capAdjustHead, 1, uint32(a.OffMin), uint32(a.OffMax), uint32(a.GuaranteedSub), uint32(a.GuaranteedAdd))
	}
	limit := func(n int) uint32 {
		if n == 0 {
			return 1<<32 - 1
		}
		return uint32(n)
	}
	m := p.Maps
	put(capMaps, mapMask(m.Types), limit(m.Count), limit(m.Entries), limit(m.Key), limit(m.Value), limit(m.Entry))
	if p.Inlines(7) {
		put(capRandom)
	}
	if p.QueueSelect {
		put(capQueue)
	}
	if p.Inlines(65) {
		put(capAdjustTail)
	}
	if p.ABI != 2 {
		put(capABI, uint32(p.ABI))
	}
	return b
}

// mapMask returns the mask of the map types that a profile names.
func mapMask(names []string) uint32 {
	var mask uint32
	for _, name := range names {
		if info, ok := helper.MapTypeByName(name); ok && info.Type < 32 {
			mask |= 1 << info.Type
		}
	}
	return mask
}

// ParseCaps parses capabilities as the Linux driver does: the records must fill the
// area exactly, unknown types are skipped, and a known type that is too short is an
// error. Nil data stands for a firmware without the symbol.
func ParseCaps(data []byte) (*Caps, error) {
	c := &Caps{ABI: 2, Funcs: map[int32]int{}}
	for at := 0; at < len(data); {
		if len(data)-at < 8 {
			return nil, fmt.Errorf("capabilities: offset %d: %d bytes left, a header has 8", at, len(data)-at)
		}
		typ, n := binary.LittleEndian.Uint32(data[at:]), binary.LittleEndian.Uint32(data[at+4:])
		if uint64(n) > uint64(len(data)-at-8) {
			return nil, fmt.Errorf("capabilities: offset %d: type %d of %d bytes, %d left", at, typ, n, len(data)-at-8)
		}
		value := data[at+8 : at+8+int(n)]
		if err := c.add(typ, value); err != nil {
			return nil, fmt.Errorf("capabilities: offset %d: %w", at, err)
		}
		at += 8 + int(n)
	}
	return c, nil
}

// capWords is the minimum length of a capability's value in 32-bit words.
var capWords = map[uint32]int{capFunc: 2, capAdjustHead: 5, capMaps: 6, capABI: 1}

func (c *Caps) add(typ uint32, value []byte) error {
	if need := 4 * capWords[typ]; len(value) < need {
		return fmt.Errorf("type %d of %d bytes, at least %d needed", typ, len(value), need)
	}
	word := func(i int) uint32 { return binary.LittleEndian.Uint32(value[4*i:]) }
	switch typ {
	case capFunc:
		if id := int32(word(0)); driverFuncs[id] {
			c.Funcs[id] = int(word(1))
		}
	case capAdjustHead:
		return c.addAdjustHead(word)
	case capMaps:
		c.Maps = &MapCaps{word(0), word(1), word(2), word(3), word(4), word(5)}
	case capRandom:
		c.Random = true
	case capQueue:
		c.Queue = true
	case capAdjustTail:
		c.AdjustTail = true
	case capABI:
		if c.ABI = int(word(0)); word(0) != 2 && word(0) != 3 {
			c.ABI = 0
			c.Warnings = append(c.Warnings, fmt.Sprintf("abi version %d is unknown: offload is off", word(0)))
		}
	case capMultiEnt:
		c.MultiEnt = true
	}
	return nil
}

func (c *Caps) addAdjustHead(word func(int) uint32) error {
	low, high := word(1), word(2)
	switch {
	case low > high:
		return fmt.Errorf("adjust_head: off_min %d above off_max %d", low, high)
	case low > 255 || high > 255:
		c.Warnings = append(c.Warnings, fmt.Sprintf("adjust_head: offsets %d to %d do not fit a byte: adjust_head is off", low, high))
		return nil
	}
	c.NoMeta = word(0)&1 != 0
	c.AdjustHead = &firmware.AdjustHead{OffMin: int(low), OffMax: int(high), GuaranteedSub: int(word(3)), GuaranteedAdd: int(word(4))}
	return nil
}
