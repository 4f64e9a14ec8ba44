// Package driver implements the contract between a card and its host: the firmware's
// capabilities, the state in which a program is entered and must end, the layout of
// maps, the calls of helpers. docs/firmware-contract.md states the contract. Package
// driver/linux predicts how Linux's nfp driver treats it.
//
// A NIC performs the firmware's part of the contract on a simulated engine. A Go
// function is at the address of each helper and of the exit, and maps are in simulated
// memory. Create one with New for a firmware profile, create maps with CreateMap, load
// a program with Load or LoadWords, and process packets with Run. Bench measures a
// program on all engines of a chip. Place loads programs by slot, for a card that an
// operating system's driver uses. CheckMaps returns why a firmware cannot hold the maps
// of programs, without a card.
//
// The NIC is strict. All state that the contract leaves undefined is filled with
// garbage, which differs for each packet and after each helper. A program that
// accesses a resource that is not its own stops with the address and text of the
// instruction.
package driver

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/sim"
)

// Guard selects how strictly packet accesses are checked. A write outside the packet
// and any access outside its buffer always fault.
type Guard uint8

const (
	GuardBuffer Guard = iota // reads are allowed anywhere in the packet's buffer
	GuardPacket              // reads must begin in the packet and end at most 64 bytes past its end
)

// Options configures New. The zero value selects the defaults.
type Options struct {
	Spec     *sim.Spec // chip; nil selects sim.NFP4000
	MaxWords uint64    // limit of instructions per packet; 0 selects 1,000,000
	Guard    Guard
	// ZeroBuffer fills the packet's buffer around the packet with zeros instead of
	// garbage, as in the reference interpreter.
	ZeroBuffer bool
	// Time is the clock of helper 5 in nanoseconds. If nil, the time follows from the
	// number of executed instructions.
	Time func() uint64
	// HostEvents states that helper 25 names its map by the host's number, which the
	// card passes on in Event.ID, as with the Linux driver.
	HostEvents bool
}

// NIC is a card with one engine. It is not safe for concurrent use.
type NIC struct {
	Profile *firmware.Profile
	Stats   [4]Stat // pass, app1, app2, app3

	opt      Options
	spec     *sim.Spec
	store    *sim.Store
	mem      *sim.Memory
	main     *lane   // the lane on which Run runs programs
	lanes    []*lane // by context ID, of the engine or chip that is running
	maps     []*Map  // by table id - 1
	programs []*Program
	next     int // address of the next program
	slots    []placed
	iface    bool // the packet vector contains the interface
}

// Stat counts packets by result word, as the firmware does.
type Stat struct{ Packets, Bytes uint64 }

// Program is a program in the code store.
type Program struct {
	Name  string
	Type  ebpf.ProgramType
	Start int
	Words int
	Image *nfp.Image // nil for raw words

	insts  []nfp.Inst
	id     uint32
	placed bool // by Place: its result may be of either program type
}

// LoadError reports a program that the card cannot take. Reason is one of code-size,
// stack-size, helper-missing, map-missing, firmware-register, bad-word, link.
type LoadError struct {
	Program, Reason, Msg string
	Err                  error
}

func (e *LoadError) Error() string {
	return fmt.Sprintf("%s: %s (%s)", e.Program, e.Msg, e.Reason)
}
func (e *LoadError) Unwrap() error { return e.Err }

// Layout of the card's memories. Context 1 of the engine runs the programs, so
// that no address of its local memory is zero.
const (
	workContext  = 1
	packetNumber = 37
	bufferBase   = 0x8000
)

// New returns a card with the given firmware.
func New(p *firmware.Profile, opt *Options) (*NIC, error) {
	n := &NIC{Profile: p}
	if opt != nil {
		n.opt = *opt
	}
	if n.spec = n.opt.Spec; n.spec == nil {
		n.spec = sim.NFP4000()
	}
	if n.opt.MaxWords == 0 {
		n.opt.MaxWords = 1_000_000
	}
	stack := (p.Stack + 63) &^ 63
	if 2*stack+firmware.VectorBytes > 4*sim.LMWords {
		return nil, fmt.Errorf("firmware %s: two stacks of %d bytes do not fit local memory", p.Name, p.Stack)
	}
	if p.CTMBytes() > firmware.BufferBytes-firmware.PacketOffset {
		return nil, fmt.Errorf("firmware %s: %d bytes of a packet in ctm, a buffer has %d", p.Name, p.CTMBytes(), firmware.BufferBytes-firmware.PacketOffset)
	}
	n.iface = slices.Contains(p.CtxFields, "ingress_ifindex")
	n.store, n.mem = sim.NewStore(), sim.NewMemory()
	engine := sim.New(n.spec, n.store, n.mem)
	var err error
	if n.main, err = n.newLane(&engine.Ctx[workContext], packetNumber, bufferBase, uint32(stack), uint32(2*stack)); err != nil {
		return nil, err
	}
	n.lanes = make([]*lane, sim.Contexts)
	n.lanes[workContext] = n.main
	n.Unload()
	return n, nil
}

// Unload removes all programs. Maps stay, and so do the recorded uses of their words.
func (n *NIC) Unload() {
	n.store.Clear()
	n.programs, n.slots, n.next = nil, nil, n.Profile.Start
	n.trap()
}

// trap installs the firmware's functions in the code store.
func (n *NIC) trap() {
	n.store.Trap(n.Profile.Done, func(c *sim.Context) (int, sim.Cost, error) { return n.lanes[c.ID].done(c) })
	for id, at := range n.Profile.Helpers {
		if fn := n.helper(id); fn != nil {
			n.store.Trap(at, fn)
		}
	}
}

// Reset removes programs, maps and statistics. The card is then as New returned it,
// except for the garbage in it.
func (n *NIC) Reset() {
	for _, m := range n.maps {
		n.mem.Free(m.Base())
	}
	n.maps, n.Stats = nil, [4]Stat{}
	n.Unload()
}

// CreateMap creates a map and fills it with the spec's contents. Errors are *MapError.
// A perf_event_array stays with the host and counts against no limit. Names of
// programs in a prog_array are resolved when programs are loaded.
func (n *NIC) CreateMap(spec *ebpf.MapSpec) (*Map, error) {
	neutral := neutral(n.Profile, spec)
	if !neutral {
		used, entries := 0, 0
		for _, m := range n.maps {
			if !m.neutral {
				used, entries = used+1, entries+int(m.Spec().MaxEntries)
			}
		}
		if err := checkMap(n.Profile, spec, used, entries); err != nil {
			return nil, err
		}
	}
	m, err := newMap(n.Profile, spec, n.freeID(), n.mem, neutral)
	if err != nil {
		return nil, err
	}
	if spec.Type != ebpf.ProgramArray {
		if err := maps.LoadContents(m, nil); err != nil {
			return nil, createError(spec, err)
		}
	}
	if len(spec.Contents) > 0 {
		m.Init()
	}
	if int(m.ID) <= len(n.maps) {
		n.maps[m.ID-1] = m
		return m, nil
	}
	n.maps = append(n.maps, m)
	return m, nil
}

// Map returns the map of a name, or nil if there is none.
func (n *NIC) Map(name string) *Map {
	for _, m := range n.maps {
		if m.Name() == name {
			return m
		}
	}
	return nil
}

// Maps returns the card's maps in order of their table ids.
func (n *NIC) Maps() []*Map { return append([]*Map(nil), n.maps...) }

// Load places a program after those already loaded. Its maps must exist. Errors are
// *LoadError, or *MapError if programs use a map in conflicting ways.
func (n *NIC) Load(im *nfp.Image, typ ebpf.ProgramType) (*Program, error) {
	p := n.Profile
	fail := func(reason string, err error, format string, args ...any) (*Program, error) {
		return nil, &LoadError{im.Name, reason, fmt.Sprintf(format, args...), err}
	}
	if im.Stack > p.Stack {
		return fail("stack-size", nil, "%d bytes of stack, firmware %s has %d", im.Stack, p.Name, p.Stack)
	}
	place := nfp.Placement{Start: n.next, Done: p.Done, Helpers: p.Helpers, MapID: map[string]uint32{}, MapBase: map[string]uint64{}}
	for _, m := range n.maps {
		place.MapID[m.Name()], place.MapBase[m.Name()] = m.ID, m.Base()
	}
	for _, r := range im.Relocs {
		if _, ok := p.Helpers[r.Helper]; r.Kind == nfp.RelocHelper && !ok {
			return fail("helper-missing", nil, "firmware %s has no helper %d", p.Name, r.Helper)
		}
		if _, ok := place.MapID[r.Map]; r.Map != "" && !ok {
			return fail("map-missing", nil, "map %s was not created", r.Map)
		}
	}
	for _, use := range im.Maps {
		m := n.Map(use.Name)
		if m == nil {
			return fail("map-missing", nil, "map %s was not created", use.Name)
		}
		if err := m.checkUse(use.Words); err != nil {
			return nil, err
		}
	}
	words, err := im.Link(place)
	if err != nil {
		return fail("link", err, "%v", err)
	}
	prog, err := n.LoadWords(im.Name, words, typ)
	if err != nil {
		return nil, err
	}
	prog.Image = im
	for _, use := range im.Maps {
		if err := n.Map(use.Name).setUse(use.Words); err != nil {
			return nil, err
		}
	}
	return prog, nil
}

// LoadWords places words that are linked for the address of the next program, as
// returned by NextStart. The Linux driver's words are linked like that. Check bits are
// ignored.
func (n *NIC) LoadWords(name string, words []nfp.Word, typ ebpf.ProgramType) (*Program, error) {
	p := n.Profile
	switch end := p.Start + p.MaxLen; {
	case len(words) > p.MaxLen:
		return nil, &LoadError{Program: name, Reason: "code-size", Msg: fmt.Sprintf("%d words, firmware %s has room for %d", len(words), p.Name, p.MaxLen)}
	case n.next+len(words) > end:
		return nil, &LoadError{Program: name, Reason: "code-size", Msg: fmt.Sprintf("%d words, %d are left", len(words), end-n.next)}
	}
	insts, err := n.decode(name, words)
	if err != nil {
		return nil, err
	}
	if err := n.store.LoadInsts(n.next, insts, n.spec); err != nil {
		return nil, &LoadError{name, "bad-word", err.Error(), err}
	}
	prog := &Program{Name: name, Type: typ, Start: n.next, Words: len(words), insts: insts, id: uint32(len(n.programs) + 1)}
	n.programs = append(n.programs, prog)
	n.next += len(words)
	n.fillProgArrays(prog)
	return prog, nil
}

// decode decodes words, and refuses those that access the firmware's resources.
func (n *NIC) decode(name string, words []nfp.Word) ([]nfp.Inst, error) {
	insts := make([]nfp.Inst, len(words))
	for i, w := range words {
		in, err := nfp.Decode(w & (1<<45 - 1))
		if err != nil {
			return nil, &LoadError{name, "bad-word", fmt.Sprintf("word %d: %v", i, err), err}
		}
		if why := trespass(n.Profile, &in); why != "" {
			return nil, &LoadError{Program: name, Reason: "firmware-register", Msg: fmt.Sprintf("word %d: %s: %s", i, in, why)}
		}
		insts[i] = in
	}
	return insts, nil
}

// Programs returns the loaded programs in the order of their addresses, without those
// of Place.
func (n *NIC) Programs() []*Program { return slices.Clone(n.programs) }

// NextStart returns the address at which the next program will be placed.
func (n *NIC) NextStart() int { return n.next }

// fillProgArrays stores a program in each prog_array whose initial contents name it.
func (n *NIC) fillProgArrays(prog *Program) {
	for _, m := range n.maps {
		if m.Spec().Type != ebpf.ProgramArray {
			continue
		}
		for _, kv := range m.Spec().Contents {
			name, _ := kv.Value.(string)
			if index, ok := kv.Key.(uint32); ok && name == prog.Name {
				// A key outside the map cannot be stored; the object's reader reports
				// it.
				_ = n.SetProgArray(m, index, prog)
			}
		}
	}
}

// SetProgArray stores a program at index of a prog_array.
func (n *NIC) SetProgArray(m *Map, index uint32, prog *Program) error {
	if m.Spec().Type != ebpf.ProgramArray {
		return &MapError{Map: m.Name(), Reason: "map-type", Msg: "not a prog_array"}
	}
	le := binary.LittleEndian
	if err := m.Map.UpdateAll(le.AppendUint32(nil, index), le.AppendUint32(nil, prog.id), maps.Any); err != nil {
		return &MapError{Map: m.Name(), Reason: "map-entries", Msg: fmt.Sprintf("index %d: %v", index, err), Err: err}
	}
	return nil
}

// trespass returns a description of the firmware's resource that an instruction
// accesses, or "".
func trespass(p *firmware.Profile, in *nfp.Inst) string {
	for _, d := range in.Dests(nil) {
		switch d.Kind {
		case nfp.GPRA, nfp.GPRB:
			if d.N > firmware.LastRegister {
				return "registers 23 to 31 are the firmware's"
			}
		case nfp.AbsA, nfp.AbsB, nfp.NN, nfp.NNIndex:
			return "writes another context's or engine's register"
		case nfp.Xfer:
			if d.N > 31 {
				return "transfer registers 32 to 63 are the firmware's"
			}
		}
	}
	if in.Op == nfp.OpCSRWrite && !ownCSR[in.Imm] {
		return "the control register is the firmware's"
	}
	if in.Op == nfp.OpCmd {
		if sends, gets, known := in.Transfer(); known && int(in.Cmd.Xfer)+max(sends, gets) > 32 {
			return "transfer registers 32 to 63 are the firmware's"
		}
		if s := int(in.Cmd.Sig); s != 0 && !slices.Contains(p.Signals, s) {
			return fmt.Sprintf("signal %d is the firmware's", s)
		}
	}
	return ""
}

// ownCSR is the set of control registers that a program may write: LM pointers 0, 2
// and 3 with and without BYTE_INDEX, T_INDEX, the predicate, the indirect references.
var ownCSR = map[uint32]bool{
	0x064: true, 0x094: true, 0x09c: true, 0x0a4: true, 0x0ac: true, 0x0e4: true,
	0x070: true, 0x074: true, 0x0f4: true, 0x0b0: true, 0x190: true, 0x194: true, 0x140: true,
}

// errOutstanding is the error of a run that ends with an outstanding command.
var errOutstanding = errors.New("a command was not waited for")
