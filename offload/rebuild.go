package offload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A damaged journal is rebuilt from two sources. Its copy has the objects and the wanted
// state, as of the last operation that ended. The kernel has the pinned generations and the
// attached programs of now. They are joined generation by generation, and no attachment
// changes: if the kernel has a newer generation than the copy, the kernel's is used. An
// operation that was in progress becomes a record that the next command settles.

// JournalReport describes the journal, its copy and how the kernel differs.
type JournalReport struct {
	Path    string       `json:"path"`
	Journal JournalState `json:"journal"`
	Copy    JournalState `json:"copy"`
	// Differs lists generations that are pinned and newer than the journal.
	Differs []string `json:"differs"`
}

// JournalState describes one of the files.
type JournalState struct {
	State       string   `json:"state"` // whole, none, or the reason of Error
	Version     int      `json:"version,omitempty"`
	Sequence    uint64   `json:"sequence,omitempty"`
	Written     string   `json:"written,omitempty"`
	Deployments []string `json:"deployments,omitempty"`
	Error       string   `json:"error,omitempty"`
}

func journalState(s *Snapshot, err error) JournalState {
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && s.Version == 0:
		return JournalState{State: "none"}
	case err != nil:
		return JournalState{State: cmp.Or(ReasonOf(err), "journal"), Error: err.Error()}
	}
	st := JournalState{State: "whole", Version: s.Version, Sequence: s.Sequence, Written: s.Written.Format(stampForm)}
	for name := range s.Records {
		st.Deployments = append(st.Deployments, name)
	}
	slices.Sort(st.Deployments)
	return st
}

// CheckJournal reads the journal, its copy, and the kernel's pins, and changes
// nothing. The error is the reason why the journal must not be used.
func (m *Manager) CheckJournal() (*JournalReport, error) {
	snap, err := m.readJournal()
	r := &JournalReport{Path: m.opt.Journal, Journal: journalState(snap, err), Copy: journalState(readJournalFile(copyPath(m.opt.Journal))), Differs: []string{}}
	if err != nil {
		return r, err
	}
	if r.Differs, err = m.behind(snap); err != nil {
		return r, err
	}
	if len(r.Differs) > 0 {
		return r, damaged(m.opt.Journal, "it is older than the kernel's state: %s", r.Differs[0])
	}
	return r, nil
}

// behind lists pinned generations that are newer than a journal. If there are any, the
// journal is an old file, because a generation is recorded before it is pinned.
func (m *Manager) behind(s *Snapshot) ([]string, error) {
	all := []string{}
	for _, name := range slices.Sorted(maps.Keys(s.Records)) {
		newest, err := m.newestPin(name)
		if err != nil {
			return all, err
		}
		if counter := s.Records[name].Counter; newest > counter {
			all = append(all, fmt.Sprintf("generation %d of deployment %s is pinned, the journal has %d", newest, name, counter))
		}
	}
	return all, nil
}

// newestPin returns the highest number among a deployment's directories of pins, or 0.
func (m *Manager) newestPin(name string) (uint64, error) {
	newest := uint64(0)
	pins, err := m.kernel.Pins(name)
	for _, pin := range pins {
		if n, ok := pinNumber(pin); ok {
			newest = max(newest, n)
		}
	}
	return newest, err
}

// pinNumber parses the number of a generation's directory of pins.
func pinNumber(pin string) (uint64, bool) {
	digits, ok := strings.CutPrefix(strings.TrimSuffix(pin, "/"), "gen-")
	n, err := strconv.ParseUint(digits, 10, 64)
	return n, ok && err == nil
}

// Rebuilt describes the journal that RebuildJournal wrote, or would write.
type Rebuilt struct {
	// Whole means that there was nothing to rebuild.
	Whole       bool                `json:"whole"`
	Why         string              `json:"why,omitempty"`
	Copy        JournalState        `json:"copy"`
	Deployments []RebuiltDeployment `json:"deployments"`
	Left        []string            `json:"left"`           // pinned deployments that are not in the new journal
	Kept        string              `json:"kept,omitempty"` // the damaged file's new name
}

// RebuiltDeployment is one record with its source.
type RebuiltDeployment struct {
	Name       string `json:"name"`
	From       string `json:"from"` // copy, kernel, or both
	Generation uint64 `json:"generation"`
	Program    uint32 `json:"program_id"`
	Mode       Mode   `json:"mode"`
	Ports      []Ref  `json:"ports"`
	Object     bool   `json:"object"` // the object is known, so the deployment can be restored after a reboot
	Note       string `json:"note,omitempty"`
}

// RebuildJournal replaces a damaged journal. It keeps the damaged file next to the new
// one.
func (m *Manager) RebuildJournal(ctx context.Context, dry bool) (*Rebuilt, error) {
	report, why := m.CheckJournal()
	out := &Rebuilt{Copy: report.Copy, Deployments: []RebuiltDeployment{}, Left: []string{}}
	if r := ReasonOf(why); why != nil && r != "journal-damaged" {
		return nil, why
	}
	if why == nil {
		out.Whole, out.Why = true, "the journal is whole"
		if report.Journal.State == "none" {
			out.Why = "there is no journal, and no deployment is pinned"
		}
		return out, nil
	}
	out.Why = why.Error()
	s := &session{Manager: m, stuck: map[string]error{}, busy: map[string]bool{}}
	var err error
	if s.locks, err = openLocks(m.opt.Journal, !dry); err != nil {
		return nil, journalError("lock", m.opt.Journal, err)
	}
	defer s.locks.close()
	if !dry {
		if err := s.wait(ctx, journalByte, "the journal", m.opt.Patience); err != nil {
			return nil, err
		}
	}
	s.snap = lastGood(m.opt.Journal)
	s.records = s.snap.Records
	next, err := s.witnessed(out)
	if err != nil || dry {
		return out, err
	}
	out.Kept = fmt.Sprintf("%s.damaged-%s", m.opt.Journal, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Link(m.opt.Journal, out.Kept); errors.Is(err, fs.ErrNotExist) {
		out.Kept = ""
	} else if err != nil {
		return nil, journalError("keep", m.opt.Journal, err)
	}
	if err := next.write(m.opt.Journal, journalVersion); err != nil {
		return nil, journalError("write", m.opt.Journal, err)
	}
	return out, journalError("copy", m.opt.Journal, copyJournal(m.opt.Journal, next))
}

// lastGood returns the newer of journal and copy that can be read, or an empty
// snapshot.
func lastGood(path string) *Snapshot {
	best := &Snapshot{Records: map[string]*Record{}}
	for _, file := range []string{copyPath(path), path} {
		if s, err := readJournalFile(file); err == nil && s.Sequence >= best.Sequence {
			best = s
		}
	}
	return best
}

// pinnedGeneration is a generation in the kernel.
type pinnedGeneration struct {
	Generation
	name string
}

// pinnedNames lists the directories of pins whose names a deployment may have.
func (m *Manager) pinnedNames() ([]string, error) {
	dirs, err := m.kernel.Pins("")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, dir := range dirs {
		if name, isDir := cutSlash(dir); isDir && ValidName(name) {
			names = append(names, name)
		}
	}
	return names, nil
}

// pinned lists all generations whose program is pinned, by name and number.
func (m *Manager) pinned() ([]pinnedGeneration, error) {
	var all []pinnedGeneration
	names, err := m.pinnedNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		gens, err := m.kernel.Pins(name)
		if err != nil {
			return nil, err
		}
		for _, gen := range gens {
			number, ok := pinNumber(gen)
			if !ok {
				continue
			}
			g, err := m.pinnedGeneration(name, number)
			if err != nil {
				return nil, err
			}
			if g != nil {
				all = append(all, pinnedGeneration{*g, name})
			}
		}
	}
	slices.SortFunc(all, func(a, b pinnedGeneration) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.Number, b.Number))
	})
	return all, nil
}

// pinnedGeneration reads a generation's pins. It returns nil if there is no program or
// its device was removed.
func (m *Manager) pinnedGeneration(name string, number uint64) (*Generation, error) {
	g := &Generation{Number: number, Boot: m.kernel.Boot(), Deployment: &Deployment{Name: name}}
	p, err := m.kernel.PinnedProgram(programPin(g))
	if ReasonOf(err) == "no-object" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil || info.Gone {
		return nil, err
	}
	g.Program, g.Tag = info.ID, info.Tag
	dir := generationDir(name, number) + "/maps"
	pins, err := m.kernel.Pins(dir)
	if err != nil {
		return nil, err
	}
	for _, pin := range pins {
		o, err := m.kernel.PinnedMap(dir + "/" + pin)
		if ReasonOf(err) == "no-object" {
			continue
		}
		if err != nil {
			return nil, err
		}
		info, err := o.Info()
		o.Close()
		if err != nil {
			return nil, err
		}
		g.Maps = append(g.Maps, MapEntry{Name: unescape(pin), ID: info.ID, Shape: info.Shape})
	}
	return g, nil
}

// unescape returns the name from which escape produced pin.
func unescape(pin string) string {
	var b []byte
	for i := 0; i < len(pin); i++ {
		if pin[i] == '%' && i+2 < len(pin) {
			if c, err := strconv.ParseUint(pin[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, pin[i])
	}
	return string(b)
}

// place is a port and mode to which a program is attached.
type place struct {
	port Ref
	mode Mode
}

// places returns all places by program id, in all namespaces that can be read.
func (s *session) places() (map[uint32][]place, error) {
	spaces := []string{""}
	if k, ok := s.kernel.(interface{ Namespaces() []string }); ok {
		spaces = append(spaces, k.Namespaces()...)
	}
	for _, r := range s.records {
		for _, d := range r.deployments() {
			for _, ref := range d.Ports {
				spaces = append(spaces, ref.Netns)
			}
		}
	}
	slices.Sort(spaces)
	all := map[uint32][]place{}
	for _, netns := range slices.Compact(spaces) {
		ports, err := s.kernel.Ports(netns)
		if err != nil && netns == "" {
			return nil, err
		}
		for i := range ports { // a removed namespace has none
			stand, err := s.kernel.Attached(&ports[i])
			if err != nil && ReasonOf(err) != "no-port" && ReasonOf(err) != "port-gone" {
				return nil, err
			}
			for _, a := range stand {
				all[a.Program] = append(all[a.Program], place{ports[i].Ref(), a.Mode})
			}
		}
	}
	return all, nil
}

// witnessed joins copy and kernel into a new snapshot.
func (s *session) witnessed(out *Rebuilt) (*Snapshot, error) {
	pinned, err := s.pinned()
	if err != nil {
		return nil, err
	}
	places, err := s.places()
	if err != nil {
		return nil, err
	}
	next := &Snapshot{Version: journalVersion, Sequence: s.snap.Sequence + 1, Written: time.Now().UTC(), Records: map[string]*Record{}}
	names := s.names()
	for _, p := range pinned {
		names = append(names, p.name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if s.locks.taken(lockByte(name)) {
			return nil, &Error{Op: "rebuild journal", Object: name, Reason: "journal-busy", Msg: "another nfpctl is changing this deployment"}
		}
		var gens []*Generation
		for i := range pinned {
			if pinned[i].name == name {
				gens = append(gens, &pinned[i].Generation)
			}
		}
		r, d := s.join(name, s.records[name], gens, places)
		if r == nil {
			out.Left = append(out.Left, fmt.Sprintf("%s: pinned, attached to no port, and not in the copy", name))
			continue
		}
		next.Records[name] = r
		out.Deployments = append(out.Deployments, d)
	}
	return next, nil
}

// join returns one deployment's record, from the copy's record, which may be nil, and the
// pinned generations, which may be none.
func (s *session) join(name string, old *Record, gens []*Generation, places map[uint32][]place) (*Record, RebuiltDeployment) {
	d := RebuiltDeployment{Name: name, From: "copy"}
	r := &Record{}
	if old != nil {
		*r = *old
	}
	var runs []*Generation
	for _, g := range gens {
		r.Counter = max(r.Counter, g.Number)
		if at := places[g.Program]; len(at) > 0 {
			s.fill(g, old, at)
			runs = append(runs, g)
		}
	}
	same := func(g *Generation) bool {
		return old != nil && old.Current != nil && g.Number == old.Current.Number && g.Program == old.Current.Program && g.Tag == old.Current.Tag
	}
	switch {
	case len(runs) == 0 && (old == nil || old.Current == nil):
		return nil, d
	case len(runs) == 0: // nothing runs: the copy has the wanted state
		d.Note = "none of its programs is attached to a port"
	case same(runs[0]):
		d.From = "both"
		r.Current, r.Next, r.Phase = old.Current, nil, Idle
		if last := runs[len(runs)-1]; last != runs[0] { // an operation was switching the ports to the next program
			r.Next, r.Phase, d.From = last, Switching, "both"
			d.Note = fmt.Sprintf("generation %d was being put in its place: the next command rolls it back", last.Number)
		} else if len(gens) > 1 {
			r.Phase = Retiring
			d.Note = "its other pins are removed by the next command"
		}
	default:
		d.From = "kernel"
		r.Current, r.Next, r.Phase = runs[len(runs)-1], nil, Retiring
		if old != nil {
			d.From = "both"
			d.Note = fmt.Sprintf("the copy has not generation %d, which runs", r.Current.Number)
		}
		if len(runs) > 1 {
			r.Current, r.Next, r.Phase = runs[0], runs[len(runs)-1], Switching
			d.Note = fmt.Sprintf("generation %d was being put in its place: the next command rolls it back", r.Next.Number)
		}
	}
	r.Want = r.Current.Deployment
	g := r.Current
	d.Generation, d.Program, d.Mode, d.Ports, d.Object = g.Number, g.Program, g.Deployment.Mode, g.Deployment.Ports, len(g.Deployment.Object) > 0
	return r, d
}

// fill completes a pinned generation's deployment: its ports are those that run its program,
// its object is that of a generation in the copy with the same program and maps.
func (s *session) fill(g *Generation, old *Record, at []place) {
	d := g.Deployment
	d.Mode = at[0].mode
	for _, p := range at {
		if p.mode == d.Mode {
			d.Ports = append(d.Ports, p.port)
		}
	}
	if old == nil {
		return
	}
	for _, o := range []*Generation{old.Current, old.Next} {
		if o == nil || o.Tag != g.Tag || !slices.EqualFunc(o.Maps, g.Maps, func(a, b MapEntry) bool { return a.Name == b.Name && a.Shape == b.Shape }) {
			continue
		}
		d.Object, d.Source, d.Program, d.Settings = o.Deployment.Object, o.Deployment.Source, o.Deployment.Program, o.Deployment.Settings
		if o.Number == g.Number && o.Program == g.Program {
			g.Loaded, g.Took = o.Loaded, o.Took
		}
	}
}
