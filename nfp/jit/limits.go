package jit

import (
	"cmp"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// limits refuses, before any code is generated, a program of a type that the
// card does not run. It also refuses accesses that always reach packet bytes
// which the card does not keep near the engine.
func limits(f *verify.Facts, p *firmware.Profile) error {
	env := &backend{name: f.Code.Name, code: f.Code}
	switch f.Code.Type {
	case ebpf.XDP, ebpf.SchedCLS, ebpf.SchedACT, ebpf.UnspecifiedProgram:
	default:
		env.refuse(verify.Reason{Reason: "program-type", Message: fmt.Sprintf("the card runs no programs of type %s", cmp.Or(asmtext.ProgramTypeName(f.Code.Type), f.Code.Type.String()))})
	}
	for i, m := range f.Mem {
		if m == nil || !f.Reachable[i] || m.Kind != verify.PtrPacket || m.Min+int64(m.Size) <= int64(p.CTMBytes()) {
			continue
		}
		env.refuse(verify.Reason{Reason: "packet-split", PC: f.Code.Insns[i].PC,
			Message: fmt.Sprintf("access to packet bytes %d to %d, firmware %s keeps %d near the engine", m.Min, m.Min+int64(m.Size)-1, p.Name, p.CTMBytes())})
	}
	if len(env.reasons) > 0 {
		return env.unsupported()
	}
	return nil
}
