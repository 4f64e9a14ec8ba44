package live_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/driver/live"
	"github.com/nfpkit/nfpkit/offload"
)

// In these tests a process dies at each of its calls of the kernel, before and after
// it, in each operation of the manager, and sometimes again in the recovery. In every
// case the next process must reach the state before the operation or the state after
// it, with no objects left over. Meanwhile every packet must have met one of the two
// programs.

// killed is the death of a process, as a panic.
type killed struct{}

// mortal is a kernel whose process dies at a given moment.
type mortal struct {
	offload.Kernel
	left int // moments until the death; below 0: never
}

func (m *mortal) moment() {
	if m.left--; m.left == 0 {
		panic(killed{})
	}
}

// step performs a call, with one moment before it and one after.
func step[T any](m *mortal, do func() (T, error)) (T, error) {
	m.moment()
	v, err := do()
	m.moment()
	return v, err
}

func none(do func() error) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, do() }
}

func (m *mortal) CreateMap(s *ebpf.MapSpec, on *offload.Port) (offload.Map, error) {
	return step(m, func() (offload.Map, error) { return m.Kernel.CreateMap(s, on) })
}
func (m *mortal) LoadProgram(s *ebpf.ProgramSpec, maps map[string]offload.Map, on *offload.Port) (offload.Program, error) {
	return step(m, func() (offload.Program, error) { return m.Kernel.LoadProgram(s, maps, on) })
}
func (m *mortal) Pin(o offload.Pinner, path string) error {
	_, err := step(m, none(func() error { return m.Kernel.Pin(o, path) }))
	return err
}
func (m *mortal) Unpin(path string) error {
	_, err := step(m, none(func() error { return m.Kernel.Unpin(path) }))
	return err
}
func (m *mortal) Pins(dir string) ([]string, error) {
	return step(m, func() ([]string, error) { return m.Kernel.Pins(dir) })
}
func (m *mortal) Attached(p *offload.Port) ([]offload.Attachment, error) {
	return step(m, func() ([]offload.Attachment, error) { return m.Kernel.Attached(p) })
}
func (m *mortal) Swap(p *offload.Port, mode offload.Mode, old, new offload.Program) error {
	_, err := step(m, none(func() error { return m.Kernel.Swap(p, mode, old, new) }))
	return err
}
func (m *mortal) Hook(p *offload.Port, mode offload.Mode, on bool) (bool, error) {
	return step(m, func() (bool, error) { return m.Kernel.Hook(p, mode, on) })
}

// dies runs do as a process that dies after the given number of moments. alive reports
// that do completed before.
func (b *bed) dies(moments int, do func(m *offload.Manager) error) (alive bool) {
	process := b.card.Open()
	defer process.Close()
	defer func() {
		switch p := recover().(type) {
		case nil:
		case killed:
			alive = false
		default:
			panic(p)
		}
	}()
	b.ok(do(b.on(&mortal{process, moments})))
	return true
}

// operation is an operation during which processes die, from one state of the ports to
// another.
type operation struct {
	name          string
	before        *offload.Deployment // nil: none
	do            func(m *offload.Manager) error
	old, new      [2]int // marks of the ports' packets before and after
	trial         int    // mark of a program that is on trial and rolled back
	oldMap, after int    // size of the map's values, 0: none
}

func operations() []operation {
	ctx := context.Background()
	both := []offload.Ref{port0, port1}
	first := deployment(text(1, pass, 4, 8))
	wide := deployment(text(1, pass, 4, 8), both...)
	resize := &offload.Change{Migrate: map[string]offload.Migration{"counts": offload.Resize}}
	reload := func(d *offload.Deployment, c *offload.Change) func(m *offload.Manager) error {
		return func(m *offload.Manager) error { return m.Reload(ctx, d, c) }
	}
	return []operation{
		{"load", nil, func(m *offload.Manager) error { return m.Load(ctx, wide, nil) }, [2]int{}, [2]int{1, 1}, 0, 0, 8},
		{"reload", wide, reload(deployment(text(2, pass, 4, 8), both...), nil), [2]int{1, 1}, [2]int{2, 2}, 0, 8, 8},
		{"migrate", wide, reload(deployment(text(2, pass, 8, 16), both...), resize), [2]int{1, 1}, [2]int{2, 2}, 0, 8, 16},
		{"another port", first, reload(deployment(text(2, pass, 4, 8), both...), nil), [2]int{1, 0}, [2]int{2, 2}, 0, 8, 8},
		{"fewer ports", wide, reload(deployment(text(2, pass, 4, 8), port1), nil), [2]int{1, 1}, [2]int{0, 2}, 0, 8, 8},
		{"unload", wide, func(m *offload.Manager) error { return m.Unload(ctx, "fw") }, [2]int{1, 1}, [2]int{}, 0, 8, 0},
		{"trial fails", wide, func(m *offload.Manager) error {
			err := m.Reload(ctx, deployment(text(2, pass, 4, 8), both...), &offload.Change{Health: func(context.Context) error { return os.ErrInvalid }})
			if offload.ReasonOf(err) != "unhealthy" {
				return fmt.Errorf("trial: %w", err)
			}
			return nil
		}, [2]int{1, 1}, [2]int{1, 1}, 2, 8, 8},
	}
}

func TestDeathAtEachMoment(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			dice := rand.New(rand.NewPCG(7, 1))
			finished, undone, moments := 0, 0, 1
			for ; ; moments++ {
				alive, behind := op.try(t, moments, dice)
				if behind {
					finished++
				} else {
					undone++
				}
				if alive {
					break
				}
			}
			t.Logf("suite: %s: died at each of %d moments: finished %d times, rolled back %d times", op.name, moments-1, finished, undone)
		})
	}
}

// try lets a process die after the given number of moments and checks the recovery by
// the next one.
func (op *operation) try(t *testing.T, moments int, dice *rand.Rand) (alive, behind bool) {
	b := newBed(t)
	if op.before != nil {
		b.ok(b.manager.Load(t.Context(), op.before, nil))
	}
	b.kernel.Close()
	alive = b.dies(moments, op.do)
	b.covered(op, "after the death")
	for range dice.IntN(3) {
		b.dies(1+dice.IntN(12), func(m *offload.Manager) error { return m.Recover(t.Context()) })
		b.covered(op, "after a death in recovery")
	}
	b.restart()
	b.ok(b.manager.Recover(t.Context()))
	marks := [2]int{b.mark(port0), b.mark(port1)}
	size := op.oldMap
	switch marks {
	case op.new:
		behind = true
		size = op.after
	case op.old:
	default:
		t.Fatalf("moment %d: marks %v, want %v or %v", moments, marks, op.old, op.new)
	}
	want := live.Left{}
	if size > 0 {
		want = live.Left{Programs: 1, Maps: 1, Pins: 2, Tables: 1}
	}
	for _, m := range marks {
		if m != 0 {
			want.Ports++
		}
	}
	drifts, err := b.manager.Drifts(t.Context())
	b.ok(err)
	if len(drifts) > 0 {
		t.Errorf("moment %d: drift %v", moments, drifts)
	}
	b.left(want)
	if size > 0 {
		b.ok(b.manager.Unload(t.Context(), "fw"))
	}
	b.left(live.Left{})
	b.kernel.Close()
	return alive, behind
}

// covered checks that each port runs one program or the other.
func (b *bed) covered(op *operation, when string) {
	b.t.Helper()
	for i, ref := range []offload.Ref{port0, port1} {
		if m := b.mark(ref); m != op.old[i] && m != op.new[i] && (op.trial == 0 || m != op.trial) {
			b.t.Errorf("%s port %s gives mark %d, want %d or %d", when, ref, m, op.old[i], op.new[i])
		}
	}
}
