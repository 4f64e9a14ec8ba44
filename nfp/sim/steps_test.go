package sim

import (
	"math"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// stepsRun runs packets that do nothing but the firmware's steps.
func stepsRun(t *testing.T, m *nfp.Model, before, after []firmware.Step, seed uint64) *Result {
	t.Helper()
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	p.Before, p.After = before, after
	store := NewStore()
	store.Trap(p.Done, func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
	ch, err := NewChip(store, NewMemory().External, p, &Options{Model: m, Seed: seed})
	if err != nil {
		t.Fatal(err)
	}
	program := &Program{
		Start: p.Done, Enter: func(*Context, int) error { return nil },
		Exit: func(*Context) (Verdict, error) { return Verdict{Bytes: 60}, nil },
	}
	r, err := ch.Run(program, &Traffic{Packets: [][]byte{make([]byte, 60)}}, p.Done, false, &Measure{Packets: 20_000, CIPercent: 1e-9})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestSteps checks the cost of steps: their issue if waits are short, a quarter of all
// waits if issue is short, and their share of packets.
func TestSteps(t *testing.T) {
	bank := 2
	before := []firmware.Step{
		{Issue: 10, Wait: "cls"}, {Issue: 10, Wait: "ctm", Op: "write", Bytes: 64}, {Issue: 10, Wait: "ctm"}, {Issue: 5},
	}
	after := []firmware.Step{
		{Issue: 10, Wait: "imem", Op: "add"}, {Issue: 10, Wait: "emem", Bank: &bank}, {Issue: 10, Wait: "ring"}, {Issue: 10, Wait: "ticket"},
		{Issue: 10, Wait: firmware.WaitPacket},
	}
	set := func(latency int) *nfp.Model {
		m := model(t)
		m.Workers, m.Jitter = 1, 0
		for _, u := range []*nfp.Unit{&m.CLS, &m.CTM, &m.IMEM, &m.EMEM} {
			u.Read, u.Write, u.Atomic = latency, latency, latency
		}
		m.Ring, m.Ticket, m.NextPacket = latency, latency, latency
		return m
	}
	if r := stepsRun(t, set(1), before, after, 1); math.Abs(r.CyclesPerPacket-85) > 0.1 || math.Abs(r.Spent["firmware"]-85) > 0.1 {
		t.Errorf("no waits: %.2f cycles, %.2f of the firmware; 85 are issued", r.CyclesPerPacket, r.Spent["firmware"])
	}
	// A wait begins with its command, two slots before its step's end.
	const waits, latency = 8, 2000
	want := (waits*(latency+10-2) + 5) / 4.0
	if r := stepsRun(t, set(latency), before, after, 1); math.Abs(r.CyclesPerPacket/want-1) > 0.005 {
		t.Errorf("long waits: %.1f cycles, want %.1f", r.CyclesPerPacket, want)
	}
	before[3].Issue, before[3].Share = 400, 0.25
	if r := stepsRun(t, set(1), before, after, 1); math.Abs(r.CyclesPerPacket-180) > 3 {
		t.Errorf("a quarter of packets take 400 cycles more: %.1f cycles, want 180", r.CyclesPerPacket)
	}
}

// TestVary checks the distribution of latencies: uniform, as far to both sides.
func TestVary(t *testing.T) {
	m := model(t)
	m.Jitter = 15
	x := newMemories(m, 7)
	const n = 310_000
	count := map[uint64]int{}
	for range n {
		count[x.vary(100)]++
	}
	for v, c := range count {
		if v < 85 || v > 115 || math.Abs(float64(c)-n/31) > 5*math.Sqrt(n/31) {
			t.Errorf("%d of %d latencies are %d cycles", c, n, v)
		}
	}
	if len(count) != 31 {
		t.Errorf("%d different latencies, want 31", len(count))
	}
	for range 1000 {
		if v := x.vary(3); v > 18 {
			t.Fatalf("a latency of 3 became %d", v)
		}
	}
}

// TestVaryBySeed checks that a seed determines a run, and that another seed gives
// another.
func TestVaryBySeed(t *testing.T) {
	p, err := firmware.Load("corenic-direct")
	if err != nil {
		t.Fatal(err)
	}
	m := model(t)
	m.Workers = 5
	run := func(seed uint64) float64 { return stepsRun(t, m, p.Before, p.After, seed).CyclesPerPacket }
	a, b, c := run(1), run(1), run(2)
	if a != b || a == c {
		t.Errorf("seed 1 gave %v and %v, seed 2 %v", a, b, c)
	}
}

// TestStepsRefused checks that a step on a bank that the card does not have is refused.
func TestStepsRefused(t *testing.T) {
	p, err := firmware.Load("corenic-direct")
	if err != nil {
		t.Fatal(err)
	}
	bank := 99
	p.Before[0] = firmware.Step{Issue: 1, Wait: "emem", Bank: &bank}
	if _, err := NewChip(NewStore(), NewMemory().External, p, &Options{Model: model(t)}); err == nil {
		t.Error("bank 99, and no error")
	}
}
