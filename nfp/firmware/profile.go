// Package firmware describes what a card's firmware offers a program, as data.
//
// A Profile is one firmware: limits, helpers, costs. Load returns one of the built-in
// profiles or reads a file; Parse reads JSON. The constants of the contract that all
// firmwares share, such as the words of the packet vector, the registers that helpers
// keep and the words of verdicts, are in contract.go and result.go. The contract itself
// is docs/firmware-contract.md. The compiler takes one side of it from here, the
// simulated card the other.
package firmware

import (
	"maps"
	"slices"
)

// Profile is one firmware: its limits, its helpers, its conventions, its costs. It is
// read from a JSON file that a user can copy and edit; Sources gives the source of
// each number, or says that it is assumed.
type Profile struct {
	Name        string            `json:"name"`
	Doc         string            `json:"doc"`
	Start       int               `json:"start"`          // code-store word the program is placed at
	Done        int               `json:"done"`           // word a program branches to at its end
	MaxLen      int               `json:"max_len"`        // words, with 8 of padding
	Stack       int               `json:"stack_bytes"`    // local memory for a thread's eBPF stack and spills
	InlMTU      int               `json:"inl_mtu"`        // packet bytes in CTM = 64 x this - 32
	ABI         int               `json:"abi"`            // control message ABI, 2 or 3
	Maps        MapLimits         `json:"maps"`           // the MAPS capability
	Helpers     map[int32]int     `json:"helpers"`        // helper id -> code-store address, for helpers called by branch
	Inline      []int32           `json:"inline_helpers"` // helpers compiled in place: 7, 44, 65
	AdjustHead  AdjustHead        `json:"adjust_head"`
	QueueSelect bool              `json:"queue_select"`  // a program may store rx_queue_index
	CtxFields   []string          `json:"ctx_fields"`    // XDP context fields a program may load, beside data and data_end
	Signals     []int             `json:"signals"`       // signals free for the program
	DirectMap   bool              `json:"direct_map"`    // one array, addressed from B23; no lookup helper
	DirectValue bool              `json:"direct_value"`  // map values addressable at load time: global data; elements of arrays, with array_zero
	ArrayZero   bool              `json:"array_zero"`    // array elements exist, zero, before the first write
	Before      []Step            `json:"packet_before"` // from having a packet to entering the program
	After       []Step            `json:"packet_after"`  // from the program's branch to Done to having the next packet
	HostTakes   bool              `json:"host_delivery"` // a host takes the packets that pass; else they end at its queue
	Costs       map[string]Cost   `json:"helper_costs"`  // by "lookup_hash", "lookup_array", "update", "delete", "other"
	Sources     map[string]string `json:"sources"`       // JSON field -> source of its numbers
}

// MapLimits is the MAPS capability. Zero means no limit.
type MapLimits struct {
	Types   []string `json:"types"` // as bpftool writes them: "array", "hash", ...
	Count   int      `json:"count"`
	Entries int      `json:"entries"`     // sum over all maps
	Key     int      `json:"key_bytes"`   // largest key
	Value   int      `json:"value_bytes"` // largest value
	Entry   int      `json:"entry_bytes"` // key and value, each rounded up to 8
}

// AdjustHead is the ADJUST_HEAD capability, in bytes from the buffer's start.
type AdjustHead struct {
	OffMin        int `json:"off_min"`
	OffMax        int `json:"off_max"`
	GuaranteedSub int `json:"guaranteed_sub"`
	GuaranteedAdd int `json:"guaranteed_add"`
}

// Cost is the cost of a helper: issue cycles, and EMEM reads that are each waited for.
type Cost struct {
	Issue int `json:"issue"`
	Reads int `json:"emem_reads"`
}

// Step is a part of the firmware's work on a packet: instructions, and a wait for the
// answer of the last command among them, during which other contexts run. The defer
// slots of that command are filled, so that Issue is all that the engine spends.
type Step struct {
	Issue int     `json:"issue"`
	Wait  string  `json:"wait,omitempty"`  // one of Waits; "" goes on at once
	Op    string  `json:"op,omitempty"`    // on a memory: one of Ops; "" reads
	Bytes int     `json:"bytes,omitempty"` // on a memory; 0 is 4
	Bank  *int    `json:"bank,omitempty"`  // of imem or emem; nil spreads the contexts over all banks
	Share float64 `json:"share,omitempty"` // of packets that take the step, drawn at random; 0 is all
}

// WaitPacket is the wait that ends Profile.After: for the next packet.
const WaitPacket = "packet"

// Waits returns what a step may wait for: the memories, a put on a ring of packets, the
// release of an order ticket, and the next packet.
func Waits() []string { return []string{"cls", "ctm", "imem", "emem", "ring", "ticket", WaitPacket} }

// Ops returns what a step may do to a memory.
func Ops() []string { return []string{"read", "write", "add"} }

// CTMBytes is how many bytes of a packet lie in CTM, where a program can access them.
func (p *Profile) CTMBytes() int { return p.InlMTU*64 - 32 }

// Inlines reports whether helper id is compiled in place.
func (p *Profile) Inlines(id int32) bool {
	return slices.Contains(p.Inline, id)
}

// Offered returns the ids of the helpers that a program may call, in ascending order.
func (p *Profile) Offered() []int32 {
	ids := slices.AppendSeq(slices.Clone(p.Inline), maps.Keys(p.Helpers))
	if p.DirectMap {
		ids = append(ids, 1) // map_lookup_elem, computed in place
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Offers reports whether a program may call helper id at all.
func (p *Profile) Offers(id int32) bool { return slices.Contains(p.Offered(), id) }
