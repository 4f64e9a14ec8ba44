package jit

import (
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/ir"
	"github.com/nfpkit/nfpkit/nfp"
	"github.com/nfpkit/nfpkit/nfp/firmware"
	"github.com/nfpkit/nfpkit/nfp/jit/mach"
)

// backend is the state shared by the steps from legal ir to an image.
type backend struct {
	name         string
	kind         ebpf.ProgramType
	profile      *firmware.Profile
	code         *code.Code // nil in tests that begin with ir
	opt          *Options
	model        *nfp.Model            // what the chip's words and memories cost
	headMoves    bool                  // the packet's start moves while the program runs
	singleAdjust bool                  // adjust_head runs once at most, on an unmodified packet
	direct       string                // the one map of firmware with a direct array
	done         map[string]*mach.Func // functions compiled so far
	reasons      []verify.Reason
	pcs          []int32 // by word of the image: eBPF pc, -1 none
}

func newBackend(f *verify.Facts, m *ir.Module, p *firmware.Profile, opt *Options) *backend {
	return &backend{
		name: f.Code.Name, kind: f.Code.Type, profile: p, code: f.Code, opt: opt, model: opt.model(),
		headMoves: calls(m, helperAdjustHead), singleAdjust: adjustsOnce(m, p), done: map[string]*mach.Func{},
	}
}

// compile generates the image of a legal module.
func (env *backend) compile(m *ir.Module, at *stage) (*nfp.Image, error) {
	order, err := calleesFirst(m)
	if err != nil {
		return nil, err
	}
	var funcs []*mach.Func
	for _, f := range order {
		at.name, at.fn = "select", nil
		if widen(f) {
			f.Simplify()
			f.NumberValues()
			f.EliminateDeadCode()
		}
		mf := selectFunc(env, f, f == m.Funcs[0])
		at.fn = mf
		env.dump("select "+f.Name, mf)
		if err := env.checkText(mf); err != nil {
			return nil, err
		}
		err := mf.Run(&mach.Options{
			Model: env.model, Signals: env.profile.Signals, Count: env.opt.Counts.at, Small: env.opt.small, Off: env.opt.Off, Check: env.opt.Check,
			Before: func(pass string) { at.name = pass },
			After:  func(pass string) { env.dump(pass+" "+f.Name, mf) },
		})
		if err != nil {
			return nil, err
		}
		if err := env.checkText(mf); err != nil {
			return nil, err
		}
		env.done[f.Name] = mf
		funcs = append(funcs, mf)
	}
	stack := mach.PlaceFrames(funcs)
	if stack > env.profile.Stack {
		env.refuse(verify.Reason{Reason: "stack-size", PC: 0,
			Message: fmt.Sprintf("the program needs %d bytes of stack, firmware %s has %d", stack, env.profile.Name, env.profile.Stack)})
	}
	if len(env.reasons) > 0 {
		return nil, env.unsupported()
	}
	at.name, at.fn = "layout", nil
	slices.Reverse(funcs)
	im, pcs, err := mach.Layout(env.name, funcs, env.profile.MaxLen)
	if err != nil {
		return nil, err
	}
	im.Stack, env.pcs = stack, pcs
	if n := len(pcs); n > env.profile.MaxLen {
		env.refuse(verify.Reason{Reason: "code-size", PC: 0,
			Message: fmt.Sprintf("the program takes %d words, firmware %s has %d", n, env.profile.Name, env.profile.MaxLen)})
		return nil, env.unsupported()
	}
	if env.opt.Check {
		at.name = "hazards"
		if err := mach.CheckHazards(im); err != nil {
			return nil, err
		}
	}
	if env.opt.Dump != nil && !env.opt.DumpIR {
		env.opt.Dump("emit", nfp.Disassemble(im))
	}
	return im, nil
}

// checkText checks that a function's text reads back as the function. Comparisons of
// many programs, which dump the ir, skip this check: it would take a tenth of their
// time.
func (env *backend) checkText(f *mach.Func) error {
	if !env.opt.Check || env.opt.Dump != nil {
		return nil
	}
	return mach.CheckText(f)
}

func (env *backend) dump(pass string, f *mach.Func) {
	if env.opt.Dump != nil && !env.opt.DumpIR {
		env.opt.Dump(pass, f.String())
	}
}

// calleesFirst orders functions so that each follows those it calls; the entry is
// last.
func calleesFirst(m *ir.Module) ([]*ir.Func, error) {
	var order []*ir.Func
	state := map[string]int{} // 1 being visited, 2 done
	var visit func(f *ir.Func) error
	visit = func(f *ir.Func) error {
		state[f.Name] = 1
		for _, b := range f.Blocks {
			for _, v := range b.Values {
				if v.Op != ir.OpCallFunc || state[v.Sym] == 2 {
					continue
				}
				if state[v.Sym] == 1 {
					return fmt.Errorf("function %s calls itself", v.Sym)
				}
				callee := m.Func(v.Sym)
				if callee == nil {
					return fmt.Errorf("no function %s", v.Sym)
				}
				if err := visit(callee); err != nil {
					return err
				}
			}
		}
		state[f.Name] = 2
		order = append(order, f)
		return nil
	}
	return order, visit(m.Funcs[0])
}

// refuse records a reason, with the instruction's text and place.
func (env *backend) refuse(r verify.Reason) {
	i := code.None
	if env.code != nil {
		i = env.code.Index(r.PC)
	}
	env.reasons = append(env.reasons, verify.Place(env.code, i, r))
}

func (env *backend) unsupported() error {
	slices.SortStableFunc(env.reasons, func(x, y verify.Reason) int { return x.PC - y.PC })
	return &Unsupported{Program: env.name, Reasons: env.reasons}
}

func (env *backend) tc() bool { return env.kind == ebpf.SchedCLS || env.kind == ebpf.SchedACT }

// word is the result word of a verdict.
func (env *backend) word(r0 uint32) uint32 {
	if env.tc() {
		return env.profile.TCWord(r0)
	}
	return env.profile.XDPWord(r0)
}

// abortWord is the result word of a failed classic packet load.
func (env *backend) abortWord() uint32 { return env.word(0) }

// verdict is a return code that has a result word of its own.
type verdict struct{ code, word uint32 }

// verdicts are the return codes whose result word differs from that of all the
// rest, which comes second.
func (env *backend) verdicts() ([]verdict, uint32) {
	rest := env.word(^uint32(0))
	var out []verdict
	order := []uint32{2, 1, 3, 0, 4, 5, 6, 7} // XDP_PASS and TC_ACT_SHOT before the rarer ones
	for _, c := range order {
		if w := env.word(c); w != rest {
			out = append(out, verdict{c, w})
		}
	}
	return out, rest
}

// mapSpec is the map called name, or nil.
func (env *backend) mapSpec(name string) *ebpf.MapSpec {
	if env.code == nil {
		return nil
	}
	names := lift.MapNames(env.code)
	for i, m := range env.code.Maps {
		if names[i] == name {
			return m
		}
	}
	return nil
}

// directMap reports whether firmware with a direct array can hold the map: there
// is only one, of a power of two entries.
func (env *backend) directMap(name string, m *ebpf.MapSpec) bool {
	if env.direct == "" {
		env.direct = name
	}
	return env.direct == name && lift.DirectArray(m)
}

// calls reports whether the program calls a helper anywhere.
func calls(m *ir.Module, helper int64) bool {
	for _, f := range m.Funcs {
		for _, b := range f.Blocks {
			for _, v := range b.Values {
				if v.Op == ir.OpCallHelper && v.Int == helper {
					return true
				}
			}
		}
	}
	return false
}

// adjustsOnce reports whether the program's one adjust_head is outside of loops
// and sees the packet as the firmware delivered it: no tail call leads here, and
// nothing else moves the packet's ends.
func adjustsOnce(m *ir.Module, p *firmware.Profile) bool {
	if p.Offers(helperTailCall) {
		return false
	}
	sites := 0
	for i, f := range m.Funcs {
		depth := f.LoopDepths(f.ReversePostorder())
		for _, b := range f.Blocks {
			for _, v := range b.Values {
				if v.Op != ir.OpCallHelper || v.Int != helperAdjustHead && v.Int != helperAdjustTail {
					continue
				}
				if sites++; i > 0 || depth[b.ID] > 0 || v.Int == helperAdjustTail {
					return false
				}
			}
		}
	}
	return sites == 1
}

// lines returns the instructions and source lines from which words were
// compiled.
func lines(c *code.Code, pcs []int32) []nfp.Line {
	known := make([]nfp.Line, len(c.Insns)) // by instruction, filled on demand
	source := sourceLines(c)
	last, n := int32(-2), 0
	for _, pc := range pcs {
		if pc != last {
			last = pc
			n++
		}
	}
	out := make([]nfp.Line, 0, n)
	last = -2
	for at, pc := range pcs {
		if pc == last {
			continue
		}
		last = pc
		i := code.None
		if pc >= 0 {
			i = c.Index(int(pc))
		}
		if i == code.None {
			out = append(out, nfp.Line{Addr: at, PC: -1})
			continue
		}
		l := &known[i]
		if l.Insn == "" {
			l.PC, l.Insn = int(pc), asmtext.Format(c.Insns[i].Instruction)
			if src := source[i]; src != nil {
				l.File, l.Line, l.Text = src.FileName(), int(src.LineNumber()), src.Line()
			}
		}
		out = append(out, *l)
		out[len(out)-1].Addr = at
	}
	return out
}

// sourceLines is Code.Line of every instruction.
func sourceLines(c *code.Code) []*btf.Line {
	out := make([]*btf.Line, len(c.Insns))
	for _, f := range c.Funcs {
		var last *btf.Line
		for i := f.Start; i < f.End; i++ {
			if l, ok := c.Insns[i].Source().(*btf.Line); ok {
				last = l
			}
			out[i] = last
		}
	}
	return out
}
