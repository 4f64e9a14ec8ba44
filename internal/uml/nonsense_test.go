//go:build linux

package uml

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nfpkit/nfpkit/driver/card"
	"github.com/nfpkit/nfpkit/internal/uml/report"
)

// In these tests a live guest writes random values: into configuration space by
// itself, and into registers, descriptors, frames, control messages and programs with
// our help. User Mode Linux lets no program of the guest access a BAR (it maps none),
// and its memory is better changed where the card reads it than where the kernel keeps
// it. The card must keep running, log one line for each error, and work again when its
// driver is bound again.

// after binds the driver again and checks that everything works.
func (l *live) after() {
	l.t.Helper()
	l.next("rebind")
	l.next("probe")
	l.next("maps")
	l.next("count")
}

// afterSteps are the steps that after follows.
var afterSteps = []string{"rebind", "probe", "maps", "count"}

func TestGuestScribbles(t *testing.T) { everyKernel(t, testGuestScribbles) }

func testGuestScribbles(t *testing.T, k *kernel) {
	steps := append([]string{report.Word("scribble", "unbound"), report.Word("scribble", "bound")}, afterSteps...)
	l := k.goLive(t, &card.Options{Cable: true}, steps...)
	for range 2 {
		if n := data[map[string]int](t, l.next("scribble")); n["failed"] != 0 {
			t.Errorf("%d of %d writes failed", n["failed"], n["writes"])
		}
	}
	l.after()
	l.end("does not answer") // registers, while the card was set not to answer
}

// spoiler is a bus that spoils what the card reads of the guest's memory.
type spoiler struct {
	card.Host
	rng         *rand.Rand
	descriptors bool // spoil these, and nothing else
	on          bool
	spoiled     int
}

// Sizes of what the card reads: descriptors to send, and of free buffers.
const (
	sendDescriptor = 16
	freeDescriptor = 8
)

func (s *spoiler) DMARead(addr uint64, p []byte) error {
	if err := s.Host.DMARead(addr, p); err != nil || !s.on {
		return err
	}
	if descriptor := len(p) == sendDescriptor || len(p) == freeDescriptor; descriptor != s.descriptors {
		return nil
	}
	if s.rng.IntN(16) != 0 {
		return nil
	}
	s.spoiled++
	if len(p) == freeDescriptor {
		// An address outside memory: with a valid one the card would write to it, as
		// requested, and break the guest.
		p[0], p[1] = 0xff, byte(s.rng.Uint32())
		return nil
	}
	for range 1 + s.rng.IntN(4) {
		p[s.rng.IntN(len(p))] = byte(s.rng.Uint32())
	}
	return nil
}

func TestGuestSpoils(t *testing.T) { everyKernel(t, testGuestSpoils) }

func testGuestSpoils(t *testing.T, k *kernel) {
	for name, descriptors := range map[string]bool{"descriptors": true, "frames and messages": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // it mostly waits for answers that are lost
			l := k.goLive(t, &card.Options{Cable: true}, append([]string{"busy"}, afterSteps...)...)
			s := &spoiler{Host: l.transport, rng: rand.New(rand.NewPCG(4, 16)), descriptors: descriptors}
			l.next("busy")
			l.do(func() { l.card.Attach(s); s.on = true })
			l.tell()
			r := l.next("busy")
			l.do(func() { s.on = false })
			t.Logf("%d reads spoiled; the guest did %s", s.spoiled, r.Data)
			l.tell()
			l.next("busy")
			if s.spoiled == 0 {
				t.Error("nothing was spoiled")
			}
			l.after()
			l.ended()
		})
	}
}

// TestGuestWritesRegisters writes random values to registers while the guest's driver
// is at work. If the card then writes into the guest's memory, the guest may crash,
// but the card must not.
func TestGuestWritesRegisters(t *testing.T) { everyKernel(t, testGuestWritesRegisters) }

func testGuestWritesRegisters(t *testing.T, k *kernel) {
	l := k.goLive(t, &card.Options{Cable: true}, "busy")
	l.next("busy")
	stop, stopped := make(chan struct{}), make(chan int)
	go func() {
		rng := rand.New(rand.NewPCG(0, 0xe))
		writes := 0
		defer func() { stopped <- writes }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			done := make(chan struct{})
			if l.transport.Do(func() { wildWrites(l.card, rng); close(done) }) != nil {
				return // the guest is gone
			}
			select {
			case <-done:
				writes += wildBurst
			case <-stop:
				return
			}
			time.Sleep(200 * time.Microsecond) // the guest's turn
		}
	}()
	if err := l.guest.Tell(""); err != nil {
		t.Fatal(err)
	}
	r, err := l.guest.Next()
	close(stop)
	t.Logf("%d register writes; the guest: %s %v", <-stopped, r.Data, err)
	l.guest.cmd.Cancel()
	for err == nil {
		_, err = l.guest.Next()
	}
	l.ended()
}

// wildBurst is how many writes wildWrites does.
const wildBurst = 20

// wildWrites writes random values to registers and windows.
func wildWrites(c *card.Card, rng *rand.Rand) {
	for range wildBurst {
		b := make([]byte, []int{1, 2, 4, 4, 4, 8, 64}[rng.IntN(7)])
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		bar, off := 2*rng.IntN(3), rng.Uint64N(1<<27)
		switch rng.IntN(6) {
		case 0:
			bar, off = 0, 0x30000+4*rng.Uint64N(24) // what the windows show
		case 1, 2:
			bar, off = 0, 0x80000+rng.Uint64N(64*0x800)&^3 // doorbells
		case 3:
			bar, off = 0, rng.Uint64N(1<<16) // interrupts
		case 4:
			off &= 0x7ffff // what a window shows at its start: control words, commands
		}
		c.Write(bar, off, b)
		c.Read(bar, off, b)
	}
}

// do has the card's goroutine run f, and waits.
func (l *live) do(f func()) {
	l.t.Helper()
	done := make(chan struct{})
	if err := l.transport.Do(func() { f(); close(done) }); err != nil {
		l.t.Fatal(err)
	}
	<-done
}

// ended waits for the service's end, which must be an ordinary one, and checks that
// each thing that the card logged is a line.
func (l *live) ended() {
	l.t.Helper()
	for {
		if _, err := l.guest.Next(); err != nil {
			break
		}
	}
	if err := <-l.served; err != nil {
		l.t.Errorf("serving the guest: %v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.logged {
		if strings.Contains(line, "\n") || len(line) > 300 {
			l.t.Errorf("the card says: %q", line)
		}
	}
	l.t.Logf("the card logged %d lines", len(l.logged))
	for _, line := range l.logged[:min(len(l.logged), 8)] {
		l.t.Log(line)
	}
}
