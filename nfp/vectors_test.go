package nfp

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
)

type vector struct {
	word   Word
	stored uint64
	text   string
}

// vectors reads testdata/vectors.txt: word, word with check bits, objdump's text.
func vectors(t testing.TB) []vector {
	f, err := os.Open("testdata/vectors.txt")
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
