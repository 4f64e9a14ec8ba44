package offload

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"
)

// Options for New; Journal is needed.
type Options struct {
	Journal  string        // path of the journal's file
	Patience time.Duration // how long to wait for another process, or the kernel in the background, to be done; 0: 10 s
	Open     Opener        // reads objects; nil: ELF
	// Log hears one line per step; nil: nobody does.
	Log func(line string)
	// Took hears how long a change took from the first look at the object to the last pin
	// dropped, without the time it was on trial; nil: nobody does.
	Took func(op string, d time.Duration)
}

// Manager brings deployments about. Each method opens the journal, finishes or rolls
// back what an earlier process left, does its work, and closes the journal again, so
// that managers of several processes take turns. It is safe for concurrent use.
type Manager struct {
	kernel Kernel
	opt    Options
	mu     sync.Mutex
}

// New makes a manager. Nothing is touched yet.
func New(k Kernel, opt Options) *Manager {
	if opt.Patience == 0 {
		opt.Patience = 10 * time.Second
	}
	if opt.Open == nil {
		opt.Open = openELF
	}
	if opt.Log == nil {
		opt.Log = func(string) {}
	}
	if opt.Took == nil {
		opt.Took = func(string, time.Duration) {}
	}
	return &Manager{kernel: k, opt: opt}
}

// Kernel is what the manager works on.
func (m *Manager) Kernel() Kernel { return m.kernel }

func (m *Manager) logf(format string, args ...any) { m.opt.Log(fmt.Sprintf(format, args...)) }

// session is one turn with the journal.
type session struct {
	*Manager
	journal *Journal
	records map[string]*Record
	stuck   map[string]error // deployments that could not be settled, and why
}

// turn runs do with the journal open and nothing left half done.
func (m *Manager) turn(ctx context.Context, do func(s *session) error) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return &Error{Op: "manage", Reason: "interrupted", Msg: err.Error(), Err: err}
	}
	j, err := OpenJournal(m.opt.Journal, m.opt.Patience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.Close()) }()
	s := &session{Manager: m, journal: j, stuck: map[string]error{}}
	if s.records, err = j.Records(); err != nil {
		return err
	}
	s.recover()
	return do(s)
}

// put writes a deployment's record and keeps it.
func (s *session) put(name string, r *Record) error {
	if err := s.journal.Put(name, r); err != nil {
		return err
	}
	if r == nil {
		delete(s.records, name)
	} else {
		s.records[name] = r
	}
	return nil
}

// names are those of all records, sorted.
func (s *session) names() []string {
	names := make([]string, 0, len(s.records))
	for name := range s.records {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Load brings a new deployment about. One that is there already and wants the same is
// left alone.
func (m *Manager) Load(ctx context.Context, d *Deployment, c *Change) error {
	return m.turn(ctx, func(s *session) error {
		if r := s.records[d.Name]; r != nil && s.stuck[d.Name] == nil {
			if r.Current != nil && r.Current.Deployment.Equal(d) && len(s.drifts(d.Name)) == 0 {
				s.logf("%s runs already", d.Name)
				return nil
			}
			return &Error{Op: "load", Object: d.Name, Reason: "name-taken", Msg: "it is loaded already"}
		}
		return s.change(ctx, "load", d, c)
	})
}

// Reload puts a deployment in the place of the one of its name.
func (m *Manager) Reload(ctx context.Context, d *Deployment, c *Change) error {
	return m.turn(ctx, func(s *session) error {
		if s.records[d.Name] == nil {
			return unknown("reload", d.Name)
		}
		return s.change(ctx, "reload", d, c)
	})
}

// Repair brings a deployment back to what the journal says it should be, replacing
// what others put in its place. One without drift is left alone.
func (m *Manager) Repair(ctx context.Context, name string) error {
	return m.turn(ctx, func(s *session) error { return s.repair(ctx, name) })
}

func (s *session) repair(ctx context.Context, name string) error {
	r := s.records[name]
	switch {
	case r == nil || r.Want == nil:
		return unknown("repair", name)
	case len(s.drifts(name)) == 0:
		return nil
	}
	return s.change(ctx, "repair", r.Want, &Change{Force: true})
}

// Unload takes a deployment away from its ports and forgets it. What others put in its
// place stays.
func (m *Manager) Unload(ctx context.Context, name string) error {
	return m.turn(ctx, func(s *session) error { return s.unload(name) })
}

// Recover finishes or rolls back what an earlier process left; every other method does
// so first. A deployment for which that fails keeps its place in the journal, is not
// touched otherwise, and does not keep others from being managed.
func (m *Manager) Recover(ctx context.Context) error {
	return m.turn(ctx, func(s *session) error {
		var all error
		for _, name := range s.names() {
			all = errors.Join(all, s.stuck[name])
		}
		return all
	})
}

func unknown(op, name string) error {
	return &Error{Op: op, Object: name, Reason: "unknown-deployment", Msg: "no deployment of that name"}
}

// port looks a port up.
func (m *Manager) port(ref Ref) (*Port, error) {
	all, err := m.kernel.Ports(ref.Netns, ref.Name)
	if err != nil {
		return nil, err
	}
	if len(all) > 0 {
		return &all[0], nil
	}
	return nil, &Error{Op: "find port", Object: ref.String(), Reason: "no-port", Msg: "no such interface"}
}

// attached is the id of the program that stands before a port in a mode, 0 for none.
func (m *Manager) attached(p *Port, mode Mode) (uint32, error) {
	all, err := m.kernel.Attached(p)
	if err != nil {
		return 0, err
	}
	for _, a := range all {
		if a.Mode == mode {
			return a.Program, nil
		}
	}
	return 0, nil
}

// Names of pins.
func generationDir(name string, number uint64) string {
	return path.Join(name, fmt.Sprintf("gen-%d", number))
}

func programPin(g *Generation) string {
	return path.Join(generationDir(g.Deployment.Name, g.Number), "program")
}

func mapPin(g *Generation, name string) string {
	return path.Join(generationDir(g.Deployment.Name, g.Number), "maps", escape(name))
}

// escape writes a map's name as one that the bpf file system takes.
func escape(name string) string {
	var b []byte
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b = append(b, c)
		default:
			b = fmt.Appendf(b, "%%%02x", c)
		}
	}
	return string(b)
}

// program opens a generation's program: by its pin, or, where that was removed, by its
// id if it is still the same program. Nil: it is no more, or its device is.
func (m *Manager) program(g *Generation) (Program, error) {
	if g == nil {
		return nil, nil
	}
	p, err := m.kernel.PinnedProgram(programPin(g))
	pinned := err == nil
	if ReasonOf(err) == "no-object" && g.Program != 0 {
		p, err = m.kernel.Program(g.Program)
	}
	if ReasonOf(err) == "no-object" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info, err := p.Info()
	// The kernel numbers programs from 1 again when it is booted.
	if err != nil || info.Gone || !pinned && info.Tag != g.Tag {
		p.Close()
		return nil, err
	}
	return p, nil
}

// idOf is a program's id, 0 for none.
func idOf(p Program) uint32 {
	if p == nil {
		return 0
	}
	return p.ID()
}

// closeAll closes what is not nil.
func closeAll(progs ...Program) {
	for _, p := range progs {
		if p != nil {
			p.Close()
		}
	}
}
