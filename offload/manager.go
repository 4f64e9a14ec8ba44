package offload

import (
	"context"
	"errors"
	"fmt"
	"path"
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

// Manager brings deployments about. Each method that changes something locks its deployment
// and the journal, finishes or rolls back what an earlier process left, and does its work;
// while a program is on trial only its deployment is locked. Methods that only look wait for
// nothing. On Linux, managers of several processes and several goroutines may be used at once.
type Manager struct {
	kernel Kernel
	opt    Options
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

// Load brings a new deployment about. One that is there already and wants the same is
// left alone, or brought back if a reboot or a removal took its program.
func (m *Manager) Load(ctx context.Context, d *Deployment, c *Change) error {
	return m.turn(ctx, d.Name, func(s *session) error {
		r := s.records[d.Name]
		if r == nil || s.stuck[d.Name] != nil {
			return s.change(ctx, "load", d, c)
		}
		taken := &Error{Op: "load", Object: d.Name, Reason: "name-taken", Msg: "it is loaded already"}
		if r.Current == nil {
			return taken
		}
		lost, err := s.lost(r.Current)
		if err != nil {
			return err
		}
		drifts := s.drifts(d.Name)
		switch same := r.Current.Deployment.Equal(d); {
		case lost != "" && r.Current.Deployment.brings(d):
			return s.change(ctx, "load", d, c)
		case lost != "":
			taken.Msg = fmt.Sprintf("the journal has it from another object or for other ports; it is %s", driftWords[lost])
			return taken
		case same && len(drifts) == 0:
			s.logf("%s runs already", d.Name)
			return nil
		case same:
			return &Error{Op: "load", Object: d.Name, Reason: "program-changed", Msg: drifts[0].String()}
		}
		return taken
	})
}

// Reload puts a deployment in the place of the one of its name.
func (m *Manager) Reload(ctx context.Context, d *Deployment, c *Change) error {
	return m.turn(ctx, d.Name, func(s *session) error {
		if s.records[d.Name] == nil {
			return unknown("reload", d.Name)
		}
		return s.change(ctx, "reload", d, c)
	})
}

// Repair brings a deployment back to what the journal says it should be, replacing
// what others put in its place. One without drift is left alone.
func (m *Manager) Repair(ctx context.Context, name string) error {
	_, err := m.repair(ctx, name)
	return err
}

// repair reports as well whether there was something to do.
func (m *Manager) repair(ctx context.Context, name string) (did bool, err error) {
	err = m.turn(ctx, name, func(s *session) error {
		r := s.records[name]
		switch {
		case r == nil || r.Want == nil:
			return unknown("repair", name)
		case len(s.drifts(name)) == 0:
			return nil
		}
		did = true
		return s.change(ctx, "repair", r.Want, &Change{Force: true})
	})
	return did, err
}

// Unload takes a deployment away from its ports and forgets it. What others put in its
// place stays.
func (m *Manager) Unload(ctx context.Context, name string) error {
	return m.turn(ctx, name, func(s *session) error { return s.unload(name) })
}

// Recover finishes or rolls back what an earlier process left; every other method does
// so first. A deployment for which that fails keeps its place in the journal, is not
// touched otherwise, and does not keep others from being managed.
func (m *Manager) Recover(ctx context.Context) error {
	return m.turn(ctx, "", func(s *session) error {
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

// program opens a generation's program: by its pin, or, if that was removed, by its id if
// it is still the same program. Nil: it is no more, or its device is.
func (m *Manager) program(g *Generation) (Program, error) {
	p, _, err := m.find(g)
	return p, err
}

// lost is the kind of drift of a generation whose program is no more, or whose device is;
// empty if the program is there.
func (m *Manager) lost(g *Generation) (string, error) {
	p, kind, err := m.find(g)
	closeAll(p)
	return kind, err
}

// find opens a generation's program, or says how it was lost.
func (m *Manager) find(g *Generation) (p Program, lost string, err error) {
	if g == nil {
		return nil, "", nil
	}
	lost = "gone"
	// The kernel numbers programs from 1 again when it is booted, and has no pins then.
	if boot := m.kernel.Boot(); g.Boot != "" && boot != "" && g.Boot != boot {
		return nil, "gone-since-reboot", nil
	}
	p, err = m.kernel.PinnedProgram(programPin(g))
	pinned := err == nil
	if ReasonOf(err) == "no-object" && g.Program != 0 {
		p, err = m.kernel.Program(g.Program)
	}
	if ReasonOf(err) == "no-object" {
		return nil, lost, nil
	}
	if err != nil {
		return nil, "", err
	}
	info, err := p.Info()
	switch {
	case err != nil:
		p.Close()
		return nil, "", err
	case !pinned && info.Tag != g.Tag: // another one has its number
		p.Close()
		return nil, lost, nil
	case info.Gone:
		p.Close()
		return nil, "device-gone", nil
	}
	return p, "", nil
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
