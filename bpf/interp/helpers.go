package interp

import (
	"errors"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// More error numbers that helpers return, Linux's; the rest are in bpf/maps.
const (
	eACCES = syscall.Errno(13)
	eFAULT = syscall.Errno(14)
)

// negative returns an error number as a helper returns it.
func negative(e syscall.Errno) uint64 { return -uint64(e) }

// status turns a map operation's error into a helper's return value.
func status(err error) uint64 {
	var e syscall.Errno
	if errors.As(err, &e) {
		return negative(e)
	}
	return 0
}

// Helper calls helper id and returns its R0. Errors are *Fault: an argument that
// a verifier would have refused, or a helper that is not modelled. tail_call is
// no helper in this sense; callbacks need a running program.
func (m *Machine) Helper(id asm.BuiltinFunc, a [5]uint64) (uint64, error) {
	proto, known := helper.ByID(id)
	if !known {
		return 0, m.fault("unknown-helper", "no helper %d", uint32(id))
	}
	if !proto.Allows(m.prog.Code.Type) {
		return 0, m.fault("helper-unsupported", "%s is not for %s programs", proto.Name, m.prog.Code.Type)
	}
	switch id {
	case asm.FnMapLookupElem, asm.FnMapLookupPercpuElem, asm.FnMapUpdateElem, asm.FnMapDeleteElem,
		asm.FnMapPushElem, asm.FnMapPopElem, asm.FnMapPeekElem:
		return m.mapHelper(proto, a)
	case asm.FnKtimeGetNs, asm.FnKtimeGetBootNs, asm.FnKtimeGetCoarseNs, asm.FnKtimeGetTaiNs:
		return m.opt.Time(), nil
	case asm.FnGetPrandomU32:
		return uint64(m.opt.Random()), nil
	case asm.FnGetSmpProcessorId:
		return uint64(m.opt.CPU()), nil
	case asm.FnGetNumaNodeId:
		return 0, nil
	case asm.FnSpinLock, asm.FnSpinUnlock: // a run is never interrupted
		return 0, nil
	case asm.FnTracePrintk:
		return m.printk(a[0], a[1], a[2:5])
	case asm.FnTraceVprintk:
		return m.vprintk(a)
	case asm.FnPerfEventOutput:
		return m.perfEventOutput(a)
	case asm.FnRingbufOutput:
		return m.ringbufOutput(a)
	case asm.FnRedirect:
		return m.redirect(uint32(a[0]), a[1]), nil
	case asm.FnRedirectMap:
		return m.redirectMap(a[0], uint32(a[1]), a[2])
	case asm.FnCsumDiff:
		return m.csumDiff(a)
	case asm.FnXdpAdjustHead:
		return m.adjustHead(int(int32(a[1]))), nil
	case asm.FnXdpAdjustTail:
		return m.adjustTail(int(int32(a[1]))), nil
	case asm.FnXdpAdjustMeta:
		return m.adjustMeta(int(int32(a[1]))), nil
	case asm.FnXdpGetBuffLen:
		return uint64(m.PacketLen()), nil
	case asm.FnXdpLoadBytes, asm.FnSkbLoadBytes:
		return m.copyPacket(id, a, false)
	case asm.FnXdpStoreBytes, asm.FnSkbStoreBytes:
		return m.copyPacket(id, a, true)
	case asm.FnSkbPullData: // the whole packet is in one piece
		return m.pullData(uint32(a[1])), nil
	case asm.FnLoop:
		return m.loop(a)
	case asm.FnForEachMapElem:
		return m.forEach(a)
	}
	return 0, m.fault("helper-unsupported", "%s is not modelled: %s", proto.Name, proto.Doc)
}

// mapHelper runs the helpers on one element of a map.
func (m *Machine) mapHelper(proto helper.Proto, a [5]uint64) (uint64, error) {
	x, err := m.mapOf(a[0])
	if err != nil {
		return 0, err
	}
	spec := x.Spec()
	if info, _ := helper.MapTypeInfo(spec.Type); !info.Allows(proto.ID) {
		return 0, m.fault("map-operation", "%s does not take a %s", proto.Name, info.Name)
	}
	if q, ok := x.(*maps.Queue); ok {
		return m.queueHelper(proto.ID, q, a)
	}
	key, err := m.bytes(a[1], int(spec.KeySize), false)
	if err != nil {
		return 0, err
	}
	switch proto.ID {
	case asm.FnMapUpdateElem:
		value, err := m.bytes(a[2], int(spec.ValueSize), false)
		if err != nil {
			return 0, err
		}
		// The value may lie in the map itself, and the update may move it: so copy it.
		return status(x.Update(key, append([]byte(nil), value...), a[3])), nil
	case asm.FnMapDeleteElem:
		return status(x.Delete(key)), nil
	case asm.FnMapLookupPercpuElem:
		if off, ok := x.(maps.PerCPU).LookupCPU(key, int(uint32(a[2]))); ok {
			return m.valueAddr(x, off), nil
		}
		return 0, nil
	}
	if off, ok := x.Lookup(key); ok {
		return m.valueAddr(x, off), nil
	}
	return 0, nil
}

func (m *Machine) queueHelper(id asm.BuiltinFunc, q *maps.Queue, a [5]uint64) (uint64, error) {
	value, err := m.bytes(a[1], int(q.Spec().ValueSize), id != asm.FnMapPushElem)
	if err != nil {
		return 0, err
	}
	switch id {
	case asm.FnMapPushElem:
		return status(q.Push(value, a[2])), nil
	case asm.FnMapPopElem:
		return status(q.Pop(value)), nil
	}
	return status(q.Peek(value)), nil
}

// tailCall replaces the running function by another program. If the entry has none,
// the run continues after the call. R0 keeps its value.
func (m *Machine) tailCall(top *frame) error {
	x, err := m.mapOf(m.regs[2])
	if err != nil {
		return err
	}
	t, ok := x.(*maps.Targets)
	if !ok || x.Spec().Type != ebpf.ProgramArray {
		return m.fault("map-operation", "tail_call takes a prog_array, not a %s", x.Spec().Type)
	}
	var next *Program
	if v, there := t.Target(uint32(m.regs[3])); there && m.tails < maxTailCalls && m.opt.Tail != nil {
		next = m.opt.Tail(t, uint32(get(v)))
	}
	if next == nil {
		top.pc++
		return nil
	}
	if len(next.Maps) != len(next.Code.Maps) {
		return m.fault("unknown-map", "program %s lacks maps", next.Code.Name)
	}
	m.tails++
	m.see(next.Maps)
	top.prog, top.pc = next, 0
	clear(top.stack)
	m.regs[1] = m.argument()
	return nil
}

// loop is bpf_loop: it calls fn(i, ctx) up to n times, until a call returns non-zero.
// It returns the number of calls.
func (m *Machine) loop(a [5]uint64) (uint64, error) {
	n := uint32(a[0])
	if a[3] != 0 {
		return negative(maps.EINVAL), nil
	}
	if n > maxLoops {
		return negative(maps.E2BIG), nil
	}
	for i := range uint64(n) {
		stop, err := m.callback(a[1], i, a[2])
		if err != nil {
			return 0, err
		}
		if stop != 0 {
			return i + 1, nil
		}
	}
	return uint64(n), nil
}

// forEach is bpf_for_each_map_elem: calls fn(map, key, value, ctx) for each
// entry until it returns non-zero. The key lies in a scratch frame of the stack
// below the callback's, as the kernel passes a pointer to its own copy.
func (m *Machine) forEach(a [5]uint64) (uint64, error) {
	x, err := m.mapOf(a[0])
	if err != nil {
		return 0, err
	}
	spec := x.Spec()
	if info, _ := helper.MapTypeInfo(spec.Type); !info.Allows(asm.FnForEachMapElem) || spec.Type == ebpf.LPMTrie || spec.KeySize > stackSize {
		return 0, m.fault("map-operation", "for_each_map_elem does not take a %s", spec.Type)
	}
	if a[3] != 0 {
		return negative(maps.EINVAL), nil
	}
	n := uint64(0)
	for key, err := x.NextKey(nil); err == nil; {
		next, nextErr := x.NextKey(key) // before the callback may delete the entry
		off, ok := x.Lookup(key)
		if ok {
			n++
			stop, err := m.forOne(a, x, key, off)
			if err != nil {
				return 0, err
			}
			if stop != 0 {
				break
			}
		}
		key, err = next, nextErr
	}
	return n, nil
}

func (m *Machine) forOne(a [5]uint64, x maps.Map, key []byte, off int) (uint64, error) {
	top := &m.frames[len(m.frames)-1]
	keyFrame := len(m.frames)
	if err := m.push(top.prog, top.pc); err != nil {
		return 0, err
	}
	copy(m.frames[keyFrame].stack, key)
	r, err := m.callback(a[1], a[0], m.FramePointer(keyFrame)-stackSize, m.valueAddr(x, off), a[2])
	if err != nil {
		return 0, err
	}
	m.pop()
	return r, nil
}

// Flags of perf_event_output.
const (
	indexMask  = 0xffff_ffff
	currentCPU = indexMask
	ctxLenMask = 0xf_ffff << 32
)

// perfEventOutput collects a record. Host rings are assumed to exist for every
// index below max_entries, whether or not the map has an entry.
func (m *Machine) perfEventOutput(a [5]uint64) (uint64, error) {
	x, err := m.mapOf(a[1])
	if err != nil {
		return 0, err
	}
	spec := x.Spec()
	if spec.Type != ebpf.PerfEventArray {
		return 0, m.fault("map-operation", "perf_event_output takes a perf_event_array, not a %s", spec.Type)
	}
	data, err := m.bytes(a[3], int(uint32(a[4])), false)
	if err != nil && a[4] != 0 {
		return 0, err
	}
	flags, captured := a[2], int(a[2]&ctxLenMask>>32)
	if flags&^(indexMask|ctxLenMask) != 0 {
		return negative(maps.EINVAL), nil
	}
	if captured > m.PacketLen() {
		return negative(eFAULT), nil
	}
	cpu := uint32(flags)
	if cpu == currentCPU {
		cpu = uint32(m.opt.CPU())
	}
	if spec.MaxEntries != 0 && cpu >= spec.MaxEntries {
		return negative(maps.E2BIG), nil
	}
	e := Event{Map: spec, CPU: cpu, Data: append([]byte(nil), data...)}
	e.Packet = append(e.Packet, m.buffer[m.start:m.start+captured]...)
	m.out.Events = append(m.out.Events, e)
	return 0, nil
}

func (m *Machine) ringbufOutput(a [5]uint64) (uint64, error) {
	x, err := m.mapOf(a[0])
	if err != nil {
		return 0, err
	}
	if x.Spec().Type != ebpf.RingBuf {
		return 0, m.fault("map-operation", "ringbuf_output takes a ringbuf, not a %s", x.Spec().Type)
	}
	data, err := m.bytes(a[1], int(uint32(a[2])), false)
	if err != nil {
		return 0, err
	}
	if a[3]&^3 != 0 { // BPF_RB_NO_WAKEUP, BPF_RB_FORCE_WAKEUP
		return negative(maps.EINVAL), nil
	}
	m.out.Events = append(m.out.Events, Event{Map: x.Spec(), CPU: uint32(m.opt.CPU()), Data: append([]byte(nil), data...)})
	return 0, nil
}
