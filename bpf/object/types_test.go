package object

import (
	"debug/elf"
	"errors"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// withSections returns an object with one program in each section, called as its
// place in the list.
func withSections(names ...string) *build {
	b := newBuild()
	for i, name := range names {
		s := b.code(name, asm.Mov.Imm(asm.R0, 2), asm.Return())
		b.symbol(string(rune('a'+i)), s, elf.STB_GLOBAL, elf.STT_FUNC, 0, 16)
	}
	return b
}

func TestTypesOfSections(t *testing.T) {
	for section, want := range map[string]struct {
		typ    ebpf.ProgramType
		attach ebpf.AttachType
	}{
		"xdp": {ebpf.XDP, ebpf.AttachXDP}, "xdp_drop": {ebpf.XDP, ebpf.AttachXDP}, "xdp/eth0": {ebpf.XDP, ebpf.AttachXDP},
		"xdp-tx": {ebpf.XDP, ebpf.AttachXDP}, "?xdp": {ebpf.XDP, ebpf.AttachXDP}, "xdp.frags": {ebpf.XDP, ebpf.AttachXDP},
		"xdp/devmap": {ebpf.XDP, ebpf.AttachXDPDevMap}, "xdp_devmap/egress": {ebpf.XDP, ebpf.AttachXDPDevMap},
		"xdp/cpumap": {ebpf.XDP, ebpf.AttachXDPCPUMap}, "xdp_cpumap/x": {ebpf.XDP, ebpf.AttachXDPCPUMap},
		"prog":       {ebpf.XDP, ebpf.AttachXDP},
		"classifier": {ebpf.SchedCLS, 0}, "classifier_egress": {ebpf.SchedCLS, 0}, "cls-ingress": {ebpf.SchedCLS, 0},
		"cls_main": {ebpf.SchedCLS, 0}, "cls": {ebpf.SchedCLS, 0}, "tc": {ebpf.SchedCLS, 0}, "tc_mark": {ebpf.SchedCLS, 0},
		"tc1": {ebpf.SchedCLS, 0}, "tc/ingress": {ebpf.SchedCLS, ebpf.AttachTCXIngress}, "ingress": {ebpf.SchedCLS, 0}, "egress": {ebpf.SchedCLS, 0},
		"action": {ebpf.SchedACT, 0}, "action_x": {ebpf.SchedACT, 0}, "act": {ebpf.SchedACT, 0}, "act-main": {ebpf.SchedACT, 0},
		"kprobe/x": {ebpf.Kprobe, 0}, "socket1": {ebpf.SocketFilter, 0},
		"tcp_filter": {}, "tcpdump": {}, "active": {}, "clsx": {}, "program": {}, "prog1": {}, "transit": {}, "drop": {}, "filter": {},
		"from-container": {}, "2/7": {}, "ingress1": {},
	} {
		p := withSections(section).read(t, nil).Spec.Programs["a"]
		if p.Type != want.typ || p.AttachType != want.attach {
			t.Errorf("%s: %v, attach %v; want %v, %v", section, p.Type, p.AttachType, want.typ, want.attach)
		}
	}
}

// TestTailCallSections has programs in iproute2's sections for tail calls,
// beside others.
func TestTailCallSections(t *testing.T) {
	for sections, want := range map[string]ebpf.ProgramType{
		"2/7 tc ingress": ebpf.SchedCLS, "2/7 xdp": ebpf.XDP, "2/7 xdp tc": 0, "2/7 other": 0, "2/x tc": 0, "2/7": 0,
	} {
		if p := withSections(strings.Fields(sections)...).read(t, nil).Spec.Programs["a"]; p.Type != want {
			t.Errorf("%s: %v, want %v", sections, p.Type, want)
		}
	}
}

// TestTypesGiven has types that the caller gives.
func TestTypesGiven(t *testing.T) {
	b := withSections("xdp", "odd", "2/1", "xdp/devmap")
	types := func(opt *Options) (all []ebpf.ProgramType) {
		o := b.read(t, opt)
		for _, name := range o.Programs {
			all = append(all, o.Spec.Programs[name].Type)
		}
		return all
	}
	check := func(got []ebpf.ProgramType, want ...ebpf.ProgramType) {
		t.Helper()
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("types %v, want %v", got, want)
				break
			}
		}
	}
	check(types(nil), ebpf.XDP, 0, ebpf.XDP, ebpf.XDP)
	check(types(&Options{Hook: ebpf.SchedCLS}), ebpf.XDP, ebpf.SchedCLS, ebpf.SchedCLS, ebpf.XDP)
	check(types(&Options{Type: ebpf.SchedCLS}), ebpf.SchedCLS, ebpf.SchedCLS, ebpf.SchedCLS, ebpf.SchedCLS)

	if p := b.read(t, &Options{Type: ebpf.XDP}).Spec.Programs["d"]; p.AttachType != ebpf.AttachNone {
		t.Errorf("a type that was given keeps attach type %v", p.AttachType)
	}

	// What a section of another type implies, as that the program may sleep, Linux refuses
	// for the type that is given.
	b = withSections("fentry.s/tcp_v4_connect", "lsm.s/bpf", "freplace/f", "xdp.frags")
	const frags = 1 << 5
	for name, p := range b.read(t, &Options{Type: ebpf.XDP}).Spec.Programs {
		if p.AttachTo != "" || p.Flags&^frags != 0 || (p.Flags == frags) != (p.SectionName == "xdp.frags") {
			t.Errorf("%s: section %s implies flags %#x, attach to %q", name, p.SectionName, p.Flags, p.AttachTo)
		}
	}
}

// TestUnknownType checks that a missing type is reported once.
func TestUnknownType(t *testing.T) {
	o := withSections("transit").read(t, nil)
	if len(o.Notes) > 0 {
		t.Errorf("notes: %v", o.Notes)
	}
	_, err := o.Code("")
	var fe *FaultError
	if !errors.As(err, &fe) || len(fe.Faults) != 1 || fe.Faults[0].Reason != "unknown-type" {
		t.Fatalf("error %v", err)
	}
	wantError(t, err, "built.o: program a: pc 0: section transit does not say what type of program it holds (unknown-type)")
	for _, opt := range []*Options{{Type: ebpf.XDP}, {Hook: ebpf.XDP}} {
		if _, err := withSections("transit").read(t, opt).Code(""); err != nil {
			t.Error(err)
		}
	}
}
