package difftest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestFixed replays programs on which engines once differed.
func TestFixed(t *testing.T) {
	files, err := filepath.Glob("testdata/fixed/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no programs in testdata/fixed", err)
	}
	w, err := newWorker(&Config{Kernel: Permitted() == nil}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		p, want, err := Unarchive(name, data)
		if err != nil {
			t.Error(err)
			continue
		}
		c, err := resolve(p)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := runInterp(p, c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(resultText(got))); diff != "" {
			t.Errorf("%s: interp (-want +got):\n%s", name, diff)
		}
		for _, d := range w.compare(p) {
			t.Errorf("%s: %s", name, d)
		}
	}
	if len(w.sum.Refused) > 0 {
		t.Errorf("refused: %v", w.sum.Refused)
	}
}

// A program survives being written and read.
func TestArchiveRoundTrip(t *testing.T) {
	for seed := range uint64(40) {
		p := Generate(seed, AllFeatures)
		c, err := resolve(p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := runInterp(p, c)
		if err != nil {
			t.Fatal(err)
		}
		data, err := Archive("", p, want)
		if err != nil {
			t.Fatal(err)
		}
		q, text, err := Unarchive("x", data)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if c, err = resolve(q); err != nil {
			t.Fatal(err)
		}
		got, err := runInterp(q, c)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if text != resultText(got) {
			t.Errorf("seed %d: other results than before", seed)
		}
	}
}

// TestShrink checks that Shrink keeps the part of a program that fails and drops the
// rest.
func TestShrink(t *testing.T) {
	p := Generate(7, AllFeatures)
	before := len(p.Spec.Instructions)
	calls := func(q *Program) bool {
		for _, ins := range q.Spec.Instructions {
			if ins.IsFunctionCall() || ins.IsBuiltinCall() {
				if _, err := resolve(q); err == nil {
					return true
				}
			}
		}
		return false
	}
	if !calls(p) {
		t.Fatal("seed 7 calls nothing")
	}
	q := Shrink(p, calls)
	if n := len(q.Spec.Instructions); n > 3 || !calls(q) || len(q.Packets) != 1 {
		t.Errorf("%d of %d instructions left, %d packets", n, before, len(q.Packets))
	}
}

// TestUnwrittenStackIsZero compares a program that reads unwritten stack with the
// kernel after zeroing that stack, since the kernel's stack holds arbitrary bytes.
func TestUnwrittenStackIsZero(t *testing.T) {
	if err := Permitted(); err != nil {
		t.Skip(err)
	}
	const verdict = "r0 = *(u64 *)(r10 - 200)\nr1 = *(u32 *)(r10 - 4)\nr0 |= r1\nif r0 == 0 goto zero\nr0 = 1\nexit\nzero:\nr0 = 2\nexit\n"
	for _, c := range []struct{ name, text string }{
		{"reads it", ".program xdp main\n" + verdict},
		{"reads it in a function", ".program xdp main\ncall f\nexit\n.func f\n" + verdict},
		{"passes it to a helper", `.map m hash key=8 value=8 entries=4
.program xdp main
r1 = map[m]
r2 = r10
r2 += -8
r3 = r10
r3 += -16
r4 = 0
call bpf_map_update_elem#2
r0 = 2
exit
`},
		{"enters one that reads it", `.map jump prog_array key=4 value=4 entries=8
.program xdp main
r2 = map[jump]
r3 = 0
call bpf_tail_call#12
r0 = 1
exit
.program xdp tail_0
` + verdict},
	} {
		w, err := newWorker(&Config{Kernel: true}, 0)
		if err != nil {
			t.Fatal(err)
		}
		// Dirty the kernel's stack first.
		for _, text := range []string{dirty, c.text} {
			archive := fmt.Sprintf("\n-- program --\n%s-- packets --\n%s\n", text, strings.Repeat("00", 64))
			p, _, err := Unarchive(c.name, []byte(archive))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range w.compare(p) {
				if d.Engine == "sim" {
					continue // the card's stack holds anything too
				}
				t.Errorf("%s: %v", c.name, d)
			}
		}
		if got := w.sum.Compared["kernel"]; got != 2 {
			t.Errorf("%s: compared with the kernel %d times, want 2: %v", c.name, got, w.sum.Refused)
		}
		w.close()
	}
}

// dirty leaves numbers in all of the stack.
var dirty = func() string {
	var b strings.Builder
	b.WriteString(".program xdp main\n")
	for at := 8; at <= 512; at += 8 {
		fmt.Fprintf(&b, "*(u64 *)(r10 - %d) = %d\n", at, at)
	}
	return b.String() + "r0 = 2\nexit\n"
}()
