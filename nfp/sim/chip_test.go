package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// The tournament gives what sorting gives, ties to the lower engine.
func TestOrder(t *testing.T) {
	o := newOrder()
	r := rand.New(rand.NewPCG(1, 2))
	times := make([]uint64, 60)
	for i := range times {
		times[i] = r.Uint64N(50)
		o.set(i, times[i])
	}
	for range 10_000 {
		i, at := o.first()
		want := slices.Min(times)
		if at != want || i != slices.Index(times, want) {
			t.Fatalf("engine %d at %d, want %d at %d", i, at, slices.Index(times, want), want)
		}
		times[i] += r.Uint64N(50)
		o.set(i, times[i])
	}
}

func model(t testing.TB) *nfp.Model {
	t.Helper()
	m, err := nfp.ModelByName("")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestUnits checks that a single command takes the unloaded latency, and that
// commands to one bank are served one by one. Issuers must wait when the queue is
// full, and banks must not wait for each other.
func TestUnits(t *testing.T) {
	m := model(t)
	m.EMEM.ReadBusy, m.EMEM.Queue = 4, 8
	m.Jitter = 0
	x := newMemories(m, 1)
	const base = 0x2000000000
	x.access(0, unitEMEM, kindRead, base, 4, 0) // brings the lines in
	x.access(0, unitEMEM, kindRead, base+64, 4, 500)
	if a := x.access(0, unitEMEM, kindRead, base, 4, 1000); a.done != 1000+uint64(m.EMEM.Read) || a.queued != 0 || a.accepted != 1000 {
		t.Errorf("alone: %+v", a)
	}
	var last answer
	for i := range 20 {
		last = x.access(i%5, unitEMEM, kindRead, base, 4, 2000)
	}
	if want := uint64(2000 + 19*4 + m.EMEM.Read); last.done < want || last.done > want+1 {
		t.Errorf("the 20th of a crowd is answered at %d, want %d", last.done, want)
	}
	if want := uint64(2000 + (19-8)*4); last.accepted < want || last.accepted > want+1 {
		t.Errorf("the 20th is accepted at %d, want %d", last.accepted, want)
	}
	if a := x.access(1, unitEMEM, kindRead, base+64, 4, 2000); a.queued > 5 { // for the command bus
		t.Errorf("another bank waits %d cycles", a.queued)
	}
	if a := x.access(0, unitEMEM, kindRead, base+1<<20, 4, 9000); a.done != 9000+uint64(m.MissRead) {
		t.Errorf("a miss: %+v", a)
	}
}

// A set keeps what was used last.
func TestCache(t *testing.T) {
	c := newCache(4*64, 64, 4) // one set of four lines
	for i := range uint64(4) {
		if c.hit(i * 64) {
			t.Errorf("line %d was never there", i)
		}
	}
	c.hit(0)
	c.hit(4 * 64) // line 1 goes
	for line, want := range []bool{true, false} {
		if got := c.hit(uint64(line) * 64); got != want {
			t.Errorf("line %d: %v, want %v", line, got, want)
		}
	}
}

// TestTraffic checks that packets arrive by their weights, in order without weights,
// and that a seed determines them.
func TestTraffic(t *testing.T) {
	tr := &Traffic{Packets: [][]byte{{1}, {2}, {3}}, Weights: []float64{1, 0, 3}, Seed: 5}
	draw := func() []int32 {
		if err := tr.Start(); err != nil {
			t.Fatal(err)
		}
		var out []int32
		for range 10_000 {
			out = append(out, tr.Draw())
		}
		return out
	}
	a := draw()
	count := [3]int{}
	for _, i := range a {
		count[i]++
	}
	if count[1] != 0 || math.Abs(float64(count[2])/float64(count[0])-3) > 0.2 {
		t.Errorf("weights 1, 0, 3 gave %v", count)
	}
	if !slices.Equal(a, draw()) {
		t.Error("the same seed drew other packets")
	}
	tr.Weights = nil
	tr.cumulative = nil
	if got := draw()[:4]; !slices.Equal(got, []int32{0, 1, 2, 0}) {
		t.Errorf("in order: %v", got)
	}
	for _, bad := range []*Traffic{{}, {Packets: tr.Packets, OfferedMpps: -1}, {Packets: tr.Packets, OfferedMpps: math.NaN()}, {Packets: tr.Packets, Weights: []float64{1}}} {
		if bad.Start() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

// TestWarmUpAndInterval checks that the warm-up is cut and the interval is that of
// independent batches.
func TestWarmUpAndInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	var x []float64
	for i := range 40 {
		v := 100 + r.NormFloat64()
		if i < 6 {
			v += 50 / float64(i+1)
		}
		x = append(x, v)
	}
	if d := cut(x); d < 5 || d > 16 {
		t.Errorf("cuts off %d batches, 6 are off", d)
	}
	covered := 0
	for range 400 {
		y := make([]float64, groups)
		sum := 0.0
		for i := range y {
			y[i] = 100 + 5*r.NormFloat64()
			sum += y[i]
		}
		if mean := sum / groups; math.Abs(mean-100) <= mean*interval(y)/100 {
			covered++
		}
	}
	if covered < 360 || covered > 396 {
		t.Errorf("of 400 intervals %d hold the mean, want 380", covered)
	}
}

// The MAC takes what it takes, and with its fault, overloaded, far less.
func TestMAC(t *testing.T) {
	for _, c := range []struct {
		offered, fault, want float64
	}{{0, 0, 54.4}, {30, 0, 30}, {0, 32, 32}, {30, 32, 30}} {
		m := model(t)
		m.FaultMpps = c.fault
		tr := &Traffic{Packets: [][]byte{make([]byte, 60)}, OfferedMpps: c.offered}
		if err := tr.Start(); err != nil {
			t.Fatal(err)
		}
		p := newPackets(m, tr, 0, true)
		var j job
		taken := 0
		for p.next() < (epoch+800_000)<<tickBits { // a millisecond
			if p.arrivals.take(&j) {
				taken++
			}
		}
		if got := float64(taken) / 1000; math.Abs(got/c.want-1) > 0.01 {
			t.Errorf("offered %g, fault %g: %.2f Mpps get in, want %g", c.offered, c.fault, got, c.want)
		}
	}
}

// TestOfferedTimes checks that offered frames come at equal distances from the first on,
// on any number of ports.
func TestOfferedTimes(t *testing.T) {
	for _, ports := range []int{1, 2, 4} {
		m := model(t)
		m.Ports = ports
		tr := &Traffic{Packets: [][]byte{make([]byte, 60)}, OfferedMpps: 5}
		if err := tr.Start(); err != nil {
			t.Fatal(err)
		}
		a := newArrivals(m, tr)
		var j job
		for n := range int64(20) {
			want := epoch<<tickBits + n*a.every
			if a.take(&j); j.arrived != want {
				t.Fatalf("%d ports: frame %d comes %d ticks after it is due, %d ticks apart", ports, n, j.arrived-want, a.every)
			}
		}
	}
}

// TestNewChip checks that impossible models are refused.
func TestNewChip(t *testing.T) {
	p, err := firmware.Load("stock")
	if err != nil {
		t.Fatal(err)
	}
	m := model(t)
	m.Workers = 0
	if _, err := NewChip(NewStore(), NewMemory().External, p, &Options{Model: m}); err == nil {
		t.Error("no workers, and no error")
	}
	m.Islands, m.EnginesPerIsland, m.Workers = 7, 12, 84
	if _, err := NewChip(NewStore(), NewMemory().External, p, &Options{Model: m}); err == nil {
		t.Error("84 workers, and no error")
	}
}
