package sim

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
)

// TestForms runs the archives in testdata: micro-engine text in "code", the
// state before it in "in", and what it changed in "out".
//
// A line of "in" is PLACE = VALUE, PLACE one of A0, B0, in0 (read side of a
// transfer register), out0, LM4 (word), ptr0 (pointer), ctm[0] or emem[0]
// (hexadecimal bytes). Packet 0 is the first 2048 bytes of CTM, bytes counting
// up; 256 bytes of external memory lie at 0x2000000000. "lax" drops the strict
// rules.
func TestForms(t *testing.T) {
	golden.Run(t, "testdata/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		out := map[string]string{}
		for name, code := range files {
			if test, ok := strings.CutPrefix(name, "code"); ok {
				out["out"+test] = runText(t, files["in"+test], code)
			}
		}
		return out
	})
}

type bench struct {
	e             *Engine
	store         *Store
	ctm, emem     []byte
	before        Context
	lm            [LMWords]uint32
	ctmBefore     []byte
	ememBefore    []byte
	programLength int
}

func newBench(t testing.TB, lax bool, code string) *bench {
	t.Helper()
	spec := NFP4000()
	spec.Lax = lax
	mem := NewMemory()
	if err := mem.SetPacket(0, 0, 2048); err != nil {
		t.Fatal(err)
	}
	for i := range mem.CTM[:2048] {
		mem.CTM[i] = byte(i)
	}
	insts := parse(t, code)
	store := NewStore()
	if err := store.LoadInsts(0, insts, spec); err != nil {
		t.Fatal(err)
	}
	store.Trap(len(insts), func(c *Context) (int, Cost, error) { return Halt, Cost{}, nil })
	b := &bench{e: New(spec, store, mem), store: store, ctm: mem.CTM[:2048], programLength: len(insts)}
	b.emem = mem.Alloc("test", 256).Data
	for i := range 4 {
		b.e.Ctx[0].SetLMPointer(i, uint32(64*i), 8)
	}
	return b
}

func parse(t testing.TB, code string) []nfp.Inst {
	t.Helper()
	var insts []nfp.Inst
	for i, line := range strings.Split(code, "\n") {
		if line, _, _ = strings.Cut(line, "//"); strings.TrimSpace(line) == "" {
			continue
		}
		in, err := nfp.Parse(line)
		if err != nil {
			t.Fatalf("code line %d: %q: %v", i+1, line, err)
		}
		insts = append(insts, in)
	}
	return insts
}

func runText(t *testing.T, in, code string) string {
	b := newBench(t, strings.Contains(in, "lax\n"), code)
	b.set(t, in)
	c := &b.e.Ctx[0]
	c.nz = 1
	b.before, b.lm = *c, b.e.LM
	b.ctmBefore, b.ememBefore = bytes.Clone(b.ctm), bytes.Clone(b.emem)
	c.Start(0)
	err := b.e.Run(1000)
	return b.changes(err)
}

func (b *bench) set(t testing.TB, in string) {
	t.Helper()
	c := &b.e.Ctx[0]
	for _, line := range strings.Split(in, "\n") {
		place, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		place, value = strings.TrimSpace(place), strings.TrimSpace(value)
		word := strings.TrimRight(place, "0123456789")
		n, _ := strconv.Atoi(place[len(word):])
		if name, at, ok := strings.Cut(place, "["); ok {
			off, err := strconv.ParseUint(strings.TrimSuffix(at, "]"), 0, 16)
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			var data []byte
			if _, err := fmt.Sscanf(value, "%x", &data); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			copy(map[string][]byte{"ctm": b.ctm, "emem": b.emem}[name][off:], data)
			continue
		}
		v64, err := strconv.ParseInt(value, 0, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		switch v := uint32(v64); word {
		case "A":
			c.SetA(n, v)
		case "B":
			c.SetB(n, v)
		case "in":
			c.r[regIn+n] = v
		case "out":
			c.r[regOut+n] = v
		case "LM":
			b.e.LM[n] = v
		case "ptr":
			c.SetLMPointer(n, v, 8)
		default:
			t.Fatalf("%q: no such place", line)
		}
	}
}

// changes prints what differs from before, the condition codes, and the time.
func (b *bench) changes(err error) string {
	var w strings.Builder
	c := &b.e.Ctx[0]
	files := []struct {
		name     string
		first, n int
	}{{"A", regA, 32}, {"B", regB, 32}, {"in", regIn, 64}, {"out", regOut, 64}}
	for _, f := range files {
		for i := range f.n {
			if v := c.r[f.first+i]; v != b.before.r[f.first+i] {
				fmt.Fprintf(&w, "%s%d = 0x%x\n", f.name, i, v)
			}
		}
	}
	for i := range b.e.LM {
		if b.e.LM[i] != b.lm[i] {
			fmt.Fprintf(&w, "LM%d = 0x%x\n", i, b.e.LM[i])
		}
	}
	for i := range 4 {
		if p := c.LMPointer(i); p != b.before.lm[i].addr {
			fmt.Fprintf(&w, "ptr%d = 0x%x\n", i, p)
		}
	}
	dump := func(name string, old, new []byte) {
		for i := 0; i < len(old); i++ {
			j := i
			for j < len(old) && old[j] != new[j] {
				j++
			}
			if j > i {
				fmt.Fprintf(&w, "%s[0x%x] = %x\n", name, i, new[i:j])
				i = j
			}
		}
	}
	dump("ctm", b.ctmBefore, b.ctm)
	dump("emem", b.ememBefore, b.emem)
	if m := c.Outstanding(); m != 0 {
		fmt.Fprintf(&w, "outstanding = 0x%x\n", m)
	}
	for _, f := range b.e.Warnings {
		fmt.Fprintf(&w, "warning: %v\n", f)
	}
	if err != nil {
		fmt.Fprintf(&w, "fault: %v\n", err)
		return w.String()
	}
	codes := []string{"", "N"}[c.nz>>31]
	if c.nz == 0 {
		codes += "Z"
	}
	switch {
	case c.carry == carryUndefined:
		codes += "?"
	default:
		codes += []string{"", "C"}[c.carry] + []string{"", "V"}[c.over>>31]
	}
	fmt.Fprintf(&w, "codes %s, issue %d, elapsed %d\n", codes, c.Issue(), c.Elapsed())
	return w.String()
}

// Every operation has a name, a cost and a doc line, and is executed by some
// case: a word that decodes never reaches the default.
func TestOperationsComplete(t *testing.T) {
	names := map[string]bool{}
	for code, row := range opRows {
		if row.name == "" || row.doc == "" || names[row.name] {
			t.Errorf("operation %d: name %q, doc %q", code, row.name, row.doc)
		}
		names[row.name] = true
		if row.cost == costNone && opcode(code) > opBad {
			t.Errorf("%s: no cost", row.name)
		}
	}
	for code := opNop; code < numOpcodes; code++ {
		s := NewStore()
		k := cmd{MemoryCommand: nfp.CommandOf(nfp.CmdRead32Swap.Code, nfp.CmdRead32Swap.Token, 0).MemoryCommand, sig: 1}
		s.cmds = []cmd{k, k}
		s.ops[0] = op{run: code, code: code, a: regA, b: regA, d: regSink, e: regSink, imm: 1}
		s.insts = []span{{0, []nfp.Inst{nfp.Nop()}}}
		if code == opCSRRead || code == opCSRWrite {
			s.ops[0].imm = csrByteIndex
		}
		s.Trap(1, func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
		e := New(NFP4000(), s, NewMemory())
		e.Ctx[0].Start(0)
		err := e.Run(10)
		if f, ok := err.(*Fault); ok && f.Reason == "unsupported" && f.Msg == "" {
			t.Errorf("%s: no case", opRows[code].name)
		}
	}
}

// Every instruction of the kernel's JIT and of our compiler decodes to an
// operation; what does not is listed with its reason.
func TestALUOperationsDecode(t *testing.T) {
	for fn := range 32 {
		in := nfp.ALU(nfp.RegA(1), nfp.RegA(2), nfp.ALUOp(fn), nfp.RegB(3))
		_, known := in.Form()
		s := NewStore()
		if err := s.LoadInsts(0, []nfp.Inst{in}, NFP4000()); err != nil {
			t.Fatal(err)
		}
		if known && s.ops[0].code <= opBad && aluCodes[fn] != opUnset {
			t.Errorf("alu operation 0x%02x: %s", fn, s.bad[0])
		}
	}
}

// Every dispatch code is one of the switch's cases: the shorter forms of
// operations give what the operations give.
func TestQuickForms(t *testing.T) {
	const values = 12
	for code, q := range quick {
		if q == opUnset {
			continue
		}
		for i := range values {
			x, y := uint32(i)*0x9e3779b9, uint32(i)*0x85ebca6b^0xdeadbeef
			result := func(run opcode) uint32 {
				s := NewStore()
				s.ops[0] = op{run: run, fast: run, code: opcode(code), a: regA + 1, b: regB + 2, d: regA + 3, e: regB + 4, sh: uint8(i & 31), imm: 0xff00 << (i & 15), val: 0x12}
				s.insts = []span{{0, []nfp.Inst{nfp.Nop()}}}
				s.Trap(1, func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
				e := New(NFP4000(), s, NewMemory())
				e.Ctx[0].SetA(1, x)
				e.Ctx[0].SetB(2, y)
				e.Ctx[0].Start(0)
				if err := e.Run(10); err != nil {
					t.Fatal(err)
				}
				if e.Ctx[0].A(3) != e.Ctx[0].B(4) {
					t.Errorf("%s: two destinations, two results", opRows[code].name)
				}
				return e.Ctx[0].A(3)
			}
			if a, b := result(opcode(code)), result(q); a != b {
				t.Fatalf("%s of %#x, %#x: %#x, shorter %#x", opRows[code].name, x, y, a, b)
			}
		}
	}
}
