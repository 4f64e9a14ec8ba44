package offload

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"
)

// Options configures New. Journal is required.
type Options struct {
	Journal  string        // path of the journal's file
	Patience time.Duration // how long to wait for another process, or for the kernel's background work; 0 selects 10 s
	Open     Opener        // reads objects; nil selects ELF
	// Log, if not nil, is called with one line per step.
	Log func(line string)
	// Took, if not nil, is called with the duration of each change, from reading the
	// object to removing the last pin, without the trial.
	Took func(op string, d time.Duration)
}

// Manager carries out deployments. Each method that changes something locks its
// deployment and the journal, finishes or rolls back an earlier process's unfinished
// operation, and then does its own work. While a program is on trial only its
// deployment is locked. Methods that only read do not wait. On Linux, managers in
// several processes and goroutines may be used at once.
type Manager struct {
	kernel Kernel
	opt    Options
}

// New returns a manager. It changes nothing.
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

// Kernel returns the kernel that the manager uses.
func (m *Manager) Kernel() Kernel { return m.kernel }

func (m *Manager) logf(format string, args ...any) { m.opt.Log(fmt.Sprintf(format, args...)) }

// Load loads a new deployment. If an equal one is loaded, Load leaves it, or restores
// it if a reboot or a removal took its program.
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

// Reload replaces the deployment of the same name.
func (m *Manager) Reload(ctx context.Context, d *Deployment, c *Change) error {
	return m.turn(ctx, d.Name, func(s *session) error {
		if s.records[d.Name] == nil {
			return unknown("reload", d.Name)
		}
		return s.change(ctx, "reload", d, c)
	})
}

// Repair restores a deployment to the journal's desired state, and replaces programs
// that others attached instead. It does nothing if there is no drift.
func (m *Manager) Repair(ctx context.Context, name string) error {
	_, err := m.repair(ctx, name)
	return err
}

// repair is like Repair, and also reports whether it did anything.
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

// Unload detaches a deployment from its ports and deletes it. Programs that others
// attached instead stay.
func (m *Manager) Unload(ctx context.Context, name string) error {
	return m.turn(ctx, name, func(s *session) error { return s.unload(name) })
}

// Recover finishes or rolls back the unfinished operations of earlier processes. Every
// other method does so first. If that fails for a deployment, it stays in the journal,
// is not touched otherwise, and does not prevent others from being managed.
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

// port returns the current state of a port.
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

// attached returns the id of the program attached to a port in a mode, or 0 for none.
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

// generationDir and the functions below return the names of pins.
func generationDir(name string, number uint64) string {
	return path.Join(name, fmt.Sprintf("gen-%d", number))
}

func programPin(g *Generation) string {
	return path.Join(generationDir(g.Deployment.Name, g.Number), "program")
}

func mapPin(g *Generation, name string) string {
	return path.Join(generationDir(g.Deployment.Name, g.Number), "maps", escape(name))
}

// escape returns a map's name in a form that the bpf file system accepts.
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

// program opens a generation's program: by its pin or, if that was removed, by its id
// if it is still the same program. It returns nil if the program or its device no
// longer exists.
func (m *Manager) program(g *Generation) (Program, error) {
	p, _, err := m.find(g)
	return p, err
}

// lost returns the kind of drift of a generation whose program or device no longer
// exists, or "" if the program exists.
func (m *Manager) lost(g *Generation) (string, error) {
	p, kind, err := m.find(g)
	closeAll(p)
	return kind, err
}

// find opens a generation's program, or returns how it was lost.
func (m *Manager) find(g *Generation) (p Program, lost string, err error) {
	if g == nil {
		return nil, "", nil
	}
	lost = "gone"
	// After a boot the kernel numbers programs from 1 again, and has no pins.
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
	case !pinned && info.Tag != g.Tag: // another program has its number
		p.Close()
		return nil, lost, nil
	case info.Gone:
		p.Close()
		return nil, "device-gone", nil
	}
	return p, "", nil
}

// idOf returns a program's id, or 0 for none.
func idOf(p Program) uint32 {
	if p == nil {
		return 0
	}
	return p.ID()
}

// closeAll closes the programs that are not nil.
func closeAll(progs ...Program) {
	for _, p := range progs {
		if p != nil {
			p.Close()
		}
	}
}
