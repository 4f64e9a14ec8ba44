package difftest

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/nfp/jit"
)

// pressure is a program with n values live at once: computed from the packet's words,
// stored on the stack, and loaded from it at the end.
type pressure struct {
	n       int
	wide    bool // of 64 bits, else 32
	derived bool // a word that stays live and a constant, else a product of words
	call    bool // a helper is called while they live
	twice   bool // they are used on both sides of a branch
}

func (p pressure) String() string {
	s := fmt.Sprintf("%d", p.n)
	for _, part := range []struct {
		on   bool
		name string
	}{{p.wide, "wide"}, {p.derived, "derived"}, {p.call, "call"}, {p.twice, "twice"}} {
		if part.on {
			s += "-" + part.name
		}
	}
	return s
}

func (p pressure) spec() *ebpf.ProgramSpec {
	size, bytes := asm.Word, 4
	if p.wide {
		size, bytes = asm.DWord, 8
	}
	// r6 packet, r7 a word that stays
	insns := asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, 0, asm.Word),
		asm.LoadMem(asm.R2, asm.R1, 4, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R6),
		asm.Add.Imm(asm.R3, 64),
		asm.JGT.Reg(asm.R3, asm.R2, "pass"),
		asm.LoadMem(asm.R7, asm.R6, 0, size),
		asm.LoadMem(asm.R8, asm.R6, 16, asm.Word),
	}
	place := func(i int) int16 { return int16(-8 - bytes*(i+1)) }
	for i := range p.n {
		insns = append(insns, asm.Mov.Reg(asm.R4, asm.R7))
		if p.derived {
			insns = append(insns, asm.Add.Imm(asm.R4, int32(i*3+1)))
		} else {
			insns = append(insns,
				asm.LoadMem(asm.R5, asm.R6, int16(4*(i%12)), asm.Word),
				asm.Mul.Reg(asm.R4, asm.R5),
				asm.Xor.Imm(asm.R4, int32(i*0x1234567)))
		}
		insns = append(insns, asm.StoreMem(asm.RFP, place(i), asm.R4, size))
	}
	if p.call {
		insns = append(insns,
			asm.Mov.Imm(asm.R1, 0),
			asm.StoreMem(asm.RFP, -8, asm.R1, asm.Word),
			asm.LoadMapPtr(asm.R1, 0).WithReference("values"),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -8),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "pass"),
			asm.LoadMem(asm.R8, asm.R0, 0, asm.Word))
	}
	combine := func(step int32) {
		for i := range p.n {
			insns = append(insns,
				asm.LoadMem(asm.R4, asm.RFP, place(i), size),
				asm.Mul.Imm(asm.R8, step),
				asm.Xor.Reg(asm.R8, asm.R4))
		}
		insns = append(insns, asm.Xor.Reg(asm.R8, asm.R7))
	}
	if p.twice {
		insns = append(insns, asm.JSet.Imm(asm.R8, 1, "odd"))
		combine(5)
		insns = append(insns, asm.Ja.Label("out"))
		at := len(insns)
		combine(3)
		insns[at] = insns[at].WithSymbol("odd")
	} else {
		combine(5)
	}
	insns = append(insns,
		asm.StoreMem(asm.R6, 8, asm.R8, size).WithSymbol("out"),
		asm.Mov.Imm(asm.R0, 3),
		asm.Return(),
		asm.Mov.Imm(asm.R0, 2).WithSymbol("pass"),
		asm.Return())
	return &ebpf.ProgramSpec{Name: "pressure", Type: ebpf.XDP, Instructions: insns, License: "GPL"}
}

func (p pressure) program() *Program {
	prog := &Program{Spec: p.spec(), Maps: map[string]*ebpf.MapSpec{}}
	if p.call {
		prog.Maps["values"] = &ebpf.MapSpec{Name: "values", Type: ebpf.Array, KeySize: 4, ValueSize: 4, MaxEntries: 1}
		prog.Initial = Contents{"values": {{Key: make([]byte, 4), Value: []byte{1, 2, 3, 4}}}}
	}
	for k := range uint32(3) {
		pkt := make([]byte, 64+k)
		for i := 0; i+4 <= len(pkt); i += 4 {
			binary.LittleEndian.PutUint32(pkt[i:], 0x9e3779b9*(uint32(i)+k+1))
		}
		prog.Packets = append(prog.Packets, pkt)
	}
	return prog
}

// TestPressure runs programs with more values than registers. All engines must agree,
// and values that one instruction can rematerialise must not be stored. The log has
// the sizes.
func TestPressure(t *testing.T) {
	w, err := newWorker(&Config{Kernel: Permitted() == nil}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, n := range []int{16, 30, 40, 60} {
		for k := range 16 {
			p := pressure{n: n, wide: k&1 != 0, derived: k&2 != 0, call: k&4 != 0, twice: k&8 != 0}
			prog := p.program()
			for _, d := range w.compare(prog) {
				t.Errorf("%v: %s", p, d)
			}
			words, spill := p.size(t, w)
			if p.derived && !p.wide && spill > 0 {
				t.Errorf("%v: %d bytes spilled of what one word makes", p, spill)
			}
			if n == 60 && !p.derived && spill == 0 {
				t.Errorf("%v: nothing spilled: the program does not try what it is for", p)
			}
			t.Logf("%-30v %5d words, %4d bytes spilled", p, words, spill)
		}
	}
	if len(w.sum.Refused) > 0 {
		t.Errorf("refused: %v", w.sum.Refused)
	}
}

// size returns the words of the image and the bytes that regalloc spilled.
func (p pressure) size(t *testing.T, w *worker) (words, spill int) {
	t.Helper()
	prog := p.program()
	c, faults := code.New(prog.Spec, prog.Maps)
	if len(faults) > 0 {
		t.Fatal(faults[0])
	}
	f := w.verify(prog, c)
	if f == nil {
		t.Fatalf("%v: refused", p)
	}
	img, err := jit.Compile(f, w.profile, &jit.Options{Dump: func(pass, text string) {
		if strings.HasPrefix(pass, "regalloc") {
			_, text, _ = strings.Cut(text, "spill=")
			text, _, _ = strings.Cut(text, "\n")
			n, _ := strconv.Atoi(text)
			spill += n
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return len(img.Words), spill
}
