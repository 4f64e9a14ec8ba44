package offload

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// This file probes the features and limits of a card. The driver reads them from the
// firmware but does not expose them. So they are found by trial, with programs that
// are never attached and maps that are freed at once. Success is proof, but a failure
// may be due to other objects on the card at the time. Hence each limit is a lower
// bound.

// A Feature is a capability that a port's card may have.
type Feature struct {
	Kind string `json:"kind"` // program_type, map_type, helper, or instruction
	Name string `json:"name"`
	Have bool   `json:"available"`
	Why  string `json:"why,omitempty"` // the refusal, if it does not have it
}

// A Limit is a lower bound.
type Limit struct {
	Name    string `json:"name"`
	AtLeast int    `json:"at_least"`
	Source  string `json:"source"` // the largest trial, and the result of one more
}

// Features is the result of probing a port's card.
type Features struct {
	Port     Ref       `json:"port"`
	Features []Feature `json:"features"`
	Limits   []Limit   `json:"limits"`
}

// Have reports whether the card has a feature.
func (f *Features) Have(kind, name string) bool {
	return slices.ContainsFunc(f.Features, func(x Feature) bool { return x.Kind == kind && x.Name == name && x.Have })
}

// Probe probes the card of a port. While it runs, for some hundredths of a second, it
// occupies most of the card's room for maps. It returns an error only if the result
// would not describe the card: no permission, or the port was removed.
func Probe(ctx context.Context, k Kernel, on *Port) (*Features, error) {
	p := &prober{ctx: ctx, kernel: k, on: on, found: &Features{Port: on.Ref(), Features: []Feature{}, Limits: []Limit{}}}
	for _, do := range []func() error{p.types, p.mapTypes, p.helpers, p.instructions, p.mapLimits, p.programLimits} {
		if err := do(); err != nil {
			return nil, err
		}
	}
	return p.found, nil
}

type prober struct {
	ctx    context.Context
	kernel Kernel
	on     *Port
	found  *Features
	maps   map[string]Map // for trial programs
}

// fatal returns err if it is unrelated to the trial, otherwise nil.
func (p *prober) fatal(err error) error {
	if ctxErr := p.ctx.Err(); ctxErr != nil {
		return &Error{Op: "probe", Object: p.on.Ref().String(), Reason: "interrupted", Msg: ctxErr.Error(), Err: ctxErr}
	}
	switch ReasonOf(err) {
	case "no-permission", "port-gone", "gone", "interrupted", "firmware-timeout", "old-kernel", "foreign-namespace":
		return err
	}
	return nil
}

// add records whether a trial succeeded.
func (p *prober) add(kind, name string, err error) error {
	f := Feature{Kind: kind, Name: name, Have: err == nil}
	if err != nil {
		f.Why = oneLine(err)
	}
	p.found.Features = append(p.found.Features, f)
	return p.fatal(err)
}

// load loads a program and frees it.
func (p *prober) load(typ ebpf.ProgramType, insns asm.Instructions) (ProgramInfo, error) {
	prog, err := p.kernel.LoadProgram(&ebpf.ProgramSpec{Name: "probe", Type: typ, License: "GPL", Instructions: insns}, p.maps, p.on)
	if err != nil {
		return ProgramInfo{}, err
	}
	defer prog.Close()
	return prog.Info()
}

// create creates a map and frees it. An array of perf events of a program on a card is in
// the host's memory.
func (p *prober) create(typ ebpf.MapType, key, value, entries int) error {
	on := p.on
	if typ == ebpf.PerfEventArray {
		on = nil
	}
	m, err := p.kernel.CreateMap(&ebpf.MapSpec{Name: "probe", Type: typ, KeySize: uint32(key), ValueSize: uint32(value), MaxEntries: uint32(entries)}, on)
	if err != nil {
		return err
	}
	return m.Close()
}

// drop returns a program that returns TC_ACT_SHOT, which is a valid XDP result too.
func drop() asm.Instructions { return asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()} }

// Pass returns the smallest XDP program: it passes every packet.
func Pass() *ebpf.ProgramSpec {
	return &ebpf.ProgramSpec{Name: "pass", Type: ebpf.XDP, License: "GPL", Instructions: drop()}
}

func (p *prober) types() error {
	for _, t := range []struct {
		name string
		typ  ebpf.ProgramType
	}{{"xdp", ebpf.XDP}, {"sched_cls", ebpf.SchedCLS}} {
		_, err := p.load(t.typ, drop())
		if err := p.add("program_type", t.name, err); err != nil {
			return err
		}
	}
	return nil
}

func (p *prober) mapTypes() error {
	for _, t := range mapTypes {
		key, value := 4, 8
		switch t.typ {
		case ebpf.LPMTrie:
			key = 8
		case ebpf.ProgramArray, ebpf.PerfEventArray, ebpf.CGroupArray, ebpf.ArrayOfMaps, ebpf.HashOfMaps, ebpf.DevMap, ebpf.CPUMap, ebpf.XSKMap, ebpf.DevMapHash, ebpf.SockMap, ebpf.SockHash:
			value = 4
		case ebpf.Queue, ebpf.Stack:
			key = 0
		case ebpf.RingBuf:
			key, value = 0, 0
		}
		if err := p.add("map_type", t.name, p.create(t.typ, key, value, 1)); err != nil {
			return err
		}
	}
	return nil
}

// withMap returns a program that calls a map's helper on map m.
func withMap(fn asm.BuiltinFunc) asm.Instructions {
	insns := asm.Instructions{
		asm.Mov.Imm(asm.R2, 0), asm.StoreMem(asm.RFP, -4, asm.R2, asm.Word),
		asm.StoreMem(asm.RFP, -16, asm.R2, asm.DWord),
		asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, -4),
		asm.Mov.Reg(asm.R3, asm.RFP), asm.Add.Imm(asm.R3, -16), asm.Mov.Imm(asm.R4, 0),
		asm.LoadMapPtr(asm.R1, 0).WithReference("m"), fn.Call(),
	}
	return append(insns, drop()...)
}

// helpers probes the helpers that any card's firmware may offer.
func (p *prober) helpers() error {
	m, err := p.kernel.CreateMap(&ebpf.MapSpec{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1}, p.on)
	if err == nil {
		p.maps = map[string]Map{"m": m}
		defer func() { p.maps = nil; m.Close() }()
	}
	simple := func(fn asm.BuiltinFunc, args ...asm.Instruction) asm.Instructions {
		return append(append(asm.Instructions(args), fn.Call()), drop()...)
	}
	for _, h := range []struct {
		name  string
		insns asm.Instructions
		maps  bool
	}{
		{"bpf_map_lookup_elem", withMap(asm.FnMapLookupElem), true},
		{"bpf_map_update_elem", withMap(asm.FnMapUpdateElem), true},
		{"bpf_map_delete_elem", withMap(asm.FnMapDeleteElem), true},
		{"bpf_get_prandom_u32", simple(asm.FnGetPrandomU32), false},
		{"bpf_xdp_adjust_head", simple(asm.FnXdpAdjustHead, asm.Mov.Imm(asm.R2, 4)), false},
		{"bpf_xdp_adjust_tail", simple(asm.FnXdpAdjustTail, asm.Mov.Imm(asm.R2, -4)), false},
	} {
		err := err // of the map
		if !h.maps || err == nil {
			_, err = p.load(ebpf.XDP, h.insns)
		}
		if err := p.add("helper", h.name, err); err != nil {
			return err
		}
	}
	return p.events()
}

// events probes perf_event_output, whose map is in the host's memory.
func (p *prober) events() error {
	ring, err := p.kernel.CreateMap(&ebpf.MapSpec{Name: "events", Type: ebpf.PerfEventArray, KeySize: 4, ValueSize: 4, MaxEntries: 1}, nil)
	if err == nil {
		defer ring.Close()
		maps := p.maps
		p.maps = map[string]Map{"events": ring}
		defer func() { p.maps = maps }()
		insns := asm.Instructions{
			asm.Mov.Imm(asm.R2, 0), asm.StoreMem(asm.RFP, -8, asm.R2, asm.DWord),
			asm.LoadMapPtr(asm.R2, 0).WithReference("events"), asm.LoadImm(asm.R3, 0xffffffff, asm.DWord), // the current CPU
			asm.Mov.Reg(asm.R4, asm.RFP), asm.Add.Imm(asm.R4, -8), asm.Mov.Imm(asm.R5, 8), asm.FnPerfEventOutput.Call(),
		}
		_, err = p.load(ebpf.XDP, append(insns, drop()...))
	}
	return p.add("helper", "bpf_perf_event_output", err)
}

// packetByte loads an unknown byte into r0.
func packetByte() asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, 0, asm.Word), asm.LoadMem(asm.R3, asm.R1, 4, asm.Word), asm.Mov.Imm(asm.R0, 2),
		asm.Mov.Reg(asm.R4, asm.R2), asm.Add.Imm(asm.R4, 1), asm.JGT.Reg(asm.R4, asm.R3, "out"),
		asm.LoadMem(asm.R0, asm.R2, 0, asm.Byte),
	}
}

func (p *prober) instructions() error {
	done := asm.Return().WithSymbol("out")
	for _, i := range []struct {
		name  string
		insns asm.Instructions
	}{
		{"multiply", asm.Instructions{asm.Mul.Imm(asm.R0, 12345)}},
		{"multiply by register", asm.Instructions{asm.Mov.Reg(asm.R2, asm.R0), asm.Mul.Reg(asm.R0, asm.R2)}},
		{"divide by constant", asm.Instructions{asm.Div.Imm(asm.R0, 7)}},
		{"divide by register", asm.Instructions{asm.Mov.Reg(asm.R2, asm.R0), asm.Or.Imm(asm.R2, 1), asm.Div.Reg(asm.R0, asm.R2)}},
		{"modulo", asm.Instructions{asm.Mod.Imm(asm.R0, 7)}},
		{"shift by register", asm.Instructions{asm.Mov.Reg(asm.R2, asm.R0), asm.And.Imm(asm.R2, 7), asm.LSh.Reg(asm.R0, asm.R2)}},
		{"jump on 32 bits", asm.Instructions{asm.JEq.Imm32(asm.R0, 7, "out")}},
		{"byte order", asm.Instructions{asm.HostTo(asm.BE, asm.R0, asm.Half)}},
	} {
		_, err := p.load(ebpf.XDP, slices.Concat(packetByte(), i.insns, asm.Instructions{done}))
		if err := p.add("instruction", i.name, err); err != nil {
			return err
		}
	}
	calls := asm.Instructions{
		asm.Mov.Imm(asm.R1, 1), asm.Call.Label("sub"), asm.Return(),
		asm.Mov.Reg(asm.R0, asm.R1).WithSymbol("sub"), asm.Return(),
	}
	_, err := p.load(ebpf.XDP, calls)
	if err := p.add("instruction", "call of a function", err); err != nil {
		return err
	}
	if p.found.Have("helper", "bpf_map_lookup_elem") {
		return p.atomic()
	}
	return nil
}

// atomic probes counting in a map.
func (p *prober) atomic() error {
	m, err := p.kernel.CreateMap(&ebpf.MapSpec{Name: "m", Type: ebpf.Hash, KeySize: 4, ValueSize: 8, MaxEntries: 1}, p.on)
	if err != nil {
		return p.fatal(err)
	}
	defer m.Close()
	p.maps = map[string]Map{"m": m}
	defer func() { p.maps = nil }()
	insns := withMap(asm.FnMapLookupElem)
	insns = append(insns[:len(insns)-2], asm.JEq.Imm(asm.R0, 0, "out"), asm.Mov.Imm(asm.R1, 1), asm.AddAtomic.Mem(asm.R0, asm.R1, asm.DWord, 0),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("out"), asm.Return())
	_, err = p.load(ebpf.XDP, insns)
	return p.add("instruction", "atomic add", err)
}

// settle waits for the kernel's background work: a worker removes a closed map from
// the card, and until then its room is occupied.
func (p *prober) settle() {
	select {
	case <-p.ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

// most returns the largest n from low to high that ok accepts, or low-1 if there is
// none. ok must be monotonic. refused is the error of n+1. A refusal counts only if it
// is repeated after a while.
func (p *prober) most(low, high int, ok func(n int) error) (n int, refused, err error) {
	n = low - 1
	try := func(x int) bool {
		e := ok(x)
		if e == nil {
			n = x
			return true
		}
		refused, err = e, p.fatal(e)
		return false
	}
	for {
		bad := high + 1
		for step := 1; n < high; step *= 2 {
			if x := min(n+step, high); !try(x) {
				bad = x
				break
			}
		}
		for err == nil && n+1 < bad {
			if x := n + (bad-n)/2; !try(x) {
				bad = x
			}
		}
		if err != nil || bad > high {
			return n, refused, err
		}
		if p.settle(); !try(bad) {
			return n, refused, err
		}
	}
}

// limit records the result of a search.
func (p *prober) limit(name string, low, high int, what string, ok func(n int) error) error {
	n, refused, err := p.most(low, high, ok)
	if err != nil {
		return err
	}
	p.addLimit(name, n, high, what, refused)
	return nil
}

func (p *prober) addLimit(name string, n, high int, what string, refused error) {
	source := fmt.Sprintf("%s; one more: %s", what, "not tried")
	if n < high && refused != nil {
		source = fmt.Sprintf("%s; one more: %s", what, oneLine(refused))
	}
	p.found.Limits = append(p.found.Limits, Limit{Name: name, AtLeast: n, Source: source})
}

// Upper bounds of the trials: above the limits of any card, and small enough for the
// host.
const (
	mostMaps    = 1024
	mostEntries = 1 << 26
	mostBytes   = 4096
	mostInsns   = 1 << 15
	mostStack   = 512 // the verifier's own
)

// mapLimits probes the sizes of maps, with hashes or, if there are none, arrays.
func (p *prober) mapLimits() error {
	typ := ebpf.Hash
	if !p.found.Have("map_type", "hash") {
		if typ = ebpf.Array; !p.found.Have("map_type", "array") {
			return nil
		}
	}
	if err := p.limit("map_entries", 1, mostEntries, "a map of keys of 4 and values of 4 bytes was created", func(n int) error { return p.create(typ, 4, 4, n) }); err != nil {
		return err
	}
	if typ == ebpf.Hash {
		if err := p.limit("bytes_key", 1, mostBytes, "a map of values of 4 bytes was created", func(n int) error { return p.create(typ, n, 4, 1) }); err != nil {
			return err
		}
	}
	if err := p.limit("bytes_value", 1, mostBytes, "a map of keys of 4 bytes was created", func(n int) error { return p.create(typ, 4, n, 1) }); err != nil {
		return err
	}
	return p.countMaps(typ)
}

// countMaps creates as many maps as there is room for.
func (p *prober) countMaps(typ ebpf.MapType) error {
	var made []Map
	defer func() {
		for _, m := range made {
			m.Close()
		}
	}()
	var refused error
	settled := false // since the last refusal
	for len(made) < mostMaps {
		m, err := p.kernel.CreateMap(&ebpf.MapSpec{Name: "probe", Type: typ, KeySize: 4, ValueSize: 4, MaxEntries: 1}, p.on)
		if err == nil {
			made, settled = append(made, m), false
			continue
		}
		if refused = err; p.fatal(err) != nil {
			return err
		}
		if settled {
			break
		}
		p.settle()
		settled = true
	}
	p.addLimit("maps", len(made), mostMaps, "so many were created in addition to the existing ones", refused)
	return nil
}

// long returns a program of about n instructions, none of which can be eliminated.
func long(n int) asm.Instructions {
	insns := packetByte()
	for len(insns) < n-1 {
		insns = append(insns, asm.Mov.Reg32(asm.R2, asm.R0), asm.RSh.Imm32(asm.R2, 3), asm.Xor.Reg32(asm.R0, asm.R2), asm.Add.Imm32(asm.R0, 12345))
	}
	return append(insns, asm.Return().WithSymbol("out"))
}

func (p *prober) programLimits() error {
	words := 0
	n, refused, err := p.most(8, mostInsns, func(n int) error {
		info, err := p.load(ebpf.XDP, long(n))
		if err == nil {
			words = max(words, info.Words)
		}
		return err
	})
	if err != nil {
		return err
	}
	p.addLimit("insns", n, mostInsns, "a program of moves, shifts and sums was translated", refused)
	if words > 0 {
		p.addLimit("words", words, mostInsns, "microcode of the longest such program", refused)
	}
	n, refused, err = p.most(1, mostStack/8, func(n int) error {
		_, err := p.load(ebpf.XDP, append(asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.StoreMem(asm.RFP, int16(-8*n), asm.R0, asm.DWord)}, drop()...))
		return err
	})
	if err == nil {
		p.addLimit("bytes_stack", 8*n, mostStack, "a program that writes to the stack's end was loaded", refused)
	}
	return err
}
