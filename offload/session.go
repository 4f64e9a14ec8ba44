package offload

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// session is one access to the journal: with its lock, to change something, or
// without, to read.
type session struct {
	*Manager
	snap    *Snapshot
	records map[string]*Record // the records of snap
	stuck   map[string]error   // deployments that could not be settled, and why
	busy    map[string]bool    // deployments that another process is changing
	locks   *journalLocks
	own     string // the deployment that this session has locked
	locked  bool   // this session has locked the journal
	written bool
}

// turn runs do with the journal and a deployment locked, after settling unfinished
// operations. An empty name locks no deployment.
func (m *Manager) turn(ctx context.Context, name string, do func(s *session) error) (err error) {
	if err := ctx.Err(); err != nil {
		return &Error{Op: "manage", Reason: "interrupted", Msg: err.Error(), Err: err}
	}
	// An unreadable journal is never written, and its error is more useful than one
	// about locks.
	if _, err := m.readJournal(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(m.opt.Journal), 0o700); err != nil {
		return journalError("open", m.opt.Journal, err)
	}
	s := &session{Manager: m}
	if s.locks, err = openLocks(m.opt.Journal, true); err != nil {
		return journalError("lock", m.opt.Journal, err)
	}
	defer s.locks.close()
	if name != "" {
		if err := s.wait(ctx, lockByte(name), "deployment "+name, m.opt.Patience); err != nil {
			return err
		}
		s.own = name
	}
	if err := s.resume(ctx, m.opt.Patience); err != nil {
		return err
	}
	s.recover()
	err = do(s)
	if s.written && s.locked {
		// The journal itself is complete without the copy; the next turn tries again.
		if copyErr := copyJournal(m.opt.Journal, s.snap); copyErr != nil {
			s.logf("%v", journalError("copy", m.opt.Journal, copyErr))
		}
	}
	return err
}

// readJournal is like ReadJournal, but fails if the journal is missing although pins
// exist.
func (m *Manager) readJournal() (*Snapshot, error) {
	snap, err := ReadJournal(m.opt.Journal)
	if err != nil || snap.Version > 0 {
		return snap, err
	}
	names, err := m.pinnedNames()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		newest, err := m.newestPin(name)
		if err != nil {
			return nil, err
		}
		if newest > 0 {
			return nil, damaged(m.opt.Journal, "it is not there, but generation %d of deployment %s is pinned", newest, name)
		}
	}
	return snap, nil
}

// wait takes a lock, or gives up after patience.
func (s *session) wait(ctx context.Context, at int64, what string, patience time.Duration) error {
	end := time.Now().Add(patience)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		ok, err := s.locks.try(at)
		if ok {
			return nil
		}
		if err != nil {
			return journalError("lock", s.opt.Journal, err)
		}
		if !time.Now().Before(end) {
			return &Error{Op: "open journal", Object: s.opt.Journal, Reason: "journal-busy", Msg: fmt.Sprintf("another nfpctl is changing %s", what)}
		}
		select {
		case <-ctx.Done():
			return &Error{Op: "open journal", Object: s.opt.Journal, Reason: "interrupted", Msg: ctx.Err().Error(), Err: ctx.Err()}
		case <-time.After(pause):
		}
	}
}

// resume takes the journal's lock and reads it.
func (s *session) resume(ctx context.Context, patience time.Duration) error {
	if err := s.wait(ctx, journalByte, "the journal", patience); err != nil {
		return err
	}
	snap, err := s.readJournal()
	if err != nil {
		s.locks.drop(journalByte)
		return err
	}
	s.snap, s.records, s.locked = snap, snap.Records, true
	return nil
}

// pause unlocks the journal; the deployment stays locked.
func (s *session) pause() {
	s.locked = false
	s.locks.drop(journalByte)
}

// put writes a deployment's record, or deletes it if r is nil.
func (s *session) put(name string, r *Record) error {
	if !s.locked {
		return &Error{Op: "write journal", Object: name, Reason: "journal-busy", Msg: "another nfpctl has it"}
	}
	next := &Snapshot{Version: journalVersion, Sequence: s.snap.Sequence + 1, Written: time.Now().UTC(), Records: maps.Clone(s.snap.Records)}
	if r == nil {
		delete(next.Records, name)
	} else {
		next.Records[name] = r
	}
	if err := next.write(s.opt.Journal, s.snap.Version); err != nil {
		return journalError("write", s.opt.Journal, err)
	}
	s.snap, s.records, s.written = next, next.Records, true
	return nil
}

// names returns the sorted names of all records.
func (s *session) names() []string { return slices.Sorted(maps.Keys(s.records)) }

// look runs do on the contents of the journal, without a lock. do may run several
// times. look first settles unfinished operations; those that cannot be settled are in
// stuck.
func (m *Manager) look(ctx context.Context, do func(s *session) error) error {
	const tries = 3 // before it takes a lock, which makes everyone wait
	for try := range tries + 1 {
		if err := ctx.Err(); err != nil {
			return &Error{Op: "manage", Reason: "interrupted", Msg: err.Error(), Err: err}
		}
		s, err := m.peek()
		if err != nil {
			return err
		}
		half := s.halfDone()
		if len(half) > 0 || try == tries {
			err := m.turn(ctx, "", do)
			if r := ReasonOf(err); r != "journal-read-only" && r != "journal-permission" && r != "journal-busy" {
				return err
			}
			for _, name := range half {
				s.stuck[name] = fmt.Errorf("recover %s: phase %s: %w", name, s.records[name].Phase, err)
			}
			return do(s)
		}
		if err := do(s); err != nil {
			return err
		}
		after, err := m.peek()
		if err != nil {
			return err
		}
		if after.snap.Sequence == s.snap.Sequence && maps.Equal(after.busy, s.busy) {
			return nil
		}
	}
	return nil
}

// peek returns a session without locks.
func (m *Manager) peek() (*session, error) {
	s := &session{Manager: m, stuck: map[string]error{}, busy: map[string]bool{}}
	var err error
	if s.snap, err = m.readJournal(); err != nil {
		return nil, err
	}
	s.records = s.snap.Records
	if len(s.halfDone()) == 0 {
		return s, nil
	}
	locks, err := openLocks(m.opt.Journal, false)
	if err != nil {
		return nil, journalError("read locks of", m.opt.Journal, err)
	}
	defer locks.close()
	for name, r := range s.records {
		if r.Phase != Idle && locks.taken(lockByte(name)) {
			s.busy[name] = true
		}
	}
	return s, nil
}

// halfDone returns the deployments with an unfinished operation on which no process
// works.
func (s *session) halfDone() []string {
	var all []string
	for _, name := range s.names() {
		if s.records[name].Phase != Idle && !s.busy[name] {
			all = append(all, name)
		}
	}
	return all
}

// recover settles all records that it can. Records on which another process works are
// busy.
func (s *session) recover() {
	s.stuck, s.busy = map[string]error{}, map[string]bool{}
	for _, name := range s.names() {
		if s.records[name].Phase == Idle {
			continue
		}
		if name != s.own && lockByte(name) != lockByte(s.own) {
			if ok, err := s.locks.try(lockByte(name)); !ok || err != nil {
				s.busy[name] = true
				continue
			}
		}
		s.logf("recover %s: phase %s", name, s.records[name].Phase)
		if err := s.settle(name); err != nil {
			s.stuck[name] = fmt.Errorf("recover %s: %w", name, err)
			s.logf("%v", s.stuck[name])
		}
		if name != s.own && lockByte(name) != lockByte(s.own) {
			s.locks.drop(lockByte(name))
		}
	}
}
