package interp

import (
	"testing"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/maps"
)

// machine returns a machine for a program with new maps.
func machine(t testing.TB, spec *ebpf.ProgramSpec, ms map[string]*ebpf.MapSpec, opt *Options) *Machine {
	t.Helper()
	c, faults := code.New(spec, ms)
	if len(faults) > 0 {
		t.Fatalf("%v", faults)
	}
	var all []maps.Map
	for _, s := range c.Maps {
		m, err := maps.New(s, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
	}
	m, err := New(c, all, opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
