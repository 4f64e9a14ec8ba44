package verify

import (
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/code"
)

// Global functions as Linux verifies them: once, by the types of their arguments, if
// the program calls them. After a call only one fact is known of the result: it is a
// number (kernel/bpf/btf.c, btf_prepare_func_args; verifier.c, check_func_call).

// global reports whether function f is verified by its types.
func (x *explorer) global(f int) bool {
	return x.opt.Linux && isGlobal(x.c, f)
}

func isGlobal(c *code.Code, f int) bool {
	d := declared(c, f)
	return f > 0 && d != nil && d.Linkage == btf.GlobalFunc
}

// declared returns function f's declaration in BTF, or nil.
func declared(c *code.Code, f int) *btf.Func {
	return btf.FuncMetadata(&c.Insns[c.Funcs[f].Start].Instruction)
}

// argument is what an argument of a global function may be.
type argument struct {
	kind Kind // Scalar, PtrCtx, or PtrMapValueOrNull for a pointer to size bytes or NULL
	size uint32
}

// argumentsOf returns the arguments of function f; ok is false if Linux refuses a
// type.
func (x *explorer) argumentsOf(f int) (args []argument, ok bool) {
	proto, ok := declared(x.c, f).Type.(*btf.FuncProto)
	if !ok || len(proto.Params) > 5 {
		return nil, false
	}
	for _, p := range proto.Params {
		switch t := btf.UnderlyingType(p.Type).(type) {
		case *btf.Int, *btf.Enum:
			args = append(args, argument{kind: Scalar})
		case *btf.Pointer:
			if s, ok := btf.UnderlyingType(t.Target).(*btf.Struct); ok && s.Name == contextName(x.c.Type) {
				args = append(args, argument{kind: PtrCtx})
				continue
			}
			size, err := btf.Sizeof(t.Target)
			if err != nil || size == 0 {
				return nil, false
			}
			args = append(args, argument{PtrMapValueOrNull, uint32(size)})
		default:
			return nil, false
		}
	}
	return args, true
}

func contextName(t ebpf.ProgramType) string {
	if t == ebpf.XDP {
		return "xdp_md"
	}
	return "__sk_buff"
}

// callGlobal checks a call's arguments against the function's types.
func (w *walker) callGlobal(p *path, i, f int) bool {
	x, s := w.x, p.s
	args, ok := x.argumentsOf(f)
	if !ok {
		x.fail(s, i, "global-function", "Linux verifies global function %s by its arguments' types, and does not support one of them", x.c.Funcs[f].Name)
		return false
	}
	x.noteCall(s, i)
	for n, a := range args {
		v := x.read(s, i, asm.R1+asm.Register(n))
		switch {
		case a.kind == Scalar && v.kind == Scalar, a.kind == PtrCtx && v.kind == PtrCtx, v.silent():
		case a.kind == PtrMapValueOrNull && v.kind == Scalar && v.n.known() && v.n.bits.Value == 0:
		case a.kind == PtrMapValueOrNull && v.kind != Scalar && v.kind != PtrCtx:
			w.memoryArgument(s, i, v, a.size)
		default:
			x.fail(s, i, "global-function", "global function %s is verified by its arguments' types: r%d must be %s, and holds %s",
				x.c.Funcs[f].Name, n+1, argumentName(a.kind), x.reg(v, s.cur).Phrase())
		}
	}
	if !slices.Contains(w.globals, f) {
		w.globals = append(w.globals, f)
	}
	x.clobber(s)
	s.regs[asm.R0] = scalar(anyNum())
	return true
}

func argumentName(k Kind) string {
	switch k {
	case Scalar:
		return "a number"
	case PtrCtx:
		return "the context pointer"
	}
	return "a pointer to memory or NULL"
}

// memoryArgument checks that a function may read and write size bytes at v.
func (w *walker) memoryArgument(s *state, i int, v *val, size uint32) {
	x, p := w.x, *v
	if p.kind == PtrMapValueOrNull { // the function tests it
		p.kind = PtrMapValue
	}
	x.facts.Mem[i] = nil
	if x.access(s, i, &p, 0, int(size), updates) && p.kind == PtrStack {
		x.readRange(s, i, &p, 0, int(size))
		x.overwriteBytes(s, &p, int64(size))
	}
	x.facts.Mem[i] = nil
}

// verifyGlobal walks function f with arguments of which only the types are known.
func (w *walker) verifyGlobal(f int) {
	x := w.x
	args, ok := x.argumentsOf(f)
	if !ok {
		return // reported at the call
	}
	s := x.entry()
	s.regs[asm.R1], s.regs[asm.R2] = val{}, val{}
	for n, a := range args {
		v := &s.regs[asm.R1+asm.Register(n)]
		switch a.kind {
		case Scalar:
			*v = scalar(anyNum())
		case PtrCtx:
			*v = pointer(PtrCtx)
		default:
			*v = pointer(PtrMapValueOrNull)
			v.set, v.id = x.memory(a.size), s.freshID()
		}
	}
	w.run(s, x.c.Funcs[f].Start)
}

// nullable returns what a message calls a pointer that may be NULL: the result of a
// lookup, or an argument of a global function.
func (x *explorer) nullable(v *val) string {
	if len(x.sets[v.set]) > len(x.mapsOf(v)) {
		return "the pointer that the global function takes"
	}
	return "map value"
}

// mapsOf returns the program's maps that v may refer to. The memory of a global
// function's argument is none of them.
func (x *explorer) mapsOf(v *val) []int {
	set := x.sets[v.set]
	n, _ := slices.BinarySearch(set, len(x.facts.Code.Maps))
	return set[:n]
}

// memory returns a set of one map whose values have size bytes: it stands for an argument's
// memory.
func (x *explorer) memory(size uint32) int16 {
	c := *x.c
	c.Maps = append(slices.Clip(c.Maps), &ebpf.MapSpec{Name: "argument", Type: ebpf.Array, KeySize: 4, ValueSize: size, MaxEntries: 1})
	x.c = &c
	x.sets = append(x.sets, []int{len(c.Maps) - 1})
	return int16(len(x.sets) - 1)
}
