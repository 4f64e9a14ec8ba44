// Package bound computes lower limits for the cost of a program on a packet, which no
// compiled code can beat. One is the duration of the longest chain of waits, the
// other the minimum number of instructions that must issue.
//
// Create a Meter for a program and its maps with New, then call Packet for each
// packet. Each Bound follows from one run of the reference interpreter, during which
// the Meter records when each value is available at the earliest and which other
// values it depends on.
//
// The two limits are independent. Latency assumes that computation takes no time.
// Issue assumes that no memory access waits. Neither may ever exceed the cycles that
// the simulator measures for correct code.
package bound

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Bound holds the lower limits for one packet, in engine cycles from entry to exit
// with one context running.
type Bound struct {
	// Latency is the longest chain of packet reads, map reads, helper calls, and
	// writes that must be complete at exit. Each waits for the values from which its
	// address and its arguments were computed. Helpers and writes also wait for every
	// comparison that the path to them depends on. Plain reads do not, as code may
	// load speculatively. Helpers run one after the other.
	Latency int
	// Issue counts the instructions that must issue:
	//
	//   - a command for every 32 bytes of the packet and of a map value that are read,
	//     and for every 32 bytes written, at any addresses;
	//   - an instruction for every four bytes written, where a byte written twice
	//     counts once;
	//   - two for an addition to a map;
	//   - for a helper call: two for its arguments, the branch and its unfilled delay
	//     slot, the helper's own cycles, and one for every 32-bit word of its key and
	//     value;
	//   - one for each pair of values that is compared, if the packet or a map decides
	//     the comparison;
	//   - three for the exit.
	Issue int
}

// Meter measures a program packet by packet. Its maps keep their contents.
type Meter struct {
	machine *interp.Machine
	maps    []maps.Map
	profile *firmware.Profile
	model   *nfp.Model
	run     run
}

// New returns a Meter for a program whose maps are ms, indexed as c.Maps.
func New(c *code.Code, ms []maps.Map, p *firmware.Profile, m *nfp.Model) (*Meter, error) {
	b := &Meter{maps: ms, profile: p, model: m}
	var err error
	b.machine, err = interp.New(c, ms, &interp.Options{
		Headroom: firmware.PacketOffset, HeadMin: p.AdjustHead.OffMin, HeadMax: p.AdjustHead.OffMax,
		ShrinkOnly: true, NoMeta: true, FoldCsum: true,
		Trace: func(c *code.Code, index int, regs *[11]uint64) { b.step(&c.Insns[index], regs) },
	})
	return b, err
}

// Packet runs the program on a packet and returns the packet's limits.
func (b *Meter) Packet(data []byte) (Bound, error) {
	b.run = run{stored: map[uint64]known{}, loaded: map[uint64]int{}, windows: map[uint64]bool{}, written: map[uint64]bool{}, tests: map[[2]int]bool{}}
	if _, err := b.machine.Run(&interp.Input{Packet: data, Ifindex: 1}); err != nil {
		return Bound{}, err
	}
	r := &b.run
	n := len(r.written)
	return Bound{Latency: max(r.decided, r.served, r.due, r.regs[0].ready), Issue: r.issue + (n+window-1)/window + (n+3)/4 + exitWords}, nil
}

const (
	exitWords   = 3 // the result word, the branch, the delay slot that cannot be filled
	helperWords = 4 // two arguments in the branch's delay slots, the branch, an unfilled slot
	window      = 32
)

// known describes a value: when it is available at the earliest, which value it is,
// and whether the packet or a map decides it.
type known struct {
	ready int
	id    int
	data  bool
}

// run is the state of one run of the program.
type run struct {
	regs    [11]known
	saved   [][4]known       // r6..r9 of callers
	stored  map[uint64]known // by byte address: values that the program stored
	loaded  map[uint64]int   // by byte address: when a load returned it
	windows map[uint64]bool  // 32-byte pieces of memory that were read
	written map[uint64]bool  // by byte address: stored bytes of packet and maps
	tests   map[[2]int]bool
	decided int // when all comparisons on the path so far are known
	served  int // end of the last helper
	due     int // when all writes are complete
	issue   int
	ids     int
}

func (r *run) fresh(ready int, data bool) known {
	r.ids++
	return known{ready, r.ids, data}
}

// step records an instruction that is about to run.
func (b *Meter) step(in *code.Insn, regs *[11]uint64) {
	r := &b.run
	dst, src := &r.regs[in.Dst%11], r.regs[in.Src%11]
	switch in.OpCode.Class() {
	case asm.ALUClass, asm.ALU64Class:
		b.alu(in, dst, src)
	case asm.JumpClass, asm.Jump32Class:
		b.jump(in, regs)
	case asm.LdClass:
		if m := in.OpCode.Mode(); m == asm.AbsMode || m == asm.IndMode {
			at := src.ready
			if m == asm.AbsMode {
				at = 0
			}
			addr := uint64(b.machine.PacketStart()) + uint64(uint32(in.Constant))
			if m == asm.IndMode {
				addr += uint64(uint32(regs[in.Src]))
			}
			r.regs[0] = b.load(addr, in.OpCode.Size().Sizeof(), at, b.model.CTM.Read)
			return
		}
		*dst = r.fresh(0, false)
	case asm.LdXClass:
		addr := regs[in.Src] + uint64(int64(in.Offset))
		*dst = b.loadFrom(addr, in.OpCode.Size().Sizeof(), src)
	default:
		b.store(in, regs)
	}
}

func (b *Meter) alu(in *code.Insn, dst *known, src known) {
	r := &b.run
	op := in.OpCode.ALUOp()
	switch {
	case op == asm.Mov && in.OpCode.Source() == asm.RegSource:
		*dst = src
	case op == asm.Mov:
		*dst = r.fresh(0, false)
	case op != asm.Swap && op != asm.Neg && in.OpCode.Source() == asm.RegSource:
		*dst = r.fresh(max(dst.ready, src.ready), dst.data || src.data)
	default:
		*dst = r.fresh(dst.ready, dst.data)
	}
}

func (b *Meter) jump(in *code.Insn, regs *[11]uint64) {
	r := &b.run
	switch in.OpCode.JumpOp() {
	case asm.Ja:
	case asm.Exit:
		if n := len(r.saved); n > 0 {
			copy(r.regs[6:10], r.saved[n-1][:])
			r.saved = r.saved[:n-1]
		}
	case asm.Call:
		if in.Callee != code.None {
			r.saved = append(r.saved, [4]known(r.regs[6:10]))
			return
		}
		b.helper(int32(in.Constant), regs)
	default:
		x, y := r.regs[in.Dst], known{}
		if in.OpCode.Source() == asm.RegSource {
			y = r.regs[in.Src]
		}
		r.decided = max(r.decided, x.ready, y.ready)
		if pair := [2]int{x.id, y.id}; (x.data || y.data) && !r.tests[pair] {
			r.tests[pair] = true
			r.issue++
		}
	}
}

// Kinds of memory by address: see package interp.
func isStack(addr uint64) bool  { return addr>>28 == 2 }
func isCtx(addr uint64) bool    { return addr>>28 == 1 }
func isPacket(addr uint64) bool { return addr>>28 == 8 }

func (b *Meter) loadFrom(addr uint64, size int, base known) known {
	r := &b.run
	switch {
	case isCtx(addr):
		// The packet decides its end but not its start. Both fields are treated as
		// decided by the packet, as comparisons of a start alone do not occur.
		return r.fresh(0, true)
	case isStack(addr):
		v := known{}
		for i := range uint64(size) {
			s := r.stored[addr+i]
			v.ready, v.data = max(v.ready, s.ready), v.data || s.data
			v.id = s.id
		}
		return v
	case isPacket(addr):
		return b.load(addr, size, base.ready, b.model.CTM.Read)
	}
	return b.load(addr, size, base.ready, b.model.EMEM.Read)
}

// load records a load of packet or map whose address is known at cycle at.
func (b *Meter) load(addr uint64, size, at, latency int) known {
	r := &b.run
	ready := 0
	for i := range uint64(size) {
		if s, ok := r.stored[addr+i]; ok {
			ready = max(ready, s.ready)
			continue
		}
		t := at + latency
		if before, ok := r.loaded[addr+i]; ok {
			t = min(t, before)
		}
		r.loaded[addr+i] = t
		ready = max(ready, t)
		if w := (addr + i) / window; !r.windows[w] {
			r.windows[w] = true
			r.issue++
		}
	}
	return r.fresh(ready, true)
}

func (b *Meter) store(in *code.Insn, regs *[11]uint64) {
	r := &b.run
	addr, size := regs[in.Dst]+uint64(int64(in.Offset)), in.OpCode.Size().Sizeof()
	v := known{}
	if in.OpCode.Class() == asm.StXClass {
		v = r.regs[in.Src]
	}
	if isCtx(addr) {
		r.issue++
		return
	}
	if in.OpCode.Mode() == asm.AtomicMode && !isStack(addr) {
		b.atomic(in, regs, v)
		return
	}
	if !isStack(addr) {
		unit := &b.model.EMEM
		if isPacket(addr) {
			unit = &b.model.CTM
		}
		r.due = max(r.due, max(r.decided, r.served, r.regs[in.Dst].ready, v.ready)+unit.Write)
		for i := range uint64(size) {
			r.written[addr+i] = true
		}
	}
	for i := range uint64(size) {
		r.stored[addr+i] = v
	}
}

// atomic records an atomic operation on a map. The exit does not wait for an addition
// of a value of at most 16 bits.
func (b *Meter) atomic(in *code.Insn, regs *[11]uint64, v known) {
	r := &b.run
	r.issue += 2
	start := max(r.decided, r.served, r.regs[in.Dst].ready, v.ready)
	op := in.OpCode.AtomicOp()
	if op == asm.AddAtomic && regs[in.Src] <= 0xffff {
		return
	}
	end := start + b.model.EMEM.Atomic
	r.due = max(r.due, end)
	switch op {
	case asm.AddAtomic, asm.AndAtomic, asm.OrAtomic, asm.XorAtomic:
	case asm.CmpXchg:
		r.regs[0] = r.fresh(end, true)
	default:
		r.regs[in.Src] = r.fresh(end, true)
	}
}

// helper records a call of a firmware helper, or the work done inline for one.
func (b *Meter) helper(id int32, regs *[11]uint64) {
	r := &b.run
	at := max(r.decided, r.served)
	if b.profile.Inlines(id) {
		r.regs[0] = r.fresh(max(at, r.regs[2].ready), true)
		return
	}
	key := func(addr uint64, n uint32) {
		for i := range uint64(n) {
			at = max(at, r.stored[addr+i].ready)
		}
		r.issue += int(n+3) / 4
	}
	what := "other"
	if m := b.mapOf(regs[1]); m != nil && id >= 1 && id <= 3 {
		at = max(at, r.regs[2].ready)
		key(regs[2], m.KeySize)
		switch {
		case id == 2:
			what = "update"
			key(regs[3], m.ValueSize)
		case id == 3:
			what = "delete"
		default:
			what = "lookup_hash"
			switch m.Type {
			case ebpf.Array, ebpf.PerCPUArray, ebpf.DevMap, ebpf.CPUMap, ebpf.ProgramArray:
				what = "lookup_array"
			}
		}
	} else {
		for n := range 5 {
			if regs[n+1] != 0 {
				at = max(at, r.regs[n+1].ready)
			}
		}
	}
	cost := b.profile.Costs[what]
	r.served = at + cost.Issue + cost.Reads*b.model.EMEM.Read
	r.issue += helperWords + cost.Issue
	r.regs[0] = r.fresh(r.served, true)
}

// mapOf returns the map of a handle, or nil if there is none.
func (b *Meter) mapOf(handle uint64) *ebpf.MapSpec {
	for i, m := range b.maps {
		if b.machine.MapHandle(i) == handle {
			return m.Spec()
		}
	}
	return nil
}
