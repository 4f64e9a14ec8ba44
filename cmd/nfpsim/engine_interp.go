package main

import (
	"fmt"
	"io"
	"sort"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// interpEngine runs the reference interpreter, with the firmware's limits for moving a
// packet's start, so that both engines agree.
type interpEngine struct {
	machine *interp.Machine
	profile *firmware.Profile
	typ     ebpf.ProgramType
	byName  mapSet
	counts  *counts // counts of instructions; nil if not requested
	from    origin
}

// mapSet is the maps of an object by name.
type mapSet map[string]maps.Map

func (s mapSet) table(name string) (table, error) {
	if m, ok := s[name]; ok {
		return hostMap{m}, nil
	}
	return nil, fmt.Errorf("no map %q; there are: %s", name, strings.Join(s.tables(), ", "))
}

// hostMap adds reading and writing of JSON files to a map.
type hostMap struct{ maps.Map }

func (m hostMap) LoadJSON(r io.Reader) error { return maps.LoadJSON(m.Map, r) }
func (m hostMap) DumpJSON() ([]byte, error)  { return maps.DumpJSON(m.Map) }

func (s mapSet) tables() []string {
	names := make([]string, 0, len(s))
	for n := range s {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func newInterpEngine(obj *object.Object, name string, p *firmware.Profile) (*interpEngine, error) {
	if _, err := verified(obj, name, nil); err != nil {
		return nil, err
	}
	e := &interpEngine{profile: p, byName: mapSet{}}
	var programs []*interp.Program // numbered from 1 in a prog_array, as on the card
	index := map[string]uint32{}
	load := func(name string) (*interp.Program, error) {
		c, err := obj.Code(name)
		if err != nil {
			return nil, err
		}
		prog := &interp.Program{Code: c}
		for _, spec := range c.Maps {
			if e.byName[spec.Name] == nil {
				m, err := maps.New(spec, nil, nil)
				if err != nil {
					return nil, err
				}
				e.byName[spec.Name] = m
			}
			prog.Maps = append(prog.Maps, e.byName[spec.Name])
		}
		return prog, nil
	}
	main, err := load(name)
	if err != nil {
		return nil, err
	}
	e.typ = main.Code.Type
	programs = append(programs, main)
	for _, callee := range tailCallees(obj, main.Code) {
		prog, err := load(callee)
		if err != nil {
			return nil, err
		}
		programs = append(programs, prog)
		index[callee] = uint32(len(programs))
	}
	for _, n := range e.byName.tables() {
		err := maps.LoadContents(e.byName[n], func(name string) (uint32, bool) { i, ok := index[name]; return i, ok })
		if err != nil {
			return nil, err
		}
	}
	e.machine, err = interp.New(main.Code, main.Maps, &interp.Options{
		Headroom: firmware.PacketOffset, HeadMin: p.AdjustHead.OffMin, HeadMax: p.AdjustHead.OffMax, ShrinkOnly: true, NoMeta: true, FoldCsum: true,
		Trace: func(c *code.Code, index int, _ *[11]uint64) {
			if e.counts != nil {
				e.counts.note(c, index)
			}
		},
		Tail: func(_ *maps.Targets, i uint32) *interp.Program {
			if i < 1 || int(i) > len(programs) {
				return nil
			}
			return programs[i-1]
		},
	})
	return e, err
}

// tailCallees returns the programs in the initial contents of c's prog arrays, and
// those that these reach in turn, sorted by name.
func tailCallees(obj *object.Object, c *code.Code) []string {
	seen := map[string]bool{}
	var visit func(c *code.Code)
	visit = func(c *code.Code) {
		for _, spec := range c.Maps {
			if spec.Type != ebpf.ProgramArray {
				continue
			}
			for _, kv := range spec.Contents {
				name, ok := kv.Value.(string)
				if !ok || seen[name] {
					continue
				}
				seen[name] = true
				if callee, err := obj.Code(name); err == nil {
					visit(callee)
				}
			}
		}
	}
	visit(c)
	names := make([]string, 0, len(seen))
	for n := range seen {
		names = append(names, n)
	}
	sort.Strings(names)
	return names
}

func (e *interpEngine) packet(data []byte) (outcome, error) {
	r, err := e.machine.Run(&interp.Input{Packet: data, Ifindex: e.from.ifindex, Egress: e.from.egress, RxQueue: e.from.rxQueue})
	if err != nil {
		return outcome{}, err
	}
	return outcome{code: driver.Canonical(e.profile, e.typ, r.Action), data: r.Packet}, nil
}

func (e *interpEngine) raw(mem []byte) (uint64, error) {
	r, err := e.machine.Run(&interp.Input{Mem: mem})
	if err != nil {
		return 0, err
	}
	return r.R0, nil
}

func (e *interpEngine) table(name string) (table, error) { return e.byName.table(name) }
func (e *interpEngine) tables() []string                 { return e.byName.tables() }
