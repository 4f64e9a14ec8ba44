// Package firmware describes what a card's firmware offers a program, as data.
package firmware

// Profile is one firmware: its limits, its helpers, its conventions, its costs.
// Sources of each number stand in the profile file beside it.
type Profile struct {
	Name        string            `json:"name"`
	Doc         string            `json:"doc"`
	Start       int               `json:"start"`          // code-store word the program is placed at
	Done        int               `json:"done"`           // word a program branches to at its end
	MaxLen      int               `json:"max_len"`        // words, with 8 of padding
	Stack       int               `json:"stack_bytes"`    // local memory for a thread's eBPF stack and spills
	InlMTU      int               `json:"inl_mtu"`        // packet bytes in CTM = 64 x this - 32
	ABI         int               `json:"abi"`            // control message ABI
	Maps        MapLimits         `json:"maps"`           //
	Helpers     map[string]int    `json:"helpers"`        // helper id -> code-store address, for helpers called by branch
	Inline      []int32           `json:"inline_helpers"` // helpers compiled in place: 7, 44, 65
	AdjustHead  AdjustHead        `json:"adjust_head"`
	QueueSelect bool              `json:"queue_select"`
	CtxFields   []string          `json:"ctx_fields"`   // XDP context fields a program may load, beside data and data_end
	Signals     []int             `json:"signals"`      // signals free for the program
	DirectMap   bool              `json:"direct_map"`   // array lookups inline from B23, no helper
	DirectValue bool              `json:"direct_value"` // map values addressable at load time (global data)
	ArrayZero   bool              `json:"array_zero"`   // array elements exist, zero, before the first write
	PacketIssue int               `json:"packet_issue"` // firmware issue cycles a packet, outside the program
	Costs       map[string]Cost   `json:"helper_costs"` // "lookup_hash", "lookup_array", "update", "delete", ...
	Sources     map[string]string `json:"sources"`      // field -> where the number comes from; "assumed" where it is
}

// MapLimits is the MAPS capability.
type MapLimits struct {
	Types   []string `json:"types"` // "array", "hash", ...
	Count   int      `json:"count"`
	Entries int      `json:"entries"` // sum over all maps
	Key     int      `json:"key_bytes"`
	Value   int      `json:"value_bytes"`
	Entry   int      `json:"entry_bytes"` // key and value, each rounded up to 8; 0 no limit
}

// AdjustHead is the ADJUST_HEAD capability.
type AdjustHead struct {
	OffMin        int `json:"off_min"`
	OffMax        int `json:"off_max"`
	GuaranteedSub int `json:"guaranteed_sub"`
	GuaranteedAdd int `json:"guaranteed_add"`
}

// Cost is what a helper takes: issue cycles and dependent EMEM reads waited for.
type Cost struct {
	Issue int `json:"issue"`
	Reads int `json:"emem_reads"`
}
