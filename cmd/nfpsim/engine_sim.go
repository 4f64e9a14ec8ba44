package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/driver"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// simEngine is the simulated card with a program loaded.
type simEngine struct {
	nic  *driver.NIC
	prog *driver.Program
	ran  bool
	from origin
}

// newSimEngine compiles a program, and those it may tail-call, and loads them.
func newSimEngine(obj *object.Object, name string, p *firmware.Profile, ran *counts) (*simEngine, error) {
	programs, err := programsOf(obj, name)
	if err != nil {
		return nil, err
	}
	return loadOn(programs, p, nil, ran)
}

// programsOf verifies a program and those it may tail-call.
func programsOf(obj *object.Object, name string) ([]*verify.Facts, error) {
	main, err := verified(obj, name, nil)
	if err != nil {
		return nil, err
	}
	programs := []*verify.Facts{main}
	for _, callee := range tailCallees(obj, main.Code) {
		f, err := verified(obj, callee, nil)
		if err != nil {
			return nil, err
		}
		programs = append(programs, f)
	}
	return programs, nil
}

// loadAll is loadOn for the default card, without measured frequencies.
func loadAll(programs []*verify.Facts, p *firmware.Profile) (*simEngine, error) {
	return loadOn(programs, p, nil, &counts{})
}

// loadOn puts programs that share maps onto a card; the first is the one to run.
func loadOn(programs []*verify.Facts, p *firmware.Profile, opt *driver.Options, ran *counts) (*simEngine, error) {
	nic, err := driver.New(p, opt)
	if err != nil {
		return nil, err
	}
	e := &simEngine{nic: nic}
	var model *nfp.Model
	if opt != nil && opt.Spec != nil {
		model = &opt.Spec.Model
	}
	use := lift.Agree(programs)
	var images []*nfp.Image
	for i, f := range programs {
		frequencies, err := ran.of(f)
		if err != nil {
			return nil, err
		}
		im, err := jit.Compile(f, p, &jit.Options{Use: use, Model: model, Counts: frequencies})
		if i == 0 {
			err = withMaps(err, programs, p)
		}
		if err != nil {
			return nil, err
		}
		images = append(images, im)
		for _, spec := range f.Code.Maps {
			if nic.Map(spec.Name) != nil {
				continue
			}
			if _, err := nic.CreateMap(spec); err != nil {
				return nil, err
			}
		}
	}
	for i, im := range images {
		prog, err := nic.Load(im, programs[i].Code.Type)
		if err != nil {
			return nil, err
		}
		if i == 0 {
			e.prog = prog
		}
	}
	return e, nil
}

// newWordsEngine loads micro-engine code as it is.
func newWordsEngine(arg string, stdin io.Reader, p *firmware.Profile) (*simEngine, error) {
	im, err := microcode(arg, stdin)
	if err != nil {
		return nil, err
	}
	nic, err := driver.New(p, nil)
	if err != nil {
		return nil, err
	}
	prog, err := nic.Load(im, ebpf.XDP)
	var load *driver.LoadError
	if errors.As(err, &load) && load.Reason == "map-missing" {
		load.Msg += ": microcode has no map definitions; run the object"
	}
	if err != nil {
		return nil, prefix(arg, err)
	}
	return &simEngine{nic: nic, prog: prog}, nil
}

func (e *simEngine) packet(data []byte) (outcome, error) {
	r, err := e.nic.Run(e.prog, &driver.Input{Packet: data, Ifindex: e.from.ifindex, RxQueue: e.from.rxQueue})
	if err != nil {
		return outcome{}, err
	}
	notes := r.Warnings
	if !e.ran {
		notes = append(e.absent(), notes...)
		e.ran = true
	}
	return outcome{r.Action, r.Packet, r.Issue, r.Helpers, r.Elapsed, notes, r.Events}, nil
}

// absent returns a warning for each array whose elements the program will not find,
// unlike in the kernel.
func (e *simEngine) absent() []string {
	var notes []string
	for _, m := range e.nic.Maps() {
		if m.Absent() {
			notes = append(notes, fmt.Sprintf("map %s: firmware %s finds an array's element only after a first write; --map %s=FILE.json makes all of them",
				m.Name(), e.nic.Profile.Name, m.Name()))
		}
	}
	return notes
}

func (e *simEngine) raw(mem []byte) (uint64, error) {
	r, err := e.nic.Run(e.prog, &driver.Input{Mem: mem})
	if err != nil {
		return 0, err
	}
	return r.R0, nil
}

func (e *simEngine) table(name string) (table, error) {
	if m := e.nic.Map(name); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no map %q; there are: %s", name, strings.Join(e.tables(), ", "))
}

func (e *simEngine) tables() []string {
	var names []string
	for _, m := range e.nic.Maps() {
		names = append(names, m.Name())
	}
	return names
}
