package difftest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"github.com/cilium/ebpf/asm"
	"github.com/google/go-cmp/cmp"

	"github.com/nfpkit/nfpkit/bpf/helper"
)

// The same seed gives the same program, byte for byte.
func TestGenerateIsDeterministic(t *testing.T) {
	for seed := range uint64(50) {
		a, b := Generate(seed, AllFeatures), Generate(seed, AllFeatures)
		var x, y bytes.Buffer
		if err := errors.Join(a.Spec.Instructions.Marshal(&x, binary.LittleEndian), b.Spec.Instructions.Marshal(&y, binary.LittleEndian)); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !bytes.Equal(x.Bytes(), y.Bytes()) || !cmp.Equal(a.Packets, b.Packets) || !cmp.Equal(a.Initial, b.Initial) {
			t.Fatalf("seed %d: two different programs", seed)
		}
	}
}

// Of what the generator writes for it, the kernel's verifier accepts 95 in 100.
func TestKernelAcceptsGenerated(t *testing.T) {
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	k, err := NewKernel(0)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	const n = 400
	refused := map[string]int{}
	total := 0
	for seed := range uint64(n) {
		p := Generate(seed, AllFeatures)
		_, err := k.Run(p)
		var no *Refused
		switch {
		case errors.As(err, &no):
			refused[general(no.Reason)]++
			total++
		case err != nil:
			t.Errorf("seed %d: %v", seed, err)
		}
	}
	if total*20 > n {
		t.Errorf("kernel refused %d of %d programs: %v", total, n, refused)
	}
}

// Every instruction, helper and map kind that the generator knows turns up, and
// tail calls go somewhere.
func TestGenerateCovers(t *testing.T) {
	want := map[string]bool{}
	for _, name := range []string{"map_lookup_elem", "map_update_elem", "map_delete_elem", "ktime_get_ns", "get_prandom_u32",
		"get_smp_processor_id", "tail_call", "redirect", "perf_event_output", "csum_diff", "xdp_adjust_head", "redirect_map", "xdp_adjust_tail"} {
		want["helper "+name] = true
	}
	for _, spec := range catalog() {
		want["map "+spec.Name] = true
	}
	for _, class := range []asm.Class{asm.ALUClass, asm.ALU64Class} {
		for _, op := range slices.Concat(aluOps, aluOpsV4) {
			if op == asm.MovSX32 && class == asm.ALUClass {
				continue // which does not exist
			}
			for _, src := range []asm.Source{asm.ImmSource, asm.RegSource} {
				sx := op == asm.MovSX8 || op == asm.MovSX16 || op == asm.MovSX32
				if op == asm.Neg && src == asm.RegSource || sx && src == asm.ImmSource {
					continue
				}
				want[asm.OpCode(class).SetALUOp(op).SetSource(src).String()] = true
			}
		}
	}
	for _, ins := range []asm.Instruction{asm.HostTo(asm.BE, 0, asm.Half), asm.HostTo(asm.LE, 0, asm.Half), asm.BSwap(0, asm.Half)} {
		want[ins.OpCode.String()] = true
	}
	for _, class := range []asm.Class{asm.JumpClass, asm.Jump32Class} {
		for op := asm.JEq; op <= asm.JSLE; op += 0x10 {
			if op != asm.Call && op != asm.Exit {
				want[asm.OpCode(class).SetJumpOp(op).SetSource(asm.ImmSource).String()] = true
				want[asm.OpCode(class).SetJumpOp(op).SetSource(asm.RegSource).String()] = true
			}
		}
		want[asm.OpCode(class).SetJumpOp(asm.Ja).String()] = true
	}
	for _, size := range sizes {
		for _, op := range []asm.OpCode{asm.LoadMemOp(size), asm.StoreMemOp(size), asm.StoreImmOp(size)} {
			want[op.String()] = true
		}
		if size != asm.DWord {
			for _, op := range []asm.OpCode{asm.LoadMemSXOp(size), asm.LoadAbsOp(size), asm.LoadIndOp(size)} {
				want[op.String()] = true
			}
		}
	}
	for _, op := range allAtomics {
		want[op.OpCode(asm.Word).String()], want[op.OpCode(asm.DWord).String()] = true, true
	}
	tails := 0
	for seed := range uint64(3000) {
		p := Generate(seed, AllFeatures)
		tails += len(p.Targets)
		for _, ins := range p.Spec.Instructions {
			if ins.IsBuiltinCall() {
				if proto, ok := helper.ByID(asm.BuiltinFunc(ins.Constant)); ok {
					delete(want, "helper "+proto.Name)
				}
			} else if ins.IsLoadFromMap() {
				delete(want, "map "+ins.Reference())
			}
			delete(want, ins.OpCode.String())
		}
	}
	for what := range want {
		t.Errorf("%s never turned up", what)
	}
	if tails == 0 {
		t.Error("no tail call has a target")
	}
}

// A comparison finds each kind of difference, and names its place.
func TestCompare(t *testing.T) {
	result := func() *Result {
		return &Result{
			Packets: []PacketResult{{Verdict: 2, Data: []byte{1, 2, 3}, Aside: []string{"event"}}},
			Maps:    Contents{"m": {{Key: []byte{1}, Value: []byte{2}}}},
		}
	}
	for _, c := range []struct {
		field  string
		change func(*Result)
	}{
		{"", func(*Result) {}},
		{"", func(r *Result) { r.Packets[0].Aside = nil }}, // an engine that does not say
		{"verdict", func(r *Result) { r.Packets[0].Verdict = 1 }},
		{"length", func(r *Result) { r.Packets[0].Data = []byte{1, 2} }},
		{"byte 2", func(r *Result) { r.Packets[0].Data[2] = 9 }},
		{"events", func(r *Result) { r.Packets[0].Aside = []string{} }},
		{"map m", func(r *Result) { r.Maps["m"][0].Value[0] = 9 }},
		{"map m", func(r *Result) { r.Maps = Contents{} }},
		{"map n", func(r *Result) { r.Maps["n"] = []Entry{{Key: []byte{0}, Value: []byte{1}}} }},
	} {
		got := result()
		c.change(got)
		field := ""
		if m := compare(result(), got, raw); m != nil {
			field = m.Field
		}
		if field != c.field {
			t.Errorf("difference in %q, want %q", field, c.field)
		}
	}
}
