package offload

import (
	"context"
	"errors"
	"slices"
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
	var steps []Step
	err := m.turn(ctx, func(s *session) error {
		if err := checkList(want); err != nil {
			return err
		}
		if opt.Prune {
			for _, name := range s.names() {
				if slices.ContainsFunc(want, func(d *Deployment) bool { return d.Name == name }) {
					continue
				}
				steps = append(steps, Step{Do: "unload", Deployment: name, Why: "it is not wanted"})
				if !opt.DryRun {
					if err := s.unload(name); err != nil {
						return err
					}
				}
			}
		}
		for _, d := range want {
			step := s.plan(d, change(d.Name), opt)
			var err error
			if !opt.DryRun && step.Do != "nothing" {
				c := *change(d.Name)
				c.Force = c.Force || step.Do == "repair"
				err = s.change(ctx, step.Do, d, &c)
			}
			if err != nil {
				step.Error = err.Error()
			}
			steps = append(steps, step)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return steps, err
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
		specs, mapErr := mapsOf(prog, coll)
		step.Maps, err = carries(cur, specs, d.Mode.Offloaded(), c), mapErr
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

// difference names what a deployment changes.
func difference(old, d *Deployment) string {
	switch {
	case old.Digest() != d.Digest():
		return "the object changed"
	case old.Program != d.Program:
		return "another program of the object is wanted"
	case old.Mode != d.Mode:
		return "another mode is wanted"
	}
	return "other ports are wanted"
}
