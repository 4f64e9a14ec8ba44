package sim

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/nfp"
)

// words reads the instruction words of the shared vectors.
func words(t testing.TB) []nfp.Word {
	t.Helper()
	f, err := os.Open("../testdata/vectors.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var ws []nfp.Word
	for s := bufio.NewScanner(f); s.Scan(); {
		if f := strings.Fields(s.Text()); len(f) > 0 {
			if w, err := strconv.ParseUint(strings.TrimPrefix(f[0], "0x"), 16, 64); err == nil {
				ws = append(ws, nfp.Word(w))
			}
		}
	}
	if len(ws) < 2000 {
		t.Fatalf("%d words", len(ws))
	}
	return ws
}

// What of the instruction set the simulator refuses, and why, is a list in a
// file: a form that stops being executed shows there.
func TestRefusals(t *testing.T) {
	refused := map[string]int{}
	all := 0
	for _, w := range words(t) {
		in, err := nfp.Decode(w)
		if err != nil {
			continue
		}
		s := NewStore()
		if err := s.LoadInsts(0, []nfp.Inst{in}, NFP4000()); err != nil {
			t.Fatal(err)
		}
		all++
		if s.ops[0].code <= opBad {
			name := in.String()
			if i := strings.IndexAny(name, "[, "); i > 0 {
				name = name[:i]
			}
			refused[fmt.Sprintf("%-16s %s", name, s.bad[0])]++
		}
	}
	var out []string
	for k, n := range refused {
		out = append(out, fmt.Sprintf("%5d %s", n, k))
	}
	sort.Slice(out, func(i, j int) bool { return out[i][6:] < out[j][6:] })
	golden.File(t, "testdata/refused.txt", fmt.Sprintf("of %d words the simulator refuses:\n%s", all, strings.Join(out, "\n")))
}

// TestRandomWords checks that random instructions in random order never panic.
func TestRandomWords(t *testing.T) {
	ws := words(t)
	var insts []nfp.Inst
	for _, w := range ws {
		if in, err := nfp.Decode(w); err == nil {
			insts = append(insts, in)
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	reasons := map[string]int{}
	var executed uint64
	for i := range 800 {
		prog := make([]nfp.Inst, 64)
		for j := range prog {
			prog[j] = insts[r.IntN(len(insts))]
			if h := &prog[j]; h.HasTarget() {
				h.Target = uint16(r.IntN(len(prog)))
			} else if h.Op == nfp.OpCmd && r.IntN(4) != 0 {
				h.Cmd.Mode, h.Cmd.Code, h.Cmd.Token = 4, []uint8{0x5c, 0x5f, 0x42, 0x47}[r.IntN(4)], 2
			}
		}
		spec := NFP4000()
		spec.Lax, spec.Seed = i%2 == 0, uint64(i)
		s := NewStore()
		if err := s.LoadInsts(0, prog, spec); err != nil {
			t.Fatal(err)
		}
		s.Trap(len(prog), func(*Context) (int, Cost, error) { return Halt, Cost{}, nil })
		e := New(spec, s, NewMemory())
		for j := range e.Ctx {
			for p := range 4 {
				e.Ctx[j].SetLMPointer(p, uint32(64*(4*j+p)), 8)
			}
			e.Ctx[j].Start(r.IntN(len(prog)))
		}
		err := e.Run(2000)
		executed += e.Words
		if f, ok := err.(*Fault); ok {
			reasons[f.Reason]++
			if f.Text == "" && f.Reason != "unset" || f.Error() == "" {
				t.Fatalf("fault without text: %+v", f)
			}
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if len(reasons) < 6 || executed < 8000 {
		t.Errorf("only %d words, faults %v", executed, reasons)
	}
}

// 64-bit arithmetic and comparisons out of two words agree with Go's.
func TestCarryChains(t *testing.T) {
	const code = `
		alu[gprA_6, gprA_2, +, gprB_4]
		alu[gprA_7, gprA_3, +carry, gprB_5]
		alu[gprA_8, gprA_2, -, gprB_4]
		alu[gprA_9, gprA_3, -carry, gprB_5]
		immed[gprA_10, 0]
		bcc[.7], defer[1]
		nop
		blt[.10]
		br[.11], defer[1]
		immed[gprA_11, 0]
		immed[gprA_11, 1]
		nop`
	b := newBench(t, false, code)
	less := newBench(t, false, `
		alu[--, gprA_2, -, gprB_4]
		alu[--, gprA_3, -carry, gprB_5]
		bcc[.5], defer[1]
		immed[gprA_10, 1]
		immed[gprA_10, 0]
		nop`)
	r := rand.New(rand.NewPCG(3, 4))
	pick := func() uint64 {
		v := r.Uint64()
		switch r.IntN(4) {
		case 0:
			v = uint64(int64(r.IntN(5) - 2))
		case 1:
			v >>= 32
		case 2:
			v = v&0x8000000080000000 | uint64(r.IntN(3))
		}
		return v
	}
	for range 2000 {
		x, y := pick(), pick()
		for _, b := range []*bench{b, less} {
			c := &b.e.Ctx[0]
			c.SetA(2, uint32(x))
			c.SetA(3, uint32(x>>32))
			c.SetB(4, uint32(y))
			c.SetB(5, uint32(y>>32))
			c.Start(0)
			if err := b.e.Run(100); err != nil {
				t.Fatal(err)
			}
		}
		c := &b.e.Ctx[0]
		pair := func(n int) uint64 { return uint64(c.A(n+1))<<32 | uint64(c.A(n)) }
		if pair(6) != x+y || pair(8) != x-y {
			t.Fatalf("%#x, %#x: sum %#x, difference %#x", x, y, pair(6), pair(8))
		}
		if got := c.A(11) == 1; got != (int64(x) < int64(y)) {
			t.Fatalf("%#x < %#x signed: %v", x, y, got)
		}
		if got := less.e.Ctx[0].A(10) == 1; got != (x < y) {
			t.Fatalf("%#x < %#x: %v", x, y, got)
		}
	}
}

// Four contexts share the engine: with C cycles of work and a wait of L they
// take max(4C, C+L) a round (docs/isa-notes.md).
func TestContextsShareTheEngine(t *testing.T) {
	for _, c := range []struct{ work, latency, round int }{
		{10, 20, 4 * 14}, {10, 200, 10 + 1 + 200},
	} {
		code := "mem[read32_swap, $xfer_0, gprA_9, 0, 1], ctx_swap[sig1], defer[2]\n" + strings.Repeat("nop\n", c.work+3)
		code += "br[.0]"
		b := newBench(t, false, code)
		b.e.spec.CTM.Read = c.latency
		for i := range b.e.Ctx {
			b.e.Ctx[i].SetA(9, 0x80000000)
			b.e.Ctx[i].Start(0)
		}
		const words = 100000
		begin := b.e.Clock()
		if err := b.e.Run(words); err == nil {
			t.Fatal("the loop ended")
		}
		perRound := c.work + 3 + 2 // words
		rounds := words / perRound / Contexts
		got := float64(b.e.Clock()-begin) / float64(rounds)
		work := float64(perRound + b.e.spec.Branch)
		want := max(Contexts*work, float64(c.latency)+work-2)
		if got < want*0.97 || got > want*1.03 {
			t.Errorf("work %d, latency %d: %.1f cycles a round, want %.1f", c.work, c.latency, got, want)
		}
	}
}

// The same seed gives the same run.
func TestRepeats(t *testing.T) {
	run := func() (uint32, uint64) {
		b := newBench(t, false, "local_csr_rd[PseudoRndNum]\nimmed[gprA_1, 0]\nalu[gprA_1, gprA_1, XOR, gprB_7]")
		b.e.Ctx[0].Start(0)
		if err := b.e.Run(10); err != nil {
			t.Fatal(err)
		}
		return b.e.Ctx[0].A(1), b.e.Clock()
	}
	a, b := run()
	if c, d := run(); a != c || b != d {
		t.Errorf("%#x at %d, then %#x at %d", a, b, c, d)
	}
}

// TestTrapCost checks that a trap's cost is charged and its successor taken.
func TestTrapCost(t *testing.T) {
	b := newBench(t, false, "br[.100], defer[1]\nimmed[gprB_0, 2]\nimmed[gprA_1, 7]")
	b.store.Trap(100, func(c *Context) (int, Cost, error) { return int(c.B(0)), Cost{Issue: 30, Reads: 2}, nil })
	c := &b.e.Ctx[0]
	c.Start(0)
	if err := b.e.Run(100); err != nil {
		t.Fatal(err)
	}
	spec := NFP4000()
	issue := uint64(3 + spec.Branch - 1 + 30)
	if c.A(1) != 7 || c.Issue() != issue || c.Elapsed() != issue+uint64(2*spec.EMEM.Read) {
		t.Errorf("A1 %d issue %d elapsed %d, want %d and %d", c.A(1), c.Issue(), c.Elapsed(), issue, issue+uint64(2*spec.EMEM.Read))
	}
}
