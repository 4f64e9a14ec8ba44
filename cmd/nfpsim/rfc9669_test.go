package main

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/interp"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/nfp/firmware"
)

// slot is an instruction's 8 bytes.
type slot struct {
	op       byte
	dst, src byte
	off      int16
	imm      int32
}

func (s slot) append(b []byte) []byte {
	b = append(b, s.op, s.src<<4|s.dst)
	b = binary.LittleEndian.AppendUint16(b, uint16(s.off))
	return binary.LittleEndian.AppendUint32(b, uint32(s.imm))
}

// Parts of opcodes, RFC 9669 section 3.
const (
	clsLD, clsLDX, clsST, clsSTX       = 0, 1, 2, 3
	clsALU, clsJMP, clsJMP32, clsALU64 = 4, 5, 6, 7
	srcX                               = 8
	modeMEM, modeMEMSX, modeATOMIC     = 0x60, 0x80, 0xc0
	sizeW, sizeH, sizeB, sizeDW        = 0, 0x08, 0x10, 0x18
)

// constants of instructions: edges, and amounts of shifts on both sides of a width.
var constants = []int32{0, 1, 2, 7, 31, 32, 33, 63, 64, 65, 0x7fffffff, -1, -2, -31, -32, -33, -63, -64, -65, -0x80000000, 0x12345678}

// rfc9669 is every instruction of RFC 9669's appendix A but calls, which are in
// TestRFCCalls, and the deprecated packet loads. Operands are r3 and r4; memory is
// at r1; a jump of one skips an instruction.
func rfc9669() []slot {
	var all []slot
	for _, class := range []byte{clsALU, clsALU64} {
		for op := byte(0); op <= 0xd; op++ {
			switch op {
			case 0x8: // neg
				all = append(all, slot{op: op<<4 | class, dst: 3})
			case 0xd: // byte order
				for _, width := range []int32{16, 32, 64} {
					all = append(all, slot{op: op<<4 | class, dst: 3, imm: width})
					if class == clsALU {
						all = append(all, slot{op: op<<4 | class | srcX, dst: 3, imm: width})
					}
				}
			default:
				offs, immOffs := []int16{0}, []int16{0}
				if op == 0x3 || op == 0x9 { // signed division and remainder
					offs, immOffs = []int16{0, 1}, []int16{0, 1}
				}
				if op == 0xb { // moves with sign extension
					offs = []int16{0, 8, 16, 32}[:3+class/clsALU64]
				}
				for _, off := range offs {
					all = append(all, slot{op: op<<4 | class | srcX, dst: 3, src: 4, off: off}, slot{op: op<<4 | class | srcX, dst: 3, src: 3, off: off})
				}
				for _, off := range immOffs {
					for _, imm := range constants {
						all = append(all, slot{op: op<<4 | class, dst: 3, off: off, imm: imm})
					}
				}
			}
		}
	}
	for _, size := range []byte{sizeB, sizeH, sizeW, sizeDW} {
		for _, off := range []int16{0, 8, 3} {
			all = append(all, slot{op: clsLDX | modeMEM | size, dst: 3, src: 1, off: off}, slot{op: clsSTX | modeMEM | size, dst: 1, src: 3, off: off},
				slot{op: clsST | modeMEM | size, dst: 1, off: off, imm: -2})
			if size != sizeDW {
				all = append(all, slot{op: clsLDX | modeMEMSX | size, dst: 3, src: 1, off: off})
			}
		}
	}
	for _, size := range []byte{sizeW, sizeDW} {
		for _, op := range []int32{0x00, 0x40, 0x50, 0xa0, 0x01, 0x41, 0x51, 0xa1, 0xe1, 0xf1} {
			all = append(all, slot{op: clsSTX | modeATOMIC | size, dst: 1, src: 3, off: 8, imm: op})
		}
	}
	for _, class := range []byte{clsJMP, clsJMP32} {
		for op := byte(1); op <= 0xd; op++ {
			if op == 8 || op == 9 { // call and exit
				continue
			}
			all = append(all, slot{op: op<<4 | class | srcX, dst: 3, src: 4, off: 1})
			for _, imm := range constants {
				all = append(all, slot{op: op<<4 | class, dst: 3, off: 1, imm: imm})
			}
		}
	}
	return append(all, slot{op: clsJMP, off: 1}, slot{op: clsJMP32, imm: 1})
}

// rfcProgram runs an instruction on the given numbers and gives a number that
// depends on every register and byte of memory that it may change. The numbers
// come from memory, as a compiler would fold constants.
func rfcProgram(s slot) []byte {
	const load, store = clsLDX | modeMEM | sizeDW, clsSTX | modeMEM | sizeDW
	var b []byte
	emit := func(all ...slot) {
		for _, s := range all {
			b = s.append(b)
		}
	}
	emit(slot{op: 0xbf, dst: 6, src: 1}, // r6 = memory
		slot{op: load, dst: 0, src: 1, off: 16}, slot{op: load, dst: 3, src: 1, off: 24}, slot{op: load, dst: 4, src: 1, off: 32},
		slot{op: 0xb7, dst: 5, imm: 1},
		s,
		slot{op: 0xb7, dst: 5, imm: 2}) // skipped by a jump
	mix := func(r byte) { emit(slot{op: 0x27, dst: 0, imm: 0x01000193}, slot{op: 0xaf, dst: 0, src: r}) }
	mix(3)
	mix(4)
	mix(5)
	for off := int16(0); off < 40; off += 8 {
		emit(slot{op: load, dst: 7, src: 6, off: off})
		mix(7)
	}
	emit(slot{op: 0x95})
	return b
}

// rawEngine returns the engine on which plugin runs a program, or the reason why it
// runs none.
func rawEngine(t *testing.T, name string, program []byte, size int) (engine, string) {
	t.Helper()
	spec, err := readRaw(strings.NewReader(hex.EncodeToString(program)))
	if err != nil {
		return nil, "unreadable: " + err.Error()
	}
	p, err := firmware.Load("unlimited")
	if err != nil {
		t.Fatal(err)
	}
	e, err := newRawEngine(name, spec, p, size)
	var refused *verify.Rejection
	if errors.As(err, &refused) {
		return nil, refused.Reasons[0].Reason
	}
	if err != nil {
		return nil, "refused: " + err.Error()
	}
	return e, ""
}

// runRaw is R0 in hex, or the reason of a refusal or fault.
func runRaw(e engine, refusal string, mem []byte) string {
	if e == nil {
		return refusal
	}
	r0, err := e.raw(mem)
	var fault *interp.Fault
	switch {
	case errors.As(err, &fault):
		return "fault: " + fault.Reason
	case err != nil:
		return "fault: " + err.Error()
	}
	return fmt.Sprintf("%x", r0)
}

// numbers are operands: edges, and some of which one is 0.
var numbers = []uint64{0, 1, 2, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0x7fff, 0x8000, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<63 - 1, 1 << 63, ^uint64(0), ^uint64(1), 0x123456789abcdef0}

// TestRFC9669 runs every instruction on both engines, on operands at the edges:
// each runs, with equal results. NFPKIT_RFC_N raises the number of operands.
func TestRFC9669(t *testing.T) {
	n := 4
	if s := os.Getenv("NFPKIT_RFC_N"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	rng := rand.New(rand.NewSource(1))
	instructions, runs := 0, 0
	for _, s := range rfc9669() {
		if !rfcHas(s) {
			t.Fatalf("%+v is not in RFC 9669", s)
		}
		program := rfcProgram(s)
		sim, why := rawEngine(t, "sim", program, 40)
		ref, whyRef := rawEngine(t, "interp", program, 40)
		instructions++
		for range n {
			mem := make([]byte, 40)
			rng.Read(mem)
			for at := 16; at < 40; at += 8 {
				binary.LittleEndian.PutUint64(mem[at:], numbers[rng.Intn(len(numbers))])
			}
			got, want := runRaw(sim, why, mem), runRaw(ref, whyRef, mem)
			if _, err := strconv.ParseUint(want, 16, 64); err != nil || got != want {
				t.Errorf("%+v on % x: sim %s, interp %s", s, mem, got, want)
			}
			runs++
		}
	}
	t.Logf("%d instructions, %d runs", instructions, runs)
}

// rfcHas reports whether RFC 9669 has the instruction, by the tables of its
// sections 4 and 5. Calls and the packet loads are left out.
func rfcHas(s slot) bool {
	class, op, x, size, mode := s.op&7, s.op>>4, s.op&srcX != 0, s.op&0x18, s.op&0xe0
	operand := s.imm == 0 && x || s.src == 0 && !x
	switch class {
	case clsALU, clsALU64:
		switch op {
		case 0x3, 0x9:
			return operand && (s.off == 0 || s.off == 1)
		case 0xb:
			return operand && (s.off == 0 || x && (s.off == 8 || s.off == 16 || s.off == 32 && class == clsALU64))
		case 0x8:
			return !x && s.src == 0 && s.off == 0 && s.imm == 0
		case 0xd:
			return (class == clsALU || !x) && s.src == 0 && s.off == 0 && (s.imm == 16 || s.imm == 32 || s.imm == 64)
		}
		return op < 0xd && operand && s.off == 0
	case clsJMP, clsJMP32:
		switch op {
		case 0x0:
			return !x && s.dst == 0 && s.src == 0 && (class == clsJMP && s.imm == 0 || class == clsJMP32 && s.off == 0)
		case 0x8:
			return false
		case 0x9:
			return class == clsJMP && !x && s.dst == 0 && s.src == 0 && s.off == 0 && s.imm == 0
		}
		return op < 0xe && operand
	case clsLDX:
		return s.imm == 0 && (mode == modeMEM || mode == modeMEMSX && size != sizeDW)
	case clsST:
		return mode == modeMEM && s.src == 0
	case clsSTX:
		if mode == modeMEM {
			return s.imm == 0
		}
		fetch := s.imm &^ 1
		return mode == modeATOMIC && (size == sizeW || size == sizeDW) &&
			(fetch == 0 || fetch == 0x40 || fetch == 0x50 || fetch == 0xa0 || s.imm == 0xe1 || s.imm == 0xf1)
	}
	return false
}

// TestRFCHasNoOther runs every opcode with values in fields that most do not use:
// what RFC 9669 does not have is refused by both engines, before it runs.
func TestRFCHasNoOther(t *testing.T) {
	known := map[string]bool{"bad-opcode": true, "reserved-field": true, "feature-unsupported": true, "indirect-call": true}
	mem := make([]byte, 40)
	refused := 0
	for op := range 256 {
		class, mode := byte(op)&7, byte(op)&0xe0
		if class == clsLD || op == 0x85 || class == clsSTX && mode == modeATOMIC {
			continue // 64-bit loads, packet loads and calls have two slots or other tests; atomics are below
		}
		for _, src := range []byte{0, 1, 4} {
			for _, off := range []int16{0, 1, 8} {
				for _, imm := range []int32{0, 1, 16} {
					s := slot{op: byte(op), dst: 3, src: src, off: off, imm: imm}
					if rfcHas(s) || class == clsLDX || class == clsST || op == 0xe5 && off != 0 {
						continue
					}
					for _, name := range []string{"interp", "sim"} {
						if got := alone(t, name, s, mem); !known[got] && !strings.HasPrefix(got, "unreadable") && !strings.Contains(got, "jump-out-of-range") {
							t.Fatalf("%+v on %s: %s", s, name, got)
						}
					}
					refused++
				}
			}
		}
	}
	for _, size := range []byte{sizeB, sizeH, sizeW, sizeDW} {
		for imm := int32(-1); imm < 0x103; imm++ {
			s := slot{op: clsSTX | modeATOMIC | size, dst: 1, src: 3, off: 8, imm: imm}
			if got := alone(t, "interp", s, mem); !rfcHas(s) && imm != 0x100 && imm != 0x110 && !known[got] && !strings.HasPrefix(got, "unreadable") {
				t.Errorf("%+v: %s", s, got)
			}
			refused++
		}
	}
	t.Logf("%d refused", refused)
}

// alone runs a program of the instruction, a number for R0, and the end.
func alone(t *testing.T, name string, s slot, mem []byte) string {
	t.Helper()
	program := slot{op: 0xb7, dst: 3}.append(nil)
	program = s.append(slot{op: 0xb7, dst: 4}.append(program))
	program = slot{op: 0x95}.append(slot{op: 0xb7}.append(program))
	e, why := rawEngine(t, name, program, len(mem))
	return runRaw(e, why, mem)
}

// TestRFCMeanings has programs whose result RFC 9669 gives in words: masked shifts,
// division by 0 and overflow, sign extension, calls. Both engines give it.
func TestRFCMeanings(t *testing.T) {
	for _, test := range []struct {
		what, program, want string
	}{
		{"r0 <<= 65", "7910000000000000 bf00000000000000 6700000041000000", "2"},
		{"r0 <<= -1", "7910000000000000 67000000ffffffff", "8000000000000000"},
		{"w0 <<= 33", "7910000000000000 6400000021000000", "2"},
		{"r0 >>= 64", "7910000000000000 7700000040000000", "1"},
		{"r0 s>>= -64", "7910080000000000 c7000000c0ffffff", "8000000000000000"},
		{"w0 s>>= 63", "7910080000000000 7700000020000000 c40000003f000000", "ffffffff"},
		{"r0 /= 0", "7910080000000000 3700000000000000", "0"},
		{"r0 %= 0", "7910080000000000 9700000000000000", "8000000000000000"},
		{"w0 %= 0", "7910100000000000 9400000000000000", "ffffffff"},
		{"r0 s/= -1 of the smallest", "7910080000000000 37000100ffffffff", "8000000000000000"},
		{"r0 s%= -1 of the smallest", "7910080000000000 97000100ffffffff", "0"},
		{"r0 s/= 0", "7910100000000000 3700010000000000", "0"},
		{"r0 s%= 0", "7910100000000000 9700010000000000", "ffffffffffffffff"},
		{"call of a function", "7910000000000000 bf01000000000000 8510000001000000 9500000000000000 bf10000000000000 0700000005000000", "6"},
		{"64-bit load", "18000000efcdab890000000067452301", "123456789abcdef"},
		{"callx r0", "b700000005000000 8d00000000000000", "indirect-call"},
		{"callx r1, which GCC and older LLVM write to imm", "b700000005000000 8d00000001000000", "indirect-call"},
		{"callx with source 1", "b700000005000000 8d10000001000000", "indirect-call"},
		{"call of a kernel function", "8520000001000000", "feature-unsupported"},
		{"address of a map", "1810000003000000 0000000000000000", `refused: pc 0: no map named "" (unknown-map)`},
	} {
		mem, err := hex.DecodeString("0100000000000000" + "0000000000000080" + "ffffffffffffffff")
		if err != nil {
			t.Fatal(err)
		}
		program, err := hex.DecodeString(strings.ReplaceAll(test.program, " ", "") + "9500000000000000")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"sim", "interp"} {
			e, why := rawEngine(t, name, program, len(mem))
			if got := runRaw(e, why, mem); got != test.want {
				t.Errorf("%s on %s: %s, want %s", test.what, name, got, test.want)
			}
		}
	}
}
