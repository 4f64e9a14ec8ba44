package sim

// Stall is the cause for which a context waits.
type Stall uint8

const (
	StallCTM      Stall = iota // a command to packet memory, unloaded
	StallEMEM                  // to external memory, unloaded, cache misses included
	StallQueue                 // queue of a bank, the bus or DRAM
	StallHelper                // reads of a helper's, unloaded
	StallFirmware              // reads by the firmware for the packet, unloaded
	StallPacket                // for a packet
	StallTurn                  // ready, for another context to release the engine
	NumStalls                  // the number of causes
)

var stallNames = [NumStalls]string{"ctm", "emem", "queue", "helper", "firmware", "packet", "turn"}

// String returns the cause's name, as in JSON.
func (s Stall) String() string { return stallNames[s] }

// WordCost is the cost of one instruction of the program, over all contexts.
type WordCost struct {
	Count  uint64 // times executed
	Cycles uint64 // that it held the engine, idle slots included
	Held   uint64 // of these, that a full queue held it up
	Helper uint64 // issued by the helper that the word called, not in Cycles
	Stalls [NumStalls]uint64
}

// Stats are a chip's counters since the last clear. Cycles are those of contexts:
// their sum is contexts times elapsed cycles.
type Stats struct {
	Packets  uint64
	Arrived  uint64            // at the ports
	Lost     [numLosses]uint64 // of them
	Fates    [numFates]uint64
	Issue    uint64 // words
	Slots    uint64 // idle slots of branches and swaps
	Held     uint64 // engines held up by full queues
	Helpers  uint64 // issue of helpers
	Firmware uint64 // issue of the firmware for the packet
	Stalls   [NumStalls]uint64

	ProgramElapsed uint64 // entry to exit

	done  uint64 // packets since the chip was started
	bytes uint64 // of packets as they arrived
	// bytes on the wire, of packets that were not lost and of those sent back
	received, sent uint64
}

// Loss is a place at which packets are lost.
type Loss uint8

const (
	AtMAC    Loss = iota // more came than the MAC takes
	NoBuffer             // all packet buffers were held
	numLosses
)

var lossNames = [numLosses]string{"mac", "buffers"}

func (l Loss) String() string { return lossNames[l] }

// Result holds a chip's measurements, per packet and per second. Its JSON is the
// contract of nfpsim bench.
type Result struct {
	Card     string  `json:"card"`
	Firmware string  `json:"firmware"`
	Workers  int     `json:"workers"`
	Bytes    float64 `json:"packet_bytes"` // mean, without CRC
	Offered  float64 `json:"offered_mpps"` // what arrived at the ports

	Mpps            float64 `json:"mpps"`
	Gbps            float64 `json:"gbps"`      // received on the wire and not lost: CRC, preamble and gap included
	GbpsSent        float64 `json:"gbps_sent"` // sent back on the wire, likewise
	CyclesPerPacket float64 `json:"cycles_per_packet"`
	IssueCycles     float64 `json:"issue_cycles"`   // the program's own, one context running
	ElapsedCycles   float64 `json:"elapsed_cycles"` // the same with its waits
	WordsPerPacket  float64 `json:"words_per_packet"`

	Latency        LatencyNS          `json:"latency_ns"`
	Verdicts       map[string]uint64  `json:"verdicts"` // packets dropped, to the host, to the wire
	Arrived        uint64             `json:"arrived"`  // packets that came to the ports
	Lost           map[string]uint64  `json:"lost"`     // of them, by place: mac (more than it takes), buffers (none was free)
	Bottleneck     string             `json:"bottleneck"`
	NextBottleneck string             `json:"next_bottleneck"`
	Utilization    map[string]float64 `json:"utilization"` // 0 to 1
	Spent          map[string]float64 `json:"spent"`       // engine cycles a packet: program, slots, held, helpers, firmware
	Stalls         map[string]float64 `json:"stalls"`      // context cycles a packet, by cause
	CacheHits      float64            `json:"cache_hit_rate"`

	CIPercent      float64 `json:"ci_percent"` // half the 95 % interval of mpps, of mpps
	Packets        uint64  `json:"packets"`    // measured
	WarmUp         uint64  `json:"warm_up_packets"`
	Seed           uint64  `json:"seed"`
	SecondsWall    float64 `json:"seconds_wall"`
	WordsPerSecond float64 `json:"words_per_second"` // of the simulator
	Partial        bool    `json:"partial"`
}

// LatencyNS is latency from the last bit received: to the last bit sent on the
// wire, and to the packet being in the host's memory.
type LatencyNS struct {
	Wire Quantiles `json:"wire"`
	Host Quantiles `json:"host"`
}

// Quantiles of a latency in nanoseconds; all zero if no packet was counted.
type Quantiles struct {
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}
