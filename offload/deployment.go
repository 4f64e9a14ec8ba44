package offload

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
)

// A Deployment is the desired state of a program: which one, on which ports, and how.
// It holds the whole object file, so the program can be restored without other files.
type Deployment struct {
	Name    string `json:"name"`    // also the name of the directory of pins
	Object  []byte `json:"object"`  // ELF, or any format that Options.Open reads
	Source  string `json:"source"`  // origin of Object, for display
	Program string `json:"program"` // name in the object; empty if it has only one
	Mode    Mode   `json:"mode"`
	// Settings are applied to the object each time it is read.
	Settings Settings `json:"settings,omitzero"`
	// Ports run the program. In an offloaded mode they must belong to one card.
	Ports []Ref `json:"ports"`
}

// Settings are the values that user space gives an object before loading it.
// Options.Open applies them.
type Settings struct {
	Type    string   `json:"type,omitempty"`    // of every program, regardless of its section's name: xdp or tc
	Set     []string `json:"set,omitempty"`     // NAME=VALUE: values of global variables
	Entries []string `json:"entries,omitempty"` // MAP=N: sizes of maps
}

// Equal reports whether two Settings are the same, in the same order.
func (s Settings) Equal(o Settings) bool {
	return s.Type == o.Type && slices.Equal(s.Set, o.Set) && slices.Equal(s.Entries, o.Entries)
}

// IsZero reports whether nothing is set.
func (s Settings) IsZero() bool { return s.Equal(Settings{}) }

// ValidName reports whether name is a valid name of a deployment. Names must stay
// inside their directory of pins and be readable, and the bpf file system does not
// allow dots.
func ValidName(name string) bool {
	if name == "" || len(name) > 64 || strings.Contains("_-", name[:1]) {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") == ""
}

// check returns an error if the deployment is invalid by itself.
func (d *Deployment) check() error {
	fail := func(reason, format string, args ...any) error {
		return &Error{Op: "deployment", Object: d.Name, Reason: reason, Msg: fmt.Sprintf(format, args...)}
	}
	if !ValidName(d.Name) {
		return &Error{Op: "deployment", Reason: "bad-name", Msg: fmt.Sprintf("name %.80q is not 1 to 64 letters and digits, with _ and - after the first", d.Name)}
	}
	if !slices.Contains(modes, d.Mode) {
		return fail("bad-state", "mode %q is unknown", string(d.Mode))
	}
	if len(d.Ports) == 0 {
		return fail("bad-state", "no ports")
	}
	for i, p := range d.Ports {
		if p.Name == "" {
			return fail("bad-state", "port %d has no name", i)
		}
		if slices.Contains(d.Ports[:i], p) {
			return fail("bad-state", "port %s is there twice", p)
		}
	}
	return nil
}

// Equal reports whether two deployments describe the same desired state.
func (d *Deployment) Equal(o *Deployment) bool {
	return d.Name == o.Name && d.Program == o.Program && d.Mode == o.Mode && d.Settings.Equal(o.Settings) &&
		slices.Equal(d.Ports, o.Ports) && bytes.Equal(d.Object, o.Object)
}

// brings reports whether loading o restores d: they are equal, or equal except for d's
// object, which was lost with the journal.
func (d *Deployment) brings(o *Deployment) bool {
	c := *d
	if len(c.Object) == 0 {
		c.Object = o.Object
	}
	return c.Equal(o)
}

// Digest returns the SHA-256 of the object.
func (d *Deployment) Digest() string {
	sum := sha256.Sum256(d.Object)
	return hex.EncodeToString(sum[:])
}

// An Opener reads an untrusted object file and applies settings to it. An *Error of its own
// keeps its reason.
type Opener func(data []byte, settings Settings) (*ebpf.CollectionSpec, error)

// openELF is the Opener for ELF objects. It applies no settings.
func openELF(data []byte, settings Settings) (*ebpf.CollectionSpec, error) {
	if !settings.IsZero() {
		return nil, &Error{Op: "read", Reason: "bad-setting", Msg: "this manager was made without a reader that applies settings (Options.Open)"}
	}
	return ebpf.LoadCollectionSpecFromReader(bytes.NewReader(data))
}

// maxObject is the maximum size of an object file, in bytes: a thousand times the
// largest program that a card can hold.
const maxObject = 64 << 20

// open reads a deployment's object and finds its program. A panic of the reader is
// converted to an error: the object is not trusted, and this process must keep
// running.
func (d *Deployment) open(read Opener) (coll *ebpf.CollectionSpec, prog *ebpf.ProgramSpec, err error) {
	bad := func(reason, format string, args ...any) error {
		return &Error{Op: "read", Object: d.Source, Reason: reason, Msg: fmt.Sprintf(format, args...)}
	}
	defer func() {
		if p := recover(); p != nil {
			coll, prog, err = nil, nil, bad("bad-object", "its reader failed: %.200v", p)
		}
	}()
	if len(d.Object) == 0 && d.Source == "" {
		return nil, nil, &Error{Op: "read", Object: d.Name, Reason: "bad-object", Msg: "the journal was rebuilt without the object of this deployment; load it from its file: nfpctl prog reload FILE " + d.Name}
	}
	if len(d.Object) > maxObject {
		return nil, nil, bad("bad-object", "%d bytes, the most is %d", len(d.Object), maxObject)
	}
	if coll, err = read(d.Object, d.Settings); err != nil {
		var own *Error
		if errors.As(err, &own) {
			return nil, nil, &Error{Op: "read", Object: d.Source, Reason: own.Reason, Msg: own.Msg, Err: own.Err}
		}
		return nil, nil, &Error{Op: "read", Object: d.Source, Reason: "bad-object", Msg: oneLine(err), Err: err}
	}
	want := ebpf.XDP
	if d.Mode.TC() {
		want = ebpf.SchedCLS
	}
	names := make([]string, 0, len(coll.Programs))
	for name, p := range coll.Programs {
		names = append(names, name)
		if p.Type == ebpf.UnspecifiedProgram { // as in iproute2, the hook determines the type if the section does not
			p.Type = want
		}
	}
	slices.Sort(names)
	switch {
	case d.Program != "" && coll.Programs[d.Program] == nil:
		return nil, nil, bad("no-program", "it has no program %.80q but %s", d.Program, list(names))
	case d.Program != "":
		prog = coll.Programs[d.Program]
	case len(names) != 1:
		return nil, nil, bad("no-program", "it has %d programs: %s", len(names), list(names))
	default:
		prog = coll.Programs[names[0]]
	}
	if prog.Type != want {
		return nil, nil, bad("wrong-type", "program %s is of type %v, mode %s takes %v", prog.Name, prog.Type, d.Mode, want)
	}
	return coll, prog, nil
}

// list joins up to ten names.
func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	if n := len(names); n > 10 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:10], ", "), n-10)
	}
	return strings.Join(names, ", ")
}

// oneLine returns an error's text without line breaks.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }
