//go:build linux

package difftest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/object"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// objectRivals are the programs of an object, with the corpus' packets and a few
// entries in maps that it leaves empty.
func objectRivals(t *testing.T, file string) (names []string, list []rival) {
	t.Helper()
	base := strings.TrimSuffix(filepath.Base(file), filepath.Ext(file))
	obj, err := object.Load(file, nil)
	if err != nil {
		return nil, nil // TestCorpus tells of it
	}
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
		p := &Program{Spec: spec, Maps: map[string]*ebpf.MapSpec{}, Initial: Contents{}, Packets: traffic()}
		for _, m := range c.Maps {
			p.Maps[m.Name] = m
		}
		populate(p)
		names, list = append(names, base+":"+prog), append(list, rival{p, f})
	}
	return names, list
}
