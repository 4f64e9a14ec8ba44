package offload

import (
	"context"
	"errors"
	"slices"
	"time"
)

// WatchOptions configures Watch.
type WatchOptions struct {
	Repair bool          // restore the desired program
	Every  time.Duration // period of checks without an event; 0 selects 30 s. Changes of bpf_links send no event
	// Report is called once for each drift when it appears, and for each repair.
	Report func(WatchReport)
}

// A WatchReport is a drift that appeared, resolved by itself, or was repaired.
type WatchReport struct {
	Time     time.Time `json:"time"`
	Drift    Drift     `json:"drift"`
	State    string    `json:"state"` // appeared, resolved, repaired, not-repaired
	Error    string    `json:"error,omitempty"`
	Duration string    `json:"duration,omitempty"` // of the repair
}

// settleTime is how long to wait for more events before checking: one change sends
// several.
const settleTime = 5 * time.Millisecond

// retryTime is how long to wait before a failed repair is tried again.
const retryTime = 5 * time.Second

// Watch reports and, on request, repairs drift until ctx ends, which is no error. The
// journal is unlocked between two checks.
func (m *Manager) Watch(ctx context.Context, opt *WatchOptions) error {
	w := &watcher{Manager: m, opt: *opt}
	if w.opt.Every == 0 {
		w.opt.Every = 30 * time.Second
	}
	if w.opt.Report == nil {
		w.opt.Report = func(WatchReport) {}
	}
	err := w.run(ctx)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

type watcher struct {
	*Manager
	opt   WatchOptions
	known []Drift
	tried map[string]attempt // by deployment: the last repair, if it failed
}

// attempt is a failed repair.
type attempt struct {
	at  time.Time
	err string
}

func (w *watcher) run(ctx context.Context) error {
	w.tried = map[string]attempt{}
	for {
		spaces, err := w.Netns(ctx)
		if err != nil {
			return err
		}
		if err := w.within(ctx, spaces); err != nil || ctx.Err() != nil {
			return err
		}
	}
}

// within watches a set of namespaces until the set changes.
func (w *watcher) within(ctx context.Context, spaces []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events, err := w.kernel.Watch(ctx, spaces...)
	if err != nil {
		return err
	}
	timer := time.NewTimer(0) // covers changes before the watch began
	defer timer.Stop()
	for {
		if err := w.compare(ctx); err != nil && ReasonOf(err) != "journal" && ReasonOf(err) != "journal-busy" {
			return err
		}
		if now, err := w.Netns(ctx); err == nil && !slices.Equal(now, spaces) {
			return nil
		}
		timer.Reset(w.opt.Every)
		if len(w.tried) > 0 {
			timer.Reset(min(w.opt.Every, retryTime))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			continue
		case _, ok := <-events:
			if !ok {
				return errors.New("watch: the kernel's events ended")
			}
		}
		settle(ctx, events)
	}
}

// settle drains events until none arrives for settleTime.
func settle(ctx context.Context, events <-chan Event) {
	for end := time.After(20 * settleTime); ; {
		select {
		case _, ok := <-events:
			if !ok {
				return
			}
		case <-time.After(settleTime):
			return
		case <-end:
			return
		case <-ctx.Done():
			return
		}
	}
}

// compare checks once, reports new drift, and repairs.
func (w *watcher) compare(ctx context.Context) error {
	found, err := w.Drifts(ctx)
	if err != nil {
		return err
	}
	for _, d := range w.known {
		if !slices.Contains(found, d) {
			w.opt.Report(WatchReport{Time: time.Now(), Drift: d, State: "resolved"})
		}
	}
	for _, d := range found {
		if !slices.Contains(w.known, d) {
			w.opt.Report(WatchReport{Time: time.Now(), Drift: d, State: "appeared"})
		}
	}
	w.known = found
	if !w.opt.Repair {
		return nil
	}
	drifted := func(name string) bool {
		return slices.ContainsFunc(found, func(d Drift) bool { return d.Deployment == name })
	}
	for name := range w.tried {
		if !drifted(name) {
			delete(w.tried, name)
		}
	}
	done := map[string]bool{}
	for _, d := range found {
		if done[d.Deployment] || time.Since(w.tried[d.Deployment].at) < retryTime {
			continue
		}
		done[d.Deployment] = true
		w.repair(ctx, d)
	}
	// A repaired drift is no longer known; if it persists, the next check reports it.
	w.known = slices.DeleteFunc(slices.Clone(found), func(d Drift) bool {
		_, failed := w.tried[d.Deployment]
		return done[d.Deployment] && !failed
	})
	return nil
}

// repair tries once. It reports a failure unless the previous failure was the same.
func (w *watcher) repair(ctx context.Context, d Drift) {
	start := time.Now()
	did, err := w.Manager.repair(ctx, d.Deployment)
	if err == nil && !did { // it resolved by itself, or another process repaired it
		delete(w.tried, d.Deployment)
		w.opt.Report(WatchReport{Time: time.Now(), Drift: d, State: "resolved"})
		return
	}
	r := WatchReport{Time: time.Now(), Drift: d, State: "repaired", Duration: time.Since(start).String()}
	if err == nil {
		delete(w.tried, d.Deployment)
		w.opt.Report(r)
		return
	}
	r.State, r.Error = "not-repaired", err.Error()
	again := w.tried[d.Deployment].err == r.Error
	w.tried[d.Deployment] = attempt{time.Now(), r.Error}
	if !again {
		w.opt.Report(r)
	}
}
