package code_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// parse reads eBPF text and returns its program p and its maps.
func parse(t *testing.T, src string) (*ebpf.ProgramSpec, map[string]*ebpf.MapSpec) {
	t.Helper()
	f, err := asmtext.Parse("test", src)
	if err != nil {
		t.Fatal(err)
	}
	return f.Spec.Programs["p"], f.Spec.Maps
}

const resolved = `
.map counts array key=4 value=8 entries=1
.map other hash key=4 value=8 entries=1
.program xdp p
    r6 = map[other]
    r1 = map[counts][0]+4 ll
    if r1 == 0 goto out
    r2 = map[other]
    call twice
    gotol out
    r0 = 1
out:
    exit
.func twice
    r0 = r1
    r0 *= 2
    goto pc+0
    exit
`

func TestPlaces(t *testing.T) {
	spec, maps := parse(t, resolved)
	c, faults := code.New(spec, maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	var got []string
	for i, ins := range c.Insns {
		got = append(got, fmt.Sprintf("%d: pc %d func %d target %d callee %d map %d", i, ins.PC, ins.Func, ins.Target, ins.Callee, ins.Map))
	}
	want := []string{
		"0: pc 0 func 0 target -1 callee -1 map 0",
		"1: pc 2 func 0 target -1 callee -1 map 1",
		"2: pc 4 func 0 target 7 callee -1 map -1",
		"3: pc 5 func 0 target -1 callee -1 map 0",
		"4: pc 7 func 0 target -1 callee 1 map -1",
		"5: pc 8 func 0 target 7 callee -1 map -1",
		"6: pc 9 func 0 target -1 callee -1 map -1",
		"7: pc 10 func 0 target -1 callee -1 map -1",
		"8: pc 11 func 1 target -1 callee -1 map -1",
		"9: pc 12 func 1 target -1 callee -1 map -1",
		"10: pc 13 func 1 target 11 callee -1 map -1",
		"11: pc 14 func 1 target -1 callee -1 map -1",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if len(c.Maps) != 2 || c.Maps[0].Name != "other" || c.Maps[1].Name != "counts" {
		t.Errorf("maps %v, want other, counts", c.Maps)
	}
	if f := c.Funcs; len(f) != 2 || f[0] != (code.Func{Name: "p", Start: 0, End: 8}) || f[1] != (code.Func{Name: "twice", Start: 8, End: 12}) {
		t.Errorf("functions %v", f)
	}
	for pc, want := range map[int]int{0: 0, 1: code.None, 2: 1, 14: 11, 15: code.None, -1: code.None} {
		if got := c.Index(pc); got != want {
			t.Errorf("Index(%d) = %d, want %d", pc, got, want)
		}
	}
}

// TestFaults checks that each program gives the expected faults: "pc N reason".
func TestFaults(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{"r0 = 0", "pc 0 fall-through"},
		{"r0 = 0\nif r0 == 0 goto pc-2", "pc 1 fall-through"},
		{"call bpf_ktime_get_ns", "pc 0 fall-through"},
		{"goto pc-1", ""},
		{"goto pc+1\nexit", "pc 0 jump-out-of-range"},
		{"goto pc-2\nexit", "pc 0 jump-out-of-range"},
		{"goto pc+1\nr0 = 1 ll\nexit", "pc 0 jump-into-wide"},
		{"gotol pc+1\nr0 = 1 ll\nexit", "pc 0 jump-into-wide"},
		{"r0 = 1 ll\nexit\ngoto pc+0", "pc 3 jump-out-of-range"},
		{"r10 = 0\nexit", "pc 0 frame-pointer-write"},
		{"r10 = 1 ll\nexit", "pc 0 frame-pointer-write"},
		{"r10 = *(u64 *)(r1 + 0)\nexit", "pc 0 frame-pointer-write"},
		{"r10 = xchg_64(r1 + 0, r10)\nexit", "pc 0 frame-pointer-write"},
		{"*(u64 *)(r1 + 0) = r10\nr0 = 0\nexit", ""},
		{"r1 = map[nothing]\nexit", "pc 0 unknown-map"},
	} {
		spec, maps := parse(t, ".program xdp p\n"+c.src+"\n")
		got, faults := code.New(spec, maps)
		if c.want == "" {
			if got == nil || len(faults) > 0 {
				t.Errorf("%q: %v", c.src, faults)
			}
			continue
		}
		if got != nil || len(faults) == 0 || fmt.Sprintf("pc %d %s", faults[0].PC, faults[0].Reason) != c.want {
			t.Errorf("%q: faults %v, want %s", c.src, faults, c.want)
		}
	}
}

// TestRaw covers instructions that the text syntax cannot express.
func TestRaw(t *testing.T) {
	exit := asm.Return()
	call := func(dist int64) asm.Instruction {
		return asm.Instruction{OpCode: asm.OpCode(asm.JumpClass).SetJumpOp(asm.Call), Src: asm.PseudoCall, Constant: dist}
	}
	for _, c := range []struct {
		name  string
		insns asm.Instructions
		want  string
	}{
		{"empty", nil, "empty-program"},
		{"register", asm.Instructions{asm.Mov.Reg(asm.Register(11), asm.R0), exit}, "bad-register"},
		{"call out", asm.Instructions{call(5), exit}, "bad-call-target"},
		{"call into wide", asm.Instructions{call(2), exit, asm.LoadImm(asm.R0, 1, asm.DWord), exit}, "bad-call-target"},
		{"call back", asm.Instructions{call(1), exit, call(-1), exit}, ""},
		{"far", asm.Instructions{call(1 << 40), exit}, "bad-call-target"},
		{"jump between functions", asm.Instructions{call(2), {OpCode: asm.Ja.Op(asm.ImmSource), Offset: 1}, exit, asm.Mov.Imm(asm.R0, 0), exit}, "jump-out-of-range"},
	} {
		got, faults := code.New(&ebpf.ProgramSpec{Name: "p", Instructions: c.insns}, nil)
		reason := ""
		if len(faults) > 0 {
			reason = faults[0].Reason
		}
		if reason != c.want || (got == nil) != (c.want != "") {
			t.Errorf("%s: faults %v, want %q", c.name, faults, c.want)
		}
	}
}
