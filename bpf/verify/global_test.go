package verify_test

import (
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
)

// TestGlobalFunction checks that a global function is verified by its arguments' types: a
// pointer that the caller tested may be NULL in it, and a call with an argument of another
// type is refused.
func TestGlobalFunction(t *testing.T) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	function := func(linkage btf.FuncLinkage, param btf.Type) *btf.Func {
		return &btf.Func{Name: "f", Linkage: linkage, Type: &btf.FuncProto{Return: number, Params: []btf.FuncParam{{Name: "a", Type: param}}}}
	}
	for _, x := range []struct {
		name string
		f    *btf.Func
		want string
	}{
		{"a number of the caller's", function(btf.GlobalFunc, number), "must be a number, and holds a pointer to the stack (global-function)"},
		{"a type without a size", function(btf.GlobalFunc, &btf.Pointer{Target: &btf.Fwd{Name: "hidden"}}), "does not support one of them (global-function)"},
		{"memory", function(btf.GlobalFunc, &btf.Pointer{Target: number}), "the pointer that the global function takes may be NULL here (null-check)"},
		{"a static function", function(btf.StaticFunc, number), ""},
	} {
		insns := asm.Instructions{
			asm.Mov.Imm(asm.R2, 1),
			asm.StoreMem(asm.R10, -8, asm.R2, asm.DWord),
			asm.Mov.Reg(asm.R1, asm.R10),
			asm.Add.Imm(asm.R1, -8),
			asm.Call.Label("f"),
			asm.Mov.Imm(asm.R0, 2),
			asm.Return(),
			btf.WithFuncMetadata(asm.LoadMem(asm.R0, asm.R1, 0, asm.Word).WithSymbol("f"), x.f),
			asm.Return(),
		}
		c, faults := code.New(&ebpf.ProgramSpec{Name: "main", Type: ebpf.XDP, Instructions: insns}, nil)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		_, err := verify.Verify(c, &verify.Options{Linux: true})
		switch {
		case err == nil && x.want != "":
			t.Errorf("%s: accepted", x.name)
		case err != nil && (x.want == "" || !strings.Contains(err.Error(), x.want)):
			t.Errorf("%s: %v, want %q", x.name, err, x.want)
		}
	}
}

// TestGlobalFunctionOnce checks that Linux's verifier counts a global function once, and
// that each call of a static one counts.
func TestGlobalFunctionOnce(t *testing.T) {
	number := &btf.Int{Name: "int", Size: 4, Encoding: btf.Signed}
	for _, x := range []struct {
		linkage btf.FuncLinkage
		want    string
	}{{btf.GlobalFunc, ""}, {btf.StaticFunc, "too-complex"}} {
		insns := asm.Instructions{
			asm.Call.Label("f"), asm.Call.Label("f"), asm.Call.Label("f"), asm.Call.Label("f"),
			asm.Mov.Imm(asm.R0, 2),
			asm.Return(),
			btf.WithFuncMetadata(asm.Mov.Imm(asm.R0, 0).WithSymbol("f"), &btf.Func{Name: "f", Linkage: x.linkage, Type: &btf.FuncProto{Return: number}}),
			asm.Xor.Imm(asm.R0, 1).WithSymbol("again"),
			asm.Xor.Imm(asm.R0, 1),
			asm.Xor.Imm(asm.R0, 2),
			asm.Xor.Imm(asm.R0, 2),
			asm.Add.Imm(asm.R0, 1),
			asm.JLT.Imm(asm.R0, 50_000, "again"),
			asm.Return(),
		}
		c, faults := code.New(&ebpf.ProgramSpec{Name: "main", Type: ebpf.XDP, Instructions: insns}, nil)
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		facts, r := verify.Survey(c, &verify.Options{Linux: true})
		switch {
		case x.want == "" && r != nil:
			t.Errorf("linkage %v: %v", x.linkage, r)
		case x.want == "" && (facts.Walked.Insns < 300_000 || facts.Walked.Insns > 300_100 || !facts.Reachable[len(insns)-1]):
			t.Errorf("%d instructions walked, want one walk of the function", facts.Walked.Insns)
		case x.want != "" && (r == nil || r.Reasons[0].Reason != x.want):
			t.Errorf("linkage %v: %v, want %s", x.linkage, r, x.want)
		}
	}
}
