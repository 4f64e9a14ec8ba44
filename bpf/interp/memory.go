package interp

import (
	"encoding/binary"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// placePacket writes the context fields that follow from the packet's position.
func (m *Machine) placePacket() {
	m.setCtx("data", m.PacketStart())
	m.setCtx("data_end", packetBase+uint32(m.end))
	m.setCtx("data_meta", packetBase+uint32(m.meta))
	m.setCtx("len", uint32(m.end-m.start))
}

// setCtx sets a context field, if the context has it.
func (m *Machine) setCtx(name string, v uint32) {
	if m.ctx == nil {
		return
	}
	for _, f := range m.ctx.Fields {
		if f.Name == name && f.Size == 4 {
			binary.LittleEndian.PutUint32(m.ctxMem[f.Off:], v)
		}
	}
}

// PacketStart returns the address of the packet's first byte.
func (m *Machine) PacketStart() uint32 { return packetBase + uint32(m.start) }

// PacketLen returns the packet's length in bytes.
func (m *Machine) PacketLen() int { return m.end - m.start }

// CtxAddr returns the context's address.
func (m *Machine) CtxAddr() uint64 { return ctxBase }

// MemAddr returns the address of a raw program's memory.
func (m *Machine) MemAddr() uint64 { return memBase }

// MapHandle returns the handle of map i of the program.
func (m *Machine) MapHandle(i int) uint64 { return m.handle(m.prog.Maps[i]) }

// MapValueAddr returns the address of byte off of map i's value storage.
func (m *Machine) MapValueAddr(i, off int) uint64 { return m.valueAddr(m.prog.Maps[i], off) }

func (m *Machine) handle(x maps.Map) uint64 { return handleBase + uint64(m.index(x))<<8 }

func (m *Machine) valueAddr(x maps.Map, off int) uint64 {
	return uint64(m.index(x)+1)<<mapShift + uint64(off)
}

// mapOf returns the map of a handle.
func (m *Machine) mapOf(handle uint64) (maps.Map, error) {
	i := (handle - handleBase) >> 8
	if handle < handleBase || handle&0xff != 0 || i >= uint64(len(m.maps)) {
		return nil, m.fault("bad-map", "%#x is no map", handle)
	}
	return m.maps[i], nil
}

// Load reads size bytes, 1, 2, 4 or 8, zero-extended.
func (m *Machine) Load(addr uint64, size int) (uint64, error) {
	if m.inCtx(addr) {
		return m.loadCtx(addr, size)
	}
	b, err := m.bytes(addr, size, false)
	if err != nil {
		return 0, err
	}
	return get(b), nil
}

// Store writes the low size bytes of v.
func (m *Machine) Store(addr uint64, size int, v uint64) error {
	if m.inCtx(addr) {
		return m.storeCtx(addr, size, v)
	}
	b, err := m.bytes(addr, size, true)
	if err != nil {
		return err
	}
	put(b, v)
	return nil
}

// Atomic applies op to the size bytes at addr, 4 or 8, and returns their old value.
// With asm.CmpXchg, it stores value if the old value equals expected. Context and
// packet do not support atomic operations.
func (m *Machine) Atomic(op asm.AtomicOp, addr uint64, size int, value, expected uint64) (old uint64, err error) {
	if m.inCtx(addr) || m.inPacket(addr) {
		return 0, m.badAccess(addr, size, "atomic-place", "atomic operation on the packet or context")
	}
	b, err := m.bytes(addr, size, true)
	if err != nil {
		return 0, err
	}
	if size == 4 {
		value, expected = uint64(uint32(value)), uint64(uint32(expected))
	}
	old = get(b)
	switch op {
	case asm.AddAtomic, asm.FetchAdd:
		put(b, old+value)
	case asm.AndAtomic, asm.FetchAnd:
		put(b, old&value)
	case asm.OrAtomic, asm.FetchOr:
		put(b, old|value)
	case asm.XorAtomic, asm.FetchXor:
		put(b, old^value)
	case asm.Xchg:
		put(b, value)
	case asm.CmpXchg:
		if old == expected {
			put(b, value)
		}
	default:
		return 0, m.fault("bad-opcode", "unknown atomic operation %v", op)
	}
	return old, nil
}

func get(b []byte) uint64 {
	var v uint64
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}

func put(b []byte, v uint64) {
	for i := range b {
		b[i] = byte(v)
		v >>= 8
	}
}

// within returns b[addr-base:][:size], or nil if that range is not inside b.
func within(b []byte, base, addr uint64, size int) []byte {
	off := addr - base
	if addr < base || size < 0 || off > uint64(len(b)) || uint64(size) > uint64(len(b))-off {
		return nil
	}
	return b[off : off+uint64(size) : off+uint64(size)]
}

func (m *Machine) inCtx(addr uint64) bool { return addr>>28 == ctxBase>>28 }

func (m *Machine) inPacket(addr uint64) bool { return addr>>28 == packetBase>>28 }

// bytes returns the memory at addr: everything but the context.
func (m *Machine) bytes(addr uint64, size int, write bool) ([]byte, error) {
	switch {
	case addr>>28 == stackBase>>28:
		if depth := (addr - stackBase) / frameStep; depth < uint64(len(m.frames)) {
			if b := within(m.frames[depth].stack, stackBase+depth*frameStep, addr, size); b != nil {
				return b, nil
			}
		}
		return nil, m.badAccess(addr, size, "stack-bounds", "outside the stack frames")
	case m.inPacket(addr):
		if b := within(m.buffer[m.meta:m.end], packetBase+uint64(m.meta), addr, size); b != nil {
			return b, nil
		}
		return nil, m.badAccess(addr, size, "packet-bounds", "outside the packet, %d bytes at %#x", m.PacketLen(), m.PacketStart())
	case addr>>28 == memBase>>28:
		if b := within(m.mem, memBase, addr, size); b != nil {
			return b, nil
		}
		return nil, m.badAccess(addr, size, "memory-bounds", "outside the memory of %d bytes", len(m.mem))
	case addr>>mapShift != 0 && addr>>mapShift <= uint64(len(m.maps)):
		return m.mapBytes(m.maps[addr>>mapShift-1], addr, size, write)
	}
	return nil, m.badAccess(addr, size, "bad-address", "nothing is there")
}

// mapBytes returns the bytes of an access, which must lie inside one value.
func (m *Machine) mapBytes(x maps.Map, addr uint64, size int, write bool) ([]byte, error) {
	spec := x.Spec()
	off := int(addr & (1<<mapShift - 1))
	stride := int(spec.ValueSize+7) &^ 7
	if stride == 0 {
		return nil, m.badAccess(addr, size, "map-value-bounds", "map %s has no values", spec.Name)
	}
	first := off - off%stride
	value := x.Value(first)
	if size < 0 || value == nil || off-first+size > len(value) {
		return nil, m.badAccess(addr, size, "map-value-bounds", "outside a value of map %s, %d bytes", spec.Name, spec.ValueSize)
	}
	if write && (spec.Flags&maps.RdOnlyProg != 0 || readOnly(spec.Type)) {
		return nil, m.badAccess(addr, size, "map-read-only", "map %s is read-only for programs", spec.Name)
	}
	if !write && spec.Flags&maps.WrOnlyProg != 0 {
		return nil, m.badAccess(addr, size, "map-write-only", "map %s is write-only for programs", spec.Name)
	}
	return value[off-first : off-first+size], nil
}

func readOnly(t ebpf.MapType) bool {
	info, _ := helper.MapTypeInfo(t)
	return info.LookupRead
}

// loadCtx reads a context field by the rules of the program type.
func (m *Machine) loadCtx(addr uint64, size int) (uint64, error) {
	b := within(m.ctxMem, ctxBase, addr, size)
	if b == nil {
		return 0, m.badAccess(addr, size, "ctx-access", "outside the context")
	}
	if f, ok := m.ctx.Access(int(addr-ctxBase), size, false); !ok {
		return 0, m.badAccess(addr, size, "ctx-access", "%s.%s cannot be read so", m.ctx.Name, f.Name)
	}
	return get(b), nil
}

func (m *Machine) storeCtx(addr uint64, size int, v uint64) error {
	b := within(m.ctxMem, ctxBase, addr, size)
	if b == nil {
		return m.badAccess(addr, size, "ctx-access", "outside the context")
	}
	f, ok := m.ctx.Access(int(addr-ctxBase), size, true)
	if !ok {
		return m.badAccess(addr, size, "ctx-access", "%s.%s cannot be written so", m.ctx.Name, f.Name)
	}
	if f.Name == "rx_queue_index" { // selects a queue; what is read back stays
		queue := uint32(v)
		m.out.RxQueue = &queue
		return nil
	}
	put(b, v)
	return nil
}
