package object

import (
	"strings"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// A section's name implies the type of its program. cilium/ebpf matches libbpf's names
// as prefixes. This file adds:
//
//   - libbpf's names before 1.0: xdp_devmap/ and xdp_cpumap/;
//   - iproute2's: "prog" is the section that ip link's xdp loads by default; its
//     examples for tc have "ingress", "egress", "cls…" and "act…";
//   - iproute2's tail calls, "ID/KEY" in decimal: they have the type of all other
//     programs of the object.
//
// A prefix that ends inside a word does not match: "tcp_filter" is not a tc program.

// setTypes sets the types of the programs.
func (o *Object) setTypes(opt *Options) {
	common := ebpf.UnspecifiedProgram
	mixed := false
	for _, name := range o.Programs {
		p := o.Spec.Programs[name]
		sectionType(p)
		if p.Type != ebpf.UnspecifiedProgram {
			mixed = mixed || common != ebpf.UnspecifiedProgram && common != p.Type
			common = p.Type
		}
	}
	for _, name := range o.Programs {
		p := o.Spec.Programs[name]
		switch untyped := p.Type == ebpf.UnspecifiedProgram && p.SectionName != ""; {
		case opt.Type != ebpf.UnspecifiedProgram:
			if p.Type != opt.Type { // what another type's section implied, as being sleepable
				p.Flags, p.AttachTo = 0, ""
			}
			p.Type, p.AttachType = opt.Type, ebpf.AttachNone
		case untyped && opt.Hook != ebpf.UnspecifiedProgram:
			p.Type = opt.Hook
		case untyped && isTailCall(p.SectionName) && !mixed:
			p.Type = common
		}
	}
}

// sectionType corrects the type that cilium/ebpf found by the section's name.
func sectionType(p *ebpf.ProgramSpec) {
	section := strings.TrimPrefix(p.SectionName, "?")
	word := section // up to what is no letter
	if i := strings.IndexFunc(section, func(r rune) bool { return r < 'a' || r > 'z' }); i >= 0 {
		word = section[:i]
	}
	switch {
	case strings.HasPrefix(section, "xdp_devmap"):
		p.AttachType = ebpf.AttachXDPDevMap
	case strings.HasPrefix(section, "xdp_cpumap"):
		p.AttachType = ebpf.AttachXDPCPUMap
	case p.Type == ebpf.SchedCLS && strings.HasPrefix(section, "tc") && word != "tc" && word != "tcx":
		p.Type, p.AttachType = ebpf.UnspecifiedProgram, ebpf.AttachNone
	case p.Type != ebpf.UnspecifiedProgram:
	case section == "prog":
		p.Type, p.AttachType = ebpf.XDP, ebpf.AttachXDP
	case section == "ingress", section == "egress", word == "cls":
		p.Type = ebpf.SchedCLS
	case word == "act":
		p.Type = ebpf.SchedACT
	}
}

// isTailCall reports whether a section has the name that iproute2 gives targets
// of tail calls: two numbers.
func isTailCall(section string) bool {
	id, key, ok := strings.Cut(section, "/")
	return ok && id != "" && key != "" && strings.Trim(id+key, "0123456789") == ""
}

// untyped returns the fault of a program whose section implies no type. Text can have
// a program without a section: it is raw, and runs on plain memory.
func untyped(p *ebpf.ProgramSpec) []code.Fault {
	if p.Type != ebpf.UnspecifiedProgram || p.SectionName == "" {
		return nil
	}
	return []code.Fault{{Reason: "unknown-type", Msg: "section " + printable(p.SectionName) + " does not say what type of program it holds"}}
}
