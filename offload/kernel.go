// Package offload manages eBPF programs on live network cards. It loads programs and
// their maps, attaches them to ports, replaces them while packets flow, and removes
// them. Every operation survives the death of the process at any step.
//
// A Deployment describes the desired state of a program. A Manager, created by New,
// carries it out with Load, Reload, Unload or Apply, by means of a Kernel, which is
// Linux (NewLinux) or a simulated card (package driver/live). It records each step in
// a journal before the step, so that the next start finishes or rolls back what a
// crash left. Objects that must outlive a step are pinned, in one directory per
// generation. An object that is neither pinned nor attached is freed with the process.
//
// Invariants:
//
//   - Every error is an *Error. It names the first broken link of the chain from the
//     network interface to the instruction, and keeps the kernel's messages complete.
//   - A program is replaced only if the expected one is attached, unless Force is set.
//   - Nothing falls back silently to another mode.
package offload

import (
	"context"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A Kernel holds programs and maps and runs programs on packets. There are two: Linux,
// and the simulated card.
//
// All errors are *Error. A Port, Program or Map must only be used with its own Kernel.
// A Kernel is safe for concurrent use.
type Kernel interface {
	// Boot returns the id of the current boot: programs, maps and pins do not outlive
	// it. It is empty if unknown.
	Boot() string
	// Ports lists the network interfaces of a namespace, sorted by index: all, or
	// those that exist among the given names. "" is the caller's namespace.
	Ports(netns string, names ...string) ([]Port, error)

	// CreateMap creates an empty map: on the card of port on or, if on is nil, in the
	// host's memory.
	CreateMap(spec *ebpf.MapSpec, on *Port) (Map, error)
	// LoadProgram verifies and translates a program: for the hardware of on or, if on
	// is nil, for the host. Its map references are resolved by name among maps.
	LoadProgram(spec *ebpf.ProgramSpec, maps map[string]Map, on *Port) (Program, error)
	// Program and Map open an object by its id.
	Program(id uint32) (Program, error)
	Map(id uint32) (Map, error)
	// Objects lists all loaded objects, of any owner, sorted by kind and id.
	Objects() ([]Object, error)

	// Pin gives an object a name that keeps it alive. Missing directories are created
	// with mode 0700. Paths are slash-separated and relative to the Kernel's root.
	Pin(o Pinner, path string) error
	PinnedProgram(path string) (Program, error)
	PinnedMap(path string) (Map, error)
	// Pins lists the sorted names in a directory, with a slash after each directory. A
	// directory that does not exist has none.
	Pins(dir string) ([]string, error)
	// Unpin removes a name, or a directory with its contents. It is no error if there
	// is none.
	Unpin(path string) error

	// Attached lists the programs attached to a port, sorted by Mode.
	Attached(p *Port) ([]Attachment, error)
	// Swap replaces old by new atomically: every packet meets one of them. A nil old
	// means that none may be attached, and a nil new detaches old. If another program
	// is attached instead of old, Swap leaves it and returns an error of reason
	// program-changed.
	//
	// Traffic control has no compare-and-swap; there the attached program is read
	// first.
	Swap(p *Port, mode Mode, old, new Program) error
	// Hook creates what a mode needs on a port or, if on is false, removes it unless
	// it is still in use. changed reports whether it did so. Only traffic control
	// needs anything: a clsact qdisc.
	Hook(p *Port, mode Mode, on bool) (changed bool, err error)

	// Samples opens the stream of the events that programs send to an array of perf
	// events. A map has one stream at a time; opening another one replaces the first.
	Samples(m Map, opt *SampleOptions) (Samples, error)

	// Verdicts returns the card's own counters of verdicts.
	Verdicts(p *Port) (Verdicts, error)
	// Watch sends the changes in namespaces until ctx ends; then it closes the
	// channel. An event only names the port to read again. Events may be merged, and a
	// lost one is followed by an event with an empty Port.
	Watch(ctx context.Context, netns ...string) (<-chan Event, error)
}

// A Port is the state of a network interface when it was read.
type Port struct {
	Netns     string `json:"netns,omitempty"` // name below /run/netns, or a path; empty selects the caller's
	Name      string `json:"name"`
	Index     int    `json:"ifindex"`
	Driver    string `json:"driver"`
	Firmware  string `json:"firmware"`         // as ethtool -i shows it; its last word is the application
	Card      string `json:"card"`             // bus address: ports of one card share programs and maps
	Up        bool   `json:"up"`               // administrative state
	MTU       int    `json:"mtu"`              // bytes
	TCOffload bool   `json:"hw_tc_offload"`    // ethtool's feature hw-tc-offload is on
	Clsact    bool   `json:"clsact,omitempty"` // it has the qdisc that the modes of traffic control need
}

// Ref names a port that has not been read yet.
type Ref struct {
	Netns string `json:"netns,omitempty" yaml:"netns,omitempty"`
	Name  string `json:"name" yaml:"name"`
}

// Ref returns the port's name.
func (p *Port) Ref() Ref { return Ref{p.Netns, p.Name} }

// String returns eth0, or NETNS/eth0 in a named namespace.
func (r Ref) String() string {
	if r.Netns == "" {
		return r.Name
	}
	return r.Netns + "/" + r.Name
}

// A Pinner is a program or a map.
type Pinner interface {
	// ID returns the object's number in the kernel.
	ID() uint32
	// Close drops the caller's reference. An object without references, pins and
	// attachments is freed.
	Close() error
}

// A Program is a loaded program.
type Program interface {
	Pinner
	Info() (ProgramInfo, error)
}

// A Map is a map in the memory of the card or the host. Keys and values are bytes in
// the sizes of the map's shape; counter words are in host order. Errors are *Error; a
// missing key is an error of reason no-entry.
type Map interface {
	Pinner
	Info() (MapInfo, error)
	Lookup(key []byte) ([]byte, error)
	Update(key, value []byte, flags ebpf.MapUpdateFlags) error
	Delete(key []byte) error
	// Dump calls yield for each entry until it returns false. Entries that are added
	// or removed meanwhile may be missed. The slices are valid only during the call.
	Dump(yield func(key, value []byte) bool) error
	// Fill updates many entries, given as consecutive keys and consecutive values. It
	// returns the number of updated entries.
	Fill(keys, values []byte) (int, error)
}

// ProgramInfo is the kernel's description of a program.
type ProgramInfo struct {
	ID     uint32           `json:"id"`
	Name   string           `json:"name"`
	Type   ebpf.ProgramType `json:"-"`
	Tag    string           `json:"tag"`
	Maps   []uint32         `json:"map_ids,omitempty"`
	Device int              `json:"ifindex,omitempty"`      // of the port to which it is bound; 0 if it runs on the host
	Netns  uint64           `json:"netns_ino,omitempty"`    // inode of that port's namespace
	Words  int              `json:"words,omitempty"`        // microcode, 8 bytes each
	Gone   bool             `json:"device_gone,omitempty"`  // its device was removed
	Jited  []uint64         `json:"-"`                      // control-store words, before placement
	Xlated asm.Instructions `json:"-"`                      // eBPF as the verifier left it, if the kernel shows it
	Insns  int              `json:"bytes_xlated,omitempty"` // bytes of eBPF
	// Undecoded is the reason why Xlated is missing, if the kernel's instructions
	// cannot be decoded.
	Undecoded error `json:"-"`
	// JitedBytes is the size of the machine code, the card's or the host's.
	JitedBytes int    `json:"bytes_jited,omitempty"`
	Loaded     int64  `json:"loaded_at_ns,omitempty"`  // nanoseconds since boot
	Locked     uint64 `json:"bytes_memlock,omitempty"` // bytes of host memory
}

// MapInfo is the kernel's description of a map.
type MapInfo struct {
	ID     uint32 `json:"id"`
	Name   string `json:"name"`
	Shape  Shape  `json:"shape"`
	Device int    `json:"ifindex,omitempty"`     // of the port whose card holds it; 0 if it is in host memory
	Gone   bool   `json:"device_gone,omitempty"` // its device was removed
}

// A Shape holds the properties that two maps must share for one to replace the other.
type Shape struct {
	Type    string `json:"type" yaml:"type"`
	Key     uint32 `json:"bytes_key" yaml:"key"`     // bytes
	Value   uint32 `json:"bytes_value" yaml:"value"` // bytes
	Entries uint32 `json:"max_entries" yaml:"entries"`
	Flags   uint32 `json:"flags" yaml:"flags"`
}

// An Object is a program or a map by id: exactly one is set.
type Object struct {
	Program *ProgramInfo
	Map     *MapInfo
}

// An Attachment is a program attached to a port.
type Attachment struct {
	Mode    Mode   `json:"mode"`
	Program uint32 `json:"id"`
	// InHardware is false if traffic control kept the program in software.
	InHardware bool `json:"in_hw"`
	// Link means that a bpf_link holds the program: only the link's owner can replace
	// it.
	Link bool `json:"link,omitempty"`
}

// Verdicts are a card's counters for a port since the driver was bound.
type Verdicts struct {
	Pass     Count `json:"pass"`
	Drop     Count `json:"drop"`
	Redirect Count `json:"redirect"` // sent to another port or back to the wire
	Aborted  Count `json:"aborted"`
}

// Count is a number of packets and their bytes.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// An Event reports a change at a port. If Port is empty, any port may have changed.
type Event struct {
	Port Ref
	Gone bool // the port was removed
}
