package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// This file implements the firmware's helpers: docs/firmware-contract.md section 4.

// maxTailCalls is the kernel's MAX_TAIL_CALL_CNT.
const maxTailCalls = 33

// call performs one helper call and returns r0 and the cost.
type call func(n *lane, c *sim.Context) (r0 uint64, cost firmware.Cost, err error)

// helper returns the trap of helper id, or nil if there is none.
func (n *NIC) helper(id int32) sim.TrapFunc {
	var fn call
	switch id {
	case 1:
		fn = (*lane).lookup
	case 2:
		fn = (*lane).update
	case 3:
		fn = (*lane).delete
	case 5:
		fn = (*lane).time
	case 8:
		fn = func(n *lane, _ *sim.Context) (uint64, firmware.Cost, error) { return 0, n.cost("other"), nil }
	case 12:
		return func(c *sim.Context) (int, sim.Cost, error) { return n.lanes[c.ID].tailCall(c) }
	case 23:
		fn = (*lane).redirect
	case 25:
		fn = (*lane).perfEvent
	case 28:
		fn = (*lane).csumDiff
	case 51:
		fn = (*lane).redirectMap
	default:
		return nil
	}
	return func(c *sim.Context) (int, sim.Cost, error) {
		if m := c.Outstanding(); m != 0 {
			return 0, sim.Cost{}, fmt.Errorf("helper %d called with signals 0x%x outstanding: %w", id, m, errOutstanding)
		}
		l := n.lanes[c.ID]
		l.scratch = l.scratch[:0]
		back := int(c.B(0))
		r0, cost, err := fn(l, c)
		if err != nil {
			return 0, sim.Cost{}, fmt.Errorf("helper %d: %w", id, err)
		}
		l.lose()
		l.setPair(0, r0)
		return back, sim.Cost{Issue: cost.Issue, Reads: cost.Reads, Addr: l.touched, Then: l.entry}, nil
	}
}

// lose overwrites the registers that a helper does not preserve.
func (n *lane) lose() {
	c := n.ctx
	c.ScrambleRegs(0, firmware.FirstKept)
	c.ScrambleRegs(firmware.LastKept+1, firmware.StackRegister)
	c.ScrambleXfers(0, 32)
	c.ScrambleState()
	for _, p := range []int{2, 3} {
		c.SetLMPointer(p, c.A(firmware.StackRegister-1)&^3, 8)
	}
	c.ScrambleRegs(firmware.StackRegister-1, firmware.StackRegister)
}

func (n *NIC) cost(what string) firmware.Cost { return n.Profile.Costs[what] }

// table returns the map with a table id.
func (n *NIC) table(id uint32) (*Map, error) {
	if id == 0 || id > uint32(len(n.maps)) || n.maps[id-1].freed {
		return nil, fmt.Errorf("no map with table id %d", id)
	}
	return n.maps[id-1], nil
}

// local returns size bytes of local memory that the program owns. They are valid until
// the next helper call.
func (n *lane) local(addr uint32, size int, what string) ([]byte, error) {
	switch {
	case addr&3 != 0:
		return nil, fmt.Errorf("%s at 0x%x is not aligned to 4", what, addr)
	case addr < n.stack || addr+uint32(size) > n.stack+uint32(n.Profile.Stack):
		return nil, fmt.Errorf("%s of %d bytes at 0x%x is not on the stack", what, size, addr)
	}
	from := len(n.scratch)
	for i := range uint32(size) {
		n.scratch = append(n.scratch, n.engine.LMByte(addr+i))
	}
	return n.scratch[from:len(n.scratch):len(n.scratch)], nil
}

// mapKey returns the map of A0 and its key at LM0. As the open firmware does, it
// clears the bytes that follow the key in its last word.
func (n *lane) mapKey(c *sim.Context) (*Map, []byte, error) {
	m, err := n.table(c.A(0))
	if err != nil {
		return nil, nil, err
	}
	addr, size := c.LMPointer(0), m.Spec().KeySize
	key, err := n.local(addr, int(size), "key")
	n.touched = m.Base() + m.bucket(key)
	n.entry = n.touched
	for i := size; i&3 != 0; i++ {
		n.engine.SetLMByte(addr+i, 0)
	}
	return m, key, err
}

// bucket returns the position of a key's bucket in the map's table, for the model of queues
// and caches. Assumed: the firmware's hash is not known, but it is a hash, with a seed for
// each map, so that one key's buckets in several maps do not share a bank by rule.
func (m *Map) bucket(key []byte) uint64 {
	h := maphash(m.ID)
	for _, b := range key {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h ^= h >> 29
	return (h * 0x9e3779b97f4a7c15 >> 8) % uint64(max(len(m.region.Data), 1))
}

// maphash is the seed of a map's hash: FNV-1a of its table id.
func maphash(id uint32) uint64 {
	h := uint64(0xcbf29ce484222325)
	for ; id != 0; id >>= 8 {
		h = (h ^ uint64(id&255)) * 0x100000001b3
	}
	return h
}

// arg returns argument r1 to r5, held in pairs 2/3 to 10/11 of bank A.
func arg(c *sim.Context, r int) uint64 { return uint64(c.A(2*r+1))<<32 | uint64(c.A(2*r)) }

// status returns an error as the number that a helper returns for it.
func status(err error) uint64 {
	var no syscall.Errno
	if errors.As(err, &no) {
		return -uint64(no)
	}
	return 0
}

func (n *lane) lookup(c *sim.Context) (uint64, firmware.Cost, error) {
	m, key, err := n.mapKey(c)
	if err != nil {
		return 0, firmware.Cost{}, err
	}
	cost := n.cost("lookup_hash")
	switch m.Spec().Type {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.DevMap, ebpf.CPUMap:
		cost = n.cost("lookup_array")
	}
	off, ok := m.find(key)
	if !ok {
		return 0, cost, nil
	}
	n.entry = m.Base() + uint64(off)
	switch m.Spec().Type {
	case ebpf.Array, ebpf.PerCPUArray, ebpf.DevMap, ebpf.CPUMap:
		n.touched = n.entry
	}
	return m.Base()>>8<<32 | uint64(uint32(off)), cost, nil
}

func (n *lane) update(c *sim.Context) (uint64, firmware.Cost, error) {
	m, key, err := n.mapKey(c)
	if err != nil {
		return 0, firmware.Cost{}, err
	}
	value, err := n.local(c.LMPointer(2), int(m.Map.Spec().ValueSize), "value")
	if err != nil {
		return 0, firmware.Cost{}, err
	}
	return status(m.store(key, value, arg(c, 4))), n.cost("update"), nil
}

func (n *lane) delete(c *sim.Context) (uint64, firmware.Cost, error) {
	m, key, err := n.mapKey(c)
	if err != nil {
		return 0, firmware.Cost{}, err
	}
	return status(m.Delete(key)), n.cost("delete"), nil
}

// time returns nanoseconds of the caller's clock, or else of the engine's.
func (n *lane) time(*sim.Context) (uint64, firmware.Cost, error) {
	if n.opt.Time != nil {
		return n.opt.Time(), n.cost("other"), nil
	}
	return n.engine.Clock() * 1000 / uint64(max(n.spec.ClockMHz, 1)), n.cost("other"), nil
}

// memory returns size bytes at a pointer argument of the given kind.
func (n *lane) memory(kind uint32, ptr uint64, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	switch kind {
	case firmware.KindMap:
		if b := n.mem.Bytes(ptr>>32<<8+ptr&0xffffffff, size); b != nil {
			return append([]byte(nil), b...), nil
		}
	case firmware.KindStack:
		b, err := n.local(uint32(ptr), size, "argument")
		return slices.Clone(b), err
	case firmware.KindPacket:
		start, end := n.bounds()
		off := int(ptr & firmware.OffsetMask)
		if uint32(ptr)>>16 == 1<<15|n.number && off >= start && off+size <= end {
			return append([]byte(nil), n.buffer[off:off+size]...), nil
		}
	}
	return nil, fmt.Errorf("%d bytes at 0x%x of kind %d", size, ptr, kind)
}

// Flags of perf_event_output, include/uapi/linux/bpf.h.
const (
	indexMask  = 0xffff_ffff
	currentCPU = indexMask
	ctxLenMask = 0xf_ffff << 32
)

// perfEvent collects a record. The part taken from the packet ends where the packet's
// part in CTM ends.
func (n *lane) perfEvent(c *sim.Context) (uint64, firmware.Cost, error) {
	cost := n.cost("other")
	m, err := n.eventMap(c.A(4))
	if err != nil {
		return 0, cost, err
	}
	flags, size := arg(c, 3), int(c.A(10))
	data, err := n.memory(c.A(1), arg(c, 4), size)
	if c.A(1) == firmware.KindScalar {
		data, err = binary.LittleEndian.AppendUint64(nil, arg(c, 4))[:min(size, 8)], nil
	}
	start, end := n.bounds()
	captured, cpu := int(flags&ctxLenMask>>32), uint32(flags)
	if cpu == currentCPU {
		cpu = 0
	}
	switch limit := m.Spec().MaxEntries; {
	case err != nil:
		return 0, cost, err
	case m.Spec().Type != ebpf.PerfEventArray:
		return 0, cost, fmt.Errorf("map %s is no perf_event_array", m.Name())
	case flags&^uint64(indexMask|ctxLenMask) != 0:
		return status(maps.EINVAL), cost, nil
	case captured > int(n.vec(firmware.VectorLength)&firmware.LengthMask):
		return status(syscall.Errno(14)), cost, nil // EFAULT
	case limit != 0 && cpu >= limit:
		return status(maps.E2BIG), cost, nil
	}
	e := Event{Map: m.Name(), ID: c.A(4), CPU: cpu, Data: data}
	e.Packet = append(e.Packet, n.buffer[start:start+min(captured, end-start)]...)
	if more := captured - len(e.Packet); more > 0 {
		e.Packet = append(e.Packet, n.run.tail[:min(more, len(n.run.tail))]...)
	}
	n.run.events = append(n.run.events, e)
	return 0, cost, nil
}

// eventMap returns the perf_event_array of a record. If the host numbered the map, the
// card knows only that number.
func (n *NIC) eventMap(id uint32) (*Map, error) {
	if n.opt.HostEvents {
		return &Map{Map: hostEvents{}, spec: hostEvents{}.Spec()}, nil
	}
	return n.table(id)
}

// tailCall enters another program. It returns only if there is none at the index.
func (n *lane) tailCall(c *sim.Context) (int, sim.Cost, error) {
	m, err := n.table(c.A(4))
	if err != nil {
		return 0, sim.Cost{}, fmt.Errorf("helper 12: %w", err)
	}
	cost := sim.Cost{Issue: n.cost("lookup_array").Issue, Reads: n.cost("lookup_array").Reads}
	back := int(c.B(0))
	targets, ok := m.Map.(*maps.Targets)
	if !ok || m.Spec().Type != ebpf.ProgramArray {
		return 0, cost, fmt.Errorf("helper 12: map %s is no prog_array", m.Name())
	}
	if value, there := targets.Target(c.A(6)); there && n.run.tails < maxTailCalls {
		if id := binary.LittleEndian.Uint32(value); id > 0 && id <= uint32(len(n.programs)) {
			n.run.tails++
			n.start()
			return n.programs[id-1].Start, cost, nil
		}
	}
	n.lose()
	return back, cost, nil
}

// redirect records an interface.
func (n *lane) redirect(c *sim.Context) (uint64, firmware.Cost, error) {
	r := &Redirect{Ifindex: c.A(2), Flags: arg(c, 2)}
	if IsTC(n.run.prog.Type) {
		if r.Flags&^1 != 0 { // BPF_F_INGRESS
			return TCShot, n.cost("other"), nil
		}
		n.run.redirect = r
		return TCRedirect, n.cost("other"), nil
	}
	if r.Flags != 0 {
		return XDPAborted, n.cost("other"), nil
	}
	n.run.redirect = r
	return XDPRedirect, n.cost("other"), nil
}

// Flags of redirect_map.
const (
	actionMask     = 3 // verdict if the entry does not exist
	broadcast      = 1 << 3
	excludeIngress = 1 << 4
)

// redirectMap records an entry of a devmap or cpumap.
func (n *lane) redirectMap(c *sim.Context) (uint64, firmware.Cost, error) {
	cost := n.cost("lookup_array")
	m, err := n.table(c.A(2))
	if err != nil {
		return 0, cost, err
	}
	targets, ok := m.Map.(*maps.Targets)
	allowed := uint64(actionMask)
	switch m.Spec().Type {
	case ebpf.DevMap, ebpf.DevMapHash:
		allowed |= broadcast | excludeIngress
	case ebpf.CPUMap, ebpf.XSKMap:
	default:
		ok = false
	}
	if !ok {
		return 0, cost, fmt.Errorf("map %s cannot be redirected to", m.Name())
	}
	r := &Redirect{Map: m.Name(), Key: c.A(4), Flags: arg(c, 3)}
	if r.Flags&^allowed != 0 {
		return XDPAborted, cost, nil
	}
	if r.Flags&broadcast == 0 {
		value, there := targets.Target(r.Key)
		if !there {
			return r.Flags & actionMask, cost, nil
		}
		r.Value = append([]byte(nil), value...)
	}
	n.run.redirect = r
	return XDPRedirect, cost, nil
}

// csumMax is the kernel's limit of bytes for csum_diff, the size of its stack.
const csumMax = 512

// csumDiff returns the one's complement sum of the words of to, minus those of from,
// plus a seed, folded to 16 bits as kernels do since 6.13.
func (n *lane) csumDiff(c *sim.Context) (uint64, firmware.Cost, error) {
	kinds, cost := c.A(0), n.cost("other")
	fromSize, toSize := int(c.A(4)), int(c.A(8))
	if (fromSize|toSize)%4 != 0 || fromSize+toSize > csumMax {
		return status(maps.EINVAL), cost, nil
	}
	sum := uint64(c.A(10))
	for _, part := range []struct {
		kind uint32
		ptr  uint64
		size int
		flip uint32
	}{{kinds & 15, arg(c, 1), fromSize, ^uint32(0)}, {kinds >> 8 & 15, arg(c, 3), toSize, 0}} {
		b, err := n.memory(part.kind, part.ptr, part.size)
		if err != nil {
			return 0, cost, err
		}
		for ; len(b) > 0; b = b[4:] {
			sum += uint64(binary.LittleEndian.Uint32(b) ^ part.flip)
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return sum, cost, nil
}
