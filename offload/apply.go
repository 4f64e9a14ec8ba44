package offload

import (
	"context"
	"errors"
	"slices"

	"github.com/cilium/ebpf"
)

// A Step is one thing that Apply does, or would do.
type Step struct {
	Do         string  `json:"do"` // load, reload, repair, unload, or nothing
	Deployment string  `json:"deployment"`
	Why        string  `json:"why"`
	Maps       []Carry `json:"maps,omitempty"` // what becomes of each
	Drift      []Drift `json:"drift,omitempty"`
	Error      string  `json:"error,omitempty"` // why it cannot be done, as far as is known beforehand
}

// ApplyOptions says how far Apply goes.
type ApplyOptions struct {
	// Prune unloads deployments that are not in the list.
	Prune bool
	// Repair puts programs back that others replaced; ones that were removed, or lost in a
	// reboot or with their card, are put back in any case.
	Repair bool
	// DryRun looks and says what would be done.
	DryRun bool
	// Change is how each deployment is loaded or reloaded.
	Change func(name string) *Change
}

// Apply brings about all of a list, and returns what it did for each; done twice, the
// second does nothing. The first error ends it.
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

// became are the fates of maps after a change, as they were seen and not as they were planned;
// after one that failed there are none.
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

// unwanted are the deployments that a list does not have, if those are to be unloaded.
func (s *session) unwanted(want []*Deployment, opt *ApplyOptions) []string {
	if !opt.Prune {
		return nil
	}
	return slices.DeleteFunc(s.names(), func(name string) bool {
		return slices.ContainsFunc(want, func(d *Deployment) bool { return d.Name == name })
	})
}

func unloads(name string) Step { return Step{Do: "unload", Deployment: name, Why: "it is not wanted"} }

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

// plan says what has to be done for one deployment.
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
				step.Why = "another program stands there; repair is not asked for"
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

// fates says what will become of each map.
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

// difference names what a deployment changes.
func difference(old, d *Deployment) string {
	switch {
	case old.Digest() != d.Digest():
		return "the object changed"
	case old.Program != d.Program:
		return "another program of the object is wanted"
	case old.Mode != d.Mode:
		return "another mode is wanted"
	case !old.Settings.Equal(d.Settings):
		return "other settings are wanted"
	}
	return "other ports are wanted"
}
