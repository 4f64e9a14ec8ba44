package nfp

import (
	"bufio"
	"fmt"
	"maps"
	"math/bits"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/internal/objdump"
)

type vector struct {
	word   Word
	stored uint64
	text   string
}

// vectors reads both files of vectors.
func vectors(t testing.TB) []vector {
	return append(readVectors(t, "testdata/vectors.txt"), readVectors(t, formVectors)...)
}

// formVectors has words of every form, written by TestFormVectors.
const formVectors = "testdata/vectors-forms.txt"

// readVectors reads lines of word, word with check bits, objdump's text.
func readVectors(t testing.TB, path string) []vector {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var vs []vector
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		var v vector
		if _, err := fmt.Sscanf(line, "%x %x", &v.word, &v.stored); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		v.text = strings.SplitN(line, " ", 3)[2]
		vs = append(vs, v)
	}
	return vs
}

// TestFormVectors writes words of every form, every command and every control
// register with objdump's text to testdata/vectors-forms.txt under -update, and
// holds the file against objdump otherwise. Machines without objdump then still
// have TestVectors.
func TestFormVectors(t *testing.T) {
	path := oracle(t)
	var ws []uint64
	forms := table().forms
	for i := range forms {
		f := &forms[i]
		r := rand.New(rand.NewPCG(6, uint64(i)))
		seen := map[Word]bool{}
		for range 400 {
			tidy := randomWord(r, f, true)
			w := canonicalWord(tidy)
			if len(seen) >= 3 {
				w = tidy
			}
			if _, err := Decode(w); err == nil && formOfWord(w) == f && !seen[w] && len(seen) < 5 {
				seen[w] = true
				ws = append(ws, uint64(w))
			}
		}
	}
	for _, c := range commands().all {
		length := bits.TrailingZeros8(c.Lengths)
		in := Inst{Op: OpCmd, A: RegA(5), B: Num(3), Cmd: Command{Code: c.Code, Token: c.Token, Len: uint8(length), Mode: 4, Sig: 1, Xfer: 2}}
		ws = append(ws, encoded(t, in))
	}
	for _, a := range slices.Sorted(maps.Keys(csrNames)) {
		ws = append(ws, encoded(t, Inst{Op: OpCSRRead, Imm: a}), encoded(t, Inst{Op: OpCSRWrite, Imm: a, A: RegB(7)}))
	}
	texts, err := objdump.Disassemble(t.Context(), path, ws)
	if err != nil {
		t.Fatal(err)
	}
	b := []byte("# word | word with check bits | text of GNU objdump, options ctx4,no-pc; written by TestFormVectors\n")
	for i, w := range ws {
		b = fmt.Appendf(b, "%012x %013x %s\n", w, WithECC(Word(w)), texts[i])
	}
	golden.File(t, formVectors, string(b))
}

func encoded(t *testing.T, in Inst) uint64 {
	w, err := Encode(in)
	if err != nil {
		t.Fatalf("%v: %v", in, err)
	}
	return uint64(w)
}

// TestVectors holds every line of the vectors exact in both directions.
func TestVectors(t *testing.T) {
	canonical := 0
	vs := vectors(t)
	for _, v := range vs {
		if got := WithECC(v.word); got != v.stored {
			t.Errorf("%#x with check bits = %#x, want %#x", v.word, got, v.stored)
		}
		if w, err := CheckECC(v.stored); err != nil || w != v.word {
			t.Errorf("check of %#x: %#x, %v", v.stored, w, err)
		}
		in, err := Decode(v.word)
		if err != nil {
			t.Errorf("decode %#x (%s): %v", v.word, v.text, err)
			continue
		}
		if got := in.Text(); got != v.text {
			t.Errorf("%#x prints\n %s, want\n %s", v.word, got, v.text)
			continue
		}
		text := in.String()
		if in.Raw == 0 {
			text = v.text
			canonical++
		}
		back, err := Parse(text)
		if err != nil {
			t.Errorf("parse %s: %v", text, err)
			continue
		}
		if w, err := Encode(back); err != nil || w != v.word {
			t.Errorf("%s encodes as %#x, %v; want %#x", text, w, err, v.word)
		}
		if back != in {
			t.Errorf("%s parses as %+v, want %+v", text, back, in)
		}
	}
	t.Logf("%d vectors, %d canonical", len(vs), canonical)
	if canonical < len(vs)/4 {
		t.Errorf("only %d of %d vectors are canonical", canonical, len(vs))
	}
}
