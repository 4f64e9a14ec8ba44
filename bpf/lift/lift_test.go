package lift_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/lift"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/golden"
	"github.com/nfpkit/nfpkit/ir"
)

// targets are firmwares of two kinds: one that offers little, and one without limits.
var targets = map[string]*lift.Target{
	"stock": {
		Name: "stock", Helpers: []int32{1, 2, 3, 7, 25, 44, 65}, Stack: 512, QueueSelect: true,
		Maps: lift.MapLimits{Types: []string{"array", "hash"}, Key: 56, Value: 56, Entry: 64}, ArrayZero: true,
	},
	"unlimited": {
		Name: "unlimited", Helpers: []int32{1, 2, 3, 7, 25, 44, 65}, Stack: 512, CtxFields: []string{"data_meta", "ingress_ifindex", "rx_queue_index"}, QueueSelect: true,
		Maps: lift.MapLimits{Types: []string{"array", "hash"}}, DirectValue: true, ArrayZero: true,
	},
}

func parsed(t testing.TB, text string) *asmtext.File {
	t.Helper()
	file, err := asmtext.Parse("input.bpf", text)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// verified returns the facts of a program of a text.
func verified(t testing.TB, file *asmtext.File, program string) *verify.Facts {
	t.Helper()
	c, faults := code.New(file.Spec.Programs[program], file.Spec.Maps)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	f, err := verify.Verify(c, &verify.Options{MemSize: 64})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	return f
}

// TestLift compares the ir of small programs, and the use of their maps' words.
func TestLift(t *testing.T) {
	golden.Run(t, "testdata/lift/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		file := parsed(t, files["input.bpf"])
		fw := "unlimited"
		if s := strings.TrimSpace(files["firmware"]); s != "" {
			fw = s
		}
		others := parseUse(t, files["others"])
		var out, uses bytes.Buffer
		for _, name := range file.Programs {
			facts := verified(t, file, name)
			m, err := lift.Lift(facts, targets[fw], others)
			var no *lift.Unsupported
			switch {
			case errors.As(err, &no):
				for _, r := range no.Reasons {
					fmt.Fprintf(&out, "%s: pc %d: %s: %s (%s)\n", name, r.PC, r.Insn, r.Message, r.Reason)
					if r.Hint == "" {
						t.Errorf("%s has no hint", r.Reason)
					}
				}
			case err != nil:
				t.Fatal(err)
			default:
				if err := ir.Check(m); err != nil {
					t.Errorf("%v in\n%s", err, m)
				}
				fmt.Fprintln(&out, m)
			}
			for _, u := range lift.UsesWith(facts, others) {
				fmt.Fprintf(&uses, "%s: %s\n", u.Name, useText(u))
			}
		}
		got := map[string]string{"output.ir": out.String()}
		if _, ok := files["uses"]; ok {
			got["uses"] = uses.String()
		}
		return got
	})
}

// useText is a letter a word: counter, plain or unused.
func useText(u lift.MapUse) string {
	var b strings.Builder
	for _, w := range u.Words {
		b.WriteByte(".pc"[w])
	}
	return b.String()
}

// parseUse reads lines like "counters: .pc".
func parseUse(t *testing.T, text string) []lift.MapUse {
	var out []lift.MapUse
	for line := range strings.Lines(text) {
		name, words, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok {
			t.Fatalf("bad use %q", line)
		}
		u := lift.MapUse{Name: name}
		for i := range words {
			u.Words = append(u.Words, lift.WordUse(strings.IndexByte(".pc", words[i])))
		}
		out = append(out, u)
	}
	return out
}
