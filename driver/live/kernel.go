package live

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/nfpkit/nfpkit/offload"
)

// Kernel is a card as seen by one process. It implements offload.Kernel.
type Kernel struct {
	c    *Card
	held map[*handle]bool
}

var _ offload.Kernel = (*Kernel)(nil)

// Open starts a process.
func (c *Card) Open() *Kernel { return &Kernel{c: c, held: map[*handle]bool{}} }

// Close ends the process. Objects with no other reference are freed.
func (k *Kernel) Close() {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	for h := range k.held {
		k.c.drop(h.o)
	}
	k.held = map[*handle]bool{}
}

// handle is one reference of a process to an object, like a file descriptor.
type handle struct {
	k *Kernel
	o object
}

func (k *Kernel) handle(o object) *handle {
	h := &handle{k, o}
	k.held[h] = true
	k.c.hold(o)
	return h
}

// Close drops the reference. Closing again has no effect.
func (h *handle) Close() error {
	h.k.c.mu.Lock()
	defer h.k.c.mu.Unlock()
	if h.k.held[h] {
		delete(h.k.held, h)
		h.k.c.drop(h.o)
	}
	return nil
}

// Boot returns the number of the card's reboots, as text.
func (k *Kernel) Boot() string {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	return fmt.Sprint("boot-", k.c.boots)
}

// Ports lists the card's interfaces of a namespace.
func (k *Kernel) Ports(netns string, names ...string) ([]offload.Port, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	var all []offload.Port
	for _, p := range k.c.ports {
		if p.Netns == netns && (len(names) == 0 || slices.Contains(names, p.Name)) {
			all = append(all, p.Port)
		}
	}
	return all, nil
}

// Objects lists programs and maps.
func (k *Kernel) Objects() ([]offload.Object, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	var all []offload.Object
	for id := range k.c.lastID + 1 {
		if p := k.c.programs[id]; p != nil {
			info := p.info()
			all = append(all, offload.Object{Program: &info})
		}
	}
	for id := range k.c.lastID + 1 {
		if t := k.c.maps[id]; t != nil {
			info := t.info()
			all = append(all, offload.Object{Map: &info})
		}
	}
	return all, nil
}

func noObject(op, what string) error {
	return &offload.Error{Op: op, Object: what, Reason: "no-object", Msg: "there is none"}
}

// Program opens a program by id.
func (k *Kernel) Program(id uint32) (offload.Program, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if p := k.c.programs[id]; p != nil {
		return programHandle{k.handle(p), p}, nil
	}
	return nil, noObject("open", fmt.Sprintf("program %d", id))
}

// Map opens a map by id.
func (k *Kernel) Map(id uint32) (offload.Map, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if t := k.c.maps[id]; t != nil {
		return mapHandle{k.handle(t), t}, nil
	}
	return nil, noObject("open", fmt.Sprintf("map %d", id))
}

// Pin names an object.
func (k *Kernel) Pin(o offload.Pinner, path string) error {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	var what object
	switch h := o.(type) {
	case programHandle:
		what = h.p
	case mapHandle:
		what = h.t
	default:
		return &offload.Error{Op: "pin", Object: path, Reason: "pin", Msg: fmt.Sprintf("%T is not of this kernel", o)}
	}
	if k.c.pins[path] != nil {
		return &offload.Error{Op: "pin", Object: path, Reason: "pin", Msg: "the name is taken"}
	}
	k.c.pins[path] = what
	k.c.hold(what)
	return nil
}

// PinnedProgram opens a program by its pin.
func (k *Kernel) PinnedProgram(path string) (offload.Program, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if p, ok := k.c.pins[path].(*program); ok {
		return programHandle{k.handle(p), p}, nil
	}
	return nil, noObject("open", path)
}

// PinnedMap opens a map by its pin.
func (k *Kernel) PinnedMap(path string) (offload.Map, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if t, ok := k.c.pins[path].(*table); ok {
		return mapHandle{k.handle(t), t}, nil
	}
	return nil, noObject("open", path)
}

// Pins lists a directory.
func (k *Kernel) Pins(dir string) ([]string, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if dir = strings.Trim(dir, "/"); dir != "" {
		dir += "/"
	}
	var names []string
	for path := range k.c.pins {
		rest, ok := strings.CutPrefix(path, dir)
		if !ok {
			continue
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			rest = rest[:i+1]
		}
		if !slices.Contains(names, rest) {
			names = append(names, rest)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Unpin removes a pin or directory with all pins below it.
func (k *Kernel) Unpin(path string) error {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	path = strings.Trim(path, "/")
	var gone []string
	for p := range k.c.pins {
		if p == path || strings.HasPrefix(p, path+"/") {
			gone = append(gone, p)
		}
	}
	slices.Sort(gone)
	for _, p := range gone {
		o := k.c.pins[p]
		delete(k.c.pins, p)
		k.c.drop(o)
	}
	return nil
}

// Attached lists the programs attached to a port: at most one.
func (k *Kernel) Attached(p *offload.Port) ([]offload.Attachment, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	q, err := k.c.byIndex("read", p)
	if err != nil || q.runs == nil {
		return nil, err
	}
	return []offload.Attachment{{Mode: q.mode, Program: q.runs.id, InHardware: true}}, nil
}

// Hook has nothing to do: the card needs no qdisc.
func (k *Kernel) Hook(*offload.Port, offload.Mode, bool) (bool, error) { return false, nil }

// Verdicts returns the port's counters since the card was plugged in.
func (k *Kernel) Verdicts(p *offload.Port) (offload.Verdicts, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	q, err := k.c.byIndex("count", p)
	if err != nil {
		return offload.Verdicts{}, err
	}
	return q.verdicts, nil
}

// Watch sends the changes in every namespace.
func (k *Kernel) Watch(ctx context.Context, _ ...string) (<-chan offload.Event, error) {
	const room = 16
	events := make(chan offload.Event, room)
	k.c.mu.Lock()
	k.c.watchers[events] = true
	k.c.mu.Unlock()
	context.AfterFunc(ctx, func() {
		k.c.mu.Lock()
		defer k.c.mu.Unlock()
		delete(k.c.watchers, events)
		close(events)
	})
	return events, nil
}
