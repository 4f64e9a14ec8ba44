// Package offload manages eBPF programs on live network cards: it loads them and
// their maps, puts them in front of ports, replaces them while packets flow, and
// takes them away, in a way that survives being killed.
//
// A Deployment says what should run. A Manager brings it about by way of a Kernel,
// which is Linux (NewLinux) or a simulated card (package driver/live), and notes
// each step in a Journal beforehand, so that the next start finishes or rolls back
// whatever a crash left. Objects that must outlive a step are pinned, one directory
// a generation: what is not pinned or attached goes away with the process.
//
// Whatever fails is an *Error: it names the first broken link of the chain from the
// network interface to the instruction, and keeps the kernel's words whole.
package offload

import (
	"context"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// A Kernel holds programs and maps and runs programs on packets. There are two:
// Linux, and the simulated card.
//
// All errors are *Error. A Port, Program or Map belongs to the Kernel it came from.
// A Kernel is safe for concurrent use.
type Kernel interface {
	// Boot identifies the boot: programs, maps and pins do not outlive it. Empty: not known.
	Boot() string
	// Ports lists the network interfaces of a namespace, all or those of the given names
	// that are there, in order of their index; "" is the caller's namespace.
	Ports(netns string, names ...string) ([]Port, error)

	// CreateMap makes a map without contents: on the card that on belongs to, or, with
	// a nil on, in the host's memory.
	CreateMap(spec *ebpf.MapSpec, on *Port) (Map, error)
	// LoadProgram verifies and translates a program: for the hardware of on, or, with a
	// nil on, for the host. Its map references are resolved by name among maps.
	LoadProgram(spec *ebpf.ProgramSpec, maps map[string]Map, on *Port) (Program, error)
	// Program and Map open an object by its id.
	Program(id uint32) (Program, error)
	Map(id uint32) (Map, error)
	// Objects lists what is loaded, whoever loaded it, in order of kind and id.
	Objects() ([]Object, error)

	// Pin gives an object a name that keeps it alive; missing directories are made with
	// mode 0700. Paths are slash-separated and relative to the Kernel's root.
	Pin(o Pinner, path string) error
	PinnedProgram(path string) (Program, error)
	PinnedMap(path string) (Map, error)
	// Pins lists the names in a directory, sorted, directories with a slash at the end;
	// a directory that is not there has none.
	Pins(dir string) ([]string, error)
	// Unpin removes a name, or a directory and what is below it. One that is not there
	// is no error.
	Unpin(path string) error

	// Attached lists what stands in front of a port, in order of Mode.
	Attached(p *Port) ([]Attachment, error)
	// Swap puts new in the place of old in one step: no packet meets neither. A nil old
	// means that there must be none, a nil new takes old away. What is found there
	// instead of old is an error of reason program-changed, and stays.
	//
	// Traffic control has no compare-and-swap; there the old one is looked at first.
	Swap(p *Port, mode Mode, old, new Program) error
	// Hook makes what a mode needs on a port, or, with on false, removes it if nothing
	// uses it any more. It reports whether there was something to do. Only traffic
	// control needs anything: a clsact qdisc.
	Hook(p *Port, mode Mode, on bool) (changed bool, err error)

	// Samples opens the stream of what programs send to an array of perf events. One stream
	// of a map is open at a time; a later one takes the place of the first.
	Samples(m Map, opt *SampleOptions) (Samples, error)

	// Verdicts are the card's own counts of what programs decided.
	Verdicts(p *Port) (Verdicts, error)
	// Watch tells of changes in namespaces until ctx ends; then the channel is closed. An
	// event only says where to look again: events may be merged, and a lost one is
	// followed by one with an empty Port.
	Watch(ctx context.Context, netns ...string) (<-chan Event, error)
}

// A Port is a network interface, as it was when it was looked at.
type Port struct {
	Netns     string `json:"netns,omitempty"` // name below /run/netns, or a path; empty: the caller's
	Name      string `json:"name"`
	Index     int    `json:"ifindex"`
	Driver    string `json:"driver"`
	Firmware  string `json:"firmware"`         // as ethtool -i shows it; its last word is the application
	Card      string `json:"card"`             // bus address: ports of one card share programs and maps
	Up        bool   `json:"up"`               // administratively
	MTU       int    `json:"mtu"`              // bytes
	TCOffload bool   `json:"hw_tc_offload"`    // ethtool's feature hw-tc-offload is on
	Clsact    bool   `json:"clsact,omitempty"` // it has the qdisc that traffic control's modes need
}

// Ref names a port before it is looked at.
type Ref struct {
	Netns string `json:"netns,omitempty" yaml:"netns,omitempty"`
	Name  string `json:"name" yaml:"name"`
}

// Ref is the port's name.
func (p *Port) Ref() Ref { return Ref{p.Netns, p.Name} }

// String is eth0, or NETNS/eth0 in a namespace.
func (r Ref) String() string {
	if r.Netns == "" {
		return r.Name
	}
	return r.Netns + "/" + r.Name
}

// A Pinner is a program or a map.
type Pinner interface {
	// ID is the object's number in the kernel.
	ID() uint32
	// Close gives up the caller's hold. An object without holds, pins, or attachments is gone.
	Close() error
}

// A Program is a loaded program.
type Program interface {
	Pinner
	Info() (ProgramInfo, error)
}

// A Map is a map, in the card's memory or the host's. Keys and values are bytes as the
// map's shape has them; words that programs count in are in host order. Errors are
// *Error; an absent key is one of reason no-entry.
type Map interface {
	Pinner
	Info() (MapInfo, error)
	Lookup(key []byte) ([]byte, error)
	Update(key, value []byte, flags ebpf.MapUpdateFlags) error
	Delete(key []byte) error
	// Dump calls yield for each entry until it returns false. Entries that come and go
	// meanwhile may be missed. The slices are the callee's only during the call.
	Dump(yield func(key, value []byte) bool) error
	// Fill updates many entries: keys and values one after the other. It returns how many
	// were done.
	Fill(keys, values []byte) (int, error)
}

// ProgramInfo is what the kernel tells of a program.
type ProgramInfo struct {
	ID     uint32           `json:"id"`
	Name   string           `json:"name"`
	Type   ebpf.ProgramType `json:"-"`
	Tag    string           `json:"tag"`
	Maps   []uint32         `json:"map_ids,omitempty"`
	Device int              `json:"ifindex,omitempty"`      // of the port it is bound to; 0: it runs on the host
	Netns  uint64           `json:"netns_ino,omitempty"`    // inode of that port's namespace
	Words  int              `json:"words,omitempty"`        // microcode, 8 bytes each
	Gone   bool             `json:"device_gone,omitempty"`  // the device that it was for is no more
	Jited  []uint64         `json:"-"`                      // the words, not yet placed
	Xlated asm.Instructions `json:"-"`                      // eBPF as the verifier left it, as far as the kernel shows it
	Insns  int              `json:"bytes_xlated,omitempty"` // bytes of eBPF
	// Undecoded says why Xlated is missing, if the kernel's instructions cannot be decoded.
	Undecoded error `json:"-"`
	// JitedBytes is the size of the machine code, the card's or the host's.
	JitedBytes int    `json:"bytes_jited,omitempty"`
	Loaded     int64  `json:"loaded_at_ns,omitempty"`  // nanoseconds since boot
	Locked     uint64 `json:"bytes_memlock,omitempty"` // bytes of host memory
}

// MapInfo is what the kernel tells of a map.
type MapInfo struct {
	ID     uint32 `json:"id"`
	Name   string `json:"name"`
	Shape  Shape  `json:"shape"`
	Device int    `json:"ifindex,omitempty"`     // of the port whose card has it; 0: in host memory
	Gone   bool   `json:"device_gone,omitempty"` // the device that had it is no more
}

// A Shape is what two maps must share for one to take the other's place.
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

// An Attachment is a program in front of a port.
type Attachment struct {
	Mode    Mode   `json:"mode"`
	Program uint32 `json:"id"`
	// InHardware is false where traffic control kept a program in software.
	InHardware bool `json:"in_hw"`
	// Link: held by a bpf_link, which nobody else can replace.
	Link bool `json:"link,omitempty"`
}

// Verdicts are a card's counts per port since the driver was bound.
type Verdicts struct {
	Pass     Count `json:"pass"`
	Drop     Count `json:"drop"`
	Redirect Count `json:"redirect"` // sent elsewhere, back to the wire too
	Aborted  Count `json:"aborted"`
}

// Count is of packets and their bytes.
type Count struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// An Event says that something at a port changed. An empty Port means anything may
// have.
type Event struct {
	Port Ref
	Gone bool // the port is no more
}
