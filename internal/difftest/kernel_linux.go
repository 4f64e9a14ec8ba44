package difftest

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// Permitted returns nil if this process may load programs into the running kernel,
// else the reason. It loads a program and runs it on a packet.
func Permitted() error {
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.XDP, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
	if err != nil {
		return fmt.Errorf("bpf(2) is not permitted here: %w", err)
	}
	defer prog.Close()
	got, err := prog.Run(&ebpf.RunOptions{Data: make([]byte, 64)})
	if err == nil && got != 2 {
		err = fmt.Errorf("returned %d, not 2", got)
	}
	if err != nil {
		return fmt.Errorf("BPF_PROG_TEST_RUN: %w", err)
	}
	return nil
}

// Kernel runs programs in the running kernel. It belongs to the goroutine that created
// it, whose thread then stays on one CPU: per-CPU values are that CPU's. Maps live as
// long as the Kernel and are refilled for each program.
type Kernel struct {
	cpu  int
	cpus int
	maps map[string]*kernelMap
	out  []byte
}

type kernelMap struct {
	spec *ebpf.MapSpec
	m    *ebpf.Map
	used bool // may hold something
}

// NewKernel locks the calling goroutine to its thread and the thread to the
// n-th CPU that it is allowed to run on.
func NewKernel(n int) (*Kernel, error) {
	runtime.LockOSThread()
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return nil, err
	}
	n %= allowed.Count()
	cpu := 0
	for ; ; cpu++ {
		if !allowed.IsSet(cpu) {
			continue
		}
		if n == 0 {
			break
		}
		n--
	}
	one.Set(cpu)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return nil, err
	}
	cpus, err := ebpf.PossibleCPU()
	if err != nil {
		return nil, err
	}
	return &Kernel{cpu: cpu, cpus: cpus, maps: map[string]*kernelMap{}, out: make([]byte, 4096)}, nil
}

// Close frees the maps. The thread stays locked, so that it ends with its goroutine.
func (k *Kernel) Close() {
	for _, m := range k.maps {
		m.m.Close()
	}
}

// Refused is the kernel verifier's no.
type Refused struct {
	Reason string // last line of the log
}

func (r *Refused) Error() string { return "kernel verifier: " + r.Reason }

// Run loads the program and runs it on its packets. If the verifier refuses it,
// the error is *Refused.
func (k *Kernel) Run(p *Program) (*Result, error) {
	for name, spec := range p.Maps {
		if err := k.fill(k.key(p, name), spec, p.Initial[name]); err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
	}
	for i, target := range p.Targets {
		prog, err := k.load(p, target)
		if err != nil {
			return nil, err
		}
		defer prog.Close()
		if jump := p.Maps[jumpMap]; jump != nil {
			if err := k.maps[k.key(p, jumpMap)].m.Put(i, prog); err != nil {
				return nil, err
			}
		}
	}
	prog, err := k.load(p, p.Spec)
	if err != nil {
		return nil, err
	}
	defer prog.Close()
	res := &Result{Maps: Contents{}}
	for i, pkt := range p.Packets {
		if len(pkt) < kernelMinPacket || len(pkt) > kernelMaxPacket {
			return nil, fmt.Errorf("packet %d: %d bytes, the kernel takes %d to %d", i, len(pkt), kernelMinPacket, kernelMaxPacket)
		}
		opt := &ebpf.RunOptions{Data: pkt, DataOut: k.out}
		verdict, err := prog.Run(opt)
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i, err)
		}
		res.Packets = append(res.Packets, PacketResult{Verdict: verdict, Data: bytes.Clone(opt.DataOut)})
	}
	for name, spec := range p.Maps {
		if !hasValues(spec.Type) {
			continue
		}
		entries, err := k.dump(k.maps[k.key(p, name)])
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", name, err)
		}
		if len(entries) > 0 {
			res.Maps[name] = entries
		}
	}
	return res, nil
}

// key returns the name under which a map is kept. A program array belongs to the type
// of the first program that names it.
func (k *Kernel) key(p *Program, name string) string {
	if p.Maps[name].Type == ebpf.ProgramArray {
		return name + " of " + p.Spec.Type.String()
	}
	return name
}

func (k *Kernel) load(p *Program, from *ebpf.ProgramSpec) (*ebpf.Program, error) {
	// The log of this level has the reason and no states. With states the log of a
	// million instructions is hundreds of megabytes, and the library loads the program
	// again for each buffer that is too small.
	prog, err := k.loadLogged(p, from, ebpf.LogLevelStats)
	var ve *ebpf.VerifierError
	switch {
	case errors.As(err, &ve):
		reason := lastWords(ve.Log)
		if reason == "" {
			reason = ve.Unwrap().Error()
		}
		return nil, &Refused{Reason: reason}
	case errors.Is(err, unix.EFAULT):
		// The kernel's verifier found a bug of its own, described in dmesg: Linux
		// 6.18, "stack slot 14, total slots 0", seed 6028488. That is no verdict.
		return nil, &Refused{Reason: "a bug of the kernel's verifier"}
	}
	return prog, err
}

// log returns the kernel verifier's log of a program, with states: of the path that it
// refuses, or of all paths.
func (k *Kernel) log(p *Program) string {
	prog, err := k.loadLogged(p, p.Spec, ebpf.LogLevelBranch)
	if err == nil {
		prog.Close()
		prog, err = k.loadLogged(p, p.Spec, ebpf.LogLevelInstruction)
	}
	var ve *ebpf.VerifierError
	if errors.As(err, &ve) {
		return strings.Join(ve.Log, "\n")
	}
	if err != nil {
		return ""
	}
	defer prog.Close()
	return prog.VerifierLog
}

func (k *Kernel) loadLogged(p *Program, from *ebpf.ProgramSpec, level ebpf.LogLevel) (*ebpf.Program, error) {
	spec := *from
	spec.License = "GPL"
	spec.Instructions = make(asm.Instructions, len(from.Instructions))
	copy(spec.Instructions, from.Instructions)
	for i := range spec.Instructions {
		ins := &spec.Instructions[i]
		if op := ins.OpCode.AtomicOp(); op != asm.InvalidAtomic {
			ins.Constant = int64(op >> 8) // cilium/ebpf 0.22 writes the constant of before, and so an add
		}
		if ins.IsLoadFromMap() {
			if err := ins.AssociateMap(k.maps[k.key(p, ins.Reference())].m); err != nil {
				return nil, err
			}
		}
	}
	return ebpf.NewProgramWithOptions(&spec, ebpf.ProgramOptions{LogLevel: level, LogSizeStart: 1 << 16})
}

// lastWords returns the line of a verifier log that gives the reason, if any
// does.
func lastWords(log []string) string {
	for i := len(log) - 1; i >= 0; i-- {
		l := strings.TrimSpace(log[i])
		if l != "" && !strings.HasPrefix(l, "processed ") && !strings.HasPrefix(l, "verification time ") && !strings.HasPrefix(l, "stack depth ") {
			return l
		}
	}
	return ""
}

// fill gives the map kept under name exactly the entries. It creates the map first if
// needed.
func (k *Kernel) fill(name string, spec *ebpf.MapSpec, entries []Entry) error {
	km := k.maps[name]
	if km == nil {
		m, err := ebpf.NewMap(spec)
		if err != nil {
			return err
		}
		km = &kernelMap{spec: spec, m: m}
		k.maps[name] = km
	}
	if !hasValues(spec.Type) {
		for i := range spec.MaxEntries {
			// An entry that does not exist cannot be deleted, which is fine.
			_ = km.m.Delete(i)
		}
	}
	if km.used && hasValues(spec.Type) {
		if err := k.empty(km); err != nil {
			return err
		}
	}
	km.used = true
	for _, e := range entries {
		var err error
		if isPerCPU(spec.Type) {
			err = km.m.Put(e.Key, k.spread(e.Value))
		} else {
			err = km.m.Put(e.Key, e.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// spread returns a per-CPU value for the kernel: this CPU's slot set, the rest zero.
func (k *Kernel) spread(value []byte) [][]byte {
	all := make([][]byte, k.cpus)
	for i := range all {
		all[i] = make([]byte, len(value))
	}
	copy(all[k.cpu], value)
	return all
}

func (k *Kernel) empty(km *kernelMap) error {
	if isArray(km.spec.Type) {
		zero := make([]byte, km.spec.ValueSize)
		for i := range km.spec.MaxEntries {
			var err error
			if isPerCPU(km.spec.Type) {
				err = km.m.Put(i, k.spread(zero))
			} else {
				err = km.m.Put(i, zero)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	keys, err := k.keys(km)
	for _, key := range keys {
		if err := km.m.Delete(key); err != nil {
			return err
		}
	}
	return err
}

func (k *Kernel) keys(km *kernelMap) ([][]byte, error) {
	var keys [][]byte
	key, err := km.m.NextKeyBytes(nil)
	for key != nil && err == nil {
		keys = append(keys, key)
		key, err = km.m.NextKeyBytes(key)
	}
	return keys, err
}

func (k *Kernel) dump(km *kernelMap) ([]Entry, error) {
	keys, err := k.keys(km)
	if err != nil {
		return nil, err
	}
	var entries []Entry
	for _, key := range keys {
		var value []byte
		if isPerCPU(km.spec.Type) {
			var all [][]byte
			if err := km.m.Lookup(key, &all); err != nil {
				return nil, err
			}
			value = bytes.Clone(all[k.cpu])
		} else if value, err = km.m.LookupBytes(key); err != nil {
			return nil, err
		}
		entries = append(entries, Entry{Key: key, Value: value[:km.spec.ValueSize]})
	}
	return sorted(km.spec, entries), nil
}
