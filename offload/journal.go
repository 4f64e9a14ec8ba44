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

// The journal keeps, per deployment, what should run, what is known to run, and the
// operation that is under way. A step is written down before it is done, and each write
// replaces the whole file in one step. So whatever moment the process dies at, the next
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
	// Boot is the id of the kernel's boot in which it was made. Programs, maps and pins end
	// with it. Empty: written before journals had it, or rebuilt.
	Boot string `json:"boot,omitempty"`
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
	// Lost: the generation before had a map of this name that was no more, so this one
	// started empty.
	Lost bool `json:"contents_lost,omitempty"`
}

// A Snapshot is what the journal holds at one moment.
type Snapshot struct {
	Version  int    // of the file's format; 0: there is no journal yet
	Sequence uint64 // counts the writes
	Written  time.Time
	Records  map[string]*Record // by name
}

// The file is one line of text and a body in JSON:
//
//	nfpkit-journal VERSION SEQUENCE LENGTH SHA256
//
// LENGTH is the body's, in bytes; SHA256 is that of the three numbers and the body, so a
// file that was cut, exchanged in part or changed in any bit is not taken for a journal.
const (
	journalMagic = "nfpkit-journal "
	// journalVersion is 3 since deployments have settings: a program that does not know them
	// must not load an object without them. Version 2 is the same without settings.
	journalVersion = 3
	// maxJournal bounds the file, in bytes: garbage of any size must not exhaust memory.
	maxJournal = 1 << 30
)

// journalBody is the body. Deployments name their objects by digest, not to hold them twice.
type journalBody struct {
	Written time.Time          `json:"written"`
	Records map[string]*Record `json:"deployments"`
	Objects map[string][]byte  `json:"objects"`
}

// errNewer is the version of a file that a newer program wrote.
type errNewer int

func (v errNewer) Error() string {
	return fmt.Sprintf("its format is version %d, this nfpctl knows those up to %d", int(v), journalVersion)
}

// journalSum is the checksum of the header's numbers and the body.
func journalSum(numbers string, body []byte) string {
	h := sha256.New()
	h.Write([]byte(numbers + "\n"))
	h.Write(body)
	return hex.EncodeToString(h.Sum(nil))
}

// encode is the journal's file.
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

// decodeJournal reads a file of any version. Its errors say how the file is damaged; one
// of type errNewer says that it is not.
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

// journalHeader checks a file's header and checksum, and returns a Snapshot without records
// and the body.
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

// resolve puts objects in the place of their digests, after holding each against it: a
// program of changed bytes must never be loaded.
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

// withObjects is a copy of a record with other objects.
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
