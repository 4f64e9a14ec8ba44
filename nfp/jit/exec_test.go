package jit_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// evalEnv is the world of ir.Eval for programs without maps: a packet and a stack.
type evalEnv struct {
	packet []byte
	stack  [2048]byte
}

const (
	evalPacket = 0x80250080
	evalStack  = 0x400
)

func (e *evalEnv) PacketStart() uint32              { return evalPacket }
func (e *evalEnv) PacketLen() uint32                { return uint32(len(e.packet)) }
func (e *evalEnv) CtxLoad(f string) (uint32, error) { return 0, fmt.Errorf("field %s", f) }
func (e *evalEnv) CtxStore(f string, v uint32) error {
	return fmt.Errorf("field %s", f)
}
func (e *evalEnv) StackBase() uint32 { return evalStack }

func (e *evalEnv) at(s ir.Space, addr uint64, size int) ([]byte, error) {
	mem, base := e.packet, uint64(evalPacket)
	if s == ir.Stack {
		mem, base = e.stack[:], evalStack
	}
	if addr < base || addr+uint64(size) > base+uint64(len(mem)) {
		return nil, fmt.Errorf("%v access at %#x", s, addr)
	}
	return mem[addr-base : addr-base+uint64(size)], nil
}

func (e *evalEnv) Load(s ir.Space, addr uint64, size int) (uint64, error) {
	b, err := e.at(s, addr, size)
	n := uint64(0)
	for i, x := range b {
		n |= uint64(x) << (8 * i)
	}
	return n, err
}

func (e *evalEnv) Store(s ir.Space, addr uint64, size int, v uint64) error {
	b, err := e.at(s, addr, size)
	for i := range b {
		b[i] = byte(v >> (8 * i))
	}
	return err
}

func (e *evalEnv) Atomic(op ir.AtomicOp, s ir.Space, addr uint64, size int, v, expected uint64) (uint64, error) {
	old, err := e.Load(s, addr, size)
	if err != nil {
		return 0, err
	}
	now := v
	switch op.Base() {
	case ir.AtomicAdd:
		now = old + v
	case ir.AtomicAnd:
		now = old & v
	case ir.AtomicOr:
		now = old | v
	case ir.AtomicXor:
		now = old ^ v
	case ir.AtomicCmpXchg:
		if size == 4 {
			expected = uint64(uint32(expected))
		}
		if old != expected {
			now = old
		}
	}
	return old, e.Store(s, addr, size, now)
}

func (e *evalEnv) Helper(id int32, args [5]uint64) (uint64, error) {
	return 0, fmt.Errorf("helper %d", id)
}
func (e *evalEnv) TailCall(handle, index uint32) (uint64, bool, error) { return 0, false, nil }
func (e *evalEnv) MapHandle(name string) (uint32, error)               { return 1, nil }
func (e *evalEnv) MapValueAddr(name string, off int64) (uint64, error) { return 0, nil }

func unlimited(t testing.TB) *firmware.Profile {
	p, err := firmware.Load("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// runBoth evaluates a raw module, compiles it by what a card's words cost and runs
// them, and compares r0 and memory. A nil error means that all agree.
func runBoth(p *firmware.Profile, card *nfp.Model, m *ir.Module, mem []byte) error {
	env := &evalEnv{packet: bytes.Clone(mem)}
	args := []uint64{evalPacket, uint64(len(mem))}
	want, err := ir.Eval(m, env, args, 1<<20)
	if err != nil {
		return fmt.Errorf("eval: %w", err)
	}
	legal, err := jit.Legalize(m)
	if err != nil {
		return err
	}
	if err := ir.CheckLegal(legal); err != nil {
		return fmt.Errorf("legalize: %w", err)
	}
	lenv := &evalEnv{packet: bytes.Clone(mem)}
	low, err := ir.Eval(legal, lenv, args, 1<<22)
	if err != nil || low.R0 != want.R0 || !bytes.Equal(lenv.packet, env.packet) {
		return fmt.Errorf("legalize: r0 %#x %v, want %#x", low.R0, err, want.R0)
	}
	im, err := jit.CompileIR(m, ebpf.UnspecifiedProgram, p, &jit.Options{Check: true, Model: card})
	if err != nil {
		return err
	}
	nic, err := driver.New(p, nil)
	if err != nil {
		return err
	}
	prog, err := nic.Load(im, ebpf.UnspecifiedProgram)
	if err != nil {
		return err
	}
	got, err := nic.Run(prog, &driver.Input{Mem: bytes.Clone(mem)})
	if err != nil {
		return fmt.Errorf("run: %w", err)
	}
	if got.R0 != want.R0 {
		return fmt.Errorf("r0 %#x, want %#x", got.R0, want.R0)
	}
	if !bytes.Equal(got.Packet, env.packet) {
		return fmt.Errorf("memory\n%x, want\n%x", got.Packet, env.packet)
	}
	return nil
}

func chipModel(t testing.TB) *nfp.Model {
	m, err := nfp.ModelByName("")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func newRand(seed int) *rand.Rand { return rand.New(rand.NewPCG(uint64(seed), 1)) }

// TestRandomIR compares ir.Eval before and after legalize with the compiled code on
// the simulated card, for several branch costs.
func TestRandomIR(t *testing.T) {
	n := 500
	if testing.Short() {
		n = 200
	}
	p := unlimited(t)
	p.Stack = 960 // leaves room for spills beside the programs' own frames
	refused := 0
	for seed := range n {
		r := newRand(seed)
		m := randomModule(r, 5+r.IntN(60), 1+r.IntN(24)+seed%5/4*r.IntN(60))
		mem := make([]byte, genMem)
		for i := range mem {
			mem[i] = byte(r.Uint32())
		}
		text := m.String()
		if err := ir.Check(m); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		card := chipModel(t)
		card.Branch = []int{card.Branch, 0, 20}[seed%3]
		err := runBoth(p, card, m, mem)
		var large *jit.Unsupported
		if errors.As(err, &large) { // too many words or too much stack
			refused++
			continue
		}
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
	}
	if refused > n/20 {
		t.Errorf("%d of %d programs were too large", refused, n)
	}
}
