package jit

import (
	"github.com/cilium/ebpf"

	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// CompileIR is Compile from ir on, for tests that write ir.
func CompileIR(m *ir.Module, kind ebpf.ProgramType, p *firmware.Profile, opt *Options) (*nfp.Image, error) {
	m, err := runPasses(m, opt)
	if err != nil {
		return nil, err
	}
	env := &backend{name: m.Name, kind: kind, profile: p, opt: opt, model: opt.model(), headMoves: calls(m, helperAdjustHead),
		singleAdjust: adjustsOnce(m, p), done: map[string]*mach.Func{}}
	return env.compile(m, &stage{})
}

// Legalize is the pass alone.
func Legalize(m *ir.Module) (*ir.Module, error) { return legalize(m) }
