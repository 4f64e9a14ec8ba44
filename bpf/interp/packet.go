package interp

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/maps"
)

// minPacket is the shortest packet that adjustments leave: an Ethernet header.
const minPacket = 14

// adjustHead moves the packet's start by delta bytes, its metadata with it.
func (m *Machine) adjustHead(delta int) uint64 {
	start := m.start + delta
	metaLen := m.start - m.meta
	if start < m.opt.HeadMin+metaLen || m.opt.HeadMax != 0 && start > m.opt.HeadMax || start > m.end-minPacket {
		return negative(maps.EINVAL)
	}
	copy(m.buffer[start-metaLen:start], m.buffer[m.meta:m.start])
	m.start, m.meta = start, start-metaLen
	m.placePacket()
	return 0
}

// adjustTail moves the packet's end by delta bytes; new bytes are zero.
func (m *Machine) adjustTail(delta int) uint64 {
	end := m.end + delta
	if delta > 0 && end > m.opt.HardEnd || delta >= 0 && m.opt.ShrinkOnly || end < m.start+minPacket {
		return negative(maps.EINVAL)
	}
	if delta > 0 {
		clear(m.buffer[m.end:end])
	}
	m.end = end
	m.placePacket()
	return 0
}

// adjustMeta moves the metadata's start; its length stays a multiple of 4, at
// most 255.
func (m *Machine) adjustMeta(delta int) uint64 {
	meta := m.meta + delta
	length := m.start - meta
	switch {
	case m.opt.NoMeta:
		return negative(maps.ENOTSUPP)
	case meta < m.opt.HeadMin || length < 0:
		return negative(maps.EINVAL)
	case length%4 != 0 || length > 255:
		return negative(eACCES)
	}
	m.meta = meta
	m.placePacket()
	return 0
}

// copyPacket is xdp_load_bytes(ctx, offset, buf, len) and its relatives.
func (m *Machine) copyPacket(id asm.BuiltinFunc, a [5]uint64, store bool) (uint64, error) {
	off, n := int(uint32(a[1])), int(uint32(a[3]))
	buf, err := m.bytes(a[2], n, !store)
	if err != nil {
		return 0, err
	}
	skb := id == asm.FnSkbLoadBytes || id == asm.FnSkbStoreBytes
	switch outside := off+n > m.PacketLen(); {
	case skb && store && a[4]&^3 != 0: // BPF_F_RECOMPUTE_CSUM, BPF_F_INVALIDATE_HASH
		return negative(maps.EINVAL), nil
	case skb && (off > 0x7fffffff || outside), !skb && (off > 0xffff || n > 0xffff):
		if skb && !store {
			clear(buf)
		}
		return negative(eFAULT), nil
	case outside:
		return negative(maps.EINVAL), nil
	}
	p := m.buffer[m.start+off : m.start+off+n]
	if store {
		copy(p, buf)
	} else {
		copy(buf, p)
	}
	return 0, nil
}

func (m *Machine) pullData(n uint32) uint64 {
	if int(n) > m.PacketLen() {
		return negative(maps.ENOMEM)
	}
	return 0
}

// Verdicts that redirect helpers return.
const (
	xdpAborted  = 0
	xdpRedirect = 4
	tcShot      = 2
	tcRedirect  = 7
)

func (m *Machine) redirect(ifindex uint32, flags uint64) uint64 {
	r := &Redirect{Ifindex: ifindex, Flags: flags}
	if m.prog.Code.Type == ebpf.SchedCLS || m.prog.Code.Type == ebpf.SchedACT {
		if flags&^1 != 0 { // BPF_F_INGRESS
			return tcShot
		}
		m.out.Redirect = r
		return tcRedirect
	}
	if flags != 0 {
		return xdpAborted
	}
	m.out.Redirect = r
	return xdpRedirect
}

// Flags of redirect_map.
const (
	actionMask     = 3 // verdict if there is no such entry
	broadcast      = 1 << 3
	excludeIngress = 1 << 4
)

func (m *Machine) redirectMap(handle uint64, key uint32, flags uint64) (uint64, error) {
	x, err := m.mapOf(handle)
	if err != nil {
		return 0, err
	}
	allowed := uint64(actionMask)
	switch x.Spec().Type {
	case ebpf.DevMap, ebpf.DevMapHash:
		allowed |= broadcast | excludeIngress
	case ebpf.CPUMap, ebpf.XSKMap:
	default:
		return 0, m.fault("map-operation", "redirect_map does not take a %s", x.Spec().Type)
	}
	if flags&^allowed != 0 {
		return xdpAborted, nil
	}
	r := &Redirect{Map: x.Spec(), Key: key, Flags: flags}
	if flags&broadcast == 0 {
		value, ok := x.(*maps.Targets).Target(key)
		if !ok {
			return flags & actionMask, nil
		}
		r.Value = append([]byte(nil), value...)
	}
	m.out.Redirect = r
	return xdpRedirect, nil
}

// csumDiff returns the one's complement sum of the words of to, less those of from,
// plus a seed; at most 512 bytes in all. Zero has two forms in such a sum, so the
// result depends on the order of complements, which is that of x86's code.
func (m *Machine) csumDiff(a [5]uint64) (uint64, error) {
	fromSize, toSize, seed := int(uint32(a[1])), int(uint32(a[3])), uint32(a[4])
	if (fromSize|toSize)%4 != 0 || fromSize+toSize > 512 {
		return negative(maps.EINVAL), nil
	}
	from, err := m.optional(a[0], fromSize)
	if err != nil {
		return 0, err
	}
	to, err := m.optional(a[2], toSize)
	if err != nil {
		return 0, err
	}
	switch {
	case !m.opt.FoldCsum:
		for ; len(from) > 0; from = from[4:] {
			seed = onesSum([]byte{^from[0], ^from[1], ^from[2], ^from[3]}, seed)
		}
		return uint64(onesSum(to, seed)), nil
	case fromSize > 0 && toSize > 0:
		seed = uint32(foldTo(uint64(onesSum(to, seed))+uint64(^onesSum(from, 0)), 32))
	case fromSize > 0:
		seed = ^onesSum(from, ^seed)
	default:
		seed = onesSum(to, seed)
	}
	return foldTo(uint64(seed), 16), nil
}

// optional returns size bytes at addr, which may be invalid if size is 0.
func (m *Machine) optional(addr uint64, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	return m.bytes(addr, size, false)
}

// onesSum adds b's 32-bit words to sum with end-around carry.
func onesSum(b []byte, sum uint32) uint32 {
	total := uint64(sum)
	for ; len(b) >= 4; b = b[4:] {
		total += uint64(binary.LittleEndian.Uint32(b))
	}
	return uint32(foldTo(total, 32))
}

// foldTo folds a one's complement sum to the given width.
func foldTo(sum uint64, width uint) uint64 {
	for sum>>width != 0 {
		sum = sum&(1<<width-1) + sum>>width
	}
	return sum
}
