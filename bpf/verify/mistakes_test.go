package verify_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nfpkit/nfpkit/bpf/asmtext"
	"github.com/nfpkit/nfpkit/bpf/code"
	"github.com/nfpkit/nfpkit/bpf/verify"
	"github.com/nfpkit/nfpkit/internal/golden"
)

// TestMistakes shows the output for common mistakes: each rejection and warning in
// full, as %+v prints it.
func TestMistakes(t *testing.T) {
	golden.Run(t, "testdata/mistakes/*.txtar", func(t *testing.T, files map[string]string) map[string]string {
		f, err := asmtext.Parse("prog.c", files["prog.bpf"])
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, name := range f.Programs {
			c, faults := code.New(f.Spec.Programs[name], f.Spec.Maps)
			if len(faults) > 0 {
				fmt.Fprintf(&b, "%+v\n\n", verify.NewRejection(name, faults))
				continue
			}
			facts, err := verify.Verify(c, nil)
			var r *verify.Rejection
			switch {
			case errors.As(err, &r):
				fmt.Fprintf(&b, "%+v\n\n", r)
			case len(facts.Warnings) > 0:
				fmt.Fprintf(&b, "accepted, with warnings:\n%+v\n\n", &verify.Rejection{Program: name, Reasons: facts.Warnings})
			default:
				fmt.Fprintf(&b, "%s: accepted\n\n", name)
			}
		}
		return map[string]string{"out": b.String()}
	})
}
