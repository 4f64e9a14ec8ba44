package offload

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
)

// The journal keeps, per deployment, what should run, what is known to run, and the
// operation that is under way. A step is written down before it is done; writes are
// transactions, synced to the disk. So whatever moment the process dies at, the next
// start knows the earliest thing that may have been left undone.

// A Phase is how far an operation has come.
type Phase string

const (
	// Idle: Current runs, or should.
	Idle Phase = ""
	// Preparing: Next is being made. It stands in front of no port. Undone by dropping
	// its pins.
	Preparing Phase = "prepare"
	// Switching: ports are being given to Next, and it is on trial. Undone by giving them
	// back. With a nil Next, ports are being cleared; then it is finished instead.
	Switching Phase = "switch"
	// Retiring: Next was accepted and is Current; what came before is being dropped. Finished.
	Retiring Phase = "retire"
)

// A Record is what the journal has of one deployment.
type Record struct {
	Want    *Deployment `json:"want"`              // nil: being unloaded
	Phase   Phase       `json:"phase,omitempty"`   // of the operation under way
	Current *Generation `json:"current,omitempty"` // confirmed
	Next    *Generation `json:"next,omitempty"`    // not confirmed yet
	Counter uint64      `json:"counter"`           // of generations made so far
	// Hooks are ports on which this deployment made the qdisc, and will remove it.
	Hooks []Ref `json:"hooks,omitempty"`
}

// A Generation is one program with its maps, made for a deployment.
type Generation struct {
	Number     uint64      `json:"number"` // names its directory of pins
	Deployment *Deployment `json:"deployment"`
	Program    uint32      `json:"program_id,omitempty"`
	Tag        string      `json:"tag,omitempty"`
	Maps       []MapEntry  `json:"maps,omitempty"`
	Loaded     time.Time   `json:"loaded"`
	// Took is how long it took from the first look at the object until the program stood
	// at all ports, without the time on trial.
	Took time.Duration `json:"took_ns"`
}

// A MapEntry is a map of a generation.
type MapEntry struct {
	Name    string `json:"name"`
	ID      uint32 `json:"id"`
	Shape   Shape  `json:"shape"`
	Carried bool   `json:"carried,omitempty"` // it was the generation's before, too
}

// Journal is a file of records. Only one process holds it at a time.
type Journal struct {
	db *bbolt.DB
}

// Names of the journal's parts.
var (
	bucketRecords = []byte("deployments")
	bucketObjects = []byte("objects") // by digest: records name them, not to hold them twice
)

// OpenJournal opens or creates a journal of mode 0600, waiting as long as patience for
// another process to close it. A file that others may read or write is refused.
func OpenJournal(path string, patience time.Duration) (*Journal, error) {
	fail := func(msg string, err error) (*Journal, error) {
		return nil, &Error{Op: "open journal", Object: path, Reason: "journal", Msg: msg, Err: err}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err.Error(), err)
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		if err := createJournal(path); err != nil {
			return fail(err.Error(), err)
		}
	case err != nil:
		return fail(err.Error(), err)
	case !info.Mode().IsRegular():
		return fail("it is no regular file", nil)
	case info.Mode().Perm()&0o077 != 0:
		return fail(fmt.Sprintf("its mode is %04o, it must be 0600", info.Mode().Perm()), nil)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: max(patience, time.Millisecond)})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return fail("another process has it open", err)
	}
	if err != nil {
		return fail(err.Error(), err)
	}
	if err := makeBuckets(db); err != nil {
		db.Close()
		return fail(err.Error(), err)
	}
	return &Journal{db}, nil
}

// makeBuckets makes a new journal's parts. One that has them is not written to: that
// would wait for the disk.
func makeBuckets(db *bbolt.DB) error {
	missing := false
	err := db.View(func(tx *bbolt.Tx) error {
		missing = tx.Bucket(bucketRecords) == nil || tx.Bucket(bucketObjects) == nil
		return nil
	})
	if err != nil || !missing {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bucketRecords, bucketObjects} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// Close lets other processes open the journal.
func (j *Journal) Close() error { return j.db.Close() }

// journalError wraps what went wrong with a record.
func journalError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &Error{Op: op + " journal", Object: name, Reason: "journal", Msg: oneLine(err), Err: err}
}

// Records reads all records by name.
func (j *Journal) Records() (map[string]*Record, error) {
	all := map[string]*Record{}
	err := j.db.View(func(tx *bbolt.Tx) error {
		objects := tx.Bucket(bucketObjects)
		return tx.Bucket(bucketRecords).ForEach(func(name, data []byte) error {
			r := &Record{}
			if err := json.Unmarshal(data, r); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			for _, d := range r.deployments() {
				d.Object = append([]byte(nil), objects.Get(d.Object)...)
			}
			all[string(name)] = r
			return nil
		})
	})
	if err != nil {
		return nil, journalError("read", "", err)
	}
	return all, nil
}

// deployments are those that a record has, each once.
func (r *Record) deployments() []*Deployment {
	var all []*Deployment
	add := func(d *Deployment) {
		for _, have := range all {
			if have == d {
				return
			}
		}
		all = append(all, d)
	}
	if r.Want != nil {
		add(r.Want)
	}
	for _, g := range []*Generation{r.Current, r.Next} {
		if g != nil && g.Deployment != nil {
			add(g.Deployment)
		}
	}
	return all
}

// Put writes a record; a nil one removes it. Objects that no record names any more go.
func (j *Journal) Put(name string, r *Record) error {
	err := j.db.Update(func(tx *bbolt.Tx) error {
		records, objects := tx.Bucket(bucketRecords), tx.Bucket(bucketObjects)
		if r == nil {
			if err := records.Delete([]byte(name)); err != nil {
				return err
			}
			return sweep(records, objects)
		}
		stored := *r
		var err error
		byDigest := func(d *Deployment) *Deployment {
			if d == nil {
				return nil
			}
			digest := []byte(d.Digest())
			if err == nil && objects.Get(digest) == nil {
				err = objects.Put(digest, d.Object)
			}
			c := *d
			c.Object = digest
			return &c
		}
		generation := func(g *Generation) *Generation {
			if g == nil {
				return nil
			}
			c := *g
			c.Deployment = byDigest(g.Deployment)
			return &c
		}
		stored.Want, stored.Current, stored.Next = byDigest(r.Want), generation(r.Current), generation(r.Next)
		if err != nil {
			return err
		}
		data, err := json.Marshal(&stored)
		if err != nil {
			return err
		}
		if err := records.Put([]byte(name), data); err != nil {
			return err
		}
		return sweep(records, objects)
	})
	return journalError("write", name, err)
}

// sweep removes objects that no record names.
func sweep(records, objects *bbolt.Bucket) error {
	used := map[string]bool{}
	err := records.ForEach(func(_, data []byte) error {
		var r Record
		if err := json.Unmarshal(data, &r); err != nil {
			return err
		}
		for _, d := range r.deployments() {
			used[string(d.Object)] = true
		}
		return nil
	})
	if err != nil {
		return err
	}
	var idle [][]byte
	err = objects.ForEach(func(digest, _ []byte) error {
		if !used[string(digest)] {
			idle = append(idle, append([]byte(nil), digest...))
		}
		return nil
	})
	for _, digest := range idle {
		err = errors.Join(err, objects.Delete(digest))
	}
	return err
}
