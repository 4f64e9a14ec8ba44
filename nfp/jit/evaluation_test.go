package jit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/helper"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

func unlimited(t testing.TB) *firmware.Profile {
	t.Helper()
	p, err := firmware.Load("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// resolved is a program of a text, resolved and verified.
func resolved(t testing.TB, f *asmtext.File, name string, opt *verify.Options) (*code.Code, *verify.Facts, error) {
	t.Helper()
	c, faults := code.New(f.Spec.Programs[name], f.Spec.Maps)
	if len(faults) > 0 {
		return nil, nil, faults[0]
	}
	facts, err := verify.Verify(c, opt)
	return c, facts, err
}

// machineEnv is an ir.Env on the interpreter's memory and helpers. The stack is
// the machine's memory region, which programs with a context do not have; raw
// programs have a stack of their own, out of reach of helpers.
type machineEnv struct {
	m     *interp.Machine
	c     *code.Code
	names []string
	stack []byte // of raw programs
}

const stackBytes = 4096

func (e *machineEnv) PacketStart() uint32 { return e.m.PacketStart() }
func (e *machineEnv) PacketLen() uint32   { return uint32(e.m.PacketLen()) }

func (e *machineEnv) field(name string) (uint64, error) {
	ctx, _ := helper.Context(e.c.Type)
	for _, f := range ctx.Fields {
		if f.Name == name {
			return e.m.CtxAddr() + uint64(f.Off), nil
		}
	}
	return 0, fmt.Errorf("no field %s", name)
}

func (e *machineEnv) CtxLoad(name string) (uint32, error) {
	addr, err := e.field(name)
	if err != nil {
		return 0, err
	}
	v, err := e.m.Load(addr, 4)
	return uint32(v), err
}

func (e *machineEnv) CtxStore(name string, v uint32) error {
	addr, err := e.field(name)
	if err != nil {
		return err
	}
	return e.m.Store(addr, 4, uint64(v))
}

const rawStackAt = 0x1000

func (e *machineEnv) StackBase() uint32 {
	if e.stack != nil {
		return rawStackAt
	}
	return uint32(e.m.MemAddr())
}

// own returns stack memory of a raw program.
func (e *machineEnv) own(s ir.Space, addr uint64, size int) []byte {
	if s != ir.Stack || e.stack == nil || addr < rawStackAt || addr+uint64(size) > rawStackAt+stackBytes {
		return nil
	}
	return e.stack[addr-rawStackAt:][:size]
}

func (e *machineEnv) Load(s ir.Space, addr uint64, size int) (uint64, error) {
	if b := e.own(s, addr, size); b != nil {
		var v uint64
		for i := size - 1; i >= 0; i-- {
			v = v<<8 | uint64(b[i])
		}
		return v, nil
	}
	n, err := e.m.Load(addr, size)
	if err == nil || size != 4 {
		return n, err
	}
	// Reads of whole words may go past what is there; what they find there must
	// not matter.
	end := uint64(e.m.PacketStart()) + uint64(e.m.PacketLen())
	behind := s == ir.Packet && addr >= end && addr < end+64
	word := uint64(0xa55aa500)
	for i := range uint64(4) {
		x, err2 := e.m.Load(addr+i, 1)
		if err2 != nil {
			if i == 0 && !behind {
				return 0, err
			}
			break
		}
		word = word&^(0xff<<(8*i)) | x<<(8*i)
	}
	return word, nil
}

func (e *machineEnv) Store(s ir.Space, addr uint64, size int, v uint64) error {
	if b := e.own(s, addr, size); b != nil {
		for i := range b {
			b[i] = byte(v >> (8 * i))
		}
		return nil
	}
	return e.m.Store(addr, size, v)
}

func (e *machineEnv) Atomic(op ir.AtomicOp, s ir.Space, addr uint64, size int, v, expected uint64) (uint64, error) {
	if e.own(s, addr, size) != nil {
		old, _ := e.Load(s, addr, size)
		next := v
		switch op.Base() {
		case ir.AtomicAdd:
			next = old + v
		case ir.AtomicAnd:
			next = old & v
		case ir.AtomicOr:
			next = old | v
		case ir.AtomicXor:
			next = old ^ v
		case ir.AtomicCmpXchg:
			if old != expected {
				next = old
			}
		}
		return old, e.Store(s, addr, size, next)
	}
	ops := []asm.AtomicOp{asm.AddAtomic, asm.AndAtomic, asm.OrAtomic, asm.XorAtomic, asm.Xchg, asm.CmpXchg}
	return e.m.Atomic(ops[op.Base()], addr, size, v, expected)
}

func (e *machineEnv) Helper(id int32, args [5]uint64) (uint64, error) {
	proto, _ := helper.ByID(asm.BuiltinFunc(id))
	for i, a := range proto.Args {
		if a == helper.ArgConstMap {
			args[i] = e.m.MapHandle(int(args[i]) - 1)
		}
		keyOrValue := a == helper.ArgMapKey || a == helper.ArgMapValue
		if keyOrValue && (args[i]>>32 != 0 || args[i]%4 != 0 || args[i] < e.m.MemAddr() || args[i] >= e.m.MemAddr()+stackBytes) {
			return 0, fmt.Errorf("argument %d of %s is no aligned stack address: %#x", i+1, proto.Name, args[i])
		}
	}
	return e.m.Helper(asm.BuiltinFunc(id), args)
}

func (e *machineEnv) TailCall(handle, index uint32) (uint64, bool, error) { return 0, false, nil }

func (e *machineEnv) index(name string) (int, error) {
	for i, n := range e.names {
		if n == name {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no map %s", name)
}

func (e *machineEnv) MapHandle(name string) (uint32, error) {
	i, err := e.index(name)
	return uint32(i) + 1, err
}

func (e *machineEnv) MapValueAddr(name string, off int64) (uint64, error) {
	i, err := e.index(name)
	return e.m.MapValueAddr(i, int(off)), err
}

// state returns the result of a run as text.
func state(m *interp.Machine, ms []maps.Map, r0 uint64, raw bool) string {
	r := m.Result()
	var b strings.Builder
	if !raw {
		r0 = uint64(uint32(r0))
	}
	fmt.Fprintf(&b, "r0 %#x\npacket %x\n", r0, r.Packet)
	if raw {
		fmt.Fprintf(&b, "memory %x\n", r.Mem)
	}
	if r.RxQueue != nil {
		fmt.Fprintf(&b, "queue %d\n", *r.RxQueue)
	}
	for _, e := range r.Events {
		fmt.Fprintf(&b, "event %x %x\n", e.Data, e.Packet)
	}
	if r.Redirect != nil {
		fmt.Fprintf(&b, "redirect %d %d %x\n", r.Redirect.Ifindex, r.Redirect.Key, r.Redirect.Value)
	}
	for _, x := range ms {
		text, err := maps.DumpJSON(x)
		fmt.Fprintf(&b, "map %s %v\n%s\n", x.Spec().Name, err, text)
	}
	return b.String()
}

func newMachine(t testing.TB, c *code.Code) (*interp.Machine, []maps.Map) {
	t.Helper()
	var ms []maps.Map
	for _, spec := range c.Maps {
		m, err := maps.New(spec, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := maps.LoadContents(m, func(string) (uint32, bool) { return 0, false }); err != nil {
			t.Fatal(err)
		}
		ms = append(ms, m)
	}
	m, err := interp.New(c, ms, &interp.Options{ShrinkOnly: true, MaxSteps: maxSteps})
	if err != nil {
		t.Fatal(err)
	}
	return m, ms
}

const maxSteps = 300_000

// agree runs a program on the interpreter and its ir on Eval, after lifting and
// after each pass, on each input in turn.
func agree(t *testing.T, c *code.Code, f *verify.Facts, opt *Options, inputs []interp.Input) {
	t.Helper()
	stages := map[string]*ir.Module{}
	var order []string
	o := *opt
	o.Check = true
	o.Dump = func(pass, text string) {
		m, err := ir.Parse(text)
		if err != nil {
			t.Fatalf("after %s: %v in\n%s", pass, err, text)
		}
		if back := m.String(); back != text {
			t.Fatalf("after %s: text comes back as\n%s\nfrom\n%s", pass, back, text)
		}
		stages[pass] = m
		order = append(order, pass)
	}
	m, err := lift.Lift(f, target(unlimited(t)), nil)
	var no *Unsupported
	if errors.As(err, &no) {
		t.Skipf("unsupported: %v", no)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := runPasses(m, &o); err != nil {
		t.Fatalf("%v", err)
	}
	raw := c.Type == ebpf.UnspecifiedProgram
	want, wantMaps := newMachine(t, c)
	envs := map[string]*machineEnv{}
	contents := map[string][]maps.Map{}
	for _, pass := range order {
		n, ms := newMachine(t, c)
		envs[pass], contents[pass] = &machineEnv{m: n, c: c, names: lift.MapNames(c)}, ms
	}
	for i, in := range inputs {
		r, err := want.Run(&in)
		if err != nil {
			t.Logf("input %d: interpreter: %v", i, err)
			return
		}
		wanted := state(want, wantMaps, r.R0, raw)
		for _, pass := range order {
			env, mine := envs[pass], in
			var args []uint64
			if raw {
				env.stack = make([]byte, stackBytes)
				args = []uint64{env.m.MemAddr(), uint64(len(in.Mem))}
			} else {
				mine.Mem = make([]byte, stackBytes)
			}
			env.m.Reset(&mine)
			out, err := ir.Eval(stages[pass], env, args, 20*maxSteps)
			if err != nil {
				t.Fatalf("input %d after %s: %v in\n%s", i, pass, err, stages[pass])
			}
			if got := state(env.m, contents[pass], out.R0, raw); got != wanted {
				t.Fatalf("input %d after %s: got\n%s\nwant\n%s\nfrom\n%s", i, pass, got, wanted, stages[pass])
			}
		}
	}
}

// inputs are packets of several lengths and contents, and memories for raw
// programs.
func inputs(memSize int) []interp.Input {
	var out []interp.Input
	for i, n := range []int{60, 14, 64, 200, 1000, 34} {
		in := interp.Input{Packet: make([]byte, n), Mem: make([]byte, memSize), Ifindex: 7, RxQueue: 3}
		for j := range in.Packet {
			in.Packet[j] = byte(j*i*7 + j>>2)
		}
		for j := range in.Mem {
			in.Mem[j] = byte(j*13 + i)
		}
		if i%2 == 0 { // an IPv4 UDP packet
			copy(in.Packet[12:], []byte{0x08, 0, 0x45, 0, 0, byte(n - 14), 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, byte(i), 10, 0, 0, 2, 0, 53, 0x12, 0x34})
		}
		out = append(out, in)
	}
	return out
}

// Every program of the texts that the verifier accepts means the same to the
// interpreter and to ir after each pass.
func TestPassesAgree(t *testing.T) {
	for _, pattern := range []string{"testdata/*.bpf", "../../bpf/verify/testdata/*.bpf"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("no texts match %s (%v)", pattern, err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			file, err := asmtext.Parse(filepath.Base(path), string(text))
			if err != nil {
				t.Fatal(err)
			}
			mine := strings.HasPrefix(pattern, "testdata")
			for _, name := range file.Programs {
				c, facts, err := resolved(t, file, name, &verify.Options{MemSize: 64})
				if err != nil {
					if mine {
						t.Errorf("%s: %s: %+v", path, name, err)
					}
					continue // the verifier's own case of a refusal
				}
				t.Run(filepath.Base(path)+"/"+name, func(t *testing.T) {
					agree(t, c, facts, &Options{}, inputs(64))
				})
			}
		}
	}
}
