package offload

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A Drift is a way in which a port does not run what it should.
type Drift struct {
	Deployment string `json:"deployment"`
	Port       Ref    `json:"port"`
	Mode       Mode   `json:"mode"`
	// Kind is removed (no program stands there), replaced (another one does), no-port,
	// device-gone (the program's device is no more), gone-since-reboot, or gone (program and
	// pins were removed).
	Kind  string `json:"kind"`
	Want  uint32 `json:"want_id"`
	Found uint32 `json:"found_id,omitempty"`
}

// driftWords are kinds of drift whose program, with its maps, is no more.
var driftWords = map[string]string{
	"gone-since-reboot": "gone since reboot",
	"gone":              "gone, though not since a reboot",
}

// Lost reports whether the program is no more, and its maps with what they held.
func (d Drift) Lost() bool { return driftWords[d.Kind] != "" }

// String is one line.
func (d Drift) String() string {
	if lost := driftWords[d.Kind]; lost != "" && d.Found == 0 {
		return fmt.Sprintf("%s: port %s, %s: %s: program %d and its maps are no more", d.Deployment, d.Port, d.Mode, lost, d.Want)
	}
	text := fmt.Sprintf("%s: port %s, %s: %s: want program %d", d.Deployment, d.Port, d.Mode, d.Kind, d.Want)
	if d.Found != 0 {
		text += fmt.Sprintf(", found %d", d.Found)
	}
	return text
}

// PortStatus is what stands in front of one port of a deployment.
type PortStatus struct {
	Port     Ref          `json:"port"`
	Index    int          `json:"ifindex"`
	Card     string       `json:"card"`
	Attached []Attachment `json:"attached"`
	Error    string       `json:"error,omitempty"`
}

// DeploymentStatus is one deployment, as the journal has it and as it is.
type DeploymentStatus struct {
	Name       string       `json:"name"`
	Source     string       `json:"source"`
	Program    string       `json:"program"`
	Digest     string       `json:"sha256"` // of the object; empty: lost with the journal
	Mode       Mode         `json:"mode"`
	Settings   Settings     `json:"settings,omitzero"`
	Generation uint64       `json:"generation"`
	ID         uint32       `json:"id"`
	Tag        string       `json:"tag"`
	Loaded     string       `json:"loaded_at"` // RFC 3339, UTC; empty: not known
	Took       int64        `json:"took_ns"`   // from the first look at the object until it stood at all ports
	Maps       []MapEntry   `json:"maps"`
	Ports      []PortStatus `json:"ports"`
	Drift      []Drift      `json:"drift"`
	// UnderWay is the operation that another process is at work on.
	UnderWay string `json:"under_way,omitempty"`
	// Error: an operation on it could neither be finished nor rolled back, and why.
	Error string `json:"error,omitempty"`
}

// Status is all that the manager knows of.
type Status struct {
	Deployments []DeploymentStatus `json:"deployments"`
	Orphans     []Orphan           `json:"orphans"`
}

// Status looks at everything.
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
	if g == nil { // what could not be rolled back
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

// underWay says what another process does with a deployment.
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
		return fmt.Sprintf("generation %d is being made", r.Next.Number)
	}
	return "what came before is being dropped"
}

// drifts holds a deployment against its ports. One that is being changed has none.
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
			continue // cannot be known; Status says why
		}
		if d.Found, err = s.attached(p, d.Mode); err != nil {
			continue
		}
		switch {
		case d.Found == 0 && lost != "":
			d.Kind = lost
		case d.Found == 0:
			d.Kind = "removed"
		case d.Found != g.Program || lost != "": // after a reboot another one may have its number
			d.Kind = "replaced"
		default:
			continue
		}
		all = append(all, d)
	}
	return all
}

// Drifts lists all drift there is.
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

// Netns lists the namespaces that deployments have ports in, the caller's first.
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

// An Orphan is something that nothing wants any more.
type Orphan struct {
	// Kind is program or map (on a card, in front of no port and of no deployment) or pins
	// (a directory of pins that the journal does not know).
	Kind string `json:"kind"`
	ID   uint32 `json:"id,omitempty"`
	Name string `json:"name,omitempty"`
	Why  string `json:"why"`
}

// orphans looks for what holds the card's memory or names for nothing.
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
			objects = nil // what is being made has no place in the journal yet
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
				all = append(all, Orphan{"program", p.ID, p.Name, "it is in front of no port; a file descriptor or pin holds it"})
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
			continue // no deployment is called so: they are somebody's own
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

// standing are the programs in front of any port of the namespaces that are known.
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
			continue // the namespace is gone, and its ports are back in the first one
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

// Clean removes directories of pins that the journal does not know, and returns their
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
