package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Drift is a difference between the desired and the actual program of a port.
type Drift struct {
	Deployment string `json:"deployment"`
	Port       Ref    `json:"port"`
	Mode       Mode   `json:"mode"`
	// Kind is removed (no program is attached), replaced (another one is), no-port,
	// device-gone (the program's device was removed), gone-since-reboot, or gone
	// (program and pins were removed).
	Kind  string `json:"kind"`
	Want  uint32 `json:"want_id"`
	Found uint32 `json:"found_id,omitempty"`
}

// driftWords describes the kinds of drift in which the program and its maps no longer
// exist.
var driftWords = map[string]string{
	"gone-since-reboot": "gone since reboot",
	"gone":              "gone, though not since a reboot",
}

// Lost reports whether the program no longer exists, and its maps with their contents.
func (d Drift) Lost() bool { return driftWords[d.Kind] != "" }

// String returns one line.
func (d Drift) String() string {
	if lost := driftWords[d.Kind]; lost != "" && d.Found == 0 {
		return fmt.Sprintf("%s: port %s, %s: %s: program %d and its maps no longer exist", d.Deployment, d.Port, d.Mode, lost, d.Want)
	}
	text := fmt.Sprintf("%s: port %s, %s: %s: want program %d", d.Deployment, d.Port, d.Mode, d.Kind, d.Want)
	if d.Found != 0 {
		text += fmt.Sprintf(", found %d", d.Found)
	}
	return text
}

// PortStatus is the program attached to one port of a deployment.
type PortStatus struct {
	Port     Ref          `json:"port"`
	Index    int          `json:"ifindex"`
	Card     string       `json:"card"`
	Attached []Attachment `json:"attached"`
	Error    string       `json:"error,omitempty"`
}

// DeploymentStatus is the recorded and the actual state of one deployment.
type DeploymentStatus struct {
	Name       string       `json:"name"`
	Source     string       `json:"source"`
	Program    string       `json:"program"`
	Digest     string       `json:"sha256"` // of the object; empty if it was lost with the journal
	Mode       Mode         `json:"mode"`
	Settings   Settings     `json:"settings,omitzero"`
	Generation uint64       `json:"generation"`
	ID         uint32       `json:"id"`
	Tag        string       `json:"tag"`
	Loaded     string       `json:"loaded_at"` // RFC 3339, UTC; empty if unknown
	Took       int64        `json:"took_ns"`   // from reading the object until it was attached to all ports
	Maps       []MapEntry   `json:"maps"`
	Ports      []PortStatus `json:"ports"`
	Drift      []Drift      `json:"drift"`
	// UnderWay is the operation on which another process works.
	UnderWay string `json:"under_way,omitempty"`
	// Error is the reason why an operation could neither be finished nor rolled back.
	Error string `json:"error,omitempty"`
}

// Status is the state of all deployments and orphans.
type Status struct {
	Deployments []DeploymentStatus `json:"deployments"`
	Orphans     []Orphan           `json:"orphans"`
}

// Status reads the state of everything.
func (m *Manager) Status(ctx context.Context) (*Status, error) {
	var out *Status
	err := m.look(ctx, func(s *session) error {
		out = &Status{Deployments: []DeploymentStatus{}}
		for _, name := range s.names() {
			if s.records[name].Current != nil || s.stuck[name] != nil || s.busy[name] {
				out.Deployments = append(out.Deployments, s.deploymentStatus(name))
			}
		}
		var err error
		out.Orphans, err = s.orphans()
		return err
	})
	return out, err
}

func (s *session) deploymentStatus(name string) DeploymentStatus {
	r := s.records[name]
	g := r.Current
	if g == nil { // an operation that could not be rolled back
		g = r.Next
	}
	if g == nil {
		st := DeploymentStatus{Name: name, UnderWay: s.underWay(name)}
		if err := s.stuck[name]; err != nil {
			st.Error = err.Error()
		}
		return st
	}
	d := g.Deployment
	st := DeploymentStatus{
		Name: name, Source: d.Source, Program: d.Program, Digest: d.Digest(), Mode: d.Mode, Settings: d.Settings, Generation: g.Number,
		ID: g.Program, Tag: g.Tag, Took: g.Took.Nanoseconds(),
		Maps: append([]MapEntry{}, g.Maps...), Drift: append([]Drift{}, s.drifts(name)...), UnderWay: s.underWay(name),
	}
	if !g.Loaded.IsZero() {
		st.Loaded = g.Loaded.UTC().Format(stampForm)
	}
	if len(d.Object) == 0 {
		st.Digest = ""
	}
	if err := s.stuck[name]; err != nil {
		st.Error = err.Error()
	}
	for _, ref := range d.Ports {
		ps := PortStatus{Port: ref, Attached: []Attachment{}}
		p, err := s.port(ref)
		if err == nil {
			ps.Index, ps.Card = p.Index, p.Card
			var all []Attachment
			if all, err = s.kernel.Attached(p); err == nil {
				ps.Attached = append(ps.Attached, all...)
			}
		}
		if err != nil {
			ps.Error = err.Error()
		}
		st.Ports = append(st.Ports, ps)
	}
	return st
}

// underWay describes what another process does with a deployment.
func (s *session) underWay(name string) string {
	r := s.records[name]
	switch {
	case !s.busy[name]:
		return ""
	case r.Phase == Switching && r.Next == nil, r.Phase == Retiring && r.Current == nil:
		return "being unloaded"
	case r.Phase == Switching:
		return fmt.Sprintf("generation %d, program %d is being put in its place or is on trial", r.Next.Number, r.Next.Program)
	case r.Phase == Preparing:
		return fmt.Sprintf("generation %d is being created", r.Next.Number)
	}
	return "the previous generation is being removed"
}

// drifts compares a deployment with its ports. A deployment that is being changed has
// none.
func (s *session) drifts(name string) []Drift {
	r := s.records[name]
	if r == nil || r.Current == nil || s.busy[name] {
		return nil
	}
	g := r.Current
	lost, _ := s.lost(g)
	var all []Drift
	for _, ref := range g.Deployment.Ports {
		d := Drift{Deployment: name, Port: ref, Mode: g.Deployment.Mode, Want: g.Program}
		p, err := s.port(ref)
		if ReasonOf(err) == "no-port" {
			d.Kind = "no-port"
			all = append(all, d)
			continue
		}
		if err != nil {
			continue // unknown; Status has the reason
		}
		if d.Found, err = s.attached(p, d.Mode); err != nil {
			continue
		}
		switch {
		case d.Found == 0 && lost != "":
			d.Kind = lost
		case d.Found == 0:
			d.Kind = "removed"
		case d.Found != g.Program || lost != "": // after a reboot another program may have its number
			d.Kind = "replaced"
		default:
			continue
		}
		all = append(all, d)
	}
	return all
}

// Drifts lists the drift of all deployments.
func (m *Manager) Drifts(ctx context.Context) ([]Drift, error) {
	var all []Drift
	err := m.look(ctx, func(s *session) error {
		all = nil
		for _, name := range s.names() {
			all = append(all, s.drifts(name)...)
		}
		return nil
	})
	return all, err
}

// Netns lists the namespaces with ports of deployments, the caller's first.
func (m *Manager) Netns(ctx context.Context) ([]string, error) {
	var names []string
	err := m.look(ctx, func(s *session) error {
		names = []string{""}
		for _, name := range s.names() {
			for _, d := range s.records[name].deployments() {
				for _, ref := range d.Ports {
					if !slices.Contains(names, ref.Netns) {
						names = append(names, ref.Netns)
					}
				}
			}
		}
		return nil
	})
	return names, err
}

// An Orphan is an object that no deployment uses.
type Orphan struct {
	// Kind is program or map (on a card, but neither attached to a port nor used by a
	// deployment) or pins (a directory of pins that is not in the journal).
	Kind string `json:"kind"`
	ID   uint32 `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

// orphans finds unused objects that occupy the card's memory, and unused names.
func (s *session) orphans() ([]Orphan, error) {
	ours, oursMap := map[uint32]bool{}, map[uint32]bool{}
	for _, r := range s.records {
		for _, g := range []*Generation{r.Current, r.Next} {
			if g == nil {
				continue
			}
			ours[g.Program] = true
			for _, e := range g.Maps {
				oursMap[e.ID] = true
			}
		}
	}
	all := []Orphan{}
	objects, err := s.kernel.Objects()
	if err != nil {
		return nil, err
	}
	for name := range s.busy {
		if s.records[name].Phase == Preparing {
			objects = nil // objects that are being created are not in the journal yet
		}
	}
	standing, err := s.standing()
	if err != nil {
		return nil, err
	}
	used := map[uint32]bool{}
	for _, o := range objects {
		if p := o.Program; p != nil {
			for _, id := range p.Maps {
				used[id] = used[id] || !p.Gone
			}
			switch {
			case p.Gone && !ours[p.ID]:
				all = append(all, Orphan{"program", p.ID, p.Name, "its device was removed; a file descriptor or pin holds it"})
			case p.Device != 0 && !ours[p.ID] && !standing[p.ID]:
				all = append(all, Orphan{"program", p.ID, p.Name, "it is attached to no port; a file descriptor or pin holds it"})
			}
		}
	}
	for _, o := range objects {
		if m := o.Map; m != nil && (m.Device != 0 || m.Gone) && !oursMap[m.ID] && !used[m.ID] {
			all = append(all, Orphan{"map", m.ID, m.Name, "no program uses it; a file descriptor or pin holds it"})
		}
	}
	dirs, err := s.kernel.Pins("")
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if strings.HasPrefix(dir, "_") {
			continue // not a valid name of a deployment: another program's pins
		}
		if name, isDir := cutSlash(dir); !isDir || s.records[name] == nil {
			all = append(all, Orphan{Kind: "pins", Name: name, Why: "the journal has no deployment of that name; nfpctl journal rebuild takes it up if it runs"})
		}
	}
	return all, nil
}

func cutSlash(s string) (name string, slash bool) {
	if n := len(s) - 1; n >= 0 && s[n] == '/' {
		return s[:n], true
	}
	return s, false
}

// standing returns the programs attached to any port of the known namespaces.
func (s *session) standing() (map[uint32]bool, error) {
	ids := map[uint32]bool{}
	spaces := map[string]bool{"": true}
	for _, r := range s.records {
		for _, d := range r.deployments() {
			for _, ref := range d.Ports {
				spaces[ref.Netns] = true
			}
		}
	}
	for netns := range spaces {
		ports, err := s.kernel.Ports(netns)
		if err != nil {
			if netns == "" {
				return nil, err
			}
			continue // the namespace was removed, and its ports are in the first one again
		}
		for i := range ports {
			all, err := s.kernel.Attached(&ports[i])
			if err != nil && ReasonOf(err) != "no-port" && ReasonOf(err) != "port-gone" {
				return nil, err
			}
			for _, a := range all {
				ids[a.Program] = true
			}
		}
	}
	return ids, nil
}

// Clean removes directories of pins that are not in the journal, and returns their
// names.
func (m *Manager) Clean(ctx context.Context) ([]string, error) {
	var gone []string
	err := m.turn(ctx, "", func(s *session) error {
		orphans, err := s.orphans()
		for _, o := range orphans {
			if o.Kind != "pins" {
				continue
			}
			if unpinErr := s.kernel.Unpin(o.Name); unpinErr != nil {
				err = errors.Join(err, unpinErr)
				continue
			}
			gone = append(gone, o.Name)
		}
		return err
	})
	return gone, err
}
