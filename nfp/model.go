package nfp

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/nfpkit/nfpkit/internal/jsonfile"
)

// Model describes the speed of a card: the number and clock of its engines, the
// cycles of words and memories, the rates of its ports and of the host. The
// simulator and the compiler's cost functions use it. The firmware's own cost is
// in its profile.
//
// Times are in engine cycles unless a unit says otherwise. The source of each
// number is in its field's tag and is printed to docs/accuracy.md. "CoNEXT'21" is
// Krude et al., Determination of Throughput Guarantees for Processor-based
// SmartNICs, doi 10.1145/3485983.3494842. "fitted" numbers were fitted to
// measured points, which docs/accuracy.md names. "assumed" means that nothing is
// published.
type Model struct {
	Name    string
	Product string

	ClockMHz         int `unit:"MHz" source:"open NIC firmware's platform table"`
	Islands          int `source:"CoNEXT'21: the worker islands of an NFP-4000"`
	EnginesPerIsland int `source:"NFP-4000: 12 flow processing cores an island"`
	Workers          int `source:"open NIC firmware: 10 engines of each of 5 islands run programs"`

	Timing
	CLS  Unit
	CTM  Unit
	IMEM Unit
	EMEM Unit
	Services
	Cache
	Bus
	Wire
	Host
}

// Timing holds the cycles that instructions cost beyond one each.
type Timing struct {
	Branch       int `unit:"cycles" source:"idle cycles of a taken branch less the defer slots filled; CoNEXT'21's estimator: 4 with the word"`
	Settled      int `unit:"cycles" source:"the same if the condition codes were set at least one word earlier; CoNEXT'21's estimator: 3 with the word"`
	Return       int `unit:"cycles" source:"the same for rtn and jump; a firmware comment calls the jump a 4-cycle branch"`
	Swap         int `unit:"cycles" source:"the same for ctx_arb and commands that swap; CoNEXT'21's estimator: at least 3 with the word"`
	PointerDelay int `unit:"words" source:"between a write of a local-memory pointer or T_INDEX and its use; what the Linux driver's compiler keeps"`
}

// Stall returns the stall cycles after an instruction that leaves its sequence or
// gives the engine away. Each defer slot that is filled takes one of them.
func (t *Timing) Stall(l Latency) int {
	switch l {
	case LatencyBranch, LatencyCond:
		return t.Branch
	case LatencyJump:
		return t.Return
	case LatencySwap, LatencyCommand:
		return t.Swap
	}
	return 0
}

// Unit is a memory: a command waits for its bank, holds it, and answers.
// A command longer than Line bytes holds the bank for each line begun.
type Unit struct {
	Bytes  int // of one unit
	Read   int // command word to signal, unloaded
	Write  int
	Atomic int

	ReadBusy   float64 // how long a command holds its bank
	WriteBusy  float64
	AtomicBusy float64
	Banks      int // a power of two
	Interleave int // bytes in a row in one bank, a power of two
	Line       int // bytes a bank moves at once
	Queue      int // commands a bank holds before the engine that issues one more must wait
}

// Services are the latencies of what is not a memory access, and how latencies vary.
// Services have no queue: none was ever seen as a bottleneck.
type Services struct {
	Ring       int `unit:"cycles" source:"a put on a ring of packets, command to signal; fitted, hardly identified"`
	Ticket     int `unit:"cycles" source:"the release of an order ticket, command to signal; fitted, hardly identified"`
	NextPacket int `unit:"cycles" source:"a request for a packet, one being there, to its delivery; fitted, hardly identified"`
	// Jitter is how far the latency of a command that a chip executes is from the
	// unloaded one: a whole number of cycles, uniform from -Jitter to Jitter, each
	// command's independent of the others'. Silicon's latencies vary with arbitration
	// and refresh, which are not modelled; without variation, contexts fall into
	// patterns that silicon does not keep.
	Jitter int `unit:"cycles" source:"most that a latency differs by, to both sides; fitted"`
}

// Cache is the cache of external memory's DRAM.
type Cache struct {
	CacheBytes int     `unit:"bytes" source:"Netmon/HeteroSketch: 3 MB an external memory unit, knee there"`
	CacheLine  int     `unit:"bytes" source:"assumed"`
	CacheWays  int     `source:"assumed"`
	MissRead   int     `unit:"cycles" source:"Clara (SOSP'21): a 4-byte read of external memory takes 336"`
	MissBusy   float64 `unit:"cycles" source:"how long a miss holds the DRAM; Netmon/HeteroSketch: 67 M random atomics a second uncached"`
}

// Bus connects an island's engines to the memories.
type Bus struct {
	CommandBusy float64 `unit:"cycles" source:"a command on an island's command bus; assumed"`
	DataBytes   int     `unit:"bytes/cycle" source:"push and pull buses of an island; assumed"`
}

// Wire is the network side. Buffers is the number of packets that fit between
// the MAC and the engines.
type Wire struct {
	Ports    int     `source:"the card's name"`
	PortGbps int     `unit:"Gbit/s" source:"the card's name"`
	MACMpps  float64 `unit:"M/s" source:"CoNEXT'21: highest packet rate the MAC accepts, confirmed by the vendor"`
	// A fault of some MACs' firmware, off if FaultMpps is 0: if packets arrive
	// faster than FaultFrom, the MAC accepts only FaultMpps.
	FaultFrom float64 `unit:"M/s" source:"CoNEXT'21: capacity with the fault 36 to 50"`
	FaultMpps float64 `unit:"M/s" source:"0: no fault; CoNEXT'21: 30 to 35 with it"`
	MACQueue  int     `unit:"packets" source:"packets that the MAC holds while it takes others; assumed"`
	Buffers   int     `unit:"packets" source:"buffers of 2 KiB in the CTMs of the worker islands, half of each island's 256 KiB; assumed"`
	Ingress   int     `unit:"cycles" source:"last bit received to the packet being ready in an island; assumed"`
	Egress    int     `unit:"cycles" source:"a packet released to its first bit sent; assumed"`
}

// Host is PCIe, a DMA write of a packet and of its descriptor.
type Host struct {
	DMALatency float64 `unit:"ns" source:"pcie-bench (SIGCOMM'18): 64 bytes written and read less 64 bytes read, 773 - 546"`
	DMAPerByte float64 `unit:"ns" source:"pcie-bench: (1560 - 986 - 227) / (1520 - 64), latency a byte more"`
	DMAMin     float64 `unit:"ns" source:"pcie-bench: 64-byte writes at 24.3 Gbit/s follow each other at this distance"`
	DMABase    float64 `unit:"ns" source:"pcie-bench: writes of 256 and 1024 bytes at 50.5 and 53 Gbit/s follow at this and so much a byte"`
	DMARate    float64 `unit:"ns/byte" source:"see DMABase"`
}

// unitSources gives the sources of the memories' numbers: unit, then field of Unit,
// "*" for the rest.
var unitSources = map[string]map[string]string{
	"CLS": {
		"Bytes": "64 KiB an island", "Read": "fitted; several papers: 20 to 50", "Write": "several papers: 20 to 50", "Atomic": "several papers: 20 to 50",
		"*": "assumed: one bank, 8 bytes a cycle",
	},
	"CTM": {
		"Bytes": "256 KiB an island", "Read": "fitted; Clara: 70", "Write": "fitted; Clara: 80", "Atomic": "Clara: model coefficient",
		"*": "assumed: CoNEXT'21 never saw it as a bottleneck; 8 bytes a cycle",
	},
	"IMEM": {
		"Bytes": "4 MiB", "Read": "Clara: model coefficient", "Write": "Clara: model coefficient", "Atomic": "fitted; Clara: 120",
		"*": "assumed as external memory's",
	},
	"EMEM": {
		"Bytes":      "assumed: 2 GB of DRAM on the card",
		"Read":       "fitted: blocking reads of one location, CoNEXT'21",
		"Write":      "fitted: the firmware's ring write, hardly identified",
		"Atomic":     "assumed as reads",
		"ReadBusy":   "fitted: blocking reads of one location, saturated, CoNEXT'21",
		"WriteBusy":  "assumed as reads",
		"AtomicBusy": "fitted: posted adds, saturated, CoNEXT'21",
		"Banks":      "CoNEXT'21: accesses spread out are up to 4 times faster than one location",
		"Interleave": "a cache line: CoNEXT'21 saw 48 bytes in a row behave as one location (its own sentence says more than 16 bytes)",
		"Line":       "assumed",
		"Queue":      "assumed",
	},
}

// UnitSource returns the source of a field of a memory unit.
func UnitSource(unit, field string) string {
	if s, ok := unitSources[unit][field]; ok {
		return s
	}
	return unitSources[unit]["*"]
}

// nfp4000 is the chip of the Agilio CX cards, with the clock and ports of the
// 2x40.
func nfp4000() Model {
	return Model{
		ClockMHz: 800, Islands: 5, EnginesPerIsland: 12, Workers: 50,
		Timing: Timing{Branch: 3, Settled: 2, Return: 3, Swap: 2, PointerDelay: 3},
		CLS: Unit{Bytes: 64 << 10, Read: 44, Write: 35, Atomic: 35, ReadBusy: 1, WriteBusy: 1, AtomicBusy: 1,
			Banks: 1, Interleave: 8, Line: 8, Queue: 64},
		CTM: Unit{Bytes: 256 << 10, Read: 49, Write: 79, Atomic: 70, ReadBusy: 1, WriteBusy: 1, AtomicBusy: 1,
			Banks: 1, Interleave: 8, Line: 8, Queue: 64},
		IMEM: Unit{Bytes: 4 << 20, Read: 122, Write: 122, Atomic: 128, ReadBusy: 4, WriteBusy: 4, AtomicBusy: 4,
			Banks: 4, Interleave: 64, Line: 16, Queue: 64},
		EMEM: Unit{Bytes: 2 << 30, Read: 93, Write: 70, Atomic: 93, ReadBusy: 4.02, WriteBusy: 4.02, AtomicBusy: 3.21,
			Banks: 4, Interleave: 64, Line: 16, Queue: 64},
		Services: Services{Ring: 17, Ticket: 134, NextPacket: 59, Jitter: 19},
		Cache:    Cache{CacheBytes: 3 << 20, CacheLine: 64, CacheWays: 8, MissRead: 336, MissBusy: 800 / 67.0},
		Bus:      Bus{CommandBusy: 1, DataBytes: 8},
		Wire:     Wire{Ports: 2, PortGbps: 40, MACMpps: 54.4, FaultFrom: 36, MACQueue: 128, Buffers: 5 * 64, Ingress: 400, Egress: 400},
		Host:     Host{DMALatency: 227, DMAPerByte: 0.24, DMAMin: 21.1, DMABase: 2.5, DMARate: 0.1486},
	}
}

// DefaultModel is the card that commands use unless another is named.
const DefaultModel = "cx-2x40"

// Models returns all cards, by name. The LX card is assumed to have the same
// chip with a faster clock; it has an NFP-6000.
func Models() []*Model {
	var all []*Model
	for _, c := range []struct {
		name, product    string
		mhz, ports, gbps int
	}{
		{"cx-2x10", "Agilio CX 2x10GbE", 633, 2, 10},
		{"cx-1x40", "Agilio CX 1x40GbE", 800, 1, 40},
		{"cx-2x25", "Agilio CX 2x25GbE", 800, 2, 25},
		{"cx-2x40", "Agilio CX 2x40GbE", 800, 2, 40},
		{"lx", "Agilio LX 1x100GbE", 1200, 1, 100},
	} {
		m := nfp4000()
		m.Name, m.Product, m.ClockMHz, m.Ports, m.PortGbps = c.name, c.product, c.mhz, c.ports, c.gbps
		all = append(all, &m)
	}
	return all
}

// ModelByName finds a card's model; "" is DefaultModel. A name that ends in .json
// is a file with those fields of Model that differ from the default's, or from
// those of the card that its field Name names.
func ModelByName(name string) (*Model, error) {
	if name == "" {
		name = DefaultModel
	}
	if strings.HasSuffix(name, ".json") {
		return readModel(name)
	}
	var names []string
	for _, m := range Models() {
		if m.Name == name {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return nil, fmt.Errorf("card %q: unknown; known are %s", name, strings.Join(names, ", "))
}

// Check returns an error if no card can have the model's numbers.
func (m *Model) Check() error {
	positive := func(what string, v int) error {
		if v <= 0 {
			return fmt.Errorf("card %s: %s is %d, must be at least 1", m.Name, what, v)
		}
		return nil
	}
	for _, f := range []struct {
		what string
		v    int
	}{
		{"clock", m.ClockMHz}, {"islands", m.Islands}, {"engines an island", m.EnginesPerIsland}, {"workers", m.Workers},
		{"ports", m.Ports}, {"port speed", m.PortGbps}, {"packets the MAC holds", m.MACQueue}, {"buffers", m.Buffers}, {"bytes a cycle on the data bus", m.DataBytes},
		{"cache line", m.CacheLine}, {"cache ways", m.CacheWays},
	} {
		if err := positive(f.what, f.v); err != nil {
			return err
		}
	}
	if most := m.Islands * m.EnginesPerIsland; m.Workers > most {
		return fmt.Errorf("card %s: %d workers, it has %d engines", m.Name, m.Workers, most)
	}
	if m.MACMpps <= 0 {
		return fmt.Errorf("card %s: a mac rate of %g Mpps, must be above 0", m.Name, m.MACMpps)
	}
	for i, u := range []*Unit{&m.CLS, &m.CTM, &m.IMEM, &m.EMEM} {
		name := []string{"cls", "ctm", "imem", "emem"}[i]
		power := func(v int) bool { return v > 0 && v&(v-1) == 0 }
		if !power(u.Banks) || !power(u.Interleave) || u.Line <= 0 || u.Queue <= 0 {
			return fmt.Errorf("card %s: %s: banks and interleave must be powers of two, line and queue above 0", m.Name, name)
		}
	}
	return nil
}

func readModel(file string) (*Model, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var base struct{ Name string }
	if err := json.Unmarshal(data, &base); err != nil {
		return nil, fmt.Errorf("card %s: %w", file, err)
	}
	m, err := ModelByName(strings.TrimSuffix(base.Name, ".json"))
	if err != nil {
		return nil, fmt.Errorf("card %s: %w", file, err)
	}
	if err := jsonfile.Decode(data, m); err != nil {
		return nil, fmt.Errorf("card %s: %w", file, err)
	}
	m.Name = file
	return m, m.Check()
}
