package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/offload"
)

// records returns the journal's records, which it reads once per command. If there is
// no journal, it returns none and creates none.
func (e *env) records() (map[string]*offload.Record, error) {
	if e.known != nil {
		return e.known, nil
	}
	s, err := offload.ReadJournal(e.journal)
	if err != nil || s.Version == 0 {
		return nil, err
	}
	e.known = s.Records
	return e.known, nil
}

// owner is the deployment of a program or map and, for a map, its full name, which the
// kernel truncates.
type owner struct {
	deployment string
	name       string
	generation *offload.Generation
}

// owners holds the owners of all objects in the journal, by id.
type owners struct{ programs, maps map[uint32]owner }

func ownersOf(records map[string]*offload.Record) owners {
	o := owners{map[uint32]owner{}, map[uint32]owner{}}
	for name, r := range records {
		g := r.Current
		if g == nil {
			continue
		}
		o.programs[g.Program] = owner{name, g.Deployment.Program, g}
		for _, m := range g.Maps {
			o.maps[m.ID] = owner{name, m.Name, g}
		}
	}
	return o
}

// pinPath converts a path of the bpf file system to one relative to the directory of
// pins.
func (e *env) pinPath(path string) (string, error) {
	rel, ok := strings.CutPrefix(path, strings.TrimSuffix(e.pins, "/")+"/")
	if !ok && strings.HasPrefix(path, "/") {
		return "", usagef("pin %s is not below %s; --pins names another directory", path, e.pins)
	}
	return strings.TrimSuffix(rel, "/"), nil
}

// ambiguous returns the error for a name that several objects have.
func ambiguous(kind, what string, ids []uint32) error {
	return &offload.Error{Op: "find " + kind, Object: what, Reason: "no-object", Msg: fmt.Sprintf("%d objects are called so: ids %v; say which by id", len(ids), ids)}
}

// parseProgram parses PROG: id ID, tag TAG, name NAME (a deployment's or the kernel's)
// or pinned FILE. deployment is set if the program belongs to one.
func (e *env) parseProgram(k offload.Kernel, w *words) (p offload.Program, deployment string, err error) {
	keyword := w.next()
	if keyword == "" {
		return nil, "", usagef("PROG is missing: id ID, tag TAG, name NAME or pinned FILE")
	}
	if keyword == "id" {
		id, err := w.number(keyword)
		if err != nil {
			return nil, "", err
		}
		return e.programByID(k, id)
	}
	value, err := w.value(keyword)
	if err != nil {
		return nil, "", err
	}
	switch keyword {
	case "pinned":
		path, err := e.pinPath(value)
		if err != nil {
			return nil, "", err
		}
		p, err := k.PinnedProgram(path)
		return p, "", err
	case "tag", "name":
		if keyword == "name" {
			records, err := e.records()
			if err != nil {
				return nil, "", err
			}
			if r := records[value]; r != nil && r.Current != nil {
				return e.programByID(k, r.Current.Program)
			}
		}
		objects, err := k.Objects()
		if err != nil {
			return nil, "", err
		}
		var ids []uint32
		for _, o := range objects {
			if o.Program != nil && (keyword == "tag" && o.Program.Tag == value || keyword == "name" && o.Program.Name == kernelName(value)) {
				ids = append(ids, o.Program.ID)
			}
		}
		if len(ids) == 1 {
			return e.programByID(k, ids[0])
		}
		if len(ids) > 1 {
			return nil, "", ambiguous("program", keyword+" "+value, ids)
		}
		return nil, "", &offload.Error{Op: "find program", Object: keyword + " " + value, Reason: "no-object", Msg: "there is none"}
	}
	return nil, "", usagef("%q is none of id, tag, name, pinned", keyword)
}

func (e *env) programByID(k offload.Kernel, id uint32) (offload.Program, string, error) {
	p, err := k.Program(id)
	if err != nil {
		return nil, "", err
	}
	records, err := e.records()
	if err != nil {
		p.Close()
		return nil, "", err
	}
	return p, ownersOf(records).programs[id].deployment, nil
}

// kernelName returns a name as the kernel truncates it.
func kernelName(name string) string { return name[:min(len(name), 15)] }

// opened is an open map with its description.
type opened struct {
	offload.Map
	kernel offload.Kernel
	info   offload.MapInfo
	owner  owner
	codec  *maps.Codec
}

// parseMap parses MAP: id ID, name NAME (also DEPLOYMENT/NAME) or pinned FILE.
func (e *env) parseMap(k offload.Kernel, w *words) (*opened, error) {
	m, err := e.findMap(k, w)
	if err != nil {
		return nil, err
	}
	o := &opened{Map: m}
	if o.info, err = m.Info(); err != nil {
		m.Close()
		return nil, err
	}
	records, err := e.records()
	if err != nil {
		m.Close()
		return nil, err
	}
	o.owner = ownersOf(records).maps[o.info.ID]
	if o.codec, err = e.codecOf(o); err != nil {
		m.Close()
		return nil, err
	}
	return o, nil
}

func (e *env) findMap(k offload.Kernel, w *words) (offload.Map, error) {
	keyword := w.next()
	if keyword == "" {
		return nil, usagef("MAP is missing: id ID, name NAME, name DEPLOYMENT/NAME or pinned FILE")
	}
	switch keyword {
	case "id":
		id, err := w.number(keyword)
		if err != nil {
			return nil, err
		}
		return k.Map(id)
	case "pinned":
		value, err := w.value(keyword)
		if err != nil {
			return nil, err
		}
		path, err := e.pinPath(value)
		if err != nil {
			return nil, err
		}
		return k.PinnedMap(path)
	case "name":
		value, err := w.value(keyword)
		if err != nil {
			return nil, err
		}
		return e.mapByName(k, value)
	}
	return nil, usagef("%q is none of id, name, pinned", keyword)
}

// mapByName returns a map of a deployment, one of map create, or any with this name in
// the kernel.
func (e *env) mapByName(k offload.Kernel, name string) (offload.Map, error) {
	records, err := e.records()
	if err != nil {
		return nil, err
	}
	var ids []uint32
	for id, o := range ownersOf(records).maps {
		if o.name == name || o.deployment+"/"+o.name == name {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		if m, err := k.PinnedMap(ownMaps + "/" + name); err == nil {
			return m, nil
		}
		objects, err := k.Objects()
		if err != nil {
			return nil, err
		}
		for _, o := range objects {
			if o.Map != nil && o.Map.Name == kernelName(name) {
				ids = append(ids, o.Map.ID)
			}
		}
	}
	slices.Sort(ids)
	switch len(ids) {
	case 0:
		return nil, &offload.Error{Op: "find map", Object: name, Reason: "no-object", Msg: "there is none"}
	case 1:
		return k.Map(ids[0])
	}
	return nil, ambiguous("map", name, ids)
}
