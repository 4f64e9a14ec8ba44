package asmtext

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// A vector is one line of testdata/isa.txt.
type vector struct {
	bytes []byte
	text  string
	clang bool // clang's assembler takes the same text
}

func vectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/isa.txt")
	if err != nil {
		t.Fatal(err)
	}
	var vs []vector
	for _, line := range strings.Split(string(data), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		digits, text, clang := strings.Cut(line, " | ")
		if !clang {
			digits, text, _ = strings.Cut(line, " : ")
		}
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		vs = append(vs, vector{bytes: b, text: text, clang: clang})
	}
	return vs
}

func decode(t testing.TB, b []byte) asm.Instruction {
	t.Helper()
	insns, err := asm.AppendInstructions(nil, bytes.NewReader(b), binary.LittleEndian, "linux")
	if err != nil || len(insns) != 1 {
		t.Fatalf("% x: %v", b, err)
	}
	return insns[0]
}

// TestVectors checks each line in both directions: the bytes print as the text, and
// the text assembles to the bytes.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		if got := Format(decode(t, v.bytes)); got != v.text {
			t.Errorf("% x prints as %q, want %q", v.bytes, got, v.text)
		}
		ins, err := ParseInsn(v.text)
		if err != nil {
			t.Errorf("%q: %v", v.text, err)
			continue
		}
		var b bytes.Buffer
		if _, err := ins.Marshal(&b, binary.LittleEndian); err != nil || !bytes.Equal(b.Bytes(), v.bytes) {
			t.Errorf("%q assembles to % x (%v), want % x", v.text, b.Bytes(), err, v.bytes)
		}
	}
}

// TestVectorsCover checks that the table has every opcode of RFC 9669's
// appendix: classes, sources, sizes, modes and atomic operations.
func TestVectorsCover(t *testing.T) {
	have := map[asm.OpCode]bool{}
	for _, v := range vectors(t) {
		have[decode(t, v.bytes).OpCode] = true
	}
	want := func(op asm.OpCode) {
		if !have[op] {
			t.Errorf("no line for %v", op)
		}
	}
	for _, src := range []asm.Source{asm.ImmSource, asm.RegSource} {
		for op := range aluSigns {
			want(op.Op(src))
			want(op.Op32(src))
		}
		for op := range conditions {
			want(op.Op(src))
			want(asm.OpCode(asm.Jump32Class).SetJumpOp(op).SetSource(src))
		}
	}
	for _, size := range []asm.Size{asm.Byte, asm.Half, asm.Word, asm.DWord} {
		want(asm.LoadMemOp(size))
		want(asm.StoreMemOp(size))
		want(asm.StoreImmOp(size))
		if size != asm.DWord {
			want(asm.LoadMemSXOp(size))
			want(asm.LoadAbsOp(size))
			want(asm.LoadIndOp(size))
		}
	}
	atomics := []asm.AtomicOp{asm.Xchg, asm.CmpXchg}
	for op := range atomicSigns {
		atomics = append(atomics, op)
	}
	for op := range fetches {
		atomics = append(atomics, op)
	}
	for _, op := range atomics {
		want(op.OpCode(asm.Word))
		want(op.OpCode(asm.DWord))
	}
	for op := range signExtensions {
		want(op.Op(asm.RegSource))
	}
	for _, ins := range swaps {
		want(ins.OpCode)
	}
}

// TestAgainstClang assembles the marked lines with clang, whose syntax this
// package follows.
func TestAgainstClang(t *testing.T) {
	clang, err := exec.LookPath("clang")
	if err != nil {
		t.Skip("clang is not installed")
	}
	var src bytes.Buffer
	var want []byte
	var vs []vector
	for _, v := range vectors(t) {
		if v.clang {
			src.WriteString(v.text + "\n")
			want = append(want, v.bytes...)
			vs = append(vs, v)
		}
	}
	dir := t.TempDir()
	in, out := filepath.Join(dir, "a.s"), filepath.Join(dir, "a.o")
	if err := os.WriteFile(in, src.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if msg, err := exec.Command(clang, "-target", "bpf", "-mcpu=v3", "-c", in, "-o", out).CombinedOutput(); err != nil {
		t.Fatalf("clang: %v\n%s", err, msg)
	}
	f, err := elf.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := f.Section(".text").Data()
	if err != nil {
		t.Fatal(err)
	}
	at := 0
	for _, v := range vs {
		n := len(v.bytes)
		if at+n > len(got) || !bytes.Equal(got[at:at+n], v.bytes) {
			t.Fatalf("%q: clang has other bytes than % x", v.text, v.bytes)
		}
		at += n
	}
	if len(got) != len(want) {
		t.Errorf("clang has %d bytes, want %d", len(got), len(want))
	}
}

// TestFormatExact formats every opcode byte with registers, offsets and constants,
// both those that the syntax can express and others. Parsing must return the same
// fields each time.
func TestFormatExact(t *testing.T) {
	offs := []uint16{0, 1, 8, 16, 32, 0x8000}
	imms := []uint32{0, 1, 3, 16, 0x40, 0x51, 0xe1, 0xf1, 0x100, 0x110, 0x7fffffff, 0x80000000, 0xffffffff}
	regs := []byte{0x00, 0x21, 0x10, 0x40, 0x0a, 0xaa, 0xff}
	readable := 0
	for op := range 256 {
		for _, r := range regs {
			for _, off := range offs {
				for _, imm := range imms {
					raw := make([]byte, 16)
					raw[0], raw[1] = byte(op), r
					binary.LittleEndian.PutUint16(raw[2:], off)
					binary.LittleEndian.PutUint32(raw[4:], imm)
					binary.LittleEndian.PutUint32(raw[12:], imm)
					if !(op == 0x18) {
						raw = raw[:8]
					}
					insns, err := asm.AppendInstructions(nil, bytes.NewReader(raw), binary.LittleEndian, "linux")
					if err != nil {
						continue // a helper's number with the bits that mark other systems
					}
					ins := insns[0]
					text := Format(ins)
					back, err := ParseInsn(text)
					if err != nil {
						t.Fatalf("% x: %q: %v", raw, text, err)
					}
					if !sameFields(back, ins, false) {
						t.Fatalf("% x: %q comes back as %q", raw, text, formatRaw(back))
					}
					if !strings.HasPrefix(text, ".insn") {
						readable++
					}
				}
			}
		}
	}
	if readable < 1000 {
		t.Errorf("only %d of the instructions had a syntax", readable)
	}
}

// TestAccepts lists spellings that other tools print, and what they become.
func TestAccepts(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"r2 = *(u16 *)(r1 +12)", "r2 = *(u16 *)(r1 + 12)"},
		{"w2 = *(u16*)(r1+12)", "r2 = *(u16 *)(r1 + 12)"},
		{"r2 = *(u8 *)(r1)", "r2 = *(u8 *)(r1 + 0)"},
		{"*(u32 *)(r10 -4) = w1", "*(u32 *)(r10 - 4) = r1"},
		{"w1 = 0xffffffff", "w1 = -1"},
		{"if w1 > 0xfffffff0 goto +3", "if w1 > -16 goto pc+3"},
		{"goto +2 <LBB0_1>", "goto pc+2"},
		{"r1 = 0xffffffffffffffff ll", "r1 = -1 ll"},
		{"call 1", "call bpf_map_lookup_elem#1"},
		{"call bpf_map_lookup_elem", "call bpf_map_lookup_elem#1"},
		{"r2 = atomic64_fetch_add((u64 *)(r1 +0), r2)", "r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)"},
		{"r2 = atomic64_xchg((u64 *)(r1 +0), r2)", "r2 = xchg_64(r1 + 0, r2)"},
		{"w0 = atomic_cmpxchg((u32 *)(r1 +0), w0, w2)", "w0 = cmpxchg32_32(r1 + 0, w0, w2)"},
		{"r0 = *(u16 *)skb[r3]", "r0 = *(u16 *)skb[r3 + 0]"},
		{"r1 = map[counts] ll", "r1 = map[counts]"},
		{"r1 = map[.rodata][0]", "r1 = map[.rodata][0]+0 ll"},
		{`r1 = map["a b"]`, `r1 = map["a b"]`},
		{"r1 = map[fd:-1]", "r1 = map[fd:-1]"},
		{"call twice", "call twice"},
		{"goto out", "goto out"},
		{"r1 = 7 ; seven", "r1 = 7"},
		{"r1 = 7 # seven", "r1 = 7"},
		{"r1 = 7 // seven", "r1 = 7"},
	} {
		ins, err := ParseInsn(tt.in)
		if err != nil {
			t.Errorf("%q: %v", tt.in, err)
		} else if got := Format(ins); got != tt.want {
			t.Errorf("%q: got %q, want %q", tt.in, got, tt.want)
		}
	}
}

// TestConstructors checks that instructions from the constructors of package asm
// print. Their atomics leave the constant empty.
func TestConstructors(t *testing.T) {
	for _, tt := range []struct {
		ins  asm.Instruction
		want string
	}{
		{asm.FetchAdd.Mem(asm.R1, asm.R2, asm.DWord, 0), "r2 = atomic_fetch_add((u64 *)(r1 + 0), r2)"},
		{asm.LoadMapPtr(asm.R1, 0).WithReference("counts"), "r1 = map[counts]"},
		{asm.LoadMapValue(asm.R1, 0, 16).WithReference(".bss"), "r1 = map[.bss][0]+16 ll"},
		{asm.FnMapLookupElem.Call(), "call bpf_map_lookup_elem#1"},
		{asm.JSGT.Imm(asm.R1, 7, "out"), "if r1 s> 7 goto out"},
		{asm.LongJump("out"), "gotol out"},
		{asm.Call.Label("twice"), "call twice"},
		{asm.Ja.Label("pc"), `goto "pc"`},
		{asm.Instruction{OpCode: asm.InvalidOpCode}, ".insn 0xffff 0 0 0 0"},
		{asm.Mov.Imm(asm.R1, 1).WithMetadata(asm.Metadata{}), "r1 = 1"},
	} {
		if got := Format(tt.ins); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

func FuzzFormat(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		insns, err := asm.AppendInstructions(nil, bytes.NewReader(b), binary.LittleEndian, "linux")
		if err != nil {
			return
		}
		for _, ins := range insns {
			text := Format(ins)
			back, err := ParseInsn(text)
			if err != nil || !sameFields(back, ins, false) {
				t.Fatalf("%s: %q comes back as %q, %v", formatRaw(ins), text, formatRaw(back), err)
			}
		}
	})
}
