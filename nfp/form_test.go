package nfp

import (
	"math/bits"
	"math/rand/v2"
	"testing"
)

// bitsOf is every bit a form names besides its mask, by name; a bit named twice is an error.
func bitsOf(t *testing.T, f *Form) Word {
	t.Helper()
	used := f.Mask
	claim := func(what string, w Word) {
		if used&w != 0 {
			t.Errorf("%s: %s: bits %#x have two meanings", f.Name, what, uint64(used&w))
		}
		used |= w
	}
	for i := range f.Fields {
		x := &f.Fields[i]
		w, _ := x.put(^uint32(0))
		claim(x.Prop.String(), w)
	}
	one := func(what string, bit uint8) {
		if bit != 0 {
			claim(what, 1<<bit)
		}
	}
	one("destination bank", f.DstBank)
	one("source pointer", f.SrcLM)
	one("destination pointer", f.DstLM)
	if p := f.Pair; p != nil {
		claim("slot A", Word(1<<p.A.Width-1)<<p.A.Lo)
		claim("slot B", Word(1<<p.B.Width-1)<<p.B.Lo)
		one("bit 7 of constants", p.I8)
		one("destination bank", p.DstBank)
		if p.Cross == SwapBit {
			one("swap", p.Swap)
		}
	}
	return used
}

func TestFieldsAreDisjoint(t *testing.T) {
	forms := table().forms
	for i := range forms {
		f := &forms[i]
		if used := bitsOf(t, f); used>>45 != 0 {
			t.Errorf("%s: bits above 44", f.Name)
		}
		if f.Value&^f.Mask != 0 {
			t.Errorf("%s: value %#x outside the mask", f.Name, uint64(f.Value&^f.Mask))
		}
	}
}

// TestFormsAreDisjoint: the words that two rows' masks leave open together must be
// excepted by one of them.
func TestFormsAreDisjoint(t *testing.T) {
	forms := table().forms
	for i := range forms {
		for j := range forms[:i] {
			f, g := &forms[i], &forms[j]
			if (f.Value^g.Value)&f.Mask&g.Mask != 0 {
				continue
			}
			both := Pattern{f.Mask | g.Mask, f.Value | g.Value}
			if !excepted(both, f.Except) && !excepted(both, g.Except) {
				t.Errorf("%s and %s both have word %#x", f.Name, g.Name, uint64(both.Value))
			}
		}
	}
}

// excepted reports whether one of the patterns has every word of p.
func excepted(p Pattern, except []Pattern) bool {
	for _, e := range except {
		if e.Mask&^p.Mask == 0 && p.Value&e.Mask == e.Value {
			return true
		}
	}
	return false
}

func TestFormsAreComplete(t *testing.T) {
	ops := map[Op]int{}
	names := map[string]bool{}
	forms := table().forms
	for i := range forms {
		f := &forms[i]
		ops[f.Op]++
		if names[f.Name] {
			t.Errorf("two forms are called %s", f.Name)
		}
		names[f.Name] = true
		if f.Doc == "" || f.Latency == LatencyNone || len(f.Syntax) == 0 {
			t.Errorf("%s: no doc, latency or syntax", f.Name)
		}
	}
	for op := OpInvalid + 1; op < numOps; op++ {
		if ops[op] == 0 {
			t.Errorf("operation %d has no form", op)
		}
	}
	for c, text := range map[Cond]string{CondEQ: "beq", CondCC: "bcc", CondGT: "bgt", CondCtx: "br=ctx", CondNotCls: "br_!cls_state", CondAlways: "br"} {
		if in := Branch(c, 0); in.form() == nil || in.form().Name != text {
			t.Errorf("condition %d is not %s", c, text)
		}
	}
}

func TestCommandNamesAreUnique(t *testing.T) {
	for key, cs := range commands().names {
		if len(cs) != 1 {
			t.Errorf("%s names %d commands", key, len(cs))
		}
	}
}

// TestWords checks the laws on random words of every form: what encodes decodes to
// itself, canonical words and texts are one to one, all other words print their raw
// word and come back.
func TestWords(t *testing.T) {
	canonical := map[string]int{}
	texts := map[string]Word{}
	for _, w := range randomWords(2, 200_000) {
		in, err := Decode(w)
		if err != nil {
			continue
		}
		if x, err := Encode(in); err != nil || x != w {
			t.Fatalf("%#x decodes to %v, which encodes as %#x, %v", w, in, x, err)
		}
		text := in.String()
		back, err := Parse(text)
		if err != nil || back != in {
			t.Fatalf("%#x prints %s, which parses as\n%+v, want\n%+v, %v", w, text, back, in, err)
		}
		if in.Raw != 0 {
			if in.Raw != w {
				t.Fatalf("%#x: raw word %#x", w, in.Raw)
			}
			continue
		}
		if other, ok := texts[text]; ok && other != w {
			t.Fatalf("%s is both %#x and %#x", text, other, w)
		}
		texts[text] = w
		canonical[formOfWord(w).Name]++
	}
	forms := table().forms
	for i := range forms {
		if f := &forms[i]; !f.Reserved && canonical[f.Name] == 0 && f.Op != OpNop {
			t.Errorf("%s: no canonical word among the random ones", f.Name)
		} else if f.Reserved && canonical[f.Name] != 0 {
			t.Errorf("%s: canonical words of a reserved form", f.Name)
		}
	}
}

// TestQueries compares the queries with the words' definition on random words.
func TestQueries(t *testing.T) {
	for _, w := range randomWords(3, 20_000) {
		in, err := Decode(w)
		if err != nil {
			continue
		}
		for _, o := range in.Dests(nil) {
			if o != in.Dst && o != in.Dst.OtherBank() {
				t.Fatalf("%v writes %v", in, o)
			}
		}
		for _, o := range in.Sources(nil) {
			if o != in.A && o != in.B && o != in.Dst || o.Kind == Const || o.Kind == None {
				t.Fatalf("%v reads %v", in, o)
			}
		}
		if s := in.Slots(); in.Raw == 0 && s > in.MaxDefer() {
			t.Fatalf("%v has %d slots, at most %d", in, s, in.MaxDefer())
		}
	}
}

func TestTransfer(t *testing.T) {
	for _, c := range []struct {
		text        string
		sends, gets int
		known       bool
	}{
		{"mem[read32_swap, $xfer_0, gprA_4, 0xc, 5], ctx_swap[sig1]", 0, 5, true},
		{"mem[read8, $xfer_0, *l$index1[2], 0xc, 4], ctx_swap[sig1]", 0, 1, true},
		{"mem[write8_swap, $xfer_0, gprA_2, 0x0, 8], ctx_swap[sig1]", 2, 0, true},
		{"mem[write8_swap, $xfer_0, gprA_2, 0x0, 5], ctx_swap[sig1]", 2, 0, true},
		{"mem[add_imm, $xfer_0, gprB_3, <<8, gprA_2, 1], indirect_ref", 0, 0, true},
		{"mem[add64, $xfer_0, gprB_3, <<8, gprA_2, 5], ctx_swap[sig1], defer[2]", 2, 0, true},
		{"mem[test_add, $xfer_0, gprB_3, <<8, gprA_2, 1], ctx_swap[sig1]", 1, 1, true},
		{"mem[test_compare_write_or_incr/test_mask_compare_write, $xfer_0, gprB_3, <<8, gprA_2, 2], ctx_swap[sig1]", 2, 1, true},
		{"mem[test_set, $xfer_0, gprB_3, <<8, gprA_2, 3], ctx_swap[sig1]", 3, 3, true},
		{"mem[atomic_read, $xfer_0, gprB_3, <<8, gprA_2, 2], ctx_swap[sig1]", 0, 2, true},
		{"mem[ticket_release, $xfer_0, gprB_3, <<8, gprA_2, 1], ctx_swap[sig1]", 0, 0, false},
	} {
		in, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if s, g, k := in.Transfer(); s != c.sends || g != c.gets || k != c.known {
			t.Errorf("%s: sends %d, gets %d, %v; want %d, %d, %v", c.text, s, g, k, c.sends, c.gets, c.known)
		}
	}
}

// TestLoadConst evaluates the immeds of random constants.
func TestLoadConst(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	value := func(is []Inst) uint32 {
		var v uint32
		for _, in := range is {
			if _, err := Encode(in); err != nil {
				t.Fatalf("%v: %v", in, err)
			}
			c := in.Imm << in.Amount
			if in.Flags&Invert != 0 {
				c = ^c
			}
			if in.Fn == ImmedWord {
				c = v&^(0xffff<<in.Amount) | in.Imm<<in.Amount
			}
			v = c
		}
		return v
	}
	for _, v := range []uint32{0, 1, 0xffff, 0x10000, 0xffffffff, 0xffff0000, 0x00ffff00, 0xff0000ff, 0x0000fffe, 0xfffffff0, 0x12345678, 0x80000000} {
		if got := value(LoadConst(nil, RegA(3), v)); got != v {
			t.Errorf("constant %#x loads as %#x", v, got)
		}
	}
	for range 10_000 {
		v := r.Uint32() & bits.RotateLeft32(0xffff, r.IntN(32))
		if r.IntN(2) == 0 {
			v = ^v
		}
		if got := value(LoadConst(nil, RegB(3), v)); got != v {
			t.Errorf("constant %#x loads as %#x", v, got)
		}
	}
}

func TestECC(t *testing.T) {
	for w, want := range map[Word]uint8{0: 0, 0x0f0000c0300: 0, 0x2a080201002: 0x79, 0x105c1008b004: 0x5e, 0x0d802008038: 0x67, 1: 7, 0x100000000000: 0x3e, 0x1fffffffffff: 0x40} {
		if got := ECC(w); got != want {
			t.Errorf("check bits of %#x: %#x, want %#x", uint64(w), got, want)
		}
	}
	r := rand.New(rand.NewPCG(5, 0))
	for range 200 {
		w := Word(r.Uint64() & (1<<45 - 1))
		good := WithECC(w)
		for i := range 52 {
			got, err := CheckECC(good ^ 1<<i)
			e, ok := err.(*ECCError)
			if !ok || !e.Single || e.Bit != i || e.Corrected != w || got != w {
				t.Fatalf("bit %d of %#x: %v", i, good, err)
			}
			j := (i + 1 + r.IntN(51)) % 52
			if _, err := CheckECC(good ^ 1<<i ^ 1<<j); err == nil || err.(*ECCError).Single {
				t.Fatalf("bits %d and %d of %#x: %v", i, j, good, err)
			}
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	ws := vectors(b)
	b.ReportAllocs()
	for i := range b.N {
		if _, err := Decode(ws[i%len(ws)].word); err != nil {
			b.Fatal(err)
		}
	}
}
