package offload

import (
	"context"
	"errors"
	"slices"

	"github.com/cilium/ebpf"
)

// A Step is one action that Apply takes, or would take.
type Step struct {
	Do         string  `json:"do"` // load, reload, repair, unload, or nothing
	Deployment string  `json:"deployment"`
	Why        string  `json:"why"`
	Maps       []Carry `json:"maps,omitempty"` // the fate of each map
	Drift      []Drift `json:"drift,omitempty"`
	Error      string  `json:"error,omitempty"` // the reason for which it will fail, if known in advance
}

// ApplyOptions selects what Apply may do.
type ApplyOptions struct {
	// Prune unloads deployments that are not in the list.
	Prune bool
	// Repair restores programs that others replaced. Programs that were removed, or
	// lost in a reboot or with their card, are always restored.
	Repair bool
	// DryRun only determines the steps.
	DryRun bool
	// Change returns the options with which a deployment is loaded or reloaded.
	Change func(name string) *Change
}

// Apply brings all deployments of a list to the desired state and returns one step for
// each. It is idempotent. It stops at the first error.
func (m *Manager) Apply(ctx context.Context, want []*Deployment, opt *ApplyOptions) ([]Step, error) {
	if opt == nil {
		opt = &ApplyOptions{}
	}
	change := func(name string) *Change {
		if opt.Change != nil {
			if c := opt.Change(name); c != nil {
				return c
			}
		}
		return &Change{}
	}
	if err := checkList(want); err != nil {
		return nil, err
	}
	if opt.DryRun {
		var steps []Step
		err := m.look(ctx, func(s *session) error {
			steps = nil
			for _, name := range s.unwanted(want, opt) {
				steps = append(steps, unloads(name))
			}
			for _, d := range want {
				steps = append(steps, s.plan(d, change(d.Name), opt))
			}
			return nil
		})
		return steps, err
	}
	var unwanted []string
	err := m.look(ctx, func(s *session) error {
		unwanted = s.unwanted(want, opt)
		return nil
	})
	var steps []Step
	for _, name := range unwanted {
		if err == nil {
			err = m.turn(ctx, name, func(s *session) error {
				steps = append(steps, unloads(name))
				return s.unload(name)
			})
		}
	}
	for _, d := range want {
		if err != nil {
			return steps, err
		}
		err = m.turn(ctx, d.Name, func(s *session) error {
			step := s.plan(d, change(d.Name), opt)
			var err error
			if step.Do != "nothing" {
				c := *change(d.Name)
				c.Force = c.Force || step.Do == "repair"
				if err = s.change(ctx, step.Do, d, &c); err != nil {
					step.Error = err.Error()
				}
				step.Maps = s.became(d.Name, step.Maps, err)
			}
			steps = append(steps, step)
			return err
		})
	}
	return steps, err
}

// became returns the observed, not the planned, fates of maps after a change. After a
// failed change there are none.
func (s *session) became(name string, planned []Carry, err error) []Carry {
	if err != nil {
		return nil
	}
	for i := range planned {
		for _, e := range s.records[name].Current.Maps {
			switch {
			case e.Name != planned[i].Map:
			case e.Carried:
				planned[i].Fate = "carried"
			case e.Lost:
				planned[i].Fate = "lost"
			}
		}
	}
	return planned
}

// unwanted returns the deployments that are not in a list, if Prune is set.
func (s *session) unwanted(want []*Deployment, opt *ApplyOptions) []string {
	if !opt.Prune {
		return nil
	}
	return slices.DeleteFunc(s.names(), func(name string) bool {
		return slices.ContainsFunc(want, func(d *Deployment) bool { return d.Name == name })
	})
}

func unloads(name string) Step {
	return Step{Do: "unload", Deployment: name, Why: "it is not in the list"}
}

func checkList(want []*Deployment) error {
	var all error
	for i, d := range want {
		if d.Mode == "" {
			d.Mode = XDPOffload
		}
		all = errors.Join(all, d.check())
		if slices.ContainsFunc(want[:i], func(o *Deployment) bool { return o.Name == d.Name }) {
			all = errors.Join(all, &Error{Op: "apply", Object: d.Name, Reason: "bad-state", Msg: "the name is there twice"})
		}
	}
	return all
}

// plan returns the step for one deployment.
func (s *session) plan(d *Deployment, c *Change, opt *ApplyOptions) Step {
	step := Step{Deployment: d.Name}
	r := s.records[d.Name]
	var cur *Generation
	if r != nil {
		cur = r.Current
	}
	switch {
	case cur == nil:
		step.Do, step.Why = "load", "it is not loaded"
	case !cur.Deployment.Equal(d):
		step.Do, step.Why = "reload", difference(cur.Deployment, d)
	default:
		step.Do, step.Why, step.Drift = "nothing", "it runs", s.drifts(d.Name)
		for _, drift := range step.Drift {
			if drift.Kind != "replaced" || opt.Repair {
				step.Do, step.Why = "repair", "a port does not run it"
				if lost := driftWords[drift.Kind]; lost != "" {
					step.Why = "it is " + lost
				}
			} else if step.Do == "nothing" {
				step.Why = "another program is attached; repair was not requested"
			}
		}
	}
	if step.Do == "nothing" {
		return step
	}
	coll, prog, err := d.open(s.opt.Open)
	if err == nil {
		step.Maps, err = s.fates(cur, d, coll, prog, c)
	}
	if err == nil {
		for _, ref := range d.Ports {
			_, portErr := s.port(ref)
			err = errors.Join(err, portErr)
		}
	}
	if err != nil {
		step.Error = oneLine(err)
	}
	return step
}

// fates predicts the fate of each map.
func (s *session) fates(cur *Generation, d *Deployment, coll *ebpf.CollectionSpec, prog *ebpf.ProgramSpec, c *Change) ([]Carry, error) {
	specs, err := mapsOf(prog, coll)
	if err != nil {
		return nil, err
	}
	runs, err := s.program(cur)
	if err != nil {
		return nil, err
	}
	defer closeAll(runs)
	before, err := s.survivors(cur, runs)
	if err != nil {
		return nil, err
	}
	for _, m := range before {
		defer m.Close()
	}
	return carries(cur, before, s.stale(cur, d, specs), specs, d.Mode.Offloaded(), c), nil
}

// difference names the properties that a deployment changes.
func difference(old, d *Deployment) string {
	switch {
	case old.Digest() != d.Digest():
		return "the object changed"
	case old.Program != d.Program:
		return "the program of the object differs"
	case old.Mode != d.Mode:
		return "the mode differs"
	case !old.Settings.Equal(d.Settings):
		return "the settings differ"
	}
	return "the ports differ"
}
