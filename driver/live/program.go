package live

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver/linux"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/jit"
	"github.com/nfpkit/nfpkit/offload"
)

// program is a program compiled for the card.
type program struct {
	count  int
	id     uint32
	name   string
	tag    string
	typ    ebpf.ProgramType
	insns  asm.Instructions
	image  *nfp.Image
	maps   map[string]*table
	device int
	gone   bool
	loaded int64
}

func (p *program) refs() *int { return &p.count }

func (p *program) free(c *Card) {
	delete(c.programs, p.id)
	for _, t := range p.maps {
		c.drop(t)
	}
}

func (p *program) info() offload.ProgramInfo {
	i := offload.ProgramInfo{ID: p.id, Name: p.name, Type: p.typ, Tag: p.tag, Device: p.device, Gone: p.gone, Insns: int(p.insns.Size()), Xlated: p.insns, Loaded: p.loaded}
	for _, w := range p.image.Words {
		i.Jited = append(i.Jited, uint64(w))
	}
	i.Words = len(i.Jited)
	i.JitedBytes = 8 * i.Words
	for _, t := range p.maps {
		i.Maps = append(i.Maps, t.id)
	}
	slices.Sort(i.Maps)
	return i
}

type programHandle struct {
	*handle
	p *program
}

func (h programHandle) ID() uint32 { return h.p.id }

func (h programHandle) Info() (offload.ProgramInfo, error) {
	h.k.c.mu.Lock()
	defer h.k.c.mu.Unlock()
	return h.p.info(), nil
}

// LoadProgram verifies, checks and compiles a program.
func (k *Kernel) LoadProgram(spec *ebpf.ProgramSpec, maps map[string]offload.Map, on *offload.Port) (offload.Program, error) {
	fail := func(reason, msg string, err error, log []string) (offload.Program, error) {
		return nil, &offload.Error{Op: "load", Object: "program " + spec.Name, Reason: reason, Msg: msg, Err: err, Log: log}
	}
	if on == nil {
		return fail("no-native", "the simulated card has no host to run it on", nil, nil)
	}
	if spec.Type != ebpf.XDP && spec.Type != ebpf.SchedCLS {
		return fail("wrong-type", fmt.Sprintf("programs of type %v do not run on a card", spec.Type), nil, nil)
	}
	tables := map[string]*table{}
	specs := map[string]*ebpf.MapSpec{}
	for name, m := range maps {
		h, ok := m.(mapHandle)
		if !ok {
			return fail("wrong-device", fmt.Sprintf("map %s is not on this card", name), nil, nil)
		}
		tables[name], specs[name] = h.t, h.t.spec
	}
	image, log, err := k.compile(spec, specs)
	if err != nil {
		return fail(reasonOf(err), err.Error(), err, log)
	}
	var text bytes.Buffer
	if err := spec.Instructions.Marshal(&text, binary.LittleEndian); err != nil {
		return fail("bad-object", err.Error(), err, nil)
	}
	sum := sha256.Sum256(text.Bytes())
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	if _, err := k.c.byIndex("load", on); err != nil {
		return nil, err
	}
	p := &program{
		name: spec.Name, tag: hex.EncodeToString(sum[:8]), typ: spec.Type, image: image, maps: map[string]*table{}, device: on.Index,
		insns: spec.Copy().Instructions,
	}
	for _, t := range tables {
		if err := t.onCard(k.c); err != nil {
			return fail("map-create", err.Error(), err, nil)
		}
	}
	for _, use := range image.Maps {
		t := tables[use.Name]
		if t.gone {
			return fail("gone", fmt.Sprintf("map %s was on a card that was removed", use.Name), nil, nil)
		}
		if err := t.m.MarkUse(use.Words); err != nil {
			return fail("driver-rejected", err.Error(), err, nil)
		}
	}
	for i := range spec.Instructions {
		if ins := &spec.Instructions[i]; ins.IsLoadFromMap() && p.maps[ins.Reference()] == nil {
			t := tables[ins.Reference()]
			p.maps[ins.Reference()] = t
			k.c.hold(t)
		}
	}
	k.c.lastID++
	k.c.loaded++
	p.id, p.loaded = k.c.lastID, k.c.loaded
	k.c.programs[p.id] = p
	return programHandle{k.handle(p), p}, nil
}

// compile runs verifier, the driver's rules and compiler on a program. log has every
// reason.
func (k *Kernel) compile(spec *ebpf.ProgramSpec, specs map[string]*ebpf.MapSpec) (im *nfp.Image, log []string, err error) {
	c, faults := code.New(spec, specs)
	for _, f := range faults {
		log = append(log, fmt.Sprintf("pc %d: %s (%s)", f.PC, f.Msg, f.Reason))
	}
	if len(faults) > 0 {
		return nil, log, &faultError{log[0]}
	}
	facts, err := verify.Verify(c, nil)
	var rejected *verify.Rejection
	if errors.As(err, &rejected) {
		return nil, lines(rejected.Reasons), err
	}
	if err != nil {
		return nil, nil, err
	}
	if reasons := linux.NewView(facts, nil).Check(k.c.profile, 0); len(reasons) > 0 {
		return nil, lines(reasons), &driverError{reasons[0].At(spec.Name)}
	}
	im, err = jit.Compile(facts, k.c.profile, nil)
	var unsupported *jit.Unsupported
	if errors.As(err, &unsupported) {
		return nil, lines(unsupported.Reasons), err
	}
	return im, nil, err
}

func lines(reasons []verify.Reason) []string {
	var log []string
	for _, r := range reasons {
		log = append(log, fmt.Sprintf("pc %d: %s: %s (%s)", r.PC, r.Insn, r.Message, r.Reason))
	}
	return log
}

// faultError is the error of a malformed program, driverError that of a program that
// breaks a rule of the Linux driver.
type (
	faultError  struct{ msg string }
	driverError struct{ msg string }
)

func (e *faultError) Error() string  { return e.msg }
func (e *driverError) Error() string { return e.msg }

// reasonOf returns the reason word for the step that refused.
func reasonOf(err error) string {
	var drv *driverError
	var unsupported *jit.Unsupported
	var bug *jit.Bug
	switch {
	case errors.As(err, &drv):
		return "driver-rejected"
	case errors.As(err, &unsupported):
		for _, r := range unsupported.Reasons {
			if r.Reason == "code-size" || r.Reason == "stack-size" {
				return "program-size"
			}
		}
		return "not-translated"
	case errors.As(err, &bug):
		return "not-translated"
	}
	return "rejected"
}

// Swap replaces the program of a port between two packets.
func (k *Kernel) Swap(p *offload.Port, mode offload.Mode, old, new offload.Program) error {
	fail := func(reason, format string, args ...any) error {
		return &offload.Error{Op: "attach", Object: p.Ref().String(), Reason: reason, Msg: fmt.Sprintf(format, args...)}
	}
	if !mode.Offloaded() {
		return fail("no-native", "the simulated card has no host for mode %s", mode)
	}
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	q, err := k.c.byIndex("attach", p)
	if err != nil {
		return err
	}
	was := uint32(0)
	if q.runs != nil {
		if was = q.runs.id; q.mode != mode {
			return fail("card-busy", "program %d runs in mode %s", was, q.mode)
		}
	}
	var expected uint32
	if old != nil {
		expected = old.ID()
	}
	if was != expected {
		return fail("program-changed", "program %d stands there, expected is %d", was, expected)
	}
	if new == nil {
		return k.c.put(q, mode, nil)
	}
	h, ok := new.(programHandle)
	switch {
	case !ok || h.p.gone:
		return fail("wrong-device", "the program is not of this card")
	case (h.p.typ == ebpf.SchedCLS) != mode.TC():
		return fail("wrong-type", "program of type %v in mode %s", h.p.typ, mode)
	}
	if err := k.c.put(q, mode, h.p); err != nil {
		return fail("attach-failed", "%v", err)
	}
	return nil
}

// put links a program for a port's slot and writes it there. A nil program empties the
// slot.
func (c *Card) put(q *port, mode offload.Mode, p *program) error {
	was := q.runs
	if p == nil {
		if err := c.nic.Displace(q.start); err != nil {
			return err
		}
		q.runs, q.placed, q.mode = nil, nil, ""
	} else {
		place := nfp.Placement{Start: q.start, Done: c.profile.Done, Helpers: c.profile.Helpers, MapID: map[string]uint32{}, MapBase: map[string]uint64{}}
		for name, t := range p.maps {
			place.MapID[name], place.MapBase[name] = t.m.ID, t.m.Base()
		}
		words, err := p.image.Link(place)
		if err != nil {
			return err
		}
		placed, err := c.nic.Place(p.name, q.start, words)
		if err != nil {
			return err
		}
		c.hold(p)
		q.runs, q.placed, q.mode = p, placed, mode
	}
	if was != nil {
		c.drop(was)
	}
	c.notify(offload.Event{Port: q.Ref()})
	return nil
}
