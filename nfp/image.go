package nfp

// RelocKind is the change of a word when an image is placed. Numbers 0..8 are
// the Linux driver's; the rest are ours.
type RelocKind uint8

const (
	RelocNone     RelocKind = iota
	RelocBranch             // branch target += start
	RelocOut                // branch to the common exit
	RelocAbort              // branch to the abort stub
	RelocPush               // branch to the shared push routine
	RelocPop                // branch to the shared pop routine
	RelocDone               // branch target := done (next packet)
	RelocHelper             // branch target := address of helper Reloc.Helper
	RelocImmed              // immed constant += start
	RelocMap                // immed constant := table id of map Reloc.Map
	RelocMapBase            // immed pair, low 16 bits: base address bits 39:8 of map Reloc.Map
	RelocMapBase1           // immed pair, high 16 bits
)

// Reloc is one place to patch.
type Reloc struct {
	Addr   int // word index in the image
	Kind   RelocKind
	Helper int32  // eBPF helper id
	Map    string // map name
}

// Symbol names a word.
type Symbol struct {
	Name string
	Addr int
}

// Line names the source of the words [Addr, next Line's Addr).
type Line struct {
	Addr int
	PC   int    // eBPF pc, -1 if the words belong to none (prologue, padding)
	Insn string // eBPF text
	File string
	Line int
	Text string // C source
}

// WordUse is the use of a 4-byte word of a map value by programs.
type WordUse uint8

const (
	UseNone WordUse = iota
	UsePlain
	UseCounter // target of memory-engine atomics: big-endian in memory, swapped on host access
)

// MapUse describes an image's use of one map.
type MapUse struct {
	Name  string
	Words []WordUse // one per 4 bytes of value
}

// Image is a program for the micro-engine, not yet placed.
type Image struct {
	Name    string
	Words   []Word // entry is word 0; branch targets count from it
	Symbols []Symbol
	Relocs  []Reloc
	Lines   []Line
	Maps    []MapUse
	Stack   int // bytes of stack used, all frames and spills
}

// Placement is the address of an image, and of all that it refers to.
type Placement struct {
	Start, Done int
	Helpers     map[int32]int     // helper id -> code-store address
	MapID       map[string]uint32 // table id
	MapBase     map[string]uint64 // address of the first value, a multiple of 256
}
