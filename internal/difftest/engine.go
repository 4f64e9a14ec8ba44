package difftest

import (
	"encoding/binary"
	"fmt"
	stdmaps "maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// Offsets in a packet's buffer between which its start may move: off_min and off_max of
// every profile that programs are compared on. The interpreter has the same limits.
const (
	cardHeadMin = 44
	cardHeadMax = 248
)

// resolve resolves jumps, functions and maps of a program (code.New).
func resolve(p *Program) (*code.Code, error) {
	c, faults := code.New(p.Spec, p.Maps)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	return c, nil
}

// world is the interpreter's side of one program: its maps, filled.
type world struct {
	code  *code.Code
	maps  []maps.Map // by code.Maps
	named map[string]maps.Map
	tails map[uint32]*interp.Program // by their number in the prog array, from 1
	mach  *interp.Machine
}

// newWorld creates the program's maps and a machine on them.
func newWorld(p *Program, c *code.Code, opt *interp.Options) (*world, error) {
	w := &world{code: c, named: map[string]maps.Map{}, tails: map[uint32]*interp.Program{}}
	var err error
	if w.maps, err = w.mapsOf(p, c); err != nil {
		return nil, err
	}
	for _, i := range slices.Sorted(stdmaps.Keys(p.Targets)) {
		if err := w.target(p, i); err != nil {
			return nil, err
		}
	}
	opt.Tail = func(_ *maps.Targets, number uint32) *interp.Program { return w.tails[number] }
	w.mach, err = interp.New(c, w.maps, opt)
	return w, err
}

// mapsOf lists the maps of a program, and creates those that are new.
func (w *world) mapsOf(p *Program, c *code.Code) ([]maps.Map, error) {
	var list []maps.Map
	for _, spec := range c.Maps {
		m := w.named[spec.Name]
		if m == nil {
			var err error
			if m, err = maps.New(spec, nil, nil); err != nil {
				return nil, err
			}
			if spec.Type != ebpf.ProgramArray { // whose contents are Targets
				if err := maps.LoadContents(m, nil); err != nil {
					return nil, err
				}
			}
			if err := fill(m, p.Initial[spec.Name]); err != nil {
				return nil, fmt.Errorf("map %s: %w", spec.Name, err)
			}
			w.named[spec.Name] = m
		}
		list = append(list, m)
	}
	return list, nil
}

// target puts the program for index i into the prog array.
func (w *world) target(p *Program, i uint32) error {
	c, faults := code.New(p.Targets[i], p.Maps)
	if len(faults) > 0 {
		return faults[0]
	}
	list, err := w.mapsOf(p, c)
	if err != nil {
		return err
	}
	number := uint32(len(w.tails) + 1)
	w.tails[number] = &interp.Program{Code: c, Maps: list}
	jump := w.named[jumpMap]
	if jump == nil {
		return nil // no tail call refers to it any more
	}
	le := binary.LittleEndian
	return jump.UpdateAll(le.AppendUint32(nil, i), le.AppendUint32(nil, number), maps.Any)
}

// cardWorld returns options of the interpreter with the card's limits for moving a
// packet's start and end.
func cardWorld() *interp.Options {
	return &interp.Options{
		Headroom: firmware.PacketOffset, HeadMin: cardHeadMin, HeadMax: cardHeadMax,
		ShrinkOnly: true, NoMeta: true, FoldCsum: true, MaxSteps: 1 << 20,
	}
}

// fill stores entries in a map as a host does.
func fill(m maps.Map, entries []Entry) error {
	n := maps.HostValueSize(m)
	for _, e := range entries {
		value := make([]byte, n)
		copy(value, e.Value)
		if err := m.UpdateAll(e.Key, value, maps.Any); err != nil {
			return err
		}
	}
	return nil
}

// dump reads a map as a host does.
func dump(m maps.Map) ([]Entry, error) {
	var entries []Entry
	key, err := m.NextKey(nil)
	for err == nil {
		value, err2 := m.LookupAll(key)
		if err2 != nil {
			return nil, err2
		}
		entries = append(entries, Entry{Key: key, Value: value[:m.Spec().ValueSize]})
		key, err = m.NextKey(key)
	}
	if err != maps.ENOENT {
		return nil, err
	}
	return sorted(m.Spec(), entries), nil
}

// packetResult returns the part of the interpreter's result that is compared.
func packetResult(out *interp.Result) PacketResult {
	r := PacketResult{Verdict: out.Action, Data: out.Packet, Aside: []string{}}
	for _, e := range out.Events {
		r.Aside = append(r.Aside, fmt.Sprintf("event to %s: %x %x", e.Map.Name, e.Data, e.Packet))
	}
	if to := out.Redirect; to != nil {
		name := ""
		if to.Map != nil {
			name = to.Map.Name
		}
		r.Aside = append(r.Aside, redirectText(to.Ifindex, name, to.Key, to.Value, to.Flags))
	}
	return r
}

func redirectText(ifindex uint32, name string, key uint32, value []byte, flags uint64) string {
	return fmt.Sprintf("redirect to %d %s[%d] %x %d", ifindex, name, key, value, flags)
}

// contents reads all maps with values.
func (w *world) contents() (Contents, error) {
	return readMaps(slices.Collect(stdmaps.Values(w.named)))
}

func readMaps(all []maps.Map) (Contents, error) {
	c := Contents{}
	for _, m := range all {
		if !hasValues(m.Spec().Type) {
			continue
		}
		entries, err := dump(m)
		if err != nil {
			return nil, fmt.Errorf("map %s: %w", m.Spec().Name, err)
		}
		if len(entries) > 0 {
			c[m.Spec().Name] = entries
		}
	}
	return c, nil
}

// input returns a packet as all engines get it: on interface 1, queue 0, which is
// what BPF_PROG_TEST_RUN gives.
func input(packet []byte) *interp.Input { return &interp.Input{Packet: packet, Ifindex: 1} }

// runInterp runs the reference interpreter.
func runInterp(p *Program, c *code.Code) (*Result, error) {
	w, err := newWorld(p, c, cardWorld())
	if err != nil {
		return nil, err
	}
	return w.run(p)
}

// run executes the program on its packets.
func (w *world) run(p *Program) (*Result, error) {
	res := &Result{}
	for i, pkt := range p.Packets {
		out, err := w.mach.Run(input(pkt))
		if err != nil {
			return nil, fmt.Errorf("packet %d: %w", i, err)
		}
		res.Packets = append(res.Packets, packetResult(out))
	}
	var err error
	res.Maps, err = w.contents()
	return res, err
}

// A Mismatch is the first difference between two results.
type Mismatch struct {
	Packet int    // -1 for a map, which is compared after the last packet
	Field  string // verdict, length, byte N, or map NAME
	Want   string // the interpreter's
	Got    string
}

func (m *Mismatch) String() string {
	where := m.Field
	if m.Packet >= 0 {
		where = fmt.Sprintf("packet %d: %s", m.Packet, m.Field)
	}
	return fmt.Sprintf("%s is %s, must be %s", where, m.Got, m.Want)
}

// compare returns the first difference of got from want, or nil; same maps verdicts
// that count as equal to one.
func compare(want, got *Result, same func(uint32) uint32) *Mismatch {
	for i := range want.Packets {
		w, g := want.Packets[i], got.Packets[i]
		if same(w.Verdict) != same(g.Verdict) {
			return &Mismatch{i, "verdict", fmt.Sprint(w.Verdict), fmt.Sprint(g.Verdict)}
		}
		if len(w.Data) != len(g.Data) {
			return &Mismatch{i, "length", fmt.Sprint(len(w.Data)), fmt.Sprint(len(g.Data))}
		}
		for at := range w.Data {
			if w.Data[at] != g.Data[at] {
				end := min(at+8, len(w.Data))
				return &Mismatch{i, fmt.Sprintf("byte %d", at), fmt.Sprintf("%x", w.Data[at:end]), fmt.Sprintf("%x", g.Data[at:end])}
			}
		}
	}
	for i, w := range want.Packets {
		if g := got.Packets[i]; g.Aside != nil && !slices.Equal(w.Aside, g.Aside) {
			return &Mismatch{i, "events", strings.Join(w.Aside, "; "), strings.Join(g.Aside, "; ")}
		}
	}
	for _, name := range union(want.Maps, got.Maps) {
		w, g := entriesText(want.Maps[name]), entriesText(got.Maps[name])
		if w != g {
			return &Mismatch{-1, "map " + name, w, g}
		}
	}
	return nil
}

// raw compares verdicts as they are.
func raw(v uint32) uint32 { return v }

// entriesText returns the contents of a map on one line.
func entriesText(entries []Entry) string {
	if len(entries) == 0 {
		return "empty"
	}
	var s []string
	for _, e := range entries {
		s = append(s, fmt.Sprintf("%x:%x", e.Key, e.Value))
	}
	return strings.Join(s, " ")
}
