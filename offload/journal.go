package offload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// This file defines the journal. For each deployment it records the desired state, the
// confirmed state, and the operation in progress. A step is recorded before it is
// done, and each write replaces the whole file atomically. So at any moment the
// process dies, the next start knows the earliest step that may be incomplete.

// A Phase is the progress of an operation.
type Phase string

const (
	// Idle means that Current runs, or should.
	Idle Phase = ""
	// Preparing means that Next is being created and is attached to no port. It is
	// undone by removing the pins of Next.
	Preparing Phase = "prepare"
	// Switching means that Next is being attached to the ports, and is on trial. It is
	// undone by attaching Current again. If Next is nil, the ports are being cleared,
	// which is finished instead.
	Switching Phase = "switch"
	// Retiring means that Next was accepted and is now Current, and the previous
	// generation is being removed. It is finished.
	Retiring Phase = "retire"
)

// A Record is the journal's state of one deployment.
type Record struct {
	Want    *Deployment `json:"want"`              // nil while it is unloaded
	Phase   Phase       `json:"phase,omitempty"`   // of the operation in progress
	Current *Generation `json:"current,omitempty"` // confirmed
	Next    *Generation `json:"next,omitempty"`    // not confirmed yet
	Counter uint64      `json:"counter"`           // number of generations created so far
	// Hooks are the ports on which this deployment created the qdisc; it will remove
	// them.
	Hooks []Ref `json:"hooks,omitempty"`
}

// A Generation is one program with its maps, created for a deployment.
type Generation struct {
	Number     uint64      `json:"number"` // names its directory of pins
	Deployment *Deployment `json:"deployment"`
	Program    uint32      `json:"program_id,omitempty"`
	Tag        string      `json:"tag,omitempty"`
	Maps       []MapEntry  `json:"maps,omitempty"`
	Loaded     time.Time   `json:"loaded"`
	// Boot is the id of the kernel's boot in which the generation was created.
	// Programs, maps and pins are lost at a reboot. It is empty in rebuilt journals
	// and in old ones.
	Boot string `json:"boot,omitempty"`
	// Took is the time from reading the object until the program was attached to all
	// ports, without the trial.
	Took time.Duration `json:"took_ns"`
}

// A MapEntry is a map of a generation.
type MapEntry struct {
	Name    string `json:"name"`
	ID      uint32 `json:"id"`
	Shape   Shape  `json:"shape"`
	Carried bool   `json:"carried,omitempty"` // it already belonged to the previous generation
	// Lost means that the previous generation's map of this name no longer existed, so
	// this map started empty.
	Lost bool `json:"contents_lost,omitempty"`
}

// A Snapshot is the contents of the journal at one moment.
type Snapshot struct {
	Version  int    // of the file's format; 0 if there is no journal yet
	Sequence uint64 // number of writes so far
	Written  time.Time
	Records  map[string]*Record // by name
}

// The file is one line of text and a body in JSON:
//
//	nfpkit-journal VERSION SEQUENCE LENGTH SHA256
//
// LENGTH is the length of the body in bytes. SHA256 covers the three numbers and the
// body, so a file that was truncated, partly replaced or changed in any bit is
// detected.
const (
	journalMagic = "nfpkit-journal "
	// journalVersion is 3 since deployments have settings: a program that does not
	// support them must not load an object without them. Version 2 is the same without
	// settings.
	journalVersion = 3
	// maxJournal is the maximum size of the file, in bytes, so that a damaged file
	// cannot exhaust memory.
	maxJournal = 1 << 30
)

// journalBody is the body. Deployments refer to their objects by digest, so that each
// object is stored once.
type journalBody struct {
	Written time.Time          `json:"written"`
	Records map[string]*Record `json:"deployments"`
	Objects map[string][]byte  `json:"objects"`
}

// errNewer is the version of a file that was written by a newer program.
type errNewer int

func (v errNewer) Error() string {
	return fmt.Sprintf("its format is version %d, this nfpctl knows those up to %d", int(v), journalVersion)
}

// journalSum returns the checksum of the header's numbers and the body.
func journalSum(numbers string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(numbers + "\n"))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// encode returns the contents of the journal's file.
func (s *Snapshot) encode() ([]byte, error) {
	b := journalBody{Written: s.Written, Records: map[string]*Record{}, Objects: map[string][]byte{}}
	for name, r := range s.Records {
		b.Records[name] = r.withObjects(func(object []byte) []byte {
			sum := sha256.Sum256(object)
			digest := hex.EncodeToString(sum[:])
			b.Objects[digest] = object
			return []byte(digest)
		})
	}
	body, err := json.Marshal(&b)
	if err != nil {
		return nil, err
	}
	numbers := fmt.Sprintf("%d %d %d", journalVersion, s.Sequence, len(body))
	data := append(fmt.Appendf(nil, "%s%s %s\n", journalMagic, numbers, journalSum(numbers, body)), body...)
	if len(data) > maxJournal {
		return nil, fmt.Errorf("it would have %d bytes, the most is %d", len(data), maxJournal)
	}
	return data, nil
}

// decodeJournal parses a file of any version. Its errors describe the damage, except
// errNewer, which means that the file is not damaged.
func decodeJournal(data []byte) (*Snapshot, error) {
	switch {
	case len(data) == 0:
		return nil, errors.New("it is empty")
	case isV1(data):
		return decodeV1(data)
	}
	s, body, err := journalHeader(data)
	if err != nil {
		return nil, err
	}
	var b journalBody
	if err := json.Unmarshal(body, &b); err != nil {
		return nil, fmt.Errorf("its body is not of its format: %w", err)
	}
	s.Written, s.Records = b.Written, map[string]*Record{}
	for name, r := range b.Records {
		if err := r.resolve(name, b.Objects); err != nil {
			return nil, err
		}
		s.Records[name] = r
	}
	return s, nil
}

// journalHeader checks a file's header and checksum. It returns a Snapshot without
// records, and the body.
func journalHeader(data []byte) (*Snapshot, []byte, error) {
	line, body, ok := bytes.Cut(data, []byte("\n"))
	text, magic := bytes.CutPrefix(line, []byte(journalMagic))
	if !ok || !magic || len(line) > 200 {
		return nil, nil, fmt.Errorf("it begins with %.20q, which no journal does", data)
	}
	s := &Snapshot{}
	var length int
	var sum string
	if n, err := fmt.Sscanf(string(text), "%d %d %d %s", &s.Version, &s.Sequence, &length, &sum); n != 4 || err != nil {
		return nil, nil, fmt.Errorf("its first line %.80q is no header", line)
	}
	if length != len(body) {
		return nil, nil, fmt.Errorf("it has %d bytes after its header, which says %d", len(body), length)
	}
	numbers := fmt.Sprintf("%d %d %d", s.Version, s.Sequence, length)
	if want := journalMagic + numbers + " " + journalSum(numbers, body); want != string(line) {
		return nil, nil, errors.New("its checksum does not match: bytes were changed after it was written")
	}
	if s.Version > journalVersion {
		return nil, nil, errNewer(s.Version)
	}
	return s, body, nil
}

// resolve replaces digests by objects, after checking each object's digest: a changed
// program must never be loaded.
func (r *Record) resolve(name string, objects map[string][]byte) error {
	if r == nil {
		return fmt.Errorf("deployment %.80q has no record", name)
	}
	for _, d := range r.deployments() {
		digest := string(d.Object)
		object, ok := objects[digest]
		if !ok {
			return fmt.Errorf("deployment %.80q: its object is missing", name)
		}
		d.Object = object
		if d.Digest() != digest {
			return fmt.Errorf("deployment %.80q: its object has sha256 %s, it was stored with %.64q", name, d.Digest(), digest)
		}
	}
	for _, g := range []*Generation{r.Current, r.Next} {
		if g != nil && g.Deployment == nil {
			return fmt.Errorf("deployment %.80q: generation %d has no deployment", name, g.Number)
		}
	}
	return nil
}

// withObjects returns a copy of a record in which object has replaced each object.
func (r *Record) withObjects(object func([]byte) []byte) *Record {
	deployment := func(d *Deployment) *Deployment {
		if d == nil {
			return nil
		}
		c := *d
		c.Object = object(d.Object)
		return &c
	}
	generation := func(g *Generation) *Generation {
		if g == nil {
			return nil
		}
		c := *g
		c.Deployment = deployment(g.Deployment)
		return &c
	}
	c := *r
	c.Want, c.Current, c.Next = deployment(r.Want), generation(r.Current), generation(r.Next)
	return &c
}

// deployments returns the deployments of a record, each once.
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
