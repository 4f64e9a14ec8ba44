package sim

import (
	"math"
	"math/bits"

	"github.com/nfpkit/nfpkit/nfp"
)

// The memories and their queues. A command takes its island's command bus,
// waits until its bank is free, and occupies the bank for the time in the
// model. Its answer arrives the unloaded latency after it got the bank, less
// or more a random number of cycles (nfp.Services). External memory asks its
// cache first; a miss waits for the DRAM too.
//
// Commands come in order of time, so the time at which their bank becomes free
// is known when they arrive, and no event is scheduled.

// A tick is the unit of times that are not a whole number of engine cycles.
const tickBits = 10

// ticks of a time in cycles.
func ticks(cycles float64) int64 { return int64(math.Round(cycles * (1 << tickBits))) }

// unitID names a kind of memory.
type unitID uint8

const (
	unitCLS unitID = iota
	unitCTM
	unitIMEM
	unitEMEM
	unitRing
	unitTicket
	numUnits
)

// unitNames are the names that firmware.Step uses.
var unitNames = [numUnits]string{"cls", "ctm", "imem", "emem", "ring", "ticket"}

// access kinds, as nfp.Unit has numbers for them.
const (
	kindRead = iota
	kindWrite
	kindAtomic
)

// server is a resource that one command at a time occupies.
type server struct {
	free int64 // ticks
	used int64 // ticks held since the statistics were cleared
}

// take holds the server from at or later for busy ticks; it returns the time
// from which it holds it.
func (s *server) take(at, busy int64) int64 {
	at = max(at, s.free)
	s.free = at + busy
	s.used += busy
	return at
}

// unit is one memory.
type unit struct {
	banks   []server
	busy    [3]int64 // ticks a line
	latency [3]uint64
	queue   [3]int64 // ticks of work a bank holds before its users must wait
	line    int
	shift   uint8
}

func newUnit(u *nfp.Unit) unit {
	x := unit{banks: make([]server, u.Banks), line: u.Line, shift: uint8(bits.TrailingZeros(uint(u.Interleave)))}
	for i, busy := range []float64{u.ReadBusy, u.WriteBusy, u.AtomicBusy} {
		x.busy[i] = ticks(busy)
		x.queue[i] = x.busy[i] * int64(u.Queue)
	}
	x.latency = [3]uint64{uint64(u.Read), uint64(u.Write), uint64(u.Atomic)}
	return x
}

// answer is the result of a command.
type answer struct {
	accepted uint64 // when the engine may go on
	done     uint64 // when its signal arrives
	queued   uint64 // of the time between, cycles for which others are to blame
}

// memories are all memories of a chip, by island if each has its own.
type memories struct {
	cls, ctm   []unit
	imem, emem unit
	bus        []server // command bus, by island
	data       []server // push and pull bus, by island
	command    int64    // ticks
	perByte    int64    // ticks
	cache      cache
	dram       server
	missBusy   int64
	missQueue  int64  // ticks of outstanding misses before banks must wait
	missExtra  uint64 // cycles a miss takes longer

	ring, ticket, nextPacket uint64 // latencies of services
	jitter                   uint64
	random                   random
}

func newMemories(m *nfp.Model, seed uint64) *memories {
	x := &memories{
		imem: newUnit(&m.IMEM), emem: newUnit(&m.EMEM),
		bus: make([]server, m.Islands), data: make([]server, m.Islands),
		command: ticks(m.CommandBusy), perByte: (1 << tickBits) / int64(m.DataBytes),
		cache: newCache(m.CacheBytes, m.CacheLine, m.CacheWays), missBusy: ticks(m.MissBusy),
		missQueue: ticks(m.MissBusy) * int64(m.EMEM.Queue),
		missExtra: uint64(max(0, m.MissRead-m.EMEM.Read)),
		ring:      uint64(m.Ring), ticket: uint64(m.Ticket), nextPacket: uint64(m.NextPacket),
		jitter: uint64(m.Jitter), random: seeded(seed, 0x51),
	}
	for range m.Islands {
		x.cls = append(x.cls, newUnit(&m.CLS))
		x.ctm = append(x.ctm, newUnit(&m.CTM))
	}
	return x
}

// access is a command of n bytes that an engine of an island issues at a time.
func (m *memories) access(island int, id unitID, kind int, addr uint64, n int, at uint64) answer {
	asked := int64(at) << tickBits
	issued := m.bus[island].take(asked, m.command)
	var u *unit
	switch id {
	case unitRing, unitTicket:
		latency := m.ring
		if id == unitTicket {
			latency = m.ticket
		}
		wait := cycles(issued - asked)
		return answer{cycles(issued), at + wait + m.vary(latency), wait}
	case unitCLS:
		u = &m.cls[island]
	case unitCTM:
		u = &m.ctm[island]
	case unitIMEM:
		u = &m.imem
	default:
		u = &m.emem
	}
	m.data[island].take(issued, m.perByte*int64(n))
	bank := &u.banks[addr>>u.shift&uint64(len(u.banks)-1)]
	busy := u.busy[kind]
	if n > u.line {
		busy *= int64((n + u.line - 1) / u.line)
	}
	accepted := max(issued, bank.free-u.queue[kind])
	start := bank.take(accepted, busy)
	latency := u.latency[kind]
	if id == unitEMEM && !m.cache.hit(addr) {
		got := m.dram.take(start, m.missBusy)
		if full := got - start - m.missQueue; full > 0 {
			bank.free += full // holds the command until DRAM can take one more
		}
		start, latency = got, latency+m.missExtra
	}
	wait := cycles(start - asked)
	return answer{cycles(accepted), at + wait + m.vary(latency), wait}
}

// cycles rounds ticks up.
func cycles(ticks int64) uint64 { return uint64(ticks+(1<<tickBits-1)) >> tickBits }

// vary draws the latency of one command: uniform, jitter to both sides of the unloaded
// one.
func (m *memories) vary(latency uint64) uint64 {
	draw := m.random.next() >> 32 * (2*m.jitter + 1) >> 32
	return max(latency+draw, m.jitter) - m.jitter
}

// clear resets the statistics.
func (m *memories) clear() {
	for _, group := range [][]unit{m.cls, m.ctm, {m.imem}, {m.emem}} {
		for i := range group {
			for j := range group[i].banks {
				group[i].banks[j].used = 0
			}
		}
	}
	for i := range m.bus {
		m.bus[i].used, m.data[i].used = 0, 0
	}
	m.dram.used = 0
	m.cache.hits, m.cache.misses = 0, 0
}

// cache is external memory's: sets of lines in order of use.
type cache struct {
	sets         uint64
	ways         int
	shift        uint8
	tags         []uint64 // line number + 1, most recently used first in each set
	hits, misses uint64
}

func newCache(size, line, ways int) cache {
	c := cache{ways: ways, shift: uint8(bits.TrailingZeros(uint(line)))}
	if c.sets = uint64(size / (line * ways)); c.sets > 0 {
		c.tags = make([]uint64, c.sets*uint64(ways))
	}
	return c
}

// hit looks a line up and loads it if it is missing.
func (c *cache) hit(addr uint64) bool {
	if c.sets == 0 {
		return false
	}
	line := addr >> c.shift
	at := line % c.sets * uint64(c.ways)
	set := c.tags[at : at+uint64(c.ways)]
	if set[0] == line+1 {
		c.hits++
		return true
	}
	found := len(set) - 1
	there := false
	for i, tag := range set {
		if tag == line+1 {
			found, there = i, true
			break
		}
	}
	copy(set[1:found+1], set[:found])
	set[0] = line + 1
	if there {
		c.hits++
	} else {
		c.misses++
	}
	return there
}
