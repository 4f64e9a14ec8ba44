package nfp

import (
	"errors"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/objdump"
)

// quirks are words of which objdump's text is not ours, and why.
var quirks = []struct {
	name string
	is   func(w Word, objdump string) bool
}{
	{"an undefined byte subset of crc prints as (null); it is undefined to us", func(_ Word, s string) bool {
		return strings.Contains(s, "(null)")
	}},
}

// undefined reports whether objdump calls a word undefined, in any of its forms.
func undefined(s string) bool {
	return strings.Contains(s, "# ERROR") || strings.Contains(s, "<opnd:")
}

// oracle returns objdump's path; it skips the test if there is none.
func oracle(t testing.TB) string {
	path, err := objdump.Build(t.Context())
	if errors.Is(err, objdump.ErrUnavailable) {
		t.Skipf("words are not compared with objdump: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// randomWords gives n words: one in four of uniform bits, the others uniform over the
// forms: of random bits, with orderly fields, and as Encode writes them.
func randomWords(seed uint64, n int) []Word {
	r := rand.New(rand.NewPCG(seed, 0))
	ws := make([]Word, n)
	for i := range ws {
		if i%4 == 0 {
			ws[i] = Word(r.Uint64() & (1<<45 - 1))
			continue
		}
		forms := table().forms
		ws[i] = randomWord(r, &forms[r.IntN(len(forms))], i%4 != 1)
		if i%4 == 3 {
			ws[i] = canonicalWord(ws[i])
		}
	}
	return ws
}

// canonicalWord is the word that Encode writes for w's instruction; w if there is
// none.
func canonicalWord(w Word) Word {
	in, err := Decode(w)
	in.Raw = 0
	if in.Defer > 2 {
		in.Defer = 2
	}
	if in.Op == OpImmed && in.Fn != ImmedAll {
		in.Imm, in.Flags = in.Imm&0xff, in.Flags&^Invert
	}
	if x, e := Encode(in); err == nil && e == nil {
		return x
	}
	return w
}

// randomWord gives a word of a form; tidy ones have few bits set by chance.
func randomWord(r *rand.Rand, f *Form, tidy bool) Word {
	w := Word(r.Uint64())
	if tidy {
		w = 0
		for i := range f.Fields {
			x := &f.Fields[i]
			v := r.Uint32()
			if x.Code == Hidden {
				v = x.Want
			}
			if x.Code == DestU && r.IntN(8) == 0 {
				v = 0x300
			}
			b, _ := x.put(v)
			w |= b
		}
		if p := f.Pair; p != nil {
			w |= Word(r.Uint64()) & (1<<p.A.Width - 1) << p.A.Lo
			w |= Word(r.Uint64()) & (1<<p.B.Width - 1) << p.B.Lo
			w |= Word(r.IntN(2)) << p.Swap
		}
	}
	return (w&^f.Mask | f.Value) & (1<<45 - 1)
}

// TestOracle compares the text of 100,000 random words with objdump's; NFPKIT_WORDS
// sets another count.
func TestOracle(t *testing.T) {
	n := 100_000
	if s := os.Getenv("NFPKIT_WORDS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	compareWithObjdump(t, randomWords(1, n))
}

// TestOracleCommands compares every command code with every token, length and mode.
func TestOracleCommands(t *testing.T) {
	var ws []Word
	for code := range Word(128) {
		for token := range Word(4) {
			for length := range Word(8) {
				for _, mode := range []Word{0, 4, 6, 7} {
					ws = append(ws, code<<32|token<<18|length<<25|mode<<42|3<<8|7<<20|5<<10|3)
				}
			}
		}
	}
	compareWithObjdump(t, ws)
}

// TestOracleOperands compares every code of both operand spaces, as source and as
// destination, in either slot.
func TestOracleOperands(t *testing.T) {
	var ws []Word
	for code := range Word(1024) {
		ws = append(ws, 0x00a080000000|code|5<<10|6<<20, 0x00a080000000|5|code<<10|6<<20, 0x00a080000000|5|6<<10|code<<20,
			0x0ca080000000|5|code<<10|code<<20, 0x00f000000000|code|0x305<<10, 0x00f000000000|0x305|code<<10,
			0x00e800000000|code|0x305<<10, 0x00e800000000|0x305|code<<10, 0x00fc19200000|code|0x300<<10, 0x00fc00600000|0x300|code<<10)
	}
	for code := range Word(256) {
		ws = append(ws, 0x008400000100|code|5<<10|6<<20, 0x008400040100|5|code<<10|6<<20, 0x008400000100|5|6<<10|code<<20,
			0x00c001000000|code|5<<10, 0x00c001040000|5|code<<10, 0x0cc001080000|5|code<<10,
			0x00d000000000|code|0x26<<10, 0x00d000000000|0x26|code<<10, 0x00c800040000|code|0x26<<10, 0x00c800000000|0x26|code<<10)
	}
	for n := range Word(2048) {
		ws = append(ws, 0x00fc00000000|n<<22)
	}
	compareWithObjdump(t, ws)
}

func compareWithObjdump(t *testing.T, ws []Word) {
	path := oracle(t)
	words := make([]uint64, len(ws))
	for i, w := range ws {
		words[i] = uint64(w)
	}
	texts, err := objdump.Disassemble(t.Context(), path, words)
	if err != nil {
		t.Fatal(err)
	}
	var same, undef, odd, wrong int
words:
	for i, w := range ws {
		want := texts[i]
		for _, q := range quirks {
			if q.is(w, want) {
				odd++
				continue words
			}
		}
		in, err := Decode(w)
		switch {
		case undefined(want) && err != nil:
			undef++
		case err == nil && in.Text() == want:
			same++
		default:
			got := in.Text()
			if err != nil {
				got = err.Error()
			}
			if wrong++; wrong <= 20 {
				t.Errorf("%#011x: objdump\n %s\nours\n %s", uint64(w), want, got)
			}
		}
	}
	t.Logf("%d words: %d same text, %d undefined to both, %d quirks, %d different", len(ws), same, undef, odd, wrong)
	if wrong > 0 {
		t.Errorf("%d words differ", wrong)
	}
}
