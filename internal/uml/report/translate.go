package report

// This file defines the messages for translating programs in the guest's kernel. The
// host puts a Translate into the guest's file system. The guest reports each map as a
// MapMade and each program as a Translated, and waits for a line after each.

// TranslatePath is the path of the Translate in the guest, as JSON.
const TranslatePath = "/translate.json"

// Translate is all the work of one boot.
type Translate struct {
	Attach   bool              `json:"attach"` // also attach each program to port 0
	Programs []TranslateSource `json:"programs"`
}

// TranslateSource is a program as bpf(2) takes it.
type TranslateSource struct {
	Type  uint32         `json:"type"`  // BPF_PROG_TYPE
	Flags uint32         `json:"flags"` // BPF_F_* of BPF_PROG_LOAD
	Hook  uint32         `json:"hook"`  // expected attach type
	Link  bool           `json:"link"`  // attached by a link to Hook, not by a tc filter
	Insns []byte         `json:"insns"` // 8 bytes each
	Maps  []TranslateMap `json:"maps"`
	// Refs says which instructions load a map: its descriptor goes into them.
	Refs []TranslateRef `json:"refs"`
}

// TranslateMap is a map to create on the card.
type TranslateMap struct {
	Type    uint32 `json:"type"`
	Key     uint32 `json:"key"`
	Value   uint32 `json:"value"`
	Entries uint32 `json:"entries"`
	Flags   uint32 `json:"flags"`
	Host    bool   `json:"host"` // neutral to offload: created in the host's memory
}

// TranslateRef names a slot of 8 bytes and a map.
type TranslateRef struct {
	Slot int `json:"slot"`
	Map  int `json:"map"`
}

// Translated is the result for a program. If Map is set it reports a new map instead,
// and if Drain is set the guest waits until the card has no maps.
type Translated struct {
	Program int    `json:"program"`
	Map     *int   `json:"map,omitempty"`
	Drain   bool   `json:"drain,omitempty"`
	Words   []byte `json:"words,omitempty"` // 8 bytes each, little endian; none: refused
	// Of a program that was refused, or could not be attached:
	Error  string   `json:"error,omitempty"`
	Log    []string `json:"log,omitempty"`    // the last lines of the verifier
	Kernel []string `json:"kernel,omitempty"` // what the kernel logged meanwhile
}
