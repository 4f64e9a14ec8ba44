package offload

import (
	"errors"
	"fmt"
	"slices"
)

// This file finishes or undoes unfinished operations. It uses only the journal and the
// kernel's state, never memory: the same code serves an operation that failed, and the
// process that follows a killed one. Any step may already have been done, so every
// step is idempotent.

// settle finishes or undoes the operation on one deployment.
func (s *session) settle(name string) error {
	switch r := s.records[name]; {
	case r.Phase == Retiring:
		return s.retire(name)
	case r.Phase == Switching && r.Next == nil:
		return s.finishUnload(name)
	default:
		return s.undo(name)
	}
}

// undo restores the current generation, or removes the deployment if there is none.
func (s *session) undo(name string) error {
	r, ok := s.records[name]
	if !ok || r.Phase == Idle {
		return nil
	}
	u := *r
	if u.Phase == Switching {
		if err := s.giveBack(&u); err != nil {
			return fmt.Errorf("roll back: %w", err)
		}
		u.Phase = Preparing
		if err := s.put(name, &u); err != nil {
			return err
		}
	}
	if u.Next != nil {
		if err := s.kernel.Unpin(generationDir(name, u.Next.Number)); err != nil {
			return err
		}
	}
	u.Next, u.Want = nil, nil
	if u.Current != nil {
		u.Want = u.Current.Deployment
	}
	// A failed load leaves as little as an unload does.
	u.Phase = Retiring
	if err := s.put(name, &u); err != nil {
		return err
	}
	s.logf("%s: rolled back", name)
	return s.retire(name)
}

// giveBack attaches the current generation to all its ports again, and detaches the
// next one.
func (s *session) giveBack(r *Record) error {
	next, err := s.program(r.Next)
	if err != nil {
		return err
	}
	cur, err := s.program(r.Current)
	if err != nil {
		return err
	}
	defer closeAll(next, cur)
	had := func(ref Ref) bool {
		return r.Current != nil && slices.Contains(r.Current.Deployment.Ports, ref) && r.Current.Deployment.Mode == r.Next.Deployment.Mode
	}
	var all error
	for _, ref := range r.Next.Deployment.Ports {
		p, err := s.where(ref, r.Next.Deployment.Mode, next)
		if ReasonOf(err) == "no-port" {
			continue
		}
		if err != nil {
			all = errors.Join(all, err)
			continue
		}
		mode := r.Next.Deployment.Mode
		found, err := s.attached(p, mode)
		if err == nil && next != nil && found == next.ID() {
			back := cur
			if !had(ref) {
				back = nil
			}
			err = s.kernel.Swap(p, mode, next, back)
		}
		all = errors.Join(all, err)
	}
	if r.Current == nil || cur == nil {
		return all
	}
	for _, ref := range r.Current.Deployment.Ports { // the ports that were taken from it
		if slices.Contains(r.Next.Deployment.Ports, ref) && had(ref) {
			continue
		}
		p, err := s.port(ref)
		if ReasonOf(err) == "no-port" {
			continue
		}
		if err == nil {
			var found uint32
			if found, err = s.attached(p, r.Current.Deployment.Mode); err == nil && found == 0 {
				err = s.kernel.Swap(p, r.Current.Deployment.Mode, nil, cur)
			}
		}
		all = errors.Join(all, err)
	}
	return all
}

// where returns the port from which a program is to be detached. The ports of a
// removed namespace are in the first namespace, with their programs.
func (s *session) where(ref Ref, mode Mode, prog Program) (*Port, error) {
	p, err := s.port(ref)
	if ReasonOf(err) != "no-port" || ref.Netns == "" || prog == nil {
		return p, err
	}
	back, backErr := s.port(Ref{Name: ref.Name})
	if backErr != nil {
		return nil, err
	}
	if found, foundErr := s.attached(back, mode); foundErr != nil || found != prog.ID() {
		return nil, err
	}
	return back, nil
}

// retire removes all generations except the current one, and hooks that it does not
// need. The record is then idle or, if no deployment is desired, deleted.
func (s *session) retire(name string) error {
	r := *s.records[name]
	pins, err := s.kernel.Pins(name)
	if err != nil {
		return err
	}
	keep := ""
	if r.Current != nil {
		keep = fmt.Sprintf("gen-%d/", r.Current.Number)
	}
	for _, pin := range pins {
		if pin == keep {
			continue
		}
		if err := s.kernel.Unpin(name + "/" + pin); err != nil {
			return err
		}
	}
	var hooks []Ref
	for _, ref := range r.Hooks {
		if r.Current != nil && r.Current.Deployment.Mode.TC() && slices.Contains(r.Current.Deployment.Ports, ref) {
			hooks = append(hooks, ref)
			continue
		}
		p, err := s.port(ref)
		if ReasonOf(err) == "no-port" {
			continue
		}
		if err != nil {
			return err
		}
		if _, err := s.kernel.Hook(p, TCSoftware, false); err != nil {
			return err
		}
	}
	r.Hooks, r.Phase, r.Next = hooks, Idle, nil
	if r.Current == nil {
		if err := s.kernel.Unpin(name); err != nil {
			return err
		}
		return s.put(name, nil)
	}
	return s.put(name, &r)
}

// unload removes a deployment.
func (s *session) unload(name string) error {
	r := s.records[name]
	if r == nil {
		return unknown("unload", name)
	}
	if err := s.stuck[name]; err != nil {
		return err
	}
	u := *r
	u.Want, u.Next, u.Phase = nil, nil, Switching
	if err := s.put(name, &u); err != nil {
		return err
	}
	return s.finishUnload(name)
}

// finishUnload clears the ports and deletes the deployment's record.
func (s *session) finishUnload(name string) error {
	r := *s.records[name]
	if r.Current == nil {
		return s.retire(name)
	}
	prog, err := s.program(r.Current)
	if err != nil {
		return err
	}
	defer closeAll(prog)
	for _, ref := range r.Current.Deployment.Ports {
		p, err := s.where(ref, r.Current.Deployment.Mode, prog)
		if ReasonOf(err) == "no-port" {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.takeAway(p, r.Current.Deployment.Mode, prog); err != nil {
			return err
		}
	}
	r.Current, r.Phase = nil, Retiring
	if err := s.put(name, &r); err != nil {
		return err
	}
	closeAll(prog)
	if err := s.retire(name); err != nil {
		return err
	}
	s.logf("unload %s: done", name)
	return nil
}
