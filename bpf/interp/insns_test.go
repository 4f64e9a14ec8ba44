package interp

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
)

// TestInsns runs the lines of testdata/insns.txt. Each becomes a program that
// sets the registers, runs the instruction, and exits; a jump of one skips the
// instruction that would set R9.
func TestInsns(t *testing.T) {
	f, err := os.Open("testdata/insns.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		part := strings.Split(line, " | ")
		if len(part) != 3 {
			part = strings.Split(line, "|")
		}
		if len(part) != 3 {
			t.Fatalf("insns.txt:%d: want three parts", n)
		}
		if got, want := runLine(t, strings.TrimSpace(part[0]), part[1], part[2]); got != want {
			t.Errorf("insns.txt:%d: %s: got %q, want %q", n, part[0], got, want)
		}
	}
}

// runLine returns the expected and the actual last part of a line, in the same
// notation.
func runLine(t *testing.T, insn, before, after string) (got, want string) {
	ins, err := asmtext.ParseInsn(insn)
	if err != nil {
		t.Fatalf("%s: %v", insn, err)
	}
	in := &Input{}
	var insns asm.Instructions
	for _, set := range strings.Fields(before) {
		name, value, _ := strings.Cut(set, "=")
		switch name {
		case "mem":
			in.Mem = unhex(t, value)
		case "packet":
			in.Packet = unhex(t, value)
		default:
			insns = append(insns, asm.LoadImm(register(t, name), int64(number(t, value)), asm.DWord))
		}
	}
	insns = append(insns, asm.LoadImm(asm.R9, 0, asm.DWord), ins)
	insns = append(insns, asm.Mov.Imm(asm.R9, 1), asm.Return())
	last := len(insns) - 2 // R9's instruction: registers as the line's left them
	var regs [11]uint64
	seen := false
	opt := &Options{Trace: func(_ *code.Code, i int, r *[11]uint64) {
		if i >= last && !seen {
			regs, seen = *r, true
		}
	}}
	spec := &ebpf.ProgramSpec{Name: "line", Instructions: insns}
	r, err := machine(t, spec, nil, opt).Run(in)
	after = strings.TrimSpace(after)
	var fault *Fault
	switch {
	case errors.As(err, &fault):
		return fault.Reason, after
	case after == "taken" || after == "falls" || after == "ended":
		switch {
		case !seen && r.R0 == 0:
			return "ended", after
		case r.Steps == len(insns):
			return "falls", after
		}
		return "taken", after
	case !seen:
		return "ended", after
	}
	for _, set := range strings.Fields(after) {
		name, value, _ := strings.Cut(set, "=")
		if name == "mem" {
			got, want = got+" mem="+hex.EncodeToString(r.Mem), want+" "+set
			continue
		}
		got += fmt.Sprintf(" %s=%#x", name, regs[register(t, name)])
		want += fmt.Sprintf(" %s=%#x", name, number(t, value))
	}
	return got, want
}

func unhex(t *testing.T, s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func register(t *testing.T, name string) asm.Register {
	n, err := strconv.Atoi(strings.TrimPrefix(name, "r"))
	if err != nil || n > 10 {
		t.Fatalf("no register %q", name)
	}
	return asm.Register(n)
}

func number(t *testing.T, s string) uint64 {
	u, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		i, err := strconv.ParseInt(s, 0, 64)
		if err != nil {
			t.Fatalf("no number %q", s)
		}
		u = uint64(i)
	}
	return u
}
