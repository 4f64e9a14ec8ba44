package difftest

import (
	"encoding/binary"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// Subject is a program that was verified, with all that its run depends on.
type Subject struct {
	Name    string // object:program
	Program *Program
	Facts   *verify.Facts
}

// Subjects returns the XDP programs of an object that our verifier accepts. Each has
// the corpus' packets, and a few entries in maps that the object leaves empty.
// Subjects omits all other programs, and objects that cannot be read: TestCorpus
// reports those.
func Subjects(file string) []Subject {
	obj, err := object.Load(file, nil)
	if err != nil {
		return nil
	}
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	var list []Subject
	for _, prog := range obj.Programs {
		spec := obj.Spec.Programs[prog]
		if spec.Type != ebpf.XDP {
			continue
		}
		c, err := obj.Code(prog)
		if err != nil {
			continue
		}
		f, err := verify.Verify(c, nil)
		if err != nil {
			continue
		}
		list = append(list, Subject{base + ":" + prog, withTraffic(spec, c), f})
	}
	return list
}

// withTraffic returns a program of the corpus as it is run.
func withTraffic(spec *ebpf.ProgramSpec, c *code.Code) *Program {
	p := &Program{Spec: spec, Maps: map[string]*ebpf.MapSpec{}, Initial: Contents{}, Packets: Traffic()}
	for _, m := range c.Maps {
		p.Maps[m.Name] = m
	}
	populate(p)
	return p
}

// populate puts something into maps that the object leaves empty, so that
// lookups find it: small numbers, the same for all engines.
func populate(p *Program) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, name := range sortedNames(p.Maps) {
		spec := p.Maps[name]
		if len(spec.Contents) > 0 || !hasValues(spec.Type) || spec.Flags != 0 || spec.KeySize < 4 {
			continue
		}
		for i := range min(spec.MaxEntries, 4) {
			e := Entry{make([]byte, spec.KeySize), make([]byte, spec.ValueSize)}
			binary.LittleEndian.PutUint32(e.Key, i)
			for at := 0; at+4 <= len(e.Value); at += 4 {
				binary.LittleEndian.PutUint32(e.Value[at:], rng.Uint32N(16))
			}
			p.Initial[name] = append(p.Initial[name], e)
		}
	}
}
